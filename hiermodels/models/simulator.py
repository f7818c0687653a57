"""The statements of a model, simulated: true values down the tree of groups, then outcomes of the rows.

Hyperparameters are given, group values may be; whatever needs one that is not given is NaN. What is random comes in as
functions, so that a mechanism may deviate from the model in the law of its groups' effects and say nothing else again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout
from hiermodels.models.outcomes import outcome_law
from hiermodels.models.populations import centre, new_group
from hiermodels.models.problem import Data
from hiermodels.models.row_means import linear_predictor, rates
from hiermodels.models.statements import Inherited, Rates, Scattered, Statement, statements
from hiermodels.models.streams import OUTCOME, stream
from hiermodels.models.tree import tree_of
from hiermodels.quantities import INTERCEPT, cor_name, sd_name, theta_name

__all__ = ["Groups", "draw_groups", "new_effects", "simulate"]

Values = Mapping[str, Array]
Effects = Callable[[Scattered, str], Array]
"""Standardised effects of a level's groups, given a statement and the name of one of its variables; (group,)."""


def simulate(
    layout: Layout, key: Array, design: Data, known: Values, words: Values | None = None
) -> tuple[Array, dict[str, Array]]:
    """One dataset of a model: down the tree of groups, then the rows.

    Parameters
    ----------
    layout : Layout
    key : Array
    design : Data
        Groups, predictors, weights, trials or exposure; its outcome is not read.
    known : mapping of str to Array
        Parameters, and group values that are fixed (padded axes).
    words : mapping of str to Array, optional
        As in `hiermodels.models.streams.stream`.

    Returns
    -------
    y : Array, shape (obs,)
    true : dict of str to Array
        Every variable and ``new(<level>)``; NaN where undefined.
    """
    keys = _keys(layout, key, words)

    def effects(statement: Scattered, name: str) -> Array:
        return jax.random.normal(keys.effects(name), (layout.levels[statement.level].size,))

    groups = draw_groups(layout, design, known, effects, keys.rates)
    true = groups.true | _new(layout, groups.true, known, keys.new)
    if not layout.normal_groups:
        return layout.law.draw(keys.rows, rates(layout, true, design), design.size), true
    mean, there = linear_predictor(layout, true, design), design.weight > 0
    if layout.gaussian:
        sd = (1.0 if layout.known else known["sigma"]) / jnp.sqrt(jnp.where(there, design.weight, 1.0))
        y = mean + sd * jax.random.normal(keys.rows, (layout.obs,))
    else:
        y = layout.law.inside(outcome_law(layout, mean, known, design).sample(keys.rows).astype(mean.dtype))
    return jnp.where(there, y, 0.0), true


class _Keys(NamedTuple):
    effects: Callable[[str], Array]
    rates: Array
    new: Callable[[str], Array]
    rows: Array


def _keys(layout: Layout, key: Array, words: Values | None) -> _Keys:
    """A key for whatever is drawn, by name."""
    if layout.normal_groups:
        return _Keys(
            lambda name: stream(key, name, words),
            key,
            lambda name: stream(key, name, words),
            stream(key, OUTCOME, words),
        )
    effects, units, new, rows = jax.random.split(key, 4)
    concentrations, rates = jax.random.split(units)
    shown = layout.quantities
    return _Keys(
        lambda n: stream(effects, n, words) if n in shown else concentrations,
        rates,
        lambda n: stream(new, n, words),
        rows,
    )


# groups ---------------------------------------------------------------------------------------------------------------


def draw_groups(layout: Layout, design: Data, known: Values, effects: Effects, rate_key: Array) -> Groups:
    """True values of all groups.

    Parameters
    ----------
    layout, design, known
        As in `simulate`.
    effects : callable
        Standardised effects.
    rate_key : Array
        Of probabilities and rates that are drawn from their population.
    """
    groups = Groups(layout, design, known)
    for statement in statements(layout):
        groups.add(statement, effects, rate_key)
    return groups


class Groups:
    """Group values of one dataset, as they are drawn.

    Attributes
    ----------
    true : dict of str to Array
        Parameters and group values by name; NaN where undefined.
    """

    def __init__(self, layout: Layout, design: Data, known: Values) -> None:
        nan = jnp.full((), jnp.nan)
        self.layout, self.design, self.known, self.tree = layout, design, known, tree_of(layout, design)
        self.true = {
            p.name: known.get(p.name, jnp.zeros(()) if p.kind == "correlation" else nan) for p in layout.parameters
        }
        self.root = {layout.columns[c]: known.get(layout.columns[c], nan) for c in layout.population}
        if not layout.normal_groups:
            given = (rate_name(layout) or INTERCEPT) in known
            self.root[INTERCEPT] = centre(layout, dict(known)) if given else jnp.zeros(())
            self.root[log_precision(layout)] = known.get(log_precision(layout), nan)
        self.values: dict[tuple[int, str], Array] = {}

    def add(self, statement: Statement, effects: Effects, rate_key: Array) -> None:
        """Draw what a statement is about."""
        i, nan = statement.level, jnp.full(self.layout.levels[statement.level].size, jnp.nan)
        match statement:
            case Scattered():
                noise = _correlated(
                    statement, jnp.stack([effects(statement, name) for name in statement.names]), self.known
                )
                found = [self.above(i, column) + z for column, z in zip(statement.columns, noise, strict=True)]
            case Rates():
                found = [self._rates(statement, rate_key)]
            case Inherited():
                unit = count_tree(self.layout).unit
                found = [self.tree.spread_down(self.values[unit, INTERCEPT], unit, i)]
            case _:  # follows no population: given, or undefined
                found = [nan for _ in statement.columns]
        for column, name, value in zip(statement.columns, statement.names, found, strict=True):
            natural = (
                isinstance(statement, (Rates, Inherited)) and i < len(self.layout.levels) - 1
            )  # but shown on the link scale
            self.values[i, column] = value = value if natural else self.known.get(name, value)
            self.true[name] = self.layout.link.forward(value) if natural else value

    def above(self, i: int, column: str) -> Array:
        """What the groups of level i scatter around; (group,)."""
        return self.tree.inherited(self.values, i, column, self.root.get(column, jnp.zeros(())))

    # probabilities and rates ----------------------------------------------------------------------------------------

    def _centre_of_rows(self, above: int) -> Array:
        """Linear predictor of each row around what its group at the level above the units has."""
        found = self.values[above, INTERCEPT] if above >= 0 else self.root[INTERCEPT]
        eta = jnp.broadcast_to(self.tree.at_rows(found, above), (self.layout.obs,))
        for c in self.layout.population:
            if self.layout.columns[c] != INTERCEPT:
                eta = eta + self.known.get(self.layout.columns[c], jnp.nan) * self.design.x[:, c]
        return eta

    def _rates(self, statement: Rates, key: Array) -> Array:
        i, layout = statement.level, self.layout
        size, last = layout.levels[i].size, layout.levels[-1].name
        if statement.pooling == "none" or theta_name(last, INTERCEPT) in self.known:
            return jnp.full(size, jnp.nan)
        eta, there = self._centre_of_rows(i - 1), (self.design.size > 0).astype(self.design.y.dtype)
        total, count = self.tree.sum_rows(eta * there, i), self.tree.sum_rows(there, i)
        mean, name = layout.link.inverse(total / jnp.maximum(count, 1.0)), log_precision(layout)
        if statement.pooling == "complete":
            return mean
        if count_tree(layout).above:
            concentration = jnp.exp(self.above(i, name))
        else:
            concentration = jnp.broadcast_to(self.known.get(precision(layout), jnp.full((), jnp.nan)), (size,))
        return layout.law.population.component(mean, concentration).draw(key)


def _correlated(statement: Scattered, z: Array, known: Values) -> list[Array]:
    """Effects from standardised ones, (effect, group): with their correlations and standard deviations."""
    if len(statement.columns) > 1:
        correlation, size = known.get(cor_name(statement.owner), jnp.zeros(())), len(statement.columns)
        z = _root(correlation if correlation.ndim else jnp.eye(size) * (1 - correlation) + correlation) @ z
    sds = [known.get(sd_name(statement.owner, column), jnp.full((), jnp.nan)) for column in statement.columns]
    return [sd * row for sd, row in zip(sds, z, strict=True)]


def _root(matrix: Array) -> Array:
    """Lower Cholesky factor of a correlation matrix, which may be singular: a column without variance of its own is
    zero.
    """
    size = matrix.shape[0]
    factor = jnp.zeros_like(matrix)
    for j in range(size):
        left = matrix[j:, j] - factor[j:, :j] @ factor[j, :j]
        own = left[0] > 1e-12
        factor = factor.at[j:, j].set(jnp.where(own, left / jnp.sqrt(jnp.where(own, left[0], 1.0)), 0.0))
    return factor


# groups not in the data -----------------------------------------------------------------------------------------------


def new_effects(layout: Layout, i: int, known: Values) -> list[tuple[str, Array]]:
    """Levels by which the intercept of a new group of level i varies, with its sd there, coarse to fine."""
    line = (layout.levels[k] for k in layout.lineage(i))
    names = [v.name for v in line if INTERCEPT in [layout.columns[e] for e in v.effects]]
    return [(name, known.get(sd_name(name, INTERCEPT), jnp.full((), jnp.nan))) for name in names]


def _new(layout: Layout, true: Values, known: Values, key: Callable[[str], Array]) -> dict[str, Array]:
    """A new group of each level, in new groups above it, predictors at zero."""
    nan, found = jnp.full((), jnp.nan), {}
    scalars = {p.name: jnp.reshape(true[p.name], (1, 1)) for p in layout.parameters if not layout.normal_groups}
    for i, level in enumerate(layout.levels):
        name = f"new({level.name})"
        if layout.normal_groups:
            spread = jnp.zeros(())
            for _, sd in new_effects(layout, i, known):
                spread = jnp.sqrt(spread**2 + sd**2)
            found[name] = known.get(INTERCEPT, nan) + spread * jax.random.normal(key(name))
        else:
            found[name] = jnp.reshape(new_group(layout, scalars, level.name, key(name)) if scalars else nan, ())
    return found
