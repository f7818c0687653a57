"""A commented config to start from, adapted to a formula and a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hiermodels.datasets import read_table
from hiermodels.families import lookup
from hiermodels.models.columns import require_column
from hiermodels.models.formula import parse_formula
from hiermodels.studies.plan.count_template import count_template
from hiermodels.studies.plan.template_text import ARMS, TEMPLATE, as_text, sizes_text

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.models.terms import Formula

__all__ = ["template"]

_SE_NAMES = ("se", "sigma", "stderr", "std_err", "std_error", "standard_error", "sem")


def template(
    formula: str | None = None,
    data: str | Path | None = None,
    family: str = "normal",
    *,
    trials: str | None = None,
    exposure: str | None = None,
) -> str:
    """A commented, valid config to start from.

    Parameters
    ----------
    formula : str, optional
        As in lme4. Without it, the formula is guessed from the data's columns.
    data : str or Path, optional
        A dataset's name or a file: its groups become the design, and its outcome sets the scale of the true
        values. Without it, the design is level sizes.
    family : str
        One of `hiermodels.families`.
    trials, exposure : str, optional
        Columns of trials and exposures of counts; by default guessed from the data's columns.

    Returns
    -------
    str
        YAML text.

    Raises
    ------
    ValueError
        For a formula or file that cannot be read, or a formula that names no column of the data.

    Examples
    --------
    >>> print(template("score ~ 1 + (1 | school)").splitlines()[8])
      formula: score ~ 1 + (1 | school)
    """
    if formula is None and data is None:
        formula, data = lookup(family).shipped
    table = None if data is None else read_table(data)
    parsed = parse_formula(formula if formula is not None else _guess(table, str(data)))
    if table is not None:
        for used in _columns(parsed):
            require_column(table, used, f"formula {parsed.text!r}")
    name = None if data is None else str(data)
    if lookup(family).link.identity:
        return _filled(parsed, table, name, family)
    for column in (parsed.outcome, trials, exposure):
        if column is not None and table is not None:
            require_column(table, column, f"family {family}")
    return count_template(parsed, table, name, family, {"trials": trials, "exposure": exposure})


def _columns(parsed: Formula) -> list[str]:
    factors = [f for g in parsed.groups for f in g.factors]
    return list(dict.fromkeys([*factors, *sorted(parsed.predictors)]))


def _guess(table: pd.DataFrame | None, data: str) -> str:
    """Outcome and grouping from the columns: text columns group, the first other number is the outcome."""
    assert table is not None
    names = [str(c) for c in table.columns if str(c).isidentifier()]
    text = [c for c in names if table[c].dtype.kind not in "iufb"] or names[:1]
    numbers = [c for c in names if table[c].dtype.kind in "iuf" and c not in text and c.lower() not in _SE_NAMES]
    if not text or not numbers:
        raise ValueError(
            f"{data}: expected columns of groups and of outcomes; found {', '.join(names)}; name a formula"
        )
    return f"{numbers[0]} ~ 1 + (1 | {'/'.join(text[:2])})"


def _filled(parsed: Formula, table: pd.DataFrame | None, data: str | None, family: str) -> str:
    se = None if table is None else next((c for c in table.columns if c.lower() in _SE_NAMES), None)
    centre, spread = _scale(parsed, table)
    groups = [g.name for g in parsed.groups]
    slopes = {g.name: sorted(g.effects.columns) for g in parsed.groups}
    sds = [f"sd_{g}" for g in groups] + [f"sd_{g}_{x}" for g in groups for x in slopes[g]]
    terms = sorted(_numeric(parsed, table))
    columns = {x: _column_scale(table, x) for x in {*terms, *(x for g in groups for x in slopes[g])}}
    per = {x: float(f"{spread / sd:.1g}") for x, (_, sd) in columns.items()}
    scales = {
        **dict.fromkeys([f"sd_{g}" for g in groups], spread),
        **{f"sd_{g}_{x}": per[x] for g in groups for x in slopes[g]},
    }
    origin = float(f"{centre - sum(per[x] * columns[x][0] for x in terms):.3g}")
    truth = {"Intercept": origin, **{x: per[x] for x in terms}, **scales}
    if se is None:
        truth["sigma"] = spread
    truth |= {q.name: q.planned for q in lookup(family).own if q.role != "residual sd"}
    estimands = ["Intercept", *terms, *sds]
    estimands += [text for g in groups for text in (f"theta_{g}", f"mean(theta_{g})", f"new({g})")]
    return TEMPLATE.format(
        formula=as_text(parsed.text),
        family=family,
        known=f"  known_se: {as_text(se)}\n" if se is not None else "  # known_se: <column of known standard errors>\n",
        design=as_text(data) if data is not None else sizes_text(parsed),
        truth=", ".join(f"{as_text(k)}: {v:g}" for k, v in truth.items()),
        grid=_grid(sds, spread),
        estimands=", ".join(as_text(e) for e in estimands),
        methods=_methods(parsed, table, scales, terms, "exact" if lookup(family).conjugate else "nuts"),
    )


def _scale(parsed: Formula, table: pd.DataFrame | None) -> tuple[float, float]:
    """Round numbers for the centre and the spread of the outcome."""
    if table is None or parsed.outcome not in table.columns or table[parsed.outcome].dtype.kind not in "iuf":
        return 0.0, 1.0
    outcome = table[parsed.outcome]
    spread = float(outcome.std()) or 1.0
    spread = spread if spread == spread else 1.0
    return float(f"{outcome.mean():.2g}"), float(f"{spread:.1g}")


def _column_scale(table: pd.DataFrame | None, name: str) -> tuple[float, float]:
    """Mean and sd of a predictor's column, which its coefficient is the inverse of; 0 and 1 where it is no number or
    does not vary.
    """
    if table is None or table[name].dtype.kind not in "iufb":
        return 0.0, 1.0
    mean, sd = float(table[name].mean()), float(table[name].std())
    return (mean, sd) if sd > 0 else (0.0, 1.0)


def _numeric(parsed: Formula, table: pd.DataFrame | None) -> set[str]:
    terms = set(parsed.population.plain_columns)
    return terms if table is None else {t for t in terms if table[t].dtype.kind in "iufb"}


def _grid(sds: list[str], spread: float) -> str:
    if not sds:
        return ""
    comment = "  # What varies: a mapping is crossed, a list of mappings is taken row by row.\n"
    return f"{comment}  grid: {{{as_text(sds[0])}: [0, {spread:g}, {2 * spread:g}]}}\n"


def _methods(
    parsed: Formula, table: pd.DataFrame | None, scales: Mapping[str, float], terms: list[str], sampler: str
) -> str:
    priors = {"Intercept": "flat()", **dict.fromkeys(terms, "flat()")}
    priors |= {sd: f"half_normal({2 * scale:g})" for sd, scale in scales.items()}
    listed = ", ".join(f"{as_text(k)}: {v}" for k, v in priors.items())
    lines = [f"  partial: {{pooling: partial, sampler: nuts, priors: {{{listed}}}}}\n"]
    if parsed.groups:
        none = [] if _between(parsed, table, terms) else [f"  none: {{pooling: none, sampler: {sampler}}}\n"]
        lines = [f"  complete: {{pooling: complete, sampler: {sampler}}}\n", *none, *lines]
    return "".join(lines)


def _between(parsed: Formula, table: pd.DataFrame | None, terms: list[str]) -> bool:
    """Whether a predictor is constant within groups, which rules out no pooling."""
    if table is None:
        return any(t.lower() in ARMS for t in terms)
    grouped = [table.groupby(list(g.factors), observed=True) for g in parsed.groups]
    return any(bool((rows[t].nunique() <= 1).all()) for rows in grouped for t in terms)
