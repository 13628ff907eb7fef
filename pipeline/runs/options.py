"""What a command line says beside a configuration: every option is one of its keys."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

# Where each option stands in the configuration; None for a key outside of tables.
_KEYS: Final[dict[str, tuple[str | None, str]]] = {
    "data": ("data", "path"),
    "group": ("data", "group"),
    "space": ("space", "name"),
    "device": ("device", "name"),
    "table": ("device", "table"),
    "latency_ms": ("budget", "latency_ms"),
    "macs": ("budget", "macs"),
    "params": ("budget", "params"),
    "size_mb": ("budget", "size_mb"),
    "start": ("train", "start"),
    "minutes": ("train", "minutes"),
    "seed": (None, "seed"),
}
CPU_MINUTES: Final = 11.5  # of a run that starts from published weights or from a folder, and says no length
_LENGTHS: Final = (("train", "epochs"), ("split", "epochs"), ("search", "evaluations"), ("finetune", "epochs"))
PEAK_RATES: Final = {"sgd": 0.02, "adamw": 0.001}  # of networks alone that start from trained weights, by optimiser
_PATHS: Final = frozenset({"data", "space", "table", "start"})


@dataclass(frozen=True, slots=True)
class Options:
    """Options as they were given, None where they were not; limits may be spelled, such as "300M"."""

    data: str | None = None
    group: str | None = None
    space: str | None = None
    device: str | None = None
    table: str | None = None
    latency_ms: float | None = None
    macs: str | None = None
    params: str | None = None
    size_mb: float | None = None
    start: str | None = None
    minutes: float | None = None
    seed: int | None = None

    def into(self, document: dict[str, Any]) -> dict[str, Any]:
        """`document` with what was given in the place of its own keys; paths are seen from the working folder.

        Tables that are none are left alone, since reading the configuration refuses them.
        """
        document = dict(document)
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.name in _PATHS and Path(value).exists():
                value = str(Path(value).resolve())
            name, key = _KEYS[field.name]
            if name is None:
                document[key] = value
            elif isinstance(table := document.get(name, {}), dict):
                document[name] = {**table, key: value}
        if self.latency_ms is not None and isinstance(document["budget"], dict):
            document["budget"].pop("latency_quantile", None)
        return document


def suggested_for_a_start(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Defaults, by table, of a configuration that starts from published weights; none where it does not.

    Without any length of its own it gets a time: the defaults are made for random weights and need hours.
    """
    train = document.get("train", {})
    if train.get("start", "none") == "none":
        return {}
    said = [table for table, key in _LENGTHS if key in document.get(table, {})]
    minutes = {} if said or "minutes" in train or "cpu_minutes" in train else {"cpu_minutes": CPU_MINUTES}
    alone = document.get("finetune", {})
    optimizer = alone.get("optimizer", "sgd" if "learning_rate" in alone else "adamw")
    return {
        "train": {"batch_size": 32, "learning_rate": 0.02, **minutes},
        "finetune": {"optimizer": optimizer, "learning_rate": PEAK_RATES[optimizer]},
        "device": {"effort": "quick", "networks": 12},
    }
