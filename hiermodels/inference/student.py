"""Quantiles of Student's t, for degrees of freedom that are only known once the data are."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import betainc, ndtri
from jax.scipy.stats import t as student

__all__ = ["student_quantile"]

_STEPS = 30
_MANY = 1e4
"""Degrees of freedom beyond which the expansion about the normal quantile is exact to rounding."""


def student_quantile(p: float | Array, df: float | Array) -> Array:
    """Quantile of Student's t with ``df`` degrees of freedom.

    The distribution function is concave right of 0, so that Newton's method, begun at the normal quantile (which lies
    between 0 and the answer), climbs to the answer without passing it. For many degrees of freedom the expansion of
    Fisher and Cornish (1960, Technometrics 2, 209-225) takes its place.

    Parameters
    ----------
    p : float or Array
        Probability between 0 and 1.
    df : float or Array
        Degrees of freedom of at least 1; infinity gives the normal quantile. Below 1 the answer is NaN.

    Examples
    --------
    >>> [round(float(student_quantile(0.975, n)), 3) for n in (1.0, 7.0, jnp.inf)]
    [12.706, 2.365, 1.96]
    """
    p, df = jnp.broadcast_arrays(jnp.asarray(p, jnp.result_type(float)), jnp.asarray(df, jnp.result_type(float)))
    beyond = jnp.minimum(p, 1 - p)
    normal = -ndtri(beyond)
    finite = jnp.clip(df, 1.0, _MANY)

    def climb(_: int, t: Array) -> Array:
        tail = 0.5 * betainc(finite / 2, 0.5, finite / (finite + t * t))
        return t + (tail - beyond) / student.pdf(t, finite)

    expanded = normal + (normal**3 + normal) / (4 * df) + (5 * normal**5 + 16 * normal**3 + 3 * normal) / (96 * df**2)
    t = jnp.where(df > _MANY, expanded, lax.fori_loop(0, _STEPS, climb, normal))
    return jnp.where(df >= 1, jnp.sign(p - 0.5) * t, jnp.nan)
