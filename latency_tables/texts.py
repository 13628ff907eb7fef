"""Text files as people's tools write them: a byte-order mark, semicolons, decimal commas."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from latency_tables.files import MOST_BYTES, read_bounded


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A table of texts. `rows` are (line number, cells), with as many cells as `header` has names.

    `decimal_comma`: cells are divided by semicolons or tabs, so that a comma in a number is its decimal point.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    decimal_comma: bool

    def records(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Every row by column name, with its line number."""
        for line, cells in self.rows:
            yield line, dict(zip(self.header, cells, strict=True))


def decode_text(data: bytes, where: str, error: type[Exception]) -> str:
    """UTF-8, or UTF-16 where a byte-order mark says so, without the mark; `error` naming `where` otherwise."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise error(f"{where} is not a text file (UTF-8)") from None


def parse_csv(text: str, where: str, error: type[Exception]) -> CsvFile:
    """The table in `text`, its cells divided by commas, semicolons or tabs, whichever its first line has most of.

    Raises `error` naming `where` and the line: no header, a repeated or empty column name, rows of other lengths.
    """
    header_line = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=header_line.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        table = [(reader.line_num, tuple(cell.strip() for cell in row)) for row in reader if any(map(str.strip, row))]
    except csv.Error as problem:
        raise error(f"{where} is not a CSV table: {problem}") from None
    if not table:
        raise error(f"{where} is empty; a line of column names is needed")
    header = table[0][1]
    for name in header:
        if not name:
            raise error(f"{where}: a column has no name; its first line is {header_line[:80]!r}")
        if header.count(name) > 1:
            raise error(f"{where} has the column {name!r} twice")
    for line, cells in table[1:]:
        if len(cells) != len(header):
            raise error(f"{where}, line {line}: {len(cells)} cells under {len(header)} column names")
    return CsvFile(header, tuple(table[1:]), delimiter != ",")


def read_csv(path: Path, error: type[Exception]) -> CsvFile:
    """`parse_csv` of a file, which may be compressed by gzip; `error` also where it cannot be read."""
    try:
        data = read_bounded(path, error)
    except FileNotFoundError:
        raise error(f"there is no file {str(path)!r}") from None
    if data[:2] == b"\x1f\x8b":
        data = _unpacked(data, str(path), error)
    return parse_csv(decode_text(data, str(path), error), str(path), error)


def _unpacked(data: bytes, where: str, error: type[Exception]) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
            plain = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise error(f"{where} is a damaged gzip file: {problem}") from None
    if len(plain) > MOST_BYTES:
        raise error(f"{where} unpacks to more than {MOST_BYTES >> 20} MB")
    return plain


def parse_number(word: str, decimal_comma: bool = False) -> float:
    """A number as people write it; with `decimal_comma` 1,5 is one and a half. Raises ValueError."""
    if decimal_comma and "," in word and "." not in word:
        word = word.replace(",", ".")
    return float(word)
