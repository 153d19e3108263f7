"""The web server of the lab and of the app: fixed pages and fixed questions, for this machine unless told otherwise.

Any page that a browser shows can send requests to 127.0.0.1, and any program can send any bytes. So a request is
refused unless its Host, Origin, Sec-Fetch-Site, type, length and path are the ones that the site's own page sends; what
changes something needs a token, which only the address that was printed holds. docs/lab.md lists the rules.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import socketserver
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from minicnn.web import wire
from minicnn.web.site import Site, answer

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
    """Serves a site; port 0 takes a free one.

    ValueError for a host beyond this machine without a token of at least 16 characters: then every question needs it.
    """

    daemon_threads, block_on_close, request_queue_size = True, False, CONNECTIONS

    def __init__(self, site: Site, port: int = 0, host: str = "127.0.0.1", token: str = ""):
        self.site, self.public = site, not _loopback(host)
        if self.public and len(token) < 16:
            raise ValueError(f"host (={host}) is open to other machines, which needs a token of at least 16 "
                             "characters: give one with --token, or leave --host out")
        self.token = token or secrets.token_urlsafe(18)
        self._deadlines: dict[socket.socket, float] = {}
        self._count, self.followers, self._lock, self.closing = 0, 0, threading.Lock(), False
        super().__init__((host, port), Handler)
        names = {host} | ({"127.0.0.1", "localhost"} if not self.public else {socket.gethostname()})
        self.hosts = {f"{name}:{self.server_port}".lower() for name in names}

    @property
    def address(self) -> str:
        """Where the page is; the part behind # is not sent over the network."""
        host = "127.0.0.1" if not self.public else str(self.server_address[0])
        return f"http://{_reachable(host)}:{self.server_port}/#token={self.token}"

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
    _single: ClassVar = ("Host", "Origin", "Content-Length", "Content-Type", "Sec-Fetch-Site", "X-Token")

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
        said = {"error": f"this is no request that the {self.server.site.name} answers"}
        self._send(int(code), wire.encode(said), "application/json")

    def do_GET(self) -> None:
        """A page, or what needs no question."""
        if self._refused(api := self.path.startswith("/api/")):
            return
        self.server.due(self.connection, None)
        site = self.server.site
        if self.path in site.pages:
            self._send(200, *site.pages[self.path])
        elif self.path in site.reads:
            self._answer(None)
        elif self.path in site.streams:
            self._follow(site.streams[self.path])
        else:
            self._refuse(404, "there is no such question" if api else "there is no such page")

    def do_POST(self) -> None:
        """A question."""
        site = self.server.site
        picture, question = site.pictures.get(self.path), site.questions.get(self.path)
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self._refused(True):
            return
        if picture is None and question is None:
            self._refuse(404, "there is no such question")
        elif kind != (needed := "application/octet-stream" if picture else "application/json"):
            self._refuse(415, f"the Content-Type of this question must be {needed}")
        elif question and question.writes and not self._has_token():
            self._refuse(403, "this changes something, which needs the token in the address that was printed")
        elif (body := self._body(site.most_bytes if picture else MOST_QUESTION)) is not None:
            self.server.due(self.connection, None)
            self._answer(body)

    def _refused(self, needs_token: bool) -> bool:
        """Whether the request did not come from the lab's own page, or is ambiguous; then it is answered."""
        h = self.headers
        if any(len(h.get_all(name, [])) > 1 for name in self._single) or "Transfer-Encoding" in h:
            return self._refuse(400, "the request says a thing twice, or does not say its length")
        if not self.server.knows(h.get("Host", "")):
            return self._refuse(421, f"the Host is not the {self.server.site.name}'s")
        if "Origin" in h and h["Origin"].lower() != f"http://{h['Host'].lower()}":
            return self._refuse(403, "the request comes from another site")
        if h.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return self._refuse(403, "the request comes from another site")
        if self.server.public and needs_token and not self._has_token():
            return self._refuse(403, f"this {self.server.site.name} needs the token in the address that was printed")
        return False

    def _has_token(self) -> bool:
        given = self.headers.get("X-Token", "")
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

    def _answer(self, body: bytes | None) -> None:
        self._send(*answer(self.server.site, self.path, body), "application/json")

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

    def _follow(self, events: Callable[[Callable[[], bool]], Iterator[bytes]]) -> None:
        """Server-sent events, until the page is gone or the server closes."""
        with self.server._lock:
            full = self.server.followers >= FOLLOWERS
            self.server.followers += not full
        if full:
            self._refuse(503, f"{FOLLOWERS} pages follow already")
            return
        self.close_connection = True
        try:
            self.send_response(200)
            for name, value in {"Content-Type": "text/event-stream", "Connection": "close", **HEADERS}.items():
                self.send_header(name, value)
            self.end_headers()
            for event in events(lambda: self.server.closing):
                self.wfile.write(event)
        finally:
            with self.server._lock:
                self.server.followers -= 1


def serve(site: Site, port: int, host: str, token: str, *, say: Callable[[str], None], browser: bool,
          warm_up: Callable[[], None]) -> None:  # fmt: skip
    """Serve a site until Ctrl-C. ValueError, one sentence, where it can't listen there."""
    try:
        server = Server(site, port, host, token)
    except OSError as problem:
        raise ValueError(f"port {port} of {host} can't be used ({problem.strerror}): choose another with --port; "
                         "0 takes a free one") from None
    say(f"The {site.name} is at {server.address}")
    say("It runs until Ctrl-C.")
    warm_up()
    if browser:
        webbrowser.open(server.address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:                                      # the way to end it, and no error
        say("Stopped.")
    finally:
        server.server_close()


def _reachable(host: str) -> str:
    """An address for the page: where the server listens on all of them, the one that leads to other machines."""
    if not ipaddress.ip_address(host).is_unspecified:
        return host
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))                            # UDP: nothing is sent
        return str(probe.getsockname()[0])
    return host


def _loopback(host: str) -> bool:
    return host == "localhost" or (_number(host) and ipaddress.ip_address(host).is_loopback)


def _number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
