"""Half Cauchy law of a standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["HalfCauchy"]


@dataclass(frozen=True)
class HalfCauchy(Prior):
    """Cauchy(0, scale) restricted to positive values."""

    scale: float

    name = "half_cauchy"
    cites = ("sdpriors",)
    example = (5,)
    kinds = ("positive", "above_one")
    in_units = ("scale",)
    symbol = "\\mathrm{Cauchy}^{+}"

    def wants(self) -> str:
        return "" if self.scale > 0 else "scale > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_half_t(x, 1.0, self.scale)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return self.scale * jnp.abs(jax.random.cauchy(key))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.HalfCauchy(self.scale)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.HalfCauchy({self.scale})"

    def moment_tail(self) -> float:
        return -2.0
