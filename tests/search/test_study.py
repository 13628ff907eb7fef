"""A search as a user meets it: limits, methods, resuming."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.budget import read_budget
from pipeline.errors import InfeasibleBudget
from pipeline.search.costs import space_costs
from pipeline.search.evaluators import Scored
from pipeline.search.settings import METHODS, Method, SearchSettings
from pipeline.search.study import search
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.codes import Codes
from pipeline.spaces.files import load_space

SPACE = load_space("nas-bench-macro")


def _score(archs: Sequence[Architecture]) -> list[float]:
    """More and larger layers score higher, 3x3 better than 5x5 for its price: a smooth stand-in for accuracy."""
    return [sum(op.expand**0.5 + 0.1 * op.kernel for stage in arch.stages for op in stage.ops) for arch in archs]


@pytest.mark.parametrize("method", METHODS)
def test_every_evaluation_is_feasible_and_new(method: Method, tmp_path: Path) -> None:
    costs = space_costs(SPACE, read_budget({"macs": "40M"}), {})
    seen: list[str] = []

    def score(archs: Sequence[Architecture]) -> list[float]:
        seen.extend(map(str, archs))
        return _score(archs)

    settings = SearchSettings(method, evaluations=30, seed=3)
    result = search(Codes(SPACE), costs, Scored("table", score), settings, tmp_path / "study.log")
    assert result.evaluations == len(seen) == len(set(seen)) == 30
    assert all(candidate.costs["macs"] <= 40e6 for candidate in result.candidates)
    assert result.best.score == max(candidate.score for candidate in result.candidates)


def test_an_infeasible_budget_names_the_nearest_network(tmp_path: Path) -> None:
    costs = space_costs(SPACE, read_budget({"macs": "1M"}), {})
    with pytest.raises(InfeasibleBudget, match=r"the least is macs 7.71328e\+06, reached by r32"):
        search(Codes(SPACE), costs, Scored("table", _score), SearchSettings(), tmp_path / "study.log")
