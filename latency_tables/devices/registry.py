"""Every device that can be measured, by the scheme of its name."""

from collections.abc import Callable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from latency_tables.devices.runner import Runner
from latency_tables.errors import TableError


def _host(url: SplitResult, threads: int) -> Runner:
    from latency_tables.devices.host import HostRunner

    return HostRunner(threads)


def _ssh(url: SplitResult, threads: int) -> Runner:
    from latency_tables.devices.ssh import SshRunner

    return SshRunner(url, threads)


def _adb(url: SplitResult, threads: int) -> Runner:
    from latency_tables.devices.adb import AdbRunner

    return AdbRunner(url, threads)


def _tensorrt(url: SplitResult, threads: int) -> Runner:
    from latency_tables.devices.tensorrt import TensorrtRunner

    return TensorrtRunner(url)


RUNNERS: Final[dict[str, Callable[[SplitResult, int], Runner]]] = {
    "host": _host,
    "ssh": _ssh,
    "adb": _adb,
    "tensorrt": _tensorrt,
}


def open_runner(device: str, threads: int = 1) -> Runner:
    """The runner for `host`, `ssh://user@board:port`, `adb://serial`, `tensorrt`…; TableError if none is.

    `threads` is how many threads a network may use on the device.
    """
    if threads < 1:
        raise TableError(f"threads must be at least 1, not {threads}")
    url = urlsplit(device)
    scheme = url.scheme or url.path
    if scheme not in RUNNERS:
        raise TableError(
            f"device {device!r} cannot be measured; accepted are host, ssh://user@board, adb://serial, tensorrt"
        )
    return RUNNERS[scheme](url, threads)
