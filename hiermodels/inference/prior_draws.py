"""Draws from the prior, and outcomes simulated from them: what a model says before it has met its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.inference.datatree import by_row, columns_dataset, posterior_dataset, row_dimension, used_columns
from hiermodels.inference.describe import real_groups
from hiermodels.inference.log_priors import improper_parameters
from hiermodels.models.builder import build
from hiermodels.models.data import bind, variable_names
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.spec import Model
from hiermodels.models.units import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import xarray as xr

__all__ = ["prior_predictive"]

_PROPER = {"real": "normal(0, 10)", "positive": "half_normal(5)", "unit": "beta(1, 1)", "above_one": "gamma(2, 0.1)"}
"""A proper prior to write down, a kind of parameter."""


def prior_predictive(
    model: Model,
    data: pd.DataFrame,
    *,
    draws: int = 1000,
    seed: int = 0,
    pooling: str | Mapping[str, str] = "partial",
) -> xr.DataTree:
    """Draw parameters from their priors, groups from their population, and outcomes of the rows of a table.

    Parameters
    ----------
    model : Model
        Every parameter has a proper prior.
    data : DataFrame
        The rows to simulate; the outcome's column may be missing.
    draws : int
        Number of prior draws.
    seed : int
        Same seed, same draws.
    pooling : str or mapping
        As in `hiermodels.fit`; groups that are not pooled have no prior.

    Returns
    -------
    DataTree
        ``prior`` (every variable of a posterior, dimensions chain, draw, ...), ``prior_predictive`` (the outcome,
        chain, draw, row), ``constant_data``, and ``observed_data`` where the outcome is there.

    Raises
    ------
    ValueError
        For an improper prior (it cannot be drawn from), by name; for an unpooled grouping; for bad numbers.

    Examples
    --------
    >>> import hiermodels as hm
    >>> priors = {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)
    >>> tree = hm.prior_predictive(model, hm.load_dataset("eight_schools"), draws=50)
    >>> tree.prior_predictive["effect"].shape
    (1, 50, 8)
    """
    import xarray as xr

    _check(model, draws, seed)
    there = model.outcome in data.columns
    problem = bind(model, data, pooling, outcome=there)
    _refuse_improper(problem)
    values, outcome = _simulate(problem, draws, seed)
    values = real_groups(values, problem)
    row, used = row_dimension(problem), used_columns(model)
    tree = {
        "prior": posterior_dataset(values, problem),
        "prior_predictive": by_row({model.outcome: outcome[..., : len(data)]}, data, row),
        "observed_data": columns_dataset(data, [model.outcome] if there else [], row),
        "constant_data": columns_dataset(data, [c for c in used if c != model.outcome], row),
    }
    return xr.DataTree.from_dict({name: found for name, found in tree.items() if found.data_vars})


def _check(model: Any, draws: Any, seed: Any) -> None:
    if not isinstance(model, Model):
        raise ValueError(
            f"model: expected hm.Model, found {type(model).__name__}; draw from a function with "
            f"numpyro.infer.Predictive"
        )
    for name, value, low in (("draws", draws, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"{name}: expected a whole number >= {low}, found {value!r}; e.g. {name}={max(low, 1000)}")


def _refuse_improper(problem: Problem) -> None:
    improper = improper_parameters(problem.layout)
    if improper:
        listed = ", ".join(f"{p.name} ~ {p.prior}" for p in improper)
        first = improper[0]
        raise ValueError(
            f"priors: expected proper ones to draw from, found improper {listed}; name proper ones, "
            f"e.g. priors={{{first.name!r}: {_PROPER[first.kind]!r}}}"
        )
    unpooled = next((level.name for level in problem.layout.levels if level.pooling == "none"), None)
    if unpooled is not None:
        raise ValueError(
            f"pooling: expected groups with a population to draw from, found {unpooled} without pooling; use "
            f"pooling='partial'"
        )


def _simulate(problem: Problem, draws: int, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Every variable (padded axes) and the outcome (padded rows), each (1, draw, ...)."""
    from numpyro.infer import Predictive

    names = [*variable_names(problem.layout), "y"]
    with jax.enable_x64(True):
        key = jax.random.key(seed, impl="threefry2x32")
        given = _cut_priors(problem.layout, draws, seed)
        run = Predictive(build(problem.layout), given or None, num_samples=draws, return_sites=names, parallel=True)
        found = {**given, **jax.jit(lambda key, data: run(key, data, None))(key, as_jax(problem.data))}
        outcome = np.asarray(found.pop("y"))[None]
        drawn = shown(problem.layout, as_jax(problem.data), {name: found[name] for name in names if name != "y"})
        values: dict[str, Any] = {name: np.asarray(x)[None] for name, x in drawn.items()}
    return values, outcome


def _cut_priors(layout: Layout, draws: int, seed: int) -> dict[str, jax.Array]:
    """Draws of parameters that are greater than one: their priors are cut there, which no distribution of NumPyro
    is.
    """
    return {
        p.name: _cut(p, draws, jax.random.key(seed + i, impl="threefry2x32"))
        for i, p in enumerate(layout.parameters)
        if p.kind == "above_one" and not p.prior.known
    }


def _cut(parameter: Parameter, draws: int, key: jax.Array) -> jax.Array:
    law = parameter.prior.law(parameter.kind)
    if law is None:
        raise ValueError(
            f"priors: {parameter.name}: {parameter.prior} cannot be drawn from; use e.g. {_PROPER['above_one']}"
        )
    found = np.zeros(0)
    for k in range(1000):
        x = np.asarray(law.sample(jax.random.fold_in(key, k), (2 * draws,)))
        found = np.concatenate([found, x[x > 1]])
        if len(found) >= draws:
            return jnp.asarray(found[:draws])
    raise ValueError(f"priors: {parameter.name}: {parameter.prior} is almost surely below one; move it up")
