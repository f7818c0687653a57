"""Constant density."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["Flat"]


@dataclass(frozen=True)
class Flat(Prior):
    """Constant density, improper: on a coefficient, or on a standard deviation."""

    name = "flat"
    kinds = ("real", "positive", "unit")
    constant = True

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return jnp.zeros_like(x)

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution | None:
        return dist.Uniform(0.0, 1.0) if kind == "unit" else None

    def source(self, kind: str = "positive", unit: str = "") -> str | None:
        return "dist.Uniform(0.0, 1.0)" if kind == "unit" else None

    @property
    def tail(self) -> float:
        return 0.0

    def proper_on(self, kind: str) -> bool:
        return kind == "unit"

    @property
    def gaussian(self) -> tuple[float, float]:
        return 0.0, math.inf

    def conjugate(self, kind: str) -> tuple[float, float]:
        return (1.0, 1.0) if kind == "unit" else (1.0, 0.0)

    def inverse_gamma(self) -> tuple[float, float]:
        return 0.0, 0.0
