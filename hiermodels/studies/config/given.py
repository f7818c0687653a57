"""A study as it was given, before it is checked: functions put back in their places, methods with what they take from
above.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from hiermodels import families
from hiermodels.models.formula import parse_formula
from hiermodels.studies.config.errors import ConfigError, nearest, shown
from hiermodels.studies.config.fields import ROLES

__all__ = ["grouping_columns", "inherited", "with_functions"]


def grouping_columns(data: Any) -> set[str]:
    """Columns that are groups in a formula of the study; formulas that cannot be read are refused where they stand."""
    if not isinstance(data, Mapping):
        return set()
    methods = data.get("methods")
    parts = [data.get("mechanisms"), *(methods.values() if isinstance(methods, Mapping) else ())]
    found: set[str] = set()
    formulas = {text for part in parts if isinstance(part, Mapping) and isinstance(text := part.get("formula"), str)}
    for formula in formulas:
        with contextlib.suppress(ValueError):
            found |= {factor for group in parse_formula(formula).groups for factor in group.factors}
    return found


def with_functions(data: Any, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """Put functions where they belong: a place, or a method's name alone."""
    methods = data.get("methods") if isinstance(data, Mapping) else None
    methods = methods if isinstance(methods, Mapping) else {}
    for place, function in functions.items():
        if not callable(function):
            raise ConfigError(
                f"expected a function; found {shown(function)}; pass the function itself",
                file="functions",
                path=(place,),
            )
        if place == "mechanisms.formula":
            data = {**data, "mechanisms": {**data["mechanisms"], "formula": function}}
            continue
        name, key = _method_of(place, methods)
        settings = methods[name]
        methods = {**methods, name: {**settings, key: function} if isinstance(settings, Mapping) else function}
        data = {**data, "methods": methods}
    return data


def _method_of(place: str, methods: Mapping[str, Any]) -> tuple[str, str]:
    """Name of the method and key in it that a place stands for."""
    name, key = place, "function"
    if place not in methods and place.startswith("methods.") and place.endswith((".function", ".formula")):
        name, _, key = place.removeprefix("methods.").rpartition(".")
    if name not in methods:
        raise ConfigError(f"unknown method {name!r}; {nearest(name, methods)}", file="functions", path=(place,))
    return name, key


def inherited(data: Any) -> Any:
    """Methods take from ``mechanisms`` what they do not name of the model."""
    if not isinstance(data, Mapping) or not isinstance(data.get("methods"), Mapping):
        return data
    above = data.get("mechanisms")
    above = above if isinstance(above, Mapping) else {}
    return {**data, "methods": {name: _from_above(above, method) for name, method in data["methods"].items()}}


def _from_above(above: Mapping[str, Any], method: Any) -> Any:
    if callable(method):
        method = {"function": method}
    if not isinstance(method, Mapping):
        return method
    family = method.get("family", above.get("family", "normal"))
    used = families.lookup(family).columns if isinstance(family, str) and family in families.__all__ else ROLES
    taken = [key for key in ("formula", "family") if key in above]
    taken += [role for role in ROLES if role in above and role in used]
    return {**{key: above[key] for key in taken}, **method}
