"""NVIDIA GPUs: TensorRT's own `trtexec`, which builds an engine and times it on the GPU's clock.

`trtexec` comes with every TensorRT (on a Jetson in /usr/src/tensorrt/bin); another place or name is given in
the URL, `tensorrt://?binary=PATH`. A row is the median GPU compute time: copies to and from the GPU, which a
network pays once, are not in it.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs

from latency_tables.devices.address import shown
from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.errors import MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo

_PLACES: Final = ("trtexec", "/usr/src/tensorrt/bin/trtexec")
_TIMEOUT_S: Final = 600
_MEDIAN = re.compile(r"GPU Compute Time:.*?\bmedian = ([0-9.eE+-]+) ms")
_VERSION = re.compile(r"\[TensorRT v(\d+)\]")


class TensorrtRunner:
    """The GPU that TensorRT finds first."""

    def __init__(self, url: SplitResult) -> None:
        options = parse_qs(url.query)
        if set(options) - {"binary"} or url.netloc or url.path not in ("", "/", "tensorrt"):
            raise TableError(f"{shown(url.geturl())!r}: accepted is tensorrt or tensorrt://?binary=PATH")
        self.places = tuple(options.get("binary", _PLACES))

    def describe(self) -> DeviceInfo:
        """The GPU that nvidia-smi lists first, and TensorRT's version. MeasurementError where either lacks."""
        gpu = _run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]).splitlines()
        if not gpu:
            raise MeasurementError("nvidia-smi lists no GPU on this machine")
        version = _VERSION.search(_run([self._trtexec(), "--help"]))
        return DeviceInfo(
            name=gpu[0].strip(),
            soc=gpu[0].strip(),
            runtime="tensorrt",
            runtime_version=version[1] if version else "unknown",
            delegate="GPU",
            clock="GPU",
        )

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models`; each fresh session is an engine that is built anew."""
        trtexec = self._trtexec()
        with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
            file = Path(folder) / "model.onnx"
            for model in models:
                file.write_bytes(model.onnx_bytes)
                command = [
                    trtexec,
                    f"--onnx={file}",
                    f"--iterations={protocol.runs}",
                    f"--duration={protocol.session_ms / 1000}",
                    "--warmUp=200",
                    "--useSpinWait",
                ]
                medians = tuple(_median_ms(model.name, _run(command)) for _ in range(protocol.sessions))
                yield Timing(model.name, medians, protocol.runs * protocol.sessions)

    def _trtexec(self) -> str:
        for place in self.places:
            if found := shutil.which(place):
                return found
        raise MeasurementError(f"there is no {' or '.join(self.places)}; install TensorRT, or name it in ?binary=PATH")


def _median_ms(name: str, output: str) -> float:
    match = _MEDIAN.search(output)
    if match is None or float(match[1]) <= 0:
        raise MeasurementError(f"trtexec did not time {name!r}; it said: {output.strip()[-200:]!r}")
    return float(match[1])


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise MeasurementError(f"there is no {command[0]} on this machine; is there an NVIDIA GPU?") from None
    except subprocess.TimeoutExpired:
        raise MeasurementError(f"{command[0]} took more than {_TIMEOUT_S} s") from None
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise MeasurementError(f"{command[0]} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout
