"""What an inner quadrature of the groups does to a posterior of the hyperparameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["ALLOWED", "inner_error", "some_nodes"]

ALLOWED = 0.01
"""Error of chains' posterior, in posterior sds, beyond which they distrust their density: a few thousand effective
draws are as exact.
"""
_FEW = 16
"""Nodes, or draws, at which the density is computed again by another rule."""


def inner_error(model: Any, u: Array, stats: Any) -> Array | None:
    """Largest shift of a posterior mean, in posterior sds, that the groups' quadrature makes; None where groups are in
    closed form.

    A log density that is off by d(u) shifts the mean of any f by Cov(f, d) to first order, and that is at most sd(f)
    sd(d). Hence the sd of d over values that stand for the posterior: an error that is the same everywhere does no
    harm.

    Parameters
    ----------
    model : Factorised
        Whose ``off(u, stats)``, where it has one, is the difference to a rule of many more terms.
    u : Array, shape (value, dim)
        Equally likely values of the unconstrained hyperparameters; a few of them are looked at.
    stats
        Of the same dataset.
    """
    off = getattr(model, "off", None)
    if off is None:
        return None
    some = u[np.linspace(0, len(u) - 1, min(_FEW, len(u))).round().astype(int)]
    each = jax.lax.map(lambda one: off(one, stats), some, batch_size=len(some))
    found = jnp.std(each)
    return jnp.where(jnp.isfinite(found), found, jnp.inf)


def some_nodes(u: Array, log_weight: Array) -> Array:
    """Nodes that stand for all, each as likely as another, (few, dim): evenly spread over the weights."""
    below = jnp.cumsum(jax.nn.softmax(log_weight))
    at = (jnp.arange(_FEW) + 0.5) / _FEW
    return u[jnp.clip(jnp.searchsorted(below, at * below[-1]), 0, len(u) - 1)]
