"""Prior of a mean rate whose population's rate parameter has a gamma law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["GammaRate"]


@dataclass(frozen=True)
class GammaRate(Prior):
    """The rate parameter b = shape_<g> / mean_<g> of a gamma population is Gamma(shape, rate): a prior of ``mean_<g>``.

    Given a = shape_<g> the mean is a / b, an inverse gamma variate with scale ``rate`` times a.
    """

    shape: float
    rate: float

    name = "gamma_rate"
    example = (2, 1.5)
    kinds = ("positive",)
    unit = "concentration"
    instead = "gamma(shape, rate)"

    def wants(self) -> str:
        return "" if self.shape > 0 and self.rate > 0 else "shape > 0 and rate > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        return f"\\mathrm{{InvGamma}}({self.shape:g},\\, {self.rate:g}\\, {unit})"  # of a mean rate, given the shape

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        if context is None:
            raise ValueError(
                f"prior {self}: it is in units of another parameter; name another prior, e.g. normal(0, 10)"
            )
        scale = self.rate * context
        return self.shape * jnp.log(scale) - math.lgamma(self.shape) - (self.shape + 1) * jnp.log(x) - scale / x

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        if unit is None:
            return super().sample(key)
        return self.rate * unit / jax.random.gamma(key, self.shape)

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution | None:
        return None if unit is None else dist.InverseGamma(self.shape, self.rate * unit)

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.InverseGamma({self.shape}, {self.rate} * {unit})"

    @property
    def tail(self) -> float:
        return -self.shape - 1

    @property
    def origin(self) -> float:
        return math.inf
