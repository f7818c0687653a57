"""Gamma law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["Gamma"]


@dataclass(frozen=True)
class Gamma(Prior):
    """Gamma law with mean shape / rate."""

    shape: float
    rate: float

    name = "gamma"
    example = (2, 3)
    kinds = ("positive", "above_one")
    symbol = "\\mathrm{Gamma}"

    def wants(self) -> str:
        return "" if self.shape > 0 and self.rate > 0 else "shape > 0 and rate > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return (
            self.shape * math.log(self.rate) - math.lgamma(self.shape) + (self.shape - 1) * jnp.log(x) - self.rate * x
        )

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jax.random.gamma(key, self.shape) / self.rate

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.Gamma(self.shape, self.rate)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.Gamma({self.shape}, {self.rate})"

    @property
    def origin(self) -> float:
        return self.shape - 1

    def conjugate(self, kind: str) -> tuple[float, float] | None:
        return None if kind == "unit" else (self.shape, self.rate)

    def bend(self) -> float:
        return self.shape / self.rate
