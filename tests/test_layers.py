"""Which package may import which, and what must not be loaded before it is needed."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import exporters
import latency_tables
import pipeline

OURS = {"pipeline", "latency_tables", "exporters"}
PACKAGES = {module.__name__: Path(module.__file__ or "").parent for module in (pipeline, latency_tables, exporters)}
FILES = Path(__file__).parent
RUN = str(FILES / "runs" / "files" / "run-0.1")
# Inside pipeline a part imports only parts that stand before it.
ORDER = [
    "errors",
    "foreign",
    "own",
    "process",
    "progress",
    "budget",
    "spaces",
    "data",
    "profiling",
    "modelfiles",
    "gate",
    "supernets",
    "classifier",
    "weights",
    "fewshot",
    "ranking",
    "search",
    "relax",
    "report",
    "runs",
    "tracking",
    "cli",
]


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("leaf", ["latency_tables", "exporters"])
def test_leaves_import_none_of_our_other_packages(leaf: str) -> None:
    for file in PACKAGES[leaf].rglob("*.py"):
        foreign = {name for name in _imports(file) if name.split(".")[0] in OURS - {leaf}}
        assert not foreign, f"{file} imports {foreign}"


def test_the_pipeline_imports_downwards_only() -> None:
    for file in PACKAGES["pipeline"].rglob("*.py"):
        part = file.relative_to(PACKAGES["pipeline"]).parts[0].removesuffix(".py")
        if part in ("__init__", "__main__"):
            continue
        for name in _imports(file):
            pieces = name.split(".")
            if pieces[0] == "pipeline" and len(pieces) > 1:
                assert ORDER.index(pieces[1]) <= ORDER.index(part), f"{file} imports {name}"


def test_the_product_never_imports_benchmarks_or_tests() -> None:
    for package in PACKAGES.values():
        for file in package.rglob("*.py"):
            assert not {name.split(".")[0] for name in _imports(file)} & {"benchmarks", "tests"}, file


@pytest.mark.parametrize(
    ("code", "forbidden"),
    [
        ("import latency_tables.table, latency_tables.devices.registry", {"torch", "onnx", "onnxruntime", "optuna"}),
        ("import exporters", {"torch", "onnx", "onnxruntime", "coremltools", "numpy"}),
        (
            "from pipeline.cli.app import run_command; run_command(['--help'])",
            {
                "torch",
                "onnx",
                "onnxruntime",
                "optuna",
                "coremltools",
                "datasets",
                "sklearn",
                "plotly",
                "scipy",
                "numpy",
            },
        ),
        *(
            (f"from pipeline.cli.app import run_command; assert run_command({words!r}.split()) in (0, 1)", forbidden)
            for words, forbidden in (
                ("space quickstart max --json", {"torch"}),
                ("table show epyc-vm-ofa-mbv3-1.0", {"torch", "numpy"}),
                ("table predict epyc-vm-ofa-mbv3-1.0 ofa-mbv3-1.0 max", {"torch", "numpy", "latency_tables.build"}),
                (
                    f"check {FILES}/gate/files/tiny-dynamo.onnx --budget {FILES}/../examples/sign-digits.toml",
                    {"torch", "latency_tables.devices.runner"},
                ),
                ("stage --help", {"torch", "numpy"}),
            )
        ),
        (
            f"from pipeline.runs.folder import open_run; open_run(__import__('pathlib').Path({RUN!r}))",
            {"torch", "scipy"},
        ),
        ("import pipeline.cli.rank, pipeline.ranking.report", {"torch"}),
    ],
)
def test_heavy_tools_are_loaded_only_where_they_are_used(code: str, forbidden: set[str]) -> None:
    script = f"{code}\nimport sys; print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert not loaded & forbidden


def _defined(file: Path) -> set[str]:
    """The names that a module defines at its top level."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign | ast.Assign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


@pytest.mark.parametrize("package", ["latency_tables", "pipeline"])
def test_each_package_says_what_it_offers(package: str) -> None:
    """Its docstring names what others use of it, by module; the names are there."""
    for file in PACKAGES[package].rglob("__init__.py"):
        told = ast.get_docstring(ast.parse(file.read_text()))
        assert told, f"{file} says nothing"
        for module, name in re.findall(r"`([a-z_]+)\.([A-Za-z_]+)`", told):
            place = file.with_name(f"{module}.py")
            place = place if place.is_file() else file.parent / module / "__init__.py"
            assert place.is_file() and name in _defined(place), f"{file} offers {module}.{name}, which is not there"
