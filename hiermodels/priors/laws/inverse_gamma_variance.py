"""Inverse gamma law of a variance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["InverseGammaVariance"]


@dataclass(frozen=True)
class InverseGammaVariance(Prior):
    """Inverse gamma law of the variance v, density proportional to v^-(shape + 1) exp(-scale / v)."""

    shape: float
    scale: float

    name = "inverse_gamma_variance"
    example = (3, 4)
    kinds = ("positive",)

    def wants(self) -> str:
        return "" if self.shape > 0 and self.scale > 0 else "shape > 0 and scale > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        constant = self.shape * math.log(self.scale) - math.lgamma(self.shape)
        return constant - (2 * self.shape + 1) * jnp.log(x) - self.scale / x**2 + math.log(2.0)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jnp.sqrt(self.scale / jax.random.gamma(key, self.shape))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.TransformedDistribution(
            dist.InverseGamma(self.shape, self.scale), dist.transforms.PowerTransform(0.5)
        )

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return (
            f"dist.TransformedDistribution(dist.InverseGamma({self.shape}, {self.scale}), "
            f"dist.transforms.PowerTransform(0.5))"
        )

    @property
    def origin(self) -> float:
        return math.inf

    def moment_tail(self) -> float:
        return -2 * self.shape - 1

    def inverse_gamma(self) -> tuple[float, float]:
        return 2 * self.shape + 1, self.scale
