"""A supernet that starts from published weights, with a classifier for a person's classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space, preset_names, space_to_dict
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.files import write_tensors
from pipeline.supernets.supernet import Supernet
from pipeline.weights.labels import IMAGENET_CLASSES, imagenet_names, matching_rows, spelled
from pipeline.weights.placing import Placement, place, published_architecture
from pipeline.weights.published import Published
from pipeline.weights.sources import Weights


@dataclass(frozen=True, slots=True)
class Start:
    """What a supernet started from: provenance, placement, and the classes whose published weights were kept."""

    weights: Weights
    placement: Placement
    kept: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def base(self) -> Architecture | None:
        """The published network as a point of the space, at its largest resolution."""
        return self.placement.base

    def to_document(self) -> dict[str, Any]:
        """What a run records, in plain values."""
        return {
            **self.weights.provenance.to_document(),
            "base": None if self.base is None else str(self.base),
            "placed": len(self.placement.placed),
            "new": len(self.placement.new),
            "kept_classes": list(self.kept),
            "notes": list(self.notes),
        }


def start_supernet(supernet: Supernet, weights: Weights, classes: Sequence[str] = ()) -> Start:
    """Fill `supernet` from `weights`; `classes` are the names of its outputs, where they are a person's.

    Without names the published classifier is taken over where it has as many classes. With names, the weights of
    classes that are called the same are kept; the others stay new. Raises WeightsError where the two do not fit.
    """
    placement = place(weights.network, supernet, weights.provenance.name)
    kept = _keep_rows(supernet, weights, classes) if classes else ()
    return Start(weights, placement, kept, _notes(supernet.space, weights, placement))


def save_start(supernet: Supernet, start: Start, path: Path) -> None:
    """Write the supernet as `save_supernet` does, with where it came from beside it."""
    about = {"kind": "supernet", "space": space_to_dict(supernet.space), "sharing": supernet.sharing}
    write_tensors(path, supernet.state_dict(), {**about, "start": start.to_document()})


def matching_preset(network: Published) -> str | None:
    """The first preset whose base, or where the weights are a supernet's, whose largest network they are."""
    for name in preset_names():
        space = load_space(name)
        found = published_architecture(network, space)
        if found is not None:
            whole = space.max() if network.elastic else space.base
            if whole is not None and whole.stages == found.stages:
                return name
    return None


@torch.no_grad()
def _keep_rows(supernet: Supernet, weights: Weights, classes: Sequence[str]) -> tuple[str, ...]:
    names = [frozenset([spelled(label)]) for label in weights.labels]
    if not names and weights.network.classes == IMAGENET_CLASSES:
        names = list(imagenet_names())
    if len(names) != weights.network.classes:
        return ()
    rows = matching_rows(classes, names)
    own = supernet.banks["head_linear"].state_dict()
    for tensor in ("linear.weight", "linear.bias"):
        published = weights.network.head["linear"][tensor]
        for ours, theirs in rows.items():
            own[f"weights.{tensor}"][ours] = published[theirs]
    return tuple(classes[index] for index in rows)


def _notes(space: SearchSpace, weights: Weights, placement: Placement) -> tuple[str, ...]:
    """What a person should know where the start is not exact."""
    notes, about = [], weights.provenance
    if placement.base is None:
        notes.append(f"{about.name} lies outside space {space.name}: what the space has no place for was left out")
    for what, theirs, ours in (
        ("padding", about.padding, getattr(space, "padding", "symmetric")),
        ("BatchNorm epsilon", about.batchnorm_eps, getattr(space, "batchnorm_eps", 1e-5)),
    ):
        if theirs is not None and theirs != ours:
            notes.append(f"{about.name} was trained with {what} {theirs}, space {space.name} has {ours}")
    return tuple(notes)
