"""Tests of terms as estimands, ``test(recipe)``: what they test, and whether there is an effect in truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.direct import has_tests
from hiermodels.inference.mixed.hypotheses import Hypotheses
from hiermodels.inference.summaries import Target
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Problem
from hiermodels.studies.config import Estimand, Method

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["test_of", "tested", "whether_an_effect"]


def test_of(method: Method, problem: Any, frame: pd.DataFrame, estimand: Estimand) -> Target | None:
    """The test of a term by a method that has tests; None for any other method, and where its formula has no such term.

    Raises
    ------
    ValueError
        Starting with ``methods`` where the formula leaves out a term that lies within another.
    """
    if method.estimator is None or not has_tests(method.estimator, problem):
        return None
    return tested(problem, frame, estimand)


def tested(problem: Problem, frame: pd.DataFrame, estimand: Estimand) -> Target | None:
    """What a test of a term tests in a formula on its design; None where the formula has no such term."""
    layout = problem.layout
    names = tuple(layout.columns[c] for c in layout.population)
    x = np.asarray(problem.data.x)[: len(frame), list(layout.population)]
    hypotheses = Hypotheses(problem.model.parsed.population, frame, problem.model.formula, names, x)
    if not hypotheses.has(estimand.variable):
        return None
    rows = hypotheses.rows(estimand.variable)
    return Target(estimand.quantity, rows=tuple(map(tuple, np.where(np.abs(rows) < 1e-12, 0.0, rows).tolist())))


def whether_an_effect(layout: Layout, target: Target, true: Mapping[str, np.ndarray], count: int) -> np.ndarray:
    """1 where the hypothesis of a test is false in truth, 0 where it is true; NaN where a coefficient has no true
    value.

    Parameters
    ----------
    layout : Layout
    target : Target
        Of a test.
    true : mapping of str to ndarray
        True values by variable, a replicate each.
    count : int
        Replicates.
    """
    names, rows = [layout.columns[c] for c in layout.population], np.array(target.rows)
    wanted = [name for name, used in zip(names, (rows != 0).any(axis=0), strict=True) if used]
    if any(name not in true for name in wanted):
        return np.full(count, np.nan)
    b = np.stack([true[name].reshape(count) if name in wanted else np.zeros(count) for name in names], 1)
    return (np.abs(b @ rows.T) > 1e-12).any(1).astype(float)
