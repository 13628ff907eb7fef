"""The least that published weights are good for: a linear classifier on what their network sees, nothing trained."""

from typing import Final

import torch
from torch import Tensor

from pipeline.supernets.augment import resize
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import in_batches
from pipeline.supernets.network import Network

Labelled = tuple[Tensor | TrainingData, Tensor]  # normalised images (n, 3, h, w) or a set, and their labels (n,)
_REGULARISATION: Final = 0.01  # scikit-learn's C, for features of unit variance; larger ones overfit a few thousand
_STEPS: Final = 200


def features(network: Network, images: Tensor | TrainingData) -> Tensor:
    """What the network gives to its classifier, shape (n, channels), for normalised images of any size."""
    rows = []
    with torch.inference_mode():
        for batch in in_batches(images):
            x = resize(batch, network.resolution).contiguous(memory_format=torch.channels_last)
            for block in list(network)[:-1]:
                x = block(x)
            rows.append(x.flatten(1))
    return torch.cat(rows)


def linear_accuracy(network: Network, train: Labelled, test: Labelled) -> float:
    """Share of `test` that logistic regression on the network's features gets right after learning from `train`."""
    from sklearn.linear_model import LogisticRegression

    seen, asked = features(network, train[0]), features(network, test[0])
    mean, std = seen.mean(dim=0), seen.std(dim=0).clamp_min(1e-6)
    model = LogisticRegression(C=_REGULARISATION, max_iter=_STEPS)
    model.fit(((seen - mean) / std).numpy(), train[1].numpy())
    return float(model.score(((asked - mean) / std).numpy(), test[1].numpy()))
