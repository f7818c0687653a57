"""A posterior as a table: one row a scalar, named as ArviZ names it (``theta_school[A]``).

Draws of any number of groups are described in blocks of columns of one shape, so that one small compiled
program serves every model.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels import families
from hiermodels.inference.diagnostics import convergence, ess_mean
from hiermodels.models.layout import Layout
from hiermodels.models.names import DIMENSIONS, free_name
from hiermodels.models.problem import Problem
from hiermodels.models.user import UserModel
from hiermodels.quantities import cor_name, theta_name

if TYPE_CHECKING:
    import pandas as pd
    from jax import Array

__all__ = ["axes", "convergence_table", "group_values", "moments_table", "real_groups", "scalar_names"]

_BLOCK = 64
"""Scalars described in one call of the compiled program."""

Axes = dict[str, list[tuple[str, Sequence[Any]]]]
"""Variable to its axes after (chain, draw): the dimension's name and its labels."""


def real_groups(values: Mapping[str, Array], problem: Problem) -> dict[str, Any]:
    """Draws as a sampler gives them, padded groups left out, on the host.

    Parameters
    ----------
    values : mapping of str to Array
        Variable to (chain, draw, *dims), group axes padded.
    problem : Problem
        Knows where the real groups are.

    Returns
    -------
    dict of str to ndarray
        The same variables in reporting order; group axes in the order of ``problem.labels``.
    """
    layout = problem.layout
    places = {name: problem.positions[level] for name, level in group_values(layout).items()}
    ordered = [p.name for p in layout.parameters if p.name in values]
    ordered += [name for name in places if name in values]
    ordered += [name for name in values if name not in ordered]
    found = {name: np.asarray(values[name]) for name in ordered}
    for name, x in found.items():
        if name in places:
            found[name] = x if x.shape[-1] == len(places[name]) else x[..., places[name]]  # no padding, no copy
        elif (parameter := layout.parameter(name)) is not None and parameter.kind == "correlation":
            found[name] = np.where(np.eye(parameter.size, dtype=bool), np.ones_like(x), x)  # exactly
    return found


def group_values(layout: Layout) -> dict[str, str]:
    """Variables with a value a group, and their grouping; counts in nested groups have concentrations too."""
    found = {name: level.name for level in layout.levels for name in layout.effect_names(level)}
    if not layout.normal_groups:
        stem = f"log_{families.lookup(layout.family).precision}"
        found |= {theta_name(level.name, stem): level.name for level in layout.levels}
    return found


def axes(values: Mapping[str, Any], problem: Problem | UserModel) -> Axes:
    """Names and labels of every variable's axes after (chain, draw).

    A dimension has the name of its grouping (``school``). Where that name is taken, by a variable as in
    ``y ~ year + (1 | year)`` or by a dimension of draws (a grouping called ``chain`` or ``draw``), it is
    ``year_group``.
    """
    if isinstance(problem, UserModel):
        plates = list(dict.fromkeys(plate for dims in problem.dims.values() for plate in dims))
        places = _dimensions(plates, values)
        return {name: _axes_of_plates(name, x, problem, places) for name, x in values.items()}
    layout = problem.layout
    found: Axes = {}
    effect = [free_name(name, "_dim", values) for name in ("effect", "effect2")]
    blocks = [(level, block) for level in layout.levels for block in level.blocks if len(block) > 1]
    dims = _dimensions([level.name for level in layout.levels], [*values, *(effect if blocks else ())])
    for name, grouping in group_values(layout).items():
        found[name] = [(dims[grouping], problem.labels[grouping])]
    for level, block in blocks:
        effects = [layout.columns[level.effects[b]] for b in block]
        found[cor_name(level.name)] = [(dim, effects) for dim in effect]
    return {name: found[name] if name in found else _numbered(name, x, 0) for name, x in values.items()}


def _dimensions(groupings: Sequence[str], variables: Iterable[str]) -> dict[str, str]:
    """A dimension's name for every grouping, apart from variables and from one another."""
    taken = {*variables, *DIMENSIONS}
    found = {name: name for name in groupings if name not in taken}
    for name in groupings:
        if name not in found:
            found[name] = free_name(name, "_group", {*taken, *groupings, *found.values()})
    return found


def _axes_of_plates(
    name: str, x: np.ndarray, model: UserModel, dims: Mapping[str, str]
) -> list[tuple[str, Sequence[Any]]]:
    """Axes of a site of a NumPyro function: its plates, labelled where one has a column's name and size."""
    found = []
    for plate, size in zip(model.dims.get(name, ()), x.shape[2:], strict=False):
        labels = model.labels.get(plate, [])
        found.append((dims[plate], labels if len(labels) == size else [str(k) for k in range(size)]))
    return found + _numbered(name, x, len(found))


def _numbered(name: str, x: np.ndarray, start: int) -> list[tuple[str, Sequence[Any]]]:
    """The axes that nothing names, from this one on."""
    return [(f"{name}_dim_{i}", [str(k) for k in range(n)]) for i, n in enumerate(x.shape[2:]) if i >= start]


def scalar_names(values: Mapping[str, Any], named: Axes) -> list[str]:
    """Row names of a table of all scalars, in order: ``Intercept``, ``theta_school[A]``.

    Examples
    --------
    >>> import numpy as np
    >>> scalar_names({"x": np.zeros((2, 5, 2))}, {"x": [("school", ["A", "B"])]})
    ['x[A]', 'x[B]']
    """
    found = []
    for name in values:
        labels = [labels for _, labels in named[name]]
        found += [f"{name}[{', '.join(c)}]" for c in itertools.product(*labels)] if labels else [name]
    return found


def _columns(values: Mapping[str, Any]) -> list[np.ndarray]:
    """One (chain, draw, scalar) view a variable."""
    return [np.reshape(x, (*x.shape[:2], -1)) for x in values.values()]


def convergence_table(values: Mapping[str, Any], named: Axes) -> pd.DataFrame:
    """R-hat, effective sizes and Monte Carlo standard errors of every scalar.

    Parameters
    ----------
    values : mapping of str to ndarray
        Variable to (chain, draw, *dims).
    named : dict
        From `axes`.

    Returns
    -------
    DataFrame
        Columns ``ess_bulk ess_tail r_hat mcse_mean mcse_sd``; NaN where a draw is not finite. A row a scalar.
        Sources: `hiermodels.inference.diagnostics`; the Monte Carlo standard error of an sd s is that of the
        second central moment by the delta method, sqrt((m4 - s^4) / ESS) / (2 s) with the ESS of (x -
        mean)^2.
    """
    import pandas as pd

    parts = []
    with jax.enable_x64(True):
        for x in _columns(values):
            for start in range(0, x.shape[-1], _BLOCK):
                block = np.asarray(x[..., start : start + _BLOCK], dtype=float)
                width = block.shape[-1]
                # columns are repeated to the block's width, so that every block runs the same program
                padded = np.pad(block, [(0, 0), (0, 0), (0, _BLOCK - width)], mode="wrap")
                parts.append(np.asarray(_program()(padded))[:, :width])
    table = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0))
    columns = ["ess_bulk", "ess_tail", "r_hat", "mcse_mean", "mcse_sd"]
    return pd.DataFrame(table.T, index=scalar_names(values, named), columns=columns)


@lru_cache(maxsize=1)
def _program() -> jax.stages.Wrapped:
    return jax.jit(_diagnose)


def _diagnose(x: Array) -> Array:
    """(chain, draw, scalar) -> (5, scalar), rows as the columns of `convergence_table`."""
    r_hat, bulk, tail = convergence(x)
    centred = x - x.mean((0, 1))
    square = centred**2
    second, fourth = square.mean((0, 1)), (square**2).mean((0, 1))
    sd = jnp.std(x, (0, 1), ddof=1)
    error_of_mean = sd / jnp.sqrt(ess_mean(x))
    error_of_sd = jnp.sqrt((fourth - second**2) / ess_mean(square) / second) / 2
    return jnp.stack([bulk, tail, r_hat, error_of_mean, error_of_sd])


def moments_table(values: Mapping[str, Any], named: Axes, prob: float, missing: Mapping[str, str]) -> pd.DataFrame:
    """Mean, sd, median and equal-tailed interval of every scalar.

    Parameters
    ----------
    values, named
        As in `convergence_table`.
    prob : float
        Probability of the interval.
    missing : mapping of str to str
        Variable to ``mean`` or ``sd``, the first moment that does not exist: it and the next are NaN.

    Returns
    -------
    DataFrame
        Columns ``mean sd median eti95_lb eti95_ub``, the last two named by ``prob``.
    """
    import pandas as pd

    tail = (1 - prob) / 2
    parts = []
    for name, whole in zip(values, _columns(values), strict=True):
        for start in range(0, whole.shape[-1], 16 * _BLOCK):
            x = whole[..., start : start + 16 * _BLOCK].astype(float, copy=False)
            mean, sd = x.mean((0, 1)), x.std((0, 1), ddof=1)
            if missing.get(name) == "mean":
                mean = np.full_like(mean, np.nan)
            if name in missing:
                sd = np.full_like(sd, np.nan)
            ends = np.quantile(x, [0.5, tail, 1 - tail], axis=(0, 1))
            parts.append(np.stack([mean, sd, *ends]))
    word = f"eti{100 * prob:g}"
    columns = ["mean", "sd", "median", f"{word}_lb", f"{word}_ub"]
    table = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0))
    return pd.DataFrame(table.T, index=scalar_names(values, named), columns=columns)
