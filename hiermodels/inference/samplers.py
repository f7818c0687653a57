"""One calling convention for every sampler.

    sampler(layout, settings)              -> sample(key, data) -> Draws
    estimator(layout, settings, targets)   -> estimate(key, data, truth) -> Estimates

Both returned functions are for one dataset, pure and jittable; a study is the second under ``lax.map``. They are cached
by their (hashable) arguments, so that equal settings share compiled programs.

Which sampler? ``nuts`` always works; with ``marginalize=True`` it moves on the hyperparameters alone wherever the model
factorises. ``exact`` gives independent draws and quadrature summaries where the hyperparameters are few, ``closed_form``
independent draws where they have a law in closed form. ``gibbs`` and ``metropolis`` are there to be compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.chains import run_chains
from hiermodels.inference.closed_form import check_variances, closed_form
from hiermodels.inference.draws import Draws, Estimates
from hiermodels.inference.exact import POOR, ExactSettings, Nodes, exact, summarise_nodes
from hiermodels.inference.lanes import one_by_one
from hiermodels.inference.node_draws import weighed_draws
from hiermodels.inference.nodes import ACCURACIES
from hiermodels.inference.settings import INDEPENDENT, SAMPLERS, Settings, check_settings
from hiermodels.inference.summaries import Interval, Target, judge, point, summarise
from hiermodels.models.builder import Explicit
from hiermodels.models.centring import centring
from hiermodels.models.factorise import factorise
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data, Problem
from hiermodels.models.sites import Centring
from hiermodels.quantities import sd_name, theta_name

__all__ = [
    "INDEPENDENT",
    "SAMPLERS",
    "Settings",
    "available",
    "check_data",
    "check_settings",
    "chosen",
    "dimension",
    "draw_model",
    "estimation_steps",
    "estimator",
    "parameterisation",
    "sampler",
]

def chosen(layout: Layout, data: Data, settings: Settings) -> Settings:
    """The settings with ``centred="auto"`` decided from the data (host arrays); see `hiermodels.models.centring`."""
    return replace(settings, centred=centring(layout, data)) if settings.centred == "auto" else settings


def _centring(settings: Settings) -> Centring:
    """``auto`` that has not been decided stands for no centring."""
    return False if isinstance(settings.centred, str) else settings.centred


def parameterisation(problem: Problem, settings: Settings) -> list[str]:
    """A line that says which group values were sampled as themselves, where ``centred="auto"`` chose; else nothing."""
    layout = problem.layout
    if settings.centred != "auto" or not isinstance(_model(layout, settings), Explicit):
        return []
    names = centring(layout, problem.data)
    own = {f"chol_{p.owner}" if p.role == "correlation" else p.name for p in layout.parameters}
    free = [site.name for site in Explicit(layout, names).sites if site.name not in own]
    words = [f"{s} as {'itself' if s in names else 'standardised deviations'}" for s in free]
    return [f"sampled: {', '.join(words)}"] if words else []


def check_data(layout: Layout, data: Data, settings: Settings) -> None:
    """Refuse models and data that no draws of this sampler can be made of; host arrays.

    Raises
    ------
    ValueError
        For a model that does not factorise, or with too many hyperparameters, where the sampler wants that; for ``closed_form``
        with unequal known variances.
    """
    model = _model(layout, settings)
    if settings.how.nodes:
        exact(model)  # says why not
    if settings.how.closed:
        check_variances(layout, data)


def _model(layout: Layout, settings: Settings) -> Any:
    """What the sampler moves on: the factorised model where asked and possible, else the explicit one."""
    if settings.how.closed:
        model = factorise(layout)
        closed_form(model)  # says why not
        return model
    if settings.how.integrates:
        return factorise(layout)
    if settings.how.integrates is False or not settings.marginalize:
        return Explicit(layout, _centring(settings))
    try:
        return factorise(layout)
    except ValueError:
        return Explicit(layout, _centring(settings))


def dimension(layout: Layout, settings: Settings) -> int:
    """Number of unconstrained parameters that the sampler moves on."""
    return int(_model(layout, settings).dim)


def available(layout: Layout, settings: Settings) -> set[str]:
    """Names of variables, ``mean(...)`` and ``new(...)`` that this model has under its pooling."""
    try:
        return factorise(layout).available()
    except ValueError:
        names = {p.name for p in layout.parameters if p.kind != "correlation"}
        pooled = layout.nested and layout.normal_groups and layout.intercept is not None
        for level in layout.levels:
            thetas = layout.effect_names(level)
            names |= set(thetas) | {f"mean({t})" for t in thetas}
            pooled = pooled and level.pooling != "none"
            names |= {f"new({level.name})"} if pooled else set()
        return names


def draw_model(model: Any, settings: Settings, key: Array, stats: Any) -> Draws:
    """Draws of every variable (chain, draw, ...) and the sampler's statistics, group axes padded."""
    chain_key, draw_key = jax.random.split(key)
    shape = (settings.chains, settings.draws)
    if settings.how.nodes:
        nodes = exact(model, ExactSettings(settings.accuracy))(chain_key, stats)
        heavy = jnp.broadcast_to(nodes.quality > POOR, shape)
        values, lp = weighed_draws(model, nodes, stats, draw_key, *shape)
        error = nodes.quality * ACCURACIES[settings.accuracy].allowed
        return Draws(values, {"lp": lp, "heavy_weights": heavy}, independent=True, error=error)
    position, found = run_chains(model, settings, chain_key, stats)
    return Draws(_draws(model, stats, draw_key, position), found, independent=_independent(model, settings))


def _independent(model: Any, settings: Settings) -> bool:
    return model.dim == 0 or settings.how.independent


_NUMBERS = 1 << 26
"""Numbers of all draws of a dataset that are computed side by side."""


def _draws(model: Any, stats: Any, key: Array, position: Array) -> dict[str, Array]:
    """Draws of every variable beside each position (chain, draw, dim).

    Many groups are drawn for some positions at a time: what is computed on the way takes three times the room of the draws.
    """

    @one_by_one
    def draws(data: Array, position: Array, stats: Any) -> dict[str, Array]:
        keys = jax.random.split(jax.random.wrap_key_data(data, impl=impl), position.shape[:2])
        one = jax.eval_shape(model.draw, keys[0, 0], position[0, 0], stats)
        numbers = sum(x.size for x in jax.tree.leaves(one))
        if numbers * keys.size <= _NUMBERS:
            return jax.vmap(jax.vmap(lambda k, u: model.draw(k, u, stats)))(keys, position)
        flat = (keys.reshape(-1), position.reshape(-1, position.shape[-1]))
        found = jax.lax.map(lambda pair: model.draw(*pair, stats), flat, batch_size=max(1, _NUMBERS // (16 * numbers)))
        return jax.tree.map(lambda x: x.reshape(*position.shape[:2], *x.shape[1:]), found)

    data, impl = jax.random.key_data(key), jax.random.key_impl(key)
    return draws(data, position, stats)


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
        return draw_model(model, settings, key, model.prepare(data))

    return sample


class Steps(NamedTuple):
    """The two halves of an estimator: they want different numbers of datasets side by side.

    Attributes
    ----------
    first : callable
        ``(key, data, truth) -> state``: the chains, or for exact posteriors the estimates already.
    second : callable or None
        ``(state, key, data, truth) -> Estimates``: draws of every variable, and their summaries.
    draws : callable or None
        ``(state, key, data) -> draws by variable``, those that the summaries are of; None where there are none.
    """

    first: Callable[[Array, Data, Array], Any]
    second: Callable[[Any, Array, Data, Array], Estimates] | None
    draws: Callable[[Any, Array, Data], dict[str, Array]] | None = None


@lru_cache(maxsize=256)
def estimation_steps(layout: Layout, settings: Settings, targets: tuple[Target, ...], interval: Interval) -> Steps:
    """Estimates of one dataset in two steps; see `estimator`."""
    check_settings(settings)
    model = _model(layout, settings)
    independent = _independent(model, settings)

    def chains(key: Array, data: Data, truth: Array) -> tuple[Array | None, Array]:
        position, found = run_chains(model, settings, jax.random.split(key, 4)[0], model.prepare(data))
        if model.dim == 0:  # nothing to hand on, and lax.map does not cut arrays without entries
            return None, jnp.zeros((), jnp.int32)
        return position, jnp.sum(found.get("diverging", jnp.zeros(()))).astype(jnp.int32)

    def draws(state: tuple[Array | None, Array], key: Array, data: Data) -> dict[str, Array]:
        position = jnp.zeros((settings.chains, settings.draws, 0)) if state[0] is None else state[0]
        return _draws(model, model.prepare(data), jax.random.split(key, 4)[1], position)

    def summaries(state: tuple[Array | None, Array], key: Array, data: Data, truth: Array) -> Estimates:
        _, _, new_key, rank_key = jax.random.split(key, 4)
        values = derive(layout, draws(state, key, data), targets, data, new_key)
        return summarise(values, targets, interval, rank_key, truth, state[1], independent=independent)

    def from_nodes(key: Array, data: Data, truth: Array) -> Estimates:
        stats = model.prepare(data)
        nodes = exact(model, ExactSettings(settings.accuracy))(key, stats)
        return estimates_of_nodes(model, nodes, stats, targets, interval, truth)

    return Steps(from_nodes, None) if settings.how.nodes else Steps(chains, summaries, draws)


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
        asked = layout.quantities[name]
        if asked.role == "mean of groups":
            i = next(i for i, level in enumerate(layout.levels) if level.name == asked.owner)
            real = jnp.asarray(data.real[i])
            values[name] = jnp.sum(jnp.where(real, values[theta_name(asked.owner, asked.effect)], 0.0), -1) / jnp.sum(real)
        elif asked.role == "new group":
            values[name] = _new_group(layout, values, asked.owner, key)
    return values


def _new_group(layout: Layout, values: dict[str, Array], level: str, key: Array) -> Array:
    """A draw of a group not in the data, in ancestors not in the data, beside each draw."""
    if not layout.normal_groups:
        from hiermodels.models.conjugate import new_group

        return new_group(layout, values, level, key)
    variance: Array | float = 0.0
    place = next(i for i, found in enumerate(layout.levels) if found.name == level)
    for here in (layout.levels[i] for i in layout.lineage(place)):
        if here.pooling == "partial" and "Intercept" in [layout.columns[e] for e in here.effects]:
            variance = variance + values[sd_name(here.name, "Intercept")] ** 2
    centre = values["Intercept"]
    return centre + jnp.sqrt(variance) * jax.random.normal(key, centre.shape, centre.dtype)


def estimates_of_nodes(
    model: Any, nodes: Nodes, stats: Any, targets: tuple[Target, ...], interval: Interval, truth: Array
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
    seen: dict[str, int] = {}
    heavy = []
    parts: dict[str, list[Array]] = {k: [] for k in ("estimate", "median", "se", "lower", "upper", "rank", "max_rank")}
    for target in targets:
        summary = found[target.variable]
        place = seen.get(target.variable, 0)
        seen[target.variable] = place + 1
        below = jnp.atleast_1d(summary.cdf[place])
        moments = target.threshold is None and not target.no_moment
        error = jnp.maximum(summary.error, summary.moment_error) if moments else summary.error
        heavy.append(jnp.atleast_1d(jnp.maximum(nodes.quality, error) > POOR))
        mean, median, sd = (jnp.atleast_1d(a) for a in (summary.mean, summary.median, summary.sd))
        nan = jnp.full_like(mean, jnp.nan)
        if target.threshold is not None:
            row = (1 - below if target.above else below, nan, nan, nan, nan, nan, nan)
        else:
            se = nan if target.no_moment else sd
            ends = (jnp.atleast_1d(summary.lower), jnp.atleast_1d(summary.upper))
            lost = jnp.isnan(ends[0]) | jnp.isnan(ends[1])  # a quantile that was not found: the whole row is missing
            row = (jnp.where(lost, nan, point(mean, median, target)), median, se, *ends, below, nan)
        for name, value in zip(parts, row, strict=True):
            parts[name].append(value)
    columns = {k: jnp.concatenate(v) for k, v in parts.items()}
    ranks = (_RANKS + 1) * columns["rank"]
    columns["rank"] = jnp.where(jnp.isfinite(truth), jnp.floor(jnp.clip(ranks, 0, _RANKS)), jnp.nan)
    columns["max_rank"] = jnp.where(jnp.isfinite(columns["rank"]), float(_RANKS), jnp.nan)
    none = jnp.full_like(columns["estimate"], jnp.nan)
    return Estimates(
        **columns,
        rhat=none,
        ess_bulk=none,
        ess_tail=none,
        status=judge(columns["estimate"], heavy=jnp.concatenate(heavy)),
        divergences=jnp.zeros((), jnp.int32),
        n_try=jnp.ones((), jnp.int32),
    )


_RANKS = 1000
"""Exact posteriors have a probability of the truth, not a rank: it is cut into 1,001 equal cells, uniform if it is."""


def _sizes(layout: Layout, targets: tuple[Target, ...]) -> list[int]:
    sizes = {name: level.size for level in layout.levels for name in layout.effect_names(level)}
    return [sizes.get(t.variable, 1) for t in targets]


def target_sizes(layout: Layout, targets: tuple[Target, ...]) -> list[int]:
    """Padded number of entries of each target in an `Estimates` of this layout."""
    return _sizes(layout, targets)
