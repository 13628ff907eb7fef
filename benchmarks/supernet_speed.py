"""Speed of the supernet beside Once-for-All as its authors released it, measured in turns in one process.

    python benchmarks/supernet_speed.py --ofa CHECKOUT [--threads 2] [--repeats 5] [--clock cpu]

CHECKOUT is a copy of https://github.com/mit-han-lab/once-for-all; without it only our own times are printed.
"Step" is forward, backward and update of the MobileNetV3 1.0 supernet on a batch of 32; "judge" takes a
candidate's weights, re-estimates its BatchNorm statistics on 2,000 images and evaluates 2,000 others; "memory"
is the most that a process of its own holds while it trains. Times are medians; the ratio is of the two medians.
On a busy machine take `--threads 1 --clock cpu`.
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space
from pipeline.supernets.evaluate import judge
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import make_optimizer

BATCH = 32
Clock = Callable[[], float]


class Ours:
    """The supernet of this repository."""

    def __init__(self, size: int) -> None:
        space = load_space("ofa-mbv3-1.0").with_resolutions((size,))
        self.supernet = Supernet(space)
        self.optimizer = make_optimizer(self.supernet, TrainSettings(lr=0.01))

    def step(self, arch: Architecture, images: Tensor, labels: Tensor) -> None:
        self.supernet.train()
        self.supernet.activate(arch)
        inputs = images.contiguous(memory_format=torch.channels_last)
        _update(self.supernet, self.optimizer, inputs, labels)

    def extract(self, arch: Architecture) -> nn.Module:
        return self.supernet.extract(arch)

    def judge(self, arch: Architecture, bn_images: Tensor, images: Tensor, labels: Tensor) -> None:
        judge(self.supernet, arch, bn_images, images, labels)


class OnceForAll:
    """OFAMobileNetV3 as released, run as its training script and its tutorial do."""

    def __init__(self, checkout: Path) -> None:
        sys.path.insert(0, str(checkout))
        _stand_in_for_torchvision()
        from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
        from ofa.imagenet_classification.elastic_nn.utils import set_running_statistics

        self.supernet = OFAMobileNetV3(
            dropout_rate=0.1, width_mult=1.0, ks_list=[3, 5, 7], expand_ratio_list=[3, 4, 6], depth_list=[2, 3, 4]
        )
        self.set_running_statistics = set_running_statistics
        self.optimizer = _optimizer(self.supernet)

    def step(self, arch: Architecture, images: Tensor, labels: Tensor) -> None:
        self.supernet.train()
        self._activate(arch)
        _update(self.supernet, self.optimizer, images, labels)

    def extract(self, arch: Architecture) -> nn.Module:
        self._activate(arch)
        subnet: nn.Module = self.supernet.get_active_subnet(preserve_weight=True)
        return subnet

    def judge(self, arch: Architecture, bn_images: Tensor, images: Tensor, labels: Tensor) -> None:
        subnet = self.extract(arch)
        subnet.eval()
        self.set_running_statistics(subnet, [(batch, None) for batch in torch.split(bn_images, 100)])
        right = 0
        with torch.no_grad():
            for batch, answers in zip(torch.split(images, 100), torch.split(labels, 100), strict=True):
                right += int((subnet(batch).argmax(1) == answers).sum())

    def _activate(self, arch: Architecture) -> None:
        """Stage 1 is fixed; a layer beyond the depth may hold any op, since it is not run."""
        kernels, expands, depths = [], [], []
        for stage in arch.stages[1:]:
            depths.append(len(stage.ops))
            padding = [stage.ops[-1]] * (4 - len(stage.ops))
            kernels += [op.kernel for op in (*stage.ops, *padding)]
            expands += [op.expand for op in (*stage.ops, *padding)]
        self.supernet.set_active_subnet(ks=kernels, e=expands, d=depths)


class _Stub(types.ModuleType):
    """A module whose every attribute is an empty class."""

    __path__: MutableSequence[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _stand_in_for_torchvision() -> None:
    """The checkout imports torchvision for its data loaders, which are not used here."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.datasets", "torchvision.transforms.functional"):
        sys.modules[name] = _Stub(name)
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, sys.modules[name])


def _optimizer(model: nn.Module) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=3e-5)


def _update(model: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def in_turns(actions: Mapping[str, Callable[[], object]], repeats: int, clock: Clock) -> dict[str, float]:
    """Median seconds of each action; they take turns, so that a busy moment meets all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeats + 1):
        for name, action in actions.items():
            begin = clock()
            action()
            if turn:  # the first turn warms up
                seconds[name].append(clock() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(what: str, seconds: dict[str, float], per: int = 1) -> None:
    """One line: milliseconds of each side and the ratio; `per` is how many of it each time was for."""
    times = "   ".join(f"{name} {value / per * 1e3:8.1f} ms" for name, value in seconds.items())
    ratio = f"   ratio {seconds['ours'] / seconds['ofa']:.3f}" if "ofa" in seconds else ""
    print(f"{what:32} {times}{ratio}", flush=True)


def _random_archs(size: int, count: int) -> list[Architecture]:
    space = load_space("ofa-mbv3-1.0").with_resolutions((size,))
    rng = random.Random(0)
    return [space.sample_genes(rng) for _ in range(count)]


def _sides(checkout: Path | None, size: int) -> dict[str, Any]:
    sides: dict[str, Any] = {} if checkout is None else {"ofa": OnceForAll(checkout)}
    return {**sides, "ours": Ours(size)}


def measure_steps(checkout: Path | None, sizes: Sequence[int], repeats: int, clock: Clock) -> None:
    """Training steps of the largest and of random subnets."""
    for size in sizes:
        sides = _sides(checkout, size)
        images, labels = torch.randn(BATCH, 3, size, size), torch.randint(1000, (BATCH,))
        largest = [load_space("ofa-mbv3-1.0").with_resolutions((size,)).max()]
        for name, archs in (("max", largest), ("random", _random_archs(size, 5))):
            steps = {side: partial(_steps, trained, archs, images, labels) for side, trained in sides.items()}
            report(f"step {name} {size} px", in_turns(steps, repeats, clock), len(archs))


def _steps(side: Any, archs: list[Architecture], images: Tensor, labels: Tensor) -> None:
    for arch in archs:
        side.step(arch, images, labels)


def measure_judging(checkout: Path | None, images_each: int, repeats: int, clock: Clock) -> None:
    """Judging candidates at 64 px."""
    sides = _sides(checkout, 64)
    bn_images, images = torch.randn(images_each, 3, 64, 64), torch.randn(images_each, 3, 64, 64)
    labels = torch.randint(1000, (images_each,))
    for number, arch in enumerate(_random_archs(64, 3), 1):
        judged = {name: partial(side.judge, arch, bn_images, images, labels) for name, side in sides.items()}
        report(f"judge random {number}, {images_each} images", in_turns(judged, repeats, clock))


def measure_extracting(checkout: Path | None, repeats: int, clock: Clock) -> None:
    """Extracting random and the largest subnet with their weights."""
    sides = _sides(checkout, 64)
    largest = [load_space("ofa-mbv3-1.0").with_resolutions((64,)).max()]
    for name, archs in (("max", largest), ("random", _random_archs(64, 10))):
        taken = {side: partial(_extract, supernet, archs) for side, supernet in sides.items()}
        report(f"extract {name}", in_turns(taken, repeats * 4, clock), len(archs))


def _extract(side: Any, archs: list[Architecture]) -> None:
    for arch in archs:
        side.extract(arch)


def measure_memory(checkout: Path | None, sizes: Sequence[int], threads: int) -> None:
    """The peak of a process that only trains."""
    for size in sizes:
        peaks = {}
        for side in (["ofa"] if checkout else []) + ["ours"]:
            command = [sys.executable, __file__, "--peak", side, "--sizes", str(size), "--threads", str(threads)]
            command += ["--ofa", str(checkout)] if checkout else []
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[side] = json.loads(done.stdout)["peak_mb"]
        print(f"peak memory, step max {size} px:  " + "   ".join(f"{k} {v:.0f} MB" for k, v in peaks.items()))


def peak_of(side: str, checkout: Path | None, size: int) -> float:
    """The peak resident megabytes of this process after three steps of the largest subnet."""
    trained = Ours(size) if side == "ours" or checkout is None else OnceForAll(checkout)
    images, labels = torch.randn(BATCH, 3, size, size), torch.randint(1000, (BATCH,))
    for _ in range(3):
        trained.step(load_space("ofa-mbv3-1.0").with_resolutions((size,)).max(), images, labels)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ofa", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", default="64,160")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--what", default="step,judge,extract,memory")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: for a machine that is busy")
    parser.add_argument("--peak", choices=("ofa", "ours"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    sizes = [int(size) for size in options.sizes.split(",")]
    if options.peak:
        print(json.dumps({"peak_mb": peak_of(options.peak, options.ofa, sizes[0])}))
        return
    what = options.what.split(",")
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    if "step" in what:
        measure_steps(options.ofa, sizes, options.repeats, clock)
    if "judge" in what:
        measure_judging(options.ofa, options.images, options.repeats, clock)
    if "extract" in what:
        measure_extracting(options.ofa, options.repeats, clock)
    if "memory" in what:
        measure_memory(options.ofa, sizes, options.threads)


if __name__ == "__main__":
    main()
