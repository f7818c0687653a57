"""Sufficient statistics of normal hierarchies: rows are reduced once."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from hiermodels.models.elimination import LOG_2PI
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.models.twins import TwinStats, prepare_twins
from hiermodels.models.units import Units, inner_design

__all__ = ["GaussianStats", "reduce_rows", "residual"]


class GaussianStats(eqx.Module):
    """Sufficient statistics of a dataset, reduced once; the cost of a gradient does not depend on the rows.

    Attributes
    ----------
    cc : Array, shape (column, column, group)
        Weighted cross products of the design in each finest group.
    cy : Array, shape (column, group)
        Weighted cross products with the centred outcome.
    yy, rows, log_weight, shift : Array
        Scalars: weighted sum of squares, number of rows, sum of log weights, what was subtracted from the outcome.
    parent, real : tuple of Array
        As in `Data`.
    variances : Array, shape (group,)
        Known variance of each group's mean, infinite for padding (what ``reference()`` needs).
    twins : TwinStats or None
        Sums over groups with the same design, where the layout has such.
    units : Units or None
        As in `Data`: the design that the products are of is centred and scaled.
    """

    cc: Array
    cy: Array
    yy: Array
    rows: Array
    log_weight: Array
    shift: Array
    parent: tuple[Array, ...]
    real: tuple[Array, ...]
    variances: Array
    twins: TwinStats | None = None
    units: Units | None = None


def reduce_rows(layout: Layout, data: Data) -> GaussianStats:
    """Reduce a dataset to its sufficient statistics."""
    columns, x = layout.columns, inner_design(layout, data)
    rows = data.weight > 0
    if _takes_shift(layout):
        shift = jnp.sum(data.weight * data.y) / jnp.sum(data.weight)
    else:
        shift = jnp.zeros(())
    y = jnp.where(rows, data.y - shift, 0.0)
    wx = (data.weight[:, None] * x).T
    k = len(columns)
    upper = [(i, j) for i in range(k) for j in range(i, k)]
    stacked = jnp.stack([wx[i] * x[:, j] for i, j in upper] + [wx[i] * y for i in range(k)])
    tree, last = tree_of(layout, data), len(layout.levels) - 1
    sums = tree.sum_rows(stacked, last)
    place = {pair: n for n, pair in enumerate(upper)}
    cc = jnp.stack([jnp.stack([sums[place[min(i, j), max(i, j)]] for j in range(k)]) for i in range(k)])
    total = tree.sum_rows(data.weight, last)
    cy, types = sums[len(upper) :], layout.twins
    return GaussianStats(
        cc,
        cy,
        jnp.sum(data.weight * y * y),
        jnp.sum(rows).astype(y.dtype),
        jnp.sum(jnp.where(rows, jnp.log(jnp.where(rows, data.weight, 1.0)), 0.0)),
        shift,
        data.parent,
        data.real,
        jnp.where(total > 0, 1 / jnp.where(total > 0, total, 1.0), jnp.inf),
        prepare_twins(cc, cy, data.twin, data.parent, types) if types else None,
        data.units,
    )


def _takes_shift(layout: Layout) -> bool:
    """Whether an intercept takes up what is subtracted from the outcome: the population's, or unpooled groups'."""
    if "Intercept" not in layout.columns:
        return False
    c = layout.columns.index("Intercept")
    return c in layout.population or any(v.pooling == "none" and c in v.effects for v in layout.levels)


def residual(layout: Layout, phi: dict[str, Array], stats: GaussianStats) -> tuple[Array | float, Array]:
    """One over the residual variance, and the log likelihood of coefficients zero."""
    inverse = 1.0 if layout.known else phi["sigma"] ** -2
    constant = -0.5 * stats.yy * inverse - 0.5 * stats.rows * LOG_2PI + 0.5 * stats.log_weight
    return inverse, constant if layout.known else constant - stats.rows * jnp.log(phi["sigma"])
