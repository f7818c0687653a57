"""Normal law of a coefficient."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["Normal"]


@dataclass(frozen=True)
class Normal(Prior):
    """Normal law of a coefficient; the second number is a standard deviation.

    Examples
    --------
    >>> import hiermodels as hm
    >>> str(hm.priors.normal(0, 10))
    'normal(0, 10)'
    """

    mean: float
    sd: float

    name = "normal"
    example = (1, 2)
    kinds = ("real",)
    in_units = ("mean", "sd")
    symbol = "\\mathrm{N}"

    def wants(self) -> str:
        return "" if self.sd > 0 else "sd > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        if rule:
            return f"{self.symbol}(0,\\, ({self.sd:g}\\, {rule})^{{2}})"
        # the second number is a variance in the lines of a model
        return f"{self.symbol}({self.mean:g},\\, {self.sd:g}^{{2}})"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_normal(x, self.mean, self.sd)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return self.mean + self.sd * jax.random.normal(key)

    def law(self, kind: str = "real", unit: Array | None = None) -> dist.Distribution:
        return dist.Normal(self.mean, self.sd)

    def source(self, kind: str = "real", unit: str = "") -> str:
        return f"dist.Normal({self.mean}, {self.sd})"

    @property
    def gaussian(self) -> tuple[float, float]:
        return self.mean, self.sd
