"""Where the chains of one dataset start, and the coordinates in which they move."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.chain_coordinates import bent
from hiermodels.inference.laplace import laplace

__all__ = ["LAPLACE_LIMIT", "Starts", "starts"]

LAPLACE_LIMIT = 12
"""Above this many dimensions chains start near a moment estimate instead of at a Laplace fit."""


class Starts(NamedTuple):
    """Bent coordinates of a model, and where chains start in them.

    Attributes
    ----------
    unbend : callable
        ``q -> (u, log |du / dq|)``, u the model's unconstrained vector.
    log_density : callable
        ``q -> ()``, log density in the bent coordinates.
    position : Array, shape (chain, dim)
    covariance : Array or None
        Of a Laplace fit, (dim, dim), where that is cheap.
    """

    unbend: Callable[[Array], tuple[Array, Array]]
    log_density: Callable[[Array], Array]
    position: Array
    covariance: Array | None


def starts(model: Any, chains: int, key: Array, stats: Any) -> Starts:
    """Starting points of chains: draws of a Laplace fit, or near a moment estimate in many dimensions."""
    unbend, start = bent(model, stats)
    noise = jax.random.normal(key, (chains, model.dim), start.dtype)

    def log_density(q: Array) -> Array:
        u, log_jacobian = unbend(q)
        return model.log_density(u, stats) + log_jacobian

    if model.dim > LAPLACE_LIMIT:
        return Starts(unbend, log_density, start + 0.1 * noise, None)
    mode, covariance, _ = laplace(log_density, start)
    return Starts(unbend, log_density, mode + noise @ jnp.linalg.cholesky(covariance).T, covariance)
