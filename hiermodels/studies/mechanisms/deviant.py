"""Datasets of a mechanism that deviates from the model; the laws are those of
`hiermodels.studies.mechanisms.deviations`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.families import lookup
from hiermodels.models.counts import precision, rate_name
from hiermodels.models.layout import Layout
from hiermodels.models.outcomes import outcome_law
from hiermodels.models.problem import Data, Problem
from hiermodels.models.row_means import linear_predictor
from hiermodels.models.simulator import draw_groups, new_effects, simulate
from hiermodels.models.statements import Scattered
from hiermodels.models.streams import stream
from hiermodels.models.tree import tree_of
from hiermodels.quantities import INTERCEPT, theta_name
from hiermodels.studies.mechanisms import deviations
from hiermodels.studies.mechanisms.rows import Rows

__all__ = ["Deviation", "any_rows", "read_deviation", "simulate_deviant"]

Law = tuple[str, tuple[float, ...]]
"""A law's name and its numbers, e.g. ``("student_t", (3.0,))``."""
Words = Mapping[str, Array] | None
"""As in `hiermodels.models.streams.stream`."""


@dataclass(frozen=True)
class Deviation:
    """What a cell's mechanism does otherwise; pairs (level, what), so that programs can be cached by it.

    ``single`` says that a row is one trial: a group has less data by rows that go.
    """

    effects: tuple[tuple[str, Law], ...] = ()
    errors: Law | None = None
    heteroscedastic: tuple[tuple[str, float], ...] = ()
    overdispersion: float = 0.0
    dependence: tuple[tuple[str, Law], ...] = ()
    missing: tuple[tuple[str, float], ...] = ()
    sizes: tuple[tuple[str, Law], ...] = ()
    single: bool = False

    def renamed(self, group: Callable[[str], str]) -> Deviation:
        """The same deviation of group terms with other names."""
        fields = ("effects", "heteroscedastic", "dependence", "missing", "sizes")
        renamed: dict[str, Any] = {
            field: tuple((group(g), what) for g, what in getattr(self, field)) for field in fields
        }
        return replace(self, **renamed)

    @property
    def changes_rows(self) -> bool:
        """Whether datasets differ from their design in more than the outcome."""
        return bool(self.missing or self.sizes)


def any_rows(problem: Problem) -> Problem:
    """A model on a design whose rows may go or change: what is known of the design alone (groups that are alike) is
    forgotten.
    """
    return replace(problem, layout=replace(problem.layout, twins=()), data=replace(problem.data, twin=()))


def read_deviation(given: Mapping[str, Any], problem: Problem, truth: Mapping[str, Any]) -> Deviation | None:
    """A cell's deviation, checked against the groupings, the family and the truth.

    Parameters
    ----------
    given : mapping
        As `hiermodels.studies.config.deviating.read_deviations` gives it: laws as (name, numbers), by level where
        levels count.
    problem : Problem
        The mechanism's model on its design.
    truth : mapping
        True values of the cell.

    Raises
    ------
    ValueError
        Starting with ``deviation``.
    """
    if not given:
        return None
    layout = problem.layout
    names = [level.name for level in layout.levels]
    if "sizes" in given and layout.law.exposed and problem.model.exposure is None:
        raise ValueError(
            "deviation: sizes: expected a column of exposures, which then differ; add exposure, or remove sizes"
        )
    if not layout.normal_groups and len(names) > 1 and "effects" in given:
        raise ValueError("deviation: effects of rates need a single grouping; use overdispersion, missing or sizes")
    simple = [layout.columns[c] for c in layout.population] == ["Intercept"]
    if "effects" in given and not layout.normal_groups and not simple:
        raise ValueError("deviation: effects: expected rates without predictors; drop them, or use overdispersion")
    for key in ("effects", "dependence"):
        for name in given.get(key, {}):
            if theta_name(name, "Intercept") in truth:
                raise ValueError(
                    f"deviation: {key}: the values of {name} are fixed by the truth; remove one of the two"
                )
    by_level = {
        k: tuple(given.get(k, {}).items()) for k in ("effects", "heteroscedastic", "dependence", "missing", "sizes")
    }
    single = lookup(problem.model.family).outcome == "binary"
    return Deviation(
        errors=given.get("errors"), overdispersion=given.get("overdispersion", 0.0), single=single, **by_level
    )


def simulate_deviant(
    layout: Layout, deviation: Deviation, key: Array, design: Data, known: dict[str, Array], words: Words = None
) -> tuple[Array | Rows, dict[str, Array]]:
    """One dataset; as the simulators of `hiermodels.studies.mechanisms.simulate`, with `Rows` where rows go or
    change.
    """
    draw = _normal if layout.normal_groups else _counts
    return draw(layout, deviation, key, design, known, words)


def _standard(law: Law | None, key: Array, shape: tuple[int, ...]) -> Array:
    """Draws of a law with mean 0 and variance 1; None is the normal law."""
    return jax.random.normal(key, shape) if law is None else getattr(deviations, law[0])(key, shape, *law[1])


def _deviates(deviation: Deviation, level: str, key: Array, real: Array) -> Array:
    """Standardised effects of a level's groups, shape (group,)."""
    own_key, common_key = jax.random.split(key)
    z = _standard(dict(deviation.effects).get(level), own_key, real.shape)
    if level not in dict(deviation.dependence):
        return z
    how, numbers = dict(deviation.dependence)[level]
    return getattr(deviations, how)(common_key, z, real, *numbers)


def _normal(
    layout: Layout, deviation: Deviation, key: Array, design: Data, known: dict[str, Array], words: Words = None
) -> tuple[Array | Rows, dict[str, Array]]:
    """Down the tree: population coefficients, group deviations, rows."""
    effect_key, new_key, design_key, error_key = jax.random.split(key, 4)

    def effects(statement: Scattered, name: str) -> Array:
        return _deviates(deviation, statement.owner, stream(effect_key, name, words), design.real[statement.level])

    groups = draw_groups(layout, design, known, effects, effect_key)
    true, laws = groups.true, dict(deviation.effects)
    for i, level in enumerate(layout.levels):
        new = known.get(INTERCEPT, jnp.full((), jnp.nan))
        for name, sd in new_effects(layout, i, known):
            new = new + sd * _standard(laws.get(name), stream(new_key, f"new({name})", words), ())
        true[f"new({level.name})"] = new
    mean = linear_predictor(layout, true, design)
    weight, size = _redesigned(layout, deviation, design_key, design, true, words)
    real = design.weight * weight > 0
    if layout.gaussian:
        y = _normal_rows(layout, deviation, error_key, design, mean, weight, known, words)
    else:
        y = _other_rows(layout, deviation, error_key, design, mean, weight, size, known)
    y = jnp.where(real, y, 0.0)
    return (Rows(y, weight, size) if deviation.changes_rows else y), true


def _normal_rows(
    layout: Layout,
    deviation: Deviation,
    key: Array,
    design: Data,
    mean: Array,
    weight: Array,
    known: dict[str, Array],
    words: Words,
) -> Array:
    """Normal outcomes, or of another law of the errors."""
    real = design.weight * weight > 0
    sd = (1.0 if layout.known else known["sigma"]) / jnp.sqrt(jnp.where(real, design.weight * weight, 1.0))
    spread_key, noise_key = jax.random.split(key)
    for i, level in enumerate(layout.levels):
        if level.name in dict(deviation.heteroscedastic):
            variation = dict(deviation.heteroscedastic)[level.name]
            factor = deviations.heteroscedastic(stream(spread_key, f"new({level.name})", words), level.size, variation)
            sd = sd * tree_of(layout, design).at_rows(jnp.sqrt(factor), i)
    return mean + sd * _standard(deviation.errors, noise_key, (layout.obs,))


def _other_rows(
    layout: Layout,
    deviation: Deviation,
    key: Array,
    design: Data,
    eta: Array,
    weight: Array,
    size: Array,
    known: dict[str, Array],
) -> Array:
    """Outcomes of a family with normal groups that is not normal itself, or more variable counts of the same means."""
    units = design.size * size
    if not deviation.overdispersion:
        rows = eqx.tree_at(lambda d: (d.weight, d.size), design, (design.weight * weight, units))
        return layout.law.inside(outcome_law(layout, eta, known, rows).sample(key).astype(eta.dtype))
    if layout.law.tried:
        trials = jnp.where(units > 0, jnp.round(units), 1.0)
        return deviations.overdispersed_binomial(key, trials, jax.nn.sigmoid(eta), deviation.overdispersion)
    return deviations.overdispersed_poisson(key, units * jnp.exp(eta), deviation.overdispersion)


def _counts(
    layout: Layout, deviation: Deviation, key: Array, design: Data, known: dict[str, Array], words: Words = None
) -> tuple[Array | Rows, dict[str, Array]]:
    """Rates as the model draws them or from another population, then rows of their own."""
    model_key, effect_key, new_key, design_key, row_key = jax.random.split(key, 5)
    last = layout.levels[-1]
    theta, laws = theta_name(last.name, "Intercept"), dict(deviation.effects)
    if last.name in laws:
        mean, concentration = known[str(rate_name(layout))], known[precision(layout)]
        draw = getattr(deviations, laws[last.name][0])
        known = {**known, theta: draw(effect_key, (last.size,), mean, concentration)}
        drawn_new = draw(new_key, (), mean, concentration)
    _, true = simulate(layout, model_key, design, known, words)
    if last.name in laws:
        true[f"new({last.name})"] = drawn_new
    weight, size = _redesigned(layout, deviation, design_key, design, true, words)
    units, rate = design.size * size, tree_of(layout, design).at_rows(true[theta], len(layout.levels) - 1)
    units = jnp.round(units) if layout.law.tried else units
    if not deviation.overdispersion:
        y = layout.law.draw(row_key, rate, units)
    elif layout.law.tried:
        trials = jnp.where(units > 0, units, 1.0)
        y = jnp.where(
            units > 0, deviations.overdispersed_binomial(row_key, trials, rate, deviation.overdispersion), 0.0
        )
    else:
        y = jnp.where(units > 0, deviations.overdispersed_poisson(row_key, units * rate, deviation.overdispersion), 0.0)
    return (Rows(y, weight, size) if deviation.changes_rows else y), true


def _redesigned(
    layout: Layout, deviation: Deviation, key: Array, design: Data, true: Mapping[str, Array], words: Words
) -> tuple[Array, Array]:
    """Factors of each row's precision and of its trials or exposure, 0 where a row is not there."""
    counts = not layout.link.identity
    present = design.weight > 0 if layout.normal_groups else design.size > 0
    factor = present.astype(jnp.result_type(float))
    sizes, gone = dict(deviation.sizes), dict(deviation.missing)
    for i, level in enumerate(layout.levels):
        group, real = design.group[i], design.real[i]
        if level.name in sizes:
            how, numbers = sizes[level.name]
            share = getattr(deviations, how)(true[theta_name(level.name, "Intercept")], real, *numbers)[group]
            factor = factor * _kept(layout, deviation, design, present, group, share)
        if level.name in gone:
            factor = (
                factor * ~deviations.missing(stream(key, f"new({level.name})", words), real, gone[level.name])[group]
            )
    there = (factor > 0).astype(factor.dtype)
    return (there, factor) if counts else (factor, there)


def _kept(layout: Layout, deviation: Deviation, design: Data, present: Array, group: Array, share: Array) -> Array:
    """What is left of each row's precision, trials or exposure, or whether it is there, at a share of its group's
    data.
    """
    if layout.law.tried and not deviation.single:
        whole = jnp.where(present, design.size, 1.0)
        return jnp.maximum(jnp.round(whole * share), 1.0) / whole
    if layout.law.exposed or layout.known:
        return share
    count = jnp.zeros(layout.obs).at[group].add(present)[group]
    return (_place_within(group, present) < jnp.maximum(jnp.ceil(count * share), 1.0)).astype(share.dtype)


def _place_within(group: Array, present: Array) -> Array:
    """Number of rows of the same group before each row."""
    code = jnp.where(present, group, jnp.iinfo(group.dtype).max)
    order = jnp.argsort(code, stable=True)
    ordered = code[order]
    return jnp.zeros_like(order).at[order].set(jnp.arange(len(order)) - jnp.searchsorted(ordered, ordered))
