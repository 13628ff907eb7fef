"""The configuration of `pocketnas quickstart`: embedded digits, this machine's CPU."""

from pathlib import Path

from pipeline.runs.config import Config
from pipeline.runs.config_file import parse_config


def quickstart_config(seed: int, table: str | None) -> Config:
    """Small enough for 4 minutes on two cores; the budget is one that about a third of random networks meet."""
    return parse_config(
        {
            "seed": seed,
            "data": {"path": "digits", "flip": False, "crop": 0.1},
            "space": {"name": "quickstart"},
            "device": {
                "networks": 24,
                "effort": "quick",
                **({"table": str(Path(table).resolve()) if Path(table).is_file() else table} if table else {}),
            },
            "budget": {"latency_quantile": 0.45, "macs": "2.6M", "accuracy": 0.97},
            "train": {"epochs": 8, "learning_rate": 0.08},
            "split": {"regions": 2, "epochs": 2},
            "search": {"evaluations": 60, "images": 256},
            "finetune": {"candidates": 3, "random_baseline": 8, "epochs": 5, "learning_rate": 0.04},
            "export": {"formats": ["onnx", "coreml", "tensorrt"]},
        },
        "quickstart",
    )
