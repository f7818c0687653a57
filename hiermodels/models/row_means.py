"""What the rows' outcomes are around, given every parameter and group value: linear predictors, probabilities,
rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.models.counts import rate_name
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.quantities import INTERCEPT, theta_name

__all__ = ["linear_predictor", "rates", "rates_without_groups"]


def linear_predictor(layout: Layout, values: Mapping[str, Array], data: Data) -> Array:
    """Mean of each row of normal groups on the link scale, shape (obs,).

    A row's coefficient of a column is that of its finest group by which it varies; where groupings cross, what each
    adds to the level that it shares with those before. A given group value leaves what lies above it out of the sum.

    Parameters
    ----------
    layout : Layout
    values : mapping of str to Array
        Parameters and group values as they are shown, padded axes.
    data : Data
        Its outcome is not read.
    """
    tree = tree_of(layout, data)

    def at(i: int, c: int) -> Array:
        j = layout.holder(i, c)
        name = layout.columns[c] if j < 0 else theta_name(layout.levels[j].name, layout.columns[c])
        found = values[name] if j >= 0 or c in layout.population else jnp.zeros(())
        return jnp.broadcast_to(tree.at_rows(found, j), (layout.obs,))

    (first, _), *crossed = layout.branches or ((-1, -1),)
    total = jnp.zeros(layout.obs)
    for c in range(len(layout.columns)):
        own = at(first, c)
        for leaf, shared in crossed:
            own = own + (at(leaf, c) - at(shared, c))
        total = total + own * data.x[:, c]
    return total


def rates(layout: Layout, values: Mapping[str, Array], data: Data) -> Array:
    """Probability or rate of each row of a model of counts, shape (obs,); arguments as in `linear_predictor`."""
    last = len(layout.levels) - 1
    if last < 0:
        return rates_without_groups(layout, values, data.x)
    return tree_of(layout, data).at_rows(values[theta_name(layout.levels[last].name, INTERCEPT)], last)


def rates_without_groups(layout: Layout, values: Mapping[str, Any], x: Any) -> Any:
    """One rate for all rows, or the inverse link of their predictors; NumPy or JAX.

    Parameters
    ----------
    values : mapping of str to array
        Coefficients, any leading axes.
    x : array, shape (row, column)

    Returns
    -------
    array, shape (..., row)
    """
    if rate_name(layout) is not None:
        return values[INTERCEPT][..., None] + 0.0 * x[:, 0]
    eta = sum(values[layout.columns[c]][..., None] * x[:, c] for c in layout.population)
    return layout.link.host_inverse(eta) if isinstance(eta, np.ndarray) else layout.link.inverse(eta)
