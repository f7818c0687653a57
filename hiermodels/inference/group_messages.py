"""What the data of each group say about its coefficients, beside every draw of everything above it.

For a normal outcome the likelihood of a group's rows, as a function of the coefficient vector ``b`` of the group (of
its parent, once its own deviation is integrated out), is the quadratic

    log p(y_j | b) = c_j + h_j'b - b'L_j b / 2.

Rows add to it, children add up, and a level's deviation with covariance R R' leaves by one rank-one step a column r of
R,

    q = 1 + r'Lr,   c <- c + (r'h)^2 / (2q) - log(q) / 2,   h <- h - Lr (r'h) / q,   L <- L - Lr r'L / q,

the algebra of `hiermodels.models.gaussian`, here in NumPy, group by group and draw by draw. For other outcomes with
normal groups L is the Fisher information of the rows at each draw, and there is no h or c.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hiermodels.families.rows import Rows
from hiermodels.models.layout import LevelLayout
from hiermodels.models.problem import Problem
from hiermodels.quantities import cor_name, sd_name, theta_name

__all__ = ["Message", "deviations", "flat_draws", "group_log_likelihood", "information", "messages", "sole_children"]

Values = Mapping[str, Any]


class Message(NamedTuple):
    """A quadratic a draw and group.

    Attributes
    ----------
    precision : ndarray, shape (draw, column, column, group)
    shift : ndarray, shape (draw, column, group)
        Of an outcome from which ``centre`` is subtracted.
    constant : ndarray, shape (draw, group)
    centre : float
    """

    precision: np.ndarray
    shift: np.ndarray
    constant: np.ndarray
    centre: float


def flat_draws(values: Values, most: int | None = None) -> dict[str, np.ndarray]:
    """Chains end to end, (draw, *dims); at most so many draws, evenly apart."""
    found = {name: np.asarray(x, float).reshape(-1, *np.shape(x)[2:]) for name, x in values.items()}
    count = len(next(iter(found.values())))
    step = 1 if most is None else max(1, math.ceil(count / most))
    return {name: x[::step] for name, x in found.items()}


def sole_children(problem: Problem, i: int) -> np.ndarray:
    """Whether a group is its parent's only one; its parent's rows are then its own, shape (group,)."""
    tree = problem.tree
    return (tree.children(i) == 1)[tree.parent[i]] & (tree.levels[i].parent >= 0)


def information(values: Values, problem: Problem, eta: np.ndarray | None = None) -> np.ndarray:
    """Fisher information of each row about its linear predictor; (draw, row), or (1, row) where it is the same in every
    draw.

    Parameters
    ----------
    values : mapping
        From `flat_draws`.
    eta : ndarray, shape (draw, row)
        Linear predictors; of no use to normal and t outcomes.
    """
    layout, data = problem.layout, problem.data
    return layout.law.information(eta, values, Rows(np.asarray(data.weight), np.asarray(data.size), layout.known))


def deviations(values: Values, problem: Problem, i: int, column: int) -> np.ndarray:
    """What each group adds to its parent's coefficient; (draw, group)."""
    layout = problem.layout
    name = layout.columns[column]
    own, above = values[theta_name(layout.levels[i].name, name)], layout.holder(layout.levels[i].parent, column)
    if above >= 0:
        return own - problem.tree.spread_down(values[theta_name(layout.levels[above].name, name)], above, i)
    return own - (values[name][:, None] if column in layout.population else 0.0)


def messages(values: Values, problem: Problem, i: int, rows: np.ndarray) -> Message:
    """What the rows of each group of level i say about the group's own coefficients.

    Levels below are integrated out; where groupings cross, the other ones' values are given.

    Parameters
    ----------
    values : mapping
        From `flat_draws`.
    i : int
        Position of the level.
    rows : ndarray, shape (draw, row) or (1, row)
        Information of each row, from `information`; 0 for padding.
    """
    layout = problem.layout
    below = _chain(layout.levels, i)
    message = _of_rows(values, problem, below[-1], rows)
    for j in reversed(below[1:]):
        message = _to_parents(_absorbed(message, values, problem, j), problem.tree.parent[j])
    return message


def group_log_likelihood(values: Values, problem: Problem, i: int) -> np.ndarray:
    """Log density of each group's rows given what lies above the group, its own deviation and all below it integrated
    out.

    Parameters
    ----------
    values : mapping
        From `flat_draws`; of a normal outcome with nested groupings.
    i : int
        Position of the level, partially or completely pooled as every level below it.

    Returns
    -------
    ndarray, shape (draw, group)
        Normalised. A group that is its parent's only one takes its parent along.
    """
    level = problem.layout.levels[i]
    found = _given_parent(values, problem, i)
    alone = sole_children(problem, i)
    if alone.any():
        found[:, alone] = group_log_likelihood(values, problem, level.parent)[:, problem.tree.parent[i][alone]]
    return found


def _given_parent(values: Values, problem: Problem, i: int) -> np.ndarray:
    message = _absorbed(messages(values, problem, i, information(values, problem)), values, problem, i)
    b = _parent_coefficients(values, problem, i, message.centre)
    linear = np.einsum("skg,skg->sg", message.shift, b)
    return message.constant + linear - 0.5 * np.einsum("sjg,sjkg,skg->sg", b, message.precision, b)


def _chain(levels: tuple[LevelLayout, ...], i: int) -> list[int]:
    """Level i and the levels below it, coarse to fine, where each nests in the one before it; else i alone."""
    nested = all(levels[j].parent == j - 1 for j in range(i + 1, len(levels)))
    return list(range(i, len(levels))) if nested else [i]


def _of_rows(values: Values, problem: Problem, i: int, rows: np.ndarray) -> Message:
    """Rows added up in the groups of level i."""
    layout, data = problem.layout, problem.data
    place = np.asarray(data.group[i])
    order = np.argsort(place, kind="stable")
    order = order[np.asarray(data.weight)[order] > 0]
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0])
    x, y, info = (
        np.asarray(data.x)[order],
        np.asarray(data.y)[order],
        np.broadcast_to(rows, (len(rows), len(place)))[:, order],
    )
    centre = float(np.average(y)) if "Intercept" in layout.columns else 0.0
    y = y - centre

    def total(part: np.ndarray) -> np.ndarray:
        return np.add.reduceat(part, starts, axis=-1)

    k, draws = len(layout.columns), len(next(iter(values.values())))
    precision = np.empty((draws, k, k, len(starts)))
    shift = np.empty((draws, k, len(starts)))
    for a in range(k):
        shift[:, a] = total(info * (x[:, a] * y))
        for b in range(a, k):
            precision[:, a, b] = precision[:, b, a] = total(info * (x[:, a] * x[:, b]))
    constant = total(0.5 * np.log(info) - 0.5 * math.log(2 * math.pi) - 0.5 * info * y**2)
    return Message(precision, shift, np.broadcast_to(constant, (draws, len(starts))), centre)


def _absorbed(message: Message, values: Values, problem: Problem, i: int) -> Message:
    """The deviations of level i integrated out."""
    precision, shift, constant, centre = message
    for r in _directions(values, problem, problem.layout.levels[i]):
        lr = np.einsum("sjkg,sk->sjg", precision, r)
        q = 1 + np.einsum("sj,sjg->sg", r, lr)
        m = np.einsum("sj,sjg->sg", r, shift)
        constant = constant + 0.5 * m**2 / q - 0.5 * np.log(q)
        if precision.shape[1] == 1:  # no cancellation in the scalar case
            precision, shift = precision / q[:, None, None], shift / q[:, None]
        else:
            precision = precision - lr[:, :, None] * (lr / q[:, None])[:, None]
            shift = shift - lr * (m / q)[:, None]
    return Message(precision, shift, constant, centre)


def _directions(values: Values, problem: Problem, level: LevelLayout) -> list[np.ndarray]:
    """Columns of the root of a level's covariance, in coefficient space; each (draw, column)."""
    columns, found = problem.layout.columns, []
    draws = len(next(iter(values.values())))
    for block in level.blocks if level.pooling == "partial" else ():
        effects = [level.effects[b] for b in block]
        root = np.stack([values[sd_name(level.name, columns[e])] for e in effects], -1)[..., None]
        if len(block) > 1:
            steady = 1e-12 * np.eye(len(block))  # a correlation of one is as good as any
            root = root * np.linalg.cholesky(values[cor_name(level.name)] + steady)
        for k in range(len(block)):
            r = np.zeros((draws, len(columns)))
            r[:, effects] = root[..., k]
            found.append(r)
    return found


def _to_parents(message: Message, owner: np.ndarray) -> Message:
    starts = np.searchsorted(owner, np.arange(owner[-1] + 1))  # groups are stored parent by parent
    precision, shift, constant = (np.add.reduceat(part, starts, axis=-1) for part in message[:3])
    return Message(precision, shift, constant, message.centre)


def _parent_coefficients(values: Values, problem: Problem, i: int, centre: float) -> np.ndarray:
    """Coefficients around which each group of level i scatters; (draw, column, group), the intercept on the centred
    scale.
    """
    layout, groups = problem.layout, len(problem.labels[problem.layout.levels[i].name])
    draws = len(next(iter(values.values())))
    found = np.zeros((draws, len(layout.columns), groups))
    for c, name in enumerate(layout.columns):
        above = layout.holder(layout.levels[i].parent, c)
        if above >= 0:
            found[:, c] = problem.tree.spread_down(values[theta_name(layout.levels[above].name, name)], above, i)
        elif c in layout.population:
            found[:, c] = values[name][:, None]
        if name == "Intercept":
            found[:, c] -= centre
    return found
