"""Which rules of a budget hold for which models, wherever the two lie and whatever they are called."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.cli.app import run_command
from tests.gate.conftest import FILES

TIGHT = "size_mb = 0.001"


def checked(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, object], str]:
    code = run_command(["check", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if captured.out else {}, captured.err


@pytest.mark.parametrize("folder", ["plain", "a [b] c", "[x]", "st*r", "line\nbreak"])
@pytest.mark.parametrize("name", ["m.onnx", "M.ONNX", "m[1].onnx", "two\nlines.onnx"])
@pytest.mark.parametrize("literal", [True, False])
def test_a_rule_holds_whatever_folder_and_file_are_called(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], folder: str, name: str, literal: bool
) -> None:
    project = tmp_path / folder
    (project / "models").mkdir(parents=True)
    shutil.copy(tiny, project / "models" / name)
    pattern = f"models/{name}" if literal else "models/*"
    (project / "budget.toml").write_text(f"[[models]]\npath = {json.dumps(pattern)}\n{TIGHT}\n")
    for arguments in ((), (project / "models" / name,)):
        code, document, error = checked(capsys, *arguments, "--budget", project / "budget.toml")
        assert code == 1, error
        assert document["checks"][0]["model"] == f"models/{name}"  # type: ignore[index]


@pytest.mark.parametrize(
    ("rules", "code", "says"),
    [
        (
            ("m.onnx", TIGHT),
            2,
            "#1 'm.onnx' matches nothing in .*; the model that is checked is '../m.onnx' from there",
        ),
        (("*.onnx", TIGHT), 2, r"#1 '\*\.onnx' matches nothing"),
        (("other.onnx", TIGHT), 0, ""),
        (("../m.onnx", TIGHT), 1, ""),
    ],
)
def test_a_rule_that_means_another_folder_is_not_passed_over(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str], rules: tuple[str, str], code: int, says: str
) -> None:
    shutil.copy(tiny, tmp_path / "m.onnx")
    (tmp_path / "ci").mkdir()
    budget = tmp_path / "ci" / "budget.toml"
    budget.write_text(f'size_mb = 9\n[[models]]\npath = "{rules[0]}"\n{rules[1]}\n')
    found, document, error = checked(capsys, tmp_path / "m.onnx", "--budget", budget)
    assert found == code
    if says:
        import re

        assert re.search(says, error)
    elif code == 0:
        assert "'other.onnx' matches nothing" in str(document["notes"])


def test_a_rule_that_names_a_model_holds_before_a_pattern_and_two_that_do_are_refused(
    tmp_path: Path, tiny: Path, budget: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pattern, literal = f'[[models]]\npath = "*.onnx"\n{TIGHT}\n', '[[models]]\npath = "tiny.onnx"\nsize_mb = 9\n'
    for arguments in ((), (tiny,)):
        code, document, _ = checked(capsys, *arguments, "--budget", budget(pattern + literal))
        assert code == 0
        assert "#2 names it and holds, the pattern #1 does not" in str(document["notes"])
    for twice in (literal + literal, pattern + f'[[models]]\npath = "t*.onnx"\n{TIGHT}\n'):
        code, _, error = checked(capsys, tiny, "--budget", budget(twice))
        assert code == 2
        assert "two [[models]] are about" in error


def test_input_shapes_are_held_against_every_format(
    budget: Callable[[str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("tiny.tflite", "tiny.mlpackage", "tiny-dynamo.onnx"):
        source, target = FILES / name, tmp_path / name
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        for shape, says in (("nobody = [1, 3, 16, 16]", "has no input 'nobody'; its inputs are"),):
            text = f'macs = "1M"\n[[models]]\npath = "{name}"\ninput_shapes = {{{shape}}}'
            code, _, error = checked(capsys, "--budget", budget(text))
            assert (code, says in error) == (2, True), error


BAD_METRICS = [
    *(f'{{"accuracy": {value}}}' for value in ("95.3", "true", "NaN", "1e999", '"0.95"', "-0.1")),
    "[" * 9999,
    '{"a": 1' + "0" * 5000 + "}",
]


@pytest.mark.parametrize("content", BAD_METRICS, ids=range(len(BAD_METRICS)))
def test_an_accuracy_that_is_no_share_is_refused(
    tiny: Path, budget: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "metrics.json").write_text(content)
    text = 'accuracy = 0.9\n[[models]]\npath = "tiny.onnx"\nmetrics = "metrics.json"'
    code, _, error = checked(capsys, "--budget", budget(text))
    assert code == 2
    assert "is no share; accepted is 0 to 1" in error or "is corrupt or foreign" in error


def test_a_hint_is_written_for_the_inputs_of_this_model(
    tmp_path: Path, budget: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx
    from onnx import helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["pixel values:0", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("pixel values:0", 1, ["n", 1, "h", 32])],
        [helper.make_tensor_value_info("y", 1, None)],
        [helper.make_tensor("w", 1, [2, 1, 3, 3], [0.0] * 18)],
    )
    onnx.save(helper.make_model(graph), tmp_path / "open.onnx")
    code, document, _ = checked(capsys, tmp_path / "open.onnx", "--budget", budget('macs = "1M"'))
    message = document["checks"][0]["message"]  # type: ignore[index]
    assert (code, 'input_shapes = {"pixel values:0" = [1, 1, ?, 32]}' in message) == (3, True)
    shapes = '[[models]]\npath = "open.onnx"\ninput_shapes = {"pixel values:0" = [1, 1, 16, 32]}'
    code, document, _ = checked(capsys, "--budget", budget(f'macs = "1M"\n{shapes}'))
    assert (code, document["checks"][0]["actual"]) == (0, 14 * 30 * 18)  # type: ignore[index]
    # The name that the message shows is accepted.
    free = '[[models]]\npath = "open.onnx"\nignore_operators = ["Conv of unknown shape"]'
    assert checked(capsys, "--budget", budget(f'macs = "1M"\n{free}'))[0] == 0


def test_a_batch_that_the_file_fixes_is_counted_for_one_image(
    tmp_path: Path, budget: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx
    from onnx import helper

    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", 1, [8, 3, 4, 4])],
        [helper.make_tensor_value_info("y", 1, None)],
        [helper.make_tensor("w", 1, [2, 3, 1, 1], [0.0] * 6)],
    )
    onnx.save(helper.make_model(graph), tmp_path / "eight.onnx")
    code, document, _ = checked(capsys, tmp_path / "eight.onnx", "--budget", budget("macs = 96"))
    assert (code, document["checks"][0]["actual"]) == (0, 16 * 6)  # type: ignore[index]
    assert "one run computes a batch of 8" in str(document["notes"])
