"""Time Core ML packages on this Mac, or on an iPhone or iPad that is connected to it.

It needs a Mac with Xcode, Python 3.9 and coremltools 9, whose own runner does the work: it builds an app with Xcode,
installs it on the device and asks it for one prediction after the other. What is told is how long each prediction took
on the device. It goes into kits as it is, so it imports nothing of pocketnas.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import platform
import statistics
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNITS = {"all": "ALL", "cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ne": "CPU_AND_NE"}


class CoremlDevice:
    """A connected device by its name, or this Mac where there is none.

    `units` may compute, and `team` is the Apple developer team that signs the app, where Xcode does not know one.
    """

    def __init__(self, name: str = "", units: str = "all", team: str = "") -> None:
        if units not in UNITS:
            raise ValueError("units %r are unknown; accepted are %s" % (units, ", ".join(UNITS)))  # noqa: UP031
        self.name = name
        self.units = units
        self.team = team
        self._connected: Any = None
        self._folder = tempfile.TemporaryDirectory(prefix="pocketnas-")

    def describe(self) -> dict[str, Any]:
        """What a latency on the device depends on, as a dict of strings and numbers."""
        if self.name:
            device = self._found()
            name, system, soc = device.name, f"{device.type.value} OS {device.os_version}", device.type.value
            build = device.os_build_number
        else:
            system, (_, build, _) = f"macOS {platform.mac_ver()[0]}", platform.uname()[2:5]
            name, soc = platform.node() or "Mac", platform.machine()
        return {
            "name": name,
            "soc": soc,
            "system": system,
            "runtime": "coreml",
            "runtime_version": build or "unknown",
            "delegate": self.units,
            "clock": "wall",
        }

    def time(self, name: str, model: bytes, protocol: dict[str, Any]) -> dict[str, Any]:
        """Time one zipped package: its name, the median of each fresh session in milliseconds, the number of runs."""
        with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder, _temporary_files_in(folder):
            with zipfile.ZipFile(io.BytesIO(model)) as archive:
                archive.extractall(folder)
            (package,) = Path(folder).glob("*.mlpackage")
            asyncio.run(self._prepare())
            # coremltools shows a bar for every message.
            with contextlib.redirect_stderr(io.StringIO()):
                sessions = [asyncio.run(self._session(str(package), protocol)) for _ in range(protocol["sessions"])]
        medians = [statistics.median(times) for times in sessions]
        return {"name": name, "session_ms": medians, "runs": sum(map(len, sessions)), "disturbed": 0}

    def close(self) -> None:
        """End the app on the device."""
        if self._connected is not None:
            self._connected.session.stop()
            self._connected = None

    async def _session(self, package: str, protocol: dict[str, Any]) -> list[float]:
        """Milliseconds of each timed prediction of a freshly loaded model."""
        import coremltools
        from coremltools.models.ml_program.experimental.async_wrapper import MLModelAsyncWrapper

        units = coremltools.ComputeUnit[UNITS[self.units]]
        wrapper = MLModelAsyncWrapper.from_spec_or_path(package, "", compute_units=units, device=self._connected)
        await wrapper.load()
        try:
            inputs = _inputs(package)
            for _ in range(protocol["warmups"]):
                await wrapper.predict(inputs)
            times: list[float] = []
            # A prediction on a connected device takes long to ask for: of short ones no more are taken there.
            most = protocol["runs"] if self.name else 20 * protocol["runs"]
            while len(times) < protocol["runs"] or (sum(times) < protocol["session_ms"] and len(times) < most):
                await wrapper.predict(inputs)
                took_ns = wrapper.last_predict_duration_in_nano_seconds
                if not took_ns:
                    raise RuntimeError("Core ML did not tell how long a prediction took")
                times.append(took_ns / 1e6)
            return times
        finally:
            await wrapper.unload()

    def _found(self) -> Any:
        from coremltools.models.ml_program.experimental.remote_device import Device

        devices = Device.get_devices()
        for device in devices:
            if self.name in (device.name, device.udid, device.identifier):
                return device
        known = ", ".join(repr(device.name) for device in devices) or "none"
        raise LookupError("no device %r is connected; connected are: %s" % (self.name, known))  # noqa: UP031

    async def _prepare(self) -> None:
        """Have coremltools' app running on a connected device."""
        if not self.name or self._connected is not None:
            return
        from coremltools.models.ml_program.experimental.remote_device import AppSigningCredentials

        credentials = AppSigningCredentials(development_team=self.team)
        self._connected = await self._found().prepare_for_model_debugging(credentials, Path(self._folder.name))


@contextlib.contextmanager
def _temporary_files_in(folder: str) -> Iterator[None]:
    """coremltools leaves a file for each prediction on a connected device."""
    before = tempfile.tempdir
    tempfile.tempdir = folder
    try:
        yield
    finally:
        tempfile.tempdir = before


def _inputs(package: str) -> dict[str, Any]:
    """A random picture for each input of a package."""
    import coremltools
    import numpy

    specification = coremltools.models.MLModel(package, skip_model_load=True).get_spec()
    shapes = {one.name: tuple(one.type.multiArrayType.shape) for one in specification.description.input}
    return {name: numpy.random.RandomState(0).rand(*shape).astype(numpy.float32) for name, shape in shapes.items()}
