"""A parameter that is known."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from hiermodels.priors.law import Prior

__all__ = ["Fixed"]

_WANTED = {
    "positive": ("a value >= 0; give the standard deviation itself", lambda x: x >= 0),
    "above_one": ("a value >= 1; fewer degrees of freedom leave no mean", lambda x: x >= 1),
    "unit": ("a value between 0 and 1; give a probability", lambda x: 0 < x < 1),
}


@dataclass(frozen=True)
class Fixed(Prior):
    """The parameter is known and equals ``value``."""

    value: float

    name = "fixed"
    example = (0.4,)
    kinds = ("real", "positive", "above_one", "unit")
    in_units = ("value",)
    known = True

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return jnp.zeros_like(x)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jnp.asarray(self.value)

    def misfit(self, kind: str) -> str:
        wanted, holds = _WANTED.get(kind, ("", lambda x: True))
        return "" if holds(self.value) else f": expected {wanted}"

    def finite_exponential(self, r: float) -> bool:
        return True
