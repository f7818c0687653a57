"""Half t law of a standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["HalfT"]


@dataclass(frozen=True)
class HalfT(Prior):
    """Student t with ``df`` degrees of freedom, restricted to positive values."""

    df: float
    scale: float

    name = "half_t"
    cites = ("sdpriors",)
    example = (3, 2)
    kinds = ("positive", "above_one")
    in_units = ("scale",)
    symbol = "\\mathrm{t}^{+}"

    def wants(self) -> str:
        return "" if self.df > 0 and self.scale > 0 else "df > 0 and scale > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        if rule:
            return f"{self.symbol}_{{{self.df:g}}}(0,\\, ({self.scale:g}\\, {rule})^{{2}})"
        return super().latex()

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_half_t(x, self.df, self.scale)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return self.scale * jnp.abs(jax.random.t(key, self.df))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.FoldedDistribution(dist.StudentT(self.df, 0.0, self.scale))

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.FoldedDistribution(dist.StudentT({self.df}, 0.0, {self.scale}))"

    def moment_tail(self) -> float:
        return -(self.df + 1)
