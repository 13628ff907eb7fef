"""`export.json` and `reference.safetensors`: what an export folder says about itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from exporters import files
from exporters.errors import WrongInput
from exporters.report import ExportReport, Parity
from exporters.request import Array, ExportRequest, Precision, Threshold

MANIFEST: Final = "export.json"
REFERENCE: Final = "reference.safetensors"
SCHEMA_VERSION: Final = 1
REFERENCE_BYTES: Final = 16 << 20  # of inputs; 26 float images of 224 pixels, 106 as uint8
REFERENCE_IMAGES: Final = 256
MOST_BYTES: Final = 64 << 20  # of either file


def _no_folder(name: str) -> str:
    if name in (".", ".."):
        raise ValueError(f"{name!r} is a folder")
    return name


# A file beside export.json: whatever else it named would be opened, or removed by the next export.
FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+$"), AfterValidator(_no_folder)]
Limit = Annotated[float, Field(ge=0, le=1e6)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ThresholdEntry(_Strict):
    """`exporters.request.Threshold` as it is stored."""

    max_abs_diff: Limit | None
    top1_agreement: Limit
    accuracy_drop: Limit | None
    max_rel_diff: Limit = 0.0  # older files do not say
    tie: Limit = 0.0  # older files do not say
    max_rms_diff: Limit | None = None

    def threshold(self) -> Threshold:
        """The entry as the threshold it was written from."""
        return Threshold(**self.model_dump())


class ParityEntry(_Strict):
    """`exporters.report.Parity` as it is stored."""

    status: Literal["passed", "failed", "not run"]
    reason: str
    by: str
    max_abs_diff: float | None
    mean_abs_diff: float | None
    top1_agreement: float | None
    accuracy_before: float | None
    accuracy_after: float | None
    images: int
    first_drift: str | None


class Entry(_Strict):
    """`exporters.report.ExportReport` as it is stored."""

    format: str
    precision: Literal["fp32", "fp16", "int8"]
    path: FileName | None
    size_bytes: int
    sha256: str
    seconds: float
    parity: ParityEntry
    latency_ms: float | None
    clock: str | None = None  # older files do not say
    predicted_ms: float | None
    tool_versions: dict[str, str]
    notes: dict[str, str]

    def report(self) -> ExportReport:
        """The entry as the report it was written from."""
        fields = self.model_dump()
        return ExportReport(**{**fields, "parity": Parity(**fields["parity"])})


class Manifest(_Strict):
    """The whole of export.json. `setup_sha256` identifies network, images and options together."""

    schema_version: Literal[1]
    setup_sha256: str
    reference_sha256: str
    metadata: dict[str, str]
    thresholds: dict[str, ThresholdEntry]
    exports: list[Entry]

    def threshold(self, precision: str) -> Threshold:
        """What files of that precision had to reach. WrongInput where it is not told."""
        if precision not in self.thresholds:
            raise WrongInput(f"{MANIFEST} has no thresholds for {precision}; export again to write it anew")
        return self.thresholds[precision].threshold()


def read(out_dir: Path) -> Manifest:
    """The folder's export.json; WrongInput where there is none or it is not valid."""
    path = out_dir / MANIFEST
    data = _read(path, MOST_BYTES)
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise WrongInput(f"{path}: {where}: {first['msg']}; export again to write it anew") from error


def _read(path: Path, most_bytes: int) -> bytes:
    """The bytes of a plain file; WrongInput for anything else, and for more than `most_bytes`."""
    try:
        if not path.is_file() and path.exists():
            raise WrongInput(f"{path} is no plain file; name a folder that an export wrote")
        with path.open("rb") as stream:
            data = stream.read(most_bytes + 1)
    except OSError as error:
        raise WrongInput(f"cannot read {path}: {error.strerror}; name a folder that an export wrote") from error
    if len(data) > most_bytes:
        raise WrongInput(f"{path} is larger than {most_bytes >> 20} MiB, more than any export writes")
    return data


def read_reference(out_dir: Path, expected_sha256: str) -> tuple[Array, Array]:
    """Stored inputs (n, …), as the files take them, and the network's outputs (n, classes) for them."""
    import safetensors
    from safetensors.numpy import load

    path = out_dir / REFERENCE
    if not path.exists():
        raise WrongInput(f"{path} is missing; parity cannot be verified without it")
    data = _read(path, MOST_BYTES)
    if hashlib.sha256(data).hexdigest() != expected_sha256:
        raise WrongInput(f"{path} is not the file that {MANIFEST} was written with; export again")
    try:
        tensors = load(data)
        return tensors["inputs"], tensors["outputs"]
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise WrongInput(f"{path} is not a safetensors file of inputs and outputs: {error}") from error


def publish(
    out_dir: Path,
    staging: Path,
    reports: list[ExportReport],
    request: ExportRequest,
    expected: Array,
    thresholds: Mapping[Precision, Threshold],
) -> list[ExportReport]:
    """Move the reported files out of `staging` to their names and write export.json last; `expected` is (n, classes).

    Reports that an earlier export of the same network, images and options left in the folder are kept.
    """
    reference = _reference(request, expected)
    setup = _setup(request, reference)
    earlier = _earlier(out_dir, setup)
    replaced, precisions = ({getattr(report, name) for report in reports} for name in ("format", "precision"))
    kept = [] if earlier is None else [entry.report() for entry in earlier.exports if entry.format not in replaced]
    # Of a precision that is not written now nothing was measured now.
    known = {} if earlier is None else {name: earlier.threshold(name) for name in earlier.thresholds}
    stored = {str(name): value for name, value in thresholds.items()}
    stored |= {name: value for name, value in known.items() if name not in precisions}
    document = {
        "schema_version": SCHEMA_VERSION,
        "setup_sha256": setup,
        "reference_sha256": hashlib.sha256(reference).hexdigest(),
        "metadata": request.described(),
        "thresholds": {name: _fields(value) for name, value in stored.items()},
    }
    (staging / REFERENCE).write_bytes(reference)
    files.publish(staging / REFERENCE, out_dir / REFERENCE)
    for report in reports:
        if report.path is not None:
            files.publish(staging / report.path, out_dir / report.path)
    document["exports"] = [report.as_dict() for report in (*kept, *reports)]
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
    files.publish(staging / MANIFEST, out_dir / MANIFEST)
    return reports


def _fields(value: Any) -> dict[str, float | None]:
    from dataclasses import asdict

    return asdict(value)


def _earlier(out_dir: Path, setup: str) -> Manifest | None:
    """What an earlier export of the same setup left; the files of another one are removed."""
    if not (out_dir / MANIFEST).exists():
        return None
    try:
        manifest = read(out_dir)
    except WrongInput:
        return None  # an older or broken one is written anew
    if manifest.setup_sha256 != setup:
        _remove_files(out_dir, manifest)
        return None
    return manifest


def _remove_files(out_dir: Path, manifest: Manifest) -> None:
    """What an export of something else left here, where it is still what that export wrote."""
    for entry in manifest.exports:
        path = None if entry.path is None else out_dir / entry.path
        if path is not None and path.exists() and files.sha256(path) == entry.sha256:
            files.remove(path)


def _reference(request: ExportRequest, expected: Array) -> bytes:
    from safetensors.numpy import save

    inputs = request.file_inputs(request.samples.images[:REFERENCE_IMAGES])
    count = max(1, min(len(inputs), REFERENCE_BYTES // max(1, inputs[0].nbytes)))
    tensors = {
        "inputs": np.ascontiguousarray(inputs[:count]),
        "outputs": np.ascontiguousarray(expected[:count], dtype=np.float32),
    }
    return bytes(save(tensors))


def _setup(request: ExportRequest, reference: bytes) -> str:
    options = request.options
    text = json.dumps([request.described(), repr(replace(options, predicted_ms=None))])
    digest = hashlib.sha256(text.encode())
    digest.update(reference)
    return digest.hexdigest()
