"""What only the study as a whole can tell: columns, names of parameters, models of methods."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hiermodels.models.columns import number_of
from hiermodels.models.declared import declared_layout
from hiermodels.models.formula import parse_formula
from hiermodels.models.names import check_constant, check_names, takes_prior
from hiermodels.models.spec import Model
from hiermodels.studies.config.designs import design_levels, design_table
from hiermodels.studies.config.errors import nearest, problem, shown, within
from hiermodels.studies.config.fields import ROLES
from hiermodels.studies.config.mechanisms import Mechanisms, outcome_of
from hiermodels.studies.config.methods import Method
from hiermodels.studies.config.quantities import find, parameters, quantities_of
from hiermodels.studies.config.texts import Estimand, read_law

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.models.terms import Formula
    from hiermodels.quantities import Quantity

__all__ = ["check_study"]


def check_study(
    mechanisms: Mechanisms,
    methods: Mapping[str, Method],
    estimands: Sequence[Estimand],
    lanes: int | str,
    chunk: int | str,
) -> None:
    """Check the parts of a study, well formed each, against one another; the first problem is raised with its place."""
    with within("mechanisms"):
        table = design_table(mechanisms.design)
        known = _known_columns(mechanisms, table)
        _check_model(mechanisms)
        _check_columns(mechanisms, known)
        _check_distinct(mechanisms, table)
        if table is not None:
            _check_values(mechanisms, table)
        else:
            _check_outcome(mechanisms)
            _check_roles(mechanisms)
    for name, method in methods.items():
        with within("methods", name):
            if method.declares:
                _check_method(method, mechanisms, known)
                _check_distinct(method, table)
            _check_host(method, estimands)
    _check_estimands(mechanisms, methods, estimands)
    if isinstance(lanes, int) and isinstance(chunk, int) and chunk % lanes:
        raise problem(f"expected a multiple of lanes ({lanes}); found {chunk}; or write auto", ("chunk",))


def _known_columns(mechanisms: Mechanisms, table: pd.DataFrame | None) -> list[str]:
    if table is not None:
        return [str(c) for c in table.columns]
    levels = design_levels(mechanisms.design)
    return [*levels, *mechanisms.design["predictors"]]


def _parsed(part: Mechanisms | Method) -> Formula | None:
    return None if callable(part.formula) else parse_formula(part.formula)


def _check_model(part: Mechanisms | Method, priors: bool = True) -> None:
    """What `hiermodels.Model` refuses about formula, family, roles and priors."""
    if callable(part.formula):
        return
    roles = {role: getattr(part, role) for role in ROLES}
    try:
        Model(part.formula, part.family, priors=getattr(part, "priors", None) if priors else None, **roles)
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        if key in (*ROLES, "priors", "formula", "family"):
            raise problem(message, (key,)) from None
        raise problem(str(error)) from None


def _check_distinct(part: Mechanisms | Method, table: pd.DataFrame | None) -> None:
    """One name, one quantity, as far as the formula tells; a predictor of labels has columns of other names."""
    if callable(part.formula):
        return
    model = part.declaration()
    layout = declared_layout(model)
    labels = [] if table is None else [str(c) for c in table.columns if table[c].dtype.kind not in "iufb"]
    kept = tuple(c for c in layout.population if layout.columns[c] not in labels)
    try:
        check_constant(model)
        check_names(model, replace(layout, population=kept))
    except ValueError as error:
        raise problem(str(error).partition(": ")[2], ("formula",)) from None


def _check_columns(part: Mechanisms | Method, known: list[str]) -> None:
    parsed = _parsed(part)
    if parsed is not None:
        factors = [f for g in parsed.groups for f in g.factors]
        for column in [*factors, *sorted(parsed.predictors)]:
            if column not in known:
                raise problem(_absent(column, known), ("formula",))
    for role in ROLES:
        column = getattr(part, role)
        if column is not None and column not in known:
            raise problem(_absent(column, known), (role,))


def _absent(column: str, known: list[str]) -> str:
    if column == "obs":
        return (
            "no column 'obs' in the design, where this word is taken: it is the number of rows in a group; give "
            "the column another name"
        )
    return f"no column {column!r} in the design; {nearest(column, known)}"


def _check_values(mechanisms: Mechanisms, table: pd.DataFrame) -> None:
    """Standard errors, trials, exposures and weights of a table are positive, labels complete."""
    where = "the design"
    if isinstance(mechanisms.design, str | dict):
        where = mechanisms.design if isinstance(mechanisms.design, str) else mechanisms.design.get("file", where)
    for role in ROLES:
        column = getattr(mechanisms, role)
        for row, value in enumerate(table[column].tolist() if column is not None else ()):
            if not _positive(value):
                message = f"expected positive numbers in column {column!r} of {where}"
                found = f"found {shown(value)} in row {row} (from 0)"
                raise problem(f"{message}; {found}; mend the table", (role,))
    parsed = _parsed(mechanisms)
    for factor in [] if parsed is None else [f for g in parsed.groups for f in g.factors]:
        missing = table[factor].isna()
        if missing.any():
            row = int(missing.to_numpy().argmax())
            message = f"expected a label in column {factor!r} of {where}; found nothing in row {row} (from 0)"
            raise problem(f"{message}; fill or drop the row", ("formula",))


def _check_outcome(mechanisms: Mechanisms) -> None:
    """A generated design has no column of the outcome's name, which simulation would write over."""
    outcome, design = outcome_of(mechanisms.formula), mechanisms.design
    for what, names, at in (("level", design_levels(design), ()), ("predictor", design["predictors"], ("predictors",))):
        if outcome == "obs":
            raise problem(
                "expected a name other than obs, a word of designs: the number of rows in a group; rename the outcome",
                ("formula",),
            )
        if outcome in names:
            raise problem(
                f"expected a name other than the outcome's; found the {what} {outcome!r}; rename it",
                ("design", *at, outcome),
            )


def _check_roles(mechanisms: Mechanisms) -> None:
    """Trials, exposures, standard errors and weights that are redrawn are above 0 in every dataset."""
    for role in ROLES:
        entry = mechanisms.design["predictors"].get(getattr(mechanisms, role))
        if isinstance(entry, dict) and entry["drawn"] == "redrawn":
            law, numbers = read_law(entry["law"])
            if law != "integers" or numbers[0] < 1:
                message = (
                    f"expected numbers above 0 in every dataset; found {entry['law']}; write e.g. integers(5, "
                    f"15), or drawn: fixed"
                )
                raise problem(message, ("design", "predictors", getattr(mechanisms, role)))


def _positive(value: Any) -> bool:
    number = number_of(value)
    return number is not None and math.isfinite(number) and number > 0


def _check_method(method: Method, mechanisms: Mechanisms, known: list[str]) -> None:
    parsed, simulated = _parsed(method), _parsed(mechanisms)
    if parsed is not None:
        if simulated is not None and parsed.outcome != simulated.outcome:
            found = f"found {parsed.outcome!r}; write {simulated.outcome!r}"
            raise problem(f"expected the outcome that is simulated; {found}", ("formula",))
        groups = [g.name for g in parsed.groups]
        for term in method.pooling if isinstance(method.pooling, dict) else ():
            if term not in groups:
                raise problem(
                    f"unknown group term {term!r} for {parsed.text!r}; {nearest(term, groups)}",
                    ("pooling", term),
                )
        _check_model(method, priors=False)
        own = quantities_of(method)
        names = [*parameters(own), *groups]
        for name in method.priors:
            if not takes_prior(method.declaration(), own, name):
                message = f"unknown parameter {name!r} for {parsed.text!r}; {nearest(name, names)}"
                raise problem(message, ("priors", name))
    _check_model(method)
    _check_columns(method, known)


def _check_host(method: Method, estimands: Sequence[Estimand]) -> None:
    names = [e.name for e in estimands]
    for i, name in enumerate(method.estimands or ()):
        if name not in names:
            raise problem(f"unknown estimand {name!r}; {nearest(name, names)}", ("estimands", i))


def _check_estimands(mechanisms: Mechanisms, methods: Mapping[str, Method], estimands: Sequence[Estimand]) -> None:
    known: dict[str, Quantity] = {}
    parts: list[Mechanisms | Method] = [mechanisms]
    parts += [m for m in methods.values() if m.declares]
    for part in parts:
        if callable(part.formula):
            return
        known = {**quantities_of(part), **known}
    for i, estimand in enumerate(estimands):
        with within("estimands", i):
            if estimand.kind == "test":
                _check_test(estimand, parts, known)
            else:
                _check_estimand(estimand, known)


def _check_test(estimand: Estimand, parts: Sequence[Mechanisms | Method], known: Mapping[str, Quantity]) -> None:
    terms = [name for part in parts if (parsed := _parsed(part)) is not None for name in parsed.population.names]
    names = list(dict.fromkeys([*terms, *(n for n, q in known.items() if q.role == "coefficient")]))
    if estimand.variable not in names:
        raise problem(
            f"expected test() of a term or a coefficient; found {estimand.variable!r}; "
            f"{nearest(estimand.variable, names)}"
        )


def _check_estimand(estimand: Estimand, known: Mapping[str, Quantity]) -> None:
    variable = estimand.variable
    if estimand.kind == "new":
        groups = [q.owner for q in known.values() if q.role == "new group"]
        if variable not in groups:
            raise problem(f"expected new() of a group term; found {variable!r}; {nearest(variable, groups)}")
        return
    found = find(known, variable)
    if estimand.kind == "mean":
        names = [n for n, q in known.items() if q.role == "group value"]
        if found is None or found.role != "group value":
            raise problem(f"expected mean() of group values; found {variable!r}; {nearest(variable, names)}")
    elif found is None or found.role in ("mean of groups", "new group"):
        names = [n for n, q in known.items() if q.role not in ("mean of groups", "new group")]
        raise problem(f"unknown estimand {variable!r}; {nearest(variable, names)}")
