"""Running Core AI assets with coreai-core, for `exporters.process`: damaged ones end the process that reads them."""

import asyncio
from pathlib import Path
from typing import Any, Final

import numpy as np

from exporters.request import INPUT_NAME, Array
from exporters.runtime import CHUNK
from exporters.stopwatch import Stopwatch

FUNCTION: Final = "main"
CLASSES: Final = 1_000_000  # more numbers an image are no classifier's


def answer(job: dict[str, Any], inputs: Array | None) -> tuple[dict[str, Any], Array | None]:
    """Of the asset at `path`: without inputs (n, c, h, w) its signature, else their outputs (n, classes) or, with
    `timed`, a time."""
    return asyncio.run(_answer(Path(job["path"]), bool(job.get("timed")), inputs))


async def _answer(path: Path, timed: bool, inputs: Array | None) -> tuple[dict[str, Any], Array | None]:
    from coreai.authoring.asset import AIModelAsset

    async with AIModelAsset.load(path).executable() as model:
        function = model.load_function(FUNCTION)
        shape = tuple(int(size) for size in function.desc.input_descriptor(INPUT_NAME).shape)
        output = str(function.desc.output_names[0])
        if inputs is None:
            return {"shape": shape}, None
        if timed:
            watch = Stopwatch()
            for _ in watch:
                await _call(function, output, inputs)
            return {"latency_ms": watch.median_ms}, None
        return {}, await _outputs(function, output, inputs, shape[0] if shape[0] > 0 else None)


async def _outputs(function: Any, output: str, inputs: Array, fixed: int | None) -> Array:
    step = fixed or CHUNK
    parts = []
    for start in range(0, len(inputs), step):
        part = inputs[start : start + step]
        full = part if fixed is None else np.resize(part, (fixed, *part.shape[1:]))
        parts.append((await _call(function, output, full))[: len(part)])
    return np.concatenate(parts)


async def _call(function: Any, output: str, part: Array) -> Array:
    from coreai.runtime import NDArray

    outputs = await function({INPUT_NAME: NDArray(np.ascontiguousarray(part))})
    found = np.array(outputs[output].numpy(), dtype=np.float32)
    if found.ndim != 2 or len(found) != len(part) or found.shape[1] > CLASSES:
        raise ValueError(f"outputs have shape {found.shape}; a classifier returns (n, classes)")
    return found
