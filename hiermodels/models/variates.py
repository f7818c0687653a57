"""Gamma and beta variates, many at a time.

Marsaglia and Tsang (2000), ACM Transactions on Mathematical Software 26(3), 363-372: with d = a - 1/3, c = 1 / sqrt(9 d), x normal
and v = (1 + c x)^3, the proposal d v is kept where log u < x^2 / 2 + d - d v + d log v. All numbers are proposed once; the few
that are turned down (under 5%) are gathered into a short buffer and proposed again. `jax.random.gamma` draws one number at a
time on CPU, at several times the cost.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = ["beta", "gamma", "log_gamma"]


def _propose(key: Array, d: Array, c: Array) -> tuple[Array, Array]:
    """Log of a proposal, and whether it is kept."""
    normal_key, uniform_key = jax.random.split(key)
    x = jax.random.normal(normal_key, d.shape, d.dtype)
    u = jax.random.uniform(uniform_key, d.shape, d.dtype)
    v = (1 + c * x) ** 3
    positive = v > 0
    log_v = jnp.log(jnp.where(positive, v, 1.0))
    kept = positive & (jnp.log1p(-u) < 0.5 * x * x + d * (1 - v + log_v))
    return jnp.log(d) + log_v, kept


def log_gamma(key: Array, shape: Array) -> Array:
    """Logarithms of Gamma(shape, rate 1) variates, one a shape parameter.

    Parameters
    ----------
    key : Array
    shape : Array
        Positive; any dimensions. NaN gives NaN.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> log_gamma(jax.random.key(1), jnp.full((2, 3), 0.5)).shape
    (2, 3)
    """
    a = jnp.ravel(shape)
    n = a.shape[0]
    d = jnp.where(a < 1, a + 1, a) - 1 / 3
    c = (9 * d) ** -0.5
    first_key, boost_key, more_key = jax.random.split(key, 3)
    value, kept = _propose(first_key, d, c)
    few = max(8, n // 8)

    def again(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        value, kept, key = state
        key, here = jax.random.split(key)
        place = jnp.cumsum(~kept) - 1
        who = jnp.full(few, n).at[jnp.where(kept, n, place)].set(jnp.arange(n), mode="drop")
        safe = jnp.minimum(who, n - 1)
        new, fine = _propose(here, d[safe], c[safe])
        target = jnp.where(fine, who, n)
        return value.at[target].set(new, mode="drop"), kept.at[target].set(True, mode="drop"), key

    hopeless = ~(a > 0) | jnp.isinf(a)
    value, _, _ = lax.while_loop(lambda s: ~jnp.all(s[1]), again, (value, kept | hopeless, more_key))
    # a shape below one: Gamma(a) is Gamma(a + 1) times a uniform to the power 1 / a
    lift = jnp.log1p(-jax.random.uniform(boost_key, a.shape, a.dtype)) / a
    value = jnp.where(hopeless, jnp.nan, jnp.where(a < 1, value + lift, value))
    return value.reshape(jnp.shape(shape))


def gamma(key: Array, shape: Array) -> Array:
    """Gamma(shape, rate 1) variates in the shape of ``shape``."""
    return jnp.exp(log_gamma(key, shape))


def beta(key: Array, a: Array, b: Array) -> Array:
    """Beta(a, b) variates in the broadcast shape of a and b."""
    a, b = jnp.broadcast_arrays(a, b)
    both = log_gamma(key, jnp.stack([a, b]))
    return jax.nn.sigmoid(both[0] - both[1])
