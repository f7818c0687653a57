"""Sane starting points: moments of the data, group values half shrunk."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.models.count_stats import CountStats
from hiermodels.models.counts import count_tree, log_precision
from hiermodels.models.gaussian_stats import GaussianStats
from hiermodels.models.layout import Layout, LevelLayout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.statements import rate_site
from hiermodels.models.tree import tree_of
from hiermodels.models.units import stands_of, start_inside
from hiermodels.quantities import theta_name

__all__ = ["moments", "of_counts", "of_sums", "working"]


def moments(layout: Layout, data: Data) -> dict[str, Array]:
    """Guesses by site name (see `hiermodels.models.builder`), centred sites and non-centred ones; pure and
    jittable.

    Group values lie halfway between the group's own mean and the overall mean; group sds and sigma are half
    the spread of the outcome; other coefficients are zero. Group axes are padded.
    """
    return _guess_normal(layout, working(layout, data)) if layout.normal_groups else _guess_counts(layout, data)


def working(layout: Layout, data: Data) -> Data:
    """The data with outcomes on the scale of the linear predictor, weighted by what they tell about it.

    A row's weight is what it tells at the overall mean, as its family says. An outcome on that scale already is left
    alone, in units of its residual variance.
    """
    if layout.link.identity:
        return data
    real, exposure = data.weight > 0, 1.0 if data.units is None else data.units.exposure
    size, law = jnp.where(real, data.size / exposure, 1.0), layout.law
    mean = law.pooled(jnp.sum(data.y), jnp.sum(data.size / exposure))
    y, information = law.empirical(data.y, size, jnp), law.told(size, mean)
    return _replace_outcome(data, jnp.where(real, y, 0.0), jnp.where(real, information, 0.0))


def _replace_outcome(data: Data, y: Array, weight: Array) -> Data:
    """The same design with other outcomes and weights."""
    return Data(y, data.x, weight, data.size, data.group, data.parent, data.real, data.twin, data.units)


def _guess_normal(layout: Layout, data: Data) -> dict[str, Array]:
    total = jnp.sum(data.weight)
    centre = jnp.sum(data.weight * data.y) / total
    spread = jnp.sqrt(jnp.sum(data.weight * (data.y - centre) ** 2) / total)
    # outcomes that are all alike say nothing about sds: then a link's own unit, or a twentieth of what one row tells,
    # is where they start
    least = 1e-6 if layout.link.identity else jnp.minimum(1.0, 0.05 * jnp.sqrt(jnp.sum(data.weight > 0) / total))
    spread = jnp.where(spread > least, spread, least)
    starts = {q.role: q.start for q in layout.law.own if q.role != "residual sd"}
    values: dict[str, Array] = {}
    for p in layout.parameters:
        if p.role in starts:
            values[p.name] = _inside(p, jnp.asarray(starts[p.role]))
        elif p.kind == "positive":
            values[p.name] = _inside(p, 0.5 * spread)
        elif p.kind == "real":
            values[p.name] = _inside(p, centre if p == layout.intercept else jnp.zeros(()))
    means: list[Array] = []
    tree = tree_of(layout, data)
    for i, level in enumerate(layout.levels):
        weight = tree.sum_rows(data.weight, i)
        raw = tree.sum_rows(data.weight * data.y, i)
        shrunk = jnp.where(weight > 0, 0.5 * (raw / jnp.where(weight > 0, weight, 1.0) + centre), centre)
        above = tree.spread_down(means[level.parent], level.parent, i) if level.parent >= 0 else centre
        means.append(shrunk)
        deviation = jnp.clip((shrunk - above) / spread, -1.5, 1.5)
        real = data.real[i]
        values |= _guess_level(layout, level, jnp.where(real, shrunk, 0.0), jnp.where(real, deviation, 0.0))
    return values


def _guess_level(layout: Layout, level: LevelLayout, theta: Array, eta: Array) -> dict[str, Array]:
    columns = [layout.columns[e] for e in level.effects]
    values: dict[str, Array] = {}
    for name, column in zip(layout.effect_names(level), columns, strict=True):
        first = column == "Intercept"
        values[name] = theta if first else jnp.zeros(level.size)
        values["eta" + name[len("theta") :]] = eta if first else jnp.zeros(level.size)
    for block in level.blocks:
        if len(block) > 1:
            place = jnp.array([columns[b] == "Intercept" for b in block])
            values[f"coef_{level.name}"] = jnp.where(place, theta[:, None], 0.0)
            values[f"eta_{level.name}"] = jnp.where(place, eta[:, None], 0.0)
    return values


def _guess_counts(layout: Layout, data: Data) -> dict[str, Array]:
    tree, law = count_tree(layout), layout.law
    events, exposure = law.counted(data.y, data.size)
    overall = law.pooled(jnp.sum(events), jnp.sum(exposure))
    log_name = log_precision(layout)
    values: dict[str, Array] = {}
    for p in layout.parameters:
        if p.role == "population mean":
            guess = overall
        elif p == layout.intercept:
            guess = law.link.forward(overall)
        elif p.kind == "positive":
            guess = jnp.asarray(0.5 if p.role == "group sd" else law.population.start)
        else:
            guess = jnp.asarray(2.0 if p.role == "log concentration" else 0.0)
        values[p.name] = _inside(p, guess)
    rates = []
    for i, level in enumerate(layout.levels):
        y, size = (tree_of(layout, data).sum_rows(rows, i) for rows in (events, exposure))
        weight = law.population.shrinking(overall)
        rates.append((y + weight * overall) / (size + weight))
        values[theta_name(level.name, "Intercept")] = jnp.where(data.real[i], law.link.forward(rates[i]), 0.0)
        values[theta_name(level.name, log_name)] = jnp.where(data.real[i], 2.0, 0.0)
    return values | ({rate_site(layout): rates[tree.unit]} if rates else {})


def _inside(parameter: Parameter, value: Array, edge: float = 0.05, by: Array | float = 1.0) -> Array:
    """The value, moved inside a prior's bounded support, where the prior stands at ``by`` times the value."""
    low, high = parameter.prior.support(parameter.kind)
    if np.isfinite(low) and np.isfinite(high):
        return jnp.clip(value * by, low + edge * (high - low), high - edge * (high - low)) / by
    return value


# from sufficient statistics ---------------------------------------------------------------------------------


def of_sums(layout: Layout, parameters: tuple[Parameter, ...], stats: GaussianStats) -> dict[str, Array]:
    """Hyperparameters of a normal hierarchy on the scale of the data: group sds and sigma at half the outcome's
    spread.
    """
    spread = jnp.sqrt(stats.yy / jnp.maximum(jnp.sum(stats.cc[0, 0]), jnp.finfo(stats.yy.dtype).tiny))
    spread = jnp.where(spread > 0, spread, 1e-6)
    values, stands = {}, stands_of(layout, stats)
    for p in parameters:
        if p.kind == "correlation":
            values[p.name] = jnp.eye(p.size)
            continue
        if p.role == "residual sd":
            value = 0.5 * jnp.where(stats.yy > 0, jnp.sqrt(stats.yy / stats.rows), 1e-6)
        elif p.kind == "positive":
            value = start_inside(layout, stats.units, p, 0.5 * spread)
        else:
            value = stats.shift if p == layout.intercept else jnp.zeros(())
        values[p.name] = _inside(p, value, by=1.0 if stands is None else stands[p.name])
    return values


def of_counts(layout: Layout, parameters: tuple[Parameter, ...], stats: CountStats) -> dict[str, Array]:
    """Hyperparameters of a hierarchy of counts: moment estimates."""
    m, a = layout.law.population.by_moments(stats)
    values, stands = {}, stands_of(layout, stats)
    for p in parameters:
        if p.role == "log concentration":
            value = jnp.log(a)
        elif p.kind == "real":
            value = layout.link.forward(m) if p == layout.intercept else jnp.zeros(())
        elif p.role == "group sd":
            value = jnp.full((), 0.5)
        else:
            value = m if p.role == "population mean" else a
        values[p.name] = _inside(p, value, 0.01, 1.0 if stands is None else stands[p.name])
    return values
