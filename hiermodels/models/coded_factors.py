"""One factor of a formula in the rows of a frame: numbers, or labels with a reference.

A column's cells decide what it is: numbers (also as objects, or as text of which every cell is a number) and truth
values are one column, text and categories are labels, ``C(x)`` makes labels of numbers. Labels are in the order of
their categories, else sorted; the first is the reference, ``C(x, 'b')`` sets another.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiermodels.models.columns import (
    DECIMAL_COMMA,
    as_numbers,
    decimal_point,
    kind_of,
    missing,
    number_of,
    require_column,
    shown_cell,
)
from hiermodels.models.expressions import Column, Computed, Factor, Labels, plain, quoted
from hiermodels.models.groupings import Grouping, read_labels
from hiermodels.models.labels import find_label
from hiermodels.models.tokens import shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CodedFactor", "FactorLevels", "coded_factor"]

_DATE = re.compile(r"\s*(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[ T]\d.*)?\s*", re.ASCII)
_PERCENT = re.compile(r"\s*[+-]?\d+(?:\.\d*)?\s*%\s*", re.ASCII)


@dataclass(frozen=True)
class FactorLevels:
    """Labels of a column in order, and the place of the reference."""

    groups: Grouping
    reference: int
    unused: tuple[str, ...] = ()
    by_alphabet: bool = False

    @property
    def names(self) -> list[str]:
        """Labels as names show them."""
        return self.groups.labels

    def index(self, frame: pd.DataFrame, where: str) -> np.ndarray:
        """Place of each row's label."""
        index, _ = self.groups.match(frame, where.rstrip(", ") or "data")
        if (index >= len(self.names)).any():
            row, name = int(np.argmax(index >= len(self.names))), self.groups.columns[0]
            raise ValueError(
                f"{where}column {name!r}, row {row}: expected one of the categories of the data "
                f"({', '.join(self.names)[:150]}), found {shown_cell(frame[name].iloc[row])}; use one of these"
            )
        return index


@dataclass(frozen=True)
class CodedFactor:
    """A factor in the rows of a frame: numbers, or the place of each row's label."""

    factor: Factor
    values: np.ndarray
    levels: FactorLevels | None = None

    def size(self, full: bool) -> int:
        """Columns of its own."""
        return 1 if self.levels is None else len(self.levels.names) - (not full)

    def columns(self, full: bool) -> Iterator[tuple[str, np.ndarray]]:
        """Names and values of its columns."""
        name = plain(str(self.factor))
        if self.levels is None:
            yield name, self.values
            return
        for i, label in enumerate(self.levels.names):
            if full or i != self.levels.reference:
                yield f"{name}[{label}]", (self.values == i).astype(float)


# cells --------------------------------------------------------------------------------------------------------


def coded_factor(factor: Factor, frame: pd.DataFrame, fitted: pd.DataFrame, formula: str, where: str) -> CodedFactor:
    """A factor in the rows of a frame, its labels coded as those of the fitted rows.

    Raises
    ------
    ValueError
        For a column that is not there, and for a cell that is missing or of the wrong kind: naming column and row.
    """
    for name in factor.columns:
        for table, prefix in ((fitted, ""), (frame, where)):
            require_column(table, name, f"{prefix}formula {shortened(formula)}")
            _require_complete(table[name], name, prefix)
    if isinstance(factor, Computed):
        here, then = ({c: _numbers(t, c, str(factor), where) for c in factor.columns} for t in (frame, fitted))
        with np.errstate(all="ignore"):  # what is not finite is said with its row
            values = factor.expression.evaluate(here, then)
        return CodedFactor(factor, np.broadcast_to(np.asarray(values, float), len(frame)))
    name = factor.column
    if isinstance(factor, Column) and not _holds_labels(fitted[name], name):
        return CodedFactor(factor, _numbers(frame, name, name, where))
    levels = _levels(fitted, name, factor.reference if isinstance(factor, Labels) else None)
    return CodedFactor(factor, levels.index(frame, where), levels)


def _require_complete(column: pd.Series, name: str, where: str) -> None:
    gone = missing(column)
    if gone.any():
        row = int(np.argmax(gone))
        raise ValueError(
            f"{where}column {name!r}, row {row}: expected a value, found a missing one; drop or fill the row"
        )


def _is_true_or_false(column: pd.Series) -> bool:
    import pandas as pd

    if pd.api.types.is_bool_dtype(column.dtype):
        return True
    return column.dtype == object and all(isinstance(v, bool | np.bool_) for v in column)


def _numbers(frame: pd.DataFrame, name: str, term: str, where: str) -> np.ndarray:
    """A column that is read as numbers; truth values are 1 and 0."""
    column = frame[name]
    if _is_true_or_false(column):
        return column.to_numpy(dtype=float)
    values, bad = as_numbers(column)
    if bad.any():
        _refuse_cell(column, name, term, int(np.argmax(bad)), int((~bad).sum()), where)
    if not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values)))
        raise ValueError(
            f"{where}column {name!r}, row {row}: expected a finite number, found {values[row]:g}; drop or mend the row"
        )
    return values


def _holds_labels(column: pd.Series, name: str) -> bool:
    """Whether a column stands for labels: a category, or text of which no cell is a number."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_complex_dtype(column.dtype):
        return False
    if _is_true_or_false(column):
        return False
    values, bad = as_numbers(column)
    if not bad.any():
        return False
    wrong, cells = np.flatnonzero(bad), column.tolist()
    strange = next((i for i in wrong if not isinstance(cells[i], str)), None)
    meant = strange is None and any(
        all(kind.fullmatch(cells[i]) for i in wrong) for kind in (DECIMAL_COMMA, _DATE, _PERCENT)
    )
    if strange is not None or meant or np.isfinite(values).any():
        _refuse_cell(column, name, name, int(wrong[0] if strange is None else strange), int((~bad).sum()), "")
    return True


def _refuse_cell(column: pd.Series, name: str, term: str, row: int, numbers: int, where: str) -> None:
    """Say that a cell is no number, and what the ways out are."""
    cell = column.iloc[row]
    many = f" (as in {numbers} of {len(column)} rows)" if numbers else ""
    if isinstance(cell, datetime.date | datetime.timedelta | np.datetime64 | np.timedelta64) or hasattr(
        cell, "ordinal"
    ):
        way = "write dates and times as numbers, e.g. days since the first, (t - t.min()).dt.days"
    elif isinstance(cell, str) and _DATE.fullmatch(cell):
        way = f"write dates as numbers, e.g. days since the first, or C({quoted(name)}) where these are labels"
    elif isinstance(cell, str) and _PERCENT.fullmatch(cell):
        way = f"write the number alone: {cell.strip().rstrip('% ')}"
    elif isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell):
        way = decimal_point(cell)
    elif isinstance(cell, str) and term == name:
        text = "" if all(isinstance(c, str) for c in column) else "make it text with .map(str) and "
        way = f"mend that cell or drop the row, or {text}write C({quoted(name)}) where these are labels"
    elif isinstance(cell, str):
        way = "numbers are computed from columns of numbers"
    else:
        way = f"a predictor is a number or a text in every row, not {kind_of(cell)}"
    raise ValueError(f"{where}column {name!r}, row {row}: expected a number{many}, found {shown_cell(cell)}; {way}")


# labels -------------------------------------------------------------------------------------------------------


def _levels(frame: pd.DataFrame, name: str, reference: str | None) -> FactorLevels:
    """Labels in category order, else sorted: numbers (also as text) by size, text by alphabet."""
    import pandas as pd

    codes, labels = read_labels(frame, name, "data")
    there = set(codes.tolist())
    used = [label for i, label in enumerate(labels) if i in there]
    unused = tuple(str(label) for i, label in enumerate(labels) if i not in there)
    by_alphabet = False
    if not isinstance(frame[name].dtype, pd.CategoricalDtype) and used[0].kind != "other":
        numbers = [number_of(label.value) for label in used]
        by_alphabet = used[0].kind == "text" and None in numbers
        order = sorted(
            range(len(used)), key=lambda i: str(used[i]) if by_alphabet else (numbers[i] or 0, used[i].value)
        )
        used = [used[i] for i in order]
    groups = Grouping((name,), tuple((label,) for label in used))
    place = 0 if reference is None else find_label(reference, groups.labels)
    if place is None:
        raise ValueError(
            f"C({quoted(name)}, {shortened(reference, 60)}): expected a label of the data as reference "
            f"({', '.join(groups.labels)[:150]}), found {shortened(reference, 60)}; use one of these"
        )
    return FactorLevels(groups, place, unused, by_alphabet)
