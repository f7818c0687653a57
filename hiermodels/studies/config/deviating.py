"""The key ``deviation`` of mechanisms: what it may say, and its plain form.

What the words do is in `hiermodels.studies.mechanisms.deviations`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hiermodels import families
from hiermodels.studies.config.errors import nearest, problem, shown, within

__all__ = ["DEVIATIONS", "PREFIX", "canonical", "check_deviation", "deviation_schema", "read_deviations"]

PREFIX = "deviation."
"""Begins a factor of the grid that is a key of ``deviation``."""

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_LAW = re.compile(rf"([A-Za-z_]\w*)\s*(?:\(\s*({_NUMBER}(?:\s*,\s*{_NUMBER})*)?\s*\))?")

_SHAPES: dict[str, tuple[str, Callable[..., bool], str]] = {
    "student_t": ("student_t(3)", lambda df: df > 2, "more than 2 degrees of freedom, so that there is a variance"),
    "skewed": ("skewed(1.5)", lambda s: 0 < abs(s) <= 10, "a skewness from -10 to 10 that is not 0"),
    "outliers": (
        "outliers(0.05, 5)",
        lambda p, f: 0 < p < 1 and f > 0,
        "a share between 0 and 1 and a positive factor",
    ),
    "mixture": ("mixture(4)", lambda d: d > 0, "a positive distance"),
}
_LAWS: dict[str, tuple[str, Callable[..., bool], str]] = {
    **_SHAPES,
    "logit_normal": ("logit_normal", lambda: True, ""),
    "lognormal": ("lognormal", lambda: True, ""),
    "correlated": ("correlated(0.3)", lambda r: 0 < r < 1, "a correlation between 0 and 1"),
    "clustered": (
        "clustered(4, 0.5)",
        lambda n, r: n >= 1 and n == int(n) and 0 < r < 1,
        "a whole number of clusters and a correlation between 0 and 1",
    ),
    "informative": ("informative(1)", lambda a: a != 0, "a strength that is not 0"),
}
"""Law: how it is written, what its numbers must be, in words."""


def _with(key: str) -> tuple[str, ...]:
    """Families whose rows can deviate so."""
    return tuple(name for name, law in families.MENU.items() if key in law.deviations)


_NORMAL = tuple(name for name in families.__all__ if families.lookup(name).population.normal)
"""Families with normal groups, on the scale of their link."""
_TEXTS: dict[str, dict[str, tuple[str, ...]]] = {
    "effects": {
        **dict.fromkeys(_NORMAL, tuple(_SHAPES)),
        **{name: (law.population.other,) for name, law in families.MENU.items() if not law.population.normal},
    },
    "errors": dict.fromkeys(_with("errors"), tuple(_SHAPES)),
    "dependence": dict.fromkeys(_NORMAL, ("correlated", "clustered")),
    "sizes": dict.fromkeys(families.__all__, ("informative",)),
}
"""Key to families to laws."""
_NUMBERS: dict[str, tuple[tuple[str, ...], Callable[[float], bool], str]] = {
    "heteroscedastic": (_with("heteroscedastic"), lambda x: x >= 0, "a coefficient of variation of at least 0"),
    "overdispersion": (_with("overdispersion"), lambda x: x >= 0, "a number of at least 0"),
    "missing": (tuple(families.__all__), lambda x: 0 <= x < 1, "a share from 0 to below 1"),
}
DEVIATIONS = ("effects", "errors", "heteroscedastic", "overdispersion", "dependence", "missing", "sizes")
"""Keys of ``deviation``."""

_BY_LEVEL = ("effects", "heteroscedastic", "dependence", "missing", "sizes")


def check_deviation(value: Any) -> dict[str, Any]:
    """The key as a config gives it: known keys with texts, numbers or mappings of group term to one of these."""
    if not isinstance(value, Mapping):
        raise problem(f"expected key: value; found {shown(value)}; write e.g. {{effects: student_t(3)}}")
    for key, entry in value.items():
        if key not in DEVIATIONS:
            raise problem(f"unknown key {key!r}; {nearest(key, DEVIATIONS)}", (key,))
        if isinstance(entry, Mapping) and key not in _BY_LEVEL:
            raise problem(f"expected one {'text' if key in _TEXTS else 'number'}; found a mapping; write one", (key,))
    return {k: dict(v) if isinstance(v, Mapping) else v for k, v in value.items()}


def canonical(
    given: Mapping[str, Any], family: str, groups: Sequence[str], places: Mapping[str, tuple[Any, ...]]
) -> dict[str, Any]:
    """A cell's deviation as plain data; what changes nothing is left out.

    Parameters
    ----------
    given : mapping
        The key's entries with those of the cell's row of the grid on top.
    family : str
    groups : sequence of str
        Group terms of the mechanism's formula.
    places : mapping
        Where in the config an entry stands that comes from the grid.

    Examples
    --------
    >>> canonical({"effects": "student_t(3)", "missing": 0}, "normal", ["school"], {})
    {'effects': {'school': 'student_t(3)'}}
    """
    found: dict[str, Any] = {}
    for key, entry in given.items():
        with within(*places.get(key, ("deviation", key))):
            if key not in _BY_LEVEL:
                by_level = {"": entry}
            elif isinstance(entry, Mapping):
                by_level = dict(entry)
            else:
                by_level = _everywhere(key, entry, groups)
            for name, one in by_level.items():
                if name and name not in groups:
                    raise problem(f"unknown group term {name!r}; {nearest(name, groups)}", (name,))
                plain = _one(key, one, family)
                if plain is not None:
                    found.setdefault(key, {})[name] = plain
    return {key: entry[""] if key not in _BY_LEVEL else entry for key, entry in found.items()}


def _everywhere(key: str, entry: Any, groups: Sequence[str]) -> dict[str, Any]:
    if not groups:
        raise problem(f"expected a formula with a group term such as (1 | school); found none; remove {key}")
    if len(groups) > 1 and key != "effects" and entry not in (0, "none"):
        raise problem(
            f"expected to be told which grouping is meant; found {shown(entry)}; write {{{groups[0]}: {entry}}}"
        )
    return dict.fromkeys(groups, entry)


def _one(key: str, value: Any, family: str) -> str | float | None:
    """One text or number, checked; None where it changes nothing."""
    if key in _NUMBERS:
        wanted_of, rule, wanted = _NUMBERS[key]
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        correlation = key == "overdispersion" and families.lookup(family).tried
        if not number or not rule(value) or (correlation and value >= 1):
            extra = " and below 1 (a correlation)" if correlation else ""
            raise problem(f"expected {wanted}{extra}; found {shown(value)}; write e.g. 0.2")
        if value and family not in wanted_of:
            raise problem(
                f"expected family {' or '.join(wanted_of)} for {key}; found {family}; {_instead(key, family)}"
            )
        return float(value) or None
    if isinstance(value, str) and value.strip() in ("none", "normal"):
        return None
    laws = _TEXTS[key].get(family)
    if laws is None:
        raise problem(f"expected family {' or '.join(_TEXTS[key])} for {key}; found {family}; {_instead(key, family)}")
    name, numbers = _law(value, laws)
    return f"{name}({', '.join(f'{x:g}' for x in numbers)})" if numbers else name


def _instead(key: str, family: str) -> str:
    """The way on where a family has no such deviation."""
    if own := families.lookup(family).instead.get(key):
        return own
    if key in ("errors", "dependence", "heteroscedastic") and family in _NUMBERS["overdispersion"][0]:
        return "remove it, or use overdispersion"
    return "remove it"


def _law(value: Any, laws: Sequence[str]) -> tuple[str, tuple[float, ...]]:
    forms = ", ".join(_LAWS[law][0] for law in laws)
    match = _LAW.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise problem(f"expected none or {forms}; found {shown(value)}; write one of these")
    name = match[1]
    if name not in laws:
        raise problem(
            f"expected none or {forms}; found {shown(value)}; {nearest(name, [_LAWS[law][0] for law in laws], 'write')}"
        )
    numbers = tuple(float(x) for x in match[2].split(",")) if match[2] else ()
    example, rule, wanted = _LAWS[name]
    if len(numbers) != example.count(",") + ("(" in example):
        raise problem(f"expected {example}; found {shown(value)}; give its numbers")
    if not rule(*numbers):
        raise problem(f"expected {wanted} in {example}; found {shown(value)}; mend the numbers")
    return name, numbers


def read_deviations(plain: Mapping[str, Any]) -> dict[str, Any]:
    """`canonical` data with laws as (name, numbers).

    Examples
    --------
    >>> read_deviations({"errors": "outliers(0.05, 5)", "missing": {"school": 0.2}})
    {'errors': ('outliers', (0.05, 5.0)), 'missing': {'school': 0.2}}
    """
    return {
        key: {g: _read(v) for g, v in e.items()} if isinstance(e, Mapping) else _read(e) for key, e in plain.items()
    }


def _read(value: str | float) -> Any:
    return value if not isinstance(value, str) else _law(value, tuple(_LAWS))


def deviation_schema() -> dict[str, Any]:
    """JSON Schema of the key."""
    properties = {}
    for key in DEVIATIONS:
        one: dict[str, Any] = {"type": "number"} if key in _NUMBERS else {"type": "string"}
        many = {"type": "object", "additionalProperties": one}
        properties[key] = {"anyOf": [one, many]} if key in _BY_LEVEL else one
    return {"type": "object", "properties": properties, "additionalProperties": False}
