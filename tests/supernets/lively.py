"""Supernets whose every tensor matters: statistics and kernel transforms moved away from their first values."""

import torch

from pipeline.spaces.space import SearchSpace
from pipeline.supernets.supernet import Sharing, Supernet


def lively(space: SearchSpace, sharing: Sharing = "nested") -> Supernet:
    """A supernet in evaluation mode with random statistics, scales and transforms."""
    supernet = Supernet(space, sharing)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in supernet.state_dict().items():
            noise = torch.rand(tensor.shape, generator=generator)
            if "norm.running_var" in name or "norm.weight" in name:
                tensor.copy_(0.5 + noise)
            elif ("norm." in name and tensor.is_floating_point()) or name.endswith(".bias"):
                tensor.copy_(noise - 0.5)
            elif "transforms" in name:
                tensor.add_(0.2 * noise)
    return supernet.eval()
