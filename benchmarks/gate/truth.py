"""MACs of model files that packages ship, as `pocketnas check` counts them and as executing them does.

    python -m benchmarks.gate.truth --packages rapidocr-onnxruntime,mediapipe,… [--out truth.jsonl]
    python -m benchmarks.gate.truth --table truth.jsonl
    python -m benchmarks.gate.truth --files a.onnx b.tflite

Install the packages into the environment first, and for TFLite files also `tflite` and `ai-edge-litert`. The counter
here shares no code with the gate's: ONNX files are executed node by node by ONNX Runtime, branches and loops as they
are really taken; TFLite files by LiteRT with every tensor kept (or, where LiteRT lacks a custom operator, read by the
schema's own classes); Core ML programs by the interpreter that checks exports. Multiplications are counted from the
shapes of what was computed. Open sizes are set to what the package feeds (SHAPES), the same for both.
"""

import hashlib
import importlib.metadata
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks import common
from benchmarks.gate.execute_coreml import execute_coreml
from benchmarks.gate.execute_onnx import execute_onnx
from benchmarks.gate.execute_tflite import execute_tflite
from benchmarks.gate.execution import NotExecutable
from pipeline.errors import PipelineError
from pipeline.modelfiles.read import ReadOptions, read_model

SUFFIXES = (".onnx", ".tflite", ".mlpackage")
DEFAULT_SIZE = 64  # of what a file leaves open and SHAPES does not name


@dataclass(frozen=True)
class Row:
    """One file: what the gate says (None: undecided), what executing it says (None: no count)."""

    package: str
    file: str
    format: str
    gate: int | None
    gate_most: int | None
    truth: int | None
    how: str
    gate_ms: float
    said: str = ""
    shapes: dict[str, list[int]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One word."""
        if self.truth is None:
            return "no count" if self.gate is None else "gate only"
        if self.gate is None:
            return "undecided"
        if self.gate == self.gate_most:
            return "equal" if self.gate == self.truth else "DIFFERENT"
        return "within" if self.gate <= self.truth <= (self.gate_most or 0) else "DIFFERENT"


RUNS = {".onnx": execute_onnx, ".tflite": execute_tflite, ".mlpackage": execute_coreml}


def files_of(packages: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """The model files of installed packages with the package's name; each content once."""
    seen = set()
    for package in packages:
        found = set()
        for file in importlib.metadata.files(package) or ():
            path = Path(str(file.locate()))
            inside = next((parent for parent in path.parents if parent.suffix == ".mlpackage"), None)
            found.add(inside or path)
        for path in sorted(found):
            if path.suffix in SUFFIXES and path.exists():
                digest = hashlib.sha256(path.read_bytes() if path.is_file() else str(path).encode()).hexdigest()
                if digest not in seen:
                    seen.add(digest)
                    yield package, path


def measured(package: str, path: Path) -> Row:
    """Both counts of one file."""
    shapes = {}
    facts = None
    started = time.perf_counter()
    said = ""
    try:
        facts = read_model(path)
        shapes = {name: [DEFAULT_SIZE if s is None else s for s in shape] for name, shape in facts.open_inputs.items()}
        shapes = next((known for end, known in SHAPES.items() if path.as_posix().endswith(end)), shapes)
        if shapes:
            facts = read_model(path, ReadOptions({name: tuple(shape) for name, shape in shapes.items()}))
        said = ", ".join(f"{n} {name}" for name, n in facts.uncounted.items())
    except PipelineError as error:
        said = str(error)
    elapsed = (time.perf_counter() - started) * 1000
    known = facts if facts is not None and not facts.uncounted else None
    try:
        found = RUNS[path.suffix](path, shapes)
        total, how = sum(found.macs.values()), found.how
    except NotExecutable as error:
        total, how = None, str(error)
    except Exception as error:  # whatever a runtime raises: the file cannot be executed so
        total, how = None, f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return Row(
        package=package,
        file=f"{path.parent.name}/{path.name}",
        format=path.suffix[1:],
        gate=None if known is None or known.macs is None else known.macs * known.images,
        gate_most=None if known is None or known.macs_most is None else known.macs_most * known.images,
        truth=total,
        how=how,
        gate_ms=round(elapsed, 1),
        said=said,
        shapes=shapes,
    )


_VAD = {"input": [1, 576], "state": [2, 1, 128]}
# What the packages feed where a file leaves sizes open and 64 would not fit, by the end of the path.
SHAPES: dict[str, dict[str, list[int]]] = {
    "data/silero_vad.onnx": _VAD,
    "data/silero_vad_16k_op15.onnx": _VAD,
    "data/silero_vad_half.onnx": _VAD,
    "data/silero_vad_op18_ifless.onnx": _VAD,
    "models/silero_vad.onnx": {"input": [1, 1536], "h": [2, 1, 64], "c": [2, 1, 64]},
    "models/melspectrogram.onnx": {"input": [1, 1760]},
    "models/melspectrogram.tflite": {"serving_default_input:0": [1, 1760]},
    "resources/melspectrogram.onnx": {"input": [1, 1760]},
}


def print_table(path: Path) -> None:
    """The rows of an output file as a Markdown table."""
    print("| package | file | MACs by the gate | MACs executed | |\n|---|---|---:|---:|---|")
    for line in path.read_text(encoding="utf-8").splitlines():
        row = Row(**json.loads(line))
        ends = "undecided" if row.gate is None else f"{row.gate:,}"
        if row.gate is not None and row.gate_most != row.gate:
            ends = f"{row.gate:,} to {row.gate_most:,}"
        truth = row.how if row.truth is None else f"{row.truth:,}"
        print(f"| {row.package} | {row.file} | {ends} | {truth} | {row.verdict} |")


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("--packages", type=lambda text: text.split(","), default=[])
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path, help="print the rows of this file as Markdown and do nothing else")
    arguments = parser.parse_args()
    if arguments.table is not None:
        print_table(arguments.table)
        return
    rows = []
    for package, path in [*(("", path) for path in arguments.files), *files_of(arguments.packages)]:
        row = measured(package, path)
        rows.append(row)
        print(
            f"{row.verdict:14} {row.file:50} {row.gate!s:>14} {row.truth!s:>14} {row.gate_ms:8.1f} ms "
            f"{row.how[:60]} {row.said[:150]}",
            flush=True,
        )
        if arguments.out is not None:
            with arguments.out.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(asdict(row)) + "\n")
    print(dict(Counter(row.verdict for row in rows)), file=sys.stderr)


if __name__ == "__main__":
    main()
