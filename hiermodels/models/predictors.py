"""The design matrix of a formula's terms: numbers as they are, labels as indicators of each but the reference.

What a column's cells are is said in `hiermodels.models.coded_factors`. An indicator is left out where the terms of
lower degree span it already, so that the columns have full rank for any formula: the rule of R's and patsy's formulas
(Smith et al., patsy's manual, "Redundancy and categorical factors"), applied to the terms by degree, as R sorts them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiermodels.models.coded_factors import CodedFactor, coded_factor
from hiermodels.models.columns import shown_cell
from hiermodels.models.expressions import Computed, Factor, Labels, quoted
from hiermodels.models.formula import MOST_TERMS
from hiermodels.models.terms import Term, Terms
from hiermodels.models.tokens import shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FactorCode", "columns", "factor_codes", "notes"]

MOST_COLUMNS = 2000
"""Columns that a design matrix may have."""

_Subterm = frozenset[tuple[Factor, bool]]
"""Labels whose indicators are multiplied, each with all of its labels (True) or without the reference (False)."""


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
    coded = {factor: coded_factor(factor, frame, fitted, formula, where) for factor in factors}
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
        coded = coded_factor(factor, frame, frame, formula, "")
        found[factor] = FactorCode(coded.values, None if coded.levels is None else tuple(coded.levels.names))
    return found


def notes(sides: Iterable[Terms], frame: pd.DataFrame, formula: str) -> list[str]:
    """What deserves a word about labels: categories without a row, and references that the alphabet chose."""
    found = []
    for factor in dict.fromkeys(
        f for side in sides for term in side.terms for f in term if not isinstance(f, Computed)
    ):
        levels = coded_factor(factor, frame, frame, formula, "").levels
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
    those that earlier terms (with the same numbers as factors) cover are dropped, and the others are joined where a
    smaller one fills up a larger.
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
    term: Term, subterms: list[_Subterm], coded: dict[Factor, CodedFactor]
) -> Iterator[tuple[str, np.ndarray]]:
    for subterm in subterms:
        full = dict(subterm)
        parts = [coded[f].columns(full.get(f, True)) for f in term if f in full or coded[f].levels is None]
        for product in itertools.product(*map(list, parts)):
            with np.errstate(all="ignore"):
                yield ":".join(name for name, _ in product), math.prod(values for _, values in product)  # type: ignore[misc]


def _check_size(codings: dict[Term, list[_Subterm]], coded: dict[Factor, CodedFactor], formula: str) -> None:
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
