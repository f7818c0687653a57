"""Datasets that `hiermodels.fit` would refuse, in a study: replicates without estimates, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.models.counts import count_tree
from hiermodels.models.data import bind
from hiermodels.models.problem import Problem
from hiermodels.models.propriety import left_over
from hiermodels.models.propriety_counts import check_counts
from hiermodels.studies.mechanisms.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["blanked", "exactly_fitted", "refusals", "refused_counts", "smaller_designs"]

_NUMBERS = ("estimate", "median", "se", "lower", "upper", "rank", "max_rank", "rhat", "ess_bulk", "ess_tail")
_FEW = 64
"""Rows that are looked at first."""


def blanked(found: Estimates, gone: np.ndarray) -> Estimates:
    """Estimates with some taken away: missing numbers of status ``nonfinite``.

    Parameters
    ----------
    found : Estimates
        NumPy arrays, a row a replicate.
    gone : ndarray of bool, shape (replicate, target)
    """
    blank: dict[str, Any] = {name: np.where(gone, np.nan, getattr(found, name)) for name in _NUMBERS}
    blank["status"] = np.where(gone, STATUS.index("nonfinite"), found.status)
    return replace(found, **blank)


def refusals(problem: Problem, tables: Mapping[int, pd.DataFrame]) -> dict[int, str]:
    """Why a model cannot be fitted to some datasets, by their place: the words of `hiermodels.fit`; nothing of those
    that it takes.

    Parameters
    ----------
    problem : Problem
        Of a method with priors.
    tables : mapping of int to DataFrame
        Datasets, outcome included.
    """
    found = {}
    for place, table in tables.items():
        try:
            bind(problem.model, table, problem.pooling, scales=problem.scales)
        except ValueError as error:
            found[place] = str(error)
    return found


def refused_counts(problem: Problem, outcomes: np.ndarray) -> np.ndarray:
    """Datasets whose counts `hiermodels.fit` may refuse, (dataset,): an improper posterior shows in no number of a
    quadrature.

    Without predictors the conditions look at three numbers only, and each combination is judged once; with predictors a
    dataset is doubtful where few rows are neither without events nor without anything else.

    Parameters
    ----------
    problem : Problem
    outcomes : ndarray, shape (dataset, row)
    """
    layout, data = problem.layout, problem.data
    if layout.normal_groups:
        return np.zeros(len(outcomes), bool)
    rows = np.asarray(data.size) > 0
    outcomes = np.asarray(outcomes)[:, rows]
    y, size = layout.law.counted(outcomes, np.broadcast_to(np.asarray(data.size)[rows], outcomes.shape))
    inside = layout.law.informative(y, size)
    columns = [c for c in layout.population if layout.columns[c] != "Intercept"]
    if columns:
        return inside.sum(1) <= 3 * (len(columns) + 1)
    unit = data.group[count_tree(layout).unit][rows] if count_tree(layout).unit >= 0 else np.arange(rows.sum())
    groups = [np.unique(np.asarray(unit)[row]).size for row in inside]
    seen, which = np.unique(
        np.stack([groups, np.minimum(y.sum(1), 99), np.minimum((size - y).sum(1), 99)], 1), axis=0, return_inverse=True
    )
    found = np.zeros(len(seen), bool)
    for k in range(len(seen)):
        try:
            check_counts(layout, problem.with_outcome(y[np.argmax(which.ravel() == k)]), outcome=True)
        except ValueError:
            found[k] = True
    return found[which.ravel()]


def exactly_fitted(problem: Problem, rows: Rows) -> np.ndarray:
    """Datasets whose rows coefficients and groups may fit exactly, (dataset,): where sigma has a say, nothing keeps it
    from zero.

    Of `student_t`, equal outcomes are enough.

    Parameters
    ----------
    problem : Problem
    rows : Rows
        NumPy arrays with a leading dataset axis, on the rows of the method.
    """
    layout, outcomes = problem.layout, np.asarray(rows.y)
    if layout.residual_sd is None:
        return np.zeros(len(outcomes), bool)
    if not layout.gaussian:
        ordered = np.sort(outcomes[:, np.asarray(problem.data.weight) > 0], axis=1)
        return np.any(ordered[:, 1:] == ordered[:, :-1], axis=1)
    data, weight = problem.data, np.asarray(problem.data.weight)
    if left_over(layout, data, outcomes[:1])[0] == 0:  # the prior alone keeps sigma from zero, whatever the outcome
        return np.zeros(len(outcomes), bool)
    if rows.complete and not rows.design:
        first = np.argsort(data.group[-1] if layout.levels else np.zeros(len(weight)), kind="stable")[:_FEW]
        few = replace(data, weight=np.where(np.isin(np.arange(len(weight)), first), weight, 0.0))
        found = ~left_over(layout, few, outcomes)[1]  # what few rows leave over all of them do
        found[found] = ~left_over(layout, data, outcomes[found])[1]
        return found
    found = np.zeros(len(outcomes), bool)
    for i, y in enumerate(outcomes):
        there = weight if rows.complete else weight * (rows.weight[i] > 0)
        changed = replace(data, **{"weight": there, **{name: a[i] for name, a in rows.design.items()}})
        found[i] = not left_over(layout, changed, y[None])[1][0]
    return found


def smaller_designs(problem: Problem, changes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Datasets whose design spans less than that which the model is bound to, or has no finite value; (dataset,).

    Columns are looked at, and their deviations from the means of each level's groups.

    Parameters
    ----------
    problem : Problem
    changes : mapping of str to ndarray
        As `hiermodels.studies.mechanisms.predictors.redesign` gives them.
    """
    return _smaller(problem, np.asarray(changes["x"])) if "x" in changes else np.zeros(0, bool)


def _smaller(problem: Problem, x: np.ndarray) -> np.ndarray:
    """Datasets whose columns span less than those of the problem's own design, (dataset,)."""
    data = problem.data
    rows = np.asarray(data.size) > 0
    scale = np.abs(np.asarray(data.x)[rows]).max(0, initial=0.0)
    both = np.concatenate([np.asarray(data.x)[None], x])[:, rows] / np.where(scale > 0, scale, 1.0)
    unclear = ~np.isfinite(both).all((1, 2))
    both[unclear] = 0.0
    parts = [both, *(_within(both, np.asarray(g)[rows]) for g in data.group)]
    ranks = np.stack([np.linalg.matrix_rank(part) for part in parts])
    return (ranks[:, 1:] < ranks[:, :1]).any(0) | unclear[1:]


def _within(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Deviations from the means of groups, (dataset, row, column)."""
    sums = np.zeros((x.shape[0], group.max() + 1, x.shape[2]))
    np.add.at(sums, (slice(None), group), x)  # type: ignore[arg-type]
    count = np.bincount(group, minlength=sums.shape[1])
    return x - (sums / np.maximum(count, 1)[:, None])[:, group]
