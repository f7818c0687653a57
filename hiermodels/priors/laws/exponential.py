"""Exponential law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["Exponential"]


@dataclass(frozen=True)
class Exponential(Prior):
    """Exponential law with mean 1 / rate."""

    rate: float

    name = "exponential"
    example = (0.5,)
    kinds = ("positive", "above_one")
    symbol = "\\mathrm{Exp}"

    def wants(self) -> str:
        return "" if self.rate > 0 else "rate > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return math.log(self.rate) - self.rate * x

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jax.random.exponential(key) / self.rate

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.Exponential(self.rate)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.Exponential({self.rate})"

    def conjugate(self, kind: str) -> tuple[float, float] | None:
        return None if kind == "unit" else (1.0, self.rate)

    def bend(self) -> float:
        return 1 / self.rate
