"""REML and ML as methods of a study: estimates of one dataset, pure and mapped over datasets."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.inference.mixed.contrasts import contrast_df, joint_test
from hiermodels.inference.mixed.identified import check_identified
from hiermodels.inference.mixed.maximum import Maximum, at_maximum
from hiermodels.inference.mixed.modes import Modes, modes
from hiermodels.inference.mixed.products import cross_products
from hiermodels.inference.mixed.shape import Shape, shape_of
from hiermodels.inference.student import student_quantile
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data, Problem
from hiermodels.quantities import INTERCEPT

__all__ = ["RESTRICTED", "check_likelihood_design", "likelihood_estimator", "likelihood_variables"]

RESTRICTED = {"reml": True, "ml": False}
"""Methods that maximise a likelihood, and whether it is the restricted one."""


def check_likelihood_design(name: str, problem: Problem) -> None:
    """Refuse designs on which the method has no estimate.

    Raises
    ------
    ValueError
        Starting with the method's name.
    """
    if not problem.layout.levels:
        raise ValueError(f"{name}: expected a group term such as (1 | school), found none in the formula; add one")
    try:
        check_identified(problem)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def likelihood_variables(layout: Layout) -> set[str]:
    """Variables that these methods give: coefficients, sds, groups' values and their means, new groups."""
    wanted = ("coefficient", "group sd", "residual sd", "group value", "mean of groups", "new group")
    return {
        name
        for name, q in layout.quantities.items()
        if q.role in wanted and (q.role != "new group" or _has_intercept(layout, q.owner))
    }


class _Row(NamedTuple):
    value: Array
    se: Array
    lower: Array
    upper: Array


@lru_cache(maxsize=256)
def likelihood_estimator(
    name: str, layout: Layout, targets: tuple[Target, ...], interval: Interval
) -> Callable[[Array, Data], Estimates]:
    """Estimates of one dataset; what a study maps over replicates.

    A singular fit has the status ``singular`` and numbers; where no maximum was found the estimates are NaN, the status
    ``nonfinite``.

    Parameters
    ----------
    name : str
        Of `RESTRICTED`.
    layout : Layout
        Of a design that `check_likelihood_design` lets pass.
    targets : tuple of Target
        Among `likelihood_variables`.
    interval : Interval
        ``equal_tailed`` and ``hdi`` are the same here.
    """
    shape, restricted = shape_of(layout), RESTRICTED[name]
    roles = [layout.quantities[target.variable] for target in targets if not target.rows]

    def estimate(key: Array, data: Data) -> Estimates:
        products = cross_products(shape, data)
        found = at_maximum(shape, restricted, products)
        groups = any(q.role in ("group value", "mean of groups") for q in roles)
        values = modes(shape, products, data, found.theta, found.variance) if groups else ()
        df = contrast_df(found, jnp.eye(shape.coefficients), restricted and not layout.known)
        rows = [
            _test(found, target, restricted and not layout.known)
            if target.rows
            else _row(shape, data, found, values, df, target.variable, interval)
            for target in targets
        ]
        value, se, lower, upper = (
            jnp.concatenate([jnp.atleast_1d(part) for part in parts]) for parts in zip(*rows, strict=True)
        )
        none = jnp.full_like(value, jnp.nan)
        one = jnp.ones((), jnp.int32)
        status = jnp.where(found.singular, STATUS.index("singular"), 0)
        status = jnp.where(jnp.isfinite(value), status, STATUS.index("nonfinite")).astype(jnp.int32)
        return Estimates(value, none, se, lower, upper, none, none, none, none, none, status, 0 * one, one)

    return estimate


def _has_intercept(layout: Layout, level: str) -> bool:
    return INTERCEPT in [layout.columns[c] for c in layout.population] and any(
        v.name == level and INTERCEPT in [layout.columns[e] for e in v.effects] for v in layout.levels
    )


def _test(found: Maximum, target: Target, approximate: bool) -> _Row:
    """1 - p of the F test that these combinations of coefficients are 0."""
    nan = jnp.full((), jnp.nan)
    return _Row(1 - joint_test(found, jnp.array(target.rows), approximate).p_value, nan, nan, nan)


def _row(
    shape: Shape, data: Data, found: Maximum, values: tuple[Modes, ...], df: Array, variable: str, interval: Interval
) -> _Row:
    layout = shape.layout
    q = layout.quantities[variable]
    p = interval.level if interval.kind == "upper" else 0.5 + interval.level / 2
    if q.role == "coefficient":
        k = [layout.columns[c] for c in layout.population].index(q.effect)
        return _symmetric(found.coefficients[k], jnp.sqrt(found.covariance[k, k]), student_quantile(p, df[k]), interval)
    if q.role == "residual sd":
        return _positive(found.sigma, found.sigma * jnp.sqrt(found.inverse[-1, -1]) / 2, ndtri(p), interval)
    i = next(i for i, level in enumerate(layout.levels) if level.name == q.owner)
    level = layout.levels[i]
    names = [layout.columns[e] for e in level.effects]
    if q.role == "group sd":
        e = names.index(q.effect)
        slope = found.sd_slopes[i][e]
        return _positive(found.sds[i][e], jnp.sqrt(jnp.maximum(slope @ found.inverse @ slope, 0.0)), ndtri(p), interval)
    if q.role == "new group":
        return _new(shape, data, found, i, p, interval)
    e = names.index(q.effect)
    if q.role == "group value":
        return _symmetric(values[i].value[:, e], values[i].se[:, e], jnp.full(level.size, ndtri(p)), interval)
    real = jnp.asarray(data.real[i])
    nan = jnp.full((), jnp.nan)
    return _Row(jnp.sum(jnp.where(real, values[i].value[:, e], 0.0)) / jnp.sum(real), nan, nan, nan)


def _symmetric(value: Array, se: Array, quantile: Array, interval: Interval) -> _Row:
    half = quantile * se
    lower = jnp.full_like(value, -jnp.inf) if interval.kind == "upper" else value - half
    return _Row(value, se, jnp.where(jnp.isnan(half), jnp.nan, lower), value + half)


def _positive(value: Array, se: Array, quantile: Array, interval: Interval) -> _Row:
    """An sd: its interval is made on its logarithm, and there is none at 0."""
    inside = (value > 0) & jnp.isfinite(se)
    safe = jnp.where(inside, value, 1.0)
    width = jnp.where(inside, quantile * se / safe, jnp.nan)
    lower = jnp.where(inside, 0.0, jnp.nan) if interval.kind == "upper" else safe * jnp.exp(-width)
    return _Row(value, jnp.where(inside, se, jnp.nan), lower, safe * jnp.exp(width))


def _new(shape: Shape, data: Data, found: Maximum, i: int, p: float, interval: Interval) -> _Row:
    """A group not in the data, predictors at 0: t with groups - 1 - p degrees of freedom (k - 2 for an intercept
    alone).
    """
    layout = shape.layout
    k = [layout.columns[c] for c in layout.population].index(INTERCEPT)
    square = found.covariance[k, k]
    for j in layout.lineage(i):
        names = [layout.columns[e] for e in layout.levels[j].effects]
        if INTERCEPT in names:
            square = square + found.sds[j][names.index(INTERCEPT)] ** 2
    there = jnp.zeros(layout.levels[i].size).at[data.group[i]].add(data.weight > 0)
    df = jnp.sum(there > 0) - 1.0 - shape.coefficients
    return _symmetric(found.coefficients[k], jnp.sqrt(square), student_quantile(p, df), interval)
