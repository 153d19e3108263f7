"""Requests that no page of the lab or of the app sends: 500 of them, the same ones for the same seed.

    python -m tests.lab.hostile PORT [COUNT]        sends them to a lab on this machine, and says how it answered
"""

import contextlib
import json
import random
import socket
import struct
import sys
import zlib

PATHS = ["/../../etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/lab.js/", "/lab.py", "/page/lab.js",
         "/.git/config", "/api", "/api/", "/api/net?x=1", "/api/unit", "/API/net", "/api/run", "/%00", "/lab.js%00.png",
         "/" + "a" * 70_000, "http://evil.example/", "*", "/api/net#x", "/index.html"]  # fmt: skip
HOSTS = ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "",
         "127.0.0.1:{port}.evil.example", "0.0.0.0:{port}", "[::1]:{port}", "a" * 3000]
ORIGINS = ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "http://localhost", "file://",
           "http://127.0.0.1:{port}.evil.example"]
LOOKS = [None, -1, 10**30, "0", 0.5, True, [0], {}, 99, "x" * 5000]
LAB = {"reads": ["/", "/api/net", "/lab.js", "/api/samples"], "asks": ["/api/unit", "/api/maps", "/api/again",
       "/api/evidence"], "pictures": ["/api/picture", "/api/pixels"], "most": 8388608,
       "writes": ["/api/step", "/api/set", "/api/scale", "/api/reset"]}  # fmt: skip
APP = {"reads": ["/", "/api/about", "/app.js", "/api/state"], "asks": ["/api/again", "/api/evidence"],
       "pictures": ["/api/picture"], "most": 16777216,
       "writes": ["/api/file", "/api/undo", "/api/train", "/api/stop", "/api/choose"]}  # fmt: skip


def head(method, path, port, headers, version="HTTP/1.1"):
    lines = [f"{method} {path} {version}"]
    headers = {"Host": f"127.0.0.1:{port}", "Connection": "close"} | headers
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def post(path, body, port, kind="application/json", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return head("POST", path, port, {"Content-Type": kind, "Content-Length": str(len(body)), **headers}) + body


def bomb(width, height, size=4000):
    """A PNG whose header promises more pixels than anyone wants to decode."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * size)) + chunk(b"IEND", b""))


def one(rng, port, site):
    """(what it is, its bytes)"""
    kind = rng.randrange(14)
    if kind == 0:
        return "path", head(rng.choice(["GET", "POST", "HEAD"]), rng.choice(PATHS), port, {})
    if kind == 1:
        return "host", head("GET", rng.choice(site["reads"]), port,
                            {"Host": rng.choice(HOSTS).format(port=port)})
    if kind == 2:
        origin = rng.choice(ORIGINS).format(port=port)
        return "origin", post("/api/again", b'{"look":0}', port, Origin=origin)
    if kind == 3:
        where = rng.choice(["cross-site", "same-site", "none,cross-site", "x"])
        return "site", head("GET", rng.choice(site["reads"]), port, {"Sec-Fetch-Site": where})
    if kind == 4:
        token = rng.choice([None, "", "x", "0" * 24, "é" * 24, "a" * 20_000])
        body = b'{"look":0,"label":1,"rate":1,"keep":true}'
        return "token", post(rng.choice(site["writes"]), body, port, X_Token=token)
    if kind == 5:
        length = rng.choice(["-1", "0", "99999999999", "1e3", "0x10", " 5 5", "+5", "", "²", str(site["most"] + 1)])
        return "length", head("POST", rng.choice([site["asks"][0], site["pictures"][0]]), port, {
            "Content-Type": rng.choice(["application/json", "application/octet-stream"]), "Content-Length": length})
    if kind == 6:
        extra = rng.choice([("Host", f"127.0.0.1:{port}"), ("Content-Length", "2"), ("Origin", "http://evil.example"),
                            ("Transfer-Encoding", "chunked"), ("Sec-Fetch-Site", "none"), ("Host", "evil.example")])
        said = {"Content-Type": "application/json", "Content-Length": "2", "Origin": f"http://127.0.0.1:{port}",
                "Sec-Fetch-Site": "same-origin"}
        lines = head("POST", "/api/again", port, said)
        return "twice", lines[:-2] + f"{extra[0]}: {extra[1]}\r\n\r\n".encode() + b"{}"
    if kind == 7:
        body = rng.choice([b"{", b"null", b"[]", b'"x"', b"[" * 60_000, b'{"a":' * 10_000, b"\xff\xfe", b"NaN",
                           b'{"look":NaN}', b"{" + b" " * 70_000 + b"}", b'{"look":0,"__class__":1}', b"1" * 5000])
        return "json", post(rng.choice(site["asks"] + site["writes"]), body, port)
    if kind == 8:
        question = {"look": rng.choice(LOOKS), "picture": rng.choice(LOOKS),
                    "node": rng.choice([1, -1, "1", 10**9, None]),
                    "at": rng.choice([[0, 0, 0], [-1, 0, 0], "000", [0] * 1000, [0.5, 0, 0], None]), "k": rng.choice(
                        [0, -1, 10, "0", None, 1e300])}
        return "unit", post(rng.choice(site["asks"]), json.dumps(question).encode(), port)
    if kind == 9:
        kind_ = rng.choice(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "", "image/png"])
        return "type", post(rng.choice(site["asks"] + site["pictures"]), b'{"look":0}', port, kind_)
    if kind == 10:
        picture = rng.choice([bomb(100_000, 100_000), bomb(30_000, 2_000), bomb(64, 64, 10), b"GIF89a" + b"\0" * 50,
                              b"\xff\xd8\xff" + rng.randbytes(400), rng.randbytes(600), b"<svg onload=alert(1)></svg>",
                              b"%!PS-Adobe-3.0 EPSF-3.0\n", b"II*\0" + rng.randbytes(200), b"\0"])
        return "picture", post("/api/picture", picture, port, "application/octet-stream")
    if kind == 11:
        return "pixels", post("/api/pixels", rng.randbytes(rng.choice([1, 783, 785, 3000])), port,
                              "application/octet-stream")
    if kind == 12:
        method = rng.choice(["PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get", "é"])
        return "method", head(method, site["reads"][1], port, {})
    many = b"".join(b"A%d: b\r\n" % i for i in range(300))
    return "bytes", rng.choice([
        b"\r\n\r\n\r\n", b"\0" * 300, b"\x16\x03\x01\x02\0\x01\0", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + many + b"\r\n", b"GET / HTTP/1.1\r\nHost\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        rng.randbytes(200) + b"\r\n\r\n"])  # fmt: skip


def send(port, content, seconds=5.0):
    """The status of the answer, 0 where the connection was closed without one."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), seconds) as connection, contextlib.suppress(OSError):
        connection.sendall(content)                        # a refusal may close the connection before all is sent
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            answer += part
    first = answer.split(b"\r\n", 1)[0].split()
    return int(first[1]) if len(first) > 1 and first[1].isdigit() else 0


def requests(port, count=500, seed=0, site=LAB):
    rng = random.Random(seed)
    return [one(rng, port, site) for _ in range(count)]


if __name__ == "__main__":
    found = {}
    for what, content in requests(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 500):
        status = send(int(sys.argv[1]), content)
        found[what, status] = found.get((what, status), 0) + 1
    for (what, status), count in sorted(found.items()):
        print(f"{what:8} {status or 'closed':>6} {count:4}")
    print("answers the next one:", send(int(sys.argv[1]), head("GET", "/api/net", int(sys.argv[1]), {})) == 200)
