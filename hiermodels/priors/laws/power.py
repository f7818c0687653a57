"""Power of a standard deviation, or of a concentration."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hiermodels.priors.law import Prior

__all__ = ["Power"]


@dataclass(frozen=True)
class Power(Prior):
    """Density proportional to x^-c of the standard deviation (of ``kappa`` or ``shape``), improper."""

    c: float

    name = "power"
    example = (0.5,)
    kinds = ("positive",)

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return -self.c * jnp.log(x)

    def density_source(self, x: str, variances: str) -> str:
        return f"-{self.c} * jnp.log({x})"

    @property
    def tail(self) -> float:
        return -self.c

    @property
    def origin(self) -> float:
        return -self.c

    def conjugate(self, kind: str) -> tuple[float, float] | None:
        return None if kind == "unit" else (1.0 - self.c, 0.0)

    def inverse_gamma(self) -> tuple[float, float]:
        return self.c, 0.0
