"""Groups whose deviation has no closed form: their rows' density by a sum over places of the deviation.

    p(y_j | rest) = integral of prod_i f(y_i | eta_i + x_i sd z) phi(z) dz

The integrand is laid out around its mode, found by Fisher scoring, in steps of a third of its own sd (1 / sqrt of its
curvature): the trapezoidal rule on a smooth function that has died away at both ends errs less than any draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from hiermodels.families.rows import Rows
from hiermodels.inference.group_messages import deviations, information
from hiermodels.models.outcomes import log_density, row_law
from hiermodels.models.problem import Problem
from hiermodels.quantities import sd_name

__all__ = ["integrated_log_likelihood", "why_not"]

Values = Mapping[str, Any]

_STEPS = 24
"""Places on either side of the mode."""
_STEP = 1 / 3
_WIDE = 240
"""Places of a t law, whose density may have several peaks: from the outermost of them to the other end of the
deviations' own law.
"""
_REACH = 9.0
_SCORING = 30
_BLOCK = 2_000_000
"""Numbers (draws times rows) at a time."""


def why_not(problem: Problem, i: int) -> str:
    """What keeps the deviations of a level from being integrated one by one; empty where nothing does."""
    layout = problem.layout
    level = layout.levels[i]
    if any(v.parent == i for v in layout.levels):
        below = next(v.name for v in layout.levels if v.parent == i)
        return f"{below} lies below {level.name}"
    if len(level.effects) != 1:
        return f"{len(level.effects)} coefficients vary by {level.name}"
    return ""


def integrated_log_likelihood(values: Values, problem: Problem, i: int) -> np.ndarray:
    """Log density of each group's rows given everything but its own deviation; (draw, group).

    Parameters
    ----------
    values : mapping
        From `hiermodels.inference.group_messages.flat_draws`.
    i : int
        Position of a level with one varying coefficient and no level below it.
    """
    draws = len(next(iter(values.values())))
    step = max(1, _BLOCK // len(problem.data.y))
    blocks = [{k: x[s : s + step] for k, x in values.items()} for s in range(0, draws, step)]
    return np.concatenate([_block(block, problem, i) for block in blocks])


def _block(values: Values, problem: Problem, i: int) -> np.ndarray:
    layout, data = problem.layout, problem.data
    level = layout.levels[i]
    c = level.effects[0]
    place = np.asarray(data.group[i])
    rows = np.argsort(place, kind="stable")
    rows = rows[np.asarray(data.size)[rows] > 0]
    rows = rows[np.asarray(data.weight)[rows] > 0]
    starts = np.flatnonzero(np.r_[True, np.diff(place[rows]) > 0])
    owner = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(rows)]))
    eta, x = _rest(values, problem, i)[:, rows], np.asarray(data.x)[rows, c]
    weight, size, y = (np.asarray(a)[rows] for a in (data.weight, data.size, data.y))
    sd = values[sd_name(level.name, layout.columns[c])] if level.pooling == "partial" else np.zeros(len(eta))

    def integrand(z: np.ndarray) -> np.ndarray:
        law = row_law(layout, eta + (sd[:, None] * z)[:, owner] * x, values, weight, size)
        each = log_density(law, y)
        return np.add.reduceat(each, starts, axis=1) - 0.5 * z**2 - 0.5 * np.log(2 * np.pi)

    mode, scale = _mode(values, problem, eta, x, sd, rows, starts, owner)
    if layout.law.peaks:
        low, high = np.minimum(mode - _REACH * scale, -_REACH), np.maximum(mode + _REACH * scale, _REACH)
        step, count = (high - low) / _WIDE, _WIDE + 1
    else:
        low, step, count = mode - _STEPS * _STEP * scale, _STEP * scale, 2 * _STEPS + 1
    return special.logsumexp(np.stack([integrand(low + k * step) for k in range(count)]), axis=0) + np.log(step)


def _rest(values: Values, problem: Problem, i: int) -> np.ndarray:
    """Linear predictor of every row without the deviations of level i; (draw, row)."""
    layout, data = problem.layout, problem.data
    x = np.asarray(data.x)
    total = np.zeros((len(next(iter(values.values()))), len(x)))
    for c in layout.population:
        total += values[layout.columns[c]][:, None] * x[:, c]
    for k, level in enumerate(layout.levels):
        if k != i:
            for c in level.effects:
                total += problem.tree.at_rows(deviations(values, problem, k, c), k) * x[:, c]
    return total


def _mode(
    values: Values,
    problem: Problem,
    eta: np.ndarray,
    x: np.ndarray,
    sd: np.ndarray,
    rows: np.ndarray,
    starts: np.ndarray,
    owner: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mode of the standardised deviation, and 1 / sqrt of the information there; (draw, group) each."""
    z = np.zeros((len(eta), len(starts)))
    slope, info = sd[:, None] * x, np.ones_like(z)
    for _ in range(_SCORING):
        score, weight = _score(values, problem, eta + slope * z[:, owner], rows)
        info = 1 + np.add.reduceat(weight * slope**2, starts, axis=1)
        step = (np.add.reduceat(slope * score, starts, axis=1) - z) / info
        z = z + np.clip(step, -2.0, 2.0)
    return z, info**-0.5


def _score(values: Values, problem: Problem, eta: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of each row's log density by its linear predictor, and the information about it; (draw, row) each."""
    layout, data = problem.layout, problem.data
    y, size = np.asarray(data.y)[rows], np.asarray(data.size)[rows]
    whole = np.zeros((len(eta), len(data.y)))
    whole[:, rows] = eta
    weight = np.broadcast_to(information(values, problem, whole), whole.shape)[:, rows]
    there = Rows(np.asarray(data.weight)[rows], size, layout.known)
    return layout.law.score(y, eta, values, there, weight), weight
