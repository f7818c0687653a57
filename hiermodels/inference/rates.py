"""Predictions of counts: a row's probability or rate is its finest group's theta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hiermodels.models import checks
from hiermodels.models.outcomes import log_density
from hiermodels.models.populations import new_group
from hiermodels.models.problem import Problem
from hiermodels.models.row_means import rates_without_groups

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.inference.predicted_rows import Rows

__all__ = ["average_rates", "count_outcomes", "log_probability", "row_rates"]

Values = Mapping[str, Any]


def row_rates(values: Values, problem: Problem, rows: Rows, rng: np.random.Generator | None = None) -> np.ndarray:
    """Probability (binomial) or rate (Poisson) of each row; shape (chain, draw, row).

    Groups that are not in the data are drawn from the population, in ancestors that are not in the data
    either.

    Raises
    ------
    ValueError
        For a new group whose law depends on predictors or on known ancestors.
    """
    layout = problem.layout
    if not layout.levels:
        return rates_without_groups(layout, values, rows.x)
    theta = values[f"theta_{layout.levels[-1].name}"]
    fresh = rows.fresh[-1]
    if (fresh >= 0).any() and rng is not None:
        _check_new(problem, rows)
        theta = np.concatenate([theta, _new_rates(values, problem, int(fresh.max()) + 1, rng)], axis=-1)
    place = np.where(fresh >= 0, len(problem.labels[layout.levels[-1].name]) + fresh, rows.known[-1])
    return theta[..., place]


def average_rates(values: Values, problem: Problem, rows: Rows, rng: np.random.Generator, kind: str) -> np.ndarray:
    """Mean outcome over the finest groups, or the rate of one at random for an outcome; (chain, draw, row)."""
    layout, count = problem.layout, len(rows.x)
    if not layout.levels:
        rates = rates_without_groups(layout, values, rows.x)
        return layout.law.mean_at_rate(rates) if kind == "mean" else rates
    theta = values[f"theta_{layout.levels[-1].name}"]
    if kind == "mean":
        return np.repeat(layout.law.mean_at_rate(theta).mean(-1, keepdims=True), count, axis=-1)
    pick = rng.integers(theta.shape[-1], size=(*theta.shape[:2], count))
    return np.take_along_axis(theta, pick, axis=-1)


def count_outcomes(rates: np.ndarray, problem: Problem, frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """One count a row: of the frame's trials, or under its exposure."""
    size = checks.outcome_columns(problem.model, frame, outcome=False)[2]
    return problem.layout.law.host_draw(rng, rates, size)


def log_probability(rates: np.ndarray, problem: Problem) -> np.ndarray:
    """Log probability of each fitted row's count given its rate; (chain, draw, row)."""
    rows = rates.shape[-1]
    y, size = np.asarray(problem.data.y)[:rows], np.asarray(problem.data.size)[:rows]
    return log_density(problem.layout.law.host_at_rate(rates, size), y)


def _check_new(problem: Problem, rows: Rows) -> None:
    layout = problem.layout
    new = rows.fresh[-1] >= 0
    finest = layout.levels[-1].name
    if len(layout.population) > 1:
        raise ValueError(
            f"groups: a new {finest} at given predictors is predicted for family normal only, found "
            f"{layout.family}; "
            f"predict groups='existing' or 'average'"
        )
    for level, known in zip(layout.levels[:-1], rows.known[:-1], strict=True):
        if (known[new] >= 0).any():
            raise ValueError(
                f"groups: a new {finest} in a {level.name} of the data is predicted for family normal only, "
                f"found {layout.family}; give a new {level.name} as well"
            )


def _new_rates(values: Values, problem: Problem, count: int, rng: np.random.Generator) -> np.ndarray:
    """Rates of new groups in new ancestors; (chain, draw, new group)."""
    finest = problem.layout.levels[-1].name
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(int(rng.integers(2**31)), impl="threefry2x32"), count)
        return np.stack([np.asarray(new_group(problem.layout, dict(values), finest, k)) for k in keys], axis=-1)
