r"""Sums that stand for an integral over the whole line of a density with one peak, laid around that peak.

    integral of exp(h(z)) dz  =  sum over k of exp(h(z_k)) z'(t_k) w_k,      z(t) = mode + scale t + bend (sqrt(t^2 + 4) - 2)

for h concave with ``h'' <= -1`` (a standard normal law times log-concave rows; so are the rows of a class with its
pupils integrated out, by Prekopa's theorem). The mode is found by Newton steps inside a bracket, and scale and bend so
that h falls by 4.5 at t = -3 and at t = 3, as a standard normal law does: a group of which all succeed has a law that
is steep on one side and as wide as the population on the other, and in t it is nearly normal again. Then a plain
trapezoidal rule with equal steps in t errs little: with 13 terms by 2e-7 in the median and 1e-3 at the worst percentile
of 573 trial groups (logit and log, 1 to 1,000 trials, sds .05 to 6), where adaptive Gauss-Hermite with 11 errs by 3e-10
and 1.3e-2, with 25 by 2.6e-3. `gauss_hermite` is that rule, for whoever wants other people's numbers; with one term it
is Laplace's approximation. Rows that have one peak and are not log-concave (beta) take a `patient` rule.

Places carry no derivative (``stop_gradient``), so that the derivative of the sum is that of the integral.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["RULES", "Places", "Rule", "cumulated", "gauss_hermite", "patient", "place", "quantiles", "scores"]

_DROP_AT, _CORNER = 3.0, 2.0
_STEEPEST = 0.95
"""Most that bend may be of scale, so that z increases with t."""
_FAR = 40.0

Function = Callable[[Array], tuple[Array, Array, Array]]
"""Value, first and second derivative at z; any leading axes, (..., group)."""


@dataclass(frozen=True)
class Rule:
    """A sum over one dimension.

    Attributes
    ----------
    terms : int
    reach : float
        The trapezoidal rule's outermost t; 0 for Gauss-Hermite.
    newton, drops : int
        Newton steps towards the mode, and towards the places where the density has fallen.
    """

    terms: int
    reach: float
    newton: int = 5
    drops: int = 2

    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Places t and the logarithms of their weights, each (term,)."""
        if self.reach:
            t = np.linspace(-self.reach, self.reach, self.terms)
            return t, np.full(self.terms, math.log(2 * self.reach / (self.terms - 1)))
        return _hermite(self.terms)


@lru_cache(maxsize=32)
def _hermite(terms: int) -> tuple[np.ndarray, np.ndarray]:
    t, weight = np.polynomial.hermite_e.hermegauss(terms)
    return t, np.log(weight) + 0.5 * t**2


def gauss_hermite(terms: int, newton: int = 12) -> Rule:
    """Adaptive Gauss-Hermite quadrature at the mode, in units of the curvature there; one term is Laplace's
    approximation.
    """
    return Rule(terms, 0.0, newton, 0)


RULES = {
    "study": Rule(11, 5.0),
    "refined": Rule(17, 6.0),
    "fit": Rule(17, 6.0),
    "finest": Rule(33, 6.5, drops=3),
    "check": Rule(65, 8.0, newton=8, drops=4),
}
"""By the exact engine's accuracy; ``check`` is what the others are judged by."""


class Places(NamedTuple):
    """Where a rule lies for each group: z(t) as in the module's docstring; each (..., group)."""

    mode: Array
    scale: Array
    bend: Array

    def at(self, t: np.ndarray | Array) -> tuple[Array, Array]:
        """z and the logarithm of dz/dt; t has leading axes."""
        root = jnp.sqrt(t * t + _CORNER**2)
        return self.mode + self.scale * t + self.bend * (root - _CORNER), jnp.log(self.scale + self.bend * t / root)


def patient(rule: Rule) -> Rule:
    """The rule with three times the Newton steps: for a density of one peak whose logarithm is convex in places."""
    return replace(rule, newton=3 * rule.newton)


def place(function: Function, start: Array, rule: Rule) -> Places:
    """Lay a rule over a density: mode by Newton steps, scale and bend by where it has fallen.

    Parameters
    ----------
    function : callable
        h, h' and h'' at z.
    start : Array, shape (..., group)
        Guess of the mode; a group's own estimate is a good one.
    rule : Rule
    """
    start = jax.lax.stop_gradient(start)

    def climb(_: Any, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        z, low, high = state
        _, slope, bend = function(z)
        beyond = z + slope  # h'' <= -1: the mode lies between
        low, high = (
            jnp.where(slope > 0, z, jnp.maximum(low, beyond)),
            jnp.where(slope > 0, jnp.minimum(high, beyond), z),
        )
        new = z - slope / bend
        return jnp.where((new >= low) & (new <= high), new, 0.5 * (low + high)), low, high

    mode = jax.lax.fori_loop(0, rule.newton, climb, (start, jnp.full_like(start, -_FAR), jnp.full_like(start, _FAR)))[0]
    top, bend = function(mode)[::2]
    scale = jax.lax.rsqrt(jnp.maximum(-bend, 1e-300))
    if not rule.drops:
        return jax.lax.stop_gradient(Places(mode, scale, jnp.zeros_like(mode)))
    sign = jnp.array([-1.0, 1.0], mode.dtype).reshape(2, *[1] * mode.ndim)

    def fall(_: Any, distance: Array) -> Array:
        value, slope, _ = function(mode + sign * distance)
        root = jnp.sqrt(2 * jnp.maximum(top - value, 1e-12))
        new = distance - (root - _DROP_AT) * root / jnp.maximum(-sign * slope, 1e-12)
        return jnp.clip(new, 0.5 * distance, 2 * distance)

    left, right = (
        jax.lax.fori_loop(0, rule.drops, fall, jnp.broadcast_to(_DROP_AT * scale, (2, *scale.shape))) / _DROP_AT
    )
    scale = 0.5 * (left + right)
    bend = 0.5 * (right - left) * _DROP_AT / (math.hypot(_DROP_AT, _CORNER) - _CORNER)
    return jax.lax.stop_gradient(Places(mode, scale, jnp.clip(bend, -_STEEPEST * scale, _STEEPEST * scale)))


# laws in t ------------------------------------------------------------------------------------------------------------

_CELL = (11 / 1440, -93 / 1440, 802 / 1440, 802 / 1440, -93 / 1440, 11 / 1440)
"""Integral over the middle cell of the polynomial through six neighbours."""


def cumulated(share: Array) -> Array:
    """Distribution function at the terms of a trapezoidal rule, from the terms' shares; the term's axis first."""
    padded = jnp.pad(share, [(2, 2)] + [(0, 0)] * (share.ndim - 1))
    cells = sum(c * padded[k : k + share.shape[0] - 1] for k, c in enumerate(_CELL))
    below = jnp.concatenate([jnp.zeros_like(share[:1]), jnp.cumsum(jnp.maximum(cells, 0.0), 0)])
    return below / below[-1:]


def quantiles(share: Array, p: Array, rule: Rule) -> Array:
    """Values t with probability p below, for a law whose terms of a trapezoidal rule have these shares.

    Between neighbours F is the cubic with the right values and slopes.

    Parameters
    ----------
    share : Array, shape (term, group)
    p : Array, shape (group,)
    """
    below, step = cumulated(share), 2 * rule.reach / (rule.terms - 1)
    i = jnp.clip(jnp.sum(below < p, 0) - 1, 0, rule.terms - 2)

    def at(x: Array, k: Array) -> Array:
        return jnp.take_along_axis(x, k[None], 0)[0]

    f0, f1 = at(below, i), at(below, i + 1)
    rise = jnp.maximum(f1 - f0, 1e-300)
    d0, d1 = (jnp.clip(at(share, k), 0.0, 3 * rise) for k in (i, i + 1))
    s = jnp.clip((p - f0) / rise, 0.0, 1.0)
    for _ in range(6):
        value = f0 + s * (d0 + s * (3 * rise - 2 * d0 - d1 + s * (d0 + d1 - 2 * rise)))
        slope = d0 + s * (2 * (3 * rise - 2 * d0 - d1) + 3 * s * (d0 + d1 - 2 * rise))
        s = jnp.clip(s - (value - p) / jnp.maximum(slope, 1e-3 * rise), 0.0, 1.0)
    return -rule.reach + step * (i + s)


def scores(share: Array, rule: Rule, order: int) -> Array:
    """Coefficients a_n of a law's density ``phi(t) (1 + sum over n of a_n He_n(t))``, n = 1 .. order; (order, group).

    Gram and Charlier's series of a law that is nearly standard normal in t; sums over the rule's terms, with their
    shares (term, group).
    """
    t = rule.nodes()[0]
    rows = np.stack(
        [np.polynomial.hermite_e.hermeval(t, [0.0] * n + [1.0]) / math.factorial(n) for n in range(1, order + 1)]
    )
    return jnp.asarray(rows, share.dtype) @ share
