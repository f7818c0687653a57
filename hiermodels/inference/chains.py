"""Chains of one dataset: where they start, the coordinates they move in, and the sampler that moves them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.closed_form import closed_form
from hiermodels.inference.gibbs import gibbs
from hiermodels.inference.laplace import laplace
from hiermodels.inference.metropolis import MetropolisSettings, metropolis
from hiermodels.inference.nodes import block_size
from hiermodels.inference.nuts import NutsSettings, nuts
from hiermodels.models.builder import Explicit, build
from hiermodels.models.hyper import width
from hiermodels.models.sites import natural, natural_log_density
from hiermodels.models.spec import Parameter

if TYPE_CHECKING:
    from hiermodels.inference.samplers import Settings

__all__ = ["bent", "run_chains"]

_LAPLACE_LIMIT = 12
"""Above this many dimensions chains start near a moment estimate instead of at a Laplace fit."""


def run_chains(model: Any, settings: Settings, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
    """Unconstrained positions (chain, draw, dim) by the sampler of the settings, and its statistics, each (chain, draw)."""
    shape = (settings.chains, settings.draws)
    if model.dim == 0:
        return jnp.zeros((*shape, 0)), {"lp": jnp.broadcast_to(model.log_density(jnp.zeros(0), stats), shape)}
    if settings.sampler == "closed_form":
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


def bent(model: Any, stats: Any) -> tuple[Callable[[Array], tuple[Array, Array]], Array]:
    """Coordinates in which NUTS moves standard deviations, and where it starts in them.

    A standard deviation is ``scale softplus(q)``: its logarithm far below the scale of the data, itself far above. On the
    logarithm alone a group sd that may be zero has a long flat tail on one side and a cliff on the other, which one step
    size cannot serve. The same holds for the mean, ``kappa`` or ``shape`` of a population under a prior with a light tail, and the other
    way round, for ``1 / sqrt(shape)``, under `half_normal_cv`. Everything else keeps its unconstrained coordinate.

    Returns
    -------
    unbend : callable
        ``q -> (u, log |du / dq|)``, both of the model's unconstrained vector.
    start : Array, shape (dim,)
    """
    start = model.start(stats)
    each = [p for p in getattr(model, "parameters", ()) for _ in range(width(p))]
    powers = [_power(p) for p in each]
    if not any(powers):
        return lambda q: (q, jnp.zeros((), q.dtype)), start
    rest = model.dim - len(each)  # standardised group values come after the parameters
    power = jnp.array(powers + [0.0] * rest)
    mask = power != 0
    start = jnp.minimum(start, jnp.array([_elbow(p) for p in each] + [math.inf] * rest))

    def unbend(q: Array) -> tuple[Array, Array]:
        inner = jnp.maximum(q, -30.0)  # below, softplus is the exponential to rounding
        log_value = jnp.where(q < -30.0, q, jnp.log(jax.nn.softplus(inner)))
        log_jacobian = jnp.where(mask, jax.nn.log_sigmoid(q) - log_value, 0.0)
        return jnp.where(mask, start + power * log_value, q), jnp.sum(log_jacobian)

    at_scale = math.log(math.expm1(1.0))  # softplus of it is one
    return unbend, jnp.where(mask, at_scale, start)


def _elbow(parameter: Parameter) -> float:
    """Logarithm of the scale of a prior with a light tail: data that tell nothing may suggest a start far beyond it."""
    name, args = parameter.prior.name, parameter.prior.args
    if parameter.kind != "positive" or name not in ("half_normal", "exponential", "gamma"):
        return math.inf
    return math.log({"half_normal": args[0], "exponential": 1 / args[0], "gamma": args[0] / args[-1]}[name])


def _power(parameter: Parameter) -> float:
    """What power of ``softplus(q)`` a positive parameter is in units of its start; 0 leaves it on the log scale."""
    if parameter.kind != "positive" or math.isfinite(parameter.prior.support("positive")[1]):
        return 0.0
    if parameter.prior.name == "half_normal_cv":
        return -2.0
    return float(math.isfinite(_elbow(parameter)) or parameter.name == "sigma" or parameter.name.startswith("sd_"))
