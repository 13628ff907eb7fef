"""Continuous integration as `docs/ci.md` shows it: its commands, the action's steps, a pull request from end to end."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.cli.app import run_command
from tests.docs.commands import fences, pocketnas_commands
from tests.gate.conftest import TINY, made_table

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "docs" / "ci.md"
ACTION = ROOT / "action.yml"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the guide takes for granted: models, a phone's table, its files; and the other branch beside."""
    for folder in (tmp_path / "project", tmp_path / "base"):
        folder.mkdir()
        (folder / "model.onnx").write_bytes(build_model(TINY))
        (folder / "old.onnx").write_bytes(build_model(TINY))
    project = tmp_path / "project"
    save_table(made_table(), project / "phone.json")
    for fence in fences(CI):
        if fence.mark.startswith("file: "):
            (project / fence.mark.removeprefix("file: ")).write_text(fence.text)
    monkeypatch.chdir(project)
    return project


def test_the_commands_of_the_ci_guide_run(project: Path) -> None:
    commands = list(pocketnas_commands(CI))
    assert len(commands) == 5
    for words in commands:
        # Two equal models that are measured in turn may, on a busy machine, not be told apart: that is 3.
        accepted = {0, 3} if "old.onnx" in words else {0}
        assert run_command(words) in accepted, words
    assert (project / "baseline.json").exists()
    assert (project / "report.xml").exists() and (project / "comment.md").exists()


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
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\npocketnas = pipeline.cli.start:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


Step = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that the action's first step makes."""
    runner = tmp_path_factory.mktemp("runner")
    done = action_in(runner, runner)("Install")
    assert done.returncode == 0, done.stderr
    return runner / "pocketnas"


def action_in(project: Path, runner: Path, **inputs: str) -> Step:
    """Runs a step of the action in `project` as a runner does, with its inputs."""
    steps = _steps(ACTION.read_text(encoding="utf-8"))
    environment = {
        "PATH": "/usr/bin:/bin",
        "RUNNER_TEMP": str(runner),
        "GITHUB_OUTPUT": str(runner / "output"),
        "GITHUB_STEP_SUMMARY": str(runner / "summary.md"),
        "POCKETNAS_VERSION": str(_wheel(runner)),
        "POCKETNAS_PYTHON": sys.executable,
        "POCKETNAS_MODELS": "",
        "POCKETNAS_BUDGET": "budget.toml",
        "POCKETNAS_TABLE": "",
        "POCKETNAS_BASELINE": "",
        "PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)]),
        "PIP_NO_INDEX": "1",
        "POCKETNAS_REQUIREMENTS": os.devnull,  # they are on PYTHONPATH
    } | {f"POCKETNAS_{name.upper()}": value for name, value in inputs.items()}

    def step(name: str, **changed: str) -> "subprocess.CompletedProcess[str]":
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[name]]
        now = environment | {f"POCKETNAS_{key.upper()}": value for key, value in changed.items()}
        return subprocess.run(command, cwd=project, env=now, capture_output=True, text=True, check=False)

    return step


def test_the_steps_of_the_github_action_run(project: Path, installed: Path) -> None:
    """Installed into an environment of its own, then one pull request that is fine and one that is not."""
    text = ACTION.read_text(encoding="utf-8")
    steps = _steps(text)
    assert list(steps) == ["Install", "Check"]
    assert all("${{" not in script for script in steps.values())  # inputs only ever come as variables
    (project / "pocketnas").symlink_to(installed)
    step = action_in(project, project, models="model.onnx", budget="phone.toml", table="phone.json")
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
    hostile = step("Check", models="$(touch hacked) `touch hacked` model.onnx; touch hacked")
    assert hostile.returncode == 2
    assert not (project / "hacked").exists()
    option = step("Check", models="--update-baseline")
    assert (option.returncode, "no model '--update-baseline'" in option.stderr) == (2, True)


def test_every_line_of_models_is_checked(project: Path, installed: Path) -> None:
    """A block of YAML with two models was once one model, and the job green."""
    (project / "two words.onnx").write_bytes(build_model((*TINY[:2], TINY[1], *TINY[2:])))
    (project / "budget.toml").write_text("macs = 72000")
    (project / "pocketnas").symlink_to(installed)
    step = action_in(project, project)
    for models, code in (
        ("model.onnx\n  two words.onnx  \n\n", 1),
        ("model.onnx old.onnx", 0),
        ("model.onnx\n", 0),
        ("two*.onnx\nmodel.onnx", 1),
        ("model.onnx\nold.onnx", 0),
    ):
        checked = step("Check", models=models)
        assert checked.returncode == code, (models, checked.stdout, checked.stderr)
        names = {"two words.onnx"} & {*checked.stdout.splitlines()}
        assert bool(names) == ("two" in models)


# -- a pull request -----------------------------------------------------------------------------------------


def _git(folder: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *settings, *arguments], cwd=folder, check=True, capture_output=True)


BIGGER = (*TINY[:2], TINY[1], *TINY[2:])
BUDGET = """macs = 200000
[tolerance]
macs = "1%"
[[models]]
path = "models/**/*.onnx"
"""


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A repository whose main branch has two models of one name, one more, and a baseline file."""
    theirs = tmp_path / "theirs"
    (theirs / "models" / "a").mkdir(parents=True)
    (theirs / "models" / "b").mkdir()
    _git(theirs, "init")
    (theirs / "budget.toml").write_text(BUDGET)
    for place, blocks in (("a/m.onnx", TINY), ("b/m.onnx", TINY[:4]), ("c.onnx", TINY[:3])):
        (theirs / "models" / place).write_bytes(build_model(blocks))
    baseline = ["--baseline", str(theirs / "baseline.json"), "--update-baseline"]
    assert run_command(["check", "--budget", str(theirs / "budget.toml"), *baseline]) == 0
    _git(theirs, "add", ".")
    _git(theirs, "commit", "-m", "old")
    _git(theirs, "checkout", "-b", "pull-request")
    return theirs


def _added(models: Path) -> None:
    (models / "new.onnx").write_bytes(build_model(TINY))


def _added_too_large(models: Path) -> None:
    (models / "new.onnx").write_bytes(build_model((*BIGGER[:2], *[BIGGER[1]] * 9, *BIGGER[2:])))


def _removed(models: Path) -> None:
    (models / "c.onnx").unlink()


def _renamed(models: Path) -> None:
    (models / "c.onnx").rename(models / "d.onnx")


def _grown(models: Path) -> None:
    (models / "b" / "m.onnx").write_bytes(build_model(BIGGER))


def _untouched(models: Path) -> None:
    (models / "README").write_text("text")


@pytest.mark.parametrize("baseline", ["folder", "baseline.json"])
@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (_untouched, 0, ""),
        (_added, 0, "new: "),
        (_added_too_large, 1, "above the limit"),
        (_removed, 0, "models/c.onnx (is in the baseline|was there) and (is )?gone"),
        (_renamed, 0, ""),
        (_grown, 1, "models/b/m.onnx"),
    ],
)
def test_a_pull_request(
    theirs: Path, tmp_path: Path, baseline: str, change: Callable[[Path], None], code: int, says: str
) -> None:
    """The documented workflow, its own lines of shell, in a clone of depth 1 as runners make it."""
    change(theirs / "models")
    _git(theirs, "add", "-A")
    _git(theirs, "commit", "-m", "new")
    ours, runner = tmp_path / "ours", tmp_path / "runner"
    runner.mkdir()
    _git(tmp_path, "clone", "--depth", "1", "--branch", "pull-request", theirs.as_uri(), "ours")
    workflow = next(fence.text for fence in fences(CI) if fence.mark == "github")
    lines = workflow.split("- run: |\n")[1].split("      - uses:")[0]
    environment = os.environ | {"GITHUB_BASE_REF": "main", "RUNNER_TEMP": str(runner)}
    subprocess.run(["bash", "-e", "-c", lines], cwd=ours, env=environment, check=True, capture_output=True)
    named = str(runner / "base") if baseline == "folder" else baseline
    arguments = ["check", "--json", "--budget", "budget.toml", "--baseline", named]
    done = subprocess.run([sys.executable, "-m", "pipeline", *arguments], cwd=ours, capture_output=True, text=True,
                          check=False, env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert done.returncode == code, (done.stdout, done.stderr)
    document = json.loads(done.stdout)
    assert {check["model"] for check in document["checks"]} >= {"models/a/m.onnx", "models/b/m.onnx"}
    shown = json.dumps([c for c in document["checks"] if c["status"] != "passed" or not code] + document["notes"])
    assert re.search(says, shown)
    compared = [c for c in document["checks"] if c["name"] == "macs vs baseline" and c["model"] == "models/d.onnx"]
    if change is _renamed and baseline != "folder":
        assert [c["actual"] for c in compared] == [0]  # found by its content


def test_a_check_needs_only_what_its_requirements_list() -> None:
    lines = (ROOT / "check-requirements.txt").read_text(encoding="utf-8").splitlines()
    needed = [line for line in lines if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(needed) <= set(project["dependencies"])


def test_the_recipes_name_places_that_are_there(project: Path) -> None:
    """With pocketnas where the page says to keep it: no index and no public repository has it."""
    (project / "tools").mkdir()
    (project / "tools" / "pocketnas").symlink_to(ROOT)
    recipes = {fence.mark: fence.text for fence in fences(CI)}
    places = re.findall(r"(?:uses: |-r |--no-deps )(\S*tools\S*)", recipes["github"] + recipes["gitlab"])
    assert [(project / place).exists() for place in places] == [True] * 3
    assert (project / places[0] / "action.yml").is_file()


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
    known = ACTION.read_text(encoding="utf-8").split("outputs:")[0]
    inputs = re.findall(r"^ {10}(\w+):", used.split("uses: ./tools/pocketnas")[1], re.MULTILINE)
    assert {"models", "budget", "baseline"} == set(inputs)
    assert all(f"\n  {name}:\n" in known for name in inputs)
    assert "exit code 3" in text
