"""Beta and gamma populations: their draws, moments and links; simulated counts; groups not in the data."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.streams import stream
from hiermodels.models.tree import tree_of
from hiermodels.quantities import sd_name, theta_name

__all__ = [
    "centre",
    "new_group",
    "simulate_counts",
]


def centre(layout: Layout, values: dict[str, Array]) -> Array:
    """Population mean on the link scale, predictors at zero; any leading axes."""
    name = rate_name(layout)
    if name is not None:
        return layout.link.forward(values[name])
    return values["Intercept"] if "Intercept" in values else jnp.zeros(())


def new_group(layout: Layout, values: dict[str, Array], level: str, key: Array) -> Array:
    """A draw of a group not in the data, in ancestors not in the data, predictors at zero, beside each draw.

    Parameters
    ----------
    layout : Layout
        Of family binomial or poisson.
    values : dict of str to Array
        Draws of the parameters, any leading axes.
    level : str
        Grouping of the new group; its value is a probability or a rate for the finest grouping, else on the
        link scale.

    Returns
    -------
    Array
        Of the leading axes' shape; NaN where the groups are not pooled.
    """
    tree, names = count_tree(layout), [v.name for v in layout.levels]
    i, last = names.index(level), len(names) - 1
    if tree.word == "none":
        return jnp.full(jax.tree.leaves(values)[0].shape[:2], jnp.nan)
    eta = centre(layout, values)
    keys = jax.random.split(key, 3)
    variance = sum(
        (values[sd_name(names[k], "Intercept")] ** 2 for k in tree.above if k <= i), start=jnp.zeros_like(eta)
    )
    eta = eta + jnp.sqrt(variance) * jax.random.normal(keys[0], eta.shape, eta.dtype)
    if tree.word == "complete" or i < tree.unit:
        return layout.link.inverse(eta) if i == last else eta
    if tree.above:
        name = log_precision(layout)
        noise = jax.random.normal(keys[1], eta.shape, eta.dtype)
        concentration = jnp.exp(values[name] + values[sd_name(names[tree.above[-1]], name)] * noise)
    else:
        concentration = values[precision(layout)]
    rate = layout.law.population.component(layout.link.inverse(eta), concentration).draw(keys[2])
    return rate if i == last else layout.link.forward(rate)


def simulate_counts(
    layout: Layout, key: Array, design: Data, known: dict[str, Array], words: Mapping[str, Array] | None = None
) -> tuple[Array, dict[str, Array]]:
    """One dataset of counts: down the tree of groups, then the rows.

    Parameters
    ----------
    layout : Layout
        Of family binomial or poisson.
    design : Data
        Groups, predictors and trials or exposure; its outcome is not read.
    known : dict of str to Array
        Parameters, and group values that are fixed (padded axes).
    words : mapping of str to Array, optional
        As in `hiermodels.models.streams.stream`.

    Returns
    -------
    y : Array, shape (obs,)
    true : dict of str to Array
        Every variable and ``new(<level>)``; NaN where undefined.
    """
    levels, law, tree = layout.levels, layout.law, count_tree(layout)
    nan = jnp.full((), jnp.nan)
    true = {p.name: known.get(p.name, nan) for p in layout.parameters}
    keys = jax.random.split(key, 4)
    given = (rate_name(layout) or "Intercept") in known
    base = centre(layout, known) if given else jnp.zeros(())
    eta = _row_centre(layout, design, known, base)
    deviation = jnp.zeros(())
    for i in range(max(tree.unit, 0)):
        name, level = theta_name(levels[i].name, "Intercept"), levels[i]
        deviation = tree_of(layout, design).spread_down(deviation, i - 1, i)
        if name in known:
            deviation = known[name] - base
        elif i in tree.above:
            noise = jax.random.normal(stream(keys[0], name, words), (level.size,))
            deviation = deviation + known.get(sd_name(level.name, "Intercept"), nan) * noise
        true[name] = jnp.broadcast_to(base + deviation, (level.size,))
    if tree.unit >= 1:
        eta = eta + tree_of(layout, design).at_rows(deviation, tree.unit - 1)
    if tree.unit < 0:
        rate = law.link.inverse(eta)
    else:
        rate = _finest_rates(layout, design, known, true, eta, keys[1])[design.group[-1]]
    scalars = {p.name: jnp.reshape(true[p.name], (1, 1)) for p in layout.parameters}
    for level in levels:
        drawn = new_group(layout, scalars, level.name, stream(keys[2], f"new({level.name})", words)) if scalars else nan
        true[f"new({level.name})"] = jnp.reshape(drawn, ())
    return law.draw(keys[3], rate, design.size), true


def _row_centre(layout: Layout, design: Data, known: dict[str, Array], base: Array) -> Array:
    """Population part of each row on the link scale."""
    eta = jnp.broadcast_to(base, design.y.shape)
    for c in layout.population:
        if layout.columns[c] != "Intercept":
            eta = eta + known.get(layout.columns[c], jnp.nan) * design.x[:, c]
    return eta


def _finest_rates(
    layout: Layout, design: Data, known: dict[str, Array], true: dict[str, Array], eta: Array, key: Array
) -> Array:
    """Rates of the finest groups; the group values from the units down go into ``true``."""
    tree, levels, law, last = count_tree(layout), layout.levels, layout.law, len(layout.levels) - 1
    finest, nan = theta_name(levels[last].name, "Intercept"), jnp.full((), jnp.nan)
    size = levels[tree.unit].size
    keys = jax.random.split(key)
    if tree.above:
        level, log_name = levels[tree.above[-1]], log_precision(layout)
        noise = jax.random.normal(keys[0], (level.size,))
        drawn = known.get(log_name, nan) + known.get(sd_name(level.name, log_name), nan) * noise
        true[theta_name(level.name, log_name)] = known.get(theta_name(level.name, log_name), drawn)
    if finest in known:
        true |= {theta_name(v.name, "Intercept"): jnp.full(v.size, jnp.nan) for v in levels[tree.unit : last]}
        true[finest] = known[finest]
        return known[finest]
    rows = (design.size > 0).astype(eta.dtype)
    total, count = tree_of(layout, design).sum_rows(jnp.stack([eta * rows, rows]), tree.unit)
    rate = law.link.inverse(total / jnp.maximum(count, 1.0))
    if tree.word == "partial":
        if tree.above:
            log_a = true[theta_name(levels[tree.above[-1]].name, log_precision(layout))]
            concentration = jnp.exp(tree_of(layout, design).spread_down(log_a, tree.above[-1], tree.unit))
        else:
            concentration = jnp.broadcast_to(known.get(precision(layout), nan), (size,))
        rate = law.population.component(rate, concentration).draw(keys[1])
    elif tree.word == "none":
        rate = jnp.full(size, jnp.nan)
    for i in range(tree.unit, last + 1):
        here = tree_of(layout, design).spread_down(rate, tree.unit, i)
        true[theta_name(levels[i].name, "Intercept")] = here if i == last else law.link.forward(here)
    return here
