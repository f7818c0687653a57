"""Ratios of gamma functions at a count, fast and without cancellation.

Every beta-binomial and gamma-Poisson likelihood is built of

    R(a, y) = log Gamma(a + y) - log Gamma(a) - y log a = sum over i < y of log(1 + i / a),

which is 0 at y = 0 and falls to 0 as a grows: population laws close to complete pooling lose no digits. Two ways to
compute it: `log_rising` for any y, by Stirling's series eight steps up; `tally` and `tallied` where many groups share
one ``a``, by counting once how often each i occurs.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["log_rising", "positive", "tallied", "tally"]

_SHIFT = 8
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
"""Coefficients of 1/z, 1/z^3, ...; the rest is below 1e-15 for z >= 8 (Abramowitz & Stegun 1964, 6.1.41)."""


@jax.custom_jvp
def log_rising(a: Array, y: Array) -> Array:
    """R(a, y) = log Gamma(a + y) - log Gamma(a) - y log a, for a > 0 and y >= 0.

    Parameters
    ----------
    a : Array
        Positive; differentiable, to any order.
    y : Array
        Counts, as floats, broadcast against ``a``; taken as constants by every derivative.

    Examples
    --------
    >>> round(float(log_rising(2.0, 3.0)), 4)  # log(1 + 1/2) + log(1 + 2/2)
    1.0986
    """
    return _value_and_slope(a, y)[0]


@log_rising.defjvp
def _log_rising_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    value, slope = _value_and_slope(*primals)
    return value, slope * tangents[0]


def _value_and_slope(a: Array, y: Array) -> tuple[Array, Array]:
    """R and dR/da = digamma(a + y) - digamma(a) - y / a; parts that hold ``a`` alone keep its shape."""
    a, y = jnp.asarray(a), jnp.asarray(y)
    z0 = a + _SHIFT
    series0, slope0, product0, sum0 = _part(a)
    series1, slope1, product1, sum1 = _part(a + y)
    step = jnp.log1p(y / z0)
    value = (a + y - 0.5) * step + y * (jnp.log1p(_SHIFT / a) - 1) + series1 - series0 - jnp.log(product1 / product0)
    return value, step + slope1 - slope0 - (sum1 - sum0) - y / a


def _part(x: Array) -> tuple[Array, Array, Array, Array]:
    """Stirling's series at z = x + 8, its digamma part, prod (x + k) / z and sum 1 / (x + k) over k < 8."""
    r = 1 / (x + _SHIFT)
    r2 = r * r
    series, slope = jnp.zeros_like(x), jnp.zeros_like(x)
    for n, c in reversed(list(enumerate(_STIRLING))):
        series, slope = series * r2 + c, slope * r2 + c * (2 * n + 1)
    product, above = jnp.ones_like(x), jnp.zeros_like(x)
    for k in range(_SHIFT):
        factor = (x + k) * r
        product, above = product * factor, above * factor + product
    return series * r, -0.5 * r - slope * r2, product, r * above / product


def tally(y: Array, bound: int) -> Array:
    """c_i = number of entries of y above i, for i = 0 .. bound - 1.

    Parameters
    ----------
    y : Array, shape (group,)
        Counts of at most ``bound``.

    Examples
    --------
    >>> tally(jnp.array([0.0, 1.0, 3.0]), 4).tolist()
    [2.0, 1.0, 1.0, 0.0]
    """
    y = jnp.asarray(y)
    counts = jnp.zeros(bound + 1, y.dtype).at[y.astype(jnp.int32)].add(1.0)
    return jnp.cumsum(counts[::-1])[::-1][1:]


def tallied(a: Array, counts: Array) -> Array:
    """Sum over groups of R(a, y), from the tally of y: sum_i c_i log(1 + i / a).

    Parameters
    ----------
    a : Array, shape (...,)
    counts : Array, shape (..., bound)
    """
    i = jnp.arange(counts.shape[-1], dtype=counts.dtype)
    return jnp.sum(counts * jnp.log(1 + i / a[..., None]), -1)


def positive(a: Array, high: float = 1e30) -> Array:
    """Keep a concentration, or a mean, within what the arithmetic carries; flat outside."""
    return jnp.clip(a, float(jnp.finfo(a.dtype).tiny) ** 0.9, high)
