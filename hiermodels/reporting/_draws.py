"""Draws by name, of a fit or of an `xarray.DataTree` from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from hiermodels.models.labels import find_label
from hiermodels.reporting._given import thing

__all__ = ["diverging_of", "draws_of", "monte_carlo_error"]


def draws_of(source: Any, variable: str, group: str | None = None) -> np.ndarray:
    """Draws of one number, (chain, draw): of a fit, or of the group ``posterior`` of a DataTree.

    Parameters
    ----------
    source : Fit or DataTree
    variable : str
    group : str, optional
        Label of the group, where the variable has groups.

    Raises
    ------
    ValueError
        For a variable or group that is not there.
    """
    values, labels = _values_of(source)
    if variable not in values:
        raise ValueError(f"expected one of {', '.join(values)}, found {variable!r}; name a variable of the draws")
    x, axes = values[variable], labels[variable]
    if x.ndim == 2:
        return x
    here = [str(label) for label in axes[0]]
    place = None if group is None else find_label(group, here)
    if place is None or x.ndim != 3:
        raise ValueError(f"group: expected one of {', '.join(here[:20])}, found {group!r}; name a group of {variable}")
    return x[..., place]


def _values_of(source: Any) -> tuple[Mapping[str, np.ndarray], Mapping[str, list[Any]]]:
    """Draws by variable, and the labels of each one's axes."""
    if hasattr(getattr(source, "posterior", None), "data_vars"):
        found = {str(k): v for k, v in source["posterior"].data_vars.items()}
        values = {k: v.transpose("chain", "draw", ...).to_numpy() for k, v in found.items()}
        axes = {k: [v[d].to_numpy().tolist() for d in v.dims if d not in ("chain", "draw")] for k, v in found.items()}
        return values, axes
    if hasattr(source, "draws") and hasattr(source, "problem"):
        from hiermodels.inference.describe import axes as name_axes

        values = {k: np.asarray(v) for k, v in source.draws.values.items()}
        named = name_axes(values, source.problem)
        return values, {k: [list(labels) for _, labels in named[k]] for k in values}
    raise ValueError(f"expected a fit or a DataTree with a posterior, found {thing(source)}; give one of them")


def monte_carlo_error(x: np.ndarray) -> float:
    """Monte Carlo standard error of the mean of draws (chain, draw)."""
    from hiermodels.inference.describe import convergence_table

    return float(convergence_table({"x": np.asarray(x, float)}, {"x": []})["mcse_mean"].iloc[0])


def diverging_of(source: Any) -> np.ndarray | None:
    """Which draws ended a divergent transition, (chain, draw); None where the sampler has no such thing."""
    if hasattr(source, "draws"):
        found = source.draws.stats.get("diverging")
        return None if found is None else np.asarray(found, bool)
    stats = getattr(source, "sample_stats", None)
    return (
        None
        if stats is None or "diverging" not in stats
        else stats["diverging"].transpose("chain", "draw").to_numpy().astype(bool)
    )
