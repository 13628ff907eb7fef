"""Tables that others published, read into ours: Once-for-All, ProxylessNAS and FBNet.

Nothing of them is scaled or filled in. What our blocks cannot express is left out and counted.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Final

from pydantic import ValidationError

from latency_tables.blocks import Activation, Block, round_channels
from latency_tables.build import provenance_now
from latency_tables.documents import first_error
from latency_tables.errors import TableError
from latency_tables.files import read_bounded
from latency_tables.table import Calibration, DeviceInfo, LatencyTable, Row
from latency_tables.texts import decode_text


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One published figure: a block, the mean of its runs in milliseconds, their deviation, and their number."""

    block: Block
    mean_ms: float
    deviation_ms: float = 0.0
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Published:
    """The rows of published files, how many of their entries no block of ours expresses, and remarks."""

    rows: tuple[PublishedRow, ...]
    left_out: int = 0
    notes: tuple[str, ...] = ()


def import_table(files: Sequence[Path], table_format: str, device: str) -> tuple[LatencyTable, int]:
    """The table of `device` in published `files`, and how many of their entries were left out.

    `table_format` is a key of IMPORTERS. Several files are several input resolutions of one table.
    Raises TableError: unknown format, unreadable file, an entry that is not of the format (with its line).
    """
    if table_format not in IMPORTERS:
        raise TableError(f"format {table_format!r} is unknown; accepted are {', '.join(IMPORTERS)}")
    if not files:
        raise TableError("no file to import")
    if not device.strip():
        raise TableError(f"the device's name is {device!r}; a table needs to say what it is of")
    published = IMPORTERS[table_format](files)
    rows = {row.block.key: _row(row) for row in published.rows}
    notes = [*published.notes, "the published figures are means, and their spread is computed from the deviation"]
    names = ", ".join(file.name for file in files)
    table = LatencyTable(
        device=DeviceInfo(name=device, runtime="unknown"),
        calibration=Calibration(method="none"),
        provenance=provenance_now(f"imported from {names} ({table_format})", notes=notes),
        rows=rows,
    )
    return table, published.left_out


def _row(row: PublishedRow) -> Row:
    # The published deviation as the range of the middle half of a normal distribution.
    spread_percent = round(134.9 * row.deviation_ms / row.mean_ms, 2) if row.mean_ms else 0.0
    try:
        return Row(
            median_ms=row.mean_ms,
            network_ms=row.mean_ms,
            spread_percent=spread_percent,
            samples=row.samples,
            sessions=0,
        )
    except ValidationError as problem:
        raise TableError(f"{row.block.key}: {first_error(problem, Row)}") from None


_SAME_DEVICE = 0.05  # how far two files' figures for one block may differ; published ones differ by 0.7 %

# -- Once-for-All and ProxylessNAS: YAML of `key: {count, mean, std or var}` ---------------------------


@dataclass(frozen=True, slots=True)
class _Figure:
    mean_ms: float
    deviation_ms: float
    samples: int


def read_figures(path: Path) -> dict[str, _Figure]:
    """The entries of a table in the YAML subset that Once-for-All and ProxylessNAS publish."""
    figures: dict[str, dict[str, float]] = {}
    values: dict[str, float] | None = None
    for number, line in enumerate(_text(path).splitlines(), 1):
        entry = re.fullmatch(r"(\S.*):\s*", line)
        field = re.fullmatch(r"\s+(count|mean|std|var):\s*(\S+)\s*", line)
        if entry:
            values = {}
            if figures.setdefault(entry[1], values) is not values:
                raise TableError(f"{path}, line {number}: the entry {entry[1]!r} stands there twice")
        elif field and values is not None:
            if field[1] in values:
                raise TableError(f"{path}, line {number}: {field[1]!r} stands twice in one entry")
            values[field[1]] = _number(field[2], path, number)
        elif line.strip():
            raise TableError(
                f"{path}, line {number}: {line[:60]!r} is neither `key:` nor `  count|mean|std|var: number`"
            )
    if not figures:
        raise TableError(f"{path} has no entries")
    return {key: _figure(values, key, path) for key, values in figures.items()}


def _figure(values: dict[str, float], key: str, path: Path) -> _Figure:
    if "mean" not in values:
        raise TableError(f"{path}: entry {key!r} has no mean")
    if not values["mean"]:
        raise TableError(f"{path}: entry {key!r} has a mean of 0; nothing takes no time")
    deviation = values["std"] if "std" in values else math.sqrt(values.get("var", 0.0))
    return _Figure(values["mean"], deviation, int(values.get("count", 1)))


def _import_ofa(files: Sequence[Path]) -> Published:
    """Once-for-All's tables: one file per input resolution, mid channels, squeeze-and-excitation, h-swish."""
    per_file = sorted(((_resolution(rows), rows) for rows in map(_ofa_rows, files)), key=lambda pair: pair[0])
    merged: dict[Block, PublishedRow] = {}
    widest = 0.0
    for _, rows in per_file:
        for row in rows:
            before = merged.get(row.block, row)
            widest = max(widest, abs(row.mean_ms / before.mean_ms - 1))
            if widest > _SAME_DEVICE:
                raise TableError(
                    f"two files have {before.mean_ms} and {row.mean_ms} ms for {row.block.key!r}; "
                    "are they of one device?"
                )
            merged[row.block] = row
    note = (
        "blocks that several files have (mix, classifier, equal shapes at rounded sizes) keep the figure of the "
        f"largest resolution; the files differ by up to {widest:.1%} there"
    )
    return Published(tuple(merged.values()), notes=(note,) if len(files) > 1 else ())


_PROXYLESSNAS_FIELDS: Final = frozenset({"expand", "kernel", "stride", "idskip"})
_OFA_FIELDS: Final = _PROXYLESSNAS_FIELDS | {"se", "hs"}


def _require_fields(fields: dict[str, int], wanted: frozenset[str], where: str, format_name: str, other: str) -> None:
    """Refuse an entry whose fields are not exactly those of the format: `expand` would be read as something else."""
    if set(fields) != wanted:
        raise TableError(
            f"{where} has the fields {', '.join(fields) or 'none'}; a {format_name} table has"
            f" {', '.join(sorted(wanted))}: is it --format {other}?"
        )


def _resolution(rows: Sequence[PublishedRow]) -> int:
    return max(row.block.in_size for row in rows)


_SHAPE = r"(\d+)x(\d+)x(\d+)"
_KEY = re.compile(rf"(\w+)-input:{_SHAPE}-output:(?:{_SHAPE}|(\d+))((?:-\w+:\d+)*)")


def _published_key(key: str, path: Path) -> tuple[str, tuple[int, int], tuple[int, int], dict[str, int]]:
    """Operator, (size, channels) before and after, and the further fields of a published key."""
    match = _KEY.fullmatch(key)
    if match is None or match[2] != match[3]:
        raise TableError(f"{path}: {key!r} is not an entry such as Conv-input:224x224x3-output:112x112x24")
    pairs = [part.split(":") for part in match[9].split("-") if part]
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise TableError(f"{path}: {key!r} has a field twice")
    before = (int(match[2]), int(match[4]))
    after = (int(match[5]), int(match[7])) if match[5] else (1, int(match[8]))
    return match[1], before, after, {name: int(value) for name, value in fields.items()}


def _ofa_rows(path: Path) -> list[PublishedRow]:
    rows = []
    for key, figure in read_figures(path).items():
        operator, before, after, fields = _published_key(key, path)
        block = _plain_block(operator, before, after, "hswish")
        if block is None and operator == "expanded_conv":
            _require_fields(fields, _OFA_FIELDS, f"{path}: {key!r}", "Once-for-All", "proxylessnas")
            activation: Activation = "hswish" if fields["hs"] else "relu"
            squeeze = round_channels(fields["expand"] // 4) if fields["se"] else 0
            block = _mbconv(before, after, fields, fields["expand"], squeeze, activation, f"{path}: {key!r}")
        if block is None:
            raise TableError(f"{path}: {key!r} is not an operator of a Once-for-All table")
        rows.append(PublishedRow(block, figure.mean_ms, figure.deviation_ms, figure.samples))
    return rows


def _import_proxylessnas(files: Sequence[Path]) -> Published:
    """ProxylessNAS' mobile table: ratios instead of mid channels, ReLU6, the classifier with its pool."""
    if len(files) != 1:
        raise TableError(f"a ProxylessNAS table is one file, not {len(files)}")
    path, rows = files[0], []
    for key, figure in read_figures(files[0]).items():
        operator, before, after, fields = _published_key(key, path)
        block = _plain_block(operator, before, after, "relu6")
        if block is None and operator == "expanded_conv":
            _require_fields(fields, _PROXYLESSNAS_FIELDS, f"{path}: {key!r}", "ProxylessNAS", "ofa")
            block = _mbconv(before, after, fields, before[1] * fields["expand"], 0, "relu6", f"{path}: {key!r}")
        if block is None:
            raise TableError(f"{path}: {key!r} is not an operator of a ProxylessNAS table")
        rows.append(PublishedRow(block, figure.mean_ms, figure.deviation_ms, figure.samples))
        if operator == "Logits" and before[0] > 1:
            rows.append(PublishedRow(Block("pool", before[0], before[1], before[1]), 0.0, samples=figure.samples))
    note = "the classifier's figure contains the average pool before it, whose own row is therefore 0 ms"
    return Published(tuple(rows), notes=(note,))


def _plain_block(
    operator: str, before: tuple[int, int], after: tuple[int, int], activation: Activation
) -> Block | None:
    (size, channels), (size_out, channels_out) = before, after
    if not size_out:
        return None
    stride = -(-size // size_out)
    match operator:
        case "Conv":
            return Block("conv", size, channels, channels_out, 3, stride, activation=activation)
        case "Conv_1":
            return Block("conv", size, channels, channels_out, activation=activation)
        case "Conv_2":
            return Block("mix", 1, channels, channels_out, activation=activation)
        case "AvgPool2D":
            return Block("pool", size, channels, channels)
        case "Logits":
            return Block("linear", 1, channels, channels_out)
    return None


def _mbconv(
    before: tuple[int, int],
    after: tuple[int, int],
    fields: dict[str, int],
    mid: int,
    squeeze: int,
    activation: Activation,
    where: str,
) -> Block:
    size, size_out, stride = before[0], after[0], fields["stride"]
    if not stride or -(-size // stride) != size_out:
        raise TableError(f"{where} has a stride of {stride}, which does not make {size_out} pixels of {size}")
    residual = bool(fields["idskip"])
    return Block("mbconv", *before, after[1], fields["kernel"], fields["stride"], mid, squeeze, activation, residual)


# -- FBNet: a text table of microseconds, one line per layer, one column per operator ------------------

# Layers, input size, channels before and after, stride of the first (FBNet, Wu et al. 2019, table 1).
_FBNET_STAGES: Final = (
    (1, 112, 16, 16, 1),
    (4, 112, 16, 24, 2),
    (4, 56, 24, 32, 2),
    (4, 28, 32, 64, 2),
    (4, 14, 64, 112, 1),
    (4, 14, 112, 184, 2),
    (1, 7, 184, 352, 1),
)


def _import_fbnet(files: Sequence[Path]) -> Published:
    """FBNet's table of 22 layers x 9 operators. Layers of one shape are one block: the median of their figures."""
    if len(files) != 1:
        raise TableError(f"an FBNet table is one file, not {len(files)}")
    operators, lines = _fbnet_lines(files[0])
    figures: dict[Block, list[float]] = {}
    left_out = 0
    for shape, values in zip(_fbnet_layers(), lines, strict=True):
        for operator, microseconds in zip(operators, values, strict=True):
            block = _fbnet_block(operator, *shape, path=files[0])
            if block is None:
                left_out += 1
            else:
                figures.setdefault(block, []).append(microseconds / 1000)
    rows = tuple(
        PublishedRow(block, median(values), _deviation(values), len(values)) for block, values in figures.items()
    )
    notes = (
        "layers of one shape are one row: the median of their figures, with their deviation as its spread",
        "left out: group convolutions, and identities (a skipped layer is no block)",
        "FBNet expands with a 1x1 convolution at ratio 1 too; its figures for those rows contain it",
    )
    return Published(rows, left_out, notes)


def _fbnet_lines(path: Path) -> tuple[list[str], list[list[float]]]:
    header, *lines = [line.split() for line in _text(path).splitlines() if line.strip()] or [[]]
    layers = len(_fbnet_layers())
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise TableError(f"{path} has the operator {twice[0]!r} in two columns")
    if len(lines) != layers or not header or any(len(line) != len(header) for line in lines):
        raise TableError(
            f"{path} is not an FBNet table: it needs a line of operator names, then {layers} lines with as many "
            f"microseconds; it has {len(lines)} lines"
        )
    return header, [[_number(word, path, n) for word in line] for n, line in enumerate(lines, 2)]


def _fbnet_layers() -> list[tuple[int, int, int, int]]:
    """Input size, channels before and after, and stride of each layer in order."""
    layers = []
    for count, size, before, after, stride in _FBNET_STAGES:
        layers.append((size, before, after, stride))
        layers += [(-(-size // stride), after, after, 1)] * (count - 1)
    return layers


def _fbnet_block(operator: str, size: int, before: int, after: int, stride: int, path: Path) -> Block | None:
    """The block of an FBNet operator, None where no block of ours is that."""
    residual = stride == 1 and before == after
    if operator == "skip":
        return None if residual else Block("conv", size, before, after, 1, stride, activation="relu")
    match = re.fullmatch(r"ir_k(\d+)_([es])(\d+)", operator)
    if match is None:
        raise TableError(
            f"{path}: operator {operator!r} is unknown; known are skip and ir_k<kernel>_e<ratio>|s<groups>"
        )
    if match[2] == "s":
        return None
    mid = before * int(match[3])
    return Block("mbconv", size, before, after, int(match[1]), stride, mid, 0, "relu", residual)


def _deviation(values: Sequence[float]) -> float:
    return math.sqrt(fmean((value - fmean(values)) ** 2 for value in values))


def _text(path: Path) -> str:
    try:
        return decode_text(read_bounded(path, TableError), str(path), TableError)
    except FileNotFoundError:
        raise TableError(f"there is no file {str(path)!r}") from None


def _number(word: str, path: Path, line: int) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise TableError(f"{path}, line {line}: {word!r} is not a number of at least 0")
    return value


IMPORTERS: Final[dict[str, Callable[[Sequence[Path]], Published]]] = {
    "ofa": _import_ofa,
    "proxylessnas": _import_proxylessnas,
    "fbnet": _import_fbnet,
}
