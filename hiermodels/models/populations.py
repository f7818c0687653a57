"""Beta and gamma populations: their centre, and groups not in the data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout
from hiermodels.quantities import sd_name

__all__ = [
    "centre",
    "new_group",
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
