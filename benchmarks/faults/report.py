"""The Markdown table of a results file.

python -m benchmarks.faults.report faults.jsonl
"""

import sys
from pathlib import Path

from benchmarks.faults.results import read, table

if __name__ == "__main__":
    print(table(read(Path(sys.argv[1]))), end="")
