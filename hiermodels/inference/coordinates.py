"""Coordinates in which a posterior of standard deviations looks like a normal law on the whole line.

What groups tell about their standard deviation s they tell through ``y = log(1 + s^2 / k^2)``, the log of the variance
they show over the variance k^2 that they would show at s = 0: there the likelihood is a log chi square. At s = 0 it has
a finite limit, so the density of log s falls off as slowly as s itself, and a standard deviation that may well be zero
has a tail of weights. Hence the coordinate v of a positive parameter:

    t = v - exp(-v) + c exp(v - v0),      y = a log(1 + exp(t)),      s^2 = k^2 (exp(y) - 1)

- for large v, y = a v: the usual scale, a being the width of the log chi square;
- for negative v, s^2 = a k^2 exp(v - exp(-v)): the whole way down to zero takes three units (a double exponential map,
  after
  Takahasi & Mori 1974, Publ. RIMS 9, 721-741);
- the last term draws in polynomial tails upwards, such as those of few groups under a flat prior.

k and a come from the posterior's slice at its mode: value, slope, curvature and the limit at s = 0 (`fit_coordinates`).
Probabilities and correlations take ``u = c + v + 0.2 sinh(v)``; real parameters stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.models.hyper import width
from hiermodels.models.layout import Parameter

__all__ = ["Coordinates", "Kinds", "fit_coordinates", "kinds"]

_POSITIVE, _BOUNDED, _REAL = 0, 1, 2
_REACH = (0.05, 0.02)
"""The number c above: for a prior with polynomial tails, and for one with light tails."""
_FAR = 12.0
"""Logarithms below the mode at which a standard deviation counts as zero."""


@dataclass(frozen=True)
class Kinds:
    """What is known of each coordinate before any data.

    Attributes
    ----------
    kind : tuple of int
        0 positive, 1 bounded, 2 real.
    power : tuple of float
        Power of s that the density of log s starts with.
    light : tuple of bool
        Whether the prior alone gives a positive parameter all its moments.
    """

    kind: tuple[int, ...]
    power: tuple[float, ...]
    light: tuple[bool, ...]


def kinds(parameters: tuple[Parameter, ...]) -> Kinds:
    """Kinds of the coordinates of an unconstrained vector.

    Examples
    --------
    >>> from hiermodels.priors import half_normal
    >>> kinds((Parameter("sd_school", "positive", "group sd", prior=half_normal(5)),))
    Kinds(kind=(0,), power=(1.0,), light=(True,))
    """
    kind: list[int] = []
    power: list[float] = []
    light: list[bool] = []
    word = {"positive": _POSITIVE, "unit": _BOUNDED, "correlation": _BOUNDED, "real": _REAL}
    for p in parameters:
        origin = float(p.prior.origin) if p.kind == "positive" and math.isfinite(p.prior.origin) else 0.0
        kind += [word[p.kind]] * width(p)
        power += [1.0 + origin] * width(p)
        light += [_light(p)] * width(p)
    return Kinds(tuple(kind), tuple(power), tuple(light))


def _light(p: Parameter) -> bool:
    if p.kind != "positive" or math.isfinite(p.prior.support(p.kind)[1]):
        return False
    return p.prior.proper and math.isinf(p.prior.moment_tail())


class Coordinates(eqx.Module):
    """The map from v to the unconstrained u, coordinate by coordinate; all arrays have shape (dim,).

    Attributes
    ----------
    kind : tuple of int
        0 positive, 1 bounded, 2 real.
    centre : Array
        Mode of u.
    k2, a, v0 : Array
        As in the module's docstring, k2 in units of the mode's square; v0 is the mode's place.
    reach : Array
        The number c.
    """

    kind: tuple[int, ...] = eqx.field(static=True)
    centre: Array
    k2: Array
    a: Array
    v0: Array
    reach: Array

    def at(self, i: int) -> Coordinates:
        """One coordinate alone."""
        arrays = (x[i : i + 1] for x in (self.centre, self.k2, self.a, self.v0, self.reach))
        return Coordinates(self.kind[i : i + 1], *arrays)

    def placed(self, v: Array) -> tuple[Array, Array]:
        """Unconstrained vector and log du/dv, elementwise; shapes (..., dim)."""
        shift, log_slope = v, jnp.zeros_like(v)
        if _BOUNDED in self.kind:
            bounded = np.equal(self.kind, _BOUNDED)
            shift = jnp.where(bounded, v + 0.2 * jnp.sinh(v), v)
            log_slope = jnp.where(bounded, jnp.log1p(0.2 * jnp.cosh(v)), 0.0)
        u = self.centre + shift
        if _POSITIVE not in self.kind:
            return u, log_slope
        # every exponential and logarithm is taken once: they are most of what a node costs
        low = jnp.exp(-v)
        far = self.reach * jnp.exp(-self.v0) / low
        t = v - low + far
        tiny, more = t < -30, jnp.log1p(jnp.exp(-jnp.abs(t)))
        y = self.a * (jnp.maximum(t, 0.0) + more)
        share = -jnp.expm1(-jnp.maximum(y, 1e-30))
        positive = self.centre + 0.5 * (jnp.log(self.k2) + jnp.where(tiny, jnp.log(self.a) + t, y + jnp.log(share)))
        slope = jnp.log(0.5 * (1 + low + far) * jnp.where(tiny, 1.0, self.a / share)) + jnp.where(
            tiny, 0.0, jnp.minimum(t, 0.0) - more
        )
        known = np.equal(self.kind, _POSITIVE)
        return jnp.where(known, positive, u), jnp.where(known, slope, log_slope)

    def u(self, v: Array) -> Array:
        """Unconstrained vector; shapes (..., dim)."""
        return self.placed(v)[0]

    def log_slope(self, v: Array) -> Array:
        """log du/dv, elementwise."""
        return self.placed(v)[1]

    def v(self, u: Array) -> Array:
        """Inverse of `u`, elementwise; minus infinity goes to a very negative number."""
        shift = u - self.centre
        y = jnp.logaddexp(2 * jnp.maximum(shift, -300.0) - jnp.log(self.k2), 0.0) / self.a
        t = jnp.where(y < 1e-12, jnp.log(jnp.maximum(y, 1e-300)), y + jnp.log(-jnp.expm1(-jnp.maximum(y, 1e-12))))
        v = jnp.where(t < 0, -jnp.log1p(-jnp.minimum(t, 0.0)), t)
        v = jnp.minimum(v, self.v0 + 1 + jnp.log1p(jnp.maximum(t - self.v0, 0.0) / self.reach))

        def newton(_: int, v: Array) -> Array:
            low, high = jnp.exp(-v), self.reach * jnp.exp(v - self.v0)
            return v - (v - low + high - t) / (1 + low + high)

        v = jnp.where(np.equal(self.kind, _POSITIVE), jax.lax.fori_loop(0, 14, newton, v), shift)
        if _BOUNDED not in self.kind:
            return v
        bounded = jnp.clip(shift, -300.0, 300.0)

        def closer(_: int, x: Array) -> Array:
            return x - (x + 0.2 * jnp.sinh(x) - bounded) / (1 + 0.2 * jnp.cosh(x))

        return jnp.where(np.equal(self.kind, _BOUNDED), jax.lax.fori_loop(0, 14, closer, jnp.arcsinh(bounded)), v)


def fit_coordinates(log_density: Callable[[Array], Array], mode: Array, curvature: Array, known: Kinds) -> Coordinates:
    """Coordinates that suit a posterior, from its slices at the mode.

    With s = 1 at the mode and q = 1 / (1 + k^2), a log chi square likelihood
    ``-(nu / 2) (y - yhat + exp(yhat - y) - 1)`` times ``s^power`` has there

        nu q (1 - E) = power,   2 q^2 nu - 2 q power + 2 power (1 - q) = curvature,   (nu / 2) (E q / (1 - q) + log(1 - q)) = D

    with ``E = exp(yhat - y)`` and D the drop of the log likelihood from the mode to s = 0: the last one gives q by
    bisection, kept between 0.4 and 0.98 (a smaller q would stretch the upper tail, where few groups make y itself the
    scale to use).

    Parameters
    ----------
    log_density : callable
        Of the unconstrained vector.
    mode : Array, shape (dim,)
    curvature : Array, shape (dim,)
        Minus the diagonal of the Hessian there.
    known : Kinds
    """  # noqa: E501
    dim = mode.shape[0]
    power = jnp.asarray(np.array(known.power), mode.dtype)
    reach = jnp.asarray(np.where(known.light, _REACH[1], _REACH[0]), mode.dtype)
    lowered = mode - _FAR * jnp.eye(dim, dtype=mode.dtype)
    drop = log_density(mode) - jax.vmap(log_density)(lowered) - power * _FAR
    drop = jnp.where(jnp.isfinite(drop), drop, 1e6)

    def law(q: Array) -> tuple[Array, Array]:
        nu = (curvature - 2 * power + 4 * power * q) / (2 * q * q)
        return nu, 1 - power / (nu * q)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        q = 0.5 * (ends[0] + ends[1])
        nu, e = law(q)
        short = nu / 2 * (e * q / (1 - q) + jnp.log1p(-q)) < drop
        return jnp.where(short, q, ends[0]), jnp.where(short, ends[1], q)

    ends = (jnp.full(dim, 0.4, mode.dtype), jnp.full(dim, 0.98, mode.dtype))
    low, high = jax.lax.fori_loop(0, 12, halve, ends)
    q = 0.5 * (low + high)
    nu, e = law(q)
    y = -jnp.log1p(-q)
    sharp = nu * e
    a = jnp.where(sharp > 0, jnp.minimum(y, jnp.sqrt(2 / jnp.maximum(sharp, 1e-9))), y)
    t = y / a + jnp.log(-jnp.expm1(-y / a)) - reach
    v = jnp.maximum(t, 0.3)
    v = jax.lax.fori_loop(0, 6, lambda _, v: v - (v - jnp.exp(-v) - t) / (1 + jnp.exp(-v)), v)
    v = jnp.where(np.equal(known.kind, _POSITIVE), v, 0.0)
    return Coordinates(known.kind, mode, (1 - q) / q, a, v, reach)
