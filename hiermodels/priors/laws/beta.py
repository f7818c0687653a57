"""Beta law of a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["Beta"]


@dataclass(frozen=True)
class Beta(Prior):
    """Beta law of a probability; ``beta(0, 0)`` is flat on the logit scale and improper."""

    a: float
    b: float

    name = "beta"
    example = (2, 3)
    kinds = ("unit",)
    symbol = "\\mathrm{Beta}"

    def wants(self) -> str:
        return "" if self.a >= 0 and self.b >= 0 else "a >= 0 and b >= 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        a, b = self.a, self.b
        constant = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) if self.proper else 0.0
        return (a - 1) * jnp.log(x) + (b - 1) * jnp.log1p(-x) + constant

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jax.random.beta(key, self.a, self.b) if self.proper else super().sample(key)

    def law(self, kind: str = "unit", unit: Array | None = None) -> dist.Distribution | None:
        return dist.Beta(self.a, self.b) if self.proper else None

    def source(self, kind: str = "unit", unit: str = "") -> str | None:
        return f"dist.Beta({self.a}, {self.b})" if self.proper else None

    def density_source(self, x: str, variances: str) -> str:
        return f"({self.a} - 1.0) * jnp.log({x}) + ({self.b} - 1.0) * jnp.log1p(-{x})"

    @property
    def tail(self) -> float:
        return 0.0 if min(self.a, self.b) <= 0 else -math.inf

    @property
    def origin(self) -> float:
        return self.a - 1

    def conjugate(self, kind: str) -> tuple[float, float] | None:
        return (self.a, self.b) if kind == "unit" else None
