"""The config to start from where predictors act through a link: parameters, their scale and their columns."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from ruamel.yaml import YAML

from hiermodels.families import lookup
from hiermodels.families.family import Family
from hiermodels.families.link import Link
from hiermodels.models.spec import Model
from hiermodels.quantities import INTERCEPT, theta_name
from hiermodels.studies.mechanisms.designs import design_frame
from hiermodels.studies.mechanisms.simulate import bind_design
from hiermodels.studies.plan.template_text import TEMPLATE, as_text, sizes_text

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.models.terms import Formula

__all__ = ["count_template", "role_of"]

_NAMES = {
    "trials": ("trials", "n", "size", "total", "denominator", "at_bats"),
    "exposure": ("exposure", "hours", "time", "years", "person_years", "offset"),
}
_PLANNED = {"trials": 20, "exposure": 10}
"""What a generated design has in each row."""
_STEP = 0.5
"""What an sd of a predictor, or of a group, changes on the scale of the link."""


def role_of(family: str) -> str:
    """The column that a family of counts goes with; empty where it has none.

    Examples
    --------
    >>> role_of("binomial"), role_of("poisson_log"), role_of("bernoulli")
    ('trials', 'exposure', '')
    """
    return next(iter(lookup(family).columns), "")


def count_template(
    parsed: Formula, table: pd.DataFrame | None, data: str | None, family: str, columns: dict[str, str | None]
) -> str:
    """YAML text of a study of counts, or of measurements under a link.

    Parameters
    ----------
    parsed : Formula
    table : DataFrame or None
        The design's table.
    data : str or None
        Its name or file.
    family : str
        One whose link is not the identity.
    columns : dict
        Columns of trials and exposures, where they are named.

    Raises
    ------
    ValueError
        Where the table has no column of trials.
    """
    role, link = role_of(family), lookup(family).link
    column = columns.get(role) or (_column(parsed, table, role) if role else None)
    if column is None and role == "trials":
        raise ValueError(
            f"{data}: expected a column of trials, whole numbers not below {parsed.outcome!r}; found none; name it "
            f"with --trials"
        )
    design, problem = _design(parsed, table, data, family, column)
    rate = _rate(parsed, table, lookup(family), column)
    truth = _truths(problem, rate, link)
    thetas = [name for level in problem.layout.levels for name in level_names(problem, level)]
    estimands = [*truth, *(text for name in thetas for text in (name, f"mean({name})"))]
    estimands += [f"new({level.name})" for level in problem.layout.levels[-1:]]
    return TEMPLATE.format(
        formula=as_text(parsed.text),
        family=family,
        known=f"  {role}: {as_text(column)}\n" if column is not None else "",
        design=design,
        truth=", ".join(f"{as_text(k)}: {v:g}" for k, v in truth.items()),
        grid=_grid(problem, truth),
        estimands=", ".join(map(as_text, estimands)),
        methods=_methods(problem),
    )


def level_names(problem: Any, level: Any) -> tuple[str, ...]:
    """Group values of a level that counts report: those of its intercept."""
    return tuple(name for name in problem.layout.effect_names(level) if name == theta_name(level.name, INTERCEPT))


def _design(
    parsed: Formula, table: pd.DataFrame | None, data: str | None, family: str, column: str | None
) -> tuple[str, Any]:
    """The design as YAML, and the mechanism on it."""
    role = role_of(family)
    if table is None:
        shared = (
            not lookup(family).population.normal and str(parsed.population) != "1"
        )  # counts of a group then share one rate, and so one predictor
        if shared and not role:
            raise ValueError(
                f"family: the outcomes of a group share one rate under {family}, and so their predictors; use "
                f"{lookup(family).linked}"
            )
        rows = 1 if shared else 10
        text = sizes_text(parsed, {} if column is None else {column: _PLANNED[role]}, rows)
        frame = design_frame(YAML(typ="safe", pure=True).load(text), 1, 0)
    else:
        text, frame = as_text(str(data)), table
    return text, bind_design(Model(parsed.text, family, **({role: column} if role else {})), frame)


def _column(parsed: Formula, table: pd.DataFrame | None, role: str) -> str | None:
    """The column of a table that looks the part; of a generated design, a name for it."""
    if table is None:
        return role
    taken = {parsed.outcome, *(f for g in parsed.groups for f in g.factors)}
    numbers = [c for c in table.columns if c not in taken and table[c].dtype.kind in "iuf"]
    if role == "trials":
        numbers = [c for c in numbers if table[c].dtype.kind in "iu" and (table[c] >= table[parsed.outcome]).all()]
    else:
        numbers = [c for c in numbers if (table[c] > 0).all()]
    named = [c for c in numbers if c.lower() in _NAMES[role]]
    return next(iter([*named, *(numbers if role == "trials" else [])]), None)


def _rate(parsed: Formula, table: pd.DataFrame | None, law: Family, column: str | None) -> float:
    """The pooled rate of the data, in two digits; inside its range."""
    if table is None or parsed.outcome not in table.columns:
        return law.link.typical
    size = table[column].to_numpy(float) if column is not None else np.ones(len(table))
    events, exposure = law.counted(table[parsed.outcome].to_numpy(float), size)
    rate = float(events.sum() / exposure.sum())
    low, high = (0.0 if law.measured else 0.01), (0.99 if law.link.bounded else math.inf)
    return float(f"{min(max(rate, low), high):.2g}")


def _truths(problem: Any, rate: float, link: Link) -> dict[str, float]:
    """A true value of every parameter: of slopes and their sds, per sd of the column; of the intercept, the rate at
    the means.
    """
    layout = problem.layout
    rows = np.asarray(problem.data.size) > 0
    columns = dict(zip(layout.columns, np.asarray(problem.data.x)[rows].T, strict=True))
    sds = {name: float(x.std()) or 1.0 for name, x in columns.items()}
    slopes = {
        p.name: float(f"{_STEP / sds[p.effect]:.2g}")
        for p in layout.parameters
        if p.role == "coefficient" and p.effect != INTERCEPT
    }
    centre = float(link.host_forward(np.asarray(rate)))
    origin = float(f"{centre - sum(slope * columns[name].mean() for name, slope in slopes.items()):.2g}")
    population = layout.law.population
    by_role = {"population mean": rate, "correlation": _STEP, **{q.role: q.planned for q in layout.law.own}}
    by_role |= {"concentration": population.planned, "log concentration": float(f"{math.log(population.planned):.2g}")}
    found = {}
    for p in layout.parameters:
        step = _STEP / sds.get(p.effect, 1.0) if p.role == "group sd" else origin
        found[p.name] = slopes.get(p.name, by_role.get(p.role, float(f"{step:.2g}")))
    return found


def _grid(problem: Any, truth: dict[str, float]) -> str:
    varied = next((p.name for p in problem.layout.parameters if p.role in ("concentration", "group sd")), None)
    if varied is None:
        return ""
    comment = "  # What varies: a mapping is crossed, a list of mappings is taken row by row.\n"
    return f"{comment}  grid: {{{as_text(varied)}: [{', '.join(f'{truth[varied] * k:g}' for k in (0.25, 1, 4))}]}}\n"


def _methods(problem: Any) -> str:
    """Pooling of every kind that the design has, under the default priors."""
    joint = any(p.role == "population mean" and p.owner for p in problem.layout.parameters)
    exact = "" if problem.layout.normal_groups else ", sampler: exact"
    simple = problem.layout.columns == ("Intercept",) and bool(problem.layout.levels)
    lines = [f"  complete: {{pooling: complete{exact}}}\n"]
    if joint or (simple and not exact):
        lines.append(f"  none: {{pooling: none{exact}}}\n")
    return "".join([*lines, "  partial: {pooling: partial, sampler: nuts}\n"])
