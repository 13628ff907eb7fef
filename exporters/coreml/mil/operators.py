"""What each MIL operator that image classifiers use computes, in torch. Imports torch: import lazily.

Semantics: https://apple.github.io/coremltools/source/coremltools.converters.mil.mil.ops.defs.html
"""

from collections.abc import Mapping
from typing import Final

from exporters.coreml.mil.arguments import Operator
from exporters.coreml.mil.arithmetic import ARITHMETIC
from exporters.coreml.mil.shapes import SHAPES
from exporters.coreml.mil.weights import WEIGHTS
from exporters.coreml.mil.windows import WINDOWS

OPERATORS: Final[Mapping[str, Operator]] = {**ARITHMETIC, **SHAPES, **WEIGHTS, **WINDOWS}
