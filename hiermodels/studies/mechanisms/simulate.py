"""Data-generating mechanisms: a cell's truth on its design, and datasets drawn from it.

    simulate(key, truth arguments) -> outcome, true value of every variable

A cell's design (groups, predictors, standard errors) is made once, on the host; what is redrawn each replicate is
compiled. The data of replicate r in cell c depend on (seed, cell, r) alone: never on lanes, workers, order or method.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array

from hiermodels import priors
from hiermodels.models.data import bind
from hiermodels.models.labels import match_labels
from hiermodels.models.layout import Layout, LevelLayout
from hiermodels.models.problem import Data, Problem
from hiermodels.models.simulator import simulate
from hiermodels.models.spec import Model
from hiermodels.models.streams import stream
from hiermodels.models.units import from_means
from hiermodels.priors import Prior
from hiermodels.quantities import Quantity, sd_name, theta_name
from hiermodels.studies.config.cells import method_key_material
from hiermodels.studies.mechanisms.deviant import Deviation, simulate_deviant

__all__ = ["Truth", "data_key", "method_key", "read_truth", "simulate_given", "simulator"]


def data_key(seed: int | Array, cell_material: int | Array, reps: Array) -> Array:
    """Keys of the datasets of some replicates of a cell.

    Parameters
    ----------
    seed : int
        The study's.
    cell_material : int
        32 bits of the cell's hash.
    reps : Array of int, shape (replicate,)
    """
    cell = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), cell_material)
    return jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(cell, r), 0))(reps)


def method_key(seed: int, cell_material: int, method: str, reps: Array) -> Array:
    """Keys of a method's own randomness on the same replicates."""
    return _method_key(seed, cell_material, method_key_material(method), reps)


@jax.jit
def _method_key(seed: Array, cell_material: Array, word: Array, reps: Array) -> Array:
    cell = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), cell_material)
    return jax.vmap(lambda r: jax.random.fold_in(jax.random.fold_in(cell, r), word))(reps)


# truth
# -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Truth:
    """A cell's truth, split into what programs are compiled for and what they are run on.

    Attributes
    ----------
    laws : tuple of (name, Prior)
        Hyperparameters redrawn each replicate.
    numbers : tuple of str
        Names of hyperparameters whose values are arguments.
    thetas : tuple of str
        Group variables whose values are arguments.
    at_means : bool
        Laws are a model's priors, of which defaults stand at the predictors' means; else on what is shown, predictors
        at zero.
    """

    laws: tuple[tuple[str, Prior], ...]
    numbers: tuple[str, ...]
    thetas: tuple[str, ...]
    at_means: bool = False

    def renamed(self, name: Callable[[str], str]) -> Truth:
        """The same truth of variables with other names."""
        laws = tuple((name(n), law) for n, law in self.laws)
        return replace(self, laws=laws, numbers=tuple(map(name, self.numbers)), thetas=tuple(map(name, self.thetas)))


def bind_design(model: Model, frame: pd.DataFrame) -> Problem:
    """The mechanism's model on its design; every level partial, no priors."""
    return bind(replace(model, priors=None), frame, outcome=False, priors=False)


def read_truth(truth: Mapping[str, Any], problem: Problem) -> tuple[Truth, dict[str, np.ndarray]]:
    """Sort a cell's truth into laws, numbers and group values.

    Returns
    -------
    Truth
    values : dict
        Number or padded array for each name that is an argument.

    Raises
    ------
    ValueError
        For a name that the mechanism has not, one that it needs, or group values that do not fit the design.
    """
    layout = problem.layout
    thetas = {n: level for level in layout.levels for n in layout.effect_names(level)}
    scalars = {p.name: p for p in layout.parameters}
    laws, numbers, fixed, values = [], [], [], {}
    for name, value in truth.items():
        if name in thetas:
            values[name] = _group_values(name, value, problem, thetas[name])
            fixed.append(name)
        elif name in scalars:
            if isinstance(value, str):
                laws.append((name, priors.parse(value, f"truth: {name}")))
            else:
                values[name] = _number(scalars[name], value)
                numbers.append(name)
        else:
            known = [*scalars, *thetas]
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the mechanism has {', '.join(known)}"
            raise ValueError(f"truth: {name!r} does not reach the simulated data; {hint}")
    _complete(layout, truth, scalars, set(fixed))
    for name, law in laws:
        if not law.proper:
            raise ValueError(f"truth: {name}: {law} cannot be drawn from; use a proper law, e.g. normal(0, 20)")
        unit = _unit(layout, name, law)
        if law.unit is not None and unit not in truth:
            wanted = (
                f"the {law.unit}, which the mechanism has not" if unit is None else f"{unit}, which has no truth here"
            )
            hint = "use another law" if unit is None else f"add {unit}, or use another law"
            raise ValueError(f"truth: {name}: {law} is in units of {wanted}; {hint}")
    return Truth(tuple(laws), tuple(numbers), tuple(fixed)), values


def _number(quantity: Quantity, value: Any) -> np.ndarray:
    """A true value of a parameter, inside its support: zero is one of sds, and correlations make a matrix that is
    one.
    """
    low, high = quantity.support
    if quantity.role == "correlation":
        low = -1 / (quantity.size - 1)
    elif quantity.role == "degrees of freedom":  # a truth may have fewer than the model's law allows
        low = 0.0
    closed = quantity.role in ("group sd", "residual sd", "correlation")
    number = float(value)
    if not np.isfinite(number) or not (low <= number <= high if closed else low < number < high):
        matrix = (
            f" ({quantity.size} effects that are all correlated so)"
            if quantity.role == "correlation" and quantity.size > 2
            else ""
        )
        raise ValueError(
            f"truth: {quantity.name}: expected {_between(low, high, closed)}{matrix}, found {number:g}; mend it"
        )
    return np.asarray(number)


def _between(low: float, high: float, closed: bool) -> str:
    if np.isinf(low) or np.isinf(high):
        return "a finite number" if np.isinf(low) else f"a number {'of at least' if closed else 'above'} {low:g}"
    return f"a number {'from' if closed else 'between'} {low:.4g} {'to' if closed else 'and'} {high:.4g}"


def _group_values(name: str, value: Any, problem: Problem, layout: LevelLayout) -> np.ndarray:
    level, labels = layout.name, problem.labels[layout.name]
    if not isinstance(value, Mapping):
        raise ValueError(
            f"truth: {name}: expected a mapping of {level} label to number or a column's name, found {value!r}"
        )
    given, extra = match_labels(value, labels)
    missing = [x for x in labels if x not in given]
    if missing or extra:
        what = f"no value for {missing[0]!r}" if missing else f"unknown {level} {extra[0]!r}"
        raise ValueError(f"truth: {name}: {what}; give one number for each of {', '.join(labels[:10])}")
    quantity = problem.layout.quantities[name]
    low, high = quantity.support
    for label in labels:
        if not (np.isfinite(float(given[label])) and low <= float(given[label]) <= high):
            what = {"unit": "a probability from 0 to 1", "positive": "a rate of at least 0", "real": "a finite number"}[
                quantity.kind
            ]
            raise ValueError(f"truth: {name}: {label}: expected {what}, found {float(given[label]):g}; mend it")
    found = np.zeros(layout.size)
    found[problem.positions[level]] = [float(given[x]) for x in labels]
    return found


def _complete(layout: Layout, truth: Mapping[str, Any], scalars: Mapping[str, Any], fixed: set[str]) -> None:
    """Every hyperparameter on the way to the data must be given; what lies above a given group value is not on it."""
    spared: set[str] = set()
    starts = [leaf for leaf, _ in layout.branches or ((-1, -1),)] + [shared for _, shared in layout.branches[1:]]
    for e, column in enumerate(layout.columns):
        needed = set().union(*(_above(layout, i, e, fixed) for i in starts))
        spared |= {column, *(sd_name(v.name, column) for v in layout.levels)} - needed
    for level in layout.levels:
        if theta_name(level.name, "Intercept") in fixed:
            spared |= {f"{stem}_{level.name}" for stem in ("mean", "kappa", "shape")}
    for name, parameter in scalars.items():
        if name not in truth and name not in spared and parameter.kind != "correlation":
            raise ValueError(f"truth: {name} is missing, so no data can be simulated; add e.g. {name}: 1")


def _above(layout: Layout, i: int, effect: int, fixed: set[str]) -> set[str]:
    """Parameters from which a coefficient of level i (-1: of the population) is drawn, up to the first given group
    value.
    """
    column = layout.columns[effect]
    found: set[str] = set()
    for level in (layout.levels[k] for k in reversed(layout.lineage(i) if i >= 0 else ())):
        if effect in level.effects:
            if theta_name(level.name, column) in fixed:
                return found
            found.add(sd_name(level.name, column))
    return {*found, column}


# simulators
# ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=128)
def simulator(
    layout: Layout, truth: Truth, deviation: Deviation | None = None
) -> Callable[..., tuple[Any, dict[str, Array]]]:
    """One dataset of a mechanism.

    Parameters
    ----------
    layout : Layout
    truth : Truth
    deviation : Deviation, optional
        How datasets differ from what the model says; see `hiermodels.studies.mechanisms.deviations`.

    Returns
    -------
    callable
        ``simulate(key, design, values, words=None) -> (y, true)``: the outcome, shape (obs,), and the true value of
        every variable, of its average over groups (``mean(theta_school)``) and of a new group (``new(school)``); NaN
        where undefined. Under a deviation that takes rows away, y is a `hiermodels.studies.mechanisms.rows.Rows`.
        ``words`` as in `hiermodels.models.streams.stream`.
    """

    def drawn(
        key: Array, design: Data, values: dict[str, Array], words: Mapping[str, Array] | None = None
    ) -> tuple[Array, dict[str, Array]]:
        law_key, value_key = jax.random.split(key)
        known = dict(values)
        # laws in units of another parameter come after it
        for name, law in sorted(truth.laws, key=lambda entry: entry[1].unit is not None):
            one = stream(law_key, name, words)
            parameter = layout.parameter(name)
            if parameter is not None and parameter.kind == "above_one":
                known[name] = _above_one(law, one)
            else:
                known[name] = law.sample(one, known.get(_unit(layout, name, law) or ""), _size(layout, name))
        if truth.at_means:
            known = from_means(layout, design.units, known)
        y: Any
        if deviation is None:
            y, true = simulate(layout, value_key, design, known, words)
        else:
            y, true = simulate_deviant(layout, deviation, value_key, design, known, words)
        for i, level in enumerate(layout.levels):
            real = design.real[i]
            for name in layout.effect_names(level):
                true[f"mean({name})"] = jnp.sum(jnp.where(real, true[name], 0.0)) / jnp.sum(real)
        return y, true

    return drawn


def simulate_given(layout: Layout, key: Array, design: Data, values: Mapping[str, Array]) -> Array:
    """One more outcome of the same rows, given every parameter and group value (padded axes); shape (obs,)."""
    return simulate(layout, key, design, values)[0]


def _unit(layout: Layout, name: str, law: Prior) -> str | None:
    """Name of the parameter that a law of another one is given in units of."""
    parameter = layout.parameter(name)
    unit = None if parameter is None else layout.unit_of(replace(parameter, prior=law))
    return None if unit is None else unit.name


def _above_one(law: Prior, key: Array) -> Array:
    """A draw from a law cut at one: drawn again until it is greater."""

    def again(state: tuple[Array, Array]) -> tuple[Array, Array]:
        key, _ = state
        key, here = jax.random.split(key)
        return key, law.sample(here)

    return jax.lax.while_loop(lambda state: ~(state[1] > 1), again, again((key, jnp.zeros(()))))[1]


def _size(layout: Layout, name: str) -> int:
    """Number of effects of a correlation, else 1."""
    parameter = layout.parameter(name)
    return 1 if parameter is None else parameter.size
