"""Independent draws of every variable from weighted nodes of the hyperparameters."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.law_tables import point_table
from hiermodels.inference.nodes import ACCURACIES, Nodes, block_size, halves, smoothing
from hiermodels.models.factorise import Factorised

__all__ = ["sample_nodes", "weighed_draws"]

_POOL = 8
"""Candidates a draw, where draws are resampled."""


def sample_nodes(
    factorised: Factorised, nodes: Nodes, stats: Any, key: Array, chains: int, draws: int
) -> dict[str, Array]:
    """Independent draws of every variable.

    One hyperparameter is drawn by inverting its distribution function; more by resampling, hardly ever with repetition,
    from candidates spread evenly over the lattice's cells, each weighted by its own density. Then `Factorised.draw`.

    Returns
    -------
    dict of str to Array
        Each (chain, draw, *dims), group axes padded.
    """
    return weighed_draws(factorised, nodes, stats, key, chains, draws)[0]


def weighed_draws(
    factorised: Factorised, nodes: Nodes, stats: Any, key: Array, chains: int, draws: int
) -> tuple[dict[str, Array], Array]:
    """`sample_nodes`, and the log posterior density of each draw's unconstrained hyperparameters, (chain, draw), up to
    a constant.
    """
    phi_key, draw_key = jax.random.split(key)
    count = chains * draws
    dim = factorised.dim
    block = max(1, min(count, block_size(factorised)))
    if dim == 0:
        u = jnp.zeros((count, 0))
        lp = jnp.broadcast_to(nodes.log_evidence, (count,))
    elif dim == 1:
        u = _invert(nodes, phi_key, count)
        lp = jax.lax.map(lambda one: factorised.log_density(one, stats), u, batch_size=block)
    else:
        u, lp = _resample(factorised, nodes, stats, phi_key, count)
    keys = jax.random.split(draw_key, count)

    def draw(args: tuple[Array, Array]) -> dict[str, Array]:
        return factorised.draw(args[0], args[1], stats)

    values = jax.lax.map(draw, (keys, u), batch_size=block)
    return {name: x.reshape(chains, draws, *x.shape[1:]) for name, x in values.items()}, lp.reshape(chains, draws)


def _invert(nodes: Nodes, key: Array, count: int) -> Array:
    assert nodes.coordinates is not None
    grid, width = smoothing(nodes)
    reach = nodes.scale[0]
    law = point_table(
        halves(nodes),
        nodes.v,
        reach * width,
        nodes.centre - reach * grid.radius,
        nodes.centre + reach * grid.radius,
        4 * ACCURACIES["fit"].points,
        "float64",
        *([lambda x: x] * 3),
    )
    p = jax.random.uniform(key, (count, 1), nodes.u.dtype)
    return nodes.coordinates.u(law.quantile_at(p))


def _resample(factorised: Factorised, nodes: Nodes, stats: Any, key: Array, count: int) -> tuple[Array, Array]:
    """Hyperparameters (draw, dim) and their log densities (draw,)."""
    assert nodes.coordinates is not None
    coordinates = nodes.coordinates
    grid, _ = smoothing(nodes)
    keys = jax.random.split(key, 4)
    chosen = _systematic(keys[0], nodes.log_weight, _POOL * count)
    spread = jax.random.uniform(keys[1], (_POOL * count, nodes.u.shape[1]), nodes.u.dtype, -0.5, 0.5)
    v = nodes.v[chosen] + grid.spacing * spread @ nodes.scale.T

    def weigh(v: Array) -> tuple[Array, Array, Array]:
        u = coordinates.u(v)
        lp = factorised.log_density(u, stats)
        return u, lp, lp + jnp.sum(coordinates.log_slope(v))

    u, lp, density = jax.lax.map(weigh, v, batch_size=min(_POOL * count, block_size(factorised), 4096))
    log_weight = jnp.where(density < jnp.inf, density, -jnp.inf) - nodes.log_weight[chosen]
    kept = _systematic(keys[2], log_weight, count)
    kept = jax.random.permutation(keys[3], kept)
    return u[kept], lp[kept]


def _systematic(key: Array, log_weight: Array, count: int) -> Array:
    """Systematic resampling: positions drawn with these weights, one random number for all."""
    below = jnp.cumsum(jax.nn.softmax(log_weight))
    at = (jnp.arange(count) + jax.random.uniform(key, (), below.dtype)) / count
    return jnp.clip(jnp.searchsorted(below, at * below[-1]), 0, log_weight.shape[0] - 1)
