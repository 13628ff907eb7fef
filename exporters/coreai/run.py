"""Runs a Core AI asset with coreai-core's runtime: the system's on macOS 27, its portable one elsewhere."""

import asyncio
import importlib.metadata
import json
import statistics
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from exporters.errors import CannotRun
from exporters.quiet import first_line, quiet
from exporters.request import INPUT_NAME, Array
from exporters.runtime import CHUNK, RUNS, WARM_UPS, as_shaped

FUNCTION: Final = "main"


class CoreaiRuntime:
    """The asset's function `main`, loaded for each run."""

    def __init__(self, path: Path) -> None:
        """Open the asset; CannotRun where the runtime refuses it."""
        self._path = path
        try:
            with quiet():
                from coreai.authoring.asset import AIModelAsset

                self._asset: Any = AIModelAsset.load(path)
                self._shape, self._output = _wait(self._signature())
        except Exception as error:  # the runtime raises what it likes
            raise CannotRun(f"Core AI cannot open {path}: {first_line(error)}") from error

    @cached_property
    def by(self) -> str:
        kind = "macOS" if sys.platform == "darwin" else "portable; Apple's kernels: not run"
        return f"runtime of coreai-core {importlib.metadata.version('coreai-core')} ({kind})"

    @cached_property
    def metadata(self) -> dict[str, str]:
        """What was written into the asset."""
        document = json.loads((self._path / "metadata.json").read_text())
        return dict(document.get("creatorDefinedMetadata", {}))

    def run(self, inputs: Array) -> Array:
        shaped = as_shaped(inputs, self._shape[1:], str(self._path))
        with quiet():
            result: Array = _wait(self._outputs(shaped))
        return result

    def latency_ms(self, inputs: Array) -> float | None:
        """On macOS only: nobody ships the portable runtime."""
        if sys.platform != "darwin":
            return None
        with quiet():
            return float(_wait(self._median(as_shaped(inputs, self._shape[1:], str(self._path)))))

    def tensors(self, inputs: Array) -> list[tuple[str, Array]] | None:
        return None

    async def _signature(self) -> tuple[tuple[int, ...], str]:
        async with self._asset.executable() as model:
            described = model.load_function(FUNCTION).desc
            return tuple(described.input_descriptor(INPUT_NAME).shape), described.output_names[0]

    async def _outputs(self, inputs: Array) -> Array:
        fixed = self._shape[0] if self._shape[0] > 0 else None
        step = fixed or CHUNK
        parts = []
        async with self._asset.executable() as model:
            function = model.load_function(FUNCTION)
            for start in range(0, len(inputs), step):
                part = inputs[start : start + step]
                full = part if fixed is None else np.resize(part, (fixed, *part.shape[1:]))
                parts.append((await self._call(function, full))[: len(part)])
        return np.concatenate(parts)

    async def _median(self, inputs: Array) -> float:
        seconds = []
        async with self._asset.executable() as model:
            function = model.load_function(FUNCTION)
            for number in range(WARM_UPS + RUNS):
                begin = time.perf_counter()
                await self._call(function, inputs)
                seconds.append((time.perf_counter() - begin) if number >= WARM_UPS else 0.0)
        return 1000 * statistics.median(seconds[WARM_UPS:])

    async def _call(self, function: Any, part: Array) -> Array:
        from coreai.runtime import NDArray

        outputs = await function({INPUT_NAME: NDArray(np.ascontiguousarray(part))})
        return np.array(outputs[self._output].numpy(), dtype=np.float32)


def _wait(what: Coroutine[Any, Any, Any]) -> Any:
    """The result, from a thread of its own: a notebook has an event loop running already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, what).result()
