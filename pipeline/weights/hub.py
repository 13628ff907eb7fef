"""Weights in the Hugging Face hub, as timm publishes them, from the local cache where there is no network."""

import json
import os
import re
import socket
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.supernets.files import WeightsError

NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_TIMEOUT_SECONDS: Final = 10.0
_ERROR: Final = 40  # logging.ERROR


class _Pretrained(BaseModel):
    model_config = ConfigDict(extra="ignore")

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    license: str | None = Field(None, max_length=100)


class _Config(BaseModel):
    """What is read of timm's `config.json`."""

    model_config = ConfigDict(extra="ignore")

    architecture: str = Field("", max_length=100)
    pretrained_cfg: _Pretrained = _Pretrained()
    label_names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class HubFiles:
    """A repository's weights and what its `config.json` says about them."""

    weights: Path
    commit: str
    architecture: str
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    licence: str | None
    labels: tuple[str, ...]


def fetch(repository: str) -> HubFiles:
    """The files of `owner/name`; WeightsError in one line where they can be had neither there nor from the cache."""
    weights = _file(repository, "model.safetensors")
    try:
        text = json.loads(_file(repository, "config.json").read_bytes())
        config = _Config.model_validate(text if isinstance(text, dict) else {})
    except (ValueError, ValidationError) as error:
        raise WeightsError(f"hub {repository}: its config.json cannot be read: {_line(error)}") from None
    return HubFiles(
        weights=weights,
        commit=weights.parent.name,
        architecture=config.architecture,
        mean=config.pretrained_cfg.mean,
        std=config.pretrained_cfg.std,
        licence=config.pretrained_cfg.license,
        labels=tuple(map(str, config.label_names)),
    )


def _file(repository: str, name: str) -> Path:
    """A file from the cache, which needs no network, or else from the hub."""
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
    from huggingface_hub.utils import logging

    cached = huggingface_hub.try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    verbosity = logging.get_verbosity()
    logging.set_verbosity(_ERROR)  # a file that cannot be had is one line, not one for each try
    try:
        _ensure_reachable(huggingface_hub.constants.ENDPOINT)
        return Path(huggingface_hub.hf_hub_download(repository, name, etag_timeout=_TIMEOUT_SECONDS))
    except RepositoryNotFoundError:
        reason = "the hub has no such repository, or shows it to its owner only"
    except EntryNotFoundError:
        reason = f"it has no file {name}, or it is not in the local cache and the hub cannot be reached"
    except Exception as error:  # network code of others: whatever it raises means that the file cannot be had
        reason = f"it is not in the local cache and cannot be had from the hub ({_line(error)})"
    finally:
        logging.set_verbosity(verbosity)
    raise WeightsError(f'hub {repository}: {reason}; give a file, an installed package, or start = "none"')


def _ensure_reachable(endpoint: str) -> None:
    """Raise OSError at once where there is no way to the hub; its own library tries for half a minute."""
    if os.environ.get("HF_HUB_OFFLINE", "0") in ("", "0") and not urllib.request.getproxies():
        place = urllib.parse.urlsplit(endpoint)
        port = place.port or (80 if place.scheme == "http" else 443)
        socket.create_connection((place.hostname or "", port), timeout=_TIMEOUT_SECONDS).close()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
