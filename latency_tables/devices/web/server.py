"""The web server that one page measures through: behind a random token, for one address, for one origin."""

import gzip
import hmac
import html
import ipaddress
import json
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

from latency_tables.devices.runner import DeviceOptions
from latency_tables.devices.web import messages
from latency_tables.devices.web.exchange import Exchange, Refused
from latency_tables.devices.web.package import CDN, WebRuntime
from latency_tables.errors import TableError

_ASSETS: Final[Mapping[str, tuple[str, str]]] = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
    "timing.js": ("timing.js", "text/javascript; charset=utf-8"),
}
_ORT_TYPES: Final = {".mjs": "text/javascript; charset=utf-8", ".wasm": "application/wasm"}
_CONNECTIONS: Final = 32
_IDLE_S: Final = 30.0
_POLL_S: Final = 8.0


class WebServer(ThreadingHTTPServer):
    """Serves the page at `address` until it is closed. Raises TableError where it cannot listen at `listen`."""

    daemon_threads = True
    request_queue_size = 2 * _CONNECTIONS
    allow_reuse_address = True

    def __init__(self, listen: str, exchange: Exchange, runtime: WebRuntime, options: DeviceOptions) -> None:
        self.exchange, self.runtime, self.options = exchange, runtime, options
        self.token = secrets.token_urlsafe(16)
        host, port = parse_listen(listen)
        self._slots = threading.BoundedSemaphore(_CONNECTIONS)
        try:
            self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise TableError(f"cannot listen at {listen!r}: {getattr(error, 'strerror', None) or error}") from None
        self.host, self.port = host, int(self.server_address[1])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """What to open in a browser; of a wildcard host, this machine's own address in its network."""
        shown = _own_address(self.address_family) if ipaddress_of(self.host) == "any" else self.host
        return f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/{self.token}/"

    @property
    def local_only(self) -> bool:
        """Whether only this machine reaches the page."""
        return ipaddress_of(self.host) == "loopback"

    def accepts_host(self, header: str) -> bool:
        """Whether a Host header is one of ours: a name that somebody else points here is not."""
        try:
            parts = urlsplit(f"//{header}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            return False
        kind = ipaddress_of(self.host)
        if kind == "any":
            own = ipaddress_of(name) != "name" or name == "localhost"
        elif kind == "loopback":
            own = ipaddress_of(name) == "loopback"
        else:
            own = name == self.host.lower()
        return own and port == self.port

    def page(self) -> bytes:
        """The page, knowing what to load and how many threads to use."""
        runtime = self.runtime
        settings = {
            "backend": runtime.backend,
            "version": runtime.version,
            "threads": self.options.threads,
            "files": [{"address": file.address, "integrity": file.integrity} for file in runtime.files],
        }
        text = _asset("page.html").decode()
        return text.replace("SETTINGS", html.escape(json.dumps(settings), quote=True)).encode()

    def stop(self) -> None:
        """Answer nothing any more, and give the port back."""
        self.shutdown()
        self.server_close()
        self._thread.join(timeout=5)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection, up to a limit; what comes beyond it is hung up on."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Handle one connection and free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that breaks is the browser's affair; the page asks again."""


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT` or `[IPv6]:PORT`; port 0 takes any free one. TableError if it is neither."""
    host, colon, port = listen.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    if not colon or not plain or (":" in plain) != bracketed or not port.isascii() or not port.isdecimal():
        raise TableError(f"{listen!r} is no address to listen on; accepted is HOST:PORT, such as 192.168.1.20:8000")
    if int(port) > 65535:
        raise TableError(f"{listen!r} has no valid port; ports end at 65535, and 0 takes a free one")
    return plain, int(port)


def ipaddress_of(host: str) -> str:
    """ "loopback", "any" (the wildcard), "address", or "name" for what is no IP address."""
    if host == "localhost":
        return "loopback"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return "name"
    return "loopback" if address.is_loopback else "any" if address.is_unspecified else "address"


def _own_address(family: int) -> str:
    """This machine's address in the network that its default route leads to; nothing is sent."""
    v6 = family == socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("2001:db8::1" if v6 else "192.0.2.1", 9))
        except OSError:
            return "::1" if v6 else "127.0.0.1"
        return str(probe.getsockname()[0])


def _asset(name: str) -> bytes:
    return resources.files("latency_tables.devices.web").joinpath("page", name).read_bytes()


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pocketnas", ""
    timeout = _IDLE_S  # of the socket: a connection that says nothing is closed

    def do_GET(self) -> None:
        """The page, its files, and the model that is to be timed."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """What the page says."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the measurement tells what matters."""

    def _answer(self, work: Callable[[str], None]) -> None:
        try:
            work(self._path())
        except Refused as refused:
            # What was not read of a refused request would be taken for the next one.
            self.close_connection = self.close_connection or self.command == "POST"
            self._send(refused.status, {"error": str(refused), "progress": self.server.exchange.progress})

    def _path(self) -> str:
        """What is asked for, below the token. Refused: a foreign host or origin, or a wrong token."""
        if not self.server.accepts_host(self.headers.get("Host", "")):
            raise Refused(403, "this address is not served here")
        origin = self.headers.get("Origin")
        if origin != f"http://{self.headers['Host']}" and (origin is not None or self.command == "POST"):
            raise Refused(403, "foreign origin")
        token, slash, path = self.path.removeprefix("/").partition("/")
        if not slash or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            raise Refused(404, "not found")
        return path

    def _get(self, path: str) -> None:
        server = self.server
        if path in _ASSETS:
            name, kind = _ASSETS[path]
            self._send_bytes(server.page() if path == "" else _asset(name), kind)
        elif path.startswith("model/") and path[6:].isascii() and path[6:].isdecimal() and len(path) < 20:
            self._send_bytes(server.exchange.model(int(path[6:])), "application/octet-stream", compress=True)
        else:
            for file in server.runtime.files:
                if file.path is not None and file.address == path:
                    self._send_bytes(file.path.read_bytes(), _ORT_TYPES[file.path.suffix])
                    return
            raise Refused(404, "not found")

    def _post(self, path: str) -> None:
        exchange, body = self.server.exchange, self._body()
        match path:
            case "join":
                join = messages.read(messages.Join, body)
                runtime, options = self.server.runtime, self.server.options
                exchange.join(join.page, join.device(runtime.version, runtime.backend, options.precision))
            case "alive":
                exchange.heard(messages.read(messages.Alive, body).page)
            case "leave":
                exchange.leave(messages.read(messages.Alive, body).page)
            case "next":
                self._next(messages.read(messages.Alive, body).page)
                return
            case "result":
                said = messages.read(messages.Result, body)
                exchange.answer(said.page, said.task, tuple(said.session_ms), said.runs, said.disturbed)
            case "failed":
                failure = messages.read(messages.Failure, body)
                if failure.task:
                    exchange.fail(failure.page, failure.task, failure.plain_reason)
                else:
                    exchange.unable(failure.plain_reason)
            case _:
                raise Refused(404, "not found")
        self._send(200, {"progress": exchange.progress})

    def _next(self, page: str) -> None:
        task = self.server.exchange.next(page, _POLL_S)
        document: dict[str, Any] = {"progress": self.server.exchange.progress}
        if task is not None:
            document |= {
                "task": task.number,
                "name": task.name,
                "shape": task.shape,
                "protocol": task.protocol.to_dict(),
            }
        self._send(200, document)

    def _body(self) -> bytes:
        """The JSON that was posted. Refused: another kind of content, or more than any message takes."""
        length = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not (length.isascii() and length.isdecimal()):
            raise Refused(411, "a length is needed")
        if len(length) > 9 or int(length) > messages.MAX_BYTES:
            raise Refused(413, f"a message has at most {messages.MAX_BYTES} bytes")
        if self.headers.get_content_type() != "application/json":
            raise Refused(415, "a message is application/json")
        return self.rfile.read(int(length))

    def _send(self, status: int, document: Mapping[str, Any]) -> None:
        self._send_bytes(json.dumps(document).encode(), "application/json", status)

    def _send_bytes(self, body: bytes, kind: str, status: int = 200, compress: bool = False) -> None:
        self.send_response(status)
        if compress and "gzip" in self.headers.get("Accept-Encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        for name, value in self._headers().items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _headers(self) -> dict[str, str]:
        elsewhere = f" {CDN}/npm/" if self.server.runtime.from_cdn else ""
        policy = {
            "default-src": "'none'",
            # The runtime is loaded, hashed by the browser, and run from its bytes: those are the blobs.
            "script-src": "'self' blob: 'wasm-unsafe-eval'",
            "worker-src": "'self' blob:",
            "connect-src": f"'self' blob:{elsewhere}",
            "style-src": "'self'",
            "img-src": "data:",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        return {
            "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
            # Together these isolate the page from other origins, which fine clocks and threads need.
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
