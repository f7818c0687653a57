"""Units and origins: the design that programs compute with (`hiermodels.models.moves`), and the way back to the user's.

Standard deviations, between groups and of rows, are in the user's units inside too; coefficients, the population's and
the groups', are per sd of their column and at the predictors' means, and so are the sds and correlations of group terms
whose intercept varies with its slopes. Draws and components are shown at zero. A prior that the user wrote stands on
what is shown, a default on what is inside.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from hiermodels import priors
from hiermodels.models.counts import count_tree
from hiermodels.models.layout import Layout, LevelLayout, Parameter
from hiermodels.models.moves import find_moves, find_origin, inward, written
from hiermodels.models.problem import Data
from hiermodels.models.scales import Scales
from hiermodels.models.tree import tree_of
from hiermodels.priors import Prior
from hiermodels.quantities import INTERCEPT, Quantity, cor_name, sd_name, theta_name

__all__ = [
    "Units",
    "at_means",
    "from_means",
    "identity",
    "inner_design",
    "inner_sd",
    "own_factor",
    "per_column",
    "prior_at_zero",
    "settled",
    "shown",
    "shown_factor",
    "shown_spreads",
    "stands_of",
    "start_inside",
    "with_outcome_scale",
    "with_units",
]


class Units(eqx.Module):
    """The numbers of one fit's units, as arrays: programs do not depend on them.

    Attributes
    ----------
    inward : Array, shape (column, column)
        T: the inner design is ``x T``, coefficients are ``T b~``.
    stands : Array, shape (parameter,)
        Number that a parameter, as the program holds it, is multiplied by where its prior stands.
    exposure : Array, shape ()
        What exposures are divided by inside.
    outcome : Array, shape ()
        What coefficients are divided by inside, where chains move on them.
    """

    inward: Any
    stands: Any
    exposure: Any
    outcome: Any


# of one fit -------------------------------------------------------------------------------------------------


def with_units(layout: Layout, data: Data, scales: Scales, priors: Mapping[str, Prior]) -> tuple[Layout, Data]:
    """A layout that knows its origin and moves, and data with the matrix T; `settled` adds where priors stand.

    Parameters
    ----------
    layout : Layout
    data : Data
        NumPy arrays, rows not padded.
    scales : Scales
    priors : mapping of str to Prior
        Those that the user wrote.
    """
    named = written(layout, priors)
    layout = dataclasses.replace(layout, origin=find_origin(layout, data.x))
    layout = dataclasses.replace(layout, moves=find_moves(layout, scales, named))
    free = bool(layout.origin) and not {layout.columns[e] for e in layout.origin} & named
    exposure = scales.exposure if free and layout.law.exposed and layout.normal_groups else 1.0
    units = Units(inward(layout, scales), np.ones(0), np.asarray(exposure), np.ones(()))
    return layout, dataclasses.replace(data, units=units)


def per_column(layout: Layout, data: Data, quantity: Quantity) -> float:
    """One over the scale of the column whose coefficient a quantity is, or describes the spread of; 1 for any other."""
    return (
        float(own_factor(layout, data.units, quantity.effect)) if quantity.role in ("coefficient", "group sd") else 1.0
    )


def settled(layout: Layout, data: Data, scales: Scales) -> Units | None:
    """Units with where each prior stands; None where they would change nothing."""
    assert data.units is not None
    stands = []
    for p in layout.parameters:
        by = per_column(layout, data, p)
        if p.role == "coefficient":
            stands.append(1.0 if p.core else by)
        else:
            stands.append(1 / (by * scales.unit(p.core)) if p.core else 1.0)
    units = Units(data.units.inward, np.asarray(stands, float), data.units.exposure, data.units.outcome)
    plain = not layout.moves and np.all(units.inward == np.eye(len(units.inward))) and np.all(units.stands == 1.0)
    return None if plain and units.exposure == 1.0 else units


# inside and back --------------------------------------------------------------------------------------------


def inner_design(layout: Layout, data: Data) -> Any:
    """The design that programs compute with, shape (obs, column): centred and scaled; padded rows stay zero."""
    if data.units is None:
        return data.x
    t = data.units.inward
    columns = [data.x[:, c] * t[c, c] for c in range(len(layout.columns))]
    for e, c in layout.moves:
        columns[c] = columns[c] + data.x[:, e] * t[e, c]
    stack = np.stack if isinstance(data.x, np.ndarray) else jnp.stack
    return stack(columns, axis=-1)


def with_outcome_scale(layout: Layout, data: Data) -> Data:
    """The data, and a power of 1,024 by which coefficients are divided inside, so that chains move on a scale of about
    one.

    No prior changes by it: where a written one stands, the coefficient is multiplied again.
    """
    total = jnp.sum(data.weight)
    centre = jnp.sum(data.weight * data.y) / total
    spread = jnp.sqrt(jnp.sum(data.weight * (data.y - centre) ** 2) / total)
    scale = 1024.0 ** jnp.round(jnp.log(jnp.where(spread > 0, spread, 1.0)) / math.log(1024.0))
    units = identity(layout) if data.units is None else data.units
    real = jnp.asarray([p.role == "coefficient" for p in layout.parameters], bool)
    stands = jnp.where(real, units.stands * scale, units.stands)
    return dataclasses.replace(data, units=Units(units.inward, stands, units.exposure, scale))


def identity(layout: Layout) -> Units:
    """Units of a design that is left as it is."""
    return Units(np.eye(len(layout.columns)), np.ones(len(layout.parameters)), np.ones(()), np.ones(()))


def stands_of(layout: Layout, data: Any) -> dict[str, Any] | None:
    """What each parameter is multiplied by where its prior stands, by name; None for 1. Of data, or of their
    statistics.
    """
    return None if data.units is None else {p.name: data.units.stands[i] for i, p in enumerate(layout.parameters)}


def own_factor(layout: Layout, units: Units | None, column: str) -> Any:
    """What the coefficient of a column is multiplied by from the program to what is shown, T[c, c]; 1 for any other."""
    if units is None or column not in layout.columns:
        return 1.0
    c = layout.columns.index(column)
    return units.inward[c, c]


def inner_sd(layout: Layout, units: Units | None, level: str, column: str, values: Mapping[str, Any]) -> Any:
    """Standard deviation between groups of a coefficient as the program holds it, from the parameter, which is in the
    user's units.
    """
    return values[sd_name(level, column)] / own_factor(layout, units, column)


def start_inside(layout: Layout, units: Units | None, parameter: Parameter, value: Any) -> Any:
    """A starting value of a parameter as the program holds it, from one for columns as they are inside."""
    by = own_factor(layout, units, parameter.effect)
    if parameter.role == "group sd":
        return value * by
    return value / (by * units.outcome) if units is not None and parameter.role == "coefficient" else value


def shown(layout: Layout, data: Data, values: Mapping[str, Any]) -> dict[str, Any]:
    """Variables as they are shown, predictors at zero, from those of the program.

    Parameters
    ----------
    layout : Layout
    data : Data
        Of the design: units, parents, which groups are real.
    values : mapping of str to Array
        Any leading axes; group axes padded; correlations as matrices.

    Returns
    -------
    dict of str to Array
    """
    if data.units is None:
        return dict(values)
    found = dict(values) | shown_parameters(layout, data.units, values)
    if not layout.normal_groups:
        return _shown_counts(layout, values, found)
    t, offset = data.units.inward, _offset(layout, data.units)
    for i, level in enumerate(layout.levels):
        for e, name in zip(level.effects, layout.effect_names(level), strict=True):
            moved = (t[e, c] * _coefficient(layout, data, values, i, c) for k, c in layout.moves if k == e)
            found[name] = sum(moved, start=t[e, e] * values[name]) - (offset if e in layout.origin else 0.0)
    _average_upwards(layout, data, found)
    return found


def shown_parameters(layout: Layout, units: Units, values: Mapping[str, Any]) -> dict[str, Any]:
    """Population coefficients, and sds and correlations of groups, as they are shown: those that differ from the
    program's.
    """
    found, t, offset = {}, units.inward, _offset(layout, units)
    for e in layout.population:
        name = layout.columns[e]
        if name in values:
            moved = (
                t[e, c] * values[layout.columns[c]] for k, c in layout.moves if k == e and layout.columns[c] in values
            )
            found[name] = sum(moved, start=t[e, e] * values[name]) - (offset if e in layout.origin else 0.0)
    return found | shown_spreads(layout, units, values)


def from_means(layout: Layout, units: Units | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they are shown, from values of those that stand at the predictors' means: draws from their
    priors.
    """
    if units is None:
        return dict(values)
    inside = {
        layout.columns[c]: values[layout.columns[c]] / units.inward[c, c]
        for c in layout.population
        if layout.columns[c] in values
    }
    return dict(values) | shown_parameters(layout, units, {**values, **inside})


def at_means(layout: Layout, units: Units | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters where their priors stand, at the predictors' means and a typical exposure, from those that are shown;
    NumPy.
    """
    found = dict(values)
    if units is None:
        return found
    t = np.asarray(units.inward)
    back, offset = np.linalg.inv(t), np.asarray(_offset(layout, units))
    names = [layout.columns[e] for e in layout.population]
    typical = {
        e: values[n] + (offset if e in layout.origin else 0.0)
        for e, n in zip(layout.population, names, strict=True)
        if n in values
    }
    for e, value in typical.items():
        moved = (t[e, e] * back[e, c] * typical[c] for k, c in layout.moves if k == e and c in typical)
        found[layout.columns[e]] = sum(moved, start=value)
    for level in layout.levels:
        for block in level.blocks:
            if layout.moves_within(level, block):
                found |= _turned(layout, level, block, back, values)
    return found


def prior_at_zero(layout: Layout, units: Units | None, parameter: Parameter) -> Prior | None:
    """Law of a parameter as it is shown, which follows from priors at the predictors' means; None where it has no name.

    A coefficient at zero is one at the means less the slopes times the means: normal where all of these are, flat where
    one is.
    """
    if units is None or parameter.role != "coefficient":
        return None if units is not None and layout.moved(parameter) else parameter.prior
    e, t = layout.columns.index(parameter.effect), np.asarray(units.inward)
    terms = [(t[e, c] / t[c, c], layout.parameter(layout.columns[c])) for k, c in layout.moves if k == e]
    laws = [parameter.prior, *(p.prior for _, p in terms if p is not None)]
    if any(law.constant for law in laws):
        return priors.flat()
    normal = [(law.args[0], 0.0) if law.known else law.gaussian if law.unit is None else None for law in laws]
    if None in normal:
        return None if terms else parameter.prior
    factors = np.array([1.0, *(by for by, p in terms if p is not None)])
    means, sds = np.array(normal, float).T
    offset = float(np.asarray(_offset(layout, units))) if e in layout.origin else 0.0
    centre, sd = float(factors @ means) - offset, float(np.hypot.reduce(factors * sds))
    return priors.normal(centre, sd) if sd > 0 else priors.fixed(centre)


def shown_factor(layout: Layout, data: Any, parameter: Parameter) -> Any:
    """What a parameter that does not move is multiplied by from the program to what is shown."""
    return own_factor(layout, data.units, parameter.effect) if parameter.role == "coefficient" else 1.0


def shown_spreads(layout: Layout, units: Units, values: Mapping[str, Any]) -> dict[str, Any]:
    """Standard deviations and correlations of groups that are others where predictors are zero."""
    found: dict[str, Any] = {}
    for level in layout.levels:
        for block in level.blocks:
            if layout.moves_within(level, block):
                found |= _turned(layout, level, block, units.inward, values)
    return found


def _offset(layout: Layout, units: Units) -> Any:
    """Logarithm of the exposure that inner coefficients are for."""
    return jnp.log(units.exposure) if layout.law.exposed else 0.0


def _shown_counts(layout: Layout, values: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Group values of counts above the units: on the link scale, with the intercept's predictors at zero."""
    if INTERCEPT in values and layout.moves:
        shift = found[INTERCEPT] - values[INTERCEPT]
        for level in layout.levels[: max(count_tree(layout).unit, 0)]:
            name = theta_name(level.name, INTERCEPT)
            found[name] = values[name] + shift[..., None]
    return found


def _coefficient(layout: Layout, data: Data, values: Mapping[str, Any], i: int, c: int) -> Any:
    """Inner coefficient of a column for each group of level i: its own, its nearest ancestor's, or the population's."""
    j = layout.holder(i, c)
    if j >= 0:
        return tree_of(layout, data).spread_down(values[theta_name(layout.levels[j].name, layout.columns[c])], j, i)
    return values[layout.columns[c]][..., None] if layout.columns[c] in values else 0.0


def _average_upwards(layout: Layout, data: Data, found: dict[str, Any]) -> None:
    """Above an unpooled level a coarser group's value is the unweighted mean of its children."""
    none = [i for i, level in enumerate(layout.levels) if level.pooling == "none"]
    for i in reversed(range(1, max(none, default=0) + 1)) if layout.nested and layout.moves else ():
        for e in layout.levels[i - 1].effects:
            if e in layout.levels[i].effects:
                above, below = (theta_name(layout.levels[k].name, layout.columns[e]) for k in (i - 1, i))
                found[above] = tree_of(layout, data).mean_of_children(found[below], i)


def _turned(
    layout: Layout, level: LevelLayout, block: tuple[int, ...], t: Any, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Standard deviations and correlations of a block of effects under ``b = t b~``; sds are in the user's units on
    either side.
    """
    effects = [level.effects[b] for b in block]
    names = [sd_name(level.name, layout.columns[e]) for e in effects]
    matrix = jnp.stack([jnp.stack([t[e, c] / t[c, c] for c in effects]) for e in effects])
    sds = jnp.stack([values[n] for n in names], -1)
    root = matrix * sds[..., None, :]
    covariance = root @ values[cor_name(level.name)] @ jnp.swapaxes(root, -1, -2)
    sds = jnp.sqrt(jnp.diagonal(covariance, axis1=-2, axis2=-1))
    safe = jnp.where(sds > 0, sds, 1.0)
    unit = jnp.eye(len(block))
    correlation = jnp.where(unit > 0, 1.0, covariance / (safe[..., :, None] * safe[..., None, :]))
    return {n: sds[..., k] for k, n in enumerate(names)} | {cor_name(level.name): correlation}
