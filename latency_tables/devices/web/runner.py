"""A phone's browser as a device: it opens one page, which times every model with ONNX Runtime Web."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import SplitResult, parse_qs

from latency_tables.devices.address import shown
from latency_tables.devices.runner import DeviceOptions, Timing, TimingProtocol
from latency_tables.devices.web.exchange import Exchange
from latency_tables.devices.web.package import BACKENDS, CDN, Backend, WebRuntime, runtime_from_cdn, runtime_in
from latency_tables.devices.web.server import WebServer
from latency_tables.errors import TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo

_LISTEN: Final = "127.0.0.1:0"
_GOODBYE_S: Final = 3.0


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class WebRunner:
    """Whatever browser opens the page: `web`, or `web?backend=webgpu`. `tell` gets what a person should read."""

    def __init__(self, url: SplitResult, options: DeviceOptions, tell: Callable[[str], None] = _to_stderr) -> None:
        backend = _backend(url)
        if backend == "webgpu" and options.threads != 1:
            raise TableError("threads are for the wasm back end of a browser; webgpu takes 1")
        self.runtime: WebRuntime = (
            runtime_from_cdn(backend) if options.ort_web is None else runtime_in(options.ort_web, backend)
        )
        self._tell = tell
        self._exchange = Exchange(tell)
        self._server: WebServer | None = WebServer(options.listen or _LISTEN, self._exchange, self.runtime, options)
        self.address = self._server.address
        self._invite(self._server.local_only)

    def describe(self) -> DeviceInfo:
        """The browser in which somebody opened the page; waits for that until Ctrl-C. MeasurementError where the
        browser cannot run ONNX Runtime Web as asked."""
        return self._exchange.device()

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models` in the page, each as it is asked for; a page that is lost is waited for, and told of."""
        for model in models:
            yield self._exchange.time(model.name, model.input_shape, model.onnx_bytes, protocol)

    def show_progress(self, done: int, total: int) -> None:
        """The page draws it."""
        self._exchange.progress = (done, total)

    def close(self) -> None:
        """Tell the page that it is done, and give the port back."""
        if self._server is not None:
            self._exchange.end()
            self._exchange.wait_until_told(_GOODBYE_S)
            self._server.stop()
            self._server = None

    def _invite(self, local_only: bool) -> None:
        self._tell("open this page in the browser that is to be measured, and keep it in sight (Ctrl-C gives up):")
        self._tell(self.address)
        self._tell(_qr_code(self.address))
        if local_only:
            self._tell("it can be opened on this machine only; --listen ADDRESS:PORT serves a phone in your network")
        if self.runtime.from_cdn:
            self._tell(
                f"the page loads ONNX Runtime Web {self.runtime.version} from {CDN} and checks its SHA-384; "
                "--ort-web FOLDER serves an unpacked npm package from here"
            )


def _backend(url: SplitResult) -> Backend:
    asked = parse_qs(url.query, keep_blank_values=True)
    name = asked.pop("backend", ["wasm"])[-1]
    for backend in BACKENDS:
        if backend == name and not (asked or url.netloc) and url.path in ("", "/", "web"):
            return backend
    raise TableError(f"{shown(url.geturl())!r}: accepted is web, web?backend=wasm, or web?backend=webgpu")


def _qr_code(address: str) -> str:
    """The address as a QR code of half blocks, light on dark."""
    import io

    import segno

    drawn = io.StringIO()
    segno.make(address, micro=False).terminal(out=drawn, border=2, compact=True)
    return drawn.getvalue().rstrip("\n")
