"""Time models on the device this file stands on: needs only Python 3.8, numpy, and onnxruntime or LiteRT.

    python runner_script.py describe [THREADS [RUNTIME]]   the device, as one JSON line
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
from collections.abc import Callable
from pathlib import Path
from typing import Any


def describe(threads: int, runtime: str = "onnxruntime") -> dict[str, Any]:
    """What a latency on this device depends on, as a dict of strings and numbers."""
    version, delegate = RUNTIMES[runtime][1]()
    return {
        "name": platform.node() or "unknown",
        "soc": _soc(),
        "cores": os.cpu_count() or 1,
        "architecture": platform.machine(),
        "system": " ".join((platform.system(), platform.release())),
        "runtime": runtime,
        "runtime_version": version,
        "delegate": delegate,
        "threads": threads,
        "precision": "fp32",
        "batch": 1,
        "clock": "wall",
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


def make_session(model: str | bytes, threads: int) -> Any:
    """An ONNX Runtime CPU session for a model: its file's path, or its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _onnxruntime(model: str | bytes, threads: int) -> Callable[[], Any]:
    import numpy

    session = make_session(model, threads)
    entry = session.get_inputs()[0]
    feed = {entry.name: numpy.random.RandomState(0).rand(*entry.shape).astype(numpy.float32)}
    return lambda: session.run(None, feed)


def _onnxruntime_version() -> tuple[str, str]:
    import onnxruntime

    return onnxruntime.__version__, "CPUExecutionProvider"


def _litert(model: str | bytes, threads: int) -> Callable[[], Any]:
    import numpy
    from ai_edge_litert.interpreter import Interpreter

    content = Path(model).read_bytes() if isinstance(model, str) else model
    interpreter = Interpreter(model_content=content, num_threads=threads)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    values = numpy.random.RandomState(0).rand(*entry["shape"]) * (1 if entry["dtype"] == numpy.float32 else 100)
    interpreter.set_tensor(entry["index"], values.astype(entry["dtype"]))
    invoke: Callable[[], Any] = interpreter.invoke
    return invoke


def _litert_version() -> tuple[str, str]:
    from importlib import metadata

    try:
        return metadata.version("ai-edge-litert"), "XNNPACK"
    except metadata.PackageNotFoundError:
        raise SystemExit("this Python has no LiteRT; run: %s -m pip install ai-edge-litert" % sys.executable) from None  # noqa: UP031


# How a runtime makes a model (its file's path, or its bytes) ready to run, and its version and what it computes with.
RUNTIMES: dict[str, tuple[Callable[[str | bytes, int], Callable[[], Any]], Callable[[], tuple[str, str]]]] = {
    "onnxruntime": (_onnxruntime, _onnxruntime_version),
    "litert": (_litert, _litert_version),
}


def time_calls(call: Callable[[], Any], times: int) -> tuple[float, float]:
    """Seconds that one of so many calls takes: by the wall clock, and of this thread's CPU time."""
    cpu, wall = time.thread_time(), time.perf_counter()
    for _ in range(times):
        call()
    wall_end, cpu_end = time.perf_counter(), time.thread_time()
    return (wall_end - wall) / times, (cpu_end - cpu) / times


class Probe:
    """Tells whether this core is being shared: a few microseconds of plain Python that then take longer.

    Another program on the same core or on its hyper-thread twin slows everything by a quarter and more, for
    seconds, which no median over a few runs sees. `known` is what an earlier process found usual, in seconds:
    one that starts on a shared core cannot tell. It is trusted a little less each time, as devices heat up.

    Waiting for an undisturbed moment spends `patience_s`, and undisturbed work gives twice its time back.
    """

    def __init__(self, patience_s: float, known: float | None = None) -> None:
        self.most_s = self.patience_s = patience_s
        self.times: list[float] = []
        self.known = float("inf") if known is None else 1.005 * known
        end = time.perf_counter() + 0.2
        while time.perf_counter() < end:
            self._time()

    def _time(self) -> float:
        elapsed, _ = time_calls(lambda: sum(range(4000)), 1)
        self.times.append(elapsed)
        return elapsed

    def usual(self) -> float:
        """Seconds that the probe takes when nothing disturbs it: its lower decile so far, if none knew better."""
        if len(self.times) > 20000:
            self.times = self.times[::2]
        return min(self.known, sorted(self.times)[len(self.times) // 10])

    def undisturbed(self, usual: float) -> bool:
        """Whether the core is all ours now; `usual` is what `usual()` said."""
        return self._time() < 1.15 * usual

    def worked(self, seconds: float) -> None:
        """Undisturbed work was done for that long."""
        self.patience_s = min(self.most_s, self.patience_s + 2 * seconds)

    def waited(self, seconds: float) -> None:
        """That long was lost to a disturbance."""
        self.patience_s -= seconds


def time_session(run: Callable[[], Any], protocol: dict[str, Any], probe: Probe) -> tuple[float, int, bool]:
    """One fresh session's `run`: (median milliseconds of a run, number of timed runs, whether it was disturbed).

    After the warm-ups at least `runs` runs are timed, and more until they last `session_ms`, so that the
    median of a block of a few microseconds stands on as much time as that of a slow one. Runs beside which the
    probe was disturbed are repeated while its patience lasts; then every run counts, and a session in which
    half of the runs were disturbed says so.
    """
    for _ in range(protocol["warmups"] + 1):
        once, _ = time_calls(run, 1)
    together = max(1, int(0.0002 / max(once, 1e-9)))  # short runs are timed several at a time
    usual, bad, spent = probe.usual(), 0, 0.0
    timings: list[float] = []
    while len(timings) < protocol["runs"] or (
        spent < protocol["session_ms"] / 1000 and len(timings) < 20 * protocol["runs"]
    ):
        quiet = probe.undisturbed(usual)
        start = time.perf_counter()
        each, _ = time_calls(run, together)
        quiet = probe.undisturbed(usual) and quiet
        if quiet or probe.patience_s <= 0:
            timings.append(each)
            spent += each * together
        if quiet:
            probe.worked(each * together)
        elif probe.patience_s > 0:
            time.sleep(0.002)
            run()  # the pause cooled the caches
            probe.waited(time.perf_counter() - start)
        else:
            bad += 1
    return statistics.median(timings) * 1000, len(timings) * together, 2 * bad > len(timings)


def measure(
    name: str, model: str | bytes, protocol: dict[str, Any], threads: int, probe: Probe, runtime: str = "onnxruntime"
) -> dict[str, Any]:
    """Time one model: its name, the median of each fresh session in milliseconds, and the number of timed runs."""
    medians, runs, disturbed = [], 0, 0
    for _ in range(protocol["sessions"]):
        median, timed, bad = time_session(RUNTIMES[runtime][0](model, threads), protocol, probe)
        medians.append(round(median, 7))
        runs += timed
        disturbed += bad
    return {"name": name, "session_ms": medians, "runs": runs, "disturbed": disturbed}


def _serve(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    probe = Probe(job["protocol"]["patience_ms"] / 1000, job["usual_s"])
    for model in job["models"]:
        file = str(folder / model["file"])
        result = measure(model["name"], file, job["protocol"], job["threads"], probe, job["runtime"])
        print(json.dumps(result), flush=True)
    print(json.dumps({"usual_s": probe.usual()}), flush=True)


class Here:
    """This machine as a kit times on it (see kit_script.py)."""

    def __init__(self, threads: int, runtime: str) -> None:
        self.threads = threads
        self.runtime = runtime
        self.probe: Probe | None = None

    def describe(self) -> dict[str, Any]:
        """This machine."""
        return describe(self.threads, self.runtime)

    def time(self, name: str, model: bytes, protocol: dict[str, Any]) -> dict[str, Any]:
        """One model, as `measure` does it."""
        if self.probe is None:
            self.probe = Probe(protocol["patience_ms"] / 1000)
        return measure(name, model, protocol, self.threads, self.probe, self.runtime)


def main(arguments: list[str]) -> int:
    """Run one of the commands in this file's docstring; the exit status."""
    if arguments[:1] == ["describe"]:
        print(json.dumps(describe(int((*arguments, "1")[1]), *arguments[2:3])), flush=True)
    elif arguments[:1] == ["measure"] and len(arguments) == 2:
        _serve(Path(arguments[1]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
