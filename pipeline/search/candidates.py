"""Candidates as rows of small integers: what every search method proposes and every cost reads."""

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

CodeArray = NDArray[np.uint8]
FloatArray = NDArray[np.float64]

ENUMERATE_UP_TO: Final = 200_000  # gene combinations; a space this small is ranked whole


class CandidateSpace(Protocol):
    """A set of networks as integer rows, one column per gene. `pipeline.spaces.codes.Codes` is one.

    Equal canonical rows are equal networks: genes that do not exist in a network are 0 in it.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each gene; genes that share what stands before the first dot belong together."""

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The number of options of each gene."""

    def canonical(self, codes: CodeArray, /) -> CodeArray:
        """A copy of `codes` (n, genes) in which genes that do not exist are 0."""

    def active(self, codes: CodeArray, /) -> NDArray[np.bool_]:
        """Which genes exist in each row, shape (n, genes)."""

    def sample(self, n: int, rng: np.random.Generator, /) -> CodeArray:
        """Canonical rows (n, genes), uniform over distinct networks."""

    def decode(self, codes: CodeArray, /) -> Sequence[Any]:
        """The networks that the rows (n, genes) stand for; `str` of one is its spelling."""


def keys(codes: CodeArray) -> list[bytes]:
    """One hashable key per row of `codes` (n, genes)."""
    rows = np.ascontiguousarray(codes, dtype=np.uint8)
    width = rows.shape[1]
    data = rows.tobytes()
    return [data[start : start + width] for start in range(0, len(data), width)]


def distinct(codes: CodeArray) -> CodeArray:
    """The rows of `codes` (n, genes) without repeats, in the order of their first appearance."""
    if len(codes) < 2:
        return codes
    rows = np.ascontiguousarray(codes, dtype=np.uint8)
    as_one = rows.view(np.dtype((np.void, rows.shape[1]))).ravel()
    _, first = np.unique(as_one, return_index=True)
    first.sort()
    return rows[first]


def enumerate_codes(space: CandidateSpace) -> CodeArray | None:
    """Every network once in a fixed order, (n, genes); None for more than ENUMERATE_UP_TO gene combinations."""
    if math.prod(space.cardinalities) > ENUMERATE_UP_TO:
        return None
    grid = np.indices(space.cardinalities, dtype=np.uint8).reshape(len(space.cardinalities), -1).T
    return distinct(space.canonical(np.ascontiguousarray(grid)))
