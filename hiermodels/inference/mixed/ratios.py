"""Likelihood ratio tests of nested normal models, with the law that holds where a variance is zero in the smaller
one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from hiermodels.models.problem import Problem

__all__ = ["Fitted", "compare"]


class Fitted(NamedTuple):
    """What the comparison needs of one estimate."""

    problem: Problem
    y: np.ndarray
    method: str
    converged: bool
    deviance: float
    parameters: int


def compare(one: Fitted, two: Fitted) -> tuple[float, int, float, str]:
    """Statistic, difference in parameters, p-value, and which law it is from.

    Raises
    ------
    ValueError
        For fits of other rows or by other methods, REML fits with different coefficients, fits with as many parameters,
        models that are not
        nested, and fits without a maximum.
    """
    small, large = sorted((one, two), key=lambda fitted: fitted.parameters)
    if small.method != large.method:
        raise ValueError(
            "likelihood_ratio: one fit is by REML and one by maximum likelihood, so they do not compare; use one "
            "method for both"
        )
    if small.problem.layout.known != large.problem.layout.known or not np.array_equal(small.y, large.y):
        raise ValueError(
            "likelihood_ratio: the fits have different outcomes, so they do not compare; estimate both on the same rows"
        )
    if not np.array_equal(small.problem.data.weight, large.problem.data.weight):
        raise ValueError(
            "likelihood_ratio: the fits have different weights or known errors, so they do not compare; give both "
            "the same"
        )
    if not small.converged or not large.converged:
        raise ValueError(
            "likelihood_ratio: a fit has no maximum (status no_convergence), so there is no ratio; simplify its "
            "group terms"
        )
    x, wider = (_coefficients(fitted.problem) for fitted in (small, large))
    same = x.shape[1] == wider.shape[1] and _within(x, wider)
    if small.method == "reml" and not same:
        raise ValueError(
            "likelihood_ratio: two REML fits with different coefficients are likelihoods of different contrasts of "
            "y, so they do not compare; "
            "estimate both with method='ml', or use test(...)"
        )
    fewer = _variances(large.problem) - _variances(small.problem)
    if (
        small.parameters == large.parameters
        or not _within(x, wider)
        or _variances(small.problem) - _variances(large.problem)
    ):
        raise ValueError(
            "likelihood_ratio: expected one model within the other, found parameters in each that the other has not; "
            "nest them"
        )
    statistic, df = max(small.deviance - large.deviance, 0.0), large.parameters - small.parameters
    sds = [entry for entry in fewer if entry[1] == entry[2]]
    others = len(fewer) - len(sds)
    if len(sds) == 1 and len(fewer) == df:
        k = others
        lower = float(chi2.sf(statistic, k)) if k else float(statistic <= 0)
        p = 0.5 * lower + 0.5 * float(chi2.sf(statistic, k + 1))
        return (
            statistic,
            df,
            p,
            f"half chi-square({k}), half chi-square({k + 1}): a variance is zero in the smaller model",
        )
    reference = f"chi-square({df})"
    if sds:
        reference += ": variances are zero in the smaller model, so that p is too large"
    return statistic, df, float(chi2.sf(statistic, df)), reference


def _coefficients(problem: Problem) -> np.ndarray:
    rows = np.asarray(problem.data.weight) > 0
    return np.asarray(problem.data.x)[rows][:, list(problem.layout.population)]


def _within(x: np.ndarray, wider: np.ndarray) -> bool:
    """Whether columns lie in the span of others."""
    if not x.shape[1]:
        return True
    if x.shape[1] > wider.shape[1]:
        return False
    size = np.linalg.norm(wider, axis=0)
    scaled = wider / np.where(size > 0, size, 1.0)
    left = x - scaled @ np.linalg.lstsq(scaled, x, rcond=None)[0]
    return bool(np.all(np.linalg.norm(left, axis=0) <= 1e-8 * np.linalg.norm(x, axis=0)))


def _variances(problem: Problem) -> set[tuple[str, str, str]]:
    """Variances and covariances of the group terms: grouping, effect, effect."""
    found, layout = set(), problem.layout
    for level in layout.levels:
        for block in level.blocks:
            names = [layout.columns[level.effects[b]] for b in block]
            found |= {(level.name, *sorted((a, b))) for i, a in enumerate(names) for b in names[: i + 1]}
    return found  # type: ignore[return-value]
