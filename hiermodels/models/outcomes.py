"""Laws of an outcome around a linear predictor, and what each makes of one: means, outcomes, log densities.

With eta the linear predictor of a row (its groups' deviations included), w its weight and size its trials or exposure:

| family | law of the row's outcome | mean that is reported |
|---|---|---|
| `normal` | N(eta, sigma^2 / w), or 1 / w known | eta |
| `student_t` | eta + sigma w^(-1/2) t_nu | eta |
| `binomial_logit` | Binomial(size, logistic(eta)) | logistic(eta) |
| `poisson_log` | Poisson(size exp(eta)) | exp(eta) |
| `negative_binomial` | gamma mixture of Poisson laws, mean mu = size exp(eta), variance mu + mu^2 / shape | exp(eta) |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hiermodels.families.family import Rows
from hiermodels.models.defaults import UNPOOLED
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data

__all__ = ["outcome_law", "row_law", "unpooled_law"]


def outcome_law(layout: Layout, eta: Array, values: Mapping[str, Array], data: Data) -> dist.Distribution:
    """NumPyro's law of every row's outcome; padded rows have one that is valid and is to be masked.

    Parameters
    ----------
    layout : Layout
        With normal groups.
    eta : Array, shape (obs,)
        Linear predictor.
    values : mapping of str to Array
        ``sigma``, ``nu``, ``shape``: those that the family has.
    data : Data

    Returns
    -------
    Distribution
        Batch shape (obs,).
    """
    return layout.law.rows(eta, values, Rows(data.weight, data.size, layout.known))


def unpooled_law(layout: Layout, size: int) -> dist.Distribution:
    """Law of the coefficients of groups that are not pooled; batch shape (size,)."""
    if layout.link.identity:
        return dist.ImproperUniform(constraints.real, (size,), ())
    return dist.Normal(jnp.full(size, UNPOOLED.args[0]), UNPOOLED.args[1])


def row_law(layout: Layout, eta: np.ndarray, values: Mapping[str, Any], weight: np.ndarray, size: np.ndarray) -> Any:
    """SciPy's frozen law of rows: its ``rvs`` are outcomes, its ``logpdf`` or ``logpmf`` is their log likelihood.

    Parameters
    ----------
    layout : Layout
        With normal groups.
    eta : ndarray, shape (chain, draw, row)
    values : mapping of str to ndarray
        Draws by variable.
    weight, size : ndarray, shape (row,)
        Precision weight; trials or exposure.
    """
    return layout.law.host_rows(eta, values, Rows(weight, size, layout.known))
