"""Each tool's environment has versions of its own, all of them pinned."""

import re
import tomllib

import pytest

from tests.exporters.require import ROOT, name_of, pinned

TOOLS = ["coreai", "executorch", "litert", "tensorrt"]
# xdsl, of LiteRT's converter, needs an older typing-extensions, which newer ones of these do not take.
OLDER = {"litert": {"anyio", "cattrs", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection"}}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize("tool", TOOLS)
def test_versions_are_those_of_the_main_environment_where_both_pin(tool: str) -> None:
    main, own = pinned(ROOT / "constraints.txt"), pinned(ROOT / "constraints" / f"{tool}.txt")
    assert {name for name in main.keys() & own.keys() if main[name] != own[name]} == OLDER.get(tool, set())
    direct = {name_of(re.split(r"[<>=\[]", line)[0]) for line in EXTRAS[tool]}
    assert direct <= own.keys()


def test_ci_runs_every_tools_environment() -> None:
    (loop,) = re.findall(r"for group in (.*); do", (ROOT / ".ci" / "run").read_text())
    assert set(loop.split()) == {"style,tests", *TOOLS}
    assert {path.stem for path in (ROOT / "constraints").glob("*.txt")} == set(TOOLS)
