"""Jeffreys prior of the group sd for known variances."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hiermodels.priors.law import Prior

__all__ = ["Reference"]


@dataclass(frozen=True)
class Reference(Prior):
    """Jeffreys prior of the group sd for known variances, the mean treated apart.

    p(tau) ~ tau sqrt(sum_j w_j^2) with w_j = 1 / (se_j^2 + tau^2); proper posterior from two groups.
    """

    name = "reference"
    kinds = ("positive",)
    variance_powers = (2,)
    least_error = True

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        if context is None:
            raise ValueError(
                f"prior {self}: it is defined for known variances; name another prior, e.g. half_normal(5)"
            )
        # masked groups carry an infinite variance and add nothing
        return jnp.log(x) + 0.5 * jnp.log(jnp.sum((context + x**2) ** -2.0))

    def density_source(self, x: str, variances: str) -> str:
        return f"jnp.log({x}) + 0.5 * jnp.log(jnp.sum(({variances} + {x} ** 2) ** -2.0))"

    @property
    def tail(self) -> float:
        return -1.0

    @property
    def origin(self) -> float:
        return 1.0
