r"""Estimators without draws on a model that has met its design: which data they take, which variables they give.

    direct_estimator(name, settings, layout, targets, interval)  -> estimate(key, data) -> Estimates

The functions are those of `hiermodels.inference.estimators` and `hiermodels.inference.frequentist`; the names of their
arrays say what they need:

| arrays | from | where |
|---|---|---|
| y, variance | group means, 1 / sum of precisions | ``(1 \| g)``, normal with known standard errors |
| y, variance | s / n with the variance under the pooled rate, p (1 - p) / n or rate / exposure | ``(1 \| g)``, binomial or poisson |
| successes, trials | sums over a group | ``(1 \| g)``, binomial |
| mean, size, within, treated | of clusters | ``1 + x + (1 \| g)``, normal, x constant within clusters |

``reml`` and ``ml`` of a normal outcome take the rows' cross products instead (`hiermodels.inference.mixed`), so that
every normal model will do: nested and crossed groups, slopes, predictors, known variances or not.
"""  # noqa: E501

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Literal, get_args, get_origin

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtri

from hiermodels.inference import estimators, frequentist
from hiermodels.inference.draws import Estimates
from hiermodels.inference.mixed.mapped import (
    RESTRICTED,
    check_likelihood_design,
    likelihood_estimator,
    likelihood_variables,
)
from hiermodels.inference.point_estimates import PointEstimates, data_names, setting_names
from hiermodels.inference.student import student_quantile
from hiermodels.inference.summaries import Interval, Target, judge
from hiermodels.models.counts import rate_name
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data, Problem
from hiermodels.models.tree import tree_of
from hiermodels.quantities import sd_name, theta_name

__all__ = [
    "available_directly",
    "check_design",
    "describe",
    "direct_estimator",
    "has_tests",
    "lookup",
    "menu",
    "read_settings",
]

Settings = tuple[tuple[str, Any], ...]


def menu() -> dict[str, Callable[..., PointEstimates]]:
    """Every estimator without draws, by name.

    Examples
    --------
    >>> "james_stein" in menu(), "hksj" in menu()
    (True, True)
    """
    return {name: getattr(module, name) for module in (estimators, frequentist) for name in module.__all__}


def lookup(name: str) -> Callable[..., PointEstimates]:
    """The estimator of this name.

    Raises
    ------
    ValueError
        With the nearest right name.

    Examples
    --------
    >>> lookup("james_stien")
    Traceback (most recent call last):
    ValueError: estimator: unknown estimator 'james_stien'; did you mean 'james_stein'?
    """
    found = menu()
    if isinstance(name, str) and name in found:
        return found[name]
    near = difflib.get_close_matches(str(name), found, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(found)}"
    raise ValueError(f"estimator: unknown estimator {name!r}; {hint}")


def describe(name: str) -> str:
    """An estimator's name and the first line of its documentation.

    Examples
    --------
    >>> describe("morris").partition(":")[0]
    'morris'
    """
    return f"{name}: {(lookup(name).__doc__ or '').strip().splitlines()[0]}"


def read_settings(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an estimator, checked against its signature.

    Raises
    ------
    ValueError
        Starting with the setting's name, or with ``estimator`` for one that does not exist.

    Examples
    --------
    >>> read_settings("compromise", {"weight": 1})
    {'weight': 1.0}
    """
    known = setting_names(lookup(name))
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else f"its settings are {', '.join(known)}"
                if known
                else "it has no settings"
            )
            raise ValueError(f"{key}: {name} has no setting {key!r}; {hint}")
    return {key: _setting(key, value, known[key].annotation) for key, value in given.items()}


def _setting(key: str, value: Any, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            near = difflib.get_close_matches(str(value), get_args(kind), 1)
            hint = f"did you mean {near[0]!r}?" if near else "choose one"
            raise ValueError(f"{key}: expected one of {', '.join(get_args(kind))}; found {value!r}; {hint}")
        return value
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{key}: expected true or false; found {value!r}; write one of them")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{key}: expected a number from 0 to 1; found {value!r}; write e.g. {key}: 0.5")
    return float(value)


def _maximises(name: str, layout: Layout) -> bool:
    """Whether the method maximises the likelihood of the rows, rather than that of group means."""
    return name in RESTRICTED and layout.gaussian


def has_tests(name: str, problem: Problem) -> bool:
    """Whether an estimator tests terms of this model's formula."""
    return _maximises(name, problem.layout)


# what an estimator needs of a design
# ------------------------------------------------------------------------------------


def check_design(name: str, problem: Problem) -> None:
    """Refuse a design that an estimator does not apply to.

    Raises
    ------
    ValueError
        Naming the estimator, what it needs, what was found and the way out.
    """
    layout, data = problem.layout, problem.data
    if _maximises(name, layout):
        check_likelihood_design(name, problem)
        return
    needs = data_names(lookup(name))
    names = [layout.columns[c] for c in layout.population]
    if not layout.levels:
        raise ValueError(f"{name}: expected a group term such as (1 | school), found none in the formula; add one")
    slope = next((e for v in layout.levels for e in v.effects if layout.columns[e] != "Intercept"), None)
    if slope is not None:
        raise ValueError(
            f"{name}: expected groups that differ in their mean alone, found a slope of {layout.columns[slope]}; "
            f"drop it"
        )
    if len(layout.levels) > 1 and name != "cluster_t":
        raise ValueError(
            f"{name}: expected one grouping, found {', '.join(v.name for v in layout.levels)}; write (1 | g) with "
            f"one of them"
        )
    if needs[0] == "mean":
        _check_clusters(name, needs, problem, names)
        return
    if names != ["Intercept"]:
        found = ", ".join(n for n in names if n != "Intercept") or "no intercept"
        raise ValueError(
            f"{name}: expected 1 + (1 | {layout.levels[0].name}), found {found}; write the method's own formula"
        )
    if not layout.law.conjugate or (layout.law.measured and not layout.gaussian):
        raise ValueError(
            f"{name}: expected family normal, binomial or poisson, found {layout.family}; use sampler='nuts'"
        )
    if needs[0] == "successes" and (layout.normal_groups or not layout.law.tried):
        raise ValueError(f"{name}: expected binomial counts, found family {layout.family}; use james_stein")
    if layout.gaussian and not layout.known:
        raise ValueError(
            f"{name}: expected known standard errors, found an unknown sigma; give known_se, or use cluster_t or a "
            f"sampler"
        )
    if len(data.real[0]) < 2:
        raise ValueError(f"{name}: expected at least 2 groups, found {len(data.real[0])}; nothing can be pooled")


def _check_clusters(name: str, needs: tuple[str, ...], problem: Problem, names: list[str]) -> None:
    layout, data = problem.layout, problem.data
    real = data.weight > 0
    if not layout.gaussian or layout.known or np.ptp(data.weight[real]) > 0:
        found = "known standard errors or weights" if layout.gaussian else f"family {layout.family}"
        raise ValueError(f"{name}: expected a normal outcome with one unknown sigma, found {found}; use another method")
    if len(names) != 2 or names[0] != "Intercept":
        found = ", ".join(names[1:]) or "no predictor"
        raise ValueError(
            f"{name}: expected an intercept and one predictor of clusters, found {found}; write y ~ 1 + treated + (1 "
            f"| g)"
        )
    x, group, level = data.x[real, layout.population[1]], data.group[0][real], layout.levels[0]
    value = np.zeros(level.size)
    value[group] = x
    if (value[group] != x).any():
        raise ValueError(
            f"{name}: expected a predictor of clusters, but {names[1]} varies within {level.name}; use a sampler"
        )
    present = np.unique(group)
    if name == "cluster_t" and len(np.unique(value[present])) != 2:
        arms = len(np.unique(value[present]))
        raise ValueError(f"{name}: expected two values of {names[1]}, found {arms}; use satterthwaite or a sampler")
    if len(present) < 3 or len(np.unique(value[present])) < 2:
        raise ValueError(
            f"{name}: expected at least 3 clusters in two arms of {names[1]}, found {len(present)}; enlarge the design"
        )
    if "within" in needs and real.sum() == len(present):
        raise ValueError(
            f"{name}: expected clusters with more than one outcome, found one in each; enlarge obs or use cluster_t"
        )


# from a dataset to arrays, from arrays to variables
# ---------------------------------------------------------------------


def _sums(layout: Layout, data: Data, *columns: Array) -> list[Array]:
    """Sums of columns over the groups of the coarsest level."""
    return [tree_of(layout, data).sum_rows(column, 0) for column in columns]


def _arrays(needs: tuple[str, ...], layout: Layout, data: Data) -> list[Array]:
    """An estimator's arrays, one entry a (padded) group; nothing where a group has no data."""
    if needs[0] == "mean":
        return _clusters(needs, layout, data)
    if layout.gaussian:
        precision, total = _sums(layout, data, data.weight, data.weight * data.y)
        there = precision > 0
        safe = jnp.where(there, precision, 1.0)
        return [jnp.where(there, total / safe, 0.0), jnp.where(there, 1 / safe, jnp.inf)]
    successes, size = _sums(layout, data, data.y, data.size)
    if needs[0] == "successes":
        return [successes, size]
    there = size > 0
    safe = jnp.where(there, size, 1.0)
    pooled = jnp.sum(successes) / jnp.sum(size)
    one = layout.law.told(1.0, pooled)
    variance = jnp.maximum(one, 1e-30) / safe  # every count 0 leaves no variance: then all groups are equal anyhow
    return [successes / safe, jnp.where(there, variance, jnp.inf)]


def _clusters(needs: tuple[str, ...], layout: Layout, data: Data) -> list[Array]:
    rows = (data.weight > 0).astype(data.y.dtype)
    x = data.x[:, layout.population[1]]
    size, total, treated = _sums(layout, data, rows, rows * data.y, rows * x)
    safe = jnp.maximum(size, 1.0)
    mean = total / safe
    (within,) = _sums(layout, data, rows * (data.y - tree_of(layout, data).at_rows(mean, 0)) ** 2)
    found = {"mean": mean, "size": size, "within": within, "treated": treated / safe}
    return [found[name] for name in needs]


def _variables(layout: Layout, data: Data, found: PointEstimates) -> dict[str, tuple[Any, Any, Any]]:
    """Value, standard error or None, degrees of freedom or None of each variable; entries that are None do not
    exist.
    """
    level = layout.levels[0].name
    theta = theta_name(level, "Intercept")
    real = jnp.asarray(data.real[0])
    every = found.theta if found.centre is None else jnp.where(jnp.isnan(found.theta), found.centre, found.theta)
    average = None if every is None else jnp.sum(jnp.where(real, every, 0.0)) / jnp.sum(real)
    names = [layout.columns[c] for c in layout.population]
    centre = "Intercept" if layout.gaussian else rate_name(layout)
    table = {
        theta: (found.theta, found.theta_se, None),
        f"mean({theta})": (average, found.average_se, None),
        str(centre): (found.mean, found.mean_se, found.mean_df),
        f"new({level})": (None if found.new_se is None else found.mean, found.new_se, found.new_df),
        "sigma": (found.sigma, None, None),
    }
    if layout.gaussian:
        table[sd_name(level, "Intercept")] = (found.sd, None, None)
    if len(names) > 1:
        table[names[1]] = (found.effect, found.effect_se, found.effect_df)
    return {name: row for name, row in table.items() if row[0] is not None}


def available_directly(name: str, settings: Settings, problem: Problem) -> set[str]:
    """Variables that an estimator gives on a design that it applies to."""
    layout, function = problem.layout, _with(name, settings)
    if _maximises(name, layout):
        return likelihood_variables(layout)

    def every(data: Data) -> dict[str, Any]:
        return {
            k: v[0]
            for k, v in _variables(layout, data, function(*_arrays(data_names(lookup(name)), layout, data))).items()
        }

    return set(jax.eval_shape(every, jax.tree.map(jnp.asarray, problem.data)))


def _with(name: str, settings: Settings) -> Callable[..., PointEstimates]:
    function, given = lookup(name), dict(settings)
    return lambda *arrays: function(*arrays, **given)


@lru_cache(maxsize=256)
def direct_estimator(
    name: str, settings: Settings, layout: Layout, targets: tuple[Target, ...], interval: Interval
) -> Callable[[Array, Data], Estimates]:
    """Estimates of one dataset by an estimator without draws; what a study maps over replicates.

    Parameters
    ----------
    name : str
    settings : tuple of (name, value)
    layout : Layout
        Of a design that `check_design` lets pass.
    targets : tuple of Target
        Among `available_directly`; ``point`` is ignored, there is one point estimate.
    interval : Interval
        ``equal_tailed`` and ``hdi`` are the same here.

    Returns
    -------
    callable
        ``estimate(key, data) -> Estimates``; pure, jittable, the key unused.
    """
    if _maximises(name, layout):
        return likelihood_estimator(name, layout, targets, interval)
    function, needs = _with(name, settings), data_names(lookup(name))

    def estimate(key: Array, data: Data) -> Estimates:
        variables = _variables(layout, data, function(*_arrays(needs, layout, data)))
        rows = [_row(*variables[target.variable], interval) for target in targets]
        value, se, lower, upper = (jnp.concatenate(part) for part in zip(*rows, strict=True))
        none = jnp.full_like(value, jnp.nan)
        one = jnp.ones((), jnp.int32)
        return Estimates(value, none, se, lower, upper, none, none, none, none, none, judge(value), 0 * one, one)

    return estimate


def _row(value: Array, se: Array | None, df: Array | None, interval: Interval) -> tuple[Array, Array, Array, Array]:
    value = jnp.atleast_1d(value)
    if se is None:
        return (value, *(jnp.full_like(value, jnp.nan),) * 3)
    se = jnp.broadcast_to(se, value.shape)
    one_sided = interval.kind == "upper"
    p = interval.level if one_sided else 0.5 + interval.level / 2
    half = (ndtri(p) if df is None else student_quantile(p, df)) * se
    return value, se, jnp.full_like(value, -jnp.inf) if one_sided else value - half, value + half
