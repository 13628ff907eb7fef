"""How long a whole run will still take: what its stages are expected to cost, corrected by what they have cost."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

_SAYS_IT_ALL: Final = frozenset({"profile", "train", "finetune"})  # stages whose progress is one part
_NOISE_SECONDS: Final = 3.0  # of work, before its pace says something


class Teller(Protocol):
    """Where a run tells what it does."""

    def __call__(self, done: int, total: int, what: str) -> None:
        """So much of a part of a stage is done."""

    def note(self, text: str) -> None:
        """Lines for the person."""

    def whole(self, text: str) -> None:
        """How far the whole run is."""


class Outlook:
    """The stage at hand and the time left of the whole run, told beside the progress of the stage.

    `expected` maps stages to seconds; until it is set, and for a stage that is not in it, nothing is promised.
    """

    def __init__(self, stages: Sequence[str], teller: Teller, clock: Callable[[], float] = time.monotonic) -> None:
        self.expected: Mapping[str, float] = {}
        self._stages, self._teller, self._clock = stages, teller, clock
        self._stage, self._began = "", 0.0
        self._part, self._part_began, self._first = "", 0.0, 0
        self._part_left: float | None = None
        self._part_whole: float | None = None
        self._spent: dict[str, float] = {}

    def begin(self, stage: str) -> None:
        """`stage` begins."""
        self._stage, self._began, self._part = stage, self._clock(), ""
        self._part_left = self._part_whole = None
        self._tell()

    def end(self) -> None:
        """The stage at hand has done all of its work since it began."""
        self._spent[self._stage] = self._clock() - self._began

    def __call__(self, done: int, total: int, what: str) -> None:
        """Pass on the progress of the stage at hand."""
        now = self._clock()
        if what != self._part:
            self._part, self._part_began, self._first = what, now, done
        spent, new = now - self._part_began, done - self._first
        known = new > 0 and spent > _NOISE_SECONDS
        self._part_left = spent / new * (total - done) if known else None
        self._part_whole = spent / new * total if known else None
        self._tell()
        self._teller(done, total, what)

    def left(self) -> float | None:
        """Seconds until the run ends, None where too little is known."""
        if self._stage not in self.expected:
            return None
        pace, of_stage = self._pace(), self.expected[self._stage]
        own = max(0.0, of_stage * pace - (self._clock() - self._began))
        if self._part_left is not None and self._part_whole is not None:
            alone = self._stage in _SAYS_IT_ALL
            own = self._part_left if alone else max(own, self._part_left)
            pace = self._part_whole / of_stage if alone and of_stage > _NOISE_SECONDS else pace
        later = self._stages[self._stages.index(self._stage) + 1 :]
        return own + pace * sum(self.expected.get(stage, 0.0) for stage in later)

    def _pace(self) -> float:
        """How much longer stages have taken than was expected of them."""
        known = {stage: seconds for stage, seconds in self._spent.items() if self.expected.get(stage, 0.0) > 0}
        expected = sum(self.expected[stage] for stage in known)
        return sum(known.values()) / expected if expected > _NOISE_SECONDS else 1.0

    def _tell(self) -> None:
        place = f"stage {self._stages.index(self._stage) + 1} of {len(self._stages)}, {self._stage}"
        left = self.left()
        self._teller.whole(place if left is None else f"{place}; about {in_words(left)} left of the whole run")


def in_words(seconds: float) -> str:
    """A time that is about right: `42 s`, `12 min`, `3 h 20 min`."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{max(1, seconds):.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
