"""Fine-tuning eleven networks by one process and by two, one thread each, in turn."""

import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.common import parser, print_table
from benchmarks.together.common import begin, start
from pipeline.runs.folder import open_run

_BEFORE = 5  # stages before fine-tuning


def seconds(base: Path, processes: int) -> tuple[float, float]:
    """Of the stage, and of the whole command with its start, on a copy of `base`."""
    run = Path(shutil.copytree(base, base.with_name("copy")))
    began = time.perf_counter()
    (launcher,) = start(["finetune", str(run)], processes)
    if launcher.wait():
        raise RuntimeError(f"the run by {processes} process(es) ended with {launcher.returncode}")
    whole = time.perf_counter() - began
    record = open_run(run).record("finetune")
    trained = len(list((run / "winner" / "trained").glob("*.safetensors")))
    if record is None or record.seconds is None or trained != 11:
        raise RuntimeError(f"{trained} networks were trained instead of 11")
    shutil.rmtree(run)
    return record.seconds, whole


if __name__ == "__main__":
    line = parser(__doc__)
    line.add_argument("--rounds", type=int, default=3)
    rounds = line.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "base"
        begin(root, _BEFORE)
        found = [(seconds(root, 1), seconds(root, 2)) for _ in range(rounds)]
    rows = [
        [f"{one[0]:.1f}", f"{two[0]:.1f}", f"{two[0] / one[0]:.2f}", f"{two[1] / one[1]:.2f}"] for one, two in found
    ]
    rows.append(["", "", *(f"median {median(two[k] / one[k] for one, two in found):.2f}" for k in (0, 1))])
    print_table(["one process, s", "two, s", "two : one", "with the start of the command"], rows)
