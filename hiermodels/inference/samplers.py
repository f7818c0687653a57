"""One calling convention for every sampler.

    sampler(layout, settings)              -> sample(key, data) -> Draws
    estimator(layout, settings, targets)   -> estimate(key, data, truth) -> Estimates

Both returned functions are for one dataset, pure and jittable; a study is the second under ``lax.map``. They are cached
by their (hashable) arguments, so that equal settings share compiled programs.

Which sampler? ``nuts`` always works; with ``marginalize=True`` it moves on the hyperparameters alone wherever the model
factorises. ``exact`` gives independent draws and quadrature summaries where the hyperparameters are few.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.draws import Draws, Estimates
from hiermodels.inference.exact import POOR, ExactSettings, Nodes, exact, sample_nodes, summarise_nodes
from hiermodels.inference.laplace import laplace
from hiermodels.inference.nuts import NutsSettings, nuts
from hiermodels.inference.summaries import Interval, Target, judge, point, summarise
from hiermodels.models.builder import Explicit
from hiermodels.models.data import Data
from hiermodels.models.factorise import factorise
from hiermodels.models.hyper import width
from hiermodels.models.spec import Layout, Parameter, sd_name

__all__ = ["SAMPLERS", "Settings", "available", "check_settings", "dimension", "draw_model", "estimation_steps", "estimator", "sampler"]

SAMPLERS = ("nuts", "exact")
_LAPLACE_LIMIT = 12
"""Above this many dimensions chains start near a moment estimate instead of at a Laplace fit."""


@dataclass(frozen=True)
class Settings:
    """How a posterior is computed.

    Attributes
    ----------
    sampler : str
        ``nuts`` or ``exact``.
    marginalize : bool
        Integrate out what is conjugate; False moves on every parameter.
    centred : bool
        Parameterisation of group effects where they stay explicit.
    draws, tune, chains : int
        Kept draws and warm-up draws of each chain, number of chains.
    target_accept : float
        Acceptance rate that the step size is tuned to.
    accuracy : str
        Of ``exact``: ``fit`` (every summary within 1e-3 posterior sd) or ``study`` (at least as good as 400 independent draws).
    """

    sampler: str = "nuts"
    marginalize: bool = True
    centred: bool = False
    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.8
    accuracy: str = "fit"


def check_settings(settings: Settings) -> None:
    """Refuse settings that no sampler can use.

    Raises
    ------
    ValueError
        Argument, what was expected, what was found, what to do.
    """
    if settings.sampler not in SAMPLERS:
        near = difflib.get_close_matches(str(settings.sampler), SAMPLERS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(SAMPLERS)}"
        raise ValueError(f"sampler: unknown sampler {settings.sampler!r}; {hint}")
    for name, low in (("draws", 4), ("tune", 0), ("chains", 1)):
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"{name}: expected a whole number >= {low}, found {value!r}; e.g. {name}=1000")
    accept = settings.target_accept
    if isinstance(accept, bool) or not isinstance(accept, (int, float)) or not 0.5 <= accept < 1:
        raise ValueError(f"target_accept: expected a number from 0.5 to below 1, found {accept!r}; e.g. 0.9")
    for name in ("marginalize", "centred"):
        if not isinstance(getattr(settings, name), bool):
            raise ValueError(f"{name}: expected True or False, found {getattr(settings, name)!r}; give one of them")
    if settings.accuracy not in ("fit", "study"):
        raise ValueError(f"accuracy: expected 'fit' or 'study', found {settings.accuracy!r}; use one of them")
    if settings.sampler == "exact" and not settings.marginalize:
        raise ValueError("sampler='exact' integrates the group effects out; use it with marginalize=True, or use sampler='nuts'")


def _model(layout: Layout, settings: Settings) -> Any:
    """What the sampler moves on: the factorised model where asked and possible, else the explicit one."""
    if not settings.marginalize:
        return Explicit(layout, settings.centred)
    if settings.sampler == "exact":
        return factorise(layout)
    try:
        return factorise(layout)
    except ValueError:
        return Explicit(layout, settings.centred)


def dimension(layout: Layout, settings: Settings) -> int:
    """Number of unconstrained parameters that the sampler moves on."""
    return int(_model(layout, settings).dim)


def available(layout: Layout, settings: Settings) -> set[str]:
    """Names of variables, ``mean(...)`` and ``new(...)`` that this model has under its pooling."""
    try:
        return factorise(layout).available()
    except ValueError:
        names = {p.name for p in layout.parameters if p.kind != "correlation"}
        for level in layout.levels:
            thetas = layout.effect_names(level)
            names |= set(thetas) | {f"mean({t})" for t in thetas}
        return names


def _chains(model: Any, settings: Settings, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
    """Positions (chain, draw, dim) and sample statistics."""
    start_key, run_key = jax.random.split(key)
    shape = (settings.chains, model.dim)
    unbend, start = bent(model, stats)

    def log_density(q: Array) -> Array:
        u, log_jacobian = unbend(q)
        return model.log_density(u, stats) + log_jacobian

    inverse_mass = None
    if model.dim <= _LAPLACE_LIMIT:
        mode, covariance, _ = laplace(log_density, start)
        noise = jax.random.normal(start_key, shape, start.dtype)
        starts = mode + noise @ jnp.linalg.cholesky(covariance).T
        inverse_mass = covariance
    else:
        starts = start + 0.1 * jax.random.normal(start_key, shape, start.dtype)
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
    chains = run(run_key, starts, inverse_mass)
    return jax.vmap(jax.vmap(lambda q: unbend(q)[0]))(chains.position), chains.stats


def bent(model: Any, stats: Any) -> tuple[Callable[[Array], tuple[Array, Array]], Array]:
    """Coordinates in which NUTS moves standard deviations, and where it starts in them.

    A standard deviation is ``scale softplus(q)``: its logarithm far below the scale of the data, itself far above. On the
    logarithm alone a group sd that may be zero has a long flat tail on one side and a cliff on the other, which one step
    size cannot serve. Everything else keeps its unconstrained coordinate.

    Returns
    -------
    unbend : callable
        ``q -> (u, log |du / dq|)``, both of the model's unconstrained vector.
    start : Array, shape (dim,)
    """
    start = model.start(stats)
    curved = [_is_sd(p) for p in getattr(model, "parameters", ()) for _ in range(width(p))]
    if len(curved) != model.dim or not any(curved):
        return lambda q: (q, jnp.zeros((), q.dtype)), start
    mask = jnp.array(curved)

    def unbend(q: Array) -> tuple[Array, Array]:
        inner = jnp.maximum(q, -30.0)  # below, softplus is the exponential to rounding
        log_value = jnp.where(q < -30.0, q, jnp.log(jax.nn.softplus(inner)))
        log_jacobian = jnp.where(mask, jax.nn.log_sigmoid(q) - log_value, 0.0)
        return jnp.where(mask, start + log_value, q), jnp.sum(log_jacobian)

    at_scale = math.log(math.expm1(1.0))  # softplus of it is one
    return unbend, jnp.where(mask, at_scale, start)


def _is_sd(parameter: Parameter) -> bool:
    endless = parameter.kind == "positive" and math.isinf(parameter.prior.support("positive")[1])
    return endless and (parameter.name == "sigma" or parameter.name.startswith("sd_"))


def draw_model(model: Any, settings: Settings, key: Array, stats: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draws of every variable (chain, draw, ...) and the sampler's statistics."""
    chain_key, draw_key = jax.random.split(key)
    shape = (settings.chains, settings.draws)
    if settings.sampler == "exact":
        nodes = exact(model, ExactSettings(settings.accuracy))(chain_key, stats)
        heavy = jnp.broadcast_to(nodes.quality > POOR, shape)
        return sample_nodes(model, nodes, stats, draw_key, *shape), {"heavy_weights": heavy}
    if model.dim == 0:
        found: dict[str, Array] = {}
        position = jnp.zeros((*shape, 0))
    else:
        position, found = _chains(model, settings, chain_key, stats)
    return _draws(model, stats, draw_key, position), found


def _draws(model: Any, stats: Any, key: Array, position: Array) -> dict[str, Array]:
    """Draws of every variable beside each position (chain, draw, dim)."""
    keys = jax.random.split(key, position.shape[:2])
    return jax.vmap(jax.vmap(lambda k, u: model.draw(k, u, stats)))(keys, position)


@lru_cache(maxsize=256)
def sampler(layout: Layout, settings: Settings) -> Callable[[Array, Data], Draws]:
    """Draws of every variable of one dataset.

    Returns
    -------
    callable
        ``sample(key, data) -> Draws`` with padded group axes; jittable.
    """
    check_settings(settings)
    model = _model(layout, settings)

    def sample(key: Array, data: Data) -> Draws:
        values, stats = draw_model(model, settings, key, model.prepare(data))
        return Draws(values, stats)

    return sample


class Steps(NamedTuple):
    """The two halves of an estimator: they want different numbers of datasets side by side.

    Attributes
    ----------
    first : callable
        ``(key, data, truth) -> state``: the chains, or for exact posteriors the estimates already.
    second : callable or None
        ``(state, key, data, truth) -> Estimates``: draws of every variable, and their summaries.
    """

    first: Callable[[Array, Data, Array], Any]
    second: Callable[[Any, Array, Data, Array], Estimates] | None


@lru_cache(maxsize=256)
def estimation_steps(layout: Layout, settings: Settings, targets: tuple[Target, ...], interval: Interval) -> Steps:
    """Estimates of one dataset in two steps; see `estimator`."""
    check_settings(settings)
    model = _model(layout, settings)
    shape = (settings.chains, settings.draws)

    def chains(key: Array, data: Data, truth: Array) -> tuple[Array, Array]:
        if model.dim == 0:
            return jnp.zeros((*shape, 0)), jnp.zeros((), jnp.int32)
        position, found = _chains(model, settings, jax.random.split(key, 4)[0], model.prepare(data))
        return position, jnp.sum(found["diverging"]).astype(jnp.int32)

    def summaries(state: tuple[Array, Array], key: Array, data: Data, truth: Array) -> Estimates:
        position, divergences = state
        _, draw_key, new_key, rank_key = jax.random.split(key, 4)
        values = _draws(model, model.prepare(data), draw_key, position)
        values = derive(layout, values, targets, data, new_key)
        return summarise(values, targets, interval, rank_key, truth, divergences, independent=model.dim == 0)

    def from_nodes(key: Array, data: Data, truth: Array) -> Estimates:
        stats = model.prepare(data)
        node_key, rank_key = jax.random.split(key)
        nodes = exact(model, ExactSettings(settings.accuracy))(node_key, stats)
        return estimates_of_nodes(model, nodes, stats, targets, interval, rank_key, truth)

    return Steps(from_nodes, None) if settings.sampler == "exact" else Steps(chains, summaries)


def estimator(
    layout: Layout, settings: Settings, targets: tuple[Target, ...], interval: Interval
) -> Callable[[Array, Data, Array], Estimates]:
    """Estimates of one dataset: what a study maps over replicates.

    Returns
    -------
    callable
        ``estimate(key, data, truth) -> Estimates``; truth has shape (target,), group targets padded.
    """
    steps = estimation_steps(layout, settings, targets, interval)
    if steps.second is None:
        return steps.first
    finish = steps.second
    return lambda key, data, truth: finish(steps.first(key, data, truth), key, data, truth)


def derive(layout: Layout, values: dict[str, Array], targets: tuple[Target, ...], data: Data, key: Array) -> dict[str, Array]:
    """Add averages over groups and new groups to the draws."""
    values = dict(values)
    for target in targets:
        name = target.variable
        if name in values:
            continue
        if name.startswith("mean("):
            theta = name[5:-1]
            i = next(i for i, level in enumerate(layout.levels) if theta in layout.effect_names(level))
            real = jnp.asarray(data.real[i])
            values[name] = jnp.sum(jnp.where(real, values[theta], 0.0), -1) / jnp.sum(real)
        elif name.startswith("new("):
            values[name] = _new_group(layout, values, name[4:-1], key)
    return values


def _new_group(layout: Layout, values: dict[str, Array], level: str, key: Array) -> Array:
    """A draw of a group not in the data, in ancestors not in the data, beside each draw."""
    if layout.family != "normal":
        from hiermodels.models.conjugate import new_group

        return new_group(layout, values, level, key)
    variance: Array | float = 0.0
    for here in layout.levels:
        if here.pooling == "partial" and "Intercept" in [layout.columns[e] for e in here.effects]:
            variance = variance + values[sd_name(here.name, "Intercept")] ** 2
        if here.name == level:
            break
    centre = values["Intercept"]
    return centre + jnp.sqrt(variance) * jax.random.normal(key, centre.shape, centre.dtype)


def estimates_of_nodes(
    model: Any, nodes: Nodes, stats: Any, targets: tuple[Target, ...], interval: Interval, key: Array, truth: Array
) -> Estimates:
    """Estimates from a mixture over nodes of the hyperparameters: no draws are made."""
    wanted = tuple(dict.fromkeys(t.variable for t in targets))
    sizes = _sizes(model.layout, targets)
    thresholds: dict[str, list[Array]] = {}
    start = 0
    for target, n in zip(targets, sizes, strict=True):
        part = truth[start : start + n] if n > 1 else truth[start]
        thresholds.setdefault(target.variable, []).append(part if target.threshold is None else jnp.full_like(part, target.threshold))
        start += n
    found = summarise_nodes(model, nodes, stats, wanted, interval=interval.level, kind=interval.kind, thresholds=thresholds)
    heavy = nodes.quality > POOR
    seen: dict[str, int] = {}
    parts: dict[str, list[Array]] = {k: [] for k in ("estimate", "median", "se", "lower", "upper", "rank", "max_rank")}
    for target in targets:
        summary = found[target.variable]
        place = seen.get(target.variable, 0)
        seen[target.variable] = place + 1
        below = jnp.atleast_1d(summary.cdf[place])
        mean, median, sd = (jnp.atleast_1d(a) for a in (summary.mean, summary.median, summary.sd))
        nan = jnp.full_like(mean, jnp.nan)
        if target.threshold is not None:
            row = (1 - below if target.above else below, nan, nan, nan, nan, nan, nan)
        else:
            error = nan if target.no_moment else sd
            ends = (jnp.atleast_1d(summary.lower), jnp.atleast_1d(summary.upper))
            row = (point(mean, median, target), median, error, *ends, below, nan)
        for name, value in zip(parts, row, strict=True):
            parts[name].append(value)
    columns = {k: jnp.concatenate(v) for k, v in parts.items()}
    ranks = _RANKS * columns["rank"] + jax.random.uniform(key, columns["rank"].shape, columns["rank"].dtype)
    columns["rank"] = jnp.where(jnp.isfinite(truth), jnp.floor(jnp.clip(ranks, 0, _RANKS)), jnp.nan)
    columns["max_rank"] = jnp.where(jnp.isfinite(columns["rank"]), float(_RANKS), jnp.nan)
    none = jnp.full_like(columns["estimate"], jnp.nan)
    return Estimates(
        **columns,
        rhat=none,
        ess_bulk=none,
        ess_tail=none,
        status=judge(columns["estimate"], heavy=heavy),
        divergences=jnp.zeros((), jnp.int32),
        n_try=jnp.ones((), jnp.int32),
    )


_RANKS = 1000
"""Exact posteriors have a probability of the truth, not a rank: it is reported in thousandths."""


def _sizes(layout: Layout, targets: tuple[Target, ...]) -> list[int]:
    sizes = {name: level.size for level in layout.levels for name in layout.effect_names(level)}
    return [sizes.get(t.variable, 1) for t in targets]


def target_sizes(layout: Layout, targets: tuple[Target, ...]) -> list[int]:
    """Padded number of entries of each target in an `Estimates` of this layout."""
    return _sizes(layout, targets)
