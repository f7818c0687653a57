"""Order statistics of draws inside compiled code: sorted rows, ranks with ties, quantiles, highest-density intervals.

A row is a scalar: all its draws, chains end to end. Anything that is not finite gives NaN, never an exception.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtri

if TYPE_CHECKING:
    from jax import Array
    from jax.typing import ArrayLike

__all__ = ["hdi", "in_order", "interpolated", "marked", "normal_scores", "quantile", "rows_of", "scores_in_order"]


def quantile(x: Array, prob: ArrayLike) -> Array:
    """Give quantiles of all chains together, interpolated linearly between order statistics.

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws.
    prob : ArrayLike, shape () or (prob,)
        Probabilities.

    Returns
    -------
    Array, shape (*dims,) or (*dims, prob)
        Quantiles of type 7 of Hyndman and Fan (1996), numpy's default; NaN where a draw is not finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> float(quantile(jnp.arange(11.0)[None], 0.25))
    2.5
    """
    rows, dims, _ = rows_of(x)
    ordered = in_order(rows)[0]
    prob = jnp.asarray(prob)
    out = marked(interpolated(ordered, jnp.ravel(prob)), rows[:, None, :])
    return out.reshape(dims + prob.shape)


def hdi(x: Array, prob: float = 0.95) -> Array:
    """Give the highest-density interval: the narrowest with ``floor(prob n)`` steps between draws.

    Parameters
    ----------
    x : Array, shape (chain, draw, *dims)
        Draws of a unimodal quantity.
    prob : float
        Content of the interval.

    Returns
    -------
    Array, shape (*dims, 2)
        Lower and upper end; NaN where a draw is not finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> hdi(jnp.asarray([[0.0, 4.0, 5.0, 5.5, 9.0, 20.0]]), 0.5).tolist()
    [4.0, 9.0]
    """
    rows, dims, _ = rows_of(x)
    ordered = in_order(rows)[0]
    n = rows.shape[1]
    step = min(math.floor(prob * n), n - 1)
    start = jnp.argmin(ordered[:, step:] - ordered[:, : n - step], axis=1)
    ends = jnp.stack([start, start + step], axis=1)
    return marked(jnp.take_along_axis(ordered, ends, axis=1), rows[:, None, :]).reshape((*dims, 2))


def rows_of(x: Array) -> tuple[Array, tuple[int, ...], tuple[int, int]]:
    """One row a scalar, chains end to end: ``(prod(dims), chain * draw)``; dims; (chain, draw)."""
    x = jnp.asarray(x)
    x = x.astype(jnp.promote_types(x.dtype, jnp.result_type(float)))
    chains, draws, *dims = x.shape
    return jnp.moveaxis(x.reshape(chains * draws, -1), 0, -1), tuple(dims), (chains, draws)


def marked(value: Array, rows: Array) -> Array:
    """NaN where a draw is not finite."""
    return jnp.where(jnp.isfinite(rows).all(axis=-1), value, jnp.nan)


def in_order(rows: Array) -> tuple[Array, Array]:
    """Sort rows: sorted values and the order that sorts them.

    XLA sorts one integer three times as fast as a float64 with its index. So the bits of ``x - mean`` become
    integers of the same order, and their last bits give way to the index. Values that agree to some 40
    bits of their distance from the mean may then be out of order, until neighbours have changed places.
    """
    n = rows.shape[-1]
    if rows.dtype != jnp.float64:
        order = jnp.argsort(rows, axis=-1)
        return jnp.take_along_axis(rows, order, axis=-1), order
    bits = lax.bitcast_convert_type(rows - rows.mean(-1, keepdims=True) + 0.0, jnp.int64)
    bits = bits ^ ((bits >> 63) & jnp.int64(2**63 - 1))
    mask = jnp.int64(2 ** math.ceil(math.log2(max(n, 2))) - 1)
    keys = lax.sort((bits & ~mask) | jnp.arange(n, dtype=jnp.int64), dimension=-1, is_stable=False)
    order = keys & mask
    return _settle(jnp.take_along_axis(rows, order, axis=-1), order)


def _settle(ordered: Array, order: Array) -> tuple[Array, Array]:
    """Finish a sort that is all but done: neighbours change places, even pairs and odd pairs in turn."""
    place = jnp.arange(ordered.shape[-1])

    def swap(ordered: Array, order: Array, parity: int) -> tuple[Array, Array]:
        wrong = (ordered[:, 1:] < ordered[:, :-1]) & (place[:-1] % 2 == parity)
        edge = jnp.zeros_like(wrong[:, :1])
        up, down = jnp.concatenate([wrong, edge], 1), jnp.concatenate([edge, wrong], 1)
        take = place + up.astype(int) - down.astype(int)
        return jnp.take_along_axis(ordered, take, axis=1), jnp.take_along_axis(order, take, axis=1)

    return lax.while_loop(
        lambda s: jnp.any(s[0][:, 1:] < s[0][:, :-1]), lambda s: swap(*swap(*s, 0), 1), (ordered, order)
    )


def normal_scores(halves: Array) -> Array:
    """Normal scores of the average ranks of all draws of a row (V21, equation 14), in the shape given."""
    flat = halves.reshape(halves.shape[0], -1)
    return scores_in_order(*in_order(flat)).reshape(halves.shape)


def scores_in_order(ordered: Array, order: Array) -> Array:
    """Normal scores in the order of the draws; a table of them, as average ranks are halves of integers."""
    rows, n = ordered.shape
    first, last = _ties(ordered)
    table = ndtri(((jnp.arange(2 * n - 1) / 2 + 1) - 3 / 8) / (n + 1 / 4)).astype(ordered.dtype)
    scores = table[first + last]
    return jnp.zeros_like(scores).at[jnp.arange(rows)[:, None], order].set(scores, unique_indices=True)


def _ties(ordered: Array) -> tuple[Array, Array]:
    """First and last place of each value's run of equal values; costs nothing where there are no ties."""
    n = ordered.shape[1]
    place = jnp.arange(n)
    changes = ordered[:, 1:] != ordered[:, :-1]
    edge = jnp.ones_like(changes[:, :1])
    first = jnp.where(jnp.concatenate([edge, changes], axis=1), place, -1)
    last = jnp.where(jnp.concatenate([changes, edge], axis=1), place, n)

    def double(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        first, last, step = state
        before, after = jnp.maximum(place - step, 0), jnp.minimum(place + step, n - 1)
        return jnp.maximum(first, first[:, before]), jnp.minimum(last, last[:, after]), 2 * step

    def unfinished(state: tuple[Array, Array, Array]) -> Array:
        return jnp.any(state[0] < 0) | jnp.any(state[1] == n)

    return lax.while_loop(unfinished, double, (first, last, jnp.int32(1)))[:2]


def interpolated(ordered: Array, prob: Array) -> Array:
    """Quantiles of sorted rows: (row, prob)."""
    n = ordered.shape[1]
    at = prob * (n - 1)
    low = jnp.clip(jnp.floor(at).astype(int), 0, n - 1)
    below, above, part = ordered[:, low], ordered[:, jnp.minimum(low + 1, n - 1)], at - low
    step = above - below
    return jnp.where(part < 0.5, below + step * part, above - step * (1 - part))  # exact at either end
