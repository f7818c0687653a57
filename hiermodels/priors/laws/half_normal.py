"""Half normal law of a standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["HalfNormal"]


@dataclass(frozen=True)
class HalfNormal(Prior):
    """Normal(0, scale) restricted to positive values."""

    scale: float

    name = "half_normal"
    cites = ("sdpriors",)
    example = (5,)
    kinds = ("positive", "above_one")
    in_units = ("scale",)
    symbol = "\\mathrm{N}^{+}"

    def wants(self) -> str:
        return "" if self.scale > 0 else "scale > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        scale = f"({self.scale:g}\\, {rule})" if rule else f"{self.scale:g}"
        return f"{self.symbol}(0,\\, {scale}^{{2}})"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return math.log(2.0) + _densities.log_normal(x, 0.0, self.scale)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return self.scale * jnp.abs(jax.random.normal(key))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.HalfNormal(self.scale)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.HalfNormal({self.scale})"

    def bend(self) -> float:
        return self.scale

    def finite_exponential(self, r: float) -> bool:
        return self.scale * r < 1
