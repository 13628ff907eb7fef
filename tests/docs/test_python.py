"""The Python page and the notebook run as they stand, and offer what the package says it offers."""

import ast
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import pipeline
from tests.docs.commands import fences
from tests.docs.notebook import notebook

ROOT = Path(__file__).resolve().parents[2]
PAGE, NOTEBOOK = ROOT / "docs" / "python.md", ROOT / "examples" / "python.ipynb"


def page_cells() -> list[str]:
    """The code of the page, block by block."""
    return [fence.text for fence in fences(PAGE) if fence.kind == "python"]


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in page_cells():
        exec(compile(cell, str(PAGE), "exec"), names)
    assert "files/model.onnx" in capsys.readouterr().out or (tmp_path / "files" / "model.onnx").is_file()
    page: Any = SimpleNamespace(**names)
    assert page.own.evaluations == 6
    assert page.partition.criterion == "__main__.last_decision" and len(page.partition.regions) in (2, 3)
    assert page.board.device.name == "my-board" and page.board.error.mape_percent < 1
    assert (page.mine.format, page.mine.path, page.mine.parity.status) == ("mine", "model.mine", "passed")


def test_the_notebook_is_the_page() -> None:
    """So that running the page is running it."""
    assert NOTEBOOK.read_text(encoding="utf-8") == notebook(), (
        "run: python -m tests.docs.notebook > examples/python.ipynb"
    )


def test_every_public_name_is_there_and_documented() -> None:
    assert set(pipeline.__all__) == set(pipeline._PLACES)
    for name in pipeline.__all__:
        assert getattr(pipeline, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pipeline.nothing  # noqa: B018
    imported = {
        alias.name
        for cell in page_cells()
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.ImportFrom) and node.module == "pipeline"
        for alias in node.names
    }
    assert imported <= set(pipeline.__all__)
