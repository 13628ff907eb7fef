"""Once-for-All and ProxylessNAS: YAML of `key: {count, mean, std or var}`."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from latency_tables.blocks import Activation, Block, round_channels
from latency_tables.errors import TableError
from latency_tables.importers.published import Published, PublishedRow, read_number, read_text

_SAME_DEVICE = 0.05  # how far two files' figures for one block may differ; published ones differ by 0.7 %


@dataclass(frozen=True, slots=True)
class _Figure:
    mean_ms: float
    deviation_ms: float
    samples: int


def read_figures(path: Path) -> dict[str, _Figure]:
    """The entries of a table in the YAML subset that Once-for-All and ProxylessNAS publish."""
    figures: dict[str, dict[str, float]] = {}
    values: dict[str, float] | None = None
    for number, line in enumerate(read_text(path).splitlines(), 1):
        entry = re.fullmatch(r"(\S.*):\s*", line)
        field = re.fullmatch(r"\s+(count|mean|std|var):\s*(\S+)\s*", line)
        if entry:
            values = {}
            if figures.setdefault(entry[1], values) is not values:
                raise TableError(f"{path}, line {number}: the entry {entry[1]!r} stands there twice")
        elif field and values is not None:
            if field[1] in values:
                raise TableError(f"{path}, line {number}: {field[1]!r} stands twice in one entry")
            values[field[1]] = read_number(field[2], path, number)
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


def import_ofa(files: Sequence[Path]) -> Published:
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


def import_proxylessnas(files: Sequence[Path]) -> Published:
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
