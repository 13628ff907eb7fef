"""One training, many answers: other budgets from the same supernet, nothing of the first run changed or done again."""

import json
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest

from latency_tables.files import sha256_of
from pipeline.budget import BudgetError
from pipeline.runs.documents.report import Summary
from pipeline.runs.report_data import report_data
from pipeline.runs.run import Run
from pipeline.runs.specialise import folder_name, parse_budget
from tests.runs.conftest import FinishedRun, pocketnas


def _hashes(folder: Path) -> dict[str, str]:
    return {str(f.relative_to(folder)): sha256_of(f) for f in sorted(folder.rglob("*")) if f.is_file()}


def test_another_budget_uses_what_is_there(finished: FinishedRun, tmp_path: Path) -> None:
    before = _hashes(finished.path)
    done = pocketnas("specialise", finished.path, "--out", tmp_path / "tight", "--macs", "0.8M", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["winner"]["macs"] <= 800_000
    assert printed["budget"] == {"macs": 800_000}
    assert printed["check"]["passed"] and (tmp_path / "tight" / "exports" / "model.onnx").is_file()
    assert {stage["name"] for stage in printed["stages"]}.isdisjoint({"data", "train", "split"})
    assert not (tmp_path / "tight" / "supernet").exists() and not (tmp_path / "tight" / "data").exists()
    assert _hashes(finished.path) == before
    lines = (tmp_path / "tight" / "judged.jsonl").read_text().splitlines()
    archs = Counter(json.loads(line)["arch"] for line in lines)
    assert archs.most_common(1)[0][1] == 1  # nothing is judged twice, also not what the first run judged
    assert {json.loads(line)["arch"] for line in (finished.path / "judged.jsonl").read_text().splitlines()} <= set(
        archs
    )
    again = pocketnas("specialise", finished.path, "--out", tmp_path / "tight", "--macs", "0.8M", "--json")
    assert json.loads(again.stdout)["winner"] == printed["winner"]
    front = json.loads(pocketnas("front", tmp_path / "tight", "--json").stdout)
    assert {"arch", "score", "inherited_accuracy", "latency_ms", "macs"} <= front[0].keys()
    assert [row["score"] for row in front] == sorted(row["score"] for row in front)
    _a_base_that_is_gone(finished, tmp_path)


def _a_base_that_is_gone(finished: FinishedRun, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(tmp_path / "tight", copied)
    document = json.loads((copied / "run.json").read_text())
    document["base"]["path"] = str(tmp_path / "nowhere")
    (copied / "run.json").write_text(json.dumps(document))
    gone = pocketnas("front", copied)
    assert gone.returncode == 2
    assert "uses the supernet of" in gone.stderr and "gone" in gone.stderr


def test_a_network_of_the_front_is_built_as_it_is(finished: FinishedRun, tmp_path: Path) -> None:
    """By the command that the report shows."""
    run = Run.open(finished.path)
    data = report_data(run, Summary.load(run.folder.summary))
    assert data.networks is not None
    picked = next(network for network in data.networks.networks if network.on_front and network.command)
    program, *words = shlex.split(picked.command)
    words[words.index("--out") + 1] = str(tmp_path / "picked")
    done = pocketnas(*words, "--json")
    assert program == "pocketnas" and done.returncode in (0, 1), done.stderr
    printed = json.loads(done.stdout)
    assert printed["winner"]["arch"] == picked.name and printed["winner"]["origin"] == "candidate"
    assert printed["winner"]["macs"] == picked.macs
    assert printed["winner"]["latency_ms"]["predicted"] == pytest.approx(picked.latency_ms)
    assert printed["random_baseline"]["n"] == 0 and "one network was asked for" in printed["random_baseline"]["reason"]
    assert printed["exports"][0]["parity"]["status"] == "passed"
    outside = pocketnas("specialise", finished.path, "--out", tmp_path / "b", "--arch", "max", "--macs", "0.8M")
    assert outside.returncode == 1 and "is outside the budget: macs by" in outside.stderr
    unknown = pocketnas("specialise", finished.path, "--out", tmp_path / "c", "--arch", "r7_w8")
    assert unknown.returncode == 2 and "r7_w8" in unknown.stderr


def test_what_cannot_be_specialised_is_refused(finished: FinishedRun, tmp_path: Path) -> None:
    for arguments, message in (
        (["--out", finished.path, "--macs", "1M"], "is the run itself"),
        (["--out", finished.path / "inside", "--macs", "1M"], "lies inside the run"),
        (["--out", tmp_path / "i", "--arch", "nope"], "'nope' names no architecture"),
        (["--out", tmp_path / "a", "--macs", "1"], "no network of this space reaches macs <= 1"),
        (["--out", tmp_path / "b", "--macs", "many"], "macs"),
        (["--out", tmp_path / "c", "--budget", "macs=1M", "--macs", "1M"], "not both"),
        (["--out", tmp_path / "d", "--budget", "watts=3"], "'watts=3' is no limit"),
        (["--out", tmp_path / "e", "--budget", "macs=1M", "--budget", "macs=1M"], "same"),
        (["--out", tmp_path / "g", "--budget", "macs=1M", "--arch", "max"], "without --budget"),
        (["--out", tmp_path / "h", "--precision", "fp8"], "none of fp32, fp16, int8"),
        (["--out", tmp_path / "f", "--macs", "1M", "--table", "none-such"], "no latency table 'none-such'"),
    ):
        done = pocketnas("specialise", finished.path, *arguments)
        assert done.returncode in (1, 2), (arguments, done.stderr)
        assert message in done.stderr, (arguments, done.stderr)
        assert "internal error" not in done.stderr
    assert not (finished.path / "inside").exists()
    assert list(tmp_path.iterdir()) == []  # the same name may be tried again


def test_budgets_as_text_and_as_folders() -> None:
    limits = parse_budget("latency_ms=5, macs=80M")
    assert limits == {"latency_ms": "5", "macs": "80M"}
    assert folder_name(limits) == "latency_ms-5_macs-80M"
    for wrong in ("", "latency_ms", "macs=80M, macs=90M", "accuracy=0.9", "macs=-3"):
        with pytest.raises(BudgetError):
            parse_budget(wrong)
