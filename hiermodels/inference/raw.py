"""What each group says on its own, on the scale of its theta: where a shrinkage plot's arrows begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiermodels.models.problem import Problem

__all__ = ["raw_estimates"]


def raw_estimates(values: Mapping[str, Any], problem: Problem, level: str) -> np.ndarray:
    """Estimate of each group from its own rows alone.

    Normal: the precision-weighted mean of the outcome, less what the population's predictors explain at their posterior
    medians; a coarser group is the unweighted mean of its finest groups, as without pooling. Probabilities and rates:
    events per trial or unit of exposure. Normal groups under a link: the linear predictor of a group's outcomes as its
    family takes it (counts: half an event added), less the mean of what the predictors explain.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by variable.
    problem : Problem
    level : str
        Name of the grouping.

    Returns
    -------
    ndarray, shape (group,)
    """
    layout, data = problem.layout, problem.data
    names = [lv.name for lv in layout.levels]
    i, finest = names.index(level), len(names) - 1
    if not layout.normal_groups:
        y, size = (
            problem.tree.sum_rows(rows, finest)
            for rows in layout.law.counted(np.asarray(data.y), np.asarray(data.size))
        )
        return y / size
    if not layout.link.identity:
        return _on_link_scale(values, problem, i)
    y = np.array(data.y)
    for c in layout.population:
        if layout.columns[c] != "Intercept":
            y -= data.x[:, c] * np.median(values[layout.columns[c]])
    base = i if not layout.nested else finest
    mean = problem.tree.sum_rows(data.weight * y, base) / problem.tree.sum_rows(data.weight, base)
    if base == i:
        return mean
    return problem.tree.sum_up(mean, finest, i) / problem.tree.sum_up(np.ones(len(mean)), finest, i)


def _on_link_scale(values: Mapping[str, Any], problem: Problem, i: int) -> np.ndarray:
    layout, data = problem.layout, problem.data
    y, size = problem.tree.sum_rows(data.y, i), problem.tree.sum_rows(data.size, i)
    raw = layout.law.empirical(y, size)
    explained = np.zeros(layout.obs)
    for c in layout.population:
        if layout.columns[c] != "Intercept":
            explained += data.x[:, c] * np.median(values[layout.columns[c]])
    return raw - problem.tree.sum_rows(data.size * explained, i) / size
