"""Kinds of files about devices: tables, published ones, kits and their results, journals of measurements."""

import gzip
import json
import random
from pathlib import Path

from latency_tables.devices.kit import kit_id, write_kit
from latency_tables.journal import SENTINEL, Entry, Header, open_journal, read_journal
from latency_tables.measure import MeasureOptions
from latency_tables.store import load_table, save_table
from latency_tables.table import DeviceInfo
from pipeline.profiling import ProfileOptions, profile_plan
from pipeline.spaces.files import load_space
from tests.fuzz.kind import Kind, text

_TABLE = "epyc-vm-quickstart"
_SPACE = """schema_version = 1
name = "tiny"
classes = 10
resolutions = [8]
stem = { channels = 8, kernel = 3, stride = 1, activation = "relu" }
head = { channels = 16, activation = "relu" }
[[stages]]
widths = [8]
depths = [1, 2, 3]
ops = ["k3e1", "k3e2"]
stride = 1
activation = "relu"
"""
_PUBLISHED = {
    "ofa": (
        "Conv-input:224x224x3-output:112x112x16:\n  count: 9\n  mean: 1.5\n  std: 0.1\n"
        "Logits-input:7x7x1280-output:1000:\n  count: 9\n  mean: 0.5\n  std: 0.1\n"
    ),
    "proxylessnas": (
        "Conv-input:224x224x3-output:112x112x32:\n  count: 9\n  mean: 1.5\n  var: 0.1\n"
        "Logits-input:7x7x1280-output:1000:\n  count: 9\n  mean: 0.5\n  var: 0.1\n"
    ),
    "fbnet": "ir_k3_e6 skip\n" + "8000.5 900\n" * 22,
}


def _table(folder: Path) -> Path:
    save_table(load_table(_TABLE), folder / "table.json")
    return folder / "table.json"


def _space(folder: Path) -> Path:
    (folder / "tiny.toml").write_text(_SPACE)
    return folder / "tiny.toml"


def _results(folder: Path) -> Path:
    """What a kit of the tiny space brings back, with made-up times; the kit lies beside it."""
    options = ProfileOptions(8, 8, 0, MeasureOptions.quick())
    plan = profile_plan(load_space(_space(folder)), options)
    write_kit(folder / "kit.zip", plan, options.measure, 1)
    with_plan = json.loads(_member(folder / "kit.zip", "job.json"))
    rng = random.Random(0)
    names = [SENTINEL, *(model.name for model in plan.models)]
    entries = [
        {"kind": "timing", "visit": 0, "name": name, "session_ms": [0.1 + rng.random()], "runs": 9, "disturbed": 0}
        for name in names
    ]
    document = {
        "kit": kit_id(plan, options.measure, "fp32"),
        "device": DeviceInfo(name="board", runtime="onnxruntime").model_dump(mode="json"),
        "complete": True,
        "plan": with_plan["plan"],
        "entries": entries,
    }
    (folder / "results.json").write_text(json.dumps(document))
    return folder / "results.json"


def _member(path: Path, name: str) -> bytes:
    from zipfile import ZipFile

    with ZipFile(path) as archive:
        return archive.read(name)


def _kit(folder: Path) -> Path:
    return _results(folder).with_name("kit.zip")


def _from_kit(path: Path) -> list[str]:
    folder = path.parent
    words = ["profile", str(folder / "tiny.toml"), "--from-kit", str(folder / "results.json"), "--device", "board"]
    (folder / "made.json").unlink(missing_ok=True)
    return [*words, "--kit", str(folder / "kit.zip"), "--out", str(folder / "made.json"), "--json"]


def _imported(table_format: str) -> Kind:
    def command(path: Path) -> list[str]:
        out = ["--device", "phone", "--out", str(path.with_name("imported.json"))]
        return ["table", "import", str(path), "--format", table_format, *out, "--json"]

    return Kind(f"{table_format} table", "text", text("published.yaml", _PUBLISHED[table_format]), command)


def _journal(folder: Path) -> Path:
    path = folder / "table.json.journal"
    journal = open_journal(path, Header(plan="0" * 64, device=DeviceInfo(name="board", runtime="onnxruntime")))
    for number in range(6):
        journal.add(Entry(kind="timing", visit=0, name=f"block {number}", session_ms=[0.5 + number], runs=3))
    journal.close()
    return path


def _networks(folder: Path) -> Path:
    space = load_space(_space(folder))
    rng = random.Random(1)
    lines = [f"{arch},{1 + rng.random():.3f}" for arch in {str(space.sample(rng)) for _ in range(30)}]
    (folder / "networks.csv").write_text("\n".join(["arch,ms", *lines]) + "\n")
    return folder / "networks.csv"


def _import_networks(path: Path) -> list[str]:
    space = ["--space", str(path.with_name("tiny.toml"))]
    out = ["--device", "phone", "--out", str(path.with_name("imported.json"))]
    return ["table", "import", str(path), "--format", "networks", *space, *out, "--json"]


def _ranks(folder: Path) -> Path:
    rng = random.Random(0)
    lines = [f"{n},{rng.random():.3f},{rng.random():.3f},{rng.randrange(10**6)}" for n in range(40)]
    return text("results.csv", "\n".join(["arch,truth,score,macs", *lines]) + "\n")(folder)


def _packed_ranks(folder: Path) -> Path:
    return text("results.csv.gz", gzip.compress(_ranks(folder).read_bytes(), mtime=0))(folder)


def _rank(path: Path) -> list[str]:
    return ["rank", str(path), "--truth", "truth", "--proxy", "score", "--json"]


KINDS = [
    Kind("table", "json", _table, lambda path: ["table", "show", str(path), "--json"]),
    Kind("prediction", "json", _table, lambda path: ["table", "predict", str(path), "quickstart", "max", "--json"]),
    Kind("kit results", "json", _results, _from_kit),
    Kind("kit", "binary", _kit, _from_kit),
    Kind("measurement", "text", _journal, read=read_journal),
    _imported("ofa"),
    _imported("proxylessnas"),
    _imported("fbnet"),
    Kind("networks", "text", _networks, _import_networks),
    Kind("ranks", "text", _ranks, _rank),
    Kind("packed ranks", "binary", _packed_ranks, _rank),
]
