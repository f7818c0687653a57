"""Normal, gamma and beta variates, many at a time and fast on CPU.

`normal` inverts the normal law from 32 random bits in single precision (Giles 2010, Approximating the erfinv function,
GPU Computing Gems 2, chapter 10, table 5): values on a grid of about 1e-7, none beyond 6.3 standard deviations (a
chance of 2e-10).

`log_gamma` is the method of Marsaglia and Tsang (2000), ACM Transactions on Mathematical Software 26(3), 363-372: with
d = a - 1/3, c = 1 / sqrt(9 d), x normal and v = (1 + c x)^3, the proposal d v is kept where log u < x^2 / 2 + d - d v +
d log v. All numbers are proposed once; the few that are turned down (under 5%) are gathered into a short buffer and
proposed again, with bits scrambled from their own first ones. `jax.random.gamma` draws one number at a time on CPU, at
several times the cost.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = ["beta", "gamma", "log_gamma", "normal"]

_CENTRAL = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 2.1858087e-04, -1.25372503e-03, -4.17768164e-03,
    2.46640727e-01, 1.50140941,
)  # fmt: skip
_TAIL = (
    -2.00214257e-04, 1.00950558e-04, 1.34934322e-03, -3.67342844e-03, 5.73950773e-03, -7.6224613e-03, 9.43887047e-03,
    1.00167406, 2.83297682,
)  # fmt: skip


def _inverted(bits: Array) -> Array:
    """Standard normal numbers from words: the sign from one bit, the tail's probability p from the others."""
    p = ((bits >> 1).astype(jnp.int32).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-32)
    w = -jnp.log(4 * p * (1 - p))
    near, far = w - 2.5, jnp.sqrt(w) - 3
    central, tail = jnp.float32(_CENTRAL[0]), jnp.float32(_TAIL[0])
    for a, b in zip(_CENTRAL[1:], _TAIL[1:], strict=True):
        central, tail = jnp.float32(a) + central * near, jnp.float32(b) + tail * far
    size = jnp.float32(math.sqrt(2)) * (1 - 2 * p) * jnp.where(w < 5, central, tail)
    return jnp.where(bits & 1 == 1, -size, size)


def _unit(bits: Array) -> Array:
    """Numbers in (0, 1) from the upper 23 bits of words, in single precision."""
    return ((bits >> 9).astype(jnp.int32).astype(jnp.float32) + 0.5) * jnp.float32(2.0**-23)


def _scrambled(x: Array) -> Array:
    """Other words from words: two rounds of multiplication and shift."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def normal(key: Array, shape: tuple[int, ...], dtype: Any = None) -> Array:
    """Standard normal variates.

    Parameters
    ----------
    key : Array
    shape : tuple of int
    dtype : dtype, optional
        Default: the floating point type in force.

    Examples
    --------
    >>> import jax
    >>> normal(jax.random.key(1), (2, 3)).shape
    (2, 3)
    """
    return _inverted(jax.random.bits(key, shape, jnp.uint32)).astype(dtype or jnp.result_type(float))


def _propose(words: Array, d: Array, c: Array) -> tuple[Array, Array]:
    """Log of a proposal over d, and whether it is kept, from words (2, n).

    Without the barriers XLA computes both results apart, each from the words on.
    """
    x = lax.optimization_barrier(_inverted(words[0]).astype(d.dtype))
    root = 1 + c * x
    positive = root > 0
    root = jnp.where(positive, root, 1.0)
    log_v = lax.optimization_barrier(3 * jnp.log(root))
    return log_v, positive & (jnp.log(_unit(words[1])) < 0.5 * x * x + d * (1 - root**3 + log_v))


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
    a = lax.optimization_barrier(jnp.ravel(shape))
    n = a.shape[0]
    words = jax.random.bits(key, (2, n), jnp.uint32)
    d = jnp.where(a < 1, a + 1, a) - 1 / 3
    c = 1 / (3 * jnp.sqrt(d))
    log_v, kept = _propose(words, d, c)
    hopeless = ~(a > 0) | jnp.isinf(a)
    few = max(8, n // 8)

    def again(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        log_v, kept, step = state
        rank = jnp.cumsum(~kept)
        who = jnp.searchsorted(rank, jnp.arange(1, few + 1), method="scan_unrolled")
        safe = jnp.minimum(who, n - 1)
        some, d_some, c_some = words[:, safe], d[safe], c[safe]

        def retry(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            value, fine, step = state
            fresh = _scrambled(some + step * jnp.uint32(0x9E3779B9))
            new, good = _propose(fresh, d_some, c_some)
            return jnp.where(fine, value, new), fine | good, step + 1

        start = (jnp.zeros_like(d_some), who >= n, step)
        value, _, step = lax.while_loop(lambda s: ~jnp.all(s[1]), retry, start)
        mended = ~kept & (rank <= few)
        return jnp.where(mended, value[jnp.clip(rank - 1, 0, few - 1)], log_v), kept | mended, step

    state = (log_v, kept | hopeless, jnp.ones((), jnp.uint32))
    log_v, _, _ = lax.while_loop(lambda s: ~jnp.all(s[1]), again, state)
    # a shape below one: Gamma(a) is Gamma(a + 1) times a uniform to the power 1 / a
    lift = jnp.log(_unit(_scrambled(words[0] ^ _scrambled(words[1])))) / a
    value = jnp.log(d) + log_v + jnp.where(a < 1, lift, 0.0)
    return jnp.where(hopeless, jnp.nan, value).reshape(jnp.shape(shape))


def gamma(key: Array, shape: Array) -> Array:
    """Gamma(shape, rate 1) variates in the shape of ``shape``."""
    return jnp.exp(log_gamma(key, shape))


def beta(key: Array, a: Array, b: Array) -> Array:
    """Beta(a, b) variates in the broadcast shape of a and b."""
    a, b = jnp.broadcast_arrays(a, b)
    both = log_gamma(key, jnp.stack([a, b]))
    return jax.nn.sigmoid(both[0] - both[1])
