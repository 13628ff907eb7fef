"""A phone's browser as a device: whole tables in a real Chromium, and a server that trusts nobody."""

import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from latency_tables.build import ProfilePlan, measure_table
from latency_tables.devices.registry import open_runner
from latency_tables.devices.runner import DeviceOptions, Timing, TimingProtocol
from latency_tables.devices.web.exchange import SILENT_S, Exchange, Refused
from latency_tables.devices.web.package import CDN_VERSION, runtime_from_cdn, runtime_in
from latency_tables.devices.web.runner import WebRunner
from latency_tables.devices.web.server import parse_listen
from latency_tables.errors import MeasurementError, TableError
from latency_tables.measure import MeasureOptions
from latency_tables.onnx_models import NamedModel
from latency_tables.store import load_table
from latency_tables.table import DeviceInfo, LatencyTable
from pipeline.cli.app import run_command
from tests.latency_tables.conftest import BLOCKS, LARGE, SMALL, network
from tests.latency_tables.web import BROWSER, OTHER, PAGE, Client, chromium, ort_web, web_runner
from tests.waiting import until

QUICK = TimingProtocol(sessions=2, warmups=1, runs=3, session_ms=0, patience_ms=0)
STATE = "document.getElementById('state').textContent"


@pytest.fixture
def runner() -> Iterator[WebRunner]:
    """A device that waits for its page."""
    with web_runner() as found:
        yield found


@pytest.fixture
def client(runner: WebRunner) -> Iterator[Client]:
    """Somebody who knows the address."""
    found = Client(runner.address)
    yield found
    for page in (PAGE, OTHER):
        found.post("leave", {"page": page})


class Measurement(threading.Thread):
    """A measurement that goes on while the test does something to its page."""

    def __init__(self, runner: WebRunner, models: list[NamedModel]) -> None:
        super().__init__(daemon=True)
        self.runner, self.models = runner, models
        self.timings: list[Timing] = []
        self.error: MeasurementError | None = None
        self.start()

    def run(self) -> None:
        try:
            self.runner.describe()
            for timing in self.runner.measure(self.models, QUICK):
                self.timings.append(timing)
        except MeasurementError as error:
            self.error = error

    def reach(self, count: int) -> None:
        """Wait until that many models are timed."""
        end = time.monotonic() + 30
        while len(self.timings) < count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(self.timings) >= count


# -- in a real browser -------------------------------------------------------------------------------------------


def test_the_command_makes_a_table_in_a_real_browser(tmp_path: Path) -> None:
    """As a person does it: the command, the address that stands alone on a line, the browser, the table."""
    folder, out = ort_web(), tmp_path / "phone.json"
    command = ["profile", "quickstart", "--device", "web", "--quick", "--networks", "8", "--held-out", "4", "--json"]
    with (
        chromium(tmp_path / "browser") as page,
        subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command, "--ort-web", str(folder), "--out", str(out)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        address = next(line.strip() for line in process.stderr if line.startswith("http"))
        page.open(address)
        page.wait_for(f"{STATE}.startsWith('Done')", 60)
        said, problems = process.communicate(timeout=20)
        assert process.returncode == 0, problems
        assert page.problems == []
        assert {url.split("/")[2] for url in page.requests if url.startswith("http")} == {address.split("/")[2]}
    table = load_table(out)
    device = table.device
    assert json.loads(said)["device"]["runtime"] == "onnxruntime-web"
    assert (device.delegate, device.threads, device.runtime_version) == ("wasm", 1, _version(folder))
    assert device.browser is not None
    assert "Chrome" in device.browser.user_agent
    assert device.browser.isolated
    assert 0 < device.browser.clock_ms <= 0.02
    assert table.error is not None
    assert table.error.networks == 4
    assert all(0 < row.median_ms < 100 for row in table.rows.values())


def test_a_reload_and_a_second_tab_lose_nothing_and_measure_nothing_twice(tmp_path: Path) -> None:
    models = [NamedModel(f"m{number}", network(SMALL)) for number in range(24)]
    with web_runner(ort_web()) as runner, chromium(tmp_path) as page:
        page.open(runner.address)
        first = page.session
        measurement = Measurement(runner, models)
        measurement.reach(5)
        page.go(runner.address)
        measurement.reach(10)
        page.open(runner.address)
        page.wait_for(f"{STATE}.startsWith('Waiting: another page')")
        page.close(first)  # it was paused, being out of sight; the second one takes over
        page.wait_for(f"{STATE}.startsWith('Measuring')")
        measurement.join(60)
        assert [timing.name for timing in measurement.timings] == [model.name for model in models]
        runner.show_progress(24, 60)
        runner.close()
        page.wait_for(f"{STATE}.startsWith('Stopped')")


def test_more_threads_are_another_device(tmp_path: Path) -> None:
    nets = [NamedModel(f"n{i}", network(*[SMALL] * (1 + i % 3), *[LARGE] * (i // 3))) for i in range(6)]
    options = MeasureOptions(QUICK, visits=2, repeats=0, extra_visits=0)
    with web_runner(ort_web(), threads=2) as runner, chromium(tmp_path / "browser") as page:
        page.open(runner.address)
        table = measure_table(
            ProfilePlan(BLOCKS, tuple(nets[:3]), tuple(nets[3:])), runner, tmp_path / "t.json", options
        )
        page.wait_for("document.getElementById('count').textContent.includes(' of 22')")
    assert table.device.threads == 2
    assert {row.sessions for row in table.rows.values()} == {options.visits * QUICK.sessions}
    one = table.device.model_copy(update={"threads": 1})
    assert "threads" in table.device.differences(one)


def test_a_model_that_the_browser_refuses_is_told(tmp_path: Path) -> None:
    class Broken(NamedModel):
        @property
        def onnx_bytes(self) -> bytes:
            return b"no model"

    with web_runner(ort_web()) as runner, chromium(tmp_path) as page:
        page.open(runner.address)
        measurement = Measurement(runner, [Broken("broken", network(SMALL))])
        measurement.join(30)
        assert "cannot time 'broken'" in str(measurement.error)
        assert page.ask(STATE)  # the page lives on


def test_a_browser_without_webgpu_says_so(tmp_path: Path) -> None:
    with web_runner(ort_web(), "web?backend=webgpu") as runner, chromium(tmp_path) as page:
        page.open(runner.address)
        with pytest.raises(MeasurementError, match="WebGPU") as caught:
            runner.describe()
        assert caught.value.exit_code == 3
        page.wait_for(f"{STATE}.startsWith('This browser cannot measure')")


def test_a_runtime_whose_bytes_are_others_is_not_run(tmp_path: Path) -> None:
    """What a CDN or a network changes does not run: here the folder changes after it was hashed."""
    source, folder = ort_web(), tmp_path / "ort"
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_bytes((source / "package.json").read_bytes())
    for file in runtime_in(source, "wasm").files:
        (folder / "dist" / file.name).write_bytes((source / "dist" / file.name).read_bytes())
    with web_runner(folder) as runner, chromium(tmp_path / "browser") as page:
        with (folder / "dist" / "ort.wasm.min.mjs").open("a") as stream:
            stream.write("\n//")
        page.open(runner.address)
        with pytest.raises(MeasurementError, match="not the ones expected"):
            runner.describe()


def _version(folder: Path) -> str:
    return str(json.loads((folder / "package.json").read_text())["version"])


# -- without one: what the server lets nobody do -----------------------------------------------------------------


def test_a_page_is_served_with_its_headers_and_hashes(runner: WebRunner, client: Client) -> None:
    status, headers, body = client.ask("GET", client.path)
    assert status == 200
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert f"onnxruntime-web@{CDN_VERSION}/" in body.decode()
    assert body.decode().count("sha384-") == 3
    assert client.ask("GET", client.path + "ort/ort.wasm.min.mjs")[0] == 404  # only what is here is served


def test_the_pinned_hashes_are_those_of_the_package() -> None:
    folder = ort_web()
    if _version(folder) != CDN_VERSION:
        pytest.skip(f"the package is of version {_version(folder)}, the pinned hashes of {CDN_VERSION}")
    for backend in ("wasm", "webgpu"):
        pinned, found = runtime_from_cdn(backend), runtime_in(folder, backend)
        assert [file.integrity for file in pinned.files] == [file.integrity for file in found.files]


@pytest.mark.parametrize("path", ["/", "/wrong/", "/wrong/page.js", "PATHmodel/1", "PATH../web.py", "PATHort/../x"])
def test_what_is_not_served(path: str, client: Client) -> None:
    assert client.ask("GET", path.replace("PATH", client.path))[0] == 404


def test_the_token_is_long_and_another_each_time(client: Client) -> None:
    with web_runner() as other:
        assert Client(other.address).path != client.path
    assert len(client.path) > 20
    assert client.ask("GET", client.path[:-2] + "x/")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:PORT", "127.0.0.1", "192.168.1.1:PORT", "[", ""])
def test_another_host_s_name_is_refused(host: str, client: Client) -> None:
    assert client.ask("GET", client.path, Host=host.replace("PORT", str(client.port)))[0] == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1", None])
def test_a_foreign_origin_is_refused(origin: str | None, client: Client) -> None:
    assert client.post("join", {"page": PAGE, **BROWSER}, Origin=origin)[0] == 403


def test_only_the_address_asked_for_is_bound(client: Client) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.2", client.port)) != 0


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {"Content_Length": "999999999"}, 413),
        (b"{}", {"Content_Length": "9" * 40}, 413),
        (b"{}", {"Content_Length": "-1"}, 411),
        (b"{}", {"Content_Length": None}, 411),
        (b"{}", {"Content_Length": None, "Transfer_Encoding": "chunked"}, 411),
        (b" " * 20_000, {}, 413),
        (b"\xff\xfe", {}, 400),
        (b"[" * 10_000, {}, 400),
        (b"null", {}, 400),
    ],
)
def test_what_is_no_message_is_refused(
    body: bytes, headers: dict[str, str | None], status: int, client: Client
) -> None:
    assert client.post("join", body, **headers)[0] == status


@pytest.mark.parametrize(
    "change",
    [
        {"page": "x"},
        {"user_agent": "\x1b[31mred"},
        {"user_agent": "x" * 401},
        {"model": "[bold]\n"},
        {"cores": -1},
        {"cores": "8"},
        {"threads": 0},
        {"clock_ms": 0},
        {"clock_ms": 1e9},
        {"more": 1},
    ],
)
def test_a_browser_that_describes_itself_oddly_is_refused(change: dict[str, Any], client: Client) -> None:
    status, said = client.post("join", {"page": PAGE, **BROWSER, **change})
    assert status == 400
    assert next(iter(change)) in said["error"]


GOOD = {"page": PAGE, "task": 1, "session_ms": [1.0, 2.0], "runs": 6, "disturbed": 0}


HOSTILE: list[tuple[dict[str, Any], int]] = [
    ({"session_ms": [1.0]}, 400),
    ({"session_ms": [1.0, 2.0, 3.0]}, 400),
    ({"session_ms": [1.0, -2.0]}, 400),
    ({"session_ms": [1.0, 0.0]}, 400),
    ({"session_ms": [1.0, 1e300]}, 400),
    ({"session_ms": [1.0, float("nan")]}, 400),
    ({"session_ms": [1.0, float("inf")]}, 400),
    ({"session_ms": [1.0, "2"]}, 400),
    ({"session_ms": "12"}, 400),
    ({"session_ms": [1.0] * 3000}, 400),
    ({"runs": 0}, 400),
    ({"runs": 10**12}, 400),
    ({"disturbed": 3}, 400),
    ({"more": 1}, 400),
    ({"task": 2}, 409),
    ({"task": 0}, 409),
    ({"page": OTHER}, 409),
]


def test_hostile_results_are_refused_and_the_true_one_taken(runner: WebRunner, client: Client) -> None:
    measurement = Measurement(runner, [NamedModel("one", network(SMALL))])
    assert client.post("result", GOOD)[0] == 409  # nobody has joined
    assert client.post("join", {"page": PAGE, **BROWSER})[0] == 200
    assert client.post("result", GOOD)[0] == 409  # and not been given a model
    assert client.post("next", {"page": PAGE})[1]["task"] == 1
    for change, status in HOSTILE:
        assert client.post("result", GOOD | change)[0] == status, change
    assert measurement.timings == []
    assert client.post("result", GOOD)[0] == 200
    assert client.post("result", GOOD)[0] == 409  # nothing is counted twice
    measurement.join(10)
    assert measurement.timings == [Timing("one", (1.0, 2.0), 6, 0)]


def test_a_second_page_is_refused_until_the_first_has_left(runner: WebRunner, client: Client) -> None:
    measurement = Measurement(runner, [NamedModel("one", network(SMALL))])
    assert client.post("join", {"page": PAGE, **BROWSER})[0] == 200
    assert client.post("next", {"page": PAGE})[1]["task"] == 1
    assert client.post("join", {"page": OTHER, **BROWSER})[0] == 409
    assert client.post("next", {"page": OTHER})[0] == 409
    assert client.post("leave", {"page": OTHER})[0] == 200  # not the first one's good-bye
    assert client.post("join", {"page": OTHER, **BROWSER})[0] == 409
    assert client.post("leave", {"page": PAGE})[0] == 200
    status, said = client.post("join", {"page": OTHER, **BROWSER, "user_agent": "Another/2.0"})
    assert status == 403  # a second phone
    assert "Another/2.0" in said["error"]
    assert client.post("join", {"page": OTHER, **BROWSER})[0] == 200
    assert client.post("result", GOOD)[0] == 409  # the first one's comes too late
    assert client.post("next", {"page": OTHER})[1]["task"] == 1
    assert client.post("result", GOOD | {"page": OTHER})[0] == 200
    measurement.join(10)
    assert len(measurement.timings) == 1


def test_a_page_that_falls_silent_is_told_of_and_may_be_replaced() -> None:
    told: list[str] = []
    now = [0.0]
    exchange = Exchange(told.append, lambda: now[0])
    phone = DeviceInfo(name="phone", runtime="onnxruntime-web")
    exchange.join(PAGE, phone)
    waiting = threading.Thread(target=exchange.time, args=("one", (1, 3, 8, 8), b"", QUICK), daemon=True)
    waiting.start()
    task = exchange.next(PAGE, 5)
    assert task is not None
    with pytest.raises(Refused):
        exchange.join(OTHER, phone)
    now[0] = SILENT_S + 1
    until(lambda: told, "line about the silent page", 10)
    assert "gone" in told[0]
    exchange.join(OTHER, phone)
    assert exchange.next(OTHER, 5) == task
    until(lambda: told[1:], "line about the new page", 10)
    assert told[1:] == ["the page is back"]
    exchange.answer(OTHER, task.number, (1.0, 1.0), 6, 0)
    waiting.join(5)
    assert not waiting.is_alive()


def _hung_up(port: int) -> bool:
    """Whether the server closes one more connection at once."""
    with socket.create_connection(("127.0.0.1", port), timeout=0.2) as late:
        try:
            return late.recv(1) == b""
        except TimeoutError:
            return False


def _answers(client: Client) -> bool:
    try:
        return client.ask("GET", client.path)[0] == 200
    except OSError:
        return False


def test_too_many_connections_are_hung_up_on(client: Client) -> None:
    held = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(32)]
    until(lambda: _hung_up(client.port), "connection that is hung up on", 10)
    for connection in held:
        connection.close()
    until(lambda: _answers(client), "answer once there is room", 10)


@pytest.mark.parametrize("listen", ["8000", "host:", ":8000", "host:port", "host:70000", "::1:80", "[::1]", "", "a:-1"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(TableError, match=r"listen on|port"):
        parse_listen(listen)


def test_what_cannot_be_opened_is_one_line(
    tmp_path: Path, runner: WebRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    port = runner.address.split(":")[2].split("/")[0]
    base = ["profile", "quickstart", "--out", str(tmp_path / "t.json")]
    (tmp_path / "package.json").write_text('{"name": "onnxruntime-web", "version": "1.0.0"}')
    for more, message in (
        (["--device", "web", "--listen", f"127.0.0.1:{port}"], "cannot listen"),
        (["--device", "web", "--listen", "203.0.113.7:8000"], "cannot listen"),
        (["--device", "web", "--ort-web", str(tmp_path / "nowhere")], "no unpacked npm package"),
        (["--device", "web", "--ort-web", str(tmp_path)], "onnxruntime-web 1.0.0 has no"),
        (["--device", "web?backend=cuda"], "backend=webgpu"),
        (["--device", "web?backend=webgpu", "--threads", "2"], "webgpu takes 1"),
        (["--listen", "127.0.0.1:0"], "for device web"),
    ):
        assert run_command([*base, *more]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert message in said[-1], said
    assert not (tmp_path / "t.json").exists()


def test_a_wildcard_shows_an_address_that_a_phone_can_open(capsys: pytest.CaptureFixture[str]) -> None:
    runner = open_runner("web", DeviceOptions(listen="0.0.0.0:0"))
    assert isinstance(runner, WebRunner)
    try:
        client = Client(runner.address)
        assert "0.0.0.0" not in runner.address
        assert client.ask("GET", client.path)[0] == 200
        assert client.ask("GET", client.path, Host=f"evil.example:{client.port}")[0] == 403
    finally:
        runner.close()
    lines = capsys.readouterr().err.splitlines()
    assert runner.address in lines
    assert sum("█" in line for line in lines) > 10  # the QR code
    assert any("cdn.jsdelivr.net" in line for line in lines)


def test_old_tables_are_read_as_before(tmp_path: Path) -> None:
    table: LatencyTable = load_table("epyc-vm-quickstart")
    assert table.device.browser is None
    assert Counter(row.interpolated for row in table.rows.values()) == {False: len(table.rows)}
