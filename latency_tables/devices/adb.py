"""Android phones over adb, without root: a runtime's own benchmark program is pushed, run and removed.

The program is named in the URL, `adb://serial?binary=PATH`, with `&library=PATH` for each shared library of it and
`&delegate=gpu` for what computes instead of the CPU.
"""

import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import SplitResult, parse_qs

from latency_tables.devices.address import shown
from latency_tables.devices.programs import Program, read_program, timed_by
from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.errors import DeviceLost, MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo, Precision

_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_FOLDER: Final = PurePosixPath("/data/local/tmp/pocketnas")
_PROGRAM: Final = str(_FOLDER / "program")
_TIMEOUT_S: Final = 300
_PROPERTIES: Final = {
    "name": ("ro.product.model",),
    "soc": ("ro.soc.model", "ro.board.platform"),
    "architecture": ("ro.product.cpu.abi",),
    "system": ("ro.build.version.release",),
}


class AdbRunner:
    """The phone with a serial number that `adb devices` lists. `adb` is the client's program."""

    def __init__(self, url: SplitResult, threads: int, precision: Precision = "fp32", adb: str = "adb") -> None:
        options = parse_qs(url.query)
        self.serial = url.netloc
        if (
            not _SERIAL.fullmatch(self.serial)
            or set(options) - {"binary", "library", "delegate"}
            or url.path not in ("", "/")
        ):
            raise TableError(
                f"{shown(url.geturl())!r} names no phone; accepted is adb://SERIAL?binary=PATH&library=PATH&delegate=NAME,"
                " with the serial that `adb devices` lists"
            )
        self.binary = options.get("binary", [None])[0]
        self.libraries = [Path(name) for name in options.get("library", [])]
        self.accelerator = options.get("delegate", [None])[0]
        self.threads = threads
        self.precision = precision
        self.adb = adb

    def describe(self) -> DeviceInfo:
        """The phone, from its system properties. MeasurementError where adb has no such phone ready, TableError where
        no program is named."""
        found = {field: self._first_property(names) for field, names in _PROPERTIES.items()}
        cores = self._shell("nproc")
        program = self._program()
        return DeviceInfo(
            name=found["name"],
            soc=found["soc"],
            cores=int(cores) if cores.isdecimal() else 0,
            architecture=found["architecture"],
            system=f"Android {found['system']}",
            runtime=program.runtime.name,
            runtime_version=program.version,
            delegate=program.delegate,
            threads=self.threads,
            precision=self.precision,
            clock="wall",
        )

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models` one after the other; what was pushed is removed in the end. DeviceLost if the phone goes."""
        program = self._program()
        there = str(_FOLDER / f"model{program.runtime.suffix}")
        words = [_PROGRAM, *program.arguments(there, str(_FOLDER), protocol, self.threads)]
        self._shell("mkdir", "-p", str(_FOLDER))
        try:
            self._push(Path(str(self.binary)), _PROGRAM)
            self._shell("chmod", "755", _PROGRAM)
            for library in self.libraries:  # under its own name, as the linker looks for it
                self._push(library, str(_FOLDER / library.name))
            with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
                for model in models:
                    local = Path(folder) / "model"
                    local.write_bytes(program.runtime.file_bytes(model))
                    self._push(local, there)
                    yield timed_by(program, self.serial, model.name, protocol, lambda: self._run(words))
        finally:
            self._clean_up()

    def _program(self) -> Program:
        missing = [str(library) for library in self.libraries if not library.is_file()]
        if self.binary is None or missing:
            raise TableError(f"no benchmark program {', '.join(missing) or 'given'}: adb://SERIAL?binary=PATH names it")
        program = read_program(Path(self.binary), self.accelerator)
        program.runtime.require(self.precision)
        return program

    def _run(self, words: Sequence[str]) -> str:
        """What a program on the phone prints, whatever it ends with."""
        paths = f"LD_LIBRARY_PATH={_FOLDER} ADSP_LIBRARY_PATH={_FOLDER}"
        return self._adb("shell", f"{paths} {shlex.join(words)} 2>&1 || echo it failed with status $?")

    def _first_property(self, properties: Sequence[str]) -> str:
        values = (self._shell("getprop", name) for name in properties)
        return next((value for value in values if value), "unknown")

    def _clean_up(self) -> None:
        with suppress(MeasurementError):  # the phone may be gone; what matters has been raised already
            self._shell("rm", "-rf", str(_FOLDER))

    def _push(self, file: Path, there: str) -> None:
        self._adb("push", str(file), there)

    def _shell(self, *words: str) -> str:
        # adb joins its words into one line for the phone's shell.
        return self._adb("shell", shlex.join(words)).strip()

    def _adb(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [self.adb, "-s", self.serial, *words],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
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
