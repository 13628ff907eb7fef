"""The documentation is true: its commands exist and run, its files are accepted, its reference is the code's."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import typer

from pipeline.cli.app import app
from pipeline.gate.budget_file import parse_budget
from tests.docs.commands import fences, pocketnas_commands
from tests.docs.reference import reference

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("README.md")])
CI = ROOT / "docs" / "ci.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    """The command line is parsed as it stands; nothing is run."""
    group = typer.main.get_command(app)
    for words in pocketnas_commands(page):
        command, arguments = group, list(words)
        context = command.make_context("pocketnas", arguments[:1], resilient_parsing=True)
        while hasattr(command, "get_command"):
            found = command.get_command(context, arguments[0])
            assert found is not None, f"{page.name}: there is no command {words}"
            command, arguments = found, arguments[1:]
        try:
            command.make_context(words[0], arguments)
        except Exception as error:  # whatever the parser raises, the page shows something that does not exist
            raise AssertionError(f"{page.name}: pocketnas {' '.join(words)}: {error}") from error


def test_every_command_in_a_sentence_exists() -> None:
    """`pocketnas …` between two words: the command, and the options that it names."""
    group, found = typer.main.get_command(app), 0
    for page in PAGES:
        for text in re.findall(r"`pocketnas ([a-z][^`]*)`", page.read_text(encoding="utf-8")):
            words = text.split()
            command = group.get_command(None, words[0])  # type: ignore[attr-defined]
            assert command is not None, f"{page.name}: there is no command {text!r}"
            known = {"--help", *(name for parameter in command.params for name in parameter.opts)}
            assert {word for word in words if word.startswith("--")} <= known, f"{page.name}: {text!r}"
            found += 1
    assert found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_import_what_there_is(page: Path) -> None:
    """They compile, and every import in them works."""
    for fence in fences(page):
        if fence.kind == "python":
            for statement in ast.parse(fence.text).body:
                if isinstance(statement, (ast.Import, ast.ImportFrom)):
                    exec(compile(ast.Module([statement], []), page.name, "exec"), {})


def test_the_budget_files_in_the_guides_are_accepted() -> None:
    shown = [fence for page in PAGES for fence in fences(page) if fence.kind == "toml"]
    assert shown
    for fence in shown:
        document = tomllib.loads(fence.text)
        if fence.mark.startswith("file: "):
            parse_budget(document, fence.mark, Path("/"))


def test_the_reference_is_made_from_the_code() -> None:
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    assert text == reference(), "run: python -m tests.docs.reference > docs/reference.md"


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_table_of_results_names_a_benchmark_that_is_there() -> None:
    """The map in benchmarks/README.md knows every page of docs/results/, and every module named anywhere exists."""
    overview = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    pages = sorted((ROOT / "docs" / "results").glob("*.md"))
    assert [page.name for page in pages if f"| {page.name} |" not in overview] == []
    for page in [*pages, *PAGES, *(ROOT / "benchmarks").rglob("*.py"), ROOT / "benchmarks" / "README.md"]:
        for module in re.findall(r"-m (benchmarks(?:\.\w+)+)", page.read_text(encoding="utf-8")):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").is_file(), f"{page.name}: {module}"
        assert not re.search(r"python benchmarks/", page.read_text(encoding="utf-8")), page.name
