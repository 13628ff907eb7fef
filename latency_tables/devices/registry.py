"""Every device that can be measured, by the scheme of its name."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from latency_tables.devices.address import shown
from latency_tables.devices.runner import Closable, DeviceOptions, Runner
from latency_tables.errors import TableError


def _host(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.host import HostRunner

    if url.geturl() != "host":
        raise TableError(f"device {shown(url.geturl())!r} names more than 'host', which takes no address")
    return HostRunner(options.threads, options.precision)


def _host_litert(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.host import HostRunner
    from latency_tables.devices.runtimes import LITERT

    asked = parse_qs(url.query)
    if set(asked) - {"python"} or url.netloc or url.path not in ("", "/", "host+litert"):
        raise TableError(
            f"{shown(url.geturl())!r}: accepted is host+litert or host+litert://?python=PATH, which has LiteRT"
        )
    return HostRunner(options.threads, options.precision, asked.get("python", [sys.executable])[0], LITERT)


def _ssh(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.ssh import SshRunner

    return SshRunner(url, options.threads, options.precision)


def _adb(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.adb import AdbRunner

    return AdbRunner(url, options.threads, options.precision)


def _tensorrt(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.tensorrt import TensorrtRunner

    if options.precision != "fp32":
        raise TableError(f"device tensorrt is measured in fp32, not in {options.precision}")
    return TensorrtRunner(url)


def _web(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.web.runner import WebRunner

    return WebRunner(url, options)


def _coreml(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.coreml import CoremlRunner

    return CoremlRunner(url, options)


def _qai_hub(url: SplitResult, options: DeviceOptions) -> Runner:
    from latency_tables.devices.qai_hub import QaiHubRunner

    return QaiHubRunner(url, options)


RUNNERS: Final[dict[str, Callable[[SplitResult, DeviceOptions], Runner]]] = {
    "host": _host,
    "host+litert": _host_litert,
    "ssh": _ssh,
    "adb": _adb,
    "tensorrt": _tensorrt,
    "web": _web,
    "coreml": _coreml,
    "qai-hub": _qai_hub,
}


def open_runner(device: str, options: DeviceOptions | None = None) -> Runner:
    """The runner for `host`, `ssh://user@board:port`, `adb://serial`, …; TableError if there is none.

    What measures takes any `Runner`, so a device of one's own needs no entry here.
    """
    options = options or DeviceOptions()
    scheme = _scheme(device)
    if scheme not in RUNNERS:
        raise TableError(
            f"device {shown(device)!r} cannot be measured; accepted are host, host+litert, web, ssh://user@board,"
            " adb://serial, coreml://name, qai-hub://name, tensorrt"
        )
    if scheme != "web" and (options.listen is not None or options.ort_web is not None):
        raise TableError(f"an address to listen at and onnxruntime-web's folder are for device web, not for {device}")
    return RUNNERS[scheme](urlsplit(device), options)


@contextmanager
def opened_runner(device: str, options: DeviceOptions) -> Iterator[Runner]:
    """The same, closed in the end where it holds something open."""
    runner = open_runner(device, options)
    try:
        yield runner
    finally:
        if isinstance(runner, Closable):
            runner.close()


def needs_a_person(device: str) -> bool:
    """Whether measuring on `device` waits for somebody to do something there."""
    return _scheme(device) == "web"


def _scheme(device: str) -> str:
    try:
        url = urlsplit(device)
    except ValueError as error:
        raise TableError(f"a device's address is none ({error}); accepted is such as ssh://user@board") from None
    return url.scheme or url.path
