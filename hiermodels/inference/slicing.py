"""Slice sampling of one coordinate, or of many that are independent of one another, side by side.

Neal (2003), Annals of Statistics 31(3), 705-767: a level is drawn under the density at the current value, an interval
around it is stepped out in units of ``width`` until both ends are below the level (figure 3), and proposals from the
interval shrink it towards the current value until one is above (figure 5).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = ["slice_step"]

_EXPANSIONS = 12
"""Most times that an interval is widened, both ends together."""
_SHRINKS = 100
"""Proposals after which a coordinate stays where it is."""


def slice_step(key: Array, x: Array, log_density: Callable[[Array], Array], width: Array) -> Array:
    """One slice update of every entry of ``x``.

    Parameters
    ----------
    key : Array
    x : Array, any shape
        Current values; each entry is one coordinate.
    log_density : callable
        Values to the log density of each, in the same shape: entry i may depend on entry i of its argument only. NaN
        counts as minus infinity.
    width : Array
        Of the first interval, broadcast against ``x``: a guess of the slice's length; a factor of ten either way costs
        evaluations only.

    Returns
    -------
    Array
        New values, in the shape of ``x``.

    Examples
    --------
    >>> x = jnp.zeros(1000)
    >>> for key in jax.random.split(jax.random.key(0), 20):
    ...     x = slice_step(key, x, lambda z: -0.5 * z**2, jnp.asarray(2.0))
    >>> abs(float(jnp.std(x)) - 1) < 0.1
    True
    """
    level_key, place_key, room_key, shrink_key = jax.random.split(key, 4)
    level = log_density(x) - jax.random.exponential(level_key, x.shape, x.dtype)
    width = jnp.broadcast_to(width, x.shape)

    def above(z: Array) -> Array:
        return log_density(z) > level

    left = x - width * jax.random.uniform(place_key, x.shape, x.dtype)
    room = jnp.floor(_EXPANSIONS * jax.random.uniform(room_key, x.shape, x.dtype))
    ends = _step_out(above, jnp.stack([left, left + width]), width, jnp.stack([room, _EXPANSIONS - 1 - room]))
    return _shrink(above, x, ends[0], ends[1], shrink_key)


def _step_out(above: Callable[[Array], Array], ends: Array, width: Array, room: Array) -> Array:
    """Widen the intervals until both ends, (2, ...), are below the level, or the room is used up."""
    outwards = jnp.stack([-width, width])

    def widen(state: tuple) -> tuple:
        ends, room, go = state
        go = go & (room > 0) & jax.vmap(above)(ends)
        return jnp.where(go, ends + outwards, ends), room - go, go

    return lax.while_loop(lambda s: jnp.any(s[2]), widen, (ends, room, jnp.ones(ends.shape, bool)))[0]


def _shrink(above: Callable[[Array], Array], x: Array, left: Array, right: Array, key: Array) -> Array:
    """Propose from the intervals, shrinking them towards ``x``, until every entry has a value above its level."""

    def propose(state: tuple) -> tuple:
        count, key, z, left, right, open_ = state
        key, here = jax.random.split(key)
        tried = left + (right - left) * jax.random.uniform(here, x.shape, x.dtype)
        kept = open_ & above(tried)
        z, open_ = jnp.where(kept, tried, z), open_ & ~kept
        left = jnp.where(open_ & (tried < x), tried, left)
        return count + 1, key, z, left, jnp.where(open_ & (tried >= x), tried, right), open_

    state = (jnp.zeros((), jnp.int32), key, x, left, right, jnp.ones(x.shape, bool))
    return lax.while_loop(lambda s: (s[0] < _SHRINKS) & jnp.any(s[5]), propose, state)[2]
