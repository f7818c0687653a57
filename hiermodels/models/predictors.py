"""The design matrix of a formula's terms: numbers as they are, labels as indicators of each but the reference.

A column's cells decide what it is: numbers (also as objects, or as text of which every cell is a number) and truth
values are one
column, text and categories are labels, ``C(x)`` makes labels of numbers. Labels are in the order of their categories,
else sorted; the
first is the reference, ``C(x, 'b')`` sets another. An indicator is left out where the terms of lower degree span it
already, so that
the columns have full rank for any formula: the rule of R's and patsy's formulas (Smith et al., patsy's manual,
"Redundancy and
categorical factors"), applied to the terms by degree, as R sorts them.
"""

from __future__ import annotations

import datetime
import itertools
import math
import re
from collections.abc import Iterable, Iterator
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
from hiermodels.models.formula import MOST_TERMS
from hiermodels.models.groupings import Grouping, read_labels
from hiermodels.models.labels import find_label
from hiermodels.models.terms import Term, Terms
from hiermodels.models.tokens import shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FactorCode", "columns", "factor_codes", "notes"]

MOST_COLUMNS = 2000
"""Columns that a design matrix may have."""

_DATE = re.compile(r"\s*(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4})(?:[ T]\d.*)?\s*", re.ASCII)
_PERCENT = re.compile(r"\s*[+-]?\d+(?:\.\d*)?\s*%\s*", re.ASCII)

_Subterm = frozenset[tuple[Factor, bool]]
"""Labels whose indicators are multiplied, each with all of its labels (True) or without the reference (False)."""


@dataclass(frozen=True)
class _Levels:
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
class _Coded:
    """A factor in the rows of a frame: numbers, or the place of each row's label."""

    factor: Factor
    values: np.ndarray
    levels: _Levels | None = None

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


def columns(
    terms: Terms, frame: pd.DataFrame, formula: str, like: pd.DataFrame | None = None, where: str = ""
) -> tuple[list[str], np.ndarray]:
    """Columns of the design matrix.

    Parameters
    ----------
    terms : Terms
        One side of a formula.
    frame : DataFrame
        Missing values are refused.
    formula : str
        The whole formula, for messages.
    like : DataFrame, optional
        The fitted rows, whose labels, references, means and sds code the rows of ``frame``; default ``frame`` itself.
    where : str
        What the frame is, for messages: ``"new_data, "``.

    Returns
    -------
    names : list of str
        ``Intercept`` first where there is one; ``x``, ``x:z``, ``arm[b]``, ``log(x)``.
    matrix : ndarray, shape (row, column)

    Raises
    ------
    ValueError
        For a column that is not there, and for a cell that is missing, not finite or of the wrong kind: naming column
        and row.

    Examples
    --------
    >>> import pandas as pd
    >>> from hiermodels.models.formula import parse_terms
    >>> columns(parse_terms("x * arm"), pd.DataFrame({"x": [1.0, 2.0], "arm": ["a", "b"]}), "y ~ x * arm")[0]
    ['Intercept', 'x', 'arm[b]', 'x:arm[b]']
    """
    fitted = frame if like is None else like
    factors = dict.fromkeys(f for term in terms.terms for f in term)
    coded = {factor: _coded(factor, frame, fitted, formula, where) for factor in factors}
    codings = _codings(terms, {f for f in factors if coded[f].levels is not None}, formula)
    _check_size(codings, coded, formula)
    found: dict[str, np.ndarray] = {"Intercept": np.ones(len(frame))} if terms.intercept else {}
    for term, subterms in codings.items():
        for name, values in _term_columns(term, subterms, coded):
            if not np.isfinite(values).all():
                _refuse_value(name, term, values, frame, formula, where)
            if name in found:
                raise ValueError(
                    f"formula {shortened(formula)}: two terms give a column {name!r}; rename a column of the data"
                )
            found[name] = values
    return list(found), np.stack(list(found.values()), axis=1) if found else np.zeros((len(frame), 0))


@dataclass(frozen=True)
class FactorCode:
    """What one factor of a formula holds in the rows of a frame.

    Attributes
    ----------
    values : ndarray, shape (row,)
        Numbers, or the place of each row's label.
    labels : tuple of str or None
        Labels in order; None for numbers.
    """

    values: np.ndarray
    labels: tuple[str, ...] | None


def factor_codes(terms: Terms, frame: pd.DataFrame, formula: str) -> dict[Factor, FactorCode]:
    """Each factor of a formula's terms in the rows of a frame.

    Examples
    --------
    >>> import pandas as pd
    >>> from hiermodels.models.formula import parse_terms
    >>> codes = factor_codes(parse_terms("x + arm"), pd.DataFrame({"x": [1.0, 2.0], "arm": ["a", "b"]}), "y ~ x + arm")
    >>> [code.labels for code in codes.values()]
    [None, ('a', 'b')]
    """
    found = {}
    for factor in dict.fromkeys(f for term in terms.terms for f in term):
        coded = _coded(factor, frame, frame, formula, "")
        found[factor] = FactorCode(coded.values, None if coded.levels is None else tuple(coded.levels.names))
    return found


def notes(sides: Iterable[Terms], frame: pd.DataFrame, formula: str) -> list[str]:
    """What deserves a word about labels: categories without a row, and references that the alphabet chose."""
    found = []
    for factor in dict.fromkeys(
        f for side in sides for term in side.terms for f in term if not isinstance(f, Computed)
    ):
        levels = _coded(factor, frame, frame, formula, "").levels
        if levels is None:
            continue
        name, reference = str(factor), levels.names[levels.reference]
        other = f"C({quoted(factor.columns[0])}, {levels.names[-1]!r})"
        if levels.unused:
            unused = ", ".join(map(repr, levels.unused[:5])) + (", ..." if len(levels.unused) > 5 else "")
            found.append(
                f"{name}: no row has category {unused}, so it has no coefficient; the reference is {reference!r}"
            )
        elif levels.by_alphabet and not (isinstance(factor, Labels) and factor.reference is not None):
            found.append(f"{name}: text in alphabetical order, so {reference!r} is the reference; {other} sets another")
    return found


# coding -------------------------------------------------------------------------------------------------------


def _codings(terms: Terms, labelled: set[Factor], formula: str) -> dict[Term, list[_Subterm]]:
    """Which indicators stand for each term, so that no column repeats what others span.

    A term's span is that of the products of its labels' indicators without reference over all subsets of its labels;
    those that
    earlier terms (with the same numbers as factors) cover are dropped, and the others are joined where a smaller one
    fills up a larger.
    """
    used: dict[frozenset[Factor], set[_Subterm]] = {frozenset(): {frozenset()} if terms.intercept else set()}
    found: dict[Term, list[_Subterm]] = {}
    for term in sorted(terms.terms, key=len):
        labels = [f for f in term if f in labelled]
        if 2 ** len(labels) > MOST_TERMS:
            raise ValueError(
                f"formula {shortened(formula)}: an interaction of {len(labels)} columns of labels is too large; name "
                f"fewer"
            )
        before = used.setdefault(frozenset(term) - frozenset(labels), set())
        subsets = (s for size in range(len(labels) + 1) for s in itertools.combinations(labels, size))
        subterms = [s for s in (frozenset((f, False) for f in subset) for subset in subsets) if s not in before]
        before.update(subterms)
        found[term] = _joined(subterms)
    return {term: found[term] for term in terms.terms}


def _joined(subterms: list[_Subterm]) -> list[_Subterm]:
    """Subterms with each smaller one taken into a larger: ``1 + a-`` is ``a+``, all labels of a."""
    for i, short in enumerate(subterms):
        for j in range(i + 1, len(subterms)):
            extra = subterms[j] - short
            if short <= subterms[j] and len(extra) == 1 and not next(iter(extra))[1]:
                joined = short | {(next(iter(extra))[0], True)}
                return _joined([*subterms[:i], *subterms[i + 1 : j], joined, *subterms[j + 1 :]])
    return subterms


def _term_columns(
    term: Term, subterms: list[_Subterm], coded: dict[Factor, _Coded]
) -> Iterator[tuple[str, np.ndarray]]:
    for subterm in subterms:
        full = dict(subterm)
        parts = [coded[f].columns(full.get(f, True)) for f in term if f in full or coded[f].levels is None]
        for product in itertools.product(*map(list, parts)):
            with np.errstate(all="ignore"):
                yield ":".join(name for name, _ in product), math.prod(values for _, values in product)  # type: ignore[misc]


def _check_size(codings: dict[Term, list[_Subterm]], coded: dict[Factor, _Coded], formula: str) -> None:
    """Refuse terms without a column, and too many of them."""
    total = 0
    for term, subterms in codings.items():
        for subterm in subterms:
            sizes = {f: coded[f].size(full) for f, full in subterm}
            alone = next((f for f, size in sizes.items() if size == 0), None)
            if alone is not None:
                label = coded[alone].levels.names[0]  # type: ignore[union-attr]
                raise ValueError(
                    f"formula {shortened(formula)}: {str(alone)[:80]!r} is {label[:60]!r} in every row, so it has "
                    f"nothing to compare; "
                    f"drop it"
                )
            total += math.prod(sizes.values())
        if total > MOST_COLUMNS:
            raise ValueError(
                f"formula {shortened(formula)}: {':'.join(map(str, term))[:80]!r} takes the design beyond "
                f"{MOST_COLUMNS} columns; "
                f"let it vary by group, as in (1 | g), or join labels"
            )


def _refuse_value(name: str, term: Term, values: np.ndarray, frame: pd.DataFrame, formula: str, where: str) -> None:
    row = int(np.argmax(~np.isfinite(values)))
    cells = ", ".join(f"{c} = {shown_cell(frame[c].iloc[row])}" for f in term for c in f.columns)
    raise ValueError(
        f"formula {shortened(formula)}: {where}term {name[:80]!r} is not finite at row {row} ({cells[:150]}); check "
        f"that column's values"
    )


# cells --------------------------------------------------------------------------------------------------------


def _coded(factor: Factor, frame: pd.DataFrame, fitted: pd.DataFrame, formula: str, where: str) -> _Coded:
    for name in factor.columns:
        for table, prefix in ((fitted, ""), (frame, where)):
            require_column(table, name, f"{prefix}formula {shortened(formula)}")
            _require_complete(table[name], name, prefix)
    if isinstance(factor, Computed):
        here, then = ({c: _numbers(t, c, str(factor), where) for c in factor.columns} for t in (frame, fitted))
        with np.errstate(all="ignore"):  # what is not finite is said with its row
            values = factor.expression.evaluate(here, then)
        return _Coded(factor, np.broadcast_to(np.asarray(values, float), len(frame)))
    name = factor.column
    if isinstance(factor, Column) and not _holds_labels(fitted[name], name):
        return _Coded(factor, _numbers(frame, name, name, where))
    levels = _levels(fitted, name, factor.reference if isinstance(factor, Labels) else None)
    return _Coded(factor, levels.index(frame, where), levels)


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


def _levels(frame: pd.DataFrame, name: str, reference: str | None) -> _Levels:
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
    return _Levels(groups, place, unused, by_alphabet)
