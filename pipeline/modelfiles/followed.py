"""What is known of a tensor while a graph is followed."""

from dataclasses import dataclass
from typing import Any

from pipeline.modelfiles.graph import Shape


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a tensor: its shape, and its values (an array) where they are few and do not depend on data."""

    shape: Shape | None = None
    values: Any = None

    @property
    def whole(self) -> list[int]:
        """The values as a flat list of whole numbers. Raises NotKnown without values."""
        if self.values is None:
            raise NotKnown
        return [int(value) for value in self.values.reshape(-1)]


class NotKnown(Exception):
    """A shape depends on something that is not known."""
