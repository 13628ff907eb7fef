"""Taking channels out: what goes, what is computed without it, and what it costs."""

import random

import pytest
import torch

from latency_tables.blocks import total_macs
from pipeline.errors import InfeasibleBudget, PipelineError
from pipeline.relax.compress import Evidence, channels_to_keep, compressed, learn_evidence
from pipeline.spaces.files import load_space
from pipeline.supernets.data import TrainingData
from pipeline.supernets.network import Network

SPACE = load_space("quickstart")
BLOCKS = SPACE.blocks(SPACE.max())
SIZES = {place: block.mid_channels for place, block in enumerate(BLOCKS) if block.expands}


def _evidence(seed: int = 0) -> Evidence:
    generator = torch.Generator().manual_seed(seed)
    worth = {place: torch.rand(size, generator=generator) for place, size in SIZES.items()}
    return Evidence(worth, {place: torch.ones(size) for place, size in SIZES.items()})


def test_a_network_without_channels_that_do_nothing_computes_the_same() -> None:
    network = Network(BLOCKS, seed=1).eval()
    generator, evidence = torch.Generator().manual_seed(2), _evidence()
    kept = {
        place: torch.randperm(size, generator=generator)[: size // 2].sort().values for place, size in SIZES.items()
    }
    kept = {p: k for p, k in kept.items() if len(k) != BLOCKS[p].in_channels}
    switches = {place: torch.zeros(SIZES[place]).index_fill(0, k, 0.7) for place, k in kept.items()}
    for place, k in kept.items():
        dead = torch.ones(SIZES[place], dtype=torch.bool).index_fill(0, k, False)
        with torch.no_grad():
            for name in ("depthwise_norm.weight", "depthwise_norm.bias"):
                network[place].get_parameter(name)[dead] = 0  # what the activation makes of 0 is 0
    smaller = compressed(network, kept, Evidence(evidence.worth, switches))
    scaled = compressed(network, {p: torch.arange(SIZES[p]) for p in kept}, Evidence(evidence.worth, switches))
    x = torch.randn(3, 3, 24, 24, generator=generator)
    torch.testing.assert_close(smaller(x), scaled(x), rtol=1e-4, atol=1e-5)
    assert total_macs(smaller.blocks) < total_macs(network.blocks)


@pytest.mark.parametrize("share", [0.9, 0.6, 0.5])
def test_the_most_that_fits_is_kept_and_the_least_worth_goes_first(share: float) -> None:
    limit, evidence = share * total_macs(BLOCKS), _evidence()
    kept = channels_to_keep(BLOCKS, evidence, lambda blocks: total_macs(blocks) <= limit)
    network = compressed(Network(BLOCKS), kept, evidence)
    assert 0.9 * limit < total_macs(network.blocks) <= limit
    for place, channels in kept.items():
        gone = torch.ones(SIZES[place], dtype=torch.bool).index_fill(0, channels, False)
        if gone.any():
            assert evidence.worth[place][gone].max() <= evidence.worth[place][channels].min()
        assert len(channels) >= 8 and len(channels) != BLOCKS[place].in_channels


def test_a_limit_below_the_fewest_channels_is_refused() -> None:
    with pytest.raises(InfeasibleBudget, match="fewest channels"):
        channels_to_keep(BLOCKS, _evidence(), lambda blocks: total_macs(blocks) < 1000)


def test_channels_that_the_labels_need_are_worth_more_than_those_they_do_not(tiny_data: TrainingData) -> None:
    """Half of a block's channels are cut off from what reads them: nothing speaks for those."""
    arch = SPACE.sample(random.Random(0))
    blocks = SPACE.with_classes(4).blocks(arch)
    network = Network(blocks, seed=0)
    place = next(place for place, block in enumerate(blocks) if block.expands)
    half = blocks[place].mid_channels // 2
    with torch.no_grad():
        network[place].get_parameter("project.weight")[:, :half] = 0
    evidence = learn_evidence(network, tiny_data, epochs=4, batch_size=16, lr=0.0, seed=0)
    assert evidence.worth[place][:half].mean() < 0.5 * evidence.worth[place][half:].mean()


def test_a_network_whose_blocks_do_not_expand_is_refused(tiny_data: TrainingData) -> None:
    blocks = tuple(block for block in BLOCKS if not block.expands)
    with pytest.raises(PipelineError, match="nothing to take out"):
        learn_evidence(Network(blocks), tiny_data, 1, 16, 0.01, 0)
