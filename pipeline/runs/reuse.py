"""What a run that specialises another one need not train: networks that its base trained to the end."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from latency_tables.files import write_atomic
from pipeline.runs.documents.finetune import TrainedNetwork
from pipeline.runs.run import Run
from pipeline.spaces.architecture import Architecture

FURTHER: Final = "-further"  # of the names of what was trained on after the comparison
AWARE: Final = "-aware"  # of those that were trained on with quantisation simulated


def take_trained(run: Run, arch: Architecture, epochs: float, record_path: Path) -> bool:
    """Copy the record and weights of `arch` where the base trained it by the same recipe; whether it has."""
    for theirs, trained in _trained_by_the_base(run):
        if (trained.arch, trained.epochs) == (str(arch), epochs):
            write_atomic(record_path.with_suffix(".safetensors"), theirs.with_suffix(".safetensors").read_bytes())
            trained.model_copy(update={"seconds": 0.0}).save(record_path)
            return True
    return False


def random_networks_of_the_base(run: Run) -> list[Architecture]:
    """The random networks of the base's baseline that are inside this run's budget, where they are still a fair draw.

    They are uniform over the base's budget, so those inside a budget that is nowhere looser, on the same table, are
    uniform over that.
    """
    base = run.folder.base
    if base is None or not base.winner_file.exists() or not base.budget.exists():
        return []
    theirs = Run(base)
    ours = {limit.name: limit.limit for limit in run.budget.limits()}
    looser = any(ours.get(limit.name, float("inf")) > limit.limit for limit in theirs.budget.limits())
    if looser or theirs.table != run.table or theirs.limits.other_devices_ms != run.limits.other_devices_ms:
        return []
    archs = [Architecture.parse(trained.arch) for path, trained in _trained_by_the_base(run) if "random" in path.stem]
    return [arch for arch in archs if run.costs.feasible(run.codes.encode([arch]))[0]]


def _trained_by_the_base(run: Run) -> Iterator[tuple[Path, TrainedNetwork]]:
    """Records of networks that the base trained as this run would, from the weights of their region."""
    base = run.folder.base
    if base is None or (base.config.seed, base.config.finetune) != (run.config.seed, run.config.finetune):
        return
    for path in sorted((base.winner / "trained").glob("*.json")):
        if (
            path.stem.startswith(("candidate-", "random-"))
            and not path.stem.endswith((FURTHER, AWARE))
            and path.with_suffix(".safetensors").exists()
        ):
            yield path, TrainedNetwork.load(path)
