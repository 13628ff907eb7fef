"""Runs a Core AI asset with coreai-core's runtime: the system's on macOS 27, its portable one elsewhere."""

import importlib.metadata
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from exporters.errors import CannotRun, WrongInput
from exporters.process import Limits, WorkerDied, ask
from exporters.request import Array
from exporters.runtime import as_shaped

WORKER: Final = "exporters.coreai.worker"
PROGRAM: Final = "main.mlirb"
MEMORY_BYTES: Final = 8 << 30
SECONDS: Final = 60.0  # to load an asset; it takes one
SECONDS_AN_IMAGE: Final = 2.0
LARGEST_METADATA: Final = 1 << 20
# coreai-core 1.0.0b3 dies at random while it loads a sound asset (2 of 18 times), with these words.
RANDOM_DEATH: Final = "Swift runtime was compiled with exceptions disabled"
TRIES: Final = 6


class CoreaiRuntime:
    """The asset's function `main`, loaded for each run in a process of its own."""

    def __init__(self, path: Path) -> None:
        """Open the asset; CannotRun where the runtime refuses it, crashes or hangs."""
        self._path = path
        if not (path / PROGRAM).is_file():
            raise CannotRun(f"{path} is no Core AI asset: there is no {PROGRAM} in it")
        shape = self._ask()[0]["shape"]
        self._image = tuple(shape[1:])

    @cached_property
    def by(self) -> str:
        kind = "macOS" if sys.platform == "darwin" else "portable; Apple's kernels: not run"
        return f"runtime of coreai-core {importlib.metadata.version('coreai-core')} ({kind})"

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What was written into the asset; WrongInput where that is damaged."""
        try:
            with (self._path / "metadata.json").open("rb") as stream:
                document = json.loads(stream.read(LARGEST_METADATA))
            return {str(name): str(value) for name, value in document.get("creatorDefinedMetadata", {}).items()}
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise WrongInput(f"{self._path} has no readable metadata.json: {type(error).__name__}") from error

    def run(self, inputs: Array) -> Array:
        outputs = self._ask(as_shaped(inputs, self._image, str(self._path)))[1]
        if outputs is None:
            raise CannotRun(f"Core AI gave no outputs for {self._path}")
        return outputs

    def latency_ms(self, inputs: Array) -> float | None:
        """On macOS only: nobody ships the portable runtime."""
        if sys.platform != "darwin":
            return None
        shaped = as_shaped(inputs, self._image, str(self._path))
        return float(self._ask(shaped, timed=True)[0]["latency_ms"])

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        return None

    def _ask(self, inputs: Array | None = None, timed: bool = False) -> tuple[dict[str, Any], Array | None]:
        images = 0 if inputs is None else len(inputs)
        limits = Limits(SECONDS + SECONDS_AN_IMAGE * images, MEMORY_BYTES)
        job = {"path": str(self._path.absolute()), "timed": timed}
        for left in reversed(range(TRIES)):
            try:
                return ask(WORKER, job, limits, inputs)
            except WorkerDied as death:
                if not left or RANDOM_DEATH not in str(death):
                    raise CannotRun(f"Core AI cannot run {self._path}: its process {death}") from death
        raise AssertionError("the last try returns or raises")
