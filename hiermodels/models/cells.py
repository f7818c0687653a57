"""Cells: rows of one group whose linear predictors are always the same, laid out as rectangles of groups with about as
many cells each.

Where rows of the same linear predictor add up (`hiermodels.families.family.Family.additive`) all rows of a group with
the same predictors are one cell: a cluster's successes and trials, whatever the number of its members. Elsewhere every
row is a cell of its own.

Groups with at most 1, 2, 4, 8, ... cells share a *sheet* of that width, so that what is summed over cells or spread
over them is a sum along an axis or a broadcast: no gather or scatter stands in a gradient. Half of a sheet at most is
empty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.units import inner_design

__all__ = ["Cells", "Sheet", "sheets", "with_cells"]


class Cells(eqx.Module):
    """Where rows and groups lie in the sheets; host arrays in `Data`.

    Attributes
    ----------
    place : Array, shape (obs,)
        Position of each row's cell among those of all sheets, sheet by sheet, each (width, group); their number for a
        row that is padding.
    group : Array, shape (group,)
        Group of each column of the sheets, one after the other.
    column : Array, shape (group,)
        Column of each group: the inverse.
    """

    place: Any
    group: Any
    column: Any


class Sheet(eqx.Module):
    """Cells of the groups of one sheet; arrays have the shape (width, group), ``x`` (column, width, group)."""

    y: Array
    size: Array
    weight: Array
    x: Array


def with_cells(layout: Layout, data: Data, merge: bool = True) -> tuple[Layout, Data]:
    """A layout that knows its sheets, and data that know their cells; both as they are where groups do not integrate
    out by quadrature.

    Parameters
    ----------
    layout : Layout
    data : Data
        NumPy arrays, padded.
    merge : bool
        Whether rows of the same predictors may share a cell: not where predictors are drawn anew with each dataset.

    Returns
    -------
    layout, data
    """
    if not layout.by_quadrature:
        return layout, data
    level, rows = layout.levels[-1], np.flatnonzero(np.asarray(data.weight) > 0)
    group = np.asarray(data.group[-1])[rows]
    keys = np.column_stack([group, np.arange(len(rows))])
    if merge and layout.law.additive:
        keys = np.column_stack(
            [group, np.unique(np.asarray(inner_design(layout, data))[rows], axis=0, return_inverse=True)[1].reshape(-1)]
        )
    cells, cell = np.unique(keys, axis=0, return_inverse=True)
    cell, owner = cell.reshape(-1), cells[:, 0].astype(int)
    count = np.bincount(owner, minlength=level.size)
    within = np.arange(len(owner)) - np.searchsorted(owner, owner)
    widths = 1 << np.ceil(np.log2(np.maximum(count, 1))).astype(int)
    if len(np.unique(count[count > 0])) == 1:
        widths = np.full(level.size, count.max())
    order = np.argsort(widths, kind="stable")
    column = np.empty(level.size, int)
    column[order] = np.arange(level.size)
    shapes, place, start = [], np.empty(len(owner), int), 0
    for width, first, groups in zip(*np.unique(widths[order], return_index=True, return_counts=True), strict=True):
        here = widths[owner] == width
        place[here] = start + within[here] * groups + (column[owner[here]] - first)
        shapes.append((int(width), int(groups)))
        start += width * groups
    whole = np.full(layout.obs, start)
    whole[rows] = place[cell]
    return replace(layout, sheets=tuple(shapes)), replace(data, cells=Cells(whole, order, column))


def sheets(layout: Layout, data: Data) -> list[Sheet]:
    """Rows added up in their cells, sheet by sheet."""
    cells: Cells = data.cells
    total = sum(width * groups for width, groups in layout.sheets)
    real = (data.weight > 0).astype(data.y.dtype)
    columns = jnp.concatenate(
        [jnp.stack([data.y * real, data.size * real, data.weight, real]), inner_design(layout, data).T * real]
    )
    sums = jnp.zeros((len(columns), total + 1), columns.dtype).at[:, cells.place].add(columns)[:, :total]
    rows = jnp.maximum(sums[3], 1.0)
    found, start = [], 0
    for width, groups in layout.sheets:
        part = sums[:, start : start + width * groups].reshape(-1, width, groups)
        mean = part[4:] / rows[start : start + width * groups].reshape(width, groups)
        found.append(Sheet(part[0], part[1], part[2], mean))
        start += width * groups
    return found
