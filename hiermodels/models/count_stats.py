"""Sufficient statistics of counts: a gradient costs what the groups, or their tally, cost; never the rows."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from hiermodels.families.rising import tally
from hiermodels.models.counts import count_tree
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.models.units import Units, inner_design

__all__ = ["CountStats", "has_tally", "reduce_counts"]

_LONGEST_TALLY = 1024
_TALLY_A_GROUP = 8
"""A term of the tally costs about an eighth of a group's three ratios of gamma functions."""


class CountStats(eqx.Module):
    """Sufficient statistics of a dataset of counts.

    Attributes
    ----------
    y, size : Array, shape (unit,)
        Sums of events and of trials (exposure) in each group of the level that is integrated out, as the family counts
        them (`hiermodels.families.family.Family.counted`); 0 for padding.
    x : Array, shape (coefficient, unit)
        Predictors of each unit, the columns of ``Layout.population``.
    total : Array, shape (2,)
        Sums of y and size.
    tally : Array, shape (3, bound) or (3, 0)
        How many groups have more than i successes, failures, trials (the last negative), i = 0, 1, ...
    constant : Array
        Terms of the log likelihood that hold no parameter.
    parent, real, units
        As in `Data`; the predictors are centred and scaled.
    """

    y: Array
    size: Array
    x: Array
    total: Array
    tally: Array
    constant: Array
    parent: tuple[Array, ...]
    real: tuple[Array, ...]
    units: Units | None = None


def reduce_counts(layout: Layout, data: Data) -> CountStats:
    """Reduce a dataset to its sufficient statistics, once."""
    unit = count_tree(layout).unit
    x = inner_design(layout, data)[:, list(layout.population)].T
    rows = (data.size > 0).astype(data.y.dtype)
    y, size = layout.law.counted(data.y, data.size)
    if unit >= 0:
        sums = jnp.stack([y, size, rows, *(x * rows)])
        sums = tree_of(layout, data).sum_rows(sums, unit)
        y, size, x = sums[0], sums[1], sums[3:] / jnp.maximum(sums[2], 1.0)
    counts = jnp.zeros((3, 0), y.dtype)
    if has_tally(layout):
        bound = layout.count_bound
        counts = jnp.stack([tally(y, bound), tally(size - y, bound), -tally(size, bound)])
    total = jnp.stack([jnp.sum(y), jnp.sum(size)])
    return CountStats(
        y,
        size,
        x,
        total,
        counts,
        jnp.sum(layout.law.log_constant(data.y, data.size)),
        data.parent,
        data.real,
        data.units,
    )


def has_tally(layout: Layout) -> bool:
    """Whether one concentration and few trials let a tally stand for the groups."""
    tree, bound = count_tree(layout), layout.count_bound
    if tree.word != "partial" or tree.above:
        return False
    return 0 < bound <= min(_LONGEST_TALLY, _TALLY_A_GROUP * layout.levels[tree.unit].size)
