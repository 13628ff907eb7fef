"""A `.pt2` read as data. torch's own loader obeys the file: it unpickles, runs guards as code and looks names up.

Here the graph is executed by its list of ATen operators; whatever else a file asks for is refused. Imports torch:
import lazily.
"""

import json
import operator
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from exporters.errors import CannotRun, UnsupportedOperator

SCHEMA: Final = 8  # of all torch versions that this package runs with
LARGEST_BYTES: Final = 4 << 30
_ATEN: Final = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)")
_FILES: Final = frozenset({"from_file", "save"})
_NUMBERS: Final[Mapping[str, Callable[..., Any]]] = {
    f"_operator.{name}": getattr(operator, name)
    for name in (
        "add",
        "eq",
        "floordiv",
        "ge",
        "getitem",
        "gt",
        "le",
        "lt",
        "mod",
        "mul",
        "ne",
        "neg",
        "sub",
        "truediv",
    )
}
# Numbers of torch's schema.
_TYPES: Final = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY: Final = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    4: torch.preserve_format,
}
_PLAIN: Final = frozenset(f"as_{kind}" for kind in ("int", "ints", "floats", "string", "strings", "bool", "bools"))


class Program:
    """The graph of a `.pt2` file with its weights; called with one batch of images, it returns their outputs."""

    def __init__(self, path: Path) -> None:
        """Read the file; CannotRun for what is none, UnsupportedOperator for operators that are not ATen's."""
        try:
            with zipfile.ZipFile(path) as archive:
                self._read(archive)
        except (CannotRun, UnsupportedOperator):
            raise
        except Exception as error:  # any part of it may be missing or of another kind
            raise CannotRun(f"{path} cannot be read as a .pt2 file: {type(error).__name__}: {error}") from error

    def _read(self, archive: zipfile.ZipFile) -> None:
        if sum(entry.file_size for entry in archive.infolist()) > LARGEST_BYTES:
            raise CannotRun(f"{archive.filename} unpacks to more than {LARGEST_BYTES >> 30} GiB")
        root = archive.namelist()[0].partition("/")[0]
        document = json.loads(archive.read(f"{root}/models/model.json"))
        if document["schema_version"]["major"] != SCHEMA:
            raise CannotRun(f"{archive.filename} is of another version of torch: export it again")
        graph = document["graph_module"]["graph"]
        self._nodes = [(_operator(node["target"]), node) for node in graph["nodes"]]
        stored = _stored(archive, root, "weights") | _stored(archive, root, "constants")
        self._known: dict[str, Any] = {}
        (self._input,) = self._place(document["graph_module"]["signature"]["input_specs"], stored)
        sizes = graph["tensor_values"][self._input]["sizes"]
        self.shape: tuple[int | None, ...] = tuple(size.get("as_int") for size in sizes)
        (output,) = graph["outputs"]
        self._output: dict[str, Any] = output
        extra = f"{root}/extra/metadata.json"
        self.metadata = archive.read(extra).decode() if extra in archive.namelist() else ""

    def _place(self, specifications: list[dict[str, Any]], stored: Mapping[str, Tensor]) -> list[str]:
        """Names the graph's inputs; those that are no weights are returned."""
        images = []
        for specification in specifications:
            ((kind, told),) = specification.items()
            if kind == "user_input":
                images.append(str(told["arg"]["as_tensor"]["name"]))
            else:
                self._known[told["arg"]["name"]] = stored[told[f"{kind}_name"]]
        return images

    def __call__(self, images: Tensor) -> Tensor:
        values = {**self._known, self._input: images}
        for function, node in self._nodes:
            given = [(entry["kind"], entry["name"], _value(entry["arg"], values)) for entry in node["inputs"]]
            positional = [value for kind, _, value in given if kind != 2]
            result = function(*positional, **{name: value for kind, name, value in given if kind == 2})
            _keep(node["outputs"], result, values)
        outputs: Tensor = _value(self._output, values)
        return outputs


def _operator(target: str) -> Callable[..., Any]:
    if target in _NUMBERS:
        return _NUMBERS[target]
    if (found := _ATEN.fullmatch(target)) is not None and found[1] not in _FILES:
        packet = getattr(torch.ops.aten, found[1], None)
        overload: Any = getattr(packet, found[2], None)
        # TorchScript's own functions go by the same names.
        if isinstance(overload, torch._ops.OpOverload) and _dispatched(overload):
            checked: Callable[..., Any] = overload
            return checked
    raise UnsupportedOperator(f"operator {target!r} is none of ATen's")


def _dispatched(overload: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel(overload.name()))


def _stored(archive: zipfile.ZipFile, root: str, kind: str) -> dict[str, Tensor]:
    """Tensors by name, from their raw bytes; pickled ones are refused."""
    folder = f"{root}/data/{kind}"
    found = {}
    for name, told in json.loads(archive.read(f"{folder}/model_{kind}_config.json"))["config"].items():
        if told["use_pickle"] or told["tensor_meta"] is None:
            raise CannotRun(f"{archive.filename} holds pickled objects, which are not opened")
        meta = told["tensor_meta"]
        data = bytearray(archive.read(f"{folder}/{told['path_name']}"))
        flat = torch.frombuffer(data, dtype=_TYPES[meta["dtype"]]) if data else torch.zeros(0)
        sizes, strides = ([size["as_int"] for size in meta[key]] for key in ("sizes", "strides"))
        found[name] = flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"])
    return found


def _value(argument: dict[str, Any], values: Mapping[str, Any]) -> Any:
    """What an argument of the schema's stands for."""
    ((kind, told),) = argument.items()
    if kind in _PLAIN:
        return told
    match kind:
        case "as_none":
            return None
        case "as_float":
            return float(told)
        case "as_tensor":
            return values[told["name"]]
        case "as_tensors":
            return [values[entry["name"]] for entry in told]
        case "as_optional_tensor":
            return _value(told, values)
        case "as_optional_tensors":
            return [_value(entry, values) for entry in told]
        case "as_sym_int" | "as_sym_float" | "as_sym_bool":
            return _number(told, values)
        case "as_sym_ints" | "as_sym_floats" | "as_sym_bools":
            return [_number(entry, values) for entry in told]
        case "as_scalar_type":
            return _TYPES[told]
        case "as_memory_format":
            return _MEMORY[told]
        case "as_layout":
            return torch.strided
        case "as_device":
            return torch.device("cpu")
    raise UnsupportedOperator(f"an argument of the kind {kind!r} is not read from a .pt2 file")


def _number(told: dict[str, Any], values: Mapping[str, Any]) -> Any:
    ((kind, value),) = told.items()
    return values[value] if kind == "as_name" else value


def _keep(outputs: list[dict[str, Any]], result: Any, values: dict[str, Any]) -> None:
    """Name the results of one operator."""
    results = result if len(outputs) > 1 else [result]
    for output, each in zip(outputs, results, strict=False):
        ((kind, told),) = output.items()
        if kind == "as_tensor":
            values[told["name"]] = each
        elif kind == "as_tensors":
            values.update(zip((entry["name"] for entry in told), each, strict=True))
        elif kind.startswith("as_sym_"):
            values[told["as_name"]] = each
