"""Half normal law of the coefficient of variation of a gamma population."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["HalfNormalCV"]


@dataclass(frozen=True)
class HalfNormalCV(Prior):
    """1 / sqrt(x) is half normal: with x the shape of a gamma population, its coefficient of variation."""

    scale: float

    name = "half_normal_cv"
    example = (2,)
    kinds = ("positive",)
    normal_power = -2.0

    def wants(self) -> str:
        return "" if self.scale > 0 else "scale > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        return f"\\left[\\mathrm{{N}}^{{+}}(0,\\, {self.scale:g}^{{2}})\\right]^{{-2}}"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_normal(x**-0.5, 0.0, self.scale) - 1.5 * jnp.log(x)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return (self.scale * jax.random.normal(key)) ** -2

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.TransformedDistribution(dist.HalfNormal(self.scale), dist.transforms.PowerTransform(-2.0))

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.TransformedDistribution(dist.HalfNormal({self.scale}), dist.transforms.PowerTransform(-2.0))"

    @property
    def tail(self) -> float:
        return -1.5

    @property
    def origin(self) -> float:
        return math.inf
