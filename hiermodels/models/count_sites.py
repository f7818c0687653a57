"""Beta and gamma populations as NumPyro statements: what `hiermodels.models.builder` writes for counts.

| site | law |
|---|---|
| ``mean_<g>``, ``kappa_<g>``, ``Intercept``, ``sd_<p>``, ``log_kappa``, ... | the parameter's prior |
| ``theta_<p>``, ``theta_<p>_log_kappa``; ``eta_...`` if not centred | laws above the finest, link scale |
| ``theta_<g>`` | Beta or Gamma; ``rate_<g>`` where completely pooled groups lie below |
| ``y`` | the counts |
"""

from __future__ import annotations

import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jax import Array
from numpyro import handlers

from hiermodels.models.counts import check_tree, count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout
from hiermodels.models.populations import centre
from hiermodels.models.problem import Data
from hiermodels.models.sites import Centring, hyperparameter, in_order, is_centred, outcome_site, padded
from hiermodels.models.tree import tree_of
from hiermodels.models.units import inner_design, stands_of
from hiermodels.quantities import sd_name, theta_name

__all__ = ["check_tree", "count_model", "unit_site"]


def count_model(layout: Layout, centred: Centring, data: Data, y: Array | None) -> None:
    """Sample hyperparameters, group values and counts.

        theta_j ~ Beta(mean_j kappa, (1 - mean_j) kappa),    y ~ Binomial(trials, theta_j)
        theta_j ~ Gamma(shape, shape / mean_j),              y ~ Poisson(exposure theta_j)

    with one mean, or mean_j the inverse link of the group's predictors and its ancestors' deviations.

    Parameters
    ----------
    layout : Layout
        Of family binomial or poisson.
    centred : bool or tuple of str
        For populations above the finest.
    y : Array, shape (obs,), optional
        None simulates.
    """
    phi: dict[str, Array] = {}
    stands = stands_of(layout, data)
    for p in in_order(layout.parameters):
        unit = layout.unit_of(p)
        by = None if stands is None else stands[p.name]
        phi[p.name] = hyperparameter(p.name, p.inner, p.kind, unit=None if unit is None else phi[unit.name], stands=by)
    tree = count_tree(layout)
    if tree.unit < 0:
        rate = _row_means(layout, phi, data)
    else:
        rate = _jeffreys(layout, data) if tree.word == "none" else _pooled(layout, centred, phi, data)
        rate = tree_of(layout, data).at_rows(rate, tree.unit)
    rows = data.size > 0
    size = jnp.where(rows, data.size, 1.0)
    with handlers.mask(mask=rows):
        numpyro.sample(outcome_site(layout), layout.law.at_rate(rate, size), obs=y)


def unit_site(layout: Layout) -> str:
    """Name of the site of the groups' probabilities or rates."""
    unit = count_tree(layout).unit
    name = layout.levels[unit].name
    return f"theta_{name}" if unit == len(layout.levels) - 1 else f"rate_{name}"


def _slopes(layout: Layout, phi: dict[str, Array], data: Data) -> Array:
    """Predictors' part of each row on the link scale."""
    x = inner_design(layout, data)
    terms = (x[:, c] * phi[layout.columns[c]] for c in layout.population if layout.columns[c] != "Intercept")
    return sum(terms, start=jnp.zeros(layout.obs))


def _row_means(layout: Layout, phi: dict[str, Array], data: Data) -> Array:
    if rate_name(layout) is not None:
        return jnp.broadcast_to(phi["Intercept"], (layout.obs,))
    return layout.link.inverse(centre(layout, phi) + _slopes(layout, phi, data))


def _jeffreys(layout: Layout, data: Data) -> Array:
    """Unpooled groups, each with Jeffreys' prior; above them the values are the means of their children."""
    tree, levels, name = count_tree(layout), layout.levels, unit_site(layout)
    real = data.real[tree.unit]
    law, log_density = layout.law.population.unpooled_law(levels[tree.unit].size)
    rate = padded(name, law, real, layout.law.population.padding)
    if log_density is not None:
        numpyro.factor(f"prior_{name}", jnp.sum(jnp.where(real, log_density(rate), 0.0)))
    above = rate
    for i in reversed(range(tree.unit)):
        above = tree_of(layout, data).mean_of_children(above, i + 1)
        numpyro.deterministic(theta_name(levels[i].name, "Intercept"), layout.link.forward(above))
    _report_below(layout, rate, data, sampled=True)
    return rate


def _pooled(layout: Layout, centred: Centring, phi: dict[str, Array], data: Data) -> Array:
    """Completely or partially pooled groups: values above the units, then the units' own."""
    tree, levels = count_tree(layout), layout.levels
    base, deviation = centre(layout, phi), jnp.zeros(())
    for i in range(tree.unit):
        name = theta_name(levels[i].name, "Intercept")
        above = jnp.broadcast_to(
            base + tree_of(layout, data).spread_down(deviation, i - 1, i), (levels[i].size,)
        )
        if i in tree.above:
            value = _normal(name, above, phi[sd_name(levels[i].name, "Intercept")], data.real[i], centred)
        else:
            value = numpyro.deterministic(name, above)
        deviation = value - base
    mean = _unit_means(
        layout, phi, base + tree_of(layout, data).spread_down(deviation, tree.unit - 1, tree.unit), data
    )
    if tree.word == "complete":
        _report_below(layout, mean, data, sampled=False)
        return mean
    if tree.above:
        top, name = levels[tree.above[-1]], log_precision(layout)
        centre_of_log = jnp.broadcast_to(phi[name], (top.size,))
        log_size = _normal(
            theta_name(top.name, name),
            centre_of_log,
            phi[sd_name(top.name, name)],
            data.real[tree.above[-1]],
            centred,
        )
        size = jnp.exp(tree_of(layout, data).spread_down(log_size, tree.above[-1], tree.unit))
    else:
        size = phi[precision(layout)]
    population = layout.law.population
    rate = padded(unit_site(layout), population.law(mean, size), data.real[tree.unit], population.padding)
    _report_below(layout, rate, data, sampled=True)
    return rate


def _normal(name: str, mean: Array, sd: Array, real: Array, centred: Centring) -> Array:
    if is_centred(centred, name):
        return padded(name, dist.Normal(mean, sd), real)
    eta = padded("eta" + name[len("theta") :], dist.Normal(jnp.zeros_like(mean), 1.0), real)
    return numpyro.deterministic(name, mean + sd * eta)


def _unit_means(layout: Layout, phi: dict[str, Array], base: Array, data: Data) -> Array:
    """Population mean of each unit on its natural scale."""
    unit = count_tree(layout).unit
    groups, name = layout.levels[unit].size, rate_name(layout)
    if name is not None:
        return jnp.broadcast_to(phi[name], (groups,))
    rows = (data.size > 0).astype(data.y.dtype)
    tree = tree_of(layout, data)
    total, count = tree.sum_rows(rows * _slopes(layout, phi, data), unit), tree.sum_rows(rows, unit)
    return layout.link.inverse(base + total / jnp.maximum(count, 1.0))


def _report_below(layout: Layout, rate: Array, data: Data, sampled: bool) -> None:
    """Record the values from the units down: on the link scale, but for the finest."""
    tree, last = count_tree(layout), len(layout.levels) - 1
    for i in range(tree.unit, last + 1):
        if sampled and i == tree.unit == last:
            continue
        here = tree_of(layout, data).spread_down(rate, tree.unit, i)
        name = theta_name(layout.levels[i].name, "Intercept")
        numpyro.deterministic(name, here if i == last else layout.link.forward(here))
