"""Simulated datasets as the tables that a user knows: the design's rows with the outcome filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.problem import Problem
from hiermodels.studies.mechanisms.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frames"]


def frames(
    problem: Any, frame: pd.DataFrame, outcomes: Any, columns: Mapping[str, np.ndarray] | None = None
) -> Iterator[pd.DataFrame]:
    """One table a replicate.

    Parameters
    ----------
    problem : Problem or OwnProblem
        The mechanism's model on its design.
    frame : DataFrame
        The design.
    outcomes : Array or Rows
        Outcomes (replicate, obs), padded; with `Rows`, rows that are not there are left out, and known standard errors,
        trials and exposures are those of the replicate.
    columns : mapping of str to ndarray, shape (replicate, row), optional
        Predictors that are redrawn with each dataset.

    Yields
    ------
    DataFrame
        Counts are whole numbers.
    """
    rows = len(frame)
    changed = outcomes if isinstance(outcomes, Rows) else Rows(outcomes)
    outcome, whole = _outcome(problem)
    for r, y in enumerate(np.asarray(changed.y)[:, :rows]):
        drawn = {name: values[r] for name, values in (columns or {}).items()}
        table = frame.assign(**{**drawn, outcome: np.rint(y).astype(np.int64) if whole else y})
        if not changed.complete:
            weight, size = (np.asarray(part[r])[:rows] for part in (changed.weight, changed.size))
            table = _remaining(problem, table, weight, size)
        yield table


def _outcome(problem: Any) -> tuple[str, bool]:
    """Name of the outcome, and whether it is a count."""
    if isinstance(problem, Problem):
        return problem.model.outcome, not problem.layout.law.measured
    name = problem.layout.model.outcome
    return name, np.asarray(problem.data[name]).dtype.kind == "i"


def _remaining(problem: Problem, table: pd.DataFrame, weight: np.ndarray, size: np.ndarray) -> pd.DataFrame:
    there, model = (weight > 0) & (size > 0), problem.model
    table = table[there].reset_index(drop=True)
    if model.known_se is not None:
        table[model.known_se] = table[model.known_se].to_numpy(float) / np.sqrt(weight[there])
    if model.trials is not None:
        table[model.trials] = np.rint(table[model.trials].to_numpy(float) * size[there]).astype(np.int64)
    if model.exposure is not None:
        table[model.exposure] = table[model.exposure].to_numpy(float) * size[there]
    return table
