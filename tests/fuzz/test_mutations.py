"""Damaged and hostile files of every kind end in one clear line: no other exception, no hang, no flood of memory.

POCKETNAS_MUTATIONS is how many files of each kind are tried (default 60, some seconds in all); the kinds and the
seeds are fixed, so a failure's number finds it again.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image

from exporters.errors import ExportError
from latency_tables.errors import TableError
from latency_tables.store import load_table, save_table
from pipeline.budget import Budget
from pipeline.cli.app import run_command
from pipeline.errors import PipelineError
from pipeline.fewshot.partition import Partition
from pipeline.runs.config import read_config
from pipeline.runs.folder import create_or_open, open_run
from pipeline.search.costs import space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import open_storage
from pipeline.search.study import search
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space
from pipeline.supernets.files import load_network, load_supernet, save_network, save_supernet
from pipeline.supernets.network import Network
from pipeline.supernets.supernet import Supernet
from tests.fuzz.mutations import mutated

COUNT = int(os.environ.get("POCKETNAS_MUTATIONS", "60"))
SECONDS, MEGABYTES = 10.0, 1000
FILES = Path(__file__).parents[1] / "gate" / "files"
BUDGET = 'macs = "100M"\nsize_mb = 10\n[tolerance]\nmacs = 0.05\n'


@dataclass(frozen=True)
class Kind:
    """One kind of file: how a good one is made in a folder, what it consists of, and the command that reads it, or
    the function where no quick command does."""

    name: str
    syntax: str
    make: Callable[[Path], Path]
    command: Callable[[Path], list[str]] | None = None
    read: Callable[[Path], object] | None = None

    def run(self, path: Path) -> int:
        """The exit code of reading the file at `path`, as the command line ends with it."""
        if self.command is not None:
            return run_command(self.command(path))
        assert self.read is not None
        try:
            self.read(path)
        except (TableError, ExportError, PipelineError) as error:
            print(error, file=sys.stderr)
            return error.exit_code
        return 0


def _copied(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        target = folder / name
        if (FILES / name).is_dir():
            shutil.copytree(FILES / name, target)
            return target / "Data" / "com.apple.CoreML" / "model.mlmodel"
        shutil.copy(FILES / name, target)
        return target

    return make


def _text(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def _table(folder: Path) -> Path:
    save_table(load_table("epyc-vm-quickstart"), folder / "table.json")
    return folder / "table.json"


def _check(path: Path) -> list[str]:
    folder = next(p for p in path.parents if (p / "budget.toml").exists())
    model = next((p for p in (path, *path.parents) if p.suffix == ".mlpackage"), path)
    return ["check", str(model), "--budget", str(folder / "budget.toml"), "--json"]


def _model(name: str, file: str) -> Kind:
    def make(folder: Path) -> Path:
        (folder / "budget.toml").write_text('macs = "100M"\nparams = "10M"\nsize_mb = 10\n')
        return _copied(file)(folder)

    return Kind(name, "binary", make, _check)


def _csv(folder: Path) -> Path:
    rng = random.Random(0)
    lines = [f"{n},{rng.random():.3f},{rng.random():.3f},{rng.randrange(10**6)}" for n in range(40)]
    return _text("results.csv", "\n".join(["arch,truth,score,macs", *lines]) + "\n")(folder)


def _images(folder: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    for label in ("cat", "dog"):
        (folder / "photos" / label).mkdir(parents=True)
        for number in range(20):
            Image.fromarray(np.roll(pixels, number, 0)).save(folder / "photos" / label / f"{number}.png")
    (folder / "config.toml").write_text('[data]\npath = "photos"\n[space]\nname = "quickstart"\n')
    return folder / "photos" / "cat" / "7.png"


def _prepare_images(path: Path) -> list[str]:
    folder = path.parents[2]
    shutil.rmtree(folder / "run", ignore_errors=True)
    with create_or_open(folder / "run", read_config(folder / "config.toml")):
        pass
    return ["stage", "data", str(folder / "run"), "--json"]


def _parquet(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _images(folder)
    rows = [
        {"image": {"bytes": file.read_bytes(), "path": file.name}, "label": number % 2}
        for number, file in enumerate(sorted((folder / "photos").rglob("*.png")))
    ]
    shutil.rmtree(folder / "photos")
    (folder / "photos" / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "photos" / "data" / "all.parquet")
    return folder / "photos" / "data" / "all.parquet"


def _run_document(folder: Path) -> Path:
    _images(folder)
    with create_or_open(folder / "run", read_config(folder / "config.toml")):
        pass
    return folder / "run" / "run.json"


def _partition(folder: Path) -> Path:
    space = load_space("quickstart")
    Partition(space, (space,)).save(folder / "partition.json")
    return folder / "partition.json"


def _supernet(folder: Path) -> Path:
    save_supernet(Supernet(load_space("quickstart"), seed=0), folder / "supernet.safetensors")
    return folder / "supernet.safetensors"


def _network(folder: Path) -> Path:
    space = load_space("quickstart")
    save_network(Network(space.blocks(space.min()), seed=0), folder / "weights.safetensors")
    return folder / "weights.safetensors"


def _journal(folder: Path) -> Path:
    costs = space_costs(load_space("quickstart"), Budget(macs=2_000_000), {})
    scores = Scored("table", lambda archs: [float(len(str(arch))) for arch in archs])
    search(Codes(load_space("quickstart")), costs, scores, SearchSettings("random", 4), folder / "study.journal")
    return folder / "study.journal"


def _read_journal(path: Path) -> object:
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    return open_storage(path).get_all_studies()


def _ofa(folder: Path) -> Path:
    entries = {
        "Conv-input:224x224x3-output:112x112x16": {"mean": 1.5, "std": 0.1, "count": 9},
        "Logits-input:7x7x1280-output:1000": {"mean": 0.5, "std": 0.1, "count": 9},
    }
    (folder / "ofa.yaml").write_text("\n".join(f"{k}: {json.dumps(v)}" for k, v in entries.items()) + "\n")
    return folder / "ofa.yaml"


SPACE = (Path(__file__).parents[2] / "examples" / "spaces" / "mobile-32px.toml").read_text()
CONFIG = (Path(__file__).parents[2] / "examples" / "sign-digits.toml").read_text()
KINDS = [
    Kind("table", "json", _table, lambda path: ["table", "show", str(path), "--json"]),
    Kind(
        "prediction",
        "json",
        _table,
        lambda path: ["table", "predict", str(path), "quickstart", "max", "--json"],
    ),
    Kind("space", "text", _text("space.toml", SPACE), lambda path: ["space", str(path), "random:1", "--json"]),
    Kind("ranks", "text", _csv, lambda path: ["rank", str(path), "--truth", "truth", "--proxy", "score", "--json"]),
    Kind(
        "budget",
        "text",
        lambda folder: (_copied("tiny.tflite")(folder), _text("budget.toml", BUDGET)(folder))[1],
        lambda path: ["check", str(path.parent / "tiny.tflite"), "--budget", str(path), "--json"],
    ),
    Kind(
        "baseline",
        "json",
        lambda folder: (
            _copied("tiny.tflite")(folder),
            _text("budget.toml", "size_mb = 10\n[tolerance]\nsize_mb = 0.05\n")(folder),
            _text("base.json", _baseline(folder))(folder),
        )[2],
        lambda path: [
            *("check", str(path.parent / "tiny.tflite"), "--budget", str(path.parent / "budget.toml")),
            *("--baseline", str(path), "--json"),
        ],
    ),
    Kind("configuration", "text", _text("config.toml", CONFIG), read=read_config),
    Kind("run", "json", _run_document, read=lambda path: open_run(path.parent)),
    Kind("partition", "json", _partition, read=Partition.load),
    Kind("supernet", "binary", _supernet, read=load_supernet),
    Kind("network", "binary", _network, read=load_network),
    Kind("study", "text", _journal, read=_read_journal),
    Kind("image", "binary", _images, _prepare_images),
    Kind("parquet", "binary", _parquet, _prepare_images),
    _model("onnx", "tiny-dynamo.onnx"),
    _model("tflite", "tiny.tflite"),
    _model("coreml", "tiny.mlmodel"),
    _model("coreml lstm", "lstm.mlpackage"),
    _model("coreml package", "tiny.mlpackage"),
]


def _baseline(folder: Path) -> str:
    """What `check --update-baseline` writes."""
    base = folder / "made.json"
    model, budget = str(folder / "tiny.tflite"), str(folder / "budget.toml")
    run_command(["check", model, "--budget", budget, "--baseline", str(base), "--update-baseline"])
    return base.read_text()


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_damaged_file_is_one_line(kind: Kind, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = kind.make(tmp_path)
    good = path.read_bytes()
    assert kind.run(path) in (0, 1), capfd.readouterr().err
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(COUNT):
        path.write_bytes(mutated(good, random.Random(f"{kind.name}/{number}"), kind.syntax))
        capfd.readouterr()
        with _within(SECONDS):
            code = kind.run(path)
        said = capfd.readouterr().err
        assert code in (0, 1, 2, 3), f"{kind.name} {number}: exit {code}"
        assert "internal error" not in said, f"{kind.name} {number}: {said}"
        if code == 2 and kind.command is not None:
            told = [line for line in said.splitlines() if line.startswith("pocketnas: ")]
            assert len(told) == 1, f"{kind.name} {number}: {said}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000
    assert grown < MEGABYTES, f"{kind.name} took {grown:.0f} MB more"
