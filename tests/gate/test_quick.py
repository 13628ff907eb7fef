"""The gate is small and quick: no heavy import, an answer from a table in a fraction of a second."""

import subprocess
import sys
from pathlib import Path

from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.spaces.files import load_space
from tests.gate.conftest import made_table

SCRIPT = """
import sys, time
from pipeline.cli.app import run_command
start = time.process_time()
code = run_command(sys.argv[1:])
seconds = time.process_time() - start
heavy = {"torch", "optuna", "coremltools", "onnxruntime", "scipy", "sklearn", "datasets", "plotly"} & set(sys.modules)
print(code, seconds, sorted(heavy), file=sys.stderr)
"""


def test_a_table_answers_at_once_and_without_heavy_imports(tmp_path: Path) -> None:
    space = load_space("ofa-mbv3-1.0")
    blocks = space.blocks(space.max())
    (tmp_path / "model.onnx").write_bytes(build_model(blocks))
    (tmp_path / "budget.toml").write_text('latency_ms = 100\nmacs = "1G"\nsize_mb = 50')
    save_table(made_table(blocks), tmp_path / "table.json")
    command = ["check", "model.onnx", "--budget", "budget.toml", "--table", "table.json", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    code, seconds, heavy = done.stderr.splitlines()[-1].split(" ", 2)
    assert (code, heavy) == ("0", "[]"), done.stderr
    # CPU seconds: another program on the machine shall not fail this test.
    assert float(seconds) < 1


def test_the_modules_of_the_gate_need_no_training_tools() -> None:
    code = (
        "import sys, pkgutil, importlib, pipeline.gate as gate\n"
        "for module in pkgutil.iter_modules(gate.__path__, 'pipeline.gate.'): importlib.import_module(module.name)\n"
        "print(sorted({'torch', 'optuna', 'coremltools', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
