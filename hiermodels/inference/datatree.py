"""Draws and data as a labelled `xarray.DataTree`, with ArviZ's groups and names.

| group | holds |
|---|---|
| ``posterior`` | every variable, dimensions ``chain draw`` and its groupings, labels as coordinates |
| ``sample_stats`` | what the sampler recorded (``diverging``, ...); absent for independent draws |
| ``log_likelihood`` | of each row given its groups' draws |
| ``observed_data`` | the outcome |
| ``constant_data`` | the other columns that the model uses |

Rows have the dimension ``obs`` (``obs_row`` where a grouping is called ``obs``), labelled by the frame's
index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.describe import Axes, axes
from hiermodels.inference.draws import Draws
from hiermodels.inference.predict import expected, fitted_rows, residual_sd
from hiermodels.inference.rates import log_probability, row_rates
from hiermodels.models.data import Problem
from hiermodels.models.formula import variables
from hiermodels.models.spec import Model
from hiermodels.models.user import UserModel

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["log_likelihood", "predictions_tree", "to_datatree", "used_columns"]


def to_datatree(draws: Draws, problem: Problem | UserModel, frame: pd.DataFrame) -> xr.DataTree:
    """Build the tree of a fit.

    Parameters
    ----------
    draws : Draws
        NumPy arrays, real groups only.
    problem : Problem or UserModel
        What was fitted; of a NumPyro function, dimensions are its plates.
    frame : DataFrame
        The data.

    Returns
    -------
    DataTree

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    >>> fit = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
    >>> fit.to_datatree().posterior["theta_school"].dims
    ('chain', 'draw', 'school')
    """
    import xarray as xr

    values = draws.values
    row = _row_dimension(problem)
    tree = {"posterior": _dataset(values, axes(values, problem))}
    if draws.stats:
        tree["sample_stats"] = _dataset(draws.stats, {name: [] for name in draws.stats})
    outcome, used = _roles(problem)
    if isinstance(problem, Problem):
        tree["log_likelihood"] = _by_row({outcome: log_likelihood(values, problem, frame)}, frame, row)
    tree["observed_data"] = _columns(frame, [outcome], row)
    tree["constant_data"] = _columns(frame, [c for c in used if c != outcome], row)
    return xr.DataTree.from_dict({name: _signed(data) for name, data in tree.items() if data.data_vars})


def predictions_tree(values: np.ndarray, problem: Problem, frame: pd.DataFrame) -> xr.DataTree:
    """Predictions of each row as a tree with groups ``predictions`` and ``predictions_constant_data``.

    Parameters
    ----------
    values : ndarray, shape (chain, draw, row)
    problem : Problem
    frame : DataFrame
        The rows that were predicted.
    """
    import xarray as xr

    row, outcome = _row_dimension(problem), problem.model.outcome
    used = [c for c in used_columns(problem.model) if c != outcome and c in frame.columns]
    tree = {
        "predictions": _by_row({outcome: values}, frame, row),
        "predictions_constant_data": _columns(frame, used, row),
    }
    return xr.DataTree.from_dict({name: _signed(data) for name, data in tree.items() if data.data_vars})


def log_likelihood(values: Mapping[str, Any], problem: Problem, frame: pd.DataFrame) -> np.ndarray:
    """Log density of each row's outcome given its groups' draws; shape (chain, draw, row)."""
    rows = len(frame)
    if problem.layout.family != "normal":
        return log_probability(row_rates(values, problem, fitted_rows(problem, rows)), problem)
    mean = expected(values, problem, fitted_rows(problem, rows))
    sd = residual_sd(values, problem, frame)
    y = np.asarray(problem.data.y)[:rows]
    return -0.5 * ((y - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)


def used_columns(model: Model) -> list[str]:
    """Columns of a frame that a model reads, the outcome first."""
    parsed = model.parsed
    found = [parsed.outcome, *variables(parsed.population)]
    for group in parsed.groups:
        found += [*variables(group.effects), *group.factors]
    found += [c for c in (model.known_se, model.trials, model.exposure, model.weights) if c is not None]
    return list(dict.fromkeys(found))


def _roles(problem: Problem | UserModel) -> tuple[str, list[str]]:
    """The outcome, and the columns that the model uses."""
    if isinstance(problem, UserModel):
        return problem.outcome, list(problem.data)
    return problem.model.outcome, used_columns(problem.model)


def _row_dimension(problem: Problem | UserModel) -> str:
    return "obs_row" if "obs" in _roles(problem)[1] else "obs"


def _dataset(values: Mapping[str, Any], named: Axes) -> xr.Dataset:
    """Variables with axes (chain, draw, *named)."""
    import xarray as xr

    coords: dict[str, Any] = {}
    variables = {}
    for name, x in values.items():
        x = np.asarray(x)
        variables[name] = (["chain", "draw", *(dim for dim, _ in named[name])], x)
        coords.update({"chain": np.arange(x.shape[0]), "draw": np.arange(x.shape[1])})
        coords.update({dim: labels for dim, labels in named[name]})
    return xr.Dataset(variables, coords)


def _by_row(values: Mapping[str, Any], frame: pd.DataFrame, row: str) -> xr.Dataset:
    return _dataset(values, {name: [(row, list(_row_labels(frame)))] for name in values})


def _columns(frame: pd.DataFrame, names: Sequence[str], row: str) -> xr.Dataset:
    """Columns of the frame; numbers as they are, everything else as text."""
    import xarray as xr

    found = {}
    for name in names:
        column = frame[name].to_numpy()
        found[name] = (row, column if column.dtype.kind in "fiub" else column.astype(str).astype(object))
    return xr.Dataset(found, {row: _row_labels(frame)} if found else {})


def _row_labels(frame: pd.DataFrame) -> np.ndarray:
    """The frame's index where it is a plain, unique one; else 0, 1, 2, ..."""
    index = frame.index
    if index.nlevels == 1 and index.is_unique and index.to_numpy().dtype.kind in "iu":
        return index.to_numpy()
    if index.nlevels == 1 and index.is_unique and all(isinstance(i, str) for i in index):
        return index.to_numpy(dtype=object)
    return np.arange(len(frame))


def _signed(data: xr.Dataset) -> xr.Dataset:
    from importlib.metadata import version

    return data.assign_attrs(inference_library="hiermodels", inference_library_version=version("hiermodels"))
