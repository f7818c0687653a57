"""Rows L of linear hypotheses and of marginal means, free of the reference labels that the coefficients happen to have.

The design is written again with sum-to-zero contrasts of labels. In that coding a term's coefficients are its effect
averaged over the labels of all others, each label with the same weight: the hypotheses that they are zero are those of
type III (Yates 1934; Searle, Speed & Milliken 1980, The American Statistician 34, 216-221, for the marginal means), as
lmerTest's and SAS's are where every cell has data.
"""

from __future__ import annotations

import difflib
import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from hiermodels.inference.mixed.identified import spans
from hiermodels.models.expressions import Factor
from hiermodels.models.predictors import FactorCode, factor_codes
from hiermodels.models.terms import Term, Terms, term_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Hypotheses"]


@dataclass(frozen=True)
class Hypotheses:
    """The hypotheses that a formula's terms stand for.

    Attributes
    ----------
    terms : Terms
        Of the population.
    frame : DataFrame
    formula : str
    names : tuple of str
        Coefficients, in the order of the rows' entries.
    x : ndarray, shape (row, p)
        Their columns.
    """

    terms: Terms
    frame: pd.DataFrame
    formula: str
    names: tuple[str, ...]
    x: np.ndarray

    @cached_property
    def _codes(self) -> dict[Factor, FactorCode]:
        return factor_codes(self.terms, self.frame, self.formula)

    @cached_property
    def _summed(self) -> tuple[dict[Term | None, slice], np.ndarray] | None:
        """Where each term's coefficients stand in sum-to-zero coding (None: the intercept), and the matrix from b to
        them.
        """
        ones = np.ones((len(self.x), 1))
        parts: dict[Term | None, np.ndarray] = {None: ones} if spans(self.x, ones) else {}
        parts |= {term: _products([_sum_coded(self._codes[f]) for f in term]) for term in self.terms.terms}
        other = np.concatenate(list(parts.values()), 1)
        if other.shape[1] != self.x.shape[1] or not spans(other, self.x):
            return None
        ends = np.cumsum([part.shape[1] for part in parts.values()])
        places = {
            term: slice(int(end) - part.shape[1], int(end))
            for (term, part), end in zip(parts.items(), ends, strict=True)
        }
        return places, np.linalg.lstsq(other, self.x, rcond=None)[0]

    @property
    def tested(self) -> list[str]:
        """Names of the terms, as `rows` takes them."""
        return [term_name(term) for term in self.terms.terms]

    def rows(self, name: str) -> np.ndarray:
        """L of the hypothesis that a term has no effect, or that a coefficient is zero.

        Raises
        ------
        ValueError
            For a name that is neither, and for a term whose lower terms the formula leaves out.
        """
        term = self._term(name)
        if term is not None:
            if self._summed is None:
                raise ValueError(
                    f"test: {name}: the formula leaves out a term that lies within another, so its effect has no "
                    f"average over labels; "
                    f"use contrast(...) with the coefficients {', '.join(self.names)[:200]}"
                )
            places, matrix = self._summed
            return matrix[places[term]]
        if name in self.names:
            return np.eye(len(self.names))[[self.names.index(name)]]
        known = [*self.tested, *(n for n in self.names if n not in self.tested)]
        near = difflib.get_close_matches(str(name), known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(known)[:300]}"
        raise ValueError(f"test: expected a term or a coefficient of {self.formula!r}, found {name!r}; {hint}")

    def has(self, name: str) -> bool:
        """Whether a name is a term or a coefficient."""
        return self._term(name) is not None or name in self.names

    def _term(self, name: str) -> Term | None:
        wanted = sorted(str(name).replace(" ", "").split(":"))
        for term in self.terms.terms:
            if term_name(term) == name or sorted(str(f).replace(" ", "") for f in term) == wanted:
                return term
        return None

    def means(self, name: str) -> tuple[list[str], np.ndarray]:
        """Labels and rows of the marginal means of a term: each combination of its labels, numbers at their means.

        Raises
        ------
        ValueError
            For a term without labels, and as `rows`.
        """
        self.rows(name)
        term = self._term(name)
        labelled = [f for f in term or () if self._codes[f].labels is not None]
        if not labelled or self._summed is None:
            with_labels = [str(f) for f, code in self._codes.items() if code.labels is not None]
            hint = f"use one of {', '.join(with_labels)}" if with_labels else "the formula has none; use contrast(...)"
            raise ValueError(f"marginal_means: expected a term of labels, found {name!r}; {hint}")
        places, matrix = self._summed
        names, rows = [], []
        for combination in itertools.product(*(range(len(self._codes[f].labels or ())) for f in labelled)):
            chosen = dict(zip(labelled, combination, strict=True))
            row = np.zeros(len(matrix))
            for other, place in places.items():
                parts = [self._at(f, chosen) for f in other or ()]
                row[place] = _products(parts)[0] if parts else 1.0
            names.append(", ".join((self._codes[f].labels or ())[i] for f, i in chosen.items()))
            rows.append(row @ matrix)
        return names, np.array(rows)

    def _at(self, factor: Factor, chosen: dict[Factor, int]) -> np.ndarray:
        """One row of a factor: at a label that was chosen, averaged over labels (0 in this coding), or at the mean of
        numbers.
        """
        code = self._codes[factor]
        if code.labels is None:
            return np.array([[code.values.mean()]])
        if factor not in chosen:
            return np.zeros((1, len(code.labels) - 1))
        return _sum_coded(FactorCode(np.array([chosen[factor]]), code.labels))


def _sum_coded(code: FactorCode) -> np.ndarray:
    """Numbers as one column; labels as indicators of all but the first, less the first's."""
    if code.labels is None:
        return np.asarray(code.values, float)[:, None]
    indicators = np.eye(len(code.labels))[code.values]
    return indicators[:, 1:] - indicators[:, :1]


def _products(parts: list[np.ndarray]) -> np.ndarray:
    """Products of every combination of the parts' columns, row by row."""
    found = parts[0]
    for part in parts[1:]:
        found = (found[:, :, None] * part[:, None, :]).reshape(len(found), -1)
    return found
