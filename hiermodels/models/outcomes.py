"""Laws of an outcome around a linear predictor, and what each makes of one: means, outcomes, log densities.

With eta the linear predictor of a row (its groups' deviations included), the family's class says which law that is
(`hiermodels.families.family.Family.rows`); the mean that is reported is the inverse link of eta.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hiermodels.families.rows import Rows
from hiermodels.models.defaults import UNPOOLED
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data

__all__ = ["log_density", "outcome_law", "row_law", "unpooled_law"]


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
    if layout.law.local:
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


def log_density(law: Any, y: np.ndarray) -> np.ndarray:
    """Log density of outcomes, or log probability of counts, under a frozen law of SciPy."""
    return law.logpdf(y) if hasattr(law.dist, "logpdf") else law.logpmf(y)
