"""Constant density of a variance."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hiermodels.priors.law import Prior

__all__ = ["FlatVariance"]


@dataclass(frozen=True)
class FlatVariance(Prior):
    """Constant density on the variance: the standard deviation has density proportional to itself."""

    name = "flat_variance"
    kinds = ("positive",)

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return jnp.log(2 * x)

    def density_source(self, x: str, variances: str) -> str:
        return f"jnp.log(2.0 * {x})"

    @property
    def tail(self) -> float:
        return 1.0

    @property
    def origin(self) -> float:
        return 1.0

    def inverse_gamma(self) -> tuple[float, float]:
        return -1.0, 0.0
