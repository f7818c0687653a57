"""Chains of one dataset: where they start, the coordinates they move in, and the sampler that moves them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.chain_coordinates import bent
from hiermodels.inference.closed_form import closed_form
from hiermodels.inference.gibbs import gibbs
from hiermodels.inference.laplace import laplace
from hiermodels.inference.metropolis import MetropolisSettings, metropolis
from hiermodels.inference.nodes import block_size
from hiermodels.inference.nuts import NutsSettings, nuts
from hiermodels.models.builder import Explicit, build
from hiermodels.models.sites import natural, natural_log_density

if TYPE_CHECKING:
    from hiermodels.inference.settings import Settings

__all__ = ["run_chains"]

_LAPLACE_LIMIT = 12
"""Above this many dimensions chains start near a moment estimate instead of at a Laplace fit."""


def run_chains(model: Any, settings: Settings, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
    """Unconstrained positions (chain, draw, dim) by the sampler of the settings, and its statistics, each (chain, draw)."""
    shape = (settings.chains, settings.draws)
    if model.dim == 0:
        return jnp.zeros((*shape, 0)), {"lp": jnp.broadcast_to(model.log_density(jnp.zeros(0), stats), shape)}
    if settings.how.closed:
        position = closed_form(model)(key, stats, shape)
        lp = jax.lax.map(lambda u: model.log_density(u, stats), position.reshape(-1, model.dim), batch_size=block_size(model))
        return position, {"lp": lp.reshape(shape)}
    run = {"gibbs": _gibbs, "metropolis": _metropolis}.get(settings.sampler, _nuts)
    return run(model, settings, key, stats)


def _nuts(model: Any, settings: Settings, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
    start_key, run_key = jax.random.split(key)
    unbend, log_density, starts, covariance = _starts(model, settings.chains, start_key, stats)
    run = nuts(
        log_density,
        NutsSettings(
            draws=settings.draws,
            tune=max(settings.tune, 1),
            chains=settings.chains,
            target_accept=settings.target_accept,
            dense_mass=1 < model.dim <= _LAPLACE_LIMIT,
        ),
    )
    chains = run(run_key, starts, covariance)
    return jax.vmap(jax.vmap(lambda q: unbend(q)[0]))(chains.position), chains.stats


def _gibbs(model: Any, settings: Settings, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
    start_key, run_key = jax.random.split(key)
    unbend, _, starts, covariance = _starts(model, settings.chains, start_key, stats)
    length = jnp.ones(model.dim)
    if covariance is not None:  # what a coordinate moves within two sds
        centre, sd = jnp.mean(starts, 0), jnp.sqrt(jnp.diagonal(covariance))
        length = jnp.maximum(unbend(centre + sd)[0] - unbend(centre - sd)[0], 1e-3)
        length = jnp.where(jnp.isfinite(length), length, 1.0)
    start = jax.vmap(lambda q: unbend(q)[0])(starts)
    position = gibbs(model, settings.draws, settings.tune)(run_key, start, length, stats)
    return position, {"lp": jax.vmap(jax.vmap(lambda u: model.log_density(u, stats)))(position)}


def _metropolis(model: Explicit, settings: Settings, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
    start_key, run_key = jax.random.split(key)
    function, sites = build(model.layout, model.centred), model.sites
    start = model.start(stats)
    starts = start + 0.1 * jax.random.normal(start_key, (settings.chains, model.dim), start.dtype)
    run = metropolis(
        lambda x: natural_log_density(function, sites, x, stats, stats.y)[0],
        MetropolisSettings(settings.draws, settings.tune, settings.step_size),
    )
    chains = run(run_key, jax.vmap(lambda u: natural(function, sites, u, stats, stats.y))(starts))
    position = jax.vmap(jax.vmap(lambda x: natural_log_density(function, sites, x, stats, stats.y)[1]))(chains.position)
    return position, chains.stats


def _starts(
    model: Any, chains: int, key: Array, stats: Any
) -> tuple[Callable[[Array], tuple[Array, Array]], Callable[[Array], Array], Array, Array | None]:
    """Bent coordinates, the log density in them, starting points (chain, dim), and a covariance where a Laplace fit is cheap."""
    shape = (chains, model.dim)
    unbend, start = bent(model, stats)

    def log_density(q: Array) -> Array:
        u, log_jacobian = unbend(q)
        return model.log_density(u, stats) + log_jacobian

    if model.dim > _LAPLACE_LIMIT:
        return unbend, log_density, start + 0.1 * jax.random.normal(key, shape, start.dtype), None
    mode, covariance, _ = laplace(log_density, start)
    noise = jax.random.normal(key, shape, start.dtype)
    return unbend, log_density, mode + noise @ jnp.linalg.cholesky(covariance).T, covariance
