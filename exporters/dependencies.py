"""The tools that formats need, found without importing them."""

import importlib.metadata
import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from exporters.errors import MissingDependency


@dataclass(frozen=True, slots=True)
class Dependency:
    """A module, or several of which one is enough, and the pip argument that installs it."""

    modules: tuple[str, ...]
    pip: str

    @property
    def found(self) -> str | None:
        """The first of the modules that is installed."""
        return next((module for module in self.modules if importlib.util.find_spec(module)), None)

    @property
    def extra(self) -> bool:
        """Whether the default installation goes without it."""
        return self.pip.startswith("pocketnas[")


TORCH: Final = Dependency(("torch",), "torch")
ONNX_RUN: Final = (Dependency(("onnxruntime",), "onnxruntime"),)
ONNX: Final = (TORCH, Dependency(("onnx",), "onnx"), *ONNX_RUN)
COREML: Final = (TORCH, Dependency(("coremltools",), "coremltools"))
TENSORRT_RUN: Final = (Dependency(("tensorrt", "tensorrt_rtx"), "pocketnas[tensorrt]"),)
TENSORRT: Final = (*ONNX, *TENSORRT_RUN)
LITERT_RUN: Final = (Dependency(("ai_edge_litert",), "pocketnas[litert]"),)
LITERT: Final = (TORCH, Dependency(("litert_torch",), "pocketnas[litert]"), *LITERT_RUN)
EXECUTORCH: Final = (TORCH, Dependency(("executorch",), "pocketnas[executorch]"))
COREAI_RUN: Final = (Dependency(("coreai",), "pocketnas[coreai]"),)
COREAI: Final = (TORCH, Dependency(("coreai_torch",), "pocketnas[coreai]"), *COREAI_RUN)
COREAI_INT8: Final = (*COREAI, Dependency(("coreai_opt",), "pocketnas[coreai]"))


def require(target: str, needs: Iterable[Dependency]) -> None:
    """Raise MissingDependency, with the pip line, unless everything that `target` needs is installed."""
    missing = [need for need in needs if need.found is None]
    if missing:
        names = " and ".join(" or ".join(need.modules) for need in missing)
        pip = " ".join(dict.fromkeys(f"'{need.pip}'" for need in missing))
        raise MissingDependency(f"{target} needs {names}, not installed here; run: pip install {pip}")


def versions(needs: Iterable[Dependency]) -> dict[str, str]:
    """Distribution versions of the tools that were used."""
    found: dict[str, str] = {}
    for module in (need.found for need in needs):
        for name in importlib.metadata.packages_distributions().get(module or "", [])[:1]:
            found[name] = importlib.metadata.version(name)
    return found
