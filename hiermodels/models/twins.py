"""Twins: groups with the same design share one message, so that a balanced tree costs as little as one of its branches.

Two groups of a level are twins where the weighted cross products of their designs agree and, above the finest level,
where all children of both are twins of one another and equally many. What they differ in is their sums ``S = sum w x
y``, and given phi their messages are ``(L, h) = (L_t, B_t S)`` with matrices of the type t alone. Integrating one
direction r out then adds, over the N_t groups of a type, with ``q = 1 + r'L_t r``,

    -N_t log(q) / 2 + r'B_t (sum S S') B_t'r / (2q),      L_t <- L_t - L_t r r'L_t / q,      B_t <- B_t - L_t r r'B_t / q,

so that a dataset is reduced to the sums of S S' of each type and level, once: for a balanced three-level model without
predictors these are the sums of squares between schools and between classes (Searle, Casella & McCulloch 1992, Variance
Components, section 4.5 b).
"""  # noqa: E501

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["TwinStats", "find_twins", "prepare_twins", "twin_messages"]

_LOG_2PI = math.log(2 * math.pi)
_FEWER = 4
"""Types are used where the finest level has at least so many groups a type."""


class TwinStats(eqx.Module):
    """Sums over twins; tuples have an entry a level, coarse to fine.

    Attributes
    ----------
    cc : Array, shape (column, column, type)
        Cross products of the design in one group of each finest type.
    second : tuple of Array, each (column, column, type)
        Sum of S S' over the groups of a type.
    total : Array, shape (column, type)
        Sum of S over the groups of each coarsest type.
    count : tuple of Array, each (type,)
        Groups of a type.
    child, children : tuple of Array, each (type,)
        The type of a group's children and how many it has (the last level has none).
    """

    cc: Array
    second: tuple[Array, ...]
    total: Array
    count: tuple[Array, ...]
    child: tuple[Array, ...]
    children: tuple[Array, ...]


def find_twins(
    x: np.ndarray,
    weight: np.ndarray,
    group: tuple[np.ndarray, ...],
    parent: tuple[np.ndarray, ...],
    sizes: tuple[int, ...],
) -> tuple[np.ndarray, ...]:
    """Type of each (padded) group of each level, coarse to fine; empty where too few groups are twins.

    Parameters
    ----------
    x : ndarray, shape (row, column)
    weight : ndarray, shape (row,)
    group, parent : tuple of ndarray
        As in `hiermodels.models.data.Data`, of nested levels.
    sizes : tuple of int
        Groups of each level, padding included.

    Returns
    -------
    tuple of ndarray
        A padded group has type ``T``, one more than the last of its level's T types.

    Examples
    --------
    >>> school = np.array([0, 0, 1, 1, 2, 2, 3, 3])
    >>> find_twins(np.ones((8, 1)), np.ones(8), (school,), (np.zeros(4, int),), (4,))
    (array([0, 0, 0, 0]),)
    """
    if not sizes:
        return ()
    columns = x.shape[1]
    products = np.zeros((sizes[-1], columns * columns))
    np.add.at(products, group[-1], (weight[:, None, None] * x[:, :, None] * x[:, None]).reshape(len(x), -1))
    filled = np.bincount(group[-1][weight > 0], minlength=sizes[-1]) > 0
    scale = np.abs(products).max(0, initial=0.0)
    codes = _codes(np.round(products / np.where(scale > 0, scale, 1.0), 12), filled)
    if codes.max(initial=0, where=filled) + 1 > filled.sum() // _FEWER:
        return ()
    found = [codes]
    for i in reversed(range(1, len(sizes))):
        finer, owner = found[0], parent[i]
        low, high = np.full(sizes[i - 1], len(finer) + 1), np.full(sizes[i - 1], -1)
        np.minimum.at(low, owner[filled], finer[filled])
        np.maximum.at(high, owner[filled], finer[filled])
        children = np.bincount(owner[filled], minlength=sizes[i - 1])
        filled = children > 0
        if np.any(low[filled] != high[filled]):
            return ()
        found.insert(0, _codes(np.stack([high, children], 1), filled))
    return tuple(found)


def _codes(rows: np.ndarray, filled: np.ndarray) -> np.ndarray:
    unique, inverse = np.unique(rows[filled], axis=0, return_inverse=True)
    codes = np.full(len(rows), len(unique))
    codes[filled] = inverse.reshape(-1)
    return codes


def prepare_twins(
    cc: Array, cy: Array, twin: tuple[Array, ...], parent: tuple[Array, ...], types: tuple[int, ...]
) -> TwinStats:
    """Sum over twins.

    Parameters
    ----------
    cc : Array, shape (column, column, group)
    cy : Array, shape (column, group)
        Of the finest level.
    twin : tuple of Array, each (group,)
    parent : tuple of Array, each (group,)
    types : tuple of int
        Types of each level.
    """

    def over(values: Array, i: int, size: int) -> Array:
        return jax.ops.segment_sum(jnp.moveaxis(values, -1, 0), twin[i], num_segments=size + 1)[:size]

    last = len(types) - 1
    counts: list[Array] = []
    seconds: list[Array] = []
    child: list[Array] = []
    children: list[Array] = []
    sums = cy
    for i in reversed(range(len(types))):
        real = twin[i] < types[i]
        counts.insert(0, over(real.astype(cy.dtype), i, types[i]))
        seconds.insert(0, jnp.moveaxis(over(sums[:, None] * sums[None], i, types[i]), 0, -1))
        if i:
            above = jnp.where(real, twin[i - 1][parent[i]], types[i - 1])
            first = jnp.zeros(types[i - 1] + 1, twin[i].dtype).at[above].max(jnp.where(real, twin[i], 0))
            number = jnp.zeros(types[i - 1] + 1, cy.dtype).at[above].add(real.astype(cy.dtype))
            child.insert(0, first[:-1])
            children.insert(0, number[:-1])
            size = twin[i - 1].shape[0]
            sums = jax.ops.segment_sum(sums.T, parent[i], num_segments=size).T
    total = over(sums, 0, types[0]).T
    one = jnp.moveaxis(over(cc, last, types[last]), 0, -1) / counts[last]
    each = (number / count for number, count in zip(children, counts[:-1], strict=True))
    return TwinStats(one, tuple(seconds), total, tuple(counts), tuple(child), tuple(each))


def twin_messages(
    stats: TwinStats, inverse: Array | float, directions: list[list[tuple[Array, float]]]
) -> tuple[Array, Array, Array]:
    """What all groups together say about the population's coefficients: precision, shift, and the constant they add.

    Parameters
    ----------
    stats : TwinStats
    inverse : Array or float
        One over the residual variance.
    directions : list of list of (Array, float)
        Columns of each level's Cholesky factor, shape (column,); the number is 1, or 0 where flat.
    """
    precision = stats.cc * inverse
    unit = jnp.eye(precision.shape[0], dtype=precision.dtype)[..., None]
    matrix = jnp.broadcast_to(unit * inverse, precision.shape)
    constant = jnp.zeros((), precision.dtype)
    for i in reversed(range(len(directions))):
        count, second = stats.count[i], stats.second[i]
        for r, proper in directions[i]:
            lr = jnp.sum(precision * r[None, :, None], 1)
            q = proper + jnp.sum(r[:, None] * lr, 0)
            v = jnp.sum(r[:, None, None] * matrix, 0)
            square = jnp.sum(v[:, None] * second * v[None], (0, 1))
            if proper:
                constant += jnp.sum(0.5 * square / q - 0.5 * count * jnp.log(q))
            else:
                informed = q > 0
                q = jnp.where(informed, q, 1.0)
                gain = 0.5 * square / q + 0.5 * count * (_LOG_2PI - jnp.log(q))
                constant += jnp.sum(jnp.where(informed, gain, 0.0))
            if precision.shape[0] == 1:
                precision, matrix = precision * (proper / q), matrix * (proper / q)
            else:
                precision, matrix = precision - lr[:, None] * lr[None] / q, matrix - lr[:, None] * v[None] / q
        if i:
            child = stats.child[i - 1]
            precision, matrix = precision[..., child] * stats.children[i - 1], matrix[..., child]
    root = jnp.sum(precision * stats.count[0], -1)
    return root, jnp.sum(matrix * stats.total[None], (1, 2)), constant
