"""The documentation is true: its commands exist and run, its files are accepted, its reference is the code's."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.cli.app import app, run_command
from pipeline.gate.budget_file import parse_budget
from tests.docs.commands import fences, pocketnas_commands
from tests.docs.reference import reference
from tests.gate.conftest import TINY, made_table

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


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the guides take for granted: models, a phone's table, the files that a page shows."""
    (tmp_path / "model.onnx").write_bytes(build_model(TINY))
    (tmp_path / "old.onnx").write_bytes(build_model(TINY))
    save_table(made_table(), tmp_path / "phone.json")
    for fence in fences(CI):
        if fence.mark.startswith("file: "):
            (tmp_path / fence.mark.removeprefix("file: ")).write_text(fence.text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_ci_guide_run(project: Path) -> None:
    commands = list(pocketnas_commands(CI))
    assert len(commands) == 4
    for words in commands:
        # Two equal models that are measured in turn may, on a busy machine, not be told apart: that is 3.
        accepted = {0, 3} if "old.onnx" in words else {0}
        assert run_command(words) in accepted, words
    assert (project / "baseline.json").exists()
    assert (project / "report.xml").exists() and (project / "comment.md").exists()


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


# -- continuous integration ---------------------------------------------------------------------------------


def _steps(text: str) -> dict[str, str]:
    """The shell scripts of action.yml by step name: what stands behind `run: |`, without its indentation."""
    scripts: dict[str, list[str]] = {}
    name, inside = "", False
    for line in text.splitlines():
        if line.startswith("    - name: "):
            name, inside = line.removeprefix("    - name: "), False
        elif line == "      run: |":
            inside = True
            scripts[name] = []
        elif inside:
            assert line.startswith("        ") or not line
            scripts[name].append(line[8:])
    return {step: "\n".join(lines) for step, lines in scripts.items()}


def _wheel(folder: Path) -> Path:
    """A wheel of nothing but the command `pocketnas`; the packages come from where the tests have them."""
    import zipfile

    path = folder / "pocketnas-0.0.0-py3-none-any.whl"
    info = "pocketnas-0.0.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pocketnas\nVersion: 0.0.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\npocketnas = pipeline.cli.app:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_the_steps_of_the_github_action_run(project: Path) -> None:
    """Installed into an environment of its own, then one pull request that is fine and one that is not."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    steps = _steps(text)
    assert list(steps) == ["Install", "Check"]
    assert all("${{" not in script for script in steps.values())  # inputs only ever come as variables
    environment = {
        "PATH": "/usr/bin:/bin",
        "RUNNER_TEMP": str(project),
        "GITHUB_OUTPUT": str(project / "output"),
        "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
        "POCKETNAS_VERSION": str(_wheel(project)),
        "POCKETNAS_PYTHON": sys.executable,
        "POCKETNAS_MODELS": "model.onnx",
        "POCKETNAS_BUDGET": "phone.toml",
        "POCKETNAS_TABLE": "phone.json",
        "POCKETNAS_BASELINE": "",
        "PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)]),
        "PIP_NO_INDEX": "1",
        "POCKETNAS_REQUIREMENTS": os.devnull,  # they are on PYTHONPATH
    }

    def step(name: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[name]]
        return subprocess.run(command, env=environment | changed, capture_output=True, text=True, check=False)

    installed = step("Install")
    assert installed.returncode == 0, installed.stderr
    fine = step("Check")
    assert fine.returncode == 0, fine.stderr
    told = dict(line.split("=", 1) for line in (project / "output").read_text().splitlines())
    assert told.pop("passed") == "true"
    assert set(told) == {"markdown", "junit"} and all(Path(file).is_file() for file in told.values())
    assert all(f"  {name}:\n" in text.split("outputs:")[1] for name in told)
    assert "pocketnas check passed" in (project / "summary.md").read_text()
    (project / "phone.toml").write_text("latency_ms = 1")
    failing = step("Check")
    assert failing.returncode == 1
    assert "::error title=model.onnx" in failing.stderr
    assert (project / "output").read_text().endswith("passed=false\n")
    hostile = step("Check", POCKETNAS_MODELS="$(touch hacked) `touch hacked` model.onnx; touch hacked")
    assert hostile.returncode == 2
    assert not (project / "hacked").exists()


def test_a_check_needs_only_what_its_requirements_list() -> None:
    lines = (ROOT / "check-requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(needed) <= set(project["dependencies"])
    install = next(line for line in CI.read_text(encoding="utf-8").splitlines() if "pip install --quiet numpy" in line)
    assert install.split("--quiet ")[1].split() == [line.split(">=")[0] for line in needed]


def test_the_old_model_comes_from_the_branch(tmp_path: Path) -> None:
    """A clone of depth 1 of a pull request, as CI systems make it."""
    script = next(fence.text for fence in fences(CI) if fence.mark == "git")
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]

    def git(folder: Path, *arguments: str) -> None:
        subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    git(theirs, "init")
    (theirs / "model.onnx").write_bytes(build_model(TINY))
    git(theirs, "add", "model.onnx")
    git(theirs, "commit", "-m", "old")
    git(theirs, "checkout", "-b", "pull-request")
    (theirs / "model.onnx").write_bytes(build_model(TINY[:4]))
    git(theirs, "commit", "-am", "new")
    git(tmp_path, "clone", "--depth", "1", "--branch", "pull-request", theirs.as_uri(), "ours")
    subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path / "ours", check=True, capture_output=True)
    assert (tmp_path / "ours" / "old.onnx").read_bytes() == build_model(TINY)


def test_the_gitlab_and_pre_commit_snippets_run(project: Path) -> None:
    text = CI.read_text(encoding="utf-8")
    script = next(fence.text for fence in fences(CI) if fence.mark == "gitlab")
    line = next(line.strip(" -") for line in script.splitlines() if "pocketnas check" in line)
    assert run_command(line.split()[1:]) == 0
    hook = next(fence.text for fence in fences(CI) if fence.mark == "pre-commit")
    entry = next(line.split("entry: ")[1] for line in hook.splitlines() if "entry: " in line)
    # pre-commit adds the changed files that match.
    assert run_command([*entry.split()[1:], "model.onnx"]) == 0
    used = next(fence.text for fence in fences(CI) if fence.mark == "github")
    known = (ROOT / "action.yml").read_text(encoding="utf-8").split("outputs:")[0]
    for name in [line.split(":")[0].strip() for line in used.split("with:\n")[1].splitlines()]:
        assert f"\n  {name}:\n" in known
    assert "exit code 3" in text
