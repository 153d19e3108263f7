"""A lab that listens, on a LeNet-5 with random weights and the embedded digits."""

import json
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from minicnn import data, models
from minicnn.lab.session import Session, site
from minicnn.web.server import Server


def session(**options):
    digits = data.load("digits")
    net = models.build("lenet5")
    rng = np.random.default_rng(0)
    for p in net.parameters():
        p.data = (0.2 * rng.standard_normal(p.shape)).astype(np.float32)
    return Session(net, list(digits.classes), digits.preprocessing, "lenet5", digits.test, **options)


def server(mine, run=None, **options):
    """A server of a session, which it knows as `session`."""
    made = Server(site(mine, run), **options)
    made.session = mine
    return made


class Client:
    """Asks a server as its page does, or with other headers."""

    def __init__(self, server):
        self.server, self.port = server, server.server_port

    def ask(self, path, given=None, content=None, method=None, **headers):
        """(status, headers, answer)"""
        body = content if content is not None else None if given is None else json.dumps(given).encode()
        kind = "application/octet-stream" if content is not None else "application/json"
        send = {"Content-Type": kind} if body is not None else {}
        send |= {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, send, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.headers, self._read(answer)
        except urllib.error.HTTPError as problem:
            with problem:
                return problem.code, problem.headers, self._read(problem)

    @staticmethod
    def _read(answer):
        content = answer.read()
        return json.loads(content, parse_constant=pytest.fail) if "json" in answer.headers["Content-Type"] else content

    def change(self, path, **given):
        """A question with the token."""
        return self.ask(path, given, X_Token=self.server.token)


@pytest.fixture(scope="module")
def lab():
    with listening(server(session())) as client:
        yield client


class listening:  # noqa: N801
    """`with listening(server) as client:`"""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.session.warm_up()                      # kernels that are not in the cache take a minute
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return Client(self.server)

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
