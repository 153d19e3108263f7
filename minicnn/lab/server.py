"""The lab's web server: fixed pages and fixed questions, for this machine alone unless it is told otherwise.

Any page that a browser shows can send requests to 127.0.0.1, and any program can send any bytes. So a request is
refused unless its Host, Origin, Sec-Fetch-Site, type, length and path are the ones that the lab's own page sends; what
changes the net needs a token, which only the address that was printed holds. docs/lab.md lists the rules.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from minicnn.lab import follow, wire
from minicnn.lab.session import PICTURES, QUESTIONS, BusyError, Session, ask

PAGES = {"/": ("index.html", "text/html"), "/lab.css": ("lab.css", "text/css"),
         "/lab.js": ("lab.js", "text/javascript"), "/icon.svg": ("icon.svg", "image/svg+xml")}  # fmt: skip
MOST_BYTES = 8 * 2**20
MOST_QUESTION = 2**16
CONNECTIONS = 64
FOLLOWERS = 8
READ_SECONDS = 15.0
"""For a whole request, its body included; a connection may be idle as long."""
SOCKET_SECONDS = 10.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
                               "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}  # fmt: skip


class Server(ThreadingHTTPServer):
    """Serves a session; port 0 takes a free one.

    ValueError for a host beyond this machine without a token of at least 16 characters: then every question needs it.
    """

    daemon_threads, block_on_close, request_queue_size = True, False, CONNECTIONS

    def __init__(self, session: Session, port: int = 0, host: str = "127.0.0.1", token: str = "",
                 run: Path | None = None):
        self.session, self.run, self.public = session, run, not _loopback(host)
        if self.public and len(token) < 16:
            raise ValueError(f"host (={host}) is open to other machines, which needs a token of at least 16 "
                             "characters: give one with --token, or leave --host out")
        self.token = token or secrets.token_urlsafe(18)
        folder = resources.files("minicnn.lab").joinpath("page")
        self.pages = {path: (folder.joinpath(name).read_bytes(), f"{kind}; charset=utf-8")
                      for path, (name, kind) in PAGES.items()}  # fmt: skip
        self._deadlines: dict[socket.socket, float] = {}
        self._count, self.followers, self._lock, self.closing = 0, 0, threading.Lock(), False
        super().__init__((host, port), Handler)
        names = {host} | ({"127.0.0.1", "localhost"} if not self.public else {socket.gethostname()})
        self.hosts = {f"{name}:{self.server_port}".lower() for name in names}

    @property
    def address(self) -> str:
        """Where the page is; the part behind # is not sent over the network."""
        host = "127.0.0.1" if not self.public else self.server_address[0]
        return f"http://{host!s}:{self.server_port}/#token={self.token}"

    def server_bind(self) -> None:
        """Without HTTPServer's question to a name server, which may not answer."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server. A number can't be another site's name; a name can."""
        name, _, port = host.lower().rpartition(":")
        return host.lower() in self.hosts or (self.public and port == str(self.server_port) and _number(name))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, unless there are too many."""
        with self._lock:
            full = self._count >= CONNECTIONS
            self._count += not full
        if full:
            with contextlib.suppress(OSError):
                request.settimeout(1)
                request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._count -= 1
                self._deadlines.pop(request, None)

    def due(self, connection: socket.socket, seconds: float | None) -> None:
        """End the connection in so many seconds, unless this is called again."""
        with self._lock:
            self._deadlines.pop(connection, None)
            if seconds is not None:
                self._deadlines[connection] = time.monotonic() + seconds

    def service_actions(self) -> None:
        """Twice a second: end the connections that are overdue."""
        now = time.monotonic()
        with self._lock:
            late = [c for c, deadline in self._deadlines.items() if deadline < now]
            for c in late:
                del self._deadlines[c]
        for c in late:
            with contextlib.suppress(OSError):
                c.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection broke: there is nobody to tell."""

    def server_close(self) -> None:
        """Stop listening, and let followers go."""
        self.closing = True
        super().server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    timeout = SOCKET_SECONDS
    protocol_version, server_version, sys_version = "HTTP/1.1", "minicnn", ""
    error_content_type = "application/json"
    _single: ClassVar = ("Host", "Origin", "Content-Length", "Content-Type", "Sec-Fetch-Site", "X-Lab-Token")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def handle_one_request(self) -> None:
        """Read one request in READ_SECONDS, and answer it."""
        self.server.due(self.connection, READ_SECONDS)
        super().handle_one_request()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A refusal by the base class: a malformed request."""
        self.close_connection = True
        if getattr(self, "request_version", "HTTP/0.9") == "HTTP/0.9":
            self.request_version = "HTTP/1.0"
        self.command = getattr(self, "command", None) or "GET"
        self._send(int(code), wire.encode({"error": "this is no request that the lab answers"}), "application/json")

    def do_GET(self) -> None:
        """A page, or what needs no question."""
        if self._refused(api := self.path.startswith("/api/")):
            return
        self.server.due(self.connection, None)
        if self.path in self.server.pages:
            self._send(200, *self.server.pages[self.path])
        elif self.path == "/api/net":
            self._answer(self.server.session.net)
        elif self.path == "/api/samples":
            self._answer(self.server.session.samples)
        elif self.path == "/api/curve" and self.server.run is not None:
            self._follow(self.server.run)
        else:
            self._refuse(404, "there is no such question" if api else "there is no such page")

    def do_POST(self) -> None:
        """A question."""
        picture, question = PICTURES.get(self.path), QUESTIONS.get(self.path)
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self._refused(True):
            return
        if picture is None and question is None:
            self._refuse(404, "there is no such question")
        elif kind != ("application/octet-stream" if picture else "application/json"):
            self._refuse(415, "the question has the wrong Content-Type")
        elif question and question[1] and not self._has_token():
            self._refuse(403, "this changes the net, which needs the token in the address that was printed")
        elif (body := self._body(MOST_BYTES if picture else MOST_QUESTION)) is not None:
            self.server.due(self.connection, None)
            session = self.server.session
            self._answer(lambda: picture(session, body) if picture else ask(session, self.path, wire.decode(body)))

    def _refused(self, needs_token: bool) -> bool:
        """Whether the request did not come from the lab's own page, or is ambiguous; then it is answered."""
        h = self.headers
        if any(len(h.get_all(name, [])) > 1 for name in self._single) or "Transfer-Encoding" in h:
            return self._refuse(400, "the request says a thing twice, or does not say its length")
        if not self.server.knows(h.get("Host", "")):
            return self._refuse(421, "the Host is not the lab's")
        if "Origin" in h and h["Origin"].lower() != f"http://{h['Host'].lower()}":
            return self._refuse(403, "the request comes from another site")
        if h.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return self._refuse(403, "the request comes from another site")
        if self.server.public and needs_token and not self._has_token():
            return self._refuse(403, "this lab needs the token in the address that was printed")
        return False

    def _has_token(self) -> bool:
        given = self.headers.get("X-Lab-Token", "")
        return secrets.compare_digest(given.encode("utf-8", "replace"), self.server.token.encode())

    def _body(self, most: int) -> bytes | None:
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit() and len(text) < 12):
            self._refuse(411, "the request must say its length")
            return None
        if not 0 < int(text) <= most:
            self._refuse(413, f"the body must have 1 to {most} bytes")
            return None
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            self.close_connection = True
            return None
        return body

    def _answer(self, compute: Callable[[], dict[str, Any]]) -> None:
        try:
            status, answer = 200, wire.encode(compute())
        except BusyError as problem:
            status, answer = 503, wire.encode({"error": str(problem)})
        except (ValueError, TypeError, IndexError, OverflowError, OSError) as problem:
            status, answer = 400, wire.encode({"error": " ".join(str(problem).split())[:400]})
        except MemoryError:
            status, answer = 503, wire.encode({"error": "there is not enough memory for this question"})
        except Exception as problem:  # a bug of ours: the server goes on, and the page shows its kind
            status, answer = 500, wire.encode({"error": f"the lab failed with {type(problem).__name__}"})
        self._send(status, answer, "application/json")

    def _refuse(self, status: int, why: str) -> bool:
        self.close_connection = True
        self._send(status, wire.encode({"error": why}), "application/json")
        return True

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **HEADERS}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _follow(self, run: Path) -> None:
        """Server-sent events: each line of the run's log, and "weights" when there are new ones."""
        with self.server._lock:
            full = self.server.followers >= FOLLOWERS
            self.server.followers += not full
        if full:
            self._refuse(503, f"{FOLLOWERS} pages follow this run already")
            return
        self.close_connection = True
        try:
            self.send_response(200)
            for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **HEADERS}.items():
                self.send_header(name, value)
            self.end_headers()
            for event in follow.events(run, self.server.session.refresh, lambda: self.server.closing):
                self.wfile.write(event)
        finally:
            with self.server._lock:
                self.server.followers -= 1


def _loopback(host: str) -> bool:
    return host == "localhost" or (_number(host) and ipaddress.ip_address(host).is_loopback)


def _number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
