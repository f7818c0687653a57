"""Trajectories of the no-U-turn sampler in many lanes: the loop at the heart of `hiermodels.inference.nuts`.

The recursion that builds a trajectory is unrolled into one leapfrog step a pass, and lanes are independent:
when one has finished its trajectory, the same pass writes its draw down and starts its next one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jax import Array

__all__ = ["RECORDED", "advance", "fill_noise"]

RECORDED = ("lp", "acceptance_rate", "tree_depth", "n_steps", "diverging", "energy")
"""The columns of a row after the position."""

_DIVERGENT = 1000.0


class _Walk(NamedTuple):
    """Where each lane is. The last axis is the lane; few large arrays, as each one costs a pass a step."""

    front: Array  # the end that is being extended: position, momentum, gradient; (3, dim, lane)
    back: Array  # the other end
    pick: Array  # the state chosen from the trajectory: position, gradient, log density; (2 dim + 1, lane)
    sub_pick: Array  # the state chosen from the half that is being added
    weight: Array
    sub_weight: Array
    rho: Array  # sum of the momenta of the trajectory; (dim, lane)
    sub_rho: Array
    ladder: Array  # momentum and sum of momenta at the left ends of unfinished subtrees; (2, rung, dim, lane)
    energy: Array
    sign: Array
    depth: Array
    steps: Array
    accept: Array
    count: Array  # type: ignore[assignment]  # draws finished in this block
    rows: Array  # draws: (lane, draw, dim + statistic)


def advance(
    density: Callable,
    point: Array,
    step: Array,
    scale: Array,
    noise: tuple[Array, Array],
    rows: Array,
    offset: Array,
    size: Array,
    max_depth: int,
) -> tuple[Array, Array]:
    """Make ``size`` draws in every lane, one leapfrog step of all lanes at a time, from row ``offset`` on.

    Momenta are standard normal and positions move by ``scale @ momentum``: sampling in whitened coordinates.
    """
    momenta, seeds = noise
    width, dim, lanes = momenta.shape
    lane = jnp.arange(lanes)

    def at(table: Array, count: Array) -> Array:
        return table[jnp.minimum(count, width - 1), :, lane].T

    def forward(x: Array) -> Array:
        return scale * x if scale.ndim == 2 else (scale * x).sum(axis=1)

    def backward(x: Array) -> Array:
        return scale * x if scale.ndim == 2 else (scale * x[:, None]).sum(axis=0)

    def leap(w: _Walk) -> _Walk:
        active = w.count < size
        half = 0.5 * jnp.where(active, step * w.sign, 0.0)
        p = w.front[1] + half * backward(w.front[2])
        q = w.front[0] + 2.0 * half * forward(p)
        lp, g = density(q)
        p = p + half * backward(g)
        gain = lp - 0.5 * jnp.sum(p * p, axis=0) + w.energy
        gain = jnp.where(jnp.isfinite(gain), gain, -jnp.inf)
        diverging = gain < -_DIVERGENT
        weight = jnp.exp(jnp.minimum(gain, 600.0 if q.dtype == jnp.float64 else 80.0))
        bits = _mixed(at(seeds, w.count) + w.steps.astype(jnp.uint32) * jnp.uint32(0x9E3779B9))

        # the half that is being added
        leaf = w.steps + 1 - jnp.left_shift(1, w.depth)
        first = leaf == 0
        sub_weight = jnp.where(first, 0.0, w.sub_weight) + weight
        sub_rho = jnp.where(first, 0.0, w.sub_rho) + p
        take = first | (_unit(bits[0], p.dtype) * sub_weight < weight)
        sub_pick = jnp.where(take, jnp.concatenate([q, g, lp[None]]), w.sub_pick)
        ladder, turning = _climb(leaf, p, sub_rho, w.ladder)
        stop = turning | diverging
        merge = active & ~stop & (leaf + 1 == jnp.left_shift(1, w.depth))

        # the whole trajectory
        take = merge & (_unit(bits[1], p.dtype) * w.weight < sub_weight)
        pick = jnp.where(take, sub_pick, w.pick)
        total, rho = w.weight + jnp.where(merge, sub_weight, 0.0), w.rho + jnp.where(merge, sub_rho, 0.0)
        depth, steps, accept = w.depth + merge, w.steps + 1, w.accept + jnp.minimum(weight, 1.0)
        whole = _turning(p, w.back[1], rho) | (depth == max_depth)
        done = active & (stop | (merge & whole))
        stats = (pick[-1], accept / steps, w.depth + 1, steps, diverging, w.energy)
        row = jnp.concatenate([pick[:dim], jnp.stack([s.astype(q.dtype) for s in stats])]).T
        place = jnp.where(done, offset + w.count, rows.shape[1])

        # the next one, or its next half
        count = w.count + done
        fresh = jnp.stack([pick[:dim], at(momenta, count), pick[dim:-1]])
        sign = jnp.where(merge, 1.0 - 2.0 * (bits[1] & 1), w.sign).astype(q.dtype)
        turn, end = sign != w.sign, jnp.stack([q, p, g])
        return _Walk(
            front=jnp.where(done, fresh, jnp.where(turn, w.back, end)),
            back=jnp.where(done, fresh, jnp.where(turn, end, w.back)),
            pick=pick,
            sub_pick=sub_pick,
            weight=jnp.where(done, 1.0, total),
            sub_weight=sub_weight,
            rho=jnp.where(done, fresh[1], rho),
            sub_rho=sub_rho,
            ladder=ladder,
            energy=jnp.where(done, 0.5 * jnp.sum(fresh[1] ** 2, axis=0) - pick[-1], w.energy),
            sign=sign,
            depth=jnp.where(done, 0, depth),
            steps=jnp.where(done, 0, steps),
            accept=jnp.where(done, 0.0, accept),
            count=count,
            rows=w.rows.at[lane, place].set(row, mode="drop", unique_indices=True),
        )

    p = momenta[0]
    end = jnp.stack([point[:dim], p, point[dim:-1]])
    none, zero = jnp.zeros_like(point[-1]), jnp.zeros(lanes, jnp.int32)
    walk = _Walk(
        front=end,
        back=end,
        pick=point,
        sub_pick=point,
        weight=none + 1.0,
        sub_weight=none,
        rho=p,
        sub_rho=p,
        ladder=jnp.zeros((2, max_depth, dim, lanes), p.dtype),
        energy=0.5 * jnp.sum(p * p, axis=0) - point[-1],
        sign=none + 1.0,
        depth=zero,
        steps=zero,
        accept=none,
        count=zero,
        rows=rows,
    )
    walk = lax.while_loop(lambda w: jnp.any(w.count < size), leap, walk)
    return walk.pick, walk.rows


def _turning(p: Array, other: Array, rho: Array) -> Array:
    """Whether the ends of a trajectory move towards each other; the ends count half in its sum of momenta."""
    middle = rho - 0.5 * (p + other)
    return (jnp.sum(middle * p, axis=-2) <= 0) | (jnp.sum(middle * other, axis=-2) <= 0)


def _climb(leaf: Array, p: Array, rho: Array, ladder: Array) -> tuple[Array, Array]:
    """Check every subtree that ends at this leaf; an even leaf opens subtrees and is written down.

    Leaf ``n`` keeps its place at rung ``popcount(n >> 1)``; an odd leaf closes as many subtrees as it has
    trailing one bits, whose left ends are on the rungs up to that one.
    """
    rung = jnp.arange(ladder.shape[1])[:, None]
    top = lax.population_count(leaf >> 1)
    closed = lax.population_count(leaf & ~(leaf + 1))
    write = ((leaf & 1 == 0) & (rung == top))[:, None]
    ladder = jnp.where(write, jnp.stack([p, rho])[:, None], ladder)
    turning = _turning(p[None], ladder[0], rho - ladder[1] + ladder[0])
    return ladder, jnp.any(turning & (rung <= top) & (rung > top - closed), axis=0)


def _mixed(x: Array) -> Array:
    """Scramble 32-bit counters (two multiply-xorshift rounds): the choices within a trajectory."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _unit(bits: Array, dtype: Any) -> Array:
    """The upper 24 bits as a number in [0, 1)."""
    return (bits >> 8).astype(jnp.int32).astype(dtype) * 2.0**-24


def fill_noise(keys: Array, b: Array, size: Array, noise: tuple[Array, Array], chains: int) -> tuple[Array, Array]:
    """Fill in a block's momenta (draw, dim, lane) and seeds of choices (draw, 2, lane), some draws at a time.

    One call makes all the bits: each call of the random number generator takes 0.4 s to compile.
    """
    width, dim, _ = noise[0].shape
    few = min(8, width)

    def fill(i: Array, noise: tuple[Array, Array]) -> tuple[Array, Array]:
        place = b * (width // few + 1) + i

        def one(key: Array) -> Array:
            return jax.random.bits(jax.random.fold_in(key, place), (few, 2 * dim + 2, chains), jnp.uint32)

        bits = jnp.moveaxis(jax.vmap(one)(keys), 0, 2).reshape(few, 2 * dim + 2, -1)
        momenta = _normal(bits[:, :dim], bits[:, dim : 2 * dim], noise[0].dtype)
        first = jnp.minimum(i * few, width - few)
        return (
            lax.dynamic_update_slice_in_dim(noise[0], momenta, first, 0),
            lax.dynamic_update_slice_in_dim(noise[1], bits[:, 2 * dim :], first, 0),
        )

    return lax.fori_loop(0, -(-size // few), fill, noise)


def _normal(high: Array, low: Array, dtype: Any) -> Array:
    """Standard normal numbers from 52 random bits (float64) or 23 (float32), by inversion."""
    if dtype == jnp.float64:
        unit = ((high >> 6).astype(dtype) * 2.0**26 + (low >> 6).astype(dtype) + 0.5) * 2.0**-52
    else:
        unit = ((high >> 9).astype(dtype) + 0.5) * 2.0**-23
    return math.sqrt(2.0) * lax.erf_inv(2.0 * unit - 1.0)
