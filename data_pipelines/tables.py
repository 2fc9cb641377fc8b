"""Reads the tables that come with data sets (CSV), as people and spreadsheets write them.

Fields are parted by commas, semicolons, tabs or bars; names of columns count in any case and without the spaces, dots
and underscores in them ("Frame_Height" is "frameheight"); rows without any content are passed over.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.errors import DataError

DELIMITERS = (",", ";", "\t", "|")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
NOT_KNOWN = ("", "na", "n/a", "nan", "none", "null", "-", "unknown")


class TableError(DataError):
    """A table cannot be read as it stands."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        line: its number among the rows of the file, from 1, the header included.
        fields: its fields by column, without spaces around them; a row that breaks off has empty ones at its end.
        breaks_off: whether it has fewer fields than the header.
        runs_over: whether it has more fields than the header, which are not empty: a stray comma has shifted it.
    """

    line: int
    fields: dict[str, str]
    breaks_off: bool
    runs_over: bool


@dataclasses.dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        path: its file.
        columns: the names of its columns in lower case, letters and digits alone.
        rows: its rows that have any content, without repeated headers.
    """

    path: Path
    columns: list[str]
    rows: list[Row]


def read_text(path: Path) -> str:
    """Reads a text file in UTF-8, with or without a byte order mark, or in UTF-16 with one.

    Raises:
        TableError: the file has another encoding.
    """
    content = path.read_bytes()
    name, encoding = ("UTF-16", "utf-16") if content[:2] in UTF16_MARKS else ("UTF-8", "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not {name} at byte {error.start}: save it as UTF-8") from error


def read_table(path: Path, needed: Sequence[str]) -> Table:
    """Reads a table.

    Args:
        path: the file.
        needed: columns that it must have.

    Raises:
        TableError: it is not CSV, lacks a column or has one twice, or has another encoding than UTF-8.
    """
    text = read_text(path)
    hint, _, rest = text.partition("\n")
    if re.fullmatch(r"sep=.\r?", hint):  # what a spreadsheet writes to itself
        text = rest
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=header.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise TableError(f"{path} is not CSV: {error}: fetch it again") from error
    numbered = [
        (number, [field.strip() for field in line])
        for number, line in enumerate(lines, 1)
        if any(field.strip() for field in line)
    ]
    columns = [plain(name) for name in numbered[0][1]] if numbered else []
    while columns and not columns[-1]:
        columns.pop()
    if missing := set(needed) - set(columns):
        raise TableError(f"{path} lacks the columns {sorted(missing)}; it has {columns}")
    if twice := sorted({name for name in columns if name and columns.count(name) > 1}):
        raise TableError(f"{path} has the columns {twice} twice: remove one of each")
    width = len(columns)
    rows = []
    for number, line in numbered[1:]:
        if line != numbered[0][1]:
            fields = dict(zip(columns, line + [""] * max(0, width - len(line)), strict=False))
            rows.append(Row(number, fields, len(line) < width, any(line[width:])))
    return Table(path, columns, rows)


def plain(name: str) -> str:
    """Returns the letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]+", "", name.lower())


def number(text: str) -> float | None:
    """Reads a finite number with a point or a comma, with or without a per cent sign; None where none is given.

    Raises:
        ValueError: the text is something else.
    """
    try:
        value = float(text)
    except ValueError:
        text = text.strip().removesuffix("%").strip()
        if text.lower() in NOT_KNOWN:
            return None
        value = float(text.replace(",", ".") if re.fullmatch(r"[+-]?\d*,\d+", text) else text)
    if not math.isfinite(value):
        if text.strip().lower() in NOT_KNOWN:
            return None
        raise ValueError(f"{text!r} is not a finite number")
    return value
