"""Jeffreys prior of the group sd and the mean together, for known variances."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hiermodels.priors.law import Prior

__all__ = ["Jeffreys2"]


@dataclass(frozen=True)
class Jeffreys2(Prior):
    """Jeffreys prior of the group sd and the mean together, for known variances.

    p(tau) ~ tau sqrt(sum_j w_j sum_j w_j^2) with w_j = 1 / (se_j^2 + tau^2): narrower intervals than `reference`, which
    cover less ("Jeffreys2" of Mathur, Research Synthesis Methods, 2025).
    """

    name = "jeffreys2"
    kinds = ("positive",)
    variance_powers = (1, 2)

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        if context is None:
            raise ValueError(
                f"prior {self}: it is defined for known variances; name another prior, e.g. half_normal(5)"
            )
        # masked groups carry an infinite variance and add nothing
        two = jnp.log(x) + 0.5 * jnp.log(jnp.sum((context + x**2) ** -2.0))
        return two + 0.5 * jnp.log(jnp.sum(1 / (context + x**2)))

    def density_source(self, x: str, variances: str) -> str:
        total = f"jnp.sum(1 / ({variances} + {x} ** 2))"
        return f"jnp.log({x}) + 0.5 * jnp.log({total} * jnp.sum(({variances} + {x} ** 2) ** -2.0))"

    @property
    def tail(self) -> float:
        return -2.0

    @property
    def origin(self) -> float:
        return 1.0
