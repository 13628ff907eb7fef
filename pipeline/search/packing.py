"""Genes as Optuna parameters: one integer per group of genes, since a storage writes once per parameter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial, Trial

from pipeline.search.candidates import CandidateSpace, CodeArray
from pipeline.spaces.architecture import Architecture

_MOST_VALUES: Final = 2**31  # what every database's integer column holds


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    genes: tuple[int, ...]
    cardinalities: tuple[int, ...]


class Packing:
    """How the genes of one space become parameters: a stage's genes are the digits of one number."""

    def __init__(self, space: CandidateSpace) -> None:
        self._width = len(space.cardinalities)
        self._groups: list[_Group] = []
        for gene, (name, options) in enumerate(zip(space.names, space.cardinalities, strict=True)):
            group = name.split(".")[0]
            last = self._groups[-1] if self._groups else None
            if last and last.name.split("+")[0] == group and math.prod(last.cardinalities) * options < _MOST_VALUES:
                self._groups[-1] = _Group(last.name, (*last.genes, gene), (*last.cardinalities, options))
            else:
                again = sum(known.name.split("+")[0] == group for known in self._groups)
                self._groups.append(_Group(f"{group}+{again}" if again else group, (gene,), (options,)))
        self.distributions: dict[str, BaseDistribution] = {
            group.name: IntDistribution(0, math.prod(group.cardinalities) - 1) for group in self._groups
        }

    def pack(self, row: CodeArray) -> dict[str, int]:
        """The parameters of one canonical row, shape (genes,)."""
        return {
            group.name: int(np.ravel_multi_index([int(row[gene]) for gene in group.genes], group.cardinalities))
            for group in self._groups
        }

    def unpack(self, params: dict[str, Any]) -> CodeArray:
        """The row, shape (genes,), that `pack` made `params` of."""
        row = np.empty(self._width, dtype=np.uint8)
        for group in self._groups:
            row[list(group.genes)] = np.unravel_index(params[group.name], group.cardinalities)
        return row

    def row_of(self, trial: FrozenTrial) -> CodeArray | None:
        """The row, shape (genes,), that a trial has or is queued with; None where it has not said yet."""
        params = trial.system_attrs.get("fixed_params") or trial.params
        return self.unpack(params) if params.keys() >= self.distributions.keys() else None

    def suggest(self, trial: Trial) -> CodeArray:
        """The row (genes,) that the study's sampler proposes for `trial`."""
        params = {
            group.name: trial.suggest_int(group.name, 0, math.prod(group.cardinalities) - 1) for group in self._groups
        }
        return self.unpack(params)


def named_attributes(
    arch: object, costs: Mapping[str, float], violations: Mapping[str, float]
) -> dict[str, float | int | str]:
    """What a dashboard shows of a trial in words, since its parameters are packed: decisions, costs, constraints.

    A stage is spelled as in the network's name, such as "w24-k3e3-k5e4"; a violation is relative, at most 0 inside.
    """
    named: dict[str, float | int | str] = {}
    if isinstance(arch, Architecture):
        named["resolution"] = arch.resolution
        named |= {f"stage {number}": stage for number, stage in enumerate(str(arch).split("_")[1:], 1)}
    named |= costs
    return named | {f"{name} over its limit": round(exceeded, 6) for name, exceeded in violations.items()}
