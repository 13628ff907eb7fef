"""What tests of the browser device need: the npm package, a browser, and a client that speaks for a page."""

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import DeviceOptions
from latency_tables.devices.web.runner import WebRunner
from tests.report.chromium import Page, browser, find_chromium

PAGE = "0123456789abcdef" * 2
OTHER = "fedcba9876543210" * 2
BROWSER = {
    "user_agent": "Test/1.0",
    "model": "Pixel",
    "platform": "Android 15",
    "architecture": "arm",
    "gpu": "",
    "cores": 8,
    "threads": 1,
    "isolated": True,
    "clock_ms": 0.005,
}


def ort_web() -> Path:
    """The unpacked npm package that POCKETNAS_ORT_WEB names; skipped without."""
    folder = os.environ.get("POCKETNAS_ORT_WEB")
    if not folder:
        pytest.skip("POCKETNAS_ORT_WEB does not name an unpacked npm package onnxruntime-web")
    return Path(folder)


@contextmanager
def chromium(profile: Path) -> Iterator[Page]:
    """A real headless browser; skipped where there is none."""
    command = find_chromium()
    if command is None:
        pytest.skip("no Chromium on this machine")
    with browser(command, profile) as page:
        yield page


@contextmanager
def web_runner(folder: Path | None = None, device: str = "web", threads: int = 1) -> Iterator[WebRunner]:
    """The browser device, without a browser yet."""
    runner = open_runner(device, DeviceOptions(threads, ort_web=folder))
    assert isinstance(runner, WebRunner)
    try:
        yield runner
    finally:
        runner.close()


class Client:
    """Speaks HTTP with the server of a runner, as whoever it likes to be."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.origin, self.path = f"http://{parts.netloc}", parts.path
        self.host, self.port = parts.hostname or "", parts.port or 0

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; a header that is None is left out."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.putrequest(method, path, skip_host=True)
        sent = {"Host": urlsplit(self.origin).netloc, "Content-Length": str(len(body or b"")), **given}
        for name, value in sent.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), data

    def post(self, name: str, message: Any, **headers: str | None) -> tuple[int, dict[str, Any]]:
        """Post `message` (JSON, or bytes as they are) as the page would."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        sent: dict[str, str | None] = {"Origin": self.origin, "Content_Type": "application/json", **headers}
        status, _, data = self.ask("POST", self.path + name, body, **sent)
        return status, json.loads(data)
