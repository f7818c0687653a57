"""Densities that figures draw: of draws (kernel estimates), of priors, of a group's likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hiermodels.models.labels import find_label
from hiermodels.quantities import INTERCEPT, support, theta_name
from hiermodels.reporting._fits import declared, effect_of, level_of, own_laws
from hiermodels.reporting._given import table_columns, thing

__all__ = ["density_of", "new_group", "prior_density", "support_of", "triple_table"]


def density_of(
    x: np.ndarray, low: float = -np.inf, high: float = np.inf, points: int = 256, tail: float = 0.004
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel density of draws on a grid; mass near a boundary is reflected there.

    Parameters
    ----------
    x : ndarray
        Draws of any shape.
    low, high : float
        Support.
    points : int
        Of the grid.
    tail : float
        Share of the draws left out of the grid at either end.

    Returns
    -------
    grid, density : ndarray, shape (points,)

    Examples
    --------
    >>> grid, density = density_of(np.random.default_rng(0).exponential(size=4000), low=0.0)
    >>> bool(grid[0] == 0 and 0.85 < density[0] < 1.15)
    True
    """
    from scipy.stats import gaussian_kde

    x = np.ravel(np.asarray(x, float))
    ends = np.quantile(x, [tail, 1 - tail])
    if ends[0] == ends[1]:
        raise ValueError(f"draws: expected a number that varies, found {ends[0]:g} throughout; it has no density")
    reach = 0.08 * (ends[1] - ends[0])
    # a bounded variable's grid begins at the bound where the draws come near it
    first = low if ends[0] - 3 * reach <= low else ends[0] - reach
    last = high if ends[1] + 3 * reach >= high else ends[1] + reach
    grid = np.linspace(first, last, points)
    width = _silverman(x)
    if width == 0.0:
        raise ValueError("draws: expected a number that varies, found one value for most draws; it has no density")
    parts = [x, *([2 * low - x] if np.isfinite(low) else []), *([2 * high - x] if np.isfinite(high) else [])]
    both = np.concatenate(parts)
    density = len(parts) * gaussian_kde(both, bw_method=width / both.std(ddof=1))(grid)
    return grid, density


def _silverman(x: np.ndarray) -> float:
    """Bandwidth 0.9 min(sd, IQR / 1.34) n^(-1/5): Silverman (1986), Density Estimation, equation 3.31."""
    quarter, three = np.quantile(x, [0.25, 0.75])
    spread = min(x.std(ddof=1), (three - quarter) / 1.34) or x.std(ddof=1)
    return float(0.9 * spread * len(x) ** -0.2)


def support_of(x: np.ndarray) -> tuple[float, float]:
    """Support of numbers whose kind is not known: from zero where none is negative, else everything."""
    return (0.0, np.inf) if np.min(x) >= 0 else (-np.inf, np.inf)


def prior_density(prior: Any, x: np.ndarray, kind: str, context: np.ndarray | None = None) -> np.ndarray:
    """Density of a prior on a grid, NaN where it is infinite and outside its support.

    Parameters
    ----------
    prior : Prior
    x : ndarray
    kind : str
        Of the parameter (`hiermodels.quantities`).
    context : ndarray, optional
        Known variances of the groups, where the prior is a function of them; draws of the parameter in whose units it
        is given, over which the density is averaged.
    """
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        at = jnp.asarray(x, dtype=float)
        if context is None or prior.of_variances:
            known = None if context is None else jnp.asarray(context)
            density = jnp.exp(jax.vmap(lambda one: prior.log_density(one, known))(at))
        else:
            density = jnp.exp(jax.vmap(lambda unit: prior.log_density(at, unit))(jnp.asarray(context))).mean(0)
        found = np.array(density, float)
    low, high = prior.support(kind)
    found[(x < low) | (x > high) | ~np.isfinite(found)] = np.nan
    return found


def triple_table(source: Any, group: str | None, level: str | None, points: int = 400) -> tuple[pd.DataFrame, str, str]:
    """Densities ``x prior likelihood posterior`` of a group's value; its variable and its label."""
    if isinstance(source, pd.DataFrame):
        curves = [c for c in ("prior", "likelihood", "posterior") if c in source]
        if "x" not in source or not curves:
            take = "source: expected a fit, or a table with columns x and prior, likelihood or posterior"
            raise ValueError(f"{take}, found {thing(source)}; rename or add them")
        return table_columns(source, " ".join(["x", *curves])), "value", group or ""
    fit = declared(source, "source")
    problem = fit.problem
    found = level_of(problem, level)
    labels = problem.labels[found.name]
    place = 0 if group is None else find_label(group, labels)
    if place is None:
        raise ValueError(f"group: expected one of {', '.join(labels[:20])}, found {group!r}; name a {found.name}")
    group = labels[place]
    effect = effect_of(problem, found)
    name = theta_name(found.name, effect)
    low, high = support("real" if problem.layout.normal_groups else problem.layout.link.kind)
    draws = fit.draws.values[name][..., place]
    laws, new = own_laws(fit, found.name) if effect == INTERCEPT else None, new_group(fit, found)
    edges = [np.quantile(draws, [0.001, 0.999])]
    edges += [] if laws is None else [np.array([laws.ppf(0.005)[place], laws.ppf(0.995)[place]])]
    edges += [] if new is None else [np.quantile(new, [0.005, 0.995])]
    ends = np.array(edges)
    first, last = float(ends[:, 0].min()), float(ends[:, 1].max())
    near = 0.1 * (last - first)  # a bounded variable is shown up to its bound
    grid = np.linspace(low if first - near < low else first, high if last + near > high else last, points)
    table = pd.DataFrame({"x": grid})
    if new is not None:
        table["prior"] = np.interp(grid, *density_of(new, low, high, tail=0.001), left=0.0, right=0.0)
    if laws is not None:
        table["likelihood"] = laws.pdf(grid[:, None])[:, place]
    table["posterior"] = np.interp(grid, *density_of(draws, low, high, tail=0.0005), left=0.0, right=0.0)
    return table, name, group


def new_group(fit: Any, level: Any) -> np.ndarray | None:
    """Draws of the value of a group that is not in the data; None where groups are not pooled."""
    values, layout = fit.draws.values, fit.problem.layout
    rng = np.random.default_rng(0)

    def drawn(role: str, owner: str, effect: str = "") -> np.ndarray | None:
        found = layout.find(role, owner, effect)
        return None if found is None or found.name not in values else np.asarray(values[found.name], float)

    mean, spread = drawn("population mean", level.name), drawn("concentration", level.name)
    if mean is not None and spread is not None:
        return layout.law.population.host_draws(rng, mean, spread)
    if not layout.normal_groups:
        return None
    effect = effect_of(fit.problem, level)
    centre = drawn("coefficient", "", effect)
    if centre is None and effect in [layout.columns[c] for c in layout.population]:
        return None
    total = np.zeros(1) if centre is None else centre
    for above in (layout.levels[i] for i in layout.lineage(layout.levels.index(level))):
        if effect not in [layout.columns[e] for e in above.effects]:
            continue
        sd = drawn("group sd", above.name, effect)
        if sd is None:
            return None
        total = total + sd * rng.standard_normal(sd.shape)
    return total
