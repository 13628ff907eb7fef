"""Real phones in Qualcomm's AI Hub, through its own client `qai-hub`, with the person's own token.

`qai-hub://Samsung Galaxy S24` is a device that `qai-hub list-devices` names; `?compute_unit=npu` chooses what computes.
One network is one job there, and blocks are too small for it: only whole networks are timed. What is sent are networks
with invented weights, as TFLite files.
"""

import contextlib
import importlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, parse_qs, unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from latency_tables.devices.address import shown
from latency_tables.devices.runner import DeviceOptions, Timing, TimingProtocol
from latency_tables.devices.runtimes import LITERT
from latency_tables.errors import MeasurementError, TableError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo

COMPUTE_UNITS: Final = ("all", "npu", "gpu", "cpu")
Microseconds = Annotated[float, Field(gt=0, le=1e9)]


class _Summary(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    estimated_inference_time: Microseconds
    all_inference_times: list[Microseconds] = []


class _Profile(BaseModel):
    """The part of a job's profile that is read."""

    execution_summary: _Summary


class QaiHubRunner:
    """One kind of phone in the hub. `client` is the module `qai_hub`, imported where it is not given."""

    jobs_cost: Final = True

    def __init__(self, url: SplitResult, options: DeviceOptions, client: Any = None) -> None:
        asked = parse_qs(url.query)
        self.name = unquote(url.netloc)
        self.compute_unit = asked.get("compute_unit", ["all"])[0]
        if not self.name or not self.name.isprintable() or url.path not in ("", "/") or set(asked) - {"compute_unit"}:
            raise TableError(
                f"{shown(url.geturl())!r} names no device; accepted is qai-hub://DEVICE NAME?compute_unit=npu, with a "
                "name that `qai-hub list-devices` tells"
            )
        if self.compute_unit not in COMPUTE_UNITS:
            raise TableError(f"compute unit {self.compute_unit!r} is unknown; accepted are {', '.join(COMPUTE_UNITS)}")
        if options.threads != 1:
            raise TableError("AI Hub decides itself how many threads a network uses; leave --threads away")
        LITERT.require(options.precision)
        self.precision = options.precision
        self._client = client

    def describe(self) -> DeviceInfo:
        """The phone as the hub lists it. MeasurementError without a token, without network, or for another name."""
        with self._asking():
            found = self._hub().get_devices(self.name)
        if not found:
            raise MeasurementError(f"AI Hub has no device {self.name!r}; `qai-hub list-devices` tells their names")
        phone = found[-1]
        attributes = [phone.attributes] if isinstance(phone.attributes, str) else phone.attributes
        chips = [name.removeprefix("chipset:") for name in attributes if name.startswith("chipset:")]
        return DeviceInfo(
            name=str(phone.name),
            soc=chips[0] if chips else "unknown",
            system=f"OS {phone.os}",
            runtime=LITERT.name,
            runtime_version=f"AI Hub, client {getattr(self._hub(), '__version__', 'unknown')}",
            delegate=self.compute_unit,
            precision=self.precision,
            clock="wall",
        )

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models`, a job for each distinct one, all of them submitted before the first answer is waited for.

        How often a job runs a network is the hub's affair. Raises TableError for single blocks.
        """
        blocks = [model.name for model in models if len(model.blocks) == 1]
        if blocks:
            raise TableError(
                f"qai-hub:// times whole networks, not the block {blocks[0]!r}; make the table from another device's, "
                "with --like TABLE --networks 20"
            )
        distinct = {model.name: model for model in models}
        with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder:
            jobs = {name: self._submit(Path(folder), model) for name, model in distinct.items()}
        times = {}
        for model in models:
            if model.name not in times:
                times[model.name] = self._times_ms(model.name, jobs[model.name])
            yield Timing(model.name, (median(times[model.name]),), len(times[model.name]))

    def _submit(self, folder: Path, model: NamedModel) -> Any:
        file = folder / "network.tflite"
        file.write_bytes(model.tflite_bytes)
        hub = self._hub()
        with self._asking():
            return hub.submit_inference_job(
                str(file),
                hub.Device(self.name),
                name="pocketnas",
                options=f"--compute_unit {self.compute_unit}",
                profile=True,
            )

    def _times_ms(self, name: str, job: Any) -> list[float]:
        """What each run of a job took, or what the hub estimates; waits until it is done."""
        with self._asking():
            status = job.wait()
            profile = job.download_profile() if status.success else None
        if not status.success:
            raise MeasurementError(f"AI Hub did not time {name!r}: {_line(status.message or status.code)}")
        try:
            summary = _Profile.model_validate(profile).execution_summary
        except ValidationError:
            raise MeasurementError(
                f"AI Hub answered for {name!r} with no microseconds, but {str(profile)[:200]}"
            ) from None
        return [value / 1000 for value in summary.all_inference_times or [summary.estimated_inference_time]]

    def _hub(self) -> Any:
        if self._client is None:
            try:
                self._client = importlib.import_module("qai_hub")
            except ImportError:
                raise MeasurementError("qai-hub:// needs AI Hub's client: pip install 'pocketnas[qai-hub]'") from None
        return self._client

    @contextlib.contextmanager
    def _asking(self) -> Iterator[None]:
        """What the client prints goes to standard error; whatever it raises is one line."""
        hub = self._hub()
        try:
            with contextlib.redirect_stdout(sys.stderr):
                hub.set_verbose(False)
                yield
        except MeasurementError:
            raise
        except Exception as error:  # the client's own, and those of the libraries that it uses
            raise MeasurementError(f"AI Hub: {_line(error)}") from error


def _line(error: object) -> str:
    """A message without the frame that the client draws around it."""
    words = (word for word in str(error).split() if not set(word) <= set("┌─┐└┘|│"))
    return " ".join(words)[:400] or type(error).__name__
