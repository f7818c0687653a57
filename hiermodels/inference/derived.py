"""What follows from draws of a model's variables: averages over groups, and groups that are not in the data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.summaries import Target
from hiermodels.models.layout import Layout
from hiermodels.models.populations import new_group
from hiermodels.models.problem import Data
from hiermodels.quantities import sd_name, theta_name

__all__ = ["derive", "target_sizes"]


def derive(
    layout: Layout, values: dict[str, Array], targets: tuple[Target, ...], data: Data, key: Array
) -> dict[str, Array]:
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
            values[name] = jnp.sum(jnp.where(real, values[theta_name(asked.owner, asked.effect)], 0.0), -1) / jnp.sum(
                real
            )
        elif asked.role == "new group":
            values[name] = _new_group(layout, values, asked.owner, key)
    return values


def _new_group(layout: Layout, values: dict[str, Array], level: str, key: Array) -> Array:
    """A draw of a group not in the data, in ancestors not in the data, beside each draw."""
    if not layout.normal_groups:
        return new_group(layout, values, level, key)
    variance: Array | float = 0.0
    place = next(i for i, found in enumerate(layout.levels) if found.name == level)
    for here in (layout.levels[i] for i in layout.lineage(place)):
        if here.pooling == "partial" and "Intercept" in [layout.columns[e] for e in here.effects]:
            variance = variance + values[sd_name(here.name, "Intercept")] ** 2
    centre = values["Intercept"]
    return centre + jnp.sqrt(variance) * jax.random.normal(key, centre.shape, centre.dtype)


def target_sizes(layout: Layout, targets: tuple[Target, ...]) -> list[int]:
    """Padded number of entries of each target in an `Estimates` of this layout."""
    sizes = {name: level.size for level in layout.levels for name in layout.effect_names(level)}
    return [sizes.get(t.variable, 1) for t in targets]
