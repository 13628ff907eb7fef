"""Any Linux board over ssh: nothing needs to be there but Python, numpy, and onnxruntime or LiteRT.

Each batch is one ssh command. The runner script and the models travel as a tar stream on its standard input,
are unpacked to a temporary folder there, timed, and removed, also when the connection breaks.
"""

import io
import re
import shlex
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult, parse_qs

from latency_tables.devices import runner_script
from latency_tables.devices.address import shown
from latency_tables.devices.jobs import job_files, last_line, parse_device, read_timings, read_usual_s
from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.devices.runtimes import ONNXRUNTIME, read_runtime
from latency_tables.errors import MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo, Precision

_SCRIPT = "runner_script.py"
_CLEANUP_S = 20
# Runs on the board. The folder is given last, and only to `measure`.
_UNPACK: Final = """
import runpy, sys, tarfile, tempfile
with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
    tarfile.open(fileobj=sys.stdin.buffer, mode="r|").extractall(folder)
    sys.argv = ["runner_script.py"] + [folder if word == "FOLDER" else word for word in sys.argv[1:]]
    runpy.run_path(folder + "/runner_script.py", run_name="__main__")
""".strip()
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*|[0-9A-Fa-f:]+")
_PATH = re.compile(r"[A-Za-z0-9_./~+-]+")


class SshRunner:
    """A board at `ssh://user@host:port`; `?python=PATH` names its Python, `?config=PATH` an ssh_config here,
    `?runtime=litert` LiteRT instead of ONNX Runtime."""

    def __init__(self, url: SplitResult, threads: int, precision: Precision = "fp32") -> None:
        self.threads = threads
        self.precision = precision
        self.address, port = _address(url)
        options = parse_qs(url.query)
        unknown = set(options) - {"python", "config", "runtime"}
        if unknown or (url.path not in ("", "/")):
            raise TableError(
                f"{shown(url.geturl())!r}: accepted is ssh://user@host:port?python=PATH&config=PATH&runtime=litert"
            )
        self.runtime = read_runtime(options.get("runtime", [ONNXRUNTIME.name])[0])
        self.runtime.require(precision)
        self.python = options.get("python", ["python3"])[0]
        if not _PATH.fullmatch(self.python):
            raise TableError(f"the board's python {self.python!r} is no plain path")
        config = options.get("config", [])
        self._usual_s: float | None = None
        self.options = [
            *("-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
            *("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-C"),
            *(["-p", str(port)] if port else []),
            *(["-F", config[0]] if config else []),
        ]

    def describe(self) -> DeviceInfo:
        """The board. MeasurementError where it cannot be reached or lacks the runtime."""
        with self._command(["describe", str(self.threads), self.runtime.name], ()) as (process, errors):
            output = process.communicate()[0]
            if process.returncode != 0:
                raise MeasurementError(f"{self.address} cannot be measured: {last_line(errors) or 'no answer'}")
        return parse_device(output, self.address, self.precision)

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models`, one ssh command for all of them. DeviceLost where the connection ends early."""
        job = job_files(models, protocol, self.threads, self.runtime, self._usual_s)
        with self._command(["measure", "FOLDER"], job) as (process, errors):
            yield from read_timings(process.stdout or (), models, self.address, lambda: last_line(errors))
            self._usual_s = read_usual_s(process.stdout or ())
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_CLEANUP_S)  # the board is removing what it was sent

    @contextmanager
    def _command(
        self, arguments: list[str], job: Iterable[tuple[str, bytes]]
    ) -> Iterator[tuple["subprocess.Popen[str]", IO[str]]]:
        """A running ssh that is sent the files of `job`, and what it writes as errors; killed on leaving."""
        # ssh joins its words into one line for the board's shell: quoted here, none of them from a user but
        # the path of python, which is checked above.
        remote = shlex.join([self.python, "-c", _UNPACK, *arguments])
        command = ["ssh", *self.options, "--", self.address, remote]
        with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile() as archive:
            _write_archive(archive, job)
            archive.seek(0)
            try:
                process = subprocess.Popen(command, stdin=archive, stdout=subprocess.PIPE, stderr=errors, text=True)
            except FileNotFoundError:
                raise MeasurementError("there is no ssh on this machine; install OpenSSH's client") from None
            with process:
                try:
                    yield process, errors
                finally:
                    process.kill()


def _write_archive(stream: IO[bytes], job: Iterable[tuple[str, bytes]]) -> None:
    """Write a tar file of the runner script and the files of `job` to `stream`."""
    with tarfile.open(fileobj=stream, mode="w") as archive:
        _add(archive, _SCRIPT, Path(runner_script.__file__).read_bytes())
        for name, content in job:
            _add(archive, name, content)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def _address(url: SplitResult) -> tuple[str, int | None]:
    try:
        host, port = url.hostname or "", url.port
    except ValueError:
        raise TableError(f"{shown(url.geturl())!r} has no valid port") from None
    user = url.username
    if not _HOST.fullmatch(host) or (user is not None and not _NAME.fullmatch(user)) or url.password is not None:
        raise TableError(
            f"{shown(url.geturl())!r} names no board; accepted is ssh://user@host:port, with a key, no password"
        )
    return (f"{user}@{host}" if user else host), port
