"""What each group says on its own, on the scale of its theta: where a shrinkage plot's arrows begin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiermodels.models.problem import Data, Problem

__all__ = ["raw_estimates"]


def raw_estimates(values: Mapping[str, Any], problem: Problem, level: str) -> np.ndarray:
    """Estimate of each group from its own rows alone.

    Normal: the precision-weighted mean of the outcome, less what the population's predictors explain at their
    posterior medians; a coarser group is the unweighted mean of its finest groups, as without pooling.
    Binomial and Poisson: outcomes per trial or unit of exposure; with normal groups its logit or logarithm, half an event added, less
    the mean of what the predictors explain.

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
        return _sums(data.y, data, finest, problem) / _sums(data.size, data, finest, problem)
    if not layout.link.identity:
        return _on_link_scale(values, problem, i)
    y = np.array(data.y)
    for c in layout.population:
        if layout.columns[c] != "Intercept":
            y -= data.x[:, c] * np.median(values[layout.columns[c]])
    base = i if not layout.nested else finest
    mean = _sums(data.weight * y, data, base, problem) / _sums(data.weight, data, base, problem)
    if base == i:
        return mean
    pairs = np.unique(np.stack([data.group[finest], data.group[i]])[:, np.asarray(data.weight) > 0], axis=1)
    owner = np.searchsorted(problem.positions[level], pairs[1])
    mean = mean[np.searchsorted(problem.positions[names[finest]], pairs[0])]
    return np.bincount(owner, mean) / np.bincount(owner)


def _on_link_scale(values: Mapping[str, Any], problem: Problem, i: int) -> np.ndarray:
    layout, data = problem.layout, problem.data
    y, size = _sums(data.y, data, i, problem), _sums(data.size, data, i, problem)
    raw = layout.link.empirical(y, size)
    explained = np.zeros(layout.obs)
    for c in layout.population:
        if layout.columns[c] != "Intercept":
            explained += data.x[:, c] * np.median(values[layout.columns[c]])
    return raw - _sums(data.size * explained, data, i, problem) / size


def _sums(rows: Any, data: Data, i: int, problem: Problem) -> np.ndarray:
    """Sum rows into the real groups of a level."""
    level = problem.layout.levels[i]
    return np.bincount(data.group[i], rows, level.size)[problem.positions[level.name]]
