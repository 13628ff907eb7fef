"""Supernets, networks and checkpoints as safetensors files that say what they are."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from latency_tables.blocks import Block
from latency_tables.errors import TableError
from latency_tables.files import write_atomic
from pipeline.errors import PipelineError
from pipeline.spaces.files import space_from_dict, space_to_dict
from pipeline.spaces.space import BATCHNORM_EPS
from pipeline.supernets.network import Network
from pipeline.supernets.supernet import Supernet

SCHEMA_VERSION = 1
_KEY = "pocketnas"  # one JSON document in the file's own metadata


class WeightsError(PipelineError):
    """A weights file that is missing, broken, or not of the kind that was asked for."""


def save_supernet(supernet: Supernet, path: Path) -> None:
    """Write weights, space and sharing to one safetensors file."""
    about = {"kind": "supernet", "space": space_to_dict(supernet.space), "sharing": supernet.sharing}
    write_tensors(path, supernet.state_dict(), about)


def load_supernet(path: Path) -> Supernet:
    """The supernet in a file of `save_supernet`, in evaluation mode."""
    tensors, about = read_tensors(path, "supernet")
    supernet = Supernet(space_from_dict(about["space"], str(path)), about["sharing"])
    load_weights(supernet, tensors, path)
    return supernet.eval()


def save_network(network: Network, path: Path) -> None:
    """Write weights, blocks and BatchNorm's epsilon to one safetensors file."""
    about = {
        "kind": "network",
        "blocks": [block.key for block in network.blocks],
        "batchnorm_eps": network.batchnorm_eps,
    }
    write_tensors(path, network.state_dict(), about)


def load_network(path: Path | str) -> Network:
    """The network in a file of `save_network`, in evaluation mode."""
    path = Path(path)
    tensors, about = read_tensors(path, "network")
    try:
        eps = about.get("batchnorm_eps", BATCHNORM_EPS)  # older files do not say
        network = Network(map(Block.parse, about["blocks"]), batchnorm_eps=eps)
    except TableError as error:
        raise WeightsError(f"{path}: {error}") from None
    load_weights(network, tensors, path)
    return network.eval()


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """Write `tensors`, of any shape, and the JSON document `about` as one file, whole or not at all."""
    document = json.dumps({"schema_version": SCHEMA_VERSION, **about}, sort_keys=True)
    # Channels_last tensors are stored in plain order; sizes and values are what a file is about.
    write_atomic(path, save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, {_KEY: document}))


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, in their shapes, and document of a file of `write_tensors`; WeightsError if it is not a `kind`."""
    if not path.is_file():
        raise WeightsError(f"no {kind} at {path}; give the file that training wrote")
    about = read_about(path)
    try:
        with safe_open(path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); write it again") from None
    if about.get("kind") != kind or about.get("schema_version") != SCHEMA_VERSION:
        found = f"{about.get('kind', 'unknown')} of schema version {about.get('schema_version', 'unknown')}"
        raise WeightsError(f"{path} holds: {found}; needed is {kind} of schema version {SCHEMA_VERSION}")
    return tensors, about


def read_about(path: Path) -> dict[str, Any]:
    """The JSON document of a file written by `write_tensors`, empty where it has none; WeightsError if corrupt."""
    try:
        with safe_open(path, framework="pt") as stream:
            about = json.loads((stream.metadata() or {}).get(_KEY, "{}"))
    except (SafetensorError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({error}); write it again") from None
    return about if isinstance(about, dict) else {}


@torch.no_grad()
def load_weights(module: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Copy `tensors` into `module`; WeightsError names what is missing, too much or of another shape."""
    own = module.state_dict()
    wrong = sorted(own.keys() ^ tensors.keys()) or sorted(n for n in own if own[n].shape != tensors[n].shape)
    if wrong:
        raise WeightsError(f"{path} does not fit: {len(wrong)} tensors differ, the first is {wrong[0]!r}")
    for name, tensor in own.items():
        tensor.copy_(tensors[name])


def below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors, of any shape, whose names begin with `prefix` and a dot, by the rest of their names."""
    start = f"{prefix}."
    return {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
