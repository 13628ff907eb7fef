"""Every search method learns from what it has judged: its later proposals are far better than random ones."""

from pathlib import Path
from statistics import fmean

import pytest

from pipeline.search.samplers import SAMPLERS
from pipeline.search.settings import Method, SearchSettings
from pipeline.search.study import search
from pipeline.spaces.codes import Codes
from tests.search.problems import MERIT, SMALL, costs_of

EVALUATIONS, LATER, SEEDS = 60, 20, (0, 1)
MARGIN = 1.5  # in units of merit, which spans 20; the weakest method was 2.8 ahead, random's seeds differ by 0.6


def _later_mean(method: Method, folder: Path) -> float:
    """The mean merit of the last proposals, over the seeds."""
    means = []
    for seed in SEEDS:
        settings = SearchSettings(method, EVALUATIONS, seed=seed)
        found = search(Codes(SMALL), costs_of("80M"), MERIT, settings, folder / f"{method}-{seed}")
        in_order = sorted(found.candidates, key=lambda candidate: candidate.trial)
        means.append(fmean(candidate.score for candidate in in_order[-LATER:]))
    return fmean(means)


@pytest.fixture(scope="module")
def random_mean(tmp_path_factory: pytest.TempPathFactory) -> float:
    return _later_mean("random", tmp_path_factory.mktemp("random"))


@pytest.mark.parametrize("method", [method for method in SAMPLERS if method != "random"])
def test_later_proposals_are_better_than_random_ones(method: Method, random_mean: float, tmp_path: Path) -> None:
    assert _later_mean(method, tmp_path) > random_mean + MARGIN
