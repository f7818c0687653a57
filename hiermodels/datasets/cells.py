"""CSV files as cells of text: nothing is guessed, shifted or filled in here.

The separator is found from the header (comma, semicolon, tab, bar); a row that does not have the header's number of
fields is refused with its line. What a column means is decided afterwards, by its role, in `hiermodels.datasets.roles`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cells", "read_cells"]

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_LOOK = 200
"""Rows that are looked at where several separators are possible."""


@dataclass(frozen=True)
class Cells:
    """A CSV file as text.

    Attributes
    ----------
    path : Path
    names : tuple of str
        Column names, blanks around them left out.
    rows : list of list of str
        As many cells in each as there are names.
    lines : list of int
        Line of the file in which each row begins, from 1.
    separator : str
    """

    path: Path
    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    separator: str


def read_cells(path: Path) -> Cells:
    """Every cell of a CSV file as it is written.

    Parameters
    ----------
    path : Path
        UTF-8 text with a header line; lines that begin with ``#`` above the header, and empty lines, are left out.

    Raises
    ------
    ValueError
        For a file that is no text, has no header, a column name twice, a quote that stays open, or a row with more or
        fewer fields than the header: naming the line.
    """
    lines = io.StringIO(_text(path), newline="").readlines()
    above = next((i for i, line in enumerate(lines) if not line.startswith("#") and line.strip()), len(lines))
    told = re.fullmatch(r"sep=(.)\s*", lines[above]) if above < len(lines) else None  # a line that Excel writes
    above += told is not None
    separator = told[1] if told else _separator(path, lines[above:])
    records = _records(path, lines, above, separator)
    try:
        _, header = next(records)
    except StopIteration:
        raise ValueError(f"{path}: expected a header line with column names, found none; write one") from None
    names = tuple(name.strip() or f"Unnamed: {i}" for i, name in enumerate(header))
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{path}: expected every column name once, found {twice!r} twice; rename one")
    found = list(records)
    _check_widths(path, len(names), found, separator)
    _check_blanks(path, names, found)
    return Cells(path, names, [row for _, row in found], [line for line, _ in found], separator)


def _text(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: expected a readable file, found {error.strerror}; check its permissions") from None
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _not_text(path, "UTF-16 text")
    if b"\0" in raw:
        raise _not_text(path, "a NUL byte")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _not_text(
            path, f"byte {raw[error.start]:#04x}", f"line {line} may be Latin-1 or Windows-1252; "
        ) from None


def _not_text(path: Path, found: str, guess: str = "") -> ValueError:
    return ValueError(
        f"{path}: expected CSV in UTF-8 text, found {found}; save it so ({guess}Parquet ends in .parquet)"
    )


def _records(path: Path, lines: list[str], above: int, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Line and fields of each record below ``above``, empty lines left out."""
    reader = csv.reader(lines[above:], delimiter=separator, strict=True)
    while True:
        line = above + reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}: line {line}: {_torn(str(error))}") from None
        if record and (len(record) > 1 or record[0].strip()):
            yield line, record


def _torn(error: str) -> str:
    if "limit" in error:
        return "expected a short text in each cell, found one of more than 131,072 characters; close its double quote"
    if "expected after" in error:
        return 'found text behind a closing double quote; write a quote inside a quoted text twice: ""'
    return "found a double quote that is never closed; close it, or write a quote inside a quoted text twice"


def _separator(path: Path, lines: list[str]) -> str:
    """The separator under which the header has several fields, and as many as the rows."""
    width = {mark: _widths(lines[:1], mark) for mark in SEPARATORS}
    possible = [mark for mark in SEPARATORS if width[mark] and width[mark][0] > 1]
    if len(possible) < 2:
        return possible[0] if possible else ","
    fits = [mark for mark in possible if len(set(_widths(lines[:_LOOK], mark))) == 1]
    return max(fits or possible, key=lambda mark: width[mark][0])


def _widths(lines: list[str], mark: str) -> list[int]:
    try:
        return [len(record) for record in csv.reader(lines, delimiter=mark) if record]
    except csv.Error:
        return []


def _check_widths(path: Path, width: int, found: list[tuple[int, list[str]]], separator: str) -> None:
    wrong = next(((line, row) for line, row in found if len(row) != width), None)
    if wrong is None:
        return
    line, row = wrong
    said = f"{path}: line {line}: expected {width} field{'s' if width > 1 else ''} as in the header, found {len(row)}"
    if len(row) < width:
        raise ValueError(f"{said}; write every cell, an empty one where a value is missing")
    if all(len(other) == width + 1 for _, other in found):
        raise ValueError(
            f"{said}, and one more in every row; give that column a name (from R: write.csv(..., row.names = FALSE))"
        )
    raise ValueError(
        f"{said}; put double quotes around a text with {SEPARATORS.get(separator, repr(separator))} in it, or mend "
        f"the row"
    )


def _check_blanks(path: Path, names: tuple[str, ...], found: list[tuple[int, list[str]]]) -> None:
    """Name the separator where it is blanks, which no name could be told from."""
    width = len(names[0].split())
    if len(names) == 1 and width > 1 and found and all(len(row[0].split()) == width for _, row in found):
        known = ", ".join(SEPARATORS.values())
        raise ValueError(f"{path}: expected {known} between fields, found blanks; save it with commas")
