"""Kinds of files that the gate reads: models, budgets, baselines, metrics; and spaces, architectures, weights."""

from collections.abc import Callable
from pathlib import Path

from pipeline.cli.app import run_command
from tests.fuzz.kind import Kind, copied, text

_BUDGET = 'macs = "100M"\nsize_mb = 10\n[tolerance]\nmacs = 0.05\n'
_METRICS_BUDGET = 'accuracy = 0.5\n[[models]]\npath = "tiny.tflite"\nmetrics = "metrics.json"\n'
_METRICS = '{"accuracy": 0.91, "loss": 0.3, "epochs": 12, "name": "x"}'
_SPACE = (Path(__file__).parents[2] / "examples" / "spaces" / "mobile-32px.toml").read_text()
_OFA_ARCH = '{"r": 192, "d": [2, 3, 2, 4, 3], "ks": [3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 5, 7, 3, 5]' + (
    ', "e": [3, 4, 6, 3, 4, 6, 3, 4, 6, 3, 4, 6, 3, 4, 6, 3, 4, 6, 3, 4]}'
)


def _check(path: Path) -> list[str]:
    folder = next(p for p in path.parents if (p / "budget.toml").exists())
    model = next((p for p in (path, *path.parents) if p.suffix == ".mlpackage"), path)
    return ["check", str(model), "--budget", str(folder / "budget.toml"), "--json"]


def _model(name: str, file: str) -> Kind:
    def make(folder: Path) -> Path:
        (folder / "budget.toml").write_text('macs = "100M"\nparams = "10M"\nsize_mb = 10\n')
        return copied(file)(folder)

    return Kind(name, "binary", make, _check)


def _external_onnx(folder: Path) -> Path:
    """A model whose weights lie in a file beside it; the model is what is mutated."""
    import onnx

    (folder / "budget.toml").write_text('macs = "100M"\nsize_mb = 10\n')
    model = onnx.load(copied("tiny-dynamo.onnx")(folder))
    path = folder / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def _with_model(name: str, content: str) -> Callable[[Path], Path]:
    """A file beside a model."""

    def make(folder: Path) -> Path:
        copied("tiny.tflite")(folder)
        return text(name, content)(folder)

    return make


def _check_tiny(path: Path) -> list[str]:
    return ["check", str(path.parent / "tiny.tflite"), "--budget", str(path.parent / "budget.toml"), "--json"]


def _baseline(folder: Path) -> Path:
    """What `check --update-baseline` writes."""
    _with_model("budget.toml", "size_mb = 10\n[tolerance]\nsize_mb = 0.05\n")(folder)
    path = folder / "base.json"
    run_command([*_check_tiny(path), "--baseline", str(path), "--update-baseline"])
    return path


def _metrics(folder: Path) -> Path:
    _with_model("budget.toml", _METRICS_BUDGET)(folder)
    return text("metrics.json", _METRICS)(folder)


def _show_weights(path: Path) -> list[str]:
    return ["weights", "show", str(path), "--json"]


def _safetensors(folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.ones(8, 3, 3, 3), "conv.bias": torch.ones(8)}, folder / "state.safetensors")
    return folder / "state.safetensors"


def _torch(folder: Path) -> Path:
    import torch

    torch.save({"conv.weight": torch.ones(8, 3, 3, 3), "conv.bias": torch.ones(8)}, folder / "state.pth")
    return folder / "state.pth"


def _read_weights(path: Path) -> object:
    from pipeline.weights.statefile import read_state

    return read_state(path)


KINDS = [
    Kind("budget", "text", _with_model("budget.toml", _BUDGET), _check_tiny),
    Kind("baseline", "json", _baseline, lambda path: [*_check_tiny(path), "--baseline", str(path)]),
    Kind("metrics", "json", _metrics, _check_tiny),
    _model("onnx", "tiny-dynamo.onnx"),
    Kind("onnx with external data", "binary", _external_onnx, _check),
    _model("tflite", "tiny.tflite"),
    _model("coreml", "tiny.mlmodel"),
    _model("coreml lstm", "lstm.mlpackage"),
    _model("coreml package", "tiny.mlpackage"),
    Kind("space", "text", text("space.toml", _SPACE), lambda path: ["space", str(path), "random:1", "--json"]),
    Kind(
        "architecture",
        "json",
        text("arch.json", _OFA_ARCH),
        lambda path: ["space", "ofa-mbv3-1.0", str(path), "--json"],
    ),
    Kind("safetensors", "binary", _safetensors, read=_read_weights),
    Kind("torch weights", "binary", _torch, read=_read_weights),
]
