"""This machine as a device: the runner script in a process of its own, so that nothing of ours disturbs it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from latency_tables.devices import runner_script
from latency_tables.devices.jobs import job_files, last_line, parse_device, read_timings, read_usual_s
from latency_tables.devices.runner import Timing, TimingProtocol
from latency_tables.devices.runtimes import ONNXRUNTIME, Runtime
from latency_tables.errors import MeasurementError
from latency_tables.onnx_models import NamedModel
from latency_tables.table import DeviceInfo, Precision

_SCRIPT = Path(runner_script.__file__)


class HostRunner:
    """ONNX Runtime or LiteRT on this machine's CPU, a network using `threads` threads; `python` is one that has it."""

    def __init__(
        self,
        threads: int = 1,
        precision: Precision = "fp32",
        python: str = sys.executable,
        runtime: Runtime = ONNXRUNTIME,
    ) -> None:
        runtime.require(precision)
        self.threads = threads
        self.precision = precision
        self.python = python
        self.runtime = runtime
        self._usual_s: float | None = None

    def describe(self) -> DeviceInfo:
        """This machine."""
        command = [self.python, str(_SCRIPT), "describe", str(self.threads), self.runtime.name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
        except OSError as error:
            raise MeasurementError(f"{self.python} cannot be started: {error.strerror}") from None
        if done.returncode != 0:
            said = (done.stderr.strip() or "no answer").splitlines()[-1]
            raise MeasurementError(f"this machine cannot be measured with {self.runtime.name}: {said}")
        return parse_device(done.stdout, "host", self.precision)

    def measure(self, models: Sequence[NamedModel], protocol: TimingProtocol) -> Iterator[Timing]:
        """Time `models`, one process for all of them."""
        with tempfile.TemporaryDirectory(prefix="pocketnas-") as folder, tempfile.TemporaryFile("w+") as errors:
            for name, content in job_files(models, protocol, self.threads, self.runtime, self._usual_s):
                (Path(folder) / name).write_bytes(content)
            process = subprocess.Popen(
                [self.python, str(_SCRIPT), "measure", folder],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=_environment(),
            )
            try:
                yield from read_timings(process.stdout or (), models, "host", lambda: last_line(errors))
                self._usual_s = read_usual_s(process.stdout or ())
            finally:
                process.kill()
                process.wait()


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
