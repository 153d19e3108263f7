"""The lab's times: to the first view, and for one number.    python -m benchmarks.lab [NET …]

The first view is what a browser waits for: the page, the net, the test pictures and the first look.
"""

import json
import statistics
import sys
import threading
import time
import urllib.request

import numpy as np

from minicnn import data, models
from minicnn.data.preprocessing import NORMALISATIONS, Preprocessing
from minicnn.lab.session import Session, site
from minicnn.web.server import Server


def session(name):
    """A net with random weights; LeNet-5 with the digits."""
    shape = models.input_shape(name)
    if name == "lenet5":
        digits = data.load("digits")
        return Session(models.build(name), list(digits.classes), digits.preprocessing, name, digits.test)
    mean, std = NORMALISATIONS["imagenet"]
    return Session(models.build(name), [], Preprocessing(shape[1:], mean[: shape[0]], std[: shape[0]], shape[0]), name)


def measure(name):
    """(ms to the first view, KB of its look, median ms and the longest for one of 100 numbers)"""
    mine = session(name)
    server = Server(site(mine))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mine.warm_up()

    def ask(path, body=None, kind="application/json"):
        headers = {"Content-Type": kind} if body is not None else {}
        request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}", body, headers)
        return urllib.request.urlopen(request).read()

    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, mine.prepare.shape, np.uint8).tobytes()
    start = time.perf_counter()
    for path in ("/", "/lab.css", "/lab.js", "/api/net", "/api/samples"):
        ask(path)
    look = ask("/api/pixels", image, "application/octet-stream")
    first = 1e3 * (time.perf_counter() - start)
    nodes, times = mine.graph.nodes, []
    for _ in range(100):
        node = nodes[rng.integers(len(nodes))]
        at = [int(rng.integers(n)) for n in node.shape]
        start = time.perf_counter()
        ask("/api/unit", json.dumps({"look": 0, "node": node.id, "at": at, "k": 0}).encode())
        times.append(1e3 * (time.perf_counter() - start))
    server.shutdown()
    server.server_close()
    return first, len(look) / 1e3, statistics.median(times), max(times)


if __name__ == "__main__":
    print(f"{'net':14}{'first view':>12}{'look':>10}{'one number, median':>21}{'longest':>11}")
    for net in sys.argv[1:] or ["lenet5", "resnet20", "googlenet", "mobilenet_v2", "densenet121"]:
        first, size, median, longest = measure(net)
        print(f"{net:14}{first:9.0f} ms{size:7.0f} KB{median:18.1f} ms{longest:8.0f} ms")
