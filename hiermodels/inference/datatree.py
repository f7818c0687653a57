"""Draws and data as a labelled `xarray.DataTree`, with ArviZ's groups and names.

| group | holds |
|---|---|
| ``posterior`` | every variable, dimensions ``chain draw`` and its groupings, labels as coordinates |
| ``sample_stats`` | what the sampler recorded: ``lp`` (log posterior density, up to a constant, of what it moved on, unconstrained) of every sampler; ``acceptance_rate``, ``diverging``, ... of those that have them. Attributes: ``independent`` draws; ``quadrature_error`` of exact ones, in posterior sds |
| ``log_likelihood`` | of each row given its groups' draws |
| ``log_prior`` | of each hyperparameter and coefficient; an improper one's attribute ``improper`` says that it is up to a constant |
| ``posterior_predictive`` | one outcome a draw and row; on request |
| ``observed_data`` | the outcome |
| ``constant_data`` | the other columns that the model uses |

Rows have the dimension ``obs`` (``obs_row`` where a column is called ``obs``), labelled by the frame's index. A
grouping has the dimension of its name; where a variable or a dimension of draws has that name, ``<name>_group``. A
slash in a name (``I(a / b)``) is a division slash in the tree, since ``/`` separates groups there.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.describe import Axes, axes
from hiermodels.inference.draws import Draws
from hiermodels.inference.likelihood import log_likelihood
from hiermodels.inference.log_priors import improper_parameters, log_prior
from hiermodels.inference.predict import predict
from hiermodels.inference.user_densities import user_densities
from hiermodels.models.declaration import Declaration
from hiermodels.models.names import free_name
from hiermodels.models.problem import Problem
from hiermodels.models.standing import stands_at
from hiermodels.models.user import UserModel

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = [
    "POINTWISE_LIMIT",
    "by_row",
    "columns_dataset",
    "posterior_dataset",
    "predictions_tree",
    "row_dimension",
    "to_datatree",
    "tree_names",
    "used_columns",
]

_SLASH = "\u2215"
"""A division slash."""
POINTWISE_LIMIT = 50_000_000
"""Numbers (draws times rows) above which ``pointwise=None`` leaves the log likelihood out: 400 MB."""


def to_datatree(
    draws: Draws,
    problem: Problem | UserModel,
    frame: pd.DataFrame,
    *,
    predictive: bool = False,
    seed: int = 0,
    pointwise: bool | None = None,
) -> xr.DataTree:
    """Build the tree of a fit.

    Parameters
    ----------
    draws : Draws
        NumPy arrays, real groups only.
    problem : Problem or UserModel
        What was fitted; of a NumPyro function, dimensions are its plates.
    frame : DataFrame
        The data.
    predictive : bool
        Add ``posterior_predictive``: a replicated outcome of every row beside each draw.
    seed : int
        Of the replicated outcomes.
    pointwise : bool or None
        Whether to add ``log_likelihood``; None: where it has at most `POINTWISE_LIMIT` numbers.

    Returns
    -------
    DataTree

    Raises
    ------
    ValueError
        For replicated outcomes of a NumPyro function.

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
    row = row_dimension(problem)
    tree: dict[str, xr.Dataset] = {"posterior": posterior_dataset(values, problem)}
    if draws.stats:
        tree["sample_stats"] = _sample_stats(draws)
    outcome, used = _roles(problem)
    if pointwise is None:
        pointwise = _draw_count(values) * len(frame) <= POINTWISE_LIMIT
    if isinstance(problem, Problem):
        if pointwise:
            tree["log_likelihood"] = by_row({outcome: log_likelihood(values, problem, frame)}, frame, row)
        tree["log_prior"] = _log_priors(values, problem)
        if predictive:
            replicated = predict(values, problem, frame, None, kind="outcome", seed=seed)
            tree["posterior_predictive"] = by_row({outcome: replicated}, frame, row)
    else:
        if predictive:
            raise ValueError(
                "predictive: expected a fit of hm.Model, found one of a function; use numpyro.infer.Predictive"
            )
        tree |= _user_densities(values, problem, frame, row, pointwise)
    tree["observed_data"] = columns_dataset(frame, [outcome], row)
    tree["constant_data"] = columns_dataset(frame, [c for c in used if c != outcome], row)
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

    row, outcome = row_dimension(problem), problem.model.outcome
    used = [c for c in used_columns(problem.model) if c != outcome and c in frame.columns]
    tree = {
        "predictions": by_row({outcome: values}, frame, row),
        "predictions_constant_data": columns_dataset(frame, used, row),
    }
    return xr.DataTree.from_dict({name: _signed(data) for name, data in tree.items() if data.data_vars})


def used_columns(model: Declaration) -> list[str]:
    """Columns of a frame that a model reads, the outcome first."""
    parsed = model.parsed
    found = [parsed.outcome, *parsed.predictors, *(f for g in parsed.groups for f in g.factors)]
    found += [c for c in (model.known_se, model.trials, model.exposure, model.weights) if c is not None]
    return list(dict.fromkeys(found))


def _sample_stats(draws: Draws) -> xr.Dataset:
    facts: dict[str, int | float] = {"independent": int(draws.independent)}
    if draws.error is not None:
        facts["quadrature_error"] = float(draws.error)
    return _dataset(draws.stats, {name: [] for name in draws.stats}).assign_attrs(facts)


def _log_priors(values: Mapping[str, Any], problem: Problem) -> xr.Dataset:
    found = log_prior(values, problem)
    data = _dataset(found, {name: [] for name in found})
    where = {p.name: stands_at(problem.model, problem.layout, p, problem.scales) for p in problem.layout.parameters}
    laws = {p.name: f"{p.prior} {where[p.name]}".rstrip() for p in problem.layout.parameters}
    improper = {p.name for p in improper_parameters(problem.layout)}
    for name, written in tree_names(found).items():
        data[written].attrs = {"prior": laws[name], "improper": int(name in improper)}
    return data


def _user_densities(
    values: Mapping[str, Any], model: UserModel, frame: pd.DataFrame, row: str, pointwise: bool
) -> dict[str, xr.Dataset]:
    """Log likelihood and log prior of a NumPyro function's sites."""
    observed, prior = user_densities(model, values)
    rows: list[tuple[str, Sequence[Any]]] = [(row, list(_row_labels(frame)))]
    named: Axes = {name: rows if x.shape[2:] == (len(frame),) else _numbered(name, x) for name, x in observed.items()}
    found = {"log_likelihood": _dataset(observed, named)} if pointwise else {}
    return found | {"log_prior": _dataset(prior, {name: [] for name in prior})}


def _numbered(name: str, x: np.ndarray) -> list[tuple[str, Sequence[Any]]]:
    return [(f"{name}_dim_{i}", range(n)) for i, n in enumerate(x.shape[2:])]


def _draw_count(values: Mapping[str, Any]) -> int:
    chains, draws = next(iter(values.values())).shape[:2]
    return chains * draws


def _roles(problem: Problem | UserModel) -> tuple[str, list[str]]:
    """The outcome, and the columns that the model uses."""
    if isinstance(problem, UserModel):
        return problem.outcome, list(problem.data)
    return problem.model.outcome, used_columns(problem.model)


def row_dimension(problem: Problem | UserModel) -> str:
    """Name of the dimension of rows: ``obs``, or ``obs_row`` where a column is called ``obs``."""
    outcome, used = _roles(problem)
    return free_name("obs", "_row", [outcome, *used])


def posterior_dataset(values: Mapping[str, Any], problem: Problem | UserModel) -> xr.Dataset:
    """Variables (chain, draw, *dims), real groups only, with their labels."""
    return _dataset(values, axes(values, problem))


def _dataset(values: Mapping[str, Any], named: Axes) -> xr.Dataset:
    """Variables with axes (chain, draw, *named)."""
    import xarray as xr

    coords: dict[str, Any] = {}
    variables, names = {}, tree_names(values)
    for name, x in values.items():
        x = np.asarray(x)
        own = [(free_name(dim.replace("/", _SLASH), "_group", names.values()), labels) for dim, labels in named[name]]
        variables[names[name]] = (["chain", "draw", *(dim for dim, _ in own)], x)
        coords.update({"chain": np.arange(x.shape[0]), "draw": np.arange(x.shape[1])})
        coords.update(dict(own))
    return xr.Dataset(variables, coords)


def tree_names(names: Collection[str]) -> dict[str, str]:
    """The names that variables have in a tree, where a slash separates groups: a division slash stands for it.

    Examples
    --------
    >>> tree_names(["x", "I(a / b)"])
    {'x': 'x', 'I(a / b)': 'I(a ∕ b)'}
    """
    found: dict[str, str] = {}
    for name in names:
        found[name] = free_name(name.replace("/", _SLASH), "_", {*names, *found.values()}) if "/" in name else name
    return found


def by_row(values: Mapping[str, Any], frame: pd.DataFrame, row: str) -> xr.Dataset:
    """Values of rows, each (chain, draw, row), labelled by the frame's index."""
    return _dataset(values, {name: [(row, list(_row_labels(frame)))] for name in values})


def columns_dataset(frame: pd.DataFrame, names: Sequence[str], row: str) -> xr.Dataset:
    """Columns of the frame; numbers as they are, everything else as text."""
    import xarray as xr

    found = {}
    for name, written in tree_names(names).items():
        column = frame[name].to_numpy()
        found[written] = (row, column if column.dtype.kind in "fiub" else column.astype(str).astype(object))
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
