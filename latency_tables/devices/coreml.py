"""Core ML on a Mac, or on an iPhone or iPad that is connected to it by cable.

`coreml://` is this Mac, `coreml://NAME` a connected device as the Finder calls it; `?units=ne` chooses what may compute
(all, cpu, gpu, ne: the Neural Engine), `&team=ID` the developer team that signs coremltools' app.
"""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote

from latency_tables.devices.address import shown
from latency_tables.devices.coreml_script import UNITS, CoremlDevice
from latency_tables.devices.runner import DeviceOptions, Timing, TimingProtocol
from latency_tables.devices.runtimes import COREML
from latency_tables.errors import MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo


class CoremlRunner:
    """A device that coremltools drives; `device` is made from the address where it is not given."""

    def __init__(self, url: SplitResult, options: DeviceOptions, device: CoremlDevice | None = None) -> None:
        asked = parse_qs(url.query)
        name = unquote(url.netloc)
        units, team = (asked.get(key, [default])[0] for key, default in (("units", "all"), ("team", "")))
        if (
            set(asked) - {"units", "team"}
            or url.path not in ("", "/", "coreml")
            or not name.isprintable()
            or units not in UNITS
            or not (team.isalnum() or not team)  # coremltools gives it to a shell
        ):
            raise TableError(
                f"{shown(url.geturl())!r}: accepted is coreml://DEVICE NAME?units={'|'.join(UNITS)}&team=ID, or "
                "coreml:// for this Mac"
            )
        if options.threads != 1:
            raise TableError("Core ML decides itself how many threads a network uses; leave --threads away")
        self.precision = options.precision
        self._given = device
        self._device = device or CoremlDevice(name, units, team)

    def describe(self) -> DeviceInfo:
        """The device. MeasurementError where this is no Mac, or the device is not connected."""
        if sys.platform != "darwin" and self._given is None:
            raise MeasurementError(
                "coreml:// needs a Mac with Xcode; a kit (--kit KIT.zip --device coreml) can be carried to one, and "
                "--device web times any iPhone's browser"
            )
        with self._asking("does not answer"):
            return DeviceInfo(**self._device.describe(), precision=self.precision)

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models` one after the other. MeasurementError where one does not run, or the device goes."""
        for model in models:
            package = COREML.file_bytes(model)
            with self._asking(f"did not time {model.name!r}"):
                found = self._device.time(model.name, package, protocol.to_dict())
            yield Timing(model.name, tuple(found["session_ms"]), found["runs"])

    def close(self) -> None:
        """End coremltools' app on the device."""
        self._device.close()

    @contextlib.contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """What coremltools prints goes to standard error; whatever it raises is one line."""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                yield
        except Exception as error:  # its own, Core ML's and those of Apple's tools
            said: Any = getattr(error, "message", None) or error
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            line = " ".join(text.split())[:300] or type(error).__name__
            raise MeasurementError(f"{self._device.name or 'this Mac'} {what}: {line}") from error
