"""Constant density between two numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior, word

__all__ = ["Uniform"]


@dataclass(frozen=True)
class Uniform(Prior):
    """Constant density between ``low`` and ``high``."""

    low: float
    high: float

    name = "uniform"
    example = (0.2, 0.8)
    kinds = ("real", "positive", "above_one", "unit")
    in_units = ("low", "high")
    symbol = "\\mathrm{U}"

    def wants(self) -> str:
        return "" if self.low < self.high else "low < high"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return jnp.full_like(x, -math.log(self.high - self.low))

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jax.random.uniform(key, (), minval=self.low, maxval=self.high)

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.Uniform(self.low, self.high)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.Uniform({self.low}, {self.high})"

    def support(self, kind: str) -> tuple[float, float]:
        low, high = super().support(kind)
        return max(low, self.low), min(high, self.high)

    def cut(self, kind: str) -> bool:
        return False

    def misfit(self, kind: str) -> str:
        (low, high), own = super().support(kind), self.support(kind)
        inside = low <= self.low and own[0] < own[1] and (kind != "unit" or self.high <= high)
        return "" if inside else f" reaches outside the values of a {word(kind)} parameter; move its ends inside"

    def conjugate(self, kind: str) -> tuple[float, float] | None:
        return (1.0, 1.0) if kind == "unit" and (self.low, self.high) == (0.0, 1.0) else None

    def inverse_gamma(self) -> tuple[float, float]:
        return 0.0, 0.0

    def finite_exponential(self, r: float) -> bool:
        return True
