"""The weights of models that are only timed: the same in every format, and reproducible."""

import math
from dataclasses import dataclass
from typing import Any, Final

# Weights repeat a short pattern: latency does not depend on their values, and hundreds of models then
# compress to next to nothing in a kit or on a slow line. A prime length avoids rows that are equal.
_PATTERN_FLOATS: Final = 251
BIAS_SCALE: Final = 0.1


def weight_scale(fan_in: int) -> float:
    """What weights are drawn with: He scaling keeps activations near 1 at any depth, as denormal numbers would slow
    a CPU down."""
    return math.sqrt(2 / fan_in)


@dataclass
class RandomWeights:
    """A short float32 pattern that all weights repeat, and how many tensors were drawn from it."""

    pattern: Any
    drawn: int = 0

    @classmethod
    def seeded(cls, seed: int) -> "RandomWeights":
        """Normally distributed ones."""
        import numpy as np

        return cls(np.random.default_rng(seed).standard_normal(_PATTERN_FLOATS, dtype=np.float32))

    def draw(self, count: int, scale: float) -> Any:
        """The next `count` numbers, float32, of standard deviation `scale`."""
        import numpy as np

        # Begun at another place in each tensor: layers that are alike would make activations explode.
        shifted = np.roll(self.pattern, 37 * self.drawn)
        self.drawn += 1
        return np.resize(shifted * np.float32(scale), count)

    def draw_integers(self, count: int, scale: float) -> tuple[Any, float]:
        """The same as whole numbers from -127 to 127, and what each is to be multiplied with."""
        import numpy as np

        largest = float(np.abs(self.pattern).max())
        return np.rint(self.draw(count, 127 / largest)), scale * largest / 127
