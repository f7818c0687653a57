"""Tables behind two figures of a fit: groups given the spread between them, and the tree of nested groups."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from hiermodels.families.component import KINDS
from hiermodels.quantities import theta_name
from hiermodels.reporting._densities import density_of
from hiermodels.reporting._fits import centre_name, declared, effect_of, group_table, level_of
from hiermodels.reporting._given import table_columns

__all__ = ["path_table", "tree_table"]


def path_table(source: Any, level: str | None = None, points: int = 61) -> tuple[pd.DataFrame, str, str]:
    """Conditional mean and sd of each group's value over the spread between groups.

    Parameters
    ----------
    source : Fit or DataFrame
    level : str, optional
    points : int
        Values of the spread, from 0 to its posterior's upper 2.5% point.

    Returns
    -------
    table : DataFrame
        ``spread group estimate se density``, a row a value of the spread and group.
    spread : str
        Name of the spread, ``sd_school``; for counts the concentration ``kappa_`` or ``shape_``.
    estimand : str

    Raises
    ------
    ValueError
        For a table without the columns, or a model without such a hyperparameter.
    """
    if isinstance(source, pd.DataFrame):
        source = table_columns(source, "spread group estimate")
        table = source if "se" in source else source.assign(se=np.nan)
        return table.sort_values(["group", "spread"], kind="stable"), "spread between groups", "estimates"
    import jax

    from hiermodels.models import hyper
    from hiermodels.models.factorise import factorise
    from hiermodels.models.problem import as_jax
    from hiermodels.models.units import at_means, shown_factor

    problem = declared(source, "source").problem
    layout, found = problem.layout, level_of(problem, level)
    draws, effect = source.draws.values, effect_of(problem, found)
    parameter = layout.find("concentration", found.name) or layout.find("group sd", found.name, effect)
    if parameter is None or parameter.prior.known:
        free = ", ".join(p.name for p in layout.parameters if p.spread and not p.prior.known) or "none"
        raise ValueError(
            f"source: expected a spread of {found.name} that is estimated, found {free}; fit with partial pooling"
        )
    try:
        model = factorise(layout)
    except ValueError:
        raise ValueError(
            f"source: expected groups that integrate out, as nested ones of normal outcomes and of beta and gamma "
            f"populations do, "
            f"found {found.name} of family {layout.family}; plot_caterpillar shows its groups"
        ) from None
    spread, name = parameter.name, theta_name(found.name, effect)
    low, high = parameter.prior.support(parameter.kind)
    reach = float(np.quantile(draws[spread], 0.975))
    grid = np.linspace(low, min(reach, low + (high - low) * (1 - 1e-9)), points)
    if not layout.gaussian:  # at a concentration of 0 a law of counts is degenerate
        grid = grid[1:]
    standing = at_means(
        layout, problem.data.units, {p.name: draws[p.name] for p in layout.parameters if p.name in draws}
    )
    factor = {p.name: shown_factor(layout, problem.data, p) for p in model.parameters}
    middle = {
        p.name: _middle(np.asarray(standing[p.name]), p.kind) / factor[p.name]
        for p in model.parameters
        if p.name in draws
    }
    with jax.enable_x64(True):
        stats = model.prepare(as_jax(problem.data))

        def law(value: Any) -> Any:
            u = hyper.unconstrain(model.parameters, middle | {spread: value})
            return model.components(u, stats, (name,))[name]

        laws = jax.jit(jax.vmap(law))(grid)
        mean, sd = _moments(laws.kind, np.asarray(laws.a), np.asarray(laws.b))
    places = problem.positions[found.name]
    mean, sd = (np.broadcast_to(x, (len(grid), x.shape[-1]))[:, places] for x in (mean, sd))
    labels = problem.labels[found.name]
    density = np.interp(grid, *density_of(draws[spread], low, high, tail=0.0), left=0.0, right=0.0)
    table = pd.DataFrame(
        {
            "spread": np.tile(grid, len(labels)),
            "group": np.repeat(np.array(labels, object), len(grid)),
            "estimate": mean.T.ravel(),
            "se": sd.T.ravel(),
            "density": np.tile(density, len(labels)),
        }
    )
    return table, spread, name


def _middle(x: np.ndarray, kind: str) -> np.ndarray:
    """Posterior median of a hyperparameter; a correlation as its Cholesky factor."""
    found = np.median(x.reshape(-1, *x.shape[2:]), axis=0)
    return np.linalg.cholesky(found + 1e-9 * np.eye(len(found))) if kind == "correlation" else found


def _moments(kind: str, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of a component (`hiermodels.families.component`)."""
    mean, variance = KINDS[kind].moments(a, b)
    return np.asarray(mean), np.sqrt(variance)


def tree_table(source: Any) -> pd.DataFrame:
    """Nodes of a nested hierarchy: ``level group parent estimate mcse raw``, the population first.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit; or such a table, of which ``mcse`` and ``raw`` may be missing.

    Raises
    ------
    ValueError
        For crossed groups, and for a table whose parents are not there.
    """
    if not isinstance(source, pd.DataFrame):
        return _tree_of_fit(source)
    table = table_columns(source, "level group parent estimate").astype({"level": str, "group": str, "parent": str})
    for column in ("mcse", "raw"):
        table[column] = table[column].astype(float) if column in table else np.nan
    levels = list(dict.fromkeys(table["level"]))
    for above, here in itertools.pairwise(levels):
        strange = set(table.loc[table["level"] == here, "parent"]) - set(table.loc[table["level"] == above, "group"])
        if strange:
            raise ValueError(
                f"parent: expected groups of {above}, found {sorted(strange)[0]!r}; mend it or add its row"
            )
    return table


def _tree_of_fit(fit: Any) -> pd.DataFrame:
    problem = declared(fit, "source").problem
    layout = problem.layout
    level_of(problem, None)
    if not layout.nested:
        crossed = next(v.name for i, v in enumerate(layout.levels) if v.parent != i - 1)
        raise ValueError(
            f"source: expected groups that nest, found {crossed} crossed with others; see plot_caterpillar"
        )
    name = centre_name(fit, layout.levels[0]) or centre_name(fit, layout.levels[-1])
    top = None if name is None else fit.summary(name).iloc[0]
    where = float("nan") if top is None else float(top["median"] if np.isnan(top["mean"]) else top["mean"])
    mcse = float("nan") if top is None else float(top["mcse_mean"])
    parts = [
        pd.DataFrame(
            {"level": ["population"], "group": ["population"], "parent": [""], "estimate": where, "mcse": mcse}
        )
    ]
    for i, level in enumerate(layout.levels):
        table = group_table(fit, level.name)
        parents = ["population"] * len(table)
        if i > 0:
            above = layout.levels[i - 1].name
            parents = [problem.labels[above][k] for k in problem.tree.parent[i]]
        parts.append(
            table.assign(level=level.name, parent=parents)[["level", "group", "parent", "estimate", "mcse", "raw"]]
        )
    return pd.concat(parts, ignore_index=True)
