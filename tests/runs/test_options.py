"""A run from a folder or a configuration with options: each option is a key, and the rest is chosen and told."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sklearn.datasets import load_digits

from pipeline.cli.app import run_command
from pipeline.data.errors import DataError
from pipeline.runs.automatic import automatic_config, is_data
from pipeline.runs.begin import create_or_open
from pipeline.runs.config import ConfigError
from pipeline.runs.config_file import parse_config, read_config
from pipeline.runs.documents.base import RunError
from pipeline.runs.folder import open_run
from pipeline.runs.options import Options
from pipeline.runs.record import StageRecord
from tests.data.trees import make_tree


@pytest.mark.parametrize(
    ("option", "value", "table", "key"),
    [
        ("space", "quickstart", "space", "name"),
        ("device", "ssh://me@board", "device", "name"),
        ("table", "epyc-vm-quickstart", "device", "table"),
        ("latency_ms", 20.0, "budget", "latency_ms"),
        ("macs", "300M", "budget", "macs"),
        ("params", "6M", "budget", "params"),
        ("size_mb", 12.0, "budget", "size_mb"),
        ("start", "efficientnet-lite1", "train", "start"),
        ("minutes", 9.0, "train", "minutes"),
        ("data", "owner/name", "data", "path"),
        ("group", r"^(\w+)_", "data", "group"),
    ],
)
def test_every_option_is_a_key(option: str, value: object, table: str, key: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('seed = 4\n[data]\npath = "digits"\n[budget]\nlatency_quantile = 0.4\n[train]\nepochs = 2\n')
    config = read_config(file, Options(**{option: value}))  # type: ignore[arg-type]
    assert getattr(getattr(config, table), key) == value and config.seed == 4
    assert (config.budget.latency_quantile is None) == (option == "latency_ms")
    assert read_config(file, Options(seed=7)).seed == 7


def test_a_wrong_option_is_named_like_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text('[data]\npath = "digits"\n')
    for option, told in (
        ("--macs=lots", "macs = 'lots'"),
        ("--minutes=many", "minutes"),
        ("--start=resnet", "resnet"),
        ("--table=pixel", "pixel"),
    ):
        assert run_command(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), option]) == 2, option
        assert told in capsys.readouterr().err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("decision", "told"),
    [("stage9.width", "which has 5 stages"), ("kernel", "is no decision"), ("stage1.depth", "one option")],
)
def test_what_cannot_be_split_is_said_before_anything_is_trained(
    decision: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    space = '[space]\nname = "mobilenet-v3-small"\n'
    (tmp_path / "c.toml").write_text(f'[data]\npath = "digits"\n{space}[split]\ndecisions = ["{decision}"]\n')
    assert run_command(["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_relative_paths_of_options_are_seen_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "c.toml").write_text('[data]\npath = "x"\n')
    (tmp_path / "pictures").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_config(Path("there/c.toml"), Options(data="pictures")).data.path == str(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("given", "data"),
    [("c.toml", False), ("none.toml", False), ("notes.txt", False), ("pictures", True), ("x.parquet", True),
     ("digits", True), ("owner/name", True), ("nowhere", False), ("./a/b", False)],
)  # fmt: skip
def test_images_or_a_configuration(given: str, data: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for file in ("c.toml", "notes.txt", "x.parquet"):
        Path(file).write_text("")
    assert is_data(given) == data


def test_a_start_brings_what_suits_it_and_a_time(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[data]\npath = "x"\n[train]\nstart = "efficientnet-lite0"\n[device]\nthreads = 2\n')
    config = read_config(file)
    assert config.train.cpu_minutes is not None and config.train.batch_size == 32
    assert (config.device.effort, config.device.threads) == ("quick", 2)
    file.write_text('[data]\npath = "x"\n[train]\nstart = "efficientnet-lite0"\nepochs = 3\nbatch_size = 16\n')
    said = read_config(file)
    assert not said.train.limited and (said.train.epochs, said.train.batch_size) == (3, 16)
    assert (config.finetune.optimizer, config.finetune.learning_rate) == ("adamw", 0.001)
    for line, meant in (("learning_rate = 0.01", ("sgd", 0.01)), ('optimizer = "sgd"', ("sgd", 0.02))):
        file.write_text(f'[data]\npath = "x"\n[train]\nstart = "efficientnet-lite0"\n[finetune]\n{line}\n')
        own = read_config(file).finetune
        assert (own.optimizer, own.learning_rate) == meant


def test_what_is_suggested_is_not_said_so_a_run_keeps_what_it_began_with(tmp_path: Path) -> None:
    """Another day other pixels may suit the machine, and another version may suggest another rate."""
    said: dict[str, Any] = {"data": {"path": "photos"}, "train": {"start": "efficientnet-lite0"}}
    then, now = (
        parse_config(said, "options", {"space": {"resolutions": pixels}, "finetune": {"learning_rate": rate}})
        for pixels, rate in (([64], 0.02), ([64, 80], 0.001))
    )
    assert then.space.model_fields_set == set() and then.train.model_fields_set == {"start"}
    assert now.space.resolutions == [64, 80]
    with create_or_open(tmp_path / "run", then) as begun:
        (begun.path / "stages").mkdir()
        record = StageRecord(name="data", inputs="", finished=True, outputs={}, seconds=1.0)
        record.save(begun.path / "stages" / "data.json")
    with create_or_open(tmp_path / "run", now) as goes_on:
        assert goes_on.config.space.resolutions == [64] and goes_on.config.finetune.learning_rate == 0.02
    own = parse_config(said | {"space": {"resolutions": [64, 80]}}, "options")
    with pytest.raises(RunError, match="resolutions"), create_or_open(tmp_path / "run", own):
        pass


def test_keys_are_chosen_from_the_images_and_told(tmp_path: Path) -> None:
    root = make_tree(tmp_path / "photos", {"cat": 12, "dog": 12})
    config, _ = automatic_config(Options(data=str(root), space="efficientnet-b0", start="none", macs="60M"))
    assert config.data.path == str(root) and config.budget.macs == "60M"
    assert config.space.resolutions is None  # a space that was asked for is taken as it is
    chosen, told = automatic_config(Options(data=str(root), start="none", macs="20M", minutes=3.0))
    assert chosen.space.resolutions and max(chosen.space.resolutions) <= 96  # small pictures, and they must fit
    assert chosen.train.minutes == 3 and chosen.device.effort == "quick"
    assert any(line.startswith("start: ") for line in told) and any("3 minutes" in line for line in told)
    assert "limits what is searched" in " ".join(automatic_config(Options(data=str(root), start="none"))[1])


def test_no_images_no_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        automatic_config(Options(data=str(tmp_path / "empty")))
    with pytest.raises(ConfigError):
        automatic_config(Options())
    assert run_command(["run", str(tmp_path / "nowhere"), "--out", str(tmp_path / "run")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_folder_and_its_minutes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lengths follow from measured steps; the same command then continues what is there with the same lengths.

    What `init` writes is the same configuration: a run of it finds everything done.
    """
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images[:500], digits.target, strict=False)):
        Path("photos", str(label)).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((pixels * 15).astype("uint8")).convert("RGB").resize((32, 32))
        picture.save(Path("photos", str(label), f"{number}.png"))
    options = ["--minutes", "0.7", "--macs", "2M", "--space", "quickstart", "--start", "none", "--json"]
    options += ["--table", "epyc-vm-quickstart"]
    words = ["run", "photos", "--out", "run", *options]
    assert run_command(words) == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert any(line.startswith("time: 0.7 minutes") for line in captured.err.splitlines())  # a line for each choice
    assert printed["random_baseline"]["n"] in (0, 8) and printed["published_baseline"] is None
    assert printed["winner"]["macs"] <= 2e6
    schedule = open_run(Path("run")).schedule.read_text()
    assert run_command(["init", "photos", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"] == "pocketnas.toml" and told["minutes"] == 0.7
    for command in (words, ["run", "pocketnas.toml", "--out", "run"]):
        assert run_command(command) == 0
        assert "search: had finished" in capsys.readouterr().err
    assert open_run(Path("run")).schedule.read_text() == schedule


def test_the_address_of_a_database_comes_from_the_environment_and_stays_out_of_files_and_messages(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POCKETNAS_STORAGE", "carrier-pigeon:secret")
    (tmp_path / "c.toml").write_text('[data]\npath = "digits"\n')
    words = ["run", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run"), "--macs", "3M"]
    assert run_command(words) == 2
    told = capsys.readouterr().err
    assert "POCKETNAS_STORAGE is no Optuna URL" in told and "secret" not in told
    assert not (tmp_path / "run").exists()
