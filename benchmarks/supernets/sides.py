"""The two sides of `supernet_speed.py`, each in a process of its own that works on request.

Our own settings of the process (memory, oneDNN's cache) must not reach Once-for-All, and the other way round.
Reads one request a line from standard input, {"what": "step", "size": 64, "archs": "max"}, does it once and
answers {"wall": seconds, "cpu": seconds, "count": how many architectures it did, "peak_mb": so far}.
"""

import json
import random
import sys
import time
import types
from collections.abc import MutableSequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import common
from pipeline.spaces.architecture import Architecture
from pipeline.spaces.files import load_space

BATCH = 32


class Side(Protocol):
    """One implementation of the MobileNetV3 1.0 supernet."""

    def step(self, arch: Architecture, images: Tensor, labels: Tensor) -> None: ...
    def extract(self, arch: Architecture) -> nn.Module: ...
    def judge(self, arch: Architecture, bn_images: Tensor, images: Tensor, labels: Tensor) -> None: ...


class Ours:
    """The supernet of this repository."""

    def __init__(self, size: int) -> None:
        from pipeline.supernets.evaluate import evaluate_inherited
        from pipeline.supernets.optimizers import make_optimizer
        from pipeline.supernets.settings import TrainSettings
        from pipeline.supernets.supernet import Supernet

        self.supernet = Supernet(load_space("ofa-mbv3-1.0").with_resolutions((size,)))
        self.supernet.train()
        self.inherited = evaluate_inherited
        self.optimizer = make_optimizer(self.supernet, TrainSettings(lr=0.01))

    def step(self, arch: Architecture, images: Tensor, labels: Tensor) -> None:
        self.supernet.activate(arch)
        inputs = images.contiguous(memory_format=torch.channels_last)
        _update(self.supernet, self.optimizer, inputs, labels)

    def extract(self, arch: Architecture) -> nn.Module:
        return self.supernet.extract(arch)

    def judge(self, arch: Architecture, bn_images: Tensor, images: Tensor, labels: Tensor) -> None:
        self.inherited(self.supernet, arch, bn_images, images, labels)


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
        self.optimizer = torch.optim.SGD(
            self.supernet.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=3e-5
        )
        self.supernet.train()

    def step(self, arch: Architecture, images: Tensor, labels: Tensor) -> None:
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


def _update(model: nn.Module, optimizer: torch.optim.SGD, images: Tensor, labels: Tensor) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
    optimizer.step()


class Work:
    """What can be asked of a side: models and images are made once and kept, as in a real training."""

    def __init__(self, side: str, checkout: Path | None) -> None:
        self.side, self.checkout = side, checkout

    @cache  # noqa: B019 - one object for the life of the process
    def model(self, size: int) -> Side:
        """The supernet for images of `size` pixels."""
        return Ours(size) if self.side == "ours" or self.checkout is None else OnceForAll(self.checkout)

    @cache  # noqa: B019
    def images(self, size: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
        """Images of noise and labels."""
        generator = torch.Generator().manual_seed(seed)
        images = torch.randn(count, 3, size, size, generator=generator)
        return images, torch.randint(1000, (count,), generator=generator)

    def do(self, what: str, size: int, archs: str, images: int = 0) -> int:
        """Do it once; returns how many architectures took part."""
        model, chosen = self.model(size), chosen_archs(size, archs)
        for arch in chosen:
            if what == "step":
                model.step(arch, *self.images(size, BATCH, 0))
            elif what == "judge":
                model.judge(arch, self.images(size, images, 1)[0], *self.images(size, images, 2))
            else:
                model.extract(arch)
        return len(chosen)


@cache
def chosen_archs(size: int, archs: str) -> tuple[Architecture, ...]:
    """The largest ("max"), or random ones by their first and last number ("random 0 5")."""
    space = load_space("ofa-mbv3-1.0").with_resolutions((size,))
    if archs == "max":
        return (space.max(),)
    rng = random.Random(0)
    first, last = map(int, archs.split()[1:])
    return tuple(space.sample_genes(rng) for _ in range(last))[first:]


def peak_mb() -> float:
    """The most memory that this process has held (what getrusage tells is inherited from the parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main() -> None:
    parser = common.parser(__doc__)
    parser.add_argument("side", choices=("ours", "ofa"))
    parser.add_argument("--ofa", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    work = Work(options.side, options.ofa)
    for line in sys.stdin:
        began, cpu = time.perf_counter(), time.process_time()
        count = work.do(**json.loads(line))
        seconds = {"wall": time.perf_counter() - began, "cpu": time.process_time() - cpu}
        print(json.dumps({**seconds, "count": count, "peak_mb": peak_mb()}), flush=True)


if __name__ == "__main__":
    main()
