"""Android phones over adb, without root: ONNX Runtime's own benchmark program is pushed, run and removed.

The program is `onnxruntime_perf_test` built for Android (it is not distributed; docs/measure-my-phone.md tells
how to build it), named in the URL: `adb://serial?binary=PATH`, with `&library=PATH` for each shared library.
"""

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import SplitResult, parse_qs

from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.errors import DeviceLost, MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo, Precision

_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_FOLDER: Final = PurePosixPath("/data/local/tmp/pocketnas")
_MODEL: Final = str(_FOLDER / "model.onnx")
_PROGRAM: Final = str(_FOLDER / "program")
_TIMEOUT_S: Final = 300
# "P50 Latency: 0.0123 s" and, before 1.16, "P50 Latency is 0.0123 sec".
_MEDIAN = re.compile(r"^P50 Latency(?:\s+is|:)\s*([0-9.eE+-]+)\s*s(?:ec)?\s*$", re.MULTILINE)


class AdbRunner:
    """The phone with a serial number that `adb devices` lists. `adb` is the client's program."""

    def __init__(self, url: SplitResult, threads: int, precision: Precision = "fp32", adb: str = "adb") -> None:
        options = parse_qs(url.query)
        self.serial = url.netloc
        if not _SERIAL.fullmatch(self.serial) or set(options) - {"binary", "library"} or url.path not in ("", "/"):
            raise TableError(
                f"{url.geturl()!r} names no phone; accepted is adb://SERIAL?binary=PATH&library=PATH, with the serial "
                "that `adb devices` lists"
            )
        self.files = [Path(name) for name in (*options.get("binary", [])[:1], *options.get("library", []))]
        self.threads = threads
        self.precision = precision
        self.adb = adb

    def describe(self) -> DeviceInfo:
        """The phone, from its system properties. MeasurementError where adb has no such phone ready."""
        names = {
            "name": ("ro.product.model",),
            "soc": ("ro.soc.model", "ro.board.platform"),
            "architecture": ("ro.product.cpu.abi",),
            "system": ("ro.build.version.release",),
        }
        found = {field: self._first_property(properties) for field, properties in names.items()}
        cores = self._shell("nproc")
        return DeviceInfo(
            name=found["name"],
            soc=found["soc"],
            cores=int(cores) if cores.isdecimal() else 0,
            architecture=found["architecture"],
            system=f"Android {found['system']}",
            runtime="onnxruntime",
            runtime_version=self.files[0].name if self.files else "unknown",
            delegate="CPUExecutionProvider",
            threads=self.threads,
            precision=self.precision,
        )

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models` one after the other; what was pushed is removed in the end. DeviceLost if the phone goes."""
        missing = [str(file) for file in self.files if not file.is_file()]
        if not self.files or missing:
            raise TableError(f"no benchmark program {', '.join(missing) or 'given'}: adb://SERIAL?binary=PATH names it")
        self._shell("mkdir", "-p", str(_FOLDER))
        try:
            for file, name in zip(self.files, self._names(), strict=True):
                self._adb("push", str(file), str(_FOLDER / name))
            self._shell("chmod", "755", _PROGRAM)
            with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
                for model in models:
                    local = Path(folder) / "model.onnx"
                    local.write_bytes(model.onnx_bytes)
                    self._adb("push", str(local), _MODEL)
                    medians = tuple(self._session(model.name, protocol) for _ in range(protocol.sessions))
                    yield Timing(model.name, medians, protocol.runs * protocol.sessions)
        finally:
            self._clean_up()

    def _session(self, name: str, protocol: TimingProtocol) -> float:
        """One fresh process on the phone: the median of its runs in milliseconds."""
        # Every word is ours: adb joins them into one line for the phone's shell.
        output = self._shell(
            f"LD_LIBRARY_PATH={_FOLDER}",
            _PROGRAM,
            *("-e", "cpu", "-m", "times", "-r", str(protocol.runs), "-x", str(self.threads), "-I", "-s", _MODEL),
        )
        match = _MEDIAN.search(output)
        try:
            median_ms = float(match[1]) * 1000 if match else 0.0
        except ValueError:
            median_ms = 0.0
        if median_ms <= 0:
            raise MeasurementError(f"{self.serial} did not time {name!r}; its program said: {output[-200:]!r}")
        return median_ms

    def _names(self) -> list[str]:
        """What the files are called on the phone: the program as we like, libraries as the linker looks for them."""
        return [PurePosixPath(_PROGRAM).name, *(file.name for file in self.files[1:])]

    def _first_property(self, properties: Sequence[str]) -> str:
        values = (self._shell("getprop", name) for name in properties)
        return next((value for value in values if value), "unknown")

    def _clean_up(self) -> None:
        with suppress(MeasurementError):  # the phone may be gone; what matters has been raised already
            self._shell("rm", "-rf", str(_FOLDER))

    def _shell(self, *words: str) -> str:
        return self._adb("shell", *words).strip()

    def _adb(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [self.adb, "-s", self.serial, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise MeasurementError("there is no adb on this machine; install Android's platform tools") from None
        except subprocess.TimeoutExpired:
            raise DeviceLost(f"{self.serial} did not answer `adb {words[0]}` for {_TIMEOUT_S} s") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()
            raise DeviceLost(f"phone {self.serial}: {said[-1] if said else 'adb failed'}")
        return done.stdout
