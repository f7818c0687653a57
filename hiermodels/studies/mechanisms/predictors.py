"""Predictors with a law: what they are in a design, their draws in each dataset, and the arrays that follow from them.

A law is redrawn with each dataset, one number for each group of the level that owns it, or drawn once for each cell
(``drawn: fixed``), as all else of a design is. Models are bound to the design with *reference values* of redrawn
predictors: equally likely quantiles of their law in random order. What a formula makes of a dataset's own draws is
computed on the host.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax import Array
from scipy.special import ndtri

from hiermodels.models import checks
from hiermodels.models.cells import with_cells
from hiermodels.models.data import design_columns
from hiermodels.models.problem import Problem
from hiermodels.models.scales import Column, Scales, measure
from hiermodels.models.spec import Model
from hiermodels.models.streams import word
from hiermodels.studies.config.designs import design_levels, read_predictor
from hiermodels.studies.config.texts import read_law

__all__ = ["Redrawn", "column", "declared_scales", "draw", "redesign", "redrawn", "varying", "without_reference"]

_MOST = 1 << 20
"""Rows whose predictors are computed at a time."""
_REFERENCE = 20_000
"""Rows on which scales of what a formula computes of redrawn predictors are measured."""


@dataclass(frozen=True)
class Redrawn:
    """A predictor that is drawn anew with each dataset.

    Attributes
    ----------
    name : str
        Of its column.
    law : str
        ``normal``, ``bernoulli`` or ``integers``.
    numbers : tuple of float
        Of the law.
    units : ndarray of int, shape (row,)
        Which of the draws each row has: the group of the level that owns the predictor.
    """

    name: str
    law: str
    numbers: tuple[float, ...]
    units: np.ndarray

    @property
    def count(self) -> int:
        """Draws in a dataset."""
        return int(self.units.max()) + 1


# in a design
# -----------------------------------------------------------------------------------------------------------


def column(entry: Any, frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """A predictor's column in a cell's design; of a redrawn one, its reference values.

    Parameters
    ----------
    entry : number, str or mapping
        As `hiermodels.studies.config.designs.read_predictor` takes it.
    frame : DataFrame
        The rows, with the levels' labels.
    rng : Generator
    """
    entry = read_predictor(entry, tuple(map(str, frame.columns)))
    if not isinstance(entry, Mapping):
        name, numbers = read_law(entry, levels=[*map(str, frame.columns), "obs"])
        if name == "constant":
            return np.full(len(frame), float(numbers[0]))
        codes = np.arange(len(frame)) if numbers[0] == "obs" else pd.factorize(frame[numbers[0]])[0]
        return (codes % 2).astype(float)
    law, numbers = read_law(entry["law"])
    units = _units(entry["level"], frame)
    if entry["drawn"] == "redrawn":
        return _reference(law, numbers, int(units.max()) + 1, rng)[units]
    return _drawn_once(law, numbers, int(units.max()) + 1, rng)[units]


def _units(level: str, frame: pd.DataFrame) -> np.ndarray:
    return np.arange(len(frame)) if level == "obs" else pd.factorize(frame[level])[0]


def _drawn_once(law: str, numbers: tuple[Any, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    if law == "normal":
        return rng.normal(numbers[0], numbers[1], count)
    if law == "bernoulli":
        return (rng.random(count) < numbers[0]).astype(float)
    return rng.integers(int(numbers[0]), int(numbers[1]), count, endpoint=True).astype(float)


def _reference(law: str, numbers: tuple[Any, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """Equally likely quantiles in random order; of a Bernoulli law that can be both, both where there are two."""
    u = (np.arange(count) + 0.5) / count
    if law == "normal":
        values = numbers[0] + numbers[1] * ndtri(u)
    elif law == "integers":
        values = np.floor(numbers[0] + u * (numbers[1] - numbers[0] + 1))
    else:
        ones = round(numbers[0] * count)
        if 0 < numbers[0] < 1 and count > 1:
            ones = min(max(ones, 1), count - 1)
        values = (np.arange(count) < ones).astype(float)
    return rng.permutation(values)


def redrawn(design: Any, frame: pd.DataFrame) -> tuple[Redrawn, ...]:
    """Predictors of a generated design that are drawn anew with each dataset; none of a table's."""
    laws = design.get("predictors", {}) if isinstance(design, Mapping) and "table" not in design else {}
    found = []
    for name, entry in ((name, read_predictor(entry, tuple(design_levels(design)))) for name, entry in laws.items()):
        if isinstance(entry, Mapping) and entry["drawn"] == "redrawn":
            law, numbers = read_law(entry["law"])
            found.append(Redrawn(name, law, tuple(map(float, numbers)), _units(entry["level"], frame)))
    return tuple(found)


# in a dataset
# ----------------------------------------------------------------------------------------------------------


def draw(laws: tuple[Redrawn, ...], keys: Array) -> dict[str, np.ndarray]:
    """Columns of some datasets, (dataset, row), by name; each has the stream of its own name below the dataset's
    key.
    """
    if not laws:
        return {}
    words = jnp.asarray([word(found.name) for found in laws], jnp.uint32)
    drawn = _program(tuple((found.law, found.numbers, found.count) for found in laws))(keys, words)
    return {found.name: np.asarray(x)[:, found.units] for found, x in zip(laws, drawn, strict=True)}


@lru_cache(maxsize=64)
def _program(laws: tuple[tuple[str, tuple[float, ...], int], ...]) -> Callable[[Array, Array], list[Array]]:
    def one(key: Array, words: Array) -> list[Array]:
        return [_draws(jax.random.fold_in(key, words[i]), *law) for i, law in enumerate(laws)]

    return jax.jit(jax.vmap(one, in_axes=(0, None)))


def _draws(key: Array, law: str, numbers: tuple[float, ...], count: int) -> Array:
    if law == "normal":
        return numbers[0] + numbers[1] * jax.random.normal(key, (count,))
    if law == "bernoulli":
        return (jax.random.uniform(key, (count,)) < numbers[0]).astype(float)
    return jax.random.randint(key, (count,), int(numbers[0]), int(numbers[1]) + 1).astype(float)


# what follows from it
# --------------------------------------------------------------------------------------------------


def varying(problem: Any, laws: tuple[Redrawn, ...]) -> tuple[str, ...]:
    """Arrays of a problem's design that differ between datasets: fields of `Data`, or arguments of a NumPyro
    function.
    """
    names = {found.name for found in laws}
    if not isinstance(problem, Problem):
        return tuple(name for name in problem.data if name in names)
    model = problem.model
    used = {
        "x": model.parsed.predictors,
        "weight": (model.known_se, model.weights),
        "size": (model.trials, model.exposure),
    }
    return tuple(field for field, columns in used.items() if names & {c for c in columns if c})


def declared_scales(model: Model, frame: pd.DataFrame, laws: tuple[Redrawn, ...]) -> Scales | None:
    """Centres and scales of a design whose predictors are redrawn: the same in every dataset, from the declared laws.

    A column that is a predictor has the mean and sd of its law. What a formula computes of predictors is measured on
    many reference designs. None where nothing that the model uses is redrawn: the cell's design then has its own.

    Parameters
    ----------
    model : Model
    frame : DataFrame
    laws : tuple of Redrawn
    """
    roles = {model.known_se, model.weights, model.trials, model.exposure}
    if not {found.name for found in laws} & {*roles, *model.parsed.predictors}:
        return None
    copies = range(-(-_REFERENCE // len(frame)))
    columns = {
        law.name: np.stack(
            [
                _reference(law.law, law.numbers, law.count, np.random.default_rng([word(law.name), k]))[law.units]
                for k in copies
            ]
        )
        for law in laws
    }
    rows = _stacked(frame, columns, np.array(copies))
    _, weight, size = checks.outcome_columns(model, rows, False)
    try:
        names, x, *_ = design_columns(model, rows)
    except ValueError as error:
        raise ValueError(
            f"{error}; its predictors are drawn anew with each dataset: take a law that has a value there, or drawn: "
            f"fixed"
        ) from None
    found = measure(names, x, model.known_se is not None, weight, size if model.exposure else None)
    exact = {law.name: Column(*_moments(law)) for law in laws if law.name in found.columns and _moments(law)[1] > 0}
    plain = {name: column for name, column in exact.items() if not found.columns[name].factors}
    return replace(found, columns={**found.columns, **plain})


def _moments(law: Redrawn) -> tuple[float, float]:
    """Mean and sd of a predictor's law."""
    a, b = (*law.numbers, 0.0)[:2]
    if law.law == "normal":
        return a, b
    if law.law == "bernoulli":
        return a, math.sqrt(a * (1 - a))
    return (a + b) / 2, math.sqrt(((b - a + 1) ** 2 - 1) / 12)


def without_reference(problem: Any, laws: tuple[Redrawn, ...]) -> Any:
    """The problem without what is true of the reference values alone: groups that are alike, the most trials of a
    group.

    Raises
    ------
    ValueError
        For a redrawn predictor that the formula takes as labels, whose number may differ between datasets.
    """
    fields = varying(problem, laws)
    if not fields or not isinstance(problem, Problem):
        return problem
    for found in laws:
        if any(found.name in side.labelled for side in problem.model.parsed.sides):
            raise ValueError(
                f"formula {problem.model.formula!r}: {found.name!r} is drawn anew with each dataset, so its labels "
                f"would differ "
                f"between them; write {found.name}: {{law: ..., drawn: fixed}} in the design, or use it as a number"
            )
    layout = replace(problem.layout, twins=(), count_bound=0 if "size" in fields else problem.layout.count_bound)
    layout, data = with_cells(layout, replace(problem.data, twin=()), merge=False)
    return replace(problem, layout=layout, data=data)


def redesign(problem: Any, frame: pd.DataFrame, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a problem's design in some datasets, (dataset, obs, ...), padded; those alone that their draws change.

    Parameters
    ----------
    problem : Problem or OwnProblem
        Of a mechanism or of a method.
    frame : DataFrame
        The design that it is bound to.
    columns : mapping of str to ndarray, shape (dataset, row)
        Redrawn predictors.
    """
    names = set(columns)
    if not isinstance(problem, Problem):
        return {n: columns[n].astype(np.asarray(a).dtype) for n, a in problem.data.items() if n in names}
    fields = varying(problem, tuple(Redrawn(n, "", (), np.zeros(1, int)) for n in names))
    model = problem.model
    used = {*model.parsed.predictors, model.known_se, model.weights, model.trials, model.exposure}
    frame, columns = frame[[c for c in frame.columns if c in used]], {n: c for n, c in columns.items() if n in used}
    found: dict[str, np.ndarray] = {}
    count = len(next(iter(columns.values()))) if columns else 0
    if "x" in fields:
        found["x"] = _matrices(problem, frame, columns, np.arange(count))
    if {"weight", "size"} & set(fields):
        _, weight, size = checks.outcome_columns(problem.model, _stacked(frame, columns, np.arange(count)), False)
        found |= {n: a.reshape(count, -1) for n, a in (("weight", weight), ("size", size)) if n in fields}
    extra = problem.layout.obs - len(frame)
    return {n: np.pad(a, [(0, 0), (0, extra), *[(0, 0)] * (a.ndim - 2)]) for n, a in found.items()}


def _matrices(problem: Problem, frame: pd.DataFrame, columns: Mapping[str, np.ndarray], some: np.ndarray) -> np.ndarray:
    """Design matrices of some datasets, (dataset, row, column); NaN where a formula has no finite value."""
    whole = any(side.uses("standardise") for side in problem.model.parsed.sides)
    if len(some) == 1 or not (whole or len(some) * len(frame) > _MOST):
        try:
            return design_columns(problem.model, _stacked(frame, columns, some))[1].reshape(len(some), len(frame), -1)
        except ValueError:
            if len(some) == 1:
                return np.full((1, len(frame), len(problem.layout.columns)), np.nan)
    return np.concatenate(
        [_matrices(problem, frame, columns, part) for part in np.array_split(some, len(some) if whole else 2)]
    )


def _stacked(frame: pd.DataFrame, columns: Mapping[str, np.ndarray], some: np.ndarray) -> pd.DataFrame:
    """The design's rows once for each of some datasets, with their own predictors."""
    rows = frame.drop(columns=list(columns)).iloc[np.tile(np.arange(len(frame)), len(some))].reset_index(drop=True)
    return rows.assign(**{name: values[some].reshape(-1) for name, values in columns.items()})
