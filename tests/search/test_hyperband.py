"""Hyperband and BOHB: trainings that fall behind are stopped, and what they showed until then is learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import PipelineError
from pipeline.search.evaluators import Report
from pipeline.search.settings import SearchSettings
from pipeline.search.study import search
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from tests.search.problems import MERIT, SMALL, costs_of, merit

BOHB = SearchSettings("tpe", evaluations=40, seed=1, pruner="hyperband")


@dataclass
class Learning:
    """Learning curves that rise to a network's merit; counts the epochs that were paid for."""

    epochs: int = 27
    fidelity: str = "from-scratch"
    paid: int = 0
    stopped_at: list[int] = field(default_factory=list)

    def evaluate(self, archs: Sequence[Architecture], /) -> list[float]:
        return merit(archs)

    def watched(self, arch: Architecture, report: Report, /) -> float:
        (end,) = merit([arch])
        spent = 0
        try:
            for epoch in (1, 3, 9, 27):
                self.paid += epoch - spent
                spent = epoch
                report(epoch, end * (1 - 0.5 / epoch))
        except BaseException:
            self.stopped_at.append(spent)
            raise
        return end


def test_bohb_stops_what_falls_behind_and_finds_as_good_a_network_for_fewer_epochs(tmp_path: Path) -> None:
    learning = Learning()
    found = search(Codes(SMALL), costs_of("60M"), learning, BOHB, tmp_path / "journal")
    assert found.evaluations == 40 and found.stopped == len(learning.stopped_at) > 10
    assert set(learning.stopped_at) <= {1, 3, 9}
    assert learning.paid < 0.6 * 40 * learning.epochs
    assert all(
        candidate.score == pytest.approx(merit([Architecture.parse(candidate.arch)])[0])
        for candidate in found.candidates
    )
    # As many epochs spent on whole trainings by random choice find less, over several seeds.
    bohb, random = [], []
    for seed in range(3):
        learning = Learning()
        settings = changed(BOHB, seed=seed)
        bohb.append(search(Codes(SMALL), costs_of("60M"), learning, settings, tmp_path / f"bohb{seed}").best.score)
        whole = SearchSettings("random", evaluations=learning.paid // learning.epochs, seed=seed)
        random.append(search(Codes(SMALL), costs_of("60M"), MERIT, whole, tmp_path / f"random{seed}").best.score)
    assert np.mean(bohb) > np.mean(random) + 0.3


def test_a_bohb_that_goes_on_counts_stopped_trainings_once(tmp_path: Path) -> None:
    first = search(Codes(SMALL), costs_of("60M"), Learning(), changed(BOHB, evaluations=20), tmp_path / "journal")
    more = search(Codes(SMALL), costs_of("60M"), Learning(), BOHB, tmp_path / "journal")
    assert first.evaluations == 20 and more.evaluations == 40
    names = [candidate.arch for candidate in more.candidates]
    assert len(names) == len(set(names)) == 40 - more.stopped


def test_scores_that_do_not_come_of_training_cannot_be_stopped(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="'table' scores have none to stop"):
        search(Codes(SMALL), costs_of("60M"), MERIT, BOHB, tmp_path / "journal")
