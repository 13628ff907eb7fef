"""Time ONNX models on the device this file stands on: needs only Python 3.8, numpy and onnxruntime.

    python runner_script.py describe                  the device, as one JSON line
    python runner_script.py measure FOLDER            times what FOLDER/job.json lists; one JSON line per model

It is copied to boards and into kits as it is, so it imports nothing of pocketnas.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def describe(threads: int) -> dict[str, Any]:
    """What a latency on this device depends on, as a dict of strings and numbers."""
    import onnxruntime

    return {
        "name": platform.node() or "unknown",
        "soc": _soc(),
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "system": " ".join((platform.system(), platform.release())),
        "runtime": "onnxruntime",
        "runtime_version": onnxruntime.__version__,
        "delegate": "CPUExecutionProvider",
        "threads": threads,
        "precision": "fp32",
        "batch": 1,
    }


def _soc() -> str:
    for path, fields in (("/proc/device-tree/model", None), ("/proc/cpuinfo", ("model name", "Hardware", "Model"))):
        try:
            text = Path(path).read_text(errors="replace")
        except OSError:
            continue
        if fields is None:
            return text.strip("\0\n ") or "unknown"
        for line in text.splitlines():
            name, _, value = line.partition(":")
            if name.strip() in fields and value.strip():
                return value.strip()
    return platform.processor() or "unknown"


def make_session(path: str, threads: int) -> Any:
    """An ONNX Runtime CPU session for the model file at `path`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def time_session(path: str, protocol: dict[str, Any], threads: int) -> tuple[float, int]:
    """One fresh session: (median milliseconds of a run, number of timed runs).

    After the warm-ups at least `runs` runs are timed, and more until they last `session_ms`, so that the
    median of a block of a few microseconds stands on as much time as that of a slow one.
    """
    import numpy

    session = make_session(path, threads)
    entry = session.get_inputs()[0]
    image = numpy.random.RandomState(0).rand(*entry.shape).astype(numpy.float32)
    feed, clock = {entry.name: image}, time.perf_counter
    timings: list[float] = []
    for _ in range(protocol["warmups"]):
        session.run(None, feed)
    end = clock() + protocol["session_ms"] / 1000
    while len(timings) < protocol["runs"] or (clock() < end and len(timings) < 20 * protocol["runs"]):
        start = clock()
        session.run(None, feed)
        timings.append(clock() - start)
    return statistics.median(timings) * 1000, len(timings)


def measure(models: list[dict[str, str]], protocol: dict[str, Any], threads: int) -> Iterator[dict[str, Any]]:
    """Yield one result per model: its name and the median of each fresh session, in milliseconds.

    `models` are dicts with "name" and "path".
    """
    for model in models:
        medians, runs = [], 0
        for _ in range(protocol["sessions"]):
            median, timed = time_session(model["path"], protocol, threads)
            medians.append(round(median, 7))
            runs += timed
        yield {"name": model["name"], "session_ms": medians, "runs": runs}


def _serve(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    models = [dict(model, path=str(folder / model["file"])) for model in job["models"]]
    for result in measure(models, job["protocol"], job["threads"]):
        print(json.dumps(result), flush=True)
    print(json.dumps({"done": True}), flush=True)


def main(arguments: list[str]) -> int:
    """Run one of the commands in this file's docstring; the exit status."""
    if arguments[:1] == ["describe"]:
        print(json.dumps(describe(int(arguments[1]) if len(arguments) > 1 else 1)), flush=True)
    elif arguments[:1] == ["measure"] and len(arguments) == 2:
        _serve(Path(arguments[1]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
