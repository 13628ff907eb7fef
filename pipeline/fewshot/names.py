"""The criteria's names as plain data: read from a run's configuration without loading torch."""

from typing import Final, Literal, get_args

CriterionName = Literal["exhaustive", "random", "gradient", "similarity"]
CRITERION_NAMES: Final[tuple[CriterionName, ...]] = get_args(CriterionName)
