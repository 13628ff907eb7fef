"""A configuration is read strictly: every wrong value is named with its place."""

from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.runs.config import ConfigError
from pipeline.runs.config_file import differing_key, parse_config, read_config
from pipeline.runs.options import Options


def _parse(**tables: object) -> object:
    return parse_config({"data": {"path": "pictures"}, **tables}, "c.toml")


def test_only_the_data_path_is_needed() -> None:
    config = parse_config({"data": {"path": "pictures"}}, "c.toml")
    assert config.train.recipe == "sandwich"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"trian": {}}, r"unknown key trian; did you mean 'train'\?"),
        ({"train": {"epoch": 3}}, r"unknown key \[train\] epoch; did you mean 'epochs'\?"),
        ({"train": {"epochs": "many"}}, r"\[train\] epochs = 'many'"),
        ({"train": {"epochs": 0}}, r"\[train\] epochs = 0"),
        ({"split": {"criterion": "luck"}}, r"\[split\] criterion = 'luck'.*exhaustive"),
        ({"train": {"recipe": "magic"}}, r"\[train\] recipe = 'magic'.*sandwich"),
        ({"search": {"method": "guess"}}, r"\[search\] method = 'guess'.*random"),
        ({"export": {"formats": ["onnxx"]}}, r"\[export\] formats.*'onnxx'.*onnx"),
        ({"export": {"formats": ["onnx", "onnx"]}}, r"\[export\] formats has 'onnx' twice"),
        ({"space": {"resolutions": [64, 96, 64]}}, r"\[space\] resolutions has 64 twice"),
        ({"budget": {"latencyms": 20}}, r"latencyms.*latency_ms"),
        ({"budget": {"macs": "lots"}}, r"macs = 'lots'"),
        ({"budget": {"latency_ms": 5, "latency_quantile": 0.5}}, "both latency_ms and latency_quantile"),
        ({"finetune": {"random_baseline": 3}}, r"\[finetune\] random_baseline = 3"),
        ({"devices": {"a/b": {"table": "t", "latency_ms": 5}}}, r"\[devices.'a/b'\] is no name"),
        ({"search": {"labels": 3}}, r"\[search\] labels = 3 are too few"),
        ({"data": {}}, r"\[data\] path is missing"),
    ],
)
def test_wrong_values_are_named(tables: dict[str, object], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        _parse(**tables)


def test_a_file_that_is_no_toml_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no configuration at"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[data\npath = 3")
    with pytest.raises(ConfigError, match="not TOML"):
        read_config(tmp_path / "bad.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "c.toml").write_text('[data]\npath = "pictures"\n')
    assert read_config(tmp_path / "c.toml").data.path == str(tmp_path / "pictures")


def test_a_file_names_no_device_that_could_run_a_program(tmp_path: Path) -> None:
    file, device = tmp_path / "c.toml", "ssh://pi@board?config=evil.cfg"
    file.write_text(f'[data]\npath = "digits"\n[device]\nname = "{device}"\n')
    with pytest.raises(ConfigError, match=r"c\.toml: \[device\] name .* are for the command line: --device"):
        read_config(file)
    file.write_text('[data]\npath = "digits"\n[device]\nname = "ssh://pi@board:22"\n')
    assert read_config(file, Options(device=device)).device.name == device


def test_the_differing_key_is_named() -> None:
    old = {"seed": 0, "train": {"epochs": 3, "recipe": "a"}}
    assert differing_key(old, old) is None
    assert differing_key(old, {"seed": 0, "train": {"epochs": 4, "recipe": "a"}}) == "[train] epochs (was 3, is 4)"
    assert differing_key(old, old | {"seed": 1}) == "seed (was 0, is 1)"
