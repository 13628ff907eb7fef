"""Files of weights, from wherever they come -> named tensors. Nothing in a file is executed.

A file is hostile until it has been read: sizes are bounded before anything is unpacked, pickles are read by torch's
unpickler that makes tensors and plain containers only, and values must be finite numbers.
"""

import hashlib
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from pipeline.supernets.files import WeightsError

State = dict[str, Tensor]
MAX_BYTES: Final = 1 << 31
MAX_TENSORS: Final = 20_000
MAX_ELEMENTS: Final = 1 << 28
SUFFIXES: Final = (".safetensors", ".pth", ".pt", ".bin", ".onnx")
_INSIDE: Final = ("state_dict", "model", "state_dict_ema", "model_ema")  # where training scripts put the tensors


def read_state(path: Path) -> State:
    """The tensors in the file at `path` by name, floating point as float32.

    Accepted are safetensors, torch's files (`.pth`, `.pt`, `.bin`, or anything that begins like one) and ONNX.
    Raises WeightsError in one line for anything else, and for what is too large, no number, or no tensor.
    """
    if not path.is_file():
        raise WeightsError(f"no file of weights at {str(path)!r}")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise WeightsError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read")
    with path.open("rb") as stream:
        beginning = stream.read(16)
    if path.suffix == ".onnx":
        state = _read_onnx(path)
    elif beginning[8:9] == b"{":
        state = _read_safetensors(path)
    elif beginning[:2] in (b"PK", b"\x80\x02") or path.suffix in (".pth", ".pt", ".bin"):
        state = _read_torch(path)
    else:
        raise WeightsError(f"{path} is no file of weights; accepted are {', '.join(SUFFIXES)}")
    return _plain(state, path)


def file_sha256(path: Path) -> str:
    """The hash of the file's bytes, in hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, OverflowError) as error:
        raise WeightsError(f"{path} is not a whole safetensors file ({_line(error)})") from None


def _read_torch(path: Path) -> Mapping[str, Any]:
    if zipfile.is_zipfile(path):
        _check_archive(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # the unpickler muses about what it then refuses
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or hostile file may raise anything; none of it is our fault
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        if forbidden:
            reason = f"it wants {forbidden[1]}, which is no tensor; files that run code are refused"
        else:
            reason = _line(error)
        raise WeightsError(f"{path} cannot be read as weights: {reason}") from None
    if not isinstance(found, Mapping):
        raise WeightsError(f"{path} holds a {type(found).__name__}; needed are tensors by name")
    for key in _INSIDE:
        if isinstance(found.get(key), Mapping):
            return dict(found[key])
    return dict(found)


def _check_archive(path: Path) -> None:
    """torch stores its tensors uncompressed, so an archive that unpacks to more than it has was made for harm."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:  # a name that is no UTF-8, a split archive
        raise WeightsError(f"{path} cannot be read as weights: {_line(error)}") from None
    if unpacked > path.stat().st_size:
        raise WeightsError(f"{path} unpacks to {unpacked:,} bytes, more than it has; torch's own files do not")


def _read_onnx(path: Path) -> Mapping[str, Any]:
    """Tensors by their names where an exporter kept those, else by their places in the graph."""
    from pipeline.modelfiles.onnx_file import load_model
    from pipeline.weights.onnx_layers import is_named, layers_in_order, onnx_tensor

    model = load_model(path)
    if is_named(model):
        return {tensor.name: onnx_tensor(tensor, str(path)) for tensor in model.graph.initializer}
    return layers_in_order(model, str(path))


def _plain(found: Mapping[Any, Any], path: Path) -> State:
    """Dense float32 tensors of finite numbers (whole numbers as they are), names without a trainer's prefix."""
    if len(found) > MAX_TENSORS:
        raise WeightsError(f"{path} holds {len(found):,} entries; at most {MAX_TENSORS:,} are read")
    elements = 0
    state: State = {}
    for name, tensor in found.items():
        shown = repr(str(name)[:60])
        if not isinstance(tensor, Tensor):
            raise WeightsError(f"{path}: entry {shown} is a {type(tensor).__name__}, not a tensor")
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_complex():
            raise WeightsError(f"{path}: tensor {shown} is not stored as plain numbers")
        elements += tensor.numel()
        if elements > MAX_ELEMENTS:
            raise WeightsError(f"{path} holds more than {MAX_ELEMENTS:,} numbers")
        plain = tensor.detach().float() if tensor.is_floating_point() else tensor.detach()
        if not torch.isfinite(plain).all():
            raise WeightsError(f"{path}: tensor {shown} holds values that are no finite numbers")
        state[str(name)] = plain.data if isinstance(plain, nn.Parameter) else plain
    if state and all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def _line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
