"""What a predictor sees of a candidate: its choices as one-hot factors, its known costs, and option counts."""

import re
from dataclasses import dataclass

import numpy as np

from pipeline.search.candidates import CandidateSpace, CodeArray, FloatArray
from pipeline.search.costs import Costs
from pipeline.spaces.codes import Codes


@dataclass(frozen=True, slots=True)
class Factor:
    """One aspect of a gene, such as the kernel of a layer. `values[option]` is its value for each option.

    Factors of one `kind` mean the same in different places, so that their values can be counted.
    """

    gene: int
    kind: str
    values: tuple[float, ...]


def factors(space: CandidateSpace) -> tuple[Factor, ...]:
    """The factors of a space: an op is a kernel, an expand ratio and a squeeze, any other gene is itself."""
    found: list[Factor] = []
    for gene, (name, options) in enumerate(zip(space.names, space.cardinalities, strict=True)):
        kind = re.sub(r"\d+$", "", name.split(".")[-1])
        candidates = _of_ops(space, gene, name) or [Factor(gene, kind, tuple(range(options)))]
        known: list[tuple[int, ...]] = []
        for factor in candidates:
            ranks = {value: rank for rank, value in enumerate(dict.fromkeys(factor.values))}
            partition = tuple(ranks[value] for value in factor.values)
            if len(ranks) > 1 and partition not in known:  # two factors that always change together are one
                known.append(partition)
                found.append(factor)
    return tuple(found)


def _of_ops(space: CandidateSpace, gene: int, name: str) -> list[Factor]:
    match = re.fullmatch(r"stage(\d+)\.layer(\d+)", name)
    if not isinstance(space, Codes) or match is None:
        return []
    ops = space.space.stages[int(match[1]) - 1].slots[int(match[2]) - 1]
    return [
        Factor(gene, "kernel", tuple(op.kernel for op in ops)),
        Factor(gene, "expand", tuple(op.expand for op in ops)),
        Factor(gene, "squeeze", tuple(op.squeeze for op in ops)),
    ]


class Encoder:
    """Rows to features. `choices` are one-hot factors, `group_of` tells the factor of each of its columns;
    `traits` are log costs, scaled by a random sample of the space, and counts of each kind's values."""

    def __init__(self, space: CandidateSpace, costs: Costs, reference: CodeArray) -> None:
        self._space, self._costs = space, costs
        self._factors = factors(space)
        self._levels = [sorted(set(factor.values)) for factor in self._factors]
        self._tables = [
            np.array([[value == level for level in levels] for value in factor.values], dtype=np.float64)
            for factor, levels in zip(self._factors, self._levels, strict=True)
        ]
        self.group_of = np.repeat(np.arange(len(self._factors)), [len(levels) for levels in self._levels])
        self._counted = self._count_columns()
        raw = self._raw_traits(reference, self.choices(reference))
        spread = raw.std(axis=0)
        # A count's own unit is the root of the number of places counted, as for a sum of independent choices.
        places = np.sqrt(self._counted.sum(axis=0))
        spread[len(spread) - len(places) :] = places
        self._centre, self._spread = raw.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)

    def choices(self, codes: CodeArray) -> FloatArray:
        """One-hot factors, shape (n, columns); all zero for genes that a network does not have."""
        active = self._space.active(codes)
        parts = [
            table[codes[:, factor.gene]] * active[:, [factor.gene]]
            for factor, table in zip(self._factors, self._tables, strict=True)
        ]
        return np.concatenate(parts, axis=1) if parts else np.zeros((len(codes), 0))

    def traits(self, codes: CodeArray, choices: FloatArray) -> FloatArray:
        """Log costs and option counts, shape (n, traits), centred and scaled."""
        return np.asarray((self._raw_traits(codes, choices) - self._centre) / self._spread)

    def _raw_traits(self, codes: CodeArray, choices: FloatArray) -> FloatArray:
        values = self._costs.values(codes).values()
        costs = np.stack([np.log(np.maximum(value, 1e-9)) for value in values], axis=1)
        return np.concatenate([costs, choices @ self._counted], axis=1)

    def _count_columns(self) -> FloatArray:
        """A matrix that sums one-hot columns of equal kind and value."""
        names = [
            (factor.kind, level) for factor, levels in zip(self._factors, self._levels, strict=True) for level in levels
        ]
        repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        return np.array([[float(name == kept) for kept in repeated] for name in names]).reshape(
            len(names), len(repeated)
        )
