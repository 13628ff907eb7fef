"""Fails where an environment of one tool lacks it: its tests would be skipped and nobody would know.

python tests/exporters/require.py litert
"""

import sys

from exporters.dependencies import require
from exporters.registry import EXPORTERS

if __name__ == "__main__":
    require(sys.argv[1], EXPORTERS[sys.argv[1]].needs)
