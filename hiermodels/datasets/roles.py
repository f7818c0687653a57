"""Cells of text as columns, by role: labels of groups stay as written, columns that are numbers become numbers."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from hiermodels.datasets.cells import Cells

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING", "THOUSANDS", "as_table"]

MISSING = frozenset(
    (
        "", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "#N/A N/A", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None",
        "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN",
    )
)  # fmt: skip
"""Texts that stand for a missing value unless the reader is told otherwise."""

_WHOLE = re.compile(r"-?[1-9]\d{0,17}|0", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf(?:inity)?)\s*", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"\s*[+-]?\d*,\d+(?:[eE][+-]?\d+)?\s*", re.ASCII)
THOUSANDS = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:,\d{3})+\s*", re.ASCII)
"""Numbers whose commas may stand for thousands."""
_LEADING_ZERO = re.compile(r"\s*[+-]?0\d", re.ASCII)
_TRUTH = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def as_table(cells: Cells, labels: Collection[str] | None, missing: Collection[str] | None, way: str) -> pd.DataFrame:
    """The columns of a file, each by its role.

    Parameters
    ----------
    cells : Cells
    labels : collection of str or None
        Columns whose values are labels: they stay text as written, unless numbers (or true and false) print as exactly
        the same text. Other columns are numbers where every cell is one, none of them written as ``01``. None for no
        labels.
    missing : collection of str or None
        Texts that stand for a missing value, beside an empty cell; None for `MISSING`.
    way : str
        How the reader is told that such a text is a label, for the message.

    Raises
    ------
    ValueError
        For a label that reads as missing.
    """
    import pandas as pd

    gone = MISSING if missing is None else frozenset(("", *missing))
    columns = list(zip(*cells.rows, strict=True)) if cells.rows else [() for _ in cells.names]
    comma = cells.separator != "," and any(
        _COMMA.fullmatch(t) and not THOUSANDS.fullmatch(t) for column in columns for t in column if "," in t
    )
    found: dict[str, Any] = {}
    for name, column in zip(cells.names, columns, strict=True):
        label = name in (labels or ())
        if label:
            _refuse_missing(cells, name, column, gone, way)
        values = _exact(column) if label else _by_content(column, gone, comma)
        found[name] = [None if text in gone else text for text in column] if values is None else values
    return pd.DataFrame(found, columns=list(cells.names), index=pd.RangeIndex(len(cells.rows)))


def _refuse_missing(cells: Cells, name: str, column: tuple[str, ...], gone: Collection[str], way: str) -> None:
    row = next((i for i, text in enumerate(column) if text and text in gone), None)
    if row is not None:
        raise ValueError(
            f"{cells.path}: line {cells.lines[row]}, column {name!r}: expected a group label, found {column[row]!r}, "
            f"which is read "
            f"as a missing value; where it is a label (NA: Namibia), say {way}, so that only empty cells are "
            f"missing; else "
            "fill or drop the row"
        )


def _exact(column: tuple[str, ...]) -> list[Any] | None:
    """Whole numbers, or true and false, where they print as what is written in every row."""
    if all(map(_WHOLE.fullmatch, column)):
        return [int(text) for text in column]
    return [text == "True" for text in column] if set(column) <= {"True", "False"} else None


def _by_content(column: tuple[str, ...], gone: Collection[str], comma: bool) -> list[Any] | None:
    """Numbers, or true and false, where every cell that is there is one; None for text.

    With ``comma`` a comma is the decimal mark: another mark separates the fields of the file, and some number in it has
    a comma that cannot stand for thousands.
    """
    there = [text for text in column if text not in gone]
    if not there:
        return [float("nan")] * len(column)
    if all(text in _TRUTH for text in there) and len(there) == len(column):
        return [_TRUTH[text] for text in column]
    if any(map(_LEADING_ZERO.match, there)):
        return None
    if comma and any(map(_COMMA.fullmatch, there)) and not any("." in text for text in there):
        column, there = tuple(t.replace(",", ".") for t in column), [t.replace(",", ".") for t in there]
    if not all(map(_NUMBER.fullmatch, there)):
        return None
    if len(there) == len(column) and all(_WHOLE.fullmatch(text.strip().lstrip("+")) for text in there):
        return [int(text) for text in column]
    return [float("nan") if text in gone else float(text) for text in column]
