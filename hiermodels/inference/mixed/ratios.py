"""Likelihood ratio tests of nested models, with the law that holds where a variance is zero in the smaller one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from hiermodels.inference.mixed.identified import spans
from hiermodels.models.problem import Problem

__all__ = ["Fitted", "compare"]


class Fitted(NamedTuple):
    """What the comparison needs of one estimate."""

    problem: Problem
    method: str
    converged: bool
    deviance: float
    parameters: int


def compare(one: Fitted, two: Fitted) -> tuple[float, int, float, str]:
    """Statistic, difference in parameters, p-value, and which law it is from.

    Raises
    ------
    ValueError
        For fits of other rows, of other families or by other methods, REML fits with different coefficients, fits with
        as many parameters, models that are not nested, and fits without a maximum.
    """
    small, large = sorted((one, two), key=lambda fitted: fitted.parameters)
    if small.method != large.method:
        raise ValueError(
            "likelihood_ratio: one fit is by REML and one by maximum likelihood, so they do not compare; use one "
            "method for both"
        )
    first, second = small.problem, large.problem
    if first.layout.family != second.layout.family:
        raise ValueError(
            f"likelihood_ratio: one fit is of family {first.model.family} and one of {second.model.family}, so they do "
            f"not compare; use one family for both"
        )
    if first.layout.known != second.layout.known or not np.array_equal(first.data.y, second.data.y):
        raise ValueError(
            "likelihood_ratio: the fits have different outcomes, so they do not compare; estimate both on the same rows"
        )
    if not all(np.array_equal(getattr(first.data, c), getattr(second.data, c)) for c in ("weight", "size")):
        raise ValueError(
            "likelihood_ratio: the fits have different weights, known errors, trials or exposures, so they do not "
            "compare; give both the same"
        )
    if not _sorted_alike(first, second):
        raise ValueError(
            "likelihood_ratio: the fits have groups of the same name with other rows in them, so they do not compare; "
            "estimate both on the same rows"
        )
    if not small.converged or not large.converged:
        raise ValueError(
            "likelihood_ratio: a fit has no maximum (status no_convergence), so there is no ratio; simplify its "
            "group terms"
        )
    x, wider = (_coefficients(problem) for problem in (first, second))
    inside = spans(wider, x)
    if small.method == "reml" and not (inside and x.shape[1] == wider.shape[1]):
        raise ValueError(
            "likelihood_ratio: two REML fits with different coefficients are likelihoods of different contrasts of "
            "y, so they do not compare; "
            "estimate both with method='ml', or use test(...)"
        )
    fewer = _variances(second) - _variances(first)
    if small.parameters == large.parameters or not inside or _variances(first) - _variances(second):
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


def _sorted_alike(small: Problem, large: Problem) -> bool:
    """Whether each grouping that both models have sorts the rows alike."""
    rows = np.asarray(small.data.weight) > 0
    sorted_by = {
        level.name: np.asarray(group)[rows] for level, group in zip(large.layout.levels, large.data.group, strict=True)
    }
    pairs = [
        np.stack([np.asarray(group)[rows], sorted_by[level.name]])
        for level, group in zip(small.layout.levels, small.data.group, strict=True)
        if level.name in sorted_by
    ]
    return all(np.unique(pair, axis=1).shape[1] == len(np.unique(one)) for pair in pairs for one in pair)


def _variances(problem: Problem) -> set[tuple[str, str, str]]:
    """Variances and covariances of the group terms: grouping, effect, effect."""
    found, layout = set(), problem.layout
    for level in layout.levels:
        for block in level.blocks:
            names = [layout.columns[level.effects[b]] for b in block]
            found |= {(level.name, *sorted((a, b))) for i, a in enumerate(names) for b in names[: i + 1]}
    return found  # type: ignore[return-value]
