"""Kinds of files in a run's folder: its documents, logs, studies, weights, and what its exports say of themselves."""

from collections.abc import Callable
from pathlib import Path

from exporters import Metadata, Samples, export_all
from pipeline.budget import Budget
from pipeline.data.dataset import load_dataset
from pipeline.fewshot.partition import Partition
from pipeline.runs.begin import create_or_open
from pipeline.runs.config_file import read_config
from pipeline.runs.documents.base import Document
from pipeline.runs.documents.check import CheckFile
from pipeline.runs.documents.export import MeasuredLatency
from pipeline.runs.documents.finetune import WinnerFile
from pipeline.runs.documents.profile import ResolvedBudget
from pipeline.runs.documents.report import Summary
from pipeline.runs.documents.search import Candidates
from pipeline.runs.folder import open_run
from pipeline.runs.record import StageRecord
from pipeline.search.costs import space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.score_log import ScoreLog
from pipeline.search.settings import SearchSettings
from pipeline.search.storage import open_storage
from pipeline.search.study import search
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space
from pipeline.supernets.files import load_network, load_supernet, save_network, save_supernet
from pipeline.supernets.network import Network
from pipeline.supernets.supernet import Supernet
from tests.fuzz.data_files import write_config
from tests.fuzz.kind import Kind, text

_REAL = Path(__file__).parent / "files"  # what a run of a minute left
_CONFIG = (Path(__file__).parents[2] / "examples" / "sign-digits.toml").read_text()


def _run(folder: Path) -> Path:
    (folder / "photos").mkdir()
    with create_or_open(folder / "run", read_config(write_config(folder))):
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


def _real(name: str) -> Callable[[Path], Path]:
    return lambda folder: text(name, (_REAL / name).read_bytes())(folder)


def _document(name: str, kind: type[Document]) -> Kind:
    return Kind(name, "json", _real(f"{name}.json"), read=kind.load)


def _dataset(folder: Path) -> Path:
    """The data of a run, of which `data.json` is mutated."""
    import numpy as np

    for split in ("train", "search", "test"):
        np.save(folder / f"{split}.npy", np.zeros((4, 8, 8, 3), np.uint8))
        np.save(folder / f"{split}_labels.npy", np.zeros(4, np.int64))
    return _real("data.json")(folder)


def _export(folder: Path) -> Path:
    """A real export of a small network, of which `export.json` is mutated."""
    import numpy as np

    space = load_space("quickstart")
    network = Network(space.blocks(space.min()), seed=0).eval()
    images = np.random.default_rng(0).normal(size=(4, 3, 16, 16)).astype(np.float32)
    export_all(network, Samples(images), ["onnx"], folder / "exports", Metadata())
    return folder / "exports" / "export.json"


def _exported_inputs(folder: Path) -> Path:
    return _export(folder).with_name("reference.safetensors")


def _verify(path: Path) -> list[str]:
    return ["export", "--verify", str(path.parent), "--json"]


def _pixels(folder: Path) -> Path:
    return _dataset(folder).with_name("train.npy")


KINDS = [
    Kind("configuration", "text", text("config.toml", _CONFIG), read=read_config),
    Kind("run", "json", _run, read=lambda path: open_run(path.parent)),
    Kind("data", "json", _dataset, read=lambda path: load_dataset(path.parent)),
    Kind("pixels", "binary", _pixels, read=lambda path: load_dataset(path.parent)),
    Kind("partition", "json", _partition, read=Partition.load),
    Kind("supernet", "binary", _supernet, read=load_supernet),
    Kind("network", "binary", _network, read=load_network),
    Kind("study", "text", _journal, read=_read_journal),
    Kind("judged", "text", _real("judged.jsonl"), read=lambda path: ScoreLog(path, "accuracy").known()),
    Kind("export", "json", _export, _verify),
    Kind("exported inputs", "binary", _exported_inputs, _verify),
    _document("stage", StageRecord),
    _document("winner", WinnerFile),
    _document("candidates", Candidates),
    _document("summary", Summary),
    _document("check", CheckFile),
    _document("latency", MeasuredLatency),
    _document("limits", ResolvedBudget),
]
