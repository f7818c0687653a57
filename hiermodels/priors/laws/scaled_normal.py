"""Normal law of a coefficient in units of the residual sd."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["ScaledNormal"]


@dataclass(frozen=True)
class ScaledNormal(Prior):
    """Normal law of a coefficient whose sd is ``ratio`` times sigma, the residual sd; conjugate where sigma is unknown.

    theta | sigma ~ N(mean, (ratio sigma)^2). With ``sigma ~ inverse_gamma_variance(shape, scale)`` this is the
    normal-inverse-gamma prior, under which the posterior of a normal sample is in closed form.
    """

    mean: float
    ratio: float

    name = "scaled_normal"
    example = (1, 2)
    kinds = ("real",)
    in_units = ("mean", "ratio")
    unit = "residual sd"
    instead = "normal(mean, sd)"

    def wants(self) -> str:
        return "" if self.ratio > 0 else "ratio > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        return f"\\mathrm{{N}}({self.mean:g},\\, ({self.ratio:g}\\, {unit})^{{2}})"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        if context is None:
            raise ValueError(
                f"prior {self}: it is in units of another parameter; name another prior, e.g. normal(0, 10)"
            )
        sd = self.ratio * context
        return -0.5 * ((x - self.mean) / sd) ** 2 - jnp.log(sd) - 0.5 * math.log(2 * math.pi)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        if unit is None:
            return super().sample(key)
        return self.mean + self.ratio * unit * jax.random.normal(key)

    def law(self, kind: str = "real", unit: Array | None = None) -> dist.Distribution | None:
        return None if unit is None else dist.Normal(self.mean, self.ratio * unit)

    def source(self, kind: str = "real", unit: str = "") -> str:
        return f"dist.Normal({self.mean}, {self.ratio} * {unit})"

    @property
    def gaussian(self) -> tuple[float, float]:
        return self.mean, self.ratio
