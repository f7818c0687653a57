"""The law of one variable given the hyperparameters, and the kinds of law that there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array

from hiermodels import variates

__all__ = ["KINDS", "Component", "Kind"]


@dataclass(frozen=True)
class Kind:
    """A kind of law of two numbers a and b.

    Attributes
    ----------
    draw : callable
        ``draw(key, a, b)``, JAX.
    moments : callable
        ``moments(a, b)``, mean and variance, NumPy or JAX.
    cdf : callable
        ``cdf(x, a, b)``, NumPy.
    """

    draw: Callable[[Array, Array, Array], Array]
    moments: Callable[[Any, Any], tuple[Any, Any]]
    cdf: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _normal_cdf(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    inside = scipy.stats.norm.cdf((x - a) / np.sqrt(np.where(b > 0, b, 1.0)))
    return np.where(b > 0, inside, np.where(x >= a, 1.0, 0.0))


KINDS = {
    "point": Kind(
        lambda key, a, b: a,
        lambda a, b: (a, jnp.zeros_like(a)),
        lambda x, a, b: np.where(x >= a, 1.0, 0.0),
    ),
    "normal": Kind(
        lambda key, a, b: a + jnp.sqrt(b) * jax.random.normal(key, a.shape, a.dtype),
        lambda a, b: (a, b),
        _normal_cdf,
    ),
    "beta": Kind(
        variates.beta,
        lambda a, b: (a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))),
        lambda x, a, b: scipy.special.betainc(a, b, np.clip(x, 0.0, 1.0)),
    ),
    "gamma": Kind(
        lambda key, a, b: variates.gamma(key, a) / b,
        lambda a, b: (a / b, a / b**2),
        lambda x, a, b: scipy.special.gammainc(a, b * np.maximum(x, 0.0)),
    ),
}
"""``point`` (a is the value), ``normal`` (mean, variance), ``beta`` (a, b) and ``gamma`` (shape, rate)."""


class Component(eqx.Module):
    """Law of a variable given the hyperparameters: one component of the posterior mixture.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    a, b : Array
        Shape () or (group,), padding included.
    base : tuple of Array, or None
        Numbers of a law that all groups share, shape () each, to which each group adds what its own few counts say: ``a - base[0]`` and
        ``b - base[1]`` are free of the hyperparameters.
    """

    kind: str = eqx.field(static=True)
    a: Array
    b: Array
    base: tuple[Array, Array] | None = None

    def draw(self, key: Array) -> Array:
        """Independent draws, in the law's shape."""
        return KINDS[self.kind].draw(key, self.a, self.b)

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance."""
        return KINDS[self.kind].moments(self.a, self.b)
