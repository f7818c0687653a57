"""True values: which are needed, what they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.columns import as_numbers
from hiermodels.models.families import lookup
from hiermodels.models.groupings import grouping
from hiermodels.models.labels import match_labels
from hiermodels.studies.config.clusters import without_clusters
from hiermodels.studies.config.errors import nearest, problem, shown
from hiermodels.studies.config.texts import mentions, variable_names

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.models.terms import Formula
    from hiermodels.studies.config.study import Mechanisms

__all__ = ["read_truth"]

Places = Mapping[str, tuple[Any, ...]]


def read_truth(
    mechanisms: Mechanisms, truth: Mapping[str, Any], table: pd.DataFrame | None, places: Places
) -> dict[str, Any]:
    """True values of one cell: numbers as floats, distributions as text, thetas by label.

    Parameters
    ----------
    mechanisms : Mechanisms
    truth : mapping
        The study's truths with this cell's row of the grid on top.
    table : DataFrame or None
        The design's table, where it has one.
    places : mapping
        Where in the config a value from the grid stands.
    """
    out = {}
    parsed = None if callable(mechanisms.formula) else _parsed(mechanisms)
    if parsed is not None:
        groups = [g.name for g in parsed.groups]
        truth, places = without_clusters(truth, mechanisms.family, groups, mechanisms.known_se is not None, places)
    for name, value in truth.items():
        at = places.get(name, ("truth", name))
        if parsed is not None:
            _check_name(name, parsed, mechanisms, at, "grid" if name in places else "truth")
        out[name] = _value(name, value, parsed, mechanisms.family, table, at)
    if parsed is not None:
        _check_complete(parsed, mechanisms, out, table)
    return out


def _parsed(mechanisms: Mechanisms) -> Formula:
    from hiermodels.models.formula import parse_formula

    return parse_formula(mechanisms.formula)


def _check_name(name: str, parsed: Formula, mechanisms: Mechanisms, at: tuple[Any, ...], where: str) -> None:
    names, columns = variable_names(parsed, mechanisms.family, mechanisms.known_se is not None)
    if name in names or mentions(name, columns):
        return
    design = mechanisms.design
    if where == "grid" and isinstance(design, dict) and "table" not in design:
        names = [*(k for k in design if k != "predictors"), *names]
    what = "factor" if where == "grid" else "parameter"
    raise problem(f"unknown {what} {name!r} for {parsed.text!r}; {nearest(name, names)}", at)


def _value(
    name: str,
    value: Any,
    parsed: Formula | None,
    family: str,
    table: pd.DataFrame | None,
    at: tuple[Any, ...],
) -> Any:
    theta = name.startswith("theta_") or parsed is None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number("" if parsed is None else name, float(value), family, at)
    if isinstance(value, str) and "(" in value:
        return _distribution(value, at)
    if theta and isinstance(value, Mapping):
        return _by_label(name, value, parsed, family, table, at)
    if theta and isinstance(value, str):
        return _from_column(name, value, parsed, family, table, at)
    forms = "a number or a distribution such as normal(0, 20)"
    more = ", a mapping of label to number, or a column of the design" if theta else ""
    raise problem(f"expected {forms}{more}; found {shown(value)}; write one of these", at)


def _number(name: str, value: float, family: str, at: tuple[Any, ...]) -> float:
    rules = {
        "sd_": (value >= 0, "0 or more"),
        "sigma": (value >= 0, "0 or more"),
        "kappa_": (value > 0, "more than 0"),
        "shape_": (value > 0, "more than 0"),
        "cor_": (-1 <= value <= 1, "a number from -1 to 1"),
        "mean_": (value > 0 and (lookup(family).groups != "beta" or value < 1), "a mean inside its range"),
    }
    ok, wanted = next((rule for stem, rule in rules.items() if name.startswith(stem)), (True, "a number"))
    if name in ("nu", "shape"):
        ok, wanted = value > 0, "more than 0"
    if not math.isfinite(value) or not ok:
        raise problem(
            f"expected {wanted if math.isfinite(value) else 'a finite number'}; found {value:g}; mend it", at
        )
    return value


def _distribution(value: str, at: tuple[Any, ...]) -> str:
    from hiermodels.models.priors import parse

    try:
        law = parse(value, "distribution")
    except ValueError as error:
        raise problem(str(error).removeprefix("distribution: "), at) from None
    if not law.proper:
        raise problem(
            f"expected a distribution that can be drawn from; found {law}, improper; name a proper one", at
        )
    return value.strip()


def _by_label(
    name: str,
    value: Mapping[str, Any],
    parsed: Formula | None,
    family: str,
    table: pd.DataFrame | None,
    at: tuple[Any, ...],
) -> dict[str, float]:
    out = {}
    for label, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise problem(
                f"expected a number; found {shown(number)}; write the group's true value", (*at, str(label))
            )
        out[str(label)] = _number("" if parsed is None else name, float(number), family, (*at, str(label)))
    if parsed is None or table is None:
        return out
    labels = list(_group_rows(table, name, parsed, at))
    found, strange = match_labels(out, labels)
    if strange:
        raise problem(f"unknown group {strange[0]!r}; {nearest(strange[0], labels)}", (*at, strange[0]))
    missing = next((label for label in labels if label not in found), None)
    if missing is not None:
        raise problem(f"expected a value for every group; found none for {missing!r}; add it", at)
    return {label: found[label] for label in labels}


def _from_column(
    name: str,
    column: str,
    parsed: Formula | None,
    family: str,
    table: pd.DataFrame | None,
    at: tuple[Any, ...],
) -> dict[str, float]:
    if table is None or parsed is None:
        raise problem(
            f"expected a number, a distribution or label: number; found {column!r}; only a table has columns",
            at,
        )
    if column not in table.columns:
        raise problem(f"no column {column!r} in the design; {nearest(column, map(str, table.columns))}", at)
    values, _ = as_numbers(table[column])
    if np.isnan(values).any():
        raise problem(f"expected a column of numbers; found {column!r} with text or gaps; mend it", at)
    rows = _group_rows(table, name, parsed, at)
    for label, positions in rows.items():
        if len(set(values[positions])) > 1:
            raise problem(
                f"expected one value a group in {column!r}; found several in {label!r}; mend the column", at
            )
    return {label: _number(name, float(values[p[0]]), family, at) for label, p in rows.items()}


def _factors(theta: str, parsed: Formula) -> tuple[str, ...]:
    stem = theta.removeprefix("theta_")
    groups = sorted(parsed.groups, key=lambda g: -len(g.name))
    return next(g.factors for g in groups if stem == g.name or stem.startswith(f"{g.name}_"))


def _group_rows(table: pd.DataFrame, theta: str, parsed: Formula, at: tuple[Any, ...]) -> dict[str, list[int]]:
    """Printed group labels (``s1:c2``) in order of first appearance, with the rows of each."""
    try:
        codes, found = grouping(table, _factors(theta, parsed), "design")
    except ValueError as error:
        raise problem(str(error), at) from None
    rows: dict[str, list[int]] = {}
    for i, code in enumerate(codes.tolist()):
        rows.setdefault(found.labels[code], []).append(i)
    return rows


def _check_complete(
    parsed: Formula, mechanisms: Mechanisms, truth: Mapping[str, Any], table: pd.DataFrame | None
) -> None:
    """Every parameter that a dataset with normal groups needs has a true value; a fixed theta needs nothing above it."""
    law = lookup(mechanisms.family)
    if law.groups != "normal":
        return
    needed = [q.name for q in law.own_parameters(mechanisms.known_se is not None)]
    needed += [x for x in parsed.population.plain_columns if table is None or table[x].dtype.kind in "iufb"]
    free = [g for g in parsed.groups if not _settled(g.factors, parsed, truth)]
    needed += [f"sd_{g.name}" for g in free if g.effects.intercept]
    needed += [
        f"sd_{g.name}_{x}" for g in free for x in g.effects.plain_columns if f"theta_{g.name}_{x}" not in truth
    ]
    if parsed.population.intercept and len(free) == len(parsed.groups):
        needed.append("Intercept")
    missing = next((name for name in needed if name not in truth), None)
    if missing is not None:
        raise problem(
            f"expected a true value of {missing!r}; found none; add e.g. `{missing}: 1`", ("truth",)
        )


def _settled(factors: tuple[str, ...], parsed: Formula, truth: Mapping[str, Any]) -> bool:
    """Whether the values of this group, or of one nested in it, are given."""
    nested = [g for g in parsed.groups if set(factors) <= set(g.factors)]
    return any(f"theta_{g.name}" in truth for g in nested)
