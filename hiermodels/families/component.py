"""The law of one variable given the hyperparameters, and the kinds of law that there are."""

from __future__ import annotations

import math
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

__all__ = ["KINDS", "Component", "Kind", "bent_cdf", "unbent"]


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
    cdf: Callable[..., np.ndarray]


_CORNER = 2.0


def unbent(x: Any, laid: Any) -> tuple[Any, Any]:
    """t and dt/dx of a bent law at x: ``x = centre + scale t + bend (sqrt(t^2 + 4) - 2)``; ``laid`` holds the three
    numbers first.

    With r = bend / scale and ``d = (x - centre) / scale + 2 r`` this is ``d = t + r sqrt(t^2 + 4)``, whose square is
    quadratic in t.
    """
    scale = jnp.maximum(laid[1], 1e-150)
    r = laid[2] / scale
    d = (x - laid[0]) / scale + _CORNER * r
    rest = 1 - r * r
    t = (d - r * jnp.sqrt(d * d + _CORNER**2 * rest)) / rest
    return t, 1 / (scale * (1 + r * t / jnp.sqrt(t * t + _CORNER**2)))


def bent_cdf(t: Any, series: Any) -> tuple[Any, Any]:
    """F and f at t of ``phi(t) (1 + sum over n of a_n He_n(t))``: F is ``Phi(t) - phi(t) sum over n of a_n
    He_(n-1)(t)``.
    """
    before, here = jnp.zeros_like(t), jnp.ones_like(t)
    below, density = jnp.zeros_like(t * series[0]), jnp.ones_like(t * series[0])
    for n, a in enumerate(series):
        below = below + a * here
        before, here = here, t * here - n * before
        density = density + a * here
    bell = jnp.exp(-0.5 * t * t) / math.sqrt(2 * math.pi)
    return 0.5 * jax.scipy.special.erfc(-t / math.sqrt(2.0)) - bell * below, bell * density


def _bent_cdf(x: np.ndarray, a: np.ndarray, b: np.ndarray, more: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        found = bent_cdf(unbent(jnp.asarray(x), jnp.asarray(more))[0], jnp.asarray(more)[3:-1])[0]
        return np.clip(np.where(more[1] > 0, np.asarray(found), np.where(x >= a, 1.0, 0.0)), 0.0, 1.0)


def _no_draw(key: Array, a: Array, b: Array) -> Array:
    raise NotImplementedError("a bent law is drawn from by the model that it belongs to")


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
    "bent": Kind(_no_draw, lambda a, b: (a, b), _bent_cdf),
}
"""``point`` (a is the value), ``normal`` (mean, variance), ``beta`` (a, b), ``gamma`` (shape, rate), ``bent`` (mean,
variance, and `Component.more`).
"""


class Component(eqx.Module):
    """Law of a variable given the hyperparameters: one component of the posterior mixture.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    a, b : Array
        Shape () or (group,), padding included.
    base : tuple of Array, or None
        Numbers of a law that all groups share, shape () each, to which each group adds what its own few counts say: ``a
        - base[0]`` and
        ``b - base[1]`` are free of the hyperparameters.
    more : Array, or None
        Of a bent law, first axis: centre, scale and bend (`unbent`), the coefficients of its series in t (`bent_cdf`),
        and how far the series' distribution function is off.
    """

    kind: str = eqx.field(static=True)
    a: Array
    b: Array
    base: tuple[Array, Array] | None = None
    more: Array | None = None

    @classmethod
    def point(cls, value: Array) -> Component:
        """Law of a variable that the hyperparameters fix."""
        return cls("point", value, jnp.zeros_like(value))

    def draw(self, key: Array) -> Array:
        """Independent draws, in the law's shape."""
        return KINDS[self.kind].draw(key, self.a, self.b)

    def moments(self) -> tuple[Array, Array]:
        """Mean and variance."""
        return KINDS[self.kind].moments(self.a, self.b)
