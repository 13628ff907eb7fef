"""A trained network made smaller: middle channels that the data give no evidence for are taken out.

Each middle channel of an expanding block is a switch under a sparse Bayesian prior (Zhou et al. 2019, section 4.4,
structured compression); a channel that goes takes its rows and columns in all layers of its block with it. What
leaves a block stays as wide as it was, since residuals add it to its neighbours.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latency_tables.blocks import Block
from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.progress import Progress
from pipeline.relax.sparse import gauss_newton_diagonal, reweighted
from pipeline.supernets.augment import resize
from pipeline.supernets.compute import device_of, on
from pipeline.supernets.data import TrainingData
from pipeline.supernets.network import Network
from pipeline.supernets.optimizers import make_optimizer
from pipeline.supernets.settings import TrainSettings

Fits = Callable[[tuple[Block, ...]], bool]
GROUP = 8  # channels that go together: what kernels of phones compute at a time
_LAMBDA = 0.01
_DRAWS = 4
_TRAVEL = 3.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """For each block with middle channels of its own: what every channel is worth (its prior variance, 0 where
    dead), and the switch that scales it now."""

    worth: dict[int, Tensor]
    switches: dict[int, Tensor]


def learn_evidence(
    network: Network,
    data: TrainingData,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    progress: Progress | None = None,
) -> Evidence:
    """Train `network` in place with a switch on each middle channel, penalised anew after each epoch."""
    sizes = {place: block.mid_channels for place, block in enumerate(network.blocks) if block.expands}
    if not sizes:
        raise PipelineError("the network has no block with middle channels of its own; there is nothing to take out")
    device = device_of(network)
    switches = nn.Parameter(torch.ones(sum(sizes.values()), device=device))
    gamma, omega = torch.ones_like(switches), torch.ones_like(switches)
    batch_size = min(batch_size, len(data))
    per_epoch = len(data) // batch_size
    steps = epochs * per_epoch
    settings = TrainSettings(recipe="alone", lr=lr)
    optimizer = make_optimizer(network, settings)
    adam = torch.optim.Adam([switches], lr=_TRAVEL / max(20, steps))
    generator = torch.Generator().manual_seed(seed)
    network.train()
    with _switched(network, sizes, switches):
        for step in range(steps):
            if step % per_epoch == 0:
                order = torch.randperm(len(data), generator=generator)
            for group in optimizer.param_groups:
                group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
            chosen = order[step % per_epoch * batch_size :][:batch_size]
            images, labels = (on(device, part) for part in data.training_batch(chosen, generator))
            logits = network(resize(images, network.resolution))
            if step % per_epoch == per_epoch - 1:
                curvature = gauss_newton_diagonal(logits, switches, generator, _DRAWS) / _LAMBDA
                gamma, omega = reweighted(switches.detach(), curvature, gamma, [None] * len(switches))
            loss = F.cross_entropy(logits, labels) + _LAMBDA * (omega * switches.abs()).sum() / len(switches)
            optimizer.zero_grad()
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            adam.step()
            with torch.no_grad():
                switches.clamp_(min=0)
            if progress is not None:
                progress(step + 1, steps, "weigh channels")
    network.eval()
    parts = dict(zip(sizes, torch.split(switches.detach().cpu(), list(sizes.values())), strict=True))
    worth = dict(zip(sizes, torch.split(gamma.cpu(), list(sizes.values())), strict=True))
    return Evidence(worth, parts)


def channels_to_keep(blocks: Sequence[Block], evidence: Evidence, fits: Fits) -> dict[int, Tensor]:
    """The middle channels (kept,), sorted, that each block keeps so that the network just fits, by its place.

    Groups of 8 go by what they are worth for what they cost, the least first; a block keeps one group at least, and
    never as many channels as go in, which would be a block without expansion. Raises InfeasibleBudget where the
    network does not fit with one group in each block.
    """
    order = _removals(blocks, evidence)
    low, high = 0, len(order)
    if not fits(_thinned(blocks, _kept(blocks, evidence, order[:high]))):
        raise InfeasibleBudget("the network does not fit with the fewest channels that can be left; loosen the limit")
    while low < high:  # the first number of removals that fits
        middle = (low + high) // 2
        if fits(_thinned(blocks, _kept(blocks, evidence, order[:middle]))):
            high = middle
        else:
            low = middle + 1
    return _kept(blocks, evidence, order[:low])


def compressed(network: Network, kept: dict[int, Tensor], evidence: Evidence) -> Network:
    """A network with only the channels `kept` (by place of the block, sorted indices), which computes what `network`
    did with its switches where no other channel mattered."""
    blocks = _thinned(network.blocks, kept)
    smaller = Network(blocks, batchnorm_eps=network.batchnorm_eps)
    for place, (old, new) in enumerate(zip(network, smaller, strict=True)):
        state = dict(old.state_dict())
        if place in kept:
            state = _sliced(state, kept[place], evidence.switches[place])
        new.load_state_dict(state)
    return smaller.eval()


def _removals(blocks: Sequence[Block], evidence: Evidence) -> list[tuple[int, Tensor]]:
    """Groups of channels, each with its block's place, in the order in which they go."""
    found: list[tuple[float, int, int, Tensor]] = []
    for place, worth in evidence.worth.items():
        each = _macs_per_channel(blocks[place])
        ranked = worth.argsort(stable=True)
        last = -(-len(worth) // GROUP) - 1
        for number in range(last):
            group = ranked[number * GROUP : (number + 1) * GROUP]
            found.append((float(worth[group].mean()) / each, place, number, group))
    # Worth grows with the number within a block, so that a later group of a block never goes before an earlier one.
    return [(place, group) for _, place, _, group in sorted(found, key=lambda entry: entry[:3])]


def _kept(blocks: Sequence[Block], evidence: Evidence, removed: Sequence[tuple[int, Tensor]]) -> dict[int, Tensor]:
    kept = {}
    for place, worth in evidence.worth.items():
        groups = [group for where, group in removed if where == place]
        if len(worth) - sum(map(len, groups)) == blocks[place].in_channels:
            groups.pop()  # as many as go in would be a block that does not expand
        left = torch.ones(len(worth), dtype=torch.bool)
        for group in groups:
            left[group] = False
        kept[place] = left.nonzero()[:, 0]
    return kept


def _thinned(blocks: Sequence[Block], kept: dict[int, Tensor]) -> tuple[Block, ...]:
    thin = []
    for place, block in enumerate(blocks):
        channels = len(kept[place]) if place in kept else block.mid_channels
        thin.append(replace(block, mid_channels=channels) if block.expands else block)
    return tuple(thin)


def _macs_per_channel(block: Block) -> float:
    outside = block.out_size**2 * (block.kernel**2 + block.out_channels)
    return block.in_size**2 * block.in_channels + outside + 2 * block.se_channels


def _sliced(state: dict[str, Tensor], kept: Tensor, switches: Tensor) -> dict[str, Tensor]:
    """A block's tensors with only the middle channels `kept`; what reads them takes over their switches."""
    found = {}
    for name, tensor in state.items():
        layer = name.rpartition(".")[0]
        if tensor.dim() and layer in ("expand", "expand_norm", "depthwise", "depthwise_norm", "squeeze.expand"):
            tensor = tensor[kept]
        elif name in ("squeeze.reduce.weight", "project.weight"):
            tensor = (tensor * switches.view(1, -1, 1, 1))[:, kept]
        found[name] = tensor
    return found


@contextmanager
def _switched(network: Network, sizes: dict[int, int], switches: Tensor) -> Iterator[None]:
    """While this lasts, each middle channel is scaled by its switch before anything reads it."""
    handles, start = [], 0
    for place, size in sizes.items():
        module = network[place]
        name = "depthwise_act" if "depthwise_act" in module._modules else "depthwise_norm"
        hook = _scaling(switches, slice(start, start + size))
        handles.append(module.get_submodule(name).register_forward_hook(hook))
        start += size
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _scaling(switches: Tensor, part: slice) -> Callable[[nn.Module, object, Tensor], Tensor]:
    return lambda module, inputs, output: output * switches[part].view(1, -1, 1, 1)
