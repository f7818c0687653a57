"""Log-normal law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["LogNormal"]


@dataclass(frozen=True)
class LogNormal(Prior):
    """The logarithm is N(mean, sd^2)."""

    mean: float
    sd: float

    name = "log_normal"
    example = (0.5, 1.5)
    kinds = ("positive", "above_one")

    def wants(self) -> str:
        return "" if self.sd > 0 else "sd > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_normal(jnp.log(x), self.mean, self.sd) - jnp.log(x)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jnp.exp(self.mean + self.sd * jax.random.normal(key))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.LogNormal(self.mean, self.sd)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.LogNormal({self.mean}, {self.sd})"

    @property
    def origin(self) -> float:
        return math.inf
