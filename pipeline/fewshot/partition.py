"""A space cut into regions: disjoint, covering, counted; each region is a search space of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from latency_tables.documents import read_model
from latency_tables.files import write_json
from pipeline.errors import PipelineError
from pipeline.fewshot.decisions import Decision, SplitError
from pipeline.spaces.architecture import Architecture, ArchitectureError
from pipeline.spaces.files import space_from_dict, space_to_dict
from pipeline.spaces.space import SearchSpace
from pipeline.spaces.stage import Stage

Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Split:
    """How one region was cut: which decision, its options in groups, and the criterion's score of that cut."""

    decision: Decision
    groups: Groups
    score: float = 0.0

    def regions(self, space: SearchSpace) -> tuple[SearchSpace, ...]:
        """The parts of `space`, one for each group; SplitError unless the groups are all its options, each once."""
        named = [option for group in self.groups for option in group]
        known = self.decision.options(space)
        if sorted(named) != sorted(known):
            raise SplitError(
                f"groups {_written(self.groups)} of {self.decision} must name each of its options once:"
                f" {', '.join(known)}"
            )
        return tuple(self.decision.restrict(space, group) for group in self.groups)


@dataclass(frozen=True)
class Partition:
    """`space` as disjoint `regions` that cover it; the constructor proves it by counting and intersecting.

    `splits` tells how it came about, for people; the regions alone decide where a network belongs.
    """

    space: SearchSpace
    regions: tuple[SearchSpace, ...]
    criterion: str = "none"
    splits: tuple[Split, ...] = ()

    def __post_init__(self) -> None:
        for number, region in enumerate(self.regions):
            if not _inside(region, self.space):
                raise SplitError(f"region {number} ({region.name}) has networks outside space {self.space.name!r}")
            for other, earlier in enumerate(self.regions[:number]):
                if _meet(region, earlier):
                    raise SplitError(f"regions {other} ({earlier.name}) and {number} ({region.name}) overlap")
        total = sum(region.size for region in self.regions)
        if total != self.space.size:
            raise SplitError(
                f"the {len(self.regions)} regions have {total:,} networks together,"
                f" space {self.space.name!r} has {self.space.size:,}"
            )

    @classmethod
    def whole(cls, space: SearchSpace) -> "Partition":
        """The partition with one region: plain one-shot."""
        return cls(space, (space,))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of networks of each region."""
        return tuple(region.size for region in self.regions)

    def route(self, arch: Architecture) -> int:
        """The index of the one region that contains `arch`; ArchitectureError for a network outside the space."""
        for number, region in enumerate(self.regions):
            if region.contains(arch):
                return number
        self.space.check(arch)
        raise ArchitectureError(f"architecture {arch} is in no region of the partition")

    def by_region(self, archs: Iterable[Architecture]) -> list[list[int]]:
        """For each region the positions in `archs` of the networks that belong to it."""
        positions: list[list[int]] = [[] for _ in self.regions]
        for position, arch in enumerate(archs):
            positions[self.route(arch)].append(position)
        return positions

    def divided(self, number: int, split: Split) -> "Partition":
        """This partition with region `number` cut by `split`; its parts take its place in the order."""
        parts = split.regions(self.regions[number])
        regions = (*self.regions[:number], *parts, *self.regions[number + 1 :])
        return Partition(self.space, regions, self.criterion, (*self.splits, split))

    def save(self, path: Path) -> None:
        """Write partition.json."""
        write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """A document that `load` reads back to an equal partition."""
        return {
            "schema_version": 1,
            "criterion": self.criterion,
            "space": space_to_dict(self.space),
            "regions": [
                {"index": index, "size": region.size, "space": space_to_dict(region)}
                for index, region in enumerate(self.regions)
            ],
            "splits": [
                {"decision": str(s.decision), "groups": [list(group) for group in s.groups], "score": s.score}
                for s in self.splits
            ],
        }

    @classmethod
    def load(cls, path: Path) -> "Partition":
        """Read partition.json; SplitError names what is wrong with it."""
        try:
            read = read_model(path, _File, SplitError)
            space = space_from_dict(read.space, f"{path}: space")
            regions = tuple(space_from_dict(r.space, f"{path}: region {r.index}") for r in read.regions)
            splits = tuple(Split(Decision.parse(s.decision), tuple(map(tuple, s.groups)), s.score) for s in read.splits)
        except FileNotFoundError:
            raise SplitError(f"no partition at {path}; give the file that the split wrote") from None
        for region, stored in zip(regions, read.regions, strict=True):
            if region.size != stored.size:
                raise SplitError(f"{path}: region {stored.index} says {stored.size} networks, it has {region.size}")
        try:
            return cls(space, regions, read.criterion, splits)
        except PipelineError as error:
            raise SplitError(f"{path}: {error}") from None


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Region(_Model):
    index: int
    size: Annotated[int, Field(ge=1)]
    space: dict[str, Any]


class _Split(_Model):
    decision: str
    groups: list[list[str]]
    score: float


class _File(_Model):
    schema_version: Literal[1]
    criterion: str
    space: dict[str, Any]
    regions: Annotated[list[_Region], Field(min_length=1)]
    splits: list[_Split]


def _inside(region: SearchSpace, space: SearchSpace) -> bool:
    """Whether every network of `region` is one of `space`, which must lower it to the same blocks."""
    fixed = _fixed(region) == _fixed(space)
    return (
        fixed
        and len(region.stages) == len(space.stages)
        and set(region.resolutions) <= set(space.resolutions)
        and all(_stage_inside(ours, theirs) for ours, theirs in zip(region.stages, space.stages, strict=True))
    )


def _fixed(space: SearchSpace) -> tuple[object, ...]:
    return (space.stem, space.head, space.classes, space.batchnorm_eps)


def _stage_inside(ours: Stage, theirs: Stage) -> bool:
    same = (ours.stride, ours.activation, ours.squeeze) == (theirs.stride, theirs.activation, theirs.squeeze)
    choices = set(ours.widths) <= set(theirs.widths) and set(ours.depths) <= set(theirs.depths)
    return same and choices and all(set(a) <= set(b) for a, b in zip(ours.slots, theirs.slots, strict=False))


def _meet(one: SearchSpace, other: SearchSpace) -> bool:
    """Whether some network is in both: then every gene can be chosen in common."""
    return bool(set(one.resolutions) & set(other.resolutions)) and all(
        _stages_meet(a, b) for a, b in zip(one.stages, other.stages, strict=True)
    )


def _stages_meet(one: Stage, other: Stage) -> bool:
    common_layers = 0
    for a, b in zip(one.slots, other.slots, strict=False):
        if not set(a) & set(b):
            break
        common_layers += 1
    depths = set(one.depths) & set(other.depths)
    return bool(set(one.widths) & set(other.widths)) and any(depth <= common_layers for depth in depths)


def _written(groups: Sequence[Sequence[str]]) -> str:
    return " / ".join("+".join(group) for group in groups)
