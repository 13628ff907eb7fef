"""Fails where an environment of one tool lacks it, or has what constraints/ does not pin to that version.

Its tests would be skipped and nobody would know; or a new release of anything would change what they try.

python tests/exporters/require.py litert
"""

import importlib.metadata
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from exporters.dependencies import require
from exporters.registry import EXPORTERS

ROOT = Path(__file__).parents[2]
OF_THE_ENVIRONMENT = {"pip", "pocketnas", "setuptools", "wheel"}


def name_of(written: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", written).lower()


def pinned(file: Path) -> dict[str, str]:
    """Versions by distribution, of a constraints file and of those that it takes in. ValueError for other lines."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        if line.startswith("-c "):
            found |= pinned(file.parent / line.removeprefix("-c "))
        elif (pin := re.fullmatch(r"([\w.-]+)==([\w.!+]+)", line)) is not None:
            found[name_of(pin[1])] = pin[2]
        elif line and not line.startswith("#"):
            raise ValueError(f"{file}: {line!r} pins nothing")
    return found


def loose(versions: Mapping[str, str]) -> list[str]:
    """What is installed here beside or against `versions`, in words."""
    installed = {name_of(each.name): each.version for each in importlib.metadata.distributions()}
    return sorted(
        f"{name} {version} ({'not pinned' if name not in versions else f'pinned to {versions[name]}'})"
        for name, version in installed.items()
        if name not in OF_THE_ENVIRONMENT and versions.get(name) != version.partition("+")[0]
    )


def main(tool: str) -> int:
    """0 where all is as it should be."""
    require(tool, EXPORTERS[tool].needs)
    file = ROOT / "constraints" / f"{tool}.txt"
    found = loose(pinned(file))
    for line in found:
        print(f"{file.name}: {line}", file=sys.stderr)
    return min(len(found), 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
