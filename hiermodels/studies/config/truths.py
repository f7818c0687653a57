"""True values: which are needed, what they may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.families import lookup
from hiermodels.models.checks import fits
from hiermodels.models.columns import as_numbers
from hiermodels.models.expressions import plain
from hiermodels.models.formula import parse_formula
from hiermodels.models.groupings import grouping
from hiermodels.models.labels import match_labels
from hiermodels.priors import Prior, parse
from hiermodels.quantities import INTERCEPT, Quantity, sd_name, support, theta_name
from hiermodels.studies.config.clusters import cluster_words, without_clusters
from hiermodels.studies.config.errors import nearest, problem, shown
from hiermodels.studies.config.mechanisms import Mechanisms
from hiermodels.studies.config.quantities import find, quantities_of
from hiermodels.studies.config.texts import read_law

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.models.terms import Formula

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
    known = quantities_of(mechanisms)
    if parsed is not None:
        truth, places = ({plain(name): value for name, value in some.items()} for some in (truth, places))
        truth, places = without_clusters(
            truth, mechanisms.family, known, mechanisms.known_se is not None, places, _mean_weight(mechanisms, table)
        )
    for name, value in truth.items():
        at = places.get(name, ("truth", name))
        if parsed is not None:
            _check_name(name, parsed, mechanisms, at, "grid" if name in places else "truth")
        out[name] = _value(name, value, find(known, name), parsed, table, at)
    if parsed is not None:
        _check_complete(parsed, mechanisms, out, table)
    return out


def _mean_weight(mechanisms: Mechanisms, table: pd.DataFrame | None) -> float:
    """Mean weight of a design's rows, of its table or of the law that the weights are drawn from; 1 where there are
    none.
    """
    name, design = mechanisms.weights, mechanisms.design
    if name is None:
        return 1.0
    if table is not None:
        found = float(np.nanmean(as_numbers(table[name])[0])) if name in table else 1.0
    else:
        given = (design.get("predictors") or {}).get(name, 1.0) if isinstance(design, Mapping) else 1.0
        law, numbers = read_law(given["law"] if isinstance(given, Mapping) else given, levels=[*design, "obs"])
        found = float(np.mean(numbers)) if law == "integers" else 0.5 if law == "half" else float(numbers[0])
    return found if found > 0 else 1.0  # what is no weight is refused where the rows are made


def _parsed(mechanisms: Mechanisms) -> Formula:
    return parse_formula(mechanisms.formula)


def _check_name(name: str, parsed: Formula, mechanisms: Mechanisms, at: tuple[Any, ...], where: str) -> None:
    known = quantities_of(mechanisms)
    quantity = find(known, name)
    if quantity is not None and quantity.role not in ("mean of groups", "new group"):
        return
    design, names = mechanisms.design, [n for n, q in known.items() if q.role not in ("mean of groups", "new group")]
    names += [] if mechanisms.known_se is not None else cluster_words(mechanisms.family, known)
    if where == "grid" and isinstance(design, dict) and "table" not in design:
        names = [*(k for k in design if k != "predictors"), *names]
    what = "factor" if where == "grid" else "parameter"
    raise problem(f"unknown {what} {name!r} for {parsed.text!r}; {nearest(name, names)}", at)


def _value(
    name: str,
    value: Any,
    quantity: Quantity | None,
    parsed: Formula | None,
    table: pd.DataFrame | None,
    at: tuple[Any, ...],
) -> Any:
    """A true value as it is kept; ``quantity`` says what it is of, nothing of a NumPyro function's sites."""
    grouped = quantity is None or quantity.role == "group value"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(quantity, float(value), at)
    if isinstance(value, str) and "(" in value:
        return _distribution(quantity, value, at)
    if grouped and isinstance(value, Mapping):
        return _by_label(quantity, value, parsed, table, at)
    if grouped and isinstance(value, str):
        return _from_column(quantity, value, parsed, table, at)
    forms = "a number or a distribution such as normal(0, 20)"
    more = ", a mapping of label to number, or a column of the design" if grouped else ""
    raise problem(f"expected {forms}{more}; found {shown(value)}; write one of these", at)


_WANTED = {
    "positive": "more than 0",
    "above_one": "more than 0",
    "unit": "a number between 0 and 1",
    "correlation": "a number from -1 to 1",
}


def _number(quantity: Quantity | None, value: float, at: tuple[Any, ...]) -> float:
    """A number inside the support of what it is a value of; group values are checked where the design is known."""
    kind = "real" if quantity is None or quantity.role == "group value" else quantity.kind
    edge = quantity is not None and quantity.role in ("group sd", "residual sd")
    low, high = support("positive" if kind == "above_one" else kind)
    inside = low <= value <= high if edge or kind == "correlation" else low < value < high
    if not math.isfinite(value) or not inside:
        wanted = "a finite number" if not math.isfinite(value) else "0 or more" if edge else _WANTED[kind]
        raise problem(f"expected {wanted}; found {value:g}; mend it", at)
    return value


def _distribution(quantity: Quantity | None, value: str, at: tuple[Any, ...]) -> str:
    try:
        law = parse(value, "distribution")
    except ValueError as error:
        raise problem(str(error).removeprefix("distribution: "), at) from None
    if not law.proper:
        raise problem(f"expected a distribution that can be drawn from; found {law}, improper; name a proper one", at)
    if quantity is not None and quantity.role != "group value" and not _law_fits(quantity.kind, law):
        raise problem(f"expected a law of {_OF[quantity.kind]}; found {law}; use e.g. {_EXAMPLE[quantity.kind]}", at)
    return value.strip()


def _law_fits(kind: str, law: Prior) -> bool:
    return fits(kind, law) and not law.misfit(kind)


_OF = {
    "real": "real numbers",
    "positive": "positive numbers",
    "above_one": "numbers above one",
    "unit": "numbers between 0 and 1",
    "correlation": "correlations",
}
_EXAMPLE = {
    "real": "normal(0, 20)",
    "positive": "half_normal(5)",
    "above_one": "gamma(2, 0.1)",
    "unit": "beta(2, 8)",
    "correlation": "lkj(1)",
}


def _by_label(
    quantity: Quantity | None,
    value: Mapping[str, Any],
    parsed: Formula | None,
    table: pd.DataFrame | None,
    at: tuple[Any, ...],
) -> dict[str, float]:
    out = {}
    for label, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise problem(f"expected a number; found {shown(number)}; write the group's true value", (*at, str(label)))
        out[str(label)] = _number(quantity, float(number), (*at, str(label)))
    if quantity is None or parsed is None or table is None:
        return out
    labels = list(_group_rows(table, quantity, parsed, at))
    found, strange = match_labels(out, labels)
    if strange:
        raise problem(f"unknown group {strange[0]!r}; {nearest(strange[0], labels)}", (*at, strange[0]))
    missing = next((label for label in labels if label not in found), None)
    if missing is not None:
        raise problem(f"expected a value for every group; found none for {missing!r}; add it", at)
    return {label: found[label] for label in labels}


def _from_column(
    quantity: Quantity | None, column: str, parsed: Formula | None, table: pd.DataFrame | None, at: tuple[Any, ...]
) -> dict[str, float]:
    if quantity is None or table is None or parsed is None:
        raise problem(
            f"expected a number, a distribution or label: number; found {column!r}; only a table has columns",
            at,
        )
    if column not in table.columns:
        raise problem(f"no column {column!r} in the design; {nearest(column, map(str, table.columns))}", at)
    values, _ = as_numbers(table[column])
    if np.isnan(values).any():
        raise problem(f"expected a column of numbers; found {column!r} with text or gaps; mend it", at)
    rows = _group_rows(table, quantity, parsed, at)
    for label, positions in rows.items():
        if len(set(values[positions])) > 1:
            raise problem(f"expected one value a group in {column!r}; found several in {label!r}; mend the column", at)
    return {label: _number(quantity, float(values[p[0]]), at) for label, p in rows.items()}


def _group_rows(table: pd.DataFrame, theta: Quantity, parsed: Formula, at: tuple[Any, ...]) -> dict[str, list[int]]:
    """Printed group labels (``s1:c2``) in order of first appearance, with the rows of each."""
    factors = next(g.factors for g in parsed.groups if g.name == theta.owner)
    try:
        codes, found = grouping(table, factors, "design")
    except ValueError as error:
        raise problem(str(error), at) from None
    rows: dict[str, list[int]] = {}
    for i, code in enumerate(codes.tolist()):
        rows.setdefault(found.labels[code], []).append(i)
    return rows


def _check_complete(
    parsed: Formula, mechanisms: Mechanisms, truth: Mapping[str, Any], table: pd.DataFrame | None
) -> None:
    """Every parameter that a dataset with normal groups needs has a true value; a fixed theta needs nothing above
    it.
    """
    law = lookup(mechanisms.family)
    if not law.population.normal:
        return
    needed = [q.name for q in law.own_parameters(mechanisms.known_se is not None)]
    needed += [x for x in parsed.population.plain_columns if table is None or table[x].dtype.kind in "iufb"]
    free = [g for g in parsed.groups if not _settled(g.factors, parsed, truth)]
    needed += [sd_name(g.name, INTERCEPT) for g in free if g.effects.intercept]
    needed += [sd_name(g.name, x) for g in free for x in g.effects.plain_columns if theta_name(g.name, x) not in truth]
    if parsed.population.intercept and len(free) == len(parsed.groups):
        needed.append(INTERCEPT)
    missing = next((name for name in needed if name not in truth), None)
    if missing is not None:
        raise problem(f"expected a true value of {missing!r}; found none; add e.g. `{missing}: 1`", ("truth",))


def _settled(factors: tuple[str, ...], parsed: Formula, truth: Mapping[str, Any]) -> bool:
    """Whether the values of this group, or of one nested in it, are given."""
    nested = [g for g in parsed.groups if set(factors) <= set(g.factors)]
    return any(theta_name(g.name, INTERCEPT) in truth for g in nested)
