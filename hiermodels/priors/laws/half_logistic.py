"""Half logistic law of a standard deviation."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["HalfLogistic"]

_BEND = 1.5434046384182084
"""Root of x tanh(x / 2) = 1."""


@dataclass(frozen=True)
class HalfLogistic(Prior):
    """Logistic(0, scale) restricted to positive values: flat at zero as a half normal, with the tail of an exponential.

    p(x) = 2 exp(-x / scale) / (scale (1 + exp(-x / scale))^2); its median is scale log 3.

    Examples
    --------
    >>> import hiermodels as hm
    >>> str(hm.priors.half_logistic(2))
    'half_logistic(2)'
    """

    scale: float

    name = "half_logistic"
    example = (1.5,)
    kinds = ("positive", "above_one")
    in_units = ("scale",)
    symbol = "\\mathrm{Logistic}^{+}"

    def wants(self) -> str:
        return "" if self.scale > 0 else "scale > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        z = x / self.scale
        return math.log(2.0) - math.log(self.scale) - z - 2 * jnp.log1p(jnp.exp(-z))

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return self.scale * jnp.abs(jax.random.logistic(key))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.FoldedDistribution(dist.Logistic(0.0, self.scale))

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.FoldedDistribution(dist.Logistic(0.0, {self.scale}))"

    def bend(self) -> float:
        return _BEND * self.scale
