"""The gate is small and quick: no heavy import, an answer from a table in a fraction of a second."""

import subprocess
import sys
from pathlib import Path

from latency_tables.onnx_models import build_model
from latency_tables.store import save_table
from pipeline.spaces.files import load_space
from tests.gate.conftest import FILES, TINY, made_table

# What a slim installation lacks; importing it then fails.
ABSENT = ("torch", "optuna", "coremltools", "scipy", "sklearn", "datasets", "plotly", "safetensors", "PIL", "pandas")
SCRIPT = f"""
import sys, time
sys.modules.update(dict.fromkeys({ABSENT!r}))
from pipeline.cli.app import run_command
start = time.process_time()
code = run_command(sys.argv[1:])
seconds = time.process_time() - start
print(code, seconds, "onnxruntime" in sys.modules, file=sys.stderr)
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
    code, seconds, measures = done.stderr.splitlines()[-1].split(" ", 2)
    assert (code, measures) == ("0", "False"), done.stderr
    # CPU seconds: another program on the machine shall not fail this test.
    assert float(seconds) < 1


def test_a_slim_installation_measures_and_reads_every_format(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(build_model(TINY))
    (tmp_path / "budget.toml").write_text('macs = "1G"\n[tolerance]\nmacs = "1%"\nlatency_ms = "900%"')
    models = ["model.onnx", *(str(FILES / name) for name in ("tiny.mlpackage", "tiny.tflite", "tiny.mlmodel"))]
    for arguments, expected in ((models[:3], "0"), ([models[0], "--baseline", "model.onnx"], "0"), (models[3:], "1")):
        command = ["check", *arguments, "--budget", "budget.toml", "--json"]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stderr.splitlines()[-1].split(" ")[0] == expected, done.stderr


def test_the_modules_of_the_gate_need_no_training_tools() -> None:
    code = (
        "import sys, pkgutil, importlib, pipeline.gate as gate\n"
        "for module in pkgutil.iter_modules(gate.__path__, 'pipeline.gate.'): importlib.import_module(module.name)\n"
        "print(sorted({'torch', 'optuna', 'coremltools', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
