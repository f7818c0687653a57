"""Cluster trials as they are planned: intraclass correlations and coefficients of variation in the place of sds.

| truth | family | stands for |
|---|---|---|
| ``icc_school: 0.05`` | normal | ``sd_school = sigma sqrt(icc / (1 - sum of all icc))``: the school's share of the total variance |
| ``icc_school: 0.05`` | binomial | ``kappa_school = 1 / icc - 1``: the correlation of two outcomes of one school |
| ``icc_school: 0.05`` | student_t | as normal; the errors' variance is ``sigma^2 nu / (nu - 2)`` |
| ``icc_school: 0.05`` | binomial_logit, bernoulli_logit | the share on the logit scale, where the errors' variance is ``pi^2 / 3`` |
| ``cv_school: 0.25`` | poisson | ``shape_school = 1 / cv^2``: the coefficient of variation of the schools' rates |
| ``cv_school: 0.25`` | poisson_log, negative_binomial | ``sd_school = sqrt(log(1 + cv^2))``: the same of their lognormal rates |

Sources: Donner and Klar (2000), Design and Analysis of Cluster Randomization Trials in Health Research; Hayes and Moulton (2009),
Cluster Randomised Trials, section 7 (cv, their k); Goldstein, Browne and Rasbash (2002), Understanding Statistics 1, 223-231
(the logit scale).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hiermodels.models.families import lookup
from hiermodels.studies.config.errors import nearest, problem, shown

__all__ = ["without_clusters"]

_LOGISTIC = math.pi**2 / 3
"""Variance of the standard logistic law."""


def without_clusters(
    truth: Mapping[str, Any], family: str, groups: list[str], known: bool, places: Mapping[str, tuple[Any, ...]]
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """A truth with every ``icc_<g>`` and ``cv_<g>`` written as the parameter that it stands for.

    Parameters
    ----------
    truth : mapping
        Names to true values.
    family : str
    groups : list of str
        The formula's group terms.
    known : bool
        The outcome's standard errors are known.
    places : mapping
        Where in the config a value from the grid stands.

    Returns
    -------
    truth, places : dict

    Examples
    --------
    >>> found, _ = without_clusters({"sigma": 3.0, "icc_school": 0.1}, "normal", ["school"], False, {})
    >>> found
    {'sigma': 3.0, 'sd_school': 1.0}
    """
    stem = "cv_" if lookup(family).link == "log" else "icc_"
    target = lookup(family).precision
    family = lookup(family).kernel
    given = {name: value for name, value in truth.items() if name.startswith(("icc_", "cv_"))}
    if not given:
        return dict(truth), dict(places)
    numbers = {name: _number(name, value, stem, groups, places.get(name, ("truth", name))) for name, value in given.items()}
    names = {name: f"{target}_{name.partition('_')[2]}" for name in given}
    for name, own in names.items():
        if own in truth:
            raise problem(f"expected {name} or {own}; found both; remove one", places.get(name, ("truth", name)))
    values = _values(truth, family, known, numbers, places)
    found = {names.get(name, name): values.get(name, value) for name, value in truth.items()}
    return found, {names.get(name, name): at for name, at in places.items()}


def _number(name: str, value: Any, stem: str, groups: list[str], at: tuple[Any, ...]) -> float:
    known = [f"{stem}{g}" for g in groups]
    if name not in known:
        raise problem(f"unknown parameter {name!r}; {nearest(name, known)}", at)
    most = 1.0 if stem == "icc_" else math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < most:
        wanted = "a number from 0 to below 1" if stem == "icc_" else "a number of at least 0"
        raise problem(f"expected {wanted}; found {shown(value)}; write e.g. 0.05", at)
    return float(value)


def _values(
    truth: Mapping[str, Any], family: str, known: bool, numbers: Mapping[str, float], places: Mapping[str, tuple[Any, ...]]
) -> dict[str, float]:
    first = next(iter(numbers))
    at = places.get(first, ("truth", first))
    if family in ("normal", "student_t", "binomial_logit"):
        variance, rest = _error_variance(truth, family, known, first, at), 1 - sum(numbers.values())
        if rest <= 0:
            raise problem(f"expected intraclass correlations that sum to less than 1; found {1 - rest:g}; make one smaller", at)
        return {name: math.sqrt(variance) * math.sqrt(icc / rest) for name, icc in numbers.items()}
    if family in ("poisson_log", "negative_binomial"):
        return {name: math.sqrt(math.log1p(cv**2)) for name, cv in numbers.items()}
    if any(number == 0 for number in numbers.values()):
        raise problem(f"expected more than 0 for family {family}; found 0; write e.g. 0.001", at)
    return {name: 1 / number - 1 if family == "binomial" else number**-2 for name, number in numbers.items()}


def _error_variance(truth: Mapping[str, Any], family: str, known: bool, first: str, at: tuple[Any, ...]) -> float:
    """Variance of an outcome around its group, on the scale of the link."""
    if family == "binomial_logit":
        return _LOGISTIC
    sigma = truth.get("sigma")
    if known or isinstance(sigma, bool) or not isinstance(sigma, int | float):
        found = "known standard errors" if known else f"sigma: {shown(sigma)}"
        raise problem(f"expected a number for sigma beside {first}; found {found}; give sd_{first[4:]} instead", at)
    if family == "normal":
        return float(sigma) ** 2
    nu = truth.get("nu")
    if isinstance(nu, bool) or not isinstance(nu, int | float) or nu <= 2:
        raise problem(f"expected nu above 2 beside {first}, so that there is a variance; found nu: {shown(nu)}; give sd_{first[4:]} instead", at)
    return float(sigma) ** 2 * nu / (nu - 2)
