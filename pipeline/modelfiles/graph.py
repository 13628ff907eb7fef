"""A model's computation as plain data, whatever file it came from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """One operator. `operator` carries its domain unless it is its format's own ("com.microsoft.FusedConv").

    `bodies` are the graphs that control flow may run, each with everything it sees of the graphs around it: exactly
    one of them where they are `exclusive`, else each `repeats` times (None: the file does not tell how often).
    """

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    bodies: tuple["Graph", ...] = ()
    exclusive: bool = False
    repeats: int | None = None


@dataclass(frozen=True)
class Constant:
    """A tensor stored in the file. `values` are read only where there are few (at most 16).

    `stored` is how many numbers the file holds where that is not all of them, as of a sparse tensor.
    """

    shape: tuple[int, ...]
    kind: str
    values: tuple[float, ...] | None
    stored: int | None = None

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape) if self.stored is None else self.stored


@dataclass(frozen=True)
class Graph:
    """A whole model of batch 1; a dimension that the file leaves open is None."""

    nodes: tuple[Node, ...]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, Constant]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    producer: str = ""

    def shape(self, name: str) -> Shape | None:
        """The shape of a tensor or constant, None where unknown."""
        constant = self.constants.get(name)
        return self.shapes.get(name) if constant is None else constant.shape
