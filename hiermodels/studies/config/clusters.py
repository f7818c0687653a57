"""Cluster trials as they are planned: intraclass correlations and coefficients of variation in the place of sds.

| truth | family | stands for |
|---|---|---|
| ``icc_school: 0.05`` | normal | ``sd_school = sigma sqrt(icc / (1 - sum of all icc))``: the school's share of the total variance |
| ``icc_school: 0.05`` | binomial | ``kappa_school = 1 / icc - 1``: the correlation of two outcomes of one school |
| ``icc_school: 0.05`` | student_t | as normal; the errors' variance is ``sigma^2 nu / (nu - 2)`` |
| the same, with weights | normal, student_t | as there, ``sigma^2`` over the mean weight: of an average row |
| ``icc_school: 0.05`` | binomial_logit, bernoulli_logit | the share on the logit scale, where the errors' variance is ``pi^2 / 3`` |
| ``cv_school: 0.25`` | gamma populations | ``shape_school = 1 / cv^2``: the coefficient of variation of the schools' rates |
| ``cv_school: 0.25`` | normal groups, log link | ``sd_school = sqrt(log(1 + cv^2))``: the same of their lognormal means |

Sources: Donner and Klar (2000), Design and Analysis of Cluster Randomization Trials in Health Research; Hayes and
Moulton (2009), Cluster Randomised Trials, section 7 (cv, their k); Goldstein, Browne and Rasbash (2002), Understanding
Statistics 1, 223-231 (the logit scale).
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hiermodels.families import lookup
from hiermodels.families.family import Family
from hiermodels.quantities import Quantity
from hiermodels.studies.config.errors import nearest, problem, shown

__all__ = ["cluster_words", "without_clusters"]

_STEMS = ("icc", "cv")


def cluster_words(family: str, known: Mapping[str, Quantity]) -> list[str]:
    """Names under which a truth can hold an intraclass correlation or a coefficient of variation.

    Examples
    --------
    >>> from hiermodels.models.names import declared
    >>> from hiermodels.models.spec import Model
    >>> cluster_words("normal", declared(Model("y ~ 1 + (1 | school)")))
    ['icc_school']
    """
    return [f"{_stem(family)}_{group}" for group in _groups(known)]


def without_clusters(
    truth: Mapping[str, Any],
    family: str,
    known: Mapping[str, Quantity],
    known_se: bool,
    places: Mapping[str, tuple[Any, ...]],
    weight: float = 1.0,
) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """A truth with every ``icc_<g>`` and ``cv_<g>`` written as the parameter that it stands for.

    Parameters
    ----------
    truth : mapping
        Names to true values.
    family : str
    known : mapping of str to Quantity
        What the formula names.
    known_se : bool
        The outcome's standard errors are known.
    places : mapping
        Where in the config a value from the grid stands.
    weight : float
        Mean weight of the design's rows: the errors' variance of an average row is ``sigma^2`` over it.

    Returns
    -------
    truth, places : dict

    Examples
    --------
    >>> from hiermodels.models.names import declared
    >>> from hiermodels.models.spec import Model
    >>> known = declared(Model("y ~ 1 + (1 | school)"))
    >>> found, _ = without_clusters({"sigma": 3.0, "icc_school": 0.1}, "normal", known, False, {})
    >>> found
    {'sigma': 3.0, 'sd_school': 1.0}
    """
    groups = {f"{stem}_{group}": group for group in _groups(known) for stem in _STEMS}
    given = {name: value for name, value in truth.items() if name in groups}
    if not given:
        return dict(truth), dict(places)
    numbers = {
        name: _number(name, value, family, known, places.get(name, ("truth", name))) for name, value in given.items()
    }
    names = {name: f"{lookup(family).precision}_{groups[name]}" for name in given}
    for name, own in names.items():
        if own in truth:
            raise problem(f"expected {name} or {own}; found both; remove one", places.get(name, ("truth", name)))
    values = _values(truth, lookup(family).kernel, known_se, numbers, places, names, weight)
    found = {names.get(name, name): values.get(name, value) for name, value in truth.items()}
    return found, {names.get(name, name): at for name, at in places.items()}


def _stem(family: str) -> str:
    return "cv" if lookup(family).link.kind == "positive" else "icc"


def _groups(known: Mapping[str, Quantity]) -> list[str]:
    return list(dict.fromkeys(q.owner for q in known.values() if q.role == "new group"))


def _number(name: str, value: Any, family: str, known: Mapping[str, Quantity], at: tuple[Any, ...]) -> float:
    words, correlation = cluster_words(family, known), _stem(family) == "icc"
    if name in known:
        raise problem(
            f"expected one quantity of a name; found {name!r}, {known[name].words} and a word of the group's spread; "
            f"rename the column",
            at,
        )
    if name not in words:
        raise problem(f"unknown parameter {name!r}; {nearest(name, words)}", at)
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < (1.0 if correlation else math.inf)
    ):
        wanted = "a number from 0 to below 1" if correlation else "a number of at least 0"
        raise problem(f"expected {wanted}; found {shown(value)}; write e.g. 0.05", at)
    return float(value)


def _values(
    truth: Mapping[str, Any],
    family: str,
    known: bool,
    numbers: Mapping[str, float],
    places: Mapping[str, tuple[Any, ...]],
    names: Mapping[str, str],
    weight: float,
) -> dict[str, float]:
    first = next(iter(numbers))
    at, law = places.get(first, ("truth", first)), lookup(family)
    if not law.population.normal:
        if any(number == 0 for number in numbers.values()):
            raise problem(f"expected more than 0 for family {family}; found 0; write e.g. 0.001", at)
        return {name: law.population.concentration_of(number) for name, number in numbers.items()}
    if _stem(family) == "cv":
        return law.sds_of(numbers, math.nan)
    variance, rest = _error_variance(truth, law, known, first, names[first], weight, at), 1 - sum(numbers.values())
    if rest <= 0:
        raise problem(
            f"expected intraclass correlations that sum to less than 1; found {1 - rest:g}; make one smaller", at
        )
    return law.sds_of(numbers, variance)


def _error_variance(
    truth: Mapping[str, Any], law: Family, known: bool, first: str, own: str, weight: float, at: tuple[Any, ...]
) -> float:
    """Variance of an outcome around its group, on the scale of the link."""
    values, others = {}, [q.name for q in law.own if q.role != "residual sd"]
    for q in law.own:
        value, residual = truth.get(q.name), q.role == "residual sd"
        if (known and residual) or isinstance(value, bool) or not isinstance(value, int | float):
            if not residual and law.finite:
                break
            found = "known standard errors" if known and residual else f"{q.name}: {shown(value)}"
            raise problem(f"expected a number for {q.name} beside {first}; found {found}; give {own} instead", at)
        values[q.name] = np.float64(value)
    found_variance = (
        law.residual_variance(values, np.full(1, weight), False) if len(values) == len(law.own) else math.inf
    )
    if found_variance is None:
        raise problem(
            f"expected a family whose rows have one variance on the {law.link} scale beside {first}; found "
            f"{law.name}; give {own} instead",
            at,
        )
    variance = float(found_variance)
    if not math.isfinite(variance):
        found = ", ".join(f"{name}: {shown(truth.get(name))}" for name in others)
        raise problem(
            f"expected {law.finite} beside {first}, so that there is a variance; found {found}; give {own} instead", at
        )
    return variance
