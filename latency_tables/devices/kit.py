"""A device that nothing here can reach: one zip file to carry there, one JSON file to bring back.

`python3 kit.zip` on the device times everything; it needs numpy and onnxruntime there, nothing else. The
models stay inside the zip file, compressed to a few kilobytes each.
"""

import io
import json
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from latency_tables.blocks import Block
from latency_tables.build import ProfilePlan, assemble
from latency_tables.devices import coreml_script, kit_script, runner_script
from latency_tables.devices.runner import TimingProtocol
from latency_tables.devices.runtimes import COREML, LITERT, ONNXRUNTIME, Runtime
from latency_tables.documents import parse_json, read_model
from latency_tables.errors import TableError
from latency_tables.files import MOST_BYTES, read_bounded, write_atomic
from latency_tables.journal import SENTINEL, Entry, plan_hash
from latency_tables.measure import SENTINEL_MODEL, MeasureOptions, Progress
from latency_tables.onnx_models import NamedModel
from latency_tables.samples import collect
from latency_tables.store import save_table
from latency_tables.table import DeviceInfo, LatencyTable, Precision, read_precision

_MAIN = """import sys
from kit_script import run_kit
from runner_script import Here
sys.exit(run_kit(sys.argv[0], Here(int(sys.argv[1]) if len(sys.argv) > 1 else {threads}, {runtime!r})))
"""
_COREML_MAIN = """import sys
from coreml_script import CoremlDevice
from kit_script import run_kit
sys.exit(run_kit(sys.argv[0], CoremlDevice(*sys.argv[1:])))
"""
_READ_ME = """Latency kit for the space {space!r}: {models} small and large networks to time on this device.

1. Python 3.8 or later with numpy and {package}:   python3 -m pip install numpy {package}
2. Close other programs, plug the device in, let it cool down. Do not unpack this file; run it:
       python3 {name}
   It says how far it is. Stopped (Ctrl-C, empty battery), it continues when it is run again in the same folder.
3. Bring results.json back and, on the machine that made the kit, run:
       pocketnas profile {space} --from-kit results.json --device NAME --out NAME.json
"""

_COREML_READ_ME = """Core ML kit for the space {space!r}: {models} small and large networks to time on a Mac or iPhone.

1. A Mac with Xcode, and Python 3.9 or later with coremltools 9:   python3 -m pip install coremltools
2. On this Mac:
       python3 {name}
   On an iPhone or iPad: connect it by cable, unlock it, switch on its developer mode, and
       python3 {name} "NAME OF THE PHONE" all TEAM
   TEAM is your Apple developer team's identifier (leave it away where Xcode signs without). coremltools builds its own
   app with Xcode and installs it. "all" lets Core ML choose; "ne", "gpu" or "cpu" allow the Neural Engine or the GPU
   beside the CPU, or the CPU alone. It says how far it is; stopped, it continues when it is run again in this folder.
3. Bring results.json back and, on the machine that made the kit, run:
       pocketnas profile {space} --from-kit results.json --device NAME --out NAME.json

By hand: models/*.mlpackage.zip are packages. Unpacked and opened in Xcode, the tab Performance times one on a connected
device; the names of whole networks stand in job.json, under "files". A CSV of such networks and their milliseconds
(columns arch and ms) makes a table too:
       pocketnas table import measured.csv --format networks --space {space} --device NAME --out NAME.json
"""
_PACKAGES: Final = {ONNXRUNTIME.name: "onnxruntime", LITERT.name: "ai-edge-litert"}

# All that a zip file's own errors are: damaged, encrypted (RuntimeError), of an unknown method, without a job.
_NO_KIT: Final = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, ValueError, RuntimeError)


def write_kit(
    path: Path,
    plan: ProfilePlan,
    options: MeasureOptions,
    threads: int,
    precision: Precision = "fp32",
    runtime: Runtime = ONNXRUNTIME,
    progress: Progress | None = None,
) -> int:
    """Write the kit that measures `plan` with `runtime` to `path`; the number of models in it. Raises OSError."""
    runtime.require(precision)
    models = [model.at(precision) for model in (SENTINEL_MODEL, *plan.models)]
    files = {model.name: f"models/{number}{runtime.suffix}" for number, model in enumerate(models)}
    kit = kit_id(plan, options, precision)
    job = {
        "kit": kit,
        "precision": precision,
        "files": files,
        "sentinel": SENTINEL,
        "protocol": options.protocol.to_dict(),
        **{name: getattr(options, name) for name in ("visits", "repeats", "drift_percent", "sentinel_every", "seed")},
        "plan": _plan_document(plan, options),
    }
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in _texts(path.name, plan, len(models), threads, runtime).items():
            archive.writestr(name, text)
        archive.writestr("job.json", json.dumps(job, indent=1, sort_keys=True))
        for number, model in enumerate(models, 1):
            archive.writestr(files[model.name], runtime.file_bytes(model))
            if progress is not None:
                progress(number, len(models), "writing the kit")
    write_atomic(path, stream.getvalue())
    return len(models)


def kit_runtime(device: str) -> Runtime:
    """What a kit for such a device times with. Raises TableError."""
    runtimes = {"host": ONNXRUNTIME, "host+litert": LITERT, "coreml": COREML}
    scheme = device.removesuffix("://")
    if scheme not in runtimes:
        raise TableError(f"a kit is for {', '.join(runtimes)} (ONNX Runtime, LiteRT or Core ML), not for {device!r}")
    return runtimes[scheme]


def _texts(kit: str, plan: ProfilePlan, models: int, threads: int, runtime: Runtime) -> dict[str, str]:
    """The page and the programs of a kit, by their names in it."""
    device, main, page = (
        (coreml_script, _COREML_MAIN, _COREML_READ_ME)
        if runtime == COREML
        else (runner_script, _MAIN.format(threads=threads, runtime=runtime.name), _READ_ME)
    )
    scripts = {f"{module.__name__.rpartition('.')[2]}.py": module for module in (device, kit_script)}
    told = page.format(space=plan.space, models=models, name=kit, package=_PACKAGES.get(runtime.name, ""))
    sources = {name: Path(str(module.__file__)).read_text() for name, module in scripts.items()}
    return {"README.txt": told, "__main__.py": main, **sources}


def kit_id(plan: ProfilePlan, options: MeasureOptions, precision: Precision) -> str:
    """Identifies a kit by what it measures and how."""
    plain = plan_hash(plan.models, options.settings())
    return plain if precision == "fp32" else f"{plain}-{precision}"


def table_from_kit(results: Path, out: Path, space_sha256: str, kit: Path | None = None) -> LatencyTable:
    """The table that a kit's results.json gives, written to `out`.

    Raises TableError: a damaged or edited file, results of a kit for another space, or of another one than `kit`.
    """
    read = _read(results)
    plan, options = read.plan.restored()
    if kit_id(plan, options, read_precision(read.device.precision)) != read.kit:
        raise TableError(f"{results} does not hold together: its plan is not that of its kit; bring the original file")
    if plan.space_sha256 != space_sha256:
        raise TableError(f"{results} is of a kit for another space ({plan.space!r}, or another version of it)")
    if kit is not None and _id_of(kit) != read.kit:
        raise TableError(f"{results} is not of the kit {kit}, but of another one for the same space")
    samples = collect(read.entries)
    lacking = [model.name for model in plan.models if model.name not in samples.sessions_ms]
    if lacking:
        raise TableError(f"{results} lacks {len(lacking)} model(s), the first is {lacking[0]!r}; run the kit again")
    table = assemble(plan, read.device, samples, options, "measured by a kit")
    save_table(table, out)
    return table


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _PlanDocument(_Model):
    space: str
    space_sha256: str
    blocks: list[str]
    calibration: dict[str, list[str]]
    held_out: dict[str, list[str]]
    options: dict[str, float]
    protocol: dict[str, float]

    def restored(self) -> tuple[ProfilePlan, MeasureOptions]:
        """The plan and the options that the kit was written from."""
        protocol = {name: value if name.endswith("_ms") else int(value) for name, value in self.protocol.items()}
        plan = ProfilePlan(
            tuple(Block.parse(key) for key in self.blocks),
            _networks(self.calibration),
            _networks(self.held_out),
            self.space,
            self.space_sha256,
        )
        return plan, MeasureOptions(
            protocol=TimingProtocol(**protocol),  # type: ignore[arg-type]  # checked by its own __post_init__
            visits=int(self.options["visits"]),
            drift_percent=self.options["drift_percent"],
            unstable_percent=self.options["unstable_percent"],
        )


class _Results(_Model):
    kit: str
    device: DeviceInfo
    complete: Literal[True]
    plan: _PlanDocument
    entries: list[Entry]


def _plan_document(plan: ProfilePlan, options: MeasureOptions) -> dict[str, Any]:
    settings, protocol = options.settings(), options.protocol.to_dict()
    return {
        "space": plan.space,
        "space_sha256": plan.space_sha256,
        "blocks": [block.key for block in plan.blocks],
        "calibration": {model.name: [block.key for block in model.blocks] for model in plan.calibration},
        "held_out": {model.name: [block.key for block in model.blocks] for model in plan.held_out},
        "options": {name: value for name, value in settings.items() if name not in protocol},
        "protocol": protocol,
    }


def _networks(documents: dict[str, list[str]]) -> tuple[NamedModel, ...]:
    return tuple(NamedModel(name, tuple(map(Block.parse, keys))) for name, keys in documents.items())


def _read(results: Path) -> _Results:
    try:
        return read_model(results, _Results, TableError)
    except FileNotFoundError:
        raise TableError(f"{results} cannot be read: there is no such file") from None
    except TableError as error:
        raise TableError(f"{results} is damaged, or no results of a kit: {error}") from None


def _id_of(kit: Path) -> str:
    try:
        data = io.BytesIO(read_bounded(kit, TableError))
        with zipfile.ZipFile(data) as archive, archive.open("job.json") as stream:
            job = parse_json(stream.read(MOST_BYTES), f"{kit}, job.json", TableError)
        return str(job["kit"])
    except (OSError, *_NO_KIT) as error:
        raise TableError(f"{kit} is not a kit ({' '.join(str(error).split())[:200]})") from None
