"""Estimates as a table: rows as a fit's summary has them, columns estimate, se, df, lower, upper."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jax import Array
from scipy.stats import norm, t

from hiermodels.inference import describe
from hiermodels.inference.mixed.maximum import Maximum
from hiermodels.inference.mixed.modes import Modes
from hiermodels.models.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "interval", "summary_table", "theta_table"]


type Numbers = np.ndarray | Array


class Column(NamedTuple):
    """One variable's numbers, each of its shape."""

    estimate: Numbers
    se: Numbers
    df: Numbers
    lower: Numbers
    upper: Numbers


def interval(estimate: Numbers, se: Numbers, df: Numbers, level: float) -> tuple[Numbers, Numbers]:
    """Estimate -+ t se, Student's t at df degrees of freedom, the normal law's where they are infinite."""
    p = 0.5 + level / 2
    with np.errstate(invalid="ignore"):
        half = np.where(np.isinf(df), norm.ppf(p), t.ppf(p, np.where(np.isfinite(df) & (df > 0), df, 1.0))) * se
    half = np.where(np.isnan(df) | (df <= 0), np.nan, half)
    return estimate - half, estimate + half


def _on_log(estimate: Numbers, se: Numbers, level: float) -> Column:
    """An sd: the interval is made on its logarithm."""
    z = norm.ppf(0.5 + level / 2)
    inside = (estimate > 0) & np.isfinite(se)
    safe = np.where(inside, estimate, 1.0)
    width = np.where(inside, z * se / safe, np.nan)
    ends = safe * np.exp(-width), safe * np.exp(width)
    return Column(estimate, np.where(inside, se, np.nan), np.full_like(estimate, np.nan), *ends)


def _on_atanh(estimate: Numbers, se: Numbers, level: float) -> Column:
    """A correlation: the interval is made on Fisher's z."""
    z = norm.ppf(0.5 + level / 2)
    inside = (np.abs(estimate) < 1 - 1e-9) & np.isfinite(se)
    safe = np.where(inside, estimate, 0.0)
    middle, width = np.arctanh(safe), np.where(inside, z * se / (1 - safe**2), np.nan)
    none = np.full_like(estimate, np.nan)
    return Column(estimate, np.where(inside, se, np.nan), none, np.tanh(middle - width), np.tanh(middle + width))


def _delta(slopes: Numbers, covariance: Numbers) -> Numbers:
    return np.sqrt(np.maximum(np.einsum("...i,ij,...j->...", slopes, covariance, slopes), 0.0))


def _spreads(problem: Problem, found: Maximum, level: float) -> dict[str, Column]:
    layout, table, inverse = problem.layout, {}, np.asarray(found.inverse)
    for i, here in enumerate(layout.levels):
        se = _delta(np.asarray(found.sd_slopes[i]), inverse)
        for e, column in enumerate(here.effects):
            name = next(
                p.name
                for p in layout.parameters
                if (p.role, p.owner, p.effect) == ("group sd", here.name, layout.columns[column])
            )
            table[name] = _on_log(np.asarray(found.sds[i][e]), np.asarray(se[e]), level)
        for block in (b for b in here.blocks if len(b) > 1):
            name = next(p.name for p in layout.parameters if (p.role, p.owner) == ("correlation", here.name))
            place = np.ix_(block, block)
            value, slopes = np.asarray(found.correlations[i])[place], np.asarray(found.correlation_slopes[i])[place]
            table[name] = _on_atanh(value, _delta(slopes, inverse), level)
    if layout.residual_sd is not None:
        se = np.asarray(found.sigma) * np.sqrt(inverse[-1, -1]) / 2
        table[next(p.name for p in layout.parameters if p.role == "residual sd")] = _on_log(
            np.asarray(found.sigma), se, level
        )
    return table


def summary_table(
    problem: Problem, found: Maximum, values: tuple[Modes, ...], se: np.ndarray, df: np.ndarray, level: float
) -> pd.DataFrame:
    """Every parameter and group value.

    Parameters
    ----------
    problem : Problem
    found : Maximum
    values : tuple of Modes
        One for each level, padded.
    se, df : ndarray, shape (p,)
        Of the coefficients.
    level : float
    """
    import pandas as pd

    layout = problem.layout
    columns: dict[str, Column] = {}
    for k, c in enumerate(layout.population):
        b = np.asarray(found.coefficients[k])
        columns[layout.columns[c]] = Column(b, se[k], df[k], *interval(b, se[k], df[k], level))
    columns |= _spreads(problem, found, level)
    for here, modes in zip(layout.levels, values, strict=True):
        places = problem.positions[here.name]
        for e, name in enumerate(layout.effect_names(here)):
            value, error = np.asarray(modes.value)[places, e], np.asarray(modes.se)[places, e]
            df_here = np.where(np.isnan(value), np.nan, np.inf)
            columns[name] = Column(value, error, df_here, *interval(value, error, df_here, level))
    order = [p.name for p in layout.parameters] + [n for n in columns if layout.parameter(n) is None]
    shaped = {name: np.asarray(columns[name].estimate)[None, None] for name in order}
    index = describe.scalar_names(shaped, describe.axes(shaped, problem))
    table = {
        field: np.concatenate([np.ravel(getattr(columns[name], field)) for name in order]) for field in Column._fields
    }
    return pd.DataFrame(table, index=index)


def theta_table(problem: Problem, values: tuple[Modes, ...], name: str, level: float) -> pd.DataFrame:
    """Groups of one level: value and its interval, own deviation and its standard errors; a row a group and effect."""
    import pandas as pd

    layout = problem.layout
    i = next(i for i, here in enumerate(layout.levels) if here.name == name)
    here, modes, parts = layout.levels[i], values[i], []
    places = problem.positions[name]
    for e, variable in enumerate(layout.effect_names(here)):
        value, error = np.asarray(modes.value)[places, e], np.asarray(modes.se)[places, e]
        lower, upper = interval(value, error, np.full_like(value, np.inf), level)
        index = [f"{variable}[{label}]" for label in problem.labels[name]]
        columns = {"estimate": value, "se": error, "lower": lower, "upper": upper, "mode": modes.mode[places, e]}
        columns |= {"mode_se": modes.mode_se[places, e], "conditional_sd": modes.conditional_sd[places, e]}
        parts.append(pd.DataFrame(columns, index=index))
    return pd.concat(parts)
