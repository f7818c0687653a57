"""Cluster trials as they are planned: intraclass correlations and coefficients of variation in the place of sds.

| truth | family | stands for |
|---|---|---|
| ``icc_school: 0.05`` | normal | ``sd_school = sigma sqrt(icc / (1 - sum of all icc))``: the school's share of the total variance |
| ``icc_school: 0.05`` | binomial | ``kappa_school = 1 / icc - 1``: the correlation of two outcomes of one school |
| ``cv_school: 0.25`` | poisson | ``shape_school = 1 / cv^2``: the coefficient of variation of the schools' rates |

Sources: Donner and Klar (2000), Design and Analysis of Cluster Randomization Trials in Health Research; Hayes and Moulton (2009),
Cluster Randomised Trials, section 7 (cv, their k).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hiermodels.models.families import lookup
from hiermodels.studies.config.errors import nearest, problem, shown

__all__ = ["without_clusters"]

STEMS = {"normal": "icc_", "binomial": "icc_", "poisson": "cv_"}


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
    family = lookup(family).kernel
    stem = STEMS.get(family, "icc_")
    given = {name: value for name, value in truth.items() if name.startswith(("icc_", "cv_"))}
    if not given:
        return dict(truth), dict(places)
    if family not in STEMS:
        first = next(iter(given))
        raise problem(f"expected sd_{first.partition('_')[2]} for family {family}; found {first}; give the sd", places.get(first, ("truth", first)))
    numbers = {name: _number(name, value, stem, groups, places.get(name, ("truth", name))) for name, value in given.items()}
    names = {name: f"{_target(family)}_{name.partition('_')[2]}" for name in given}
    for name, target in names.items():
        if target in truth:
            raise problem(f"expected {name} or {target}; found both; remove one", places.get(name, ("truth", name)))
    values = _values(truth, family, known, numbers, places)
    found = {names.get(name, name): values.get(name, value) for name, value in truth.items()}
    return found, {names.get(name, name): at for name, at in places.items()}


def _target(family: str) -> str:
    return {"normal": "sd", "binomial": "kappa", "poisson": "shape"}[family]


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
    if family == "normal":
        sigma, rest = truth.get("sigma"), 1 - sum(numbers.values())
        if known or isinstance(sigma, bool) or not isinstance(sigma, int | float):
            found = "known standard errors" if known else f"sigma: {shown(sigma)}"
            raise problem(f"expected a number for sigma beside {first}; found {found}; give sd_{first[4:]} instead", at)
        if rest <= 0:
            raise problem(f"expected intraclass correlations that sum to less than 1; found {1 - rest:g}; make one smaller", at)
        return {name: float(sigma) * math.sqrt(icc / rest) for name, icc in numbers.items()}
    if any(number == 0 for number in numbers.values()):
        raise problem(f"expected more than 0 for family {family}; found 0; write e.g. 0.001", at)
    return {name: 1 / number - 1 if family == "binomial" else number**-2 for name, number in numbers.items()}
