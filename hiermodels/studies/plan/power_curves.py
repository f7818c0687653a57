"""Power curves over the number and size of groups, and the smallest design that reaches a target.

`power_curve` simulates every design of a study's grid (sizes of levels are factors like any other), judges one decision
with `hiermodels.studies.score.power`, and reads two answers off: the smallest simulated design whose power reaches the
target, and, along each size, the size between those simulated at which a line through the powers crosses it
(`hiermodels.studies.plan.power_lines`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hiermodels.studies.config import Study, read_config
from hiermodels.studies.machine import cores
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.plan.planning import pilot
from hiermodels.studies.plan.power_lines import crossings, outside
from hiermodels.studies.run.binding import bind_all, truth_regime
from hiermodels.studies.score.power import Rule, operating, read_rules
from hiermodels.studies.score.tables import count_failures, failure_note, known

__all__ = ["PowerCurve", "crossings", "outside", "power_curve", "vary_sizes"]

REPLICATIONS = 1000
"""Replicates a design: the MCSE of a power of 0.8 is then 1.3 points."""


@dataclass(frozen=True)
class PowerCurve:
    """Power by design.

    Attributes
    ----------
    table : DataFrame
        A row a cell and method: ``<factors>, units, method, power, mcse, lower, upper, n_sim, n, n_failed``; units = rows of a dataset.
        Where truths are drawn from a prior the power is the assurance.
    smallest : DataFrame
        For each setting of the other factors and method, the design with the fewest units whose estimated power reaches the
        target; ``sure`` says whether its Wilson interval lies above.
    crossings : DataFrame
        See `crossings`.
    target : float
    measure : str
        ``power``, or ``assurance``.
    notes : tuple of str
    """  # noqa: E501

    table: pd.DataFrame
    smallest: pd.DataFrame
    crossings: pd.DataFrame
    target: float
    measure: str
    notes: tuple[str, ...]

    def __str__(self) -> str:
        def shown(frame: pd.DataFrame) -> str:
            return frame.to_string(index=False, float_format="{:.3g}".format)

        parts = [shown(self.table), ""]
        if self.smallest.empty:
            parts.append(f"no design of the grid reaches {self.measure} {self.target:g}")
        else:
            parts += [f"smallest design with {self.measure} of at least {self.target:g}:", shown(self.smallest)]
        if not self.crossings.empty:
            parts += [
                "",
                f"size at which {self.measure} crosses {self.target:g}, by a probit line within the sizes simulated:",
                shown(self.crossings),
            ]
        return "\n".join([*parts, *(f"- {n}" for n in self.notes)])


def power_curve(
    config: Any,
    estimand: str,
    *,
    target: float = 0.8,
    vary: Mapping[str, Iterable[int]] | None = None,
    replications: int | None = None,
    workers: int | None = None,
) -> PowerCurve:
    """Simulate the power of one decision over designs.

    Parameters
    ----------
    config : path, name or mapping
        As for `hiermodels.run`; its grid may hold sizes of levels (``school: [10, 20, 40]``) and anything else. Nothing is
        written.
    estimand : str
        A decision of the config's ``decisions``; or an estimand: a posterior probability is decided at (1 + interval) / 2,
        a test of a term at the level of the interval, any other by whether its interval excludes 0.
    target : float
        Power wanted.
    vary : mapping of str to iterable of int, optional
        Sizes of levels (or ``obs``) to cross with the grid.
    replications : int, optional
        A design; by default `REPLICATIONS`.
    workers : int, optional
        Threads; by default one a core.

    Returns
    -------
    PowerCurve

    Raises
    ------
    ValueError
        For a config that cannot be run, an estimand that it has not, or a target outside (0, 1).
    """  # noqa: E501
    if isinstance(target, bool) or not isinstance(target, int | float) or not 0 < target < 1:
        raise ValueError(f"power: expected a number between 0 and 1, found {target!r}; e.g. 0.8")
    study = vary_sizes(read_config(config, replications=replications or REPLICATIONS), vary or {})
    rule = _rule(study, estimand)
    bind_all(study)
    estimates, _ = pilot(study, study.replications, workers or cores())
    factors = list(study.factors)
    regimes = {truth_regime(study, cell) for cell in study.cells()}
    prior = regimes == {"prior"}
    found, notes = operating(
        estimates, [rule], factors=factors, regime="prior" if prior else "population", failures=study.failures
    )
    measure = "assurance" if prior else "power"
    rows = found[(found["measure"] == measure) & found["group"].isin(["", "[mean]"])]
    if rows.empty:
        raise ValueError(
            f"estimand: {estimand}: the claim is false in every cell, so there is no power; give a truth for "
            f"which it is true"
        )
    units = pd.DataFrame([{**cell.factors, "units": n} for cell, n in zip(study.cells(), _units(study), strict=True)])
    rows = rows.merge(units, how="left", on=factors) if factors else rows.assign(units=units["units"].iloc[0])
    table = rows.rename(columns={"value": "power"})[
        [*factors, "units", "method", "power", "mcse", "lower", "upper", "n_sim", "n", "n_failed"]
    ]
    table = table.reset_index(drop=True)
    sizes = [f for f in factors if _is_size(study, f)]
    notes = [
        *failure_note(count_failures(estimates, factors), study.failures),
        *notes,
        *outside(table, sizes, factors, target, measure),
    ]
    return PowerCurve(
        table,
        _smallest(table, sizes, factors, target),
        crossings(table, sizes, factors, target),
        float(target),
        measure,
        tuple(notes),
    )


def vary_sizes(study: Study, vary: Mapping[str, Iterable[int]]) -> Study:
    """The study with its grid crossed with sizes of levels.

    Parameters
    ----------
    study : Study
    vary : mapping of str to iterable of int
        Level of the design, or ``obs``, to sizes.

    Raises
    ------
    ValueError
        For a design that is a table, or a name that is no level of it.

    Examples
    --------
    >>> study = read_config("school_classroom_student")
    >>> len(vary_sizes(study, {"school": [10, 20, 30]}).cells())
    6
    """
    if not vary:
        return study
    data = study.resolved()
    for name in vary:
        if not _is_size(study, name):
            design = study.mechanisms.design
            known = (
                ", ".join(k for k in design if k != "predictors")
                if isinstance(design, dict) and "table" not in design
                else "none: it is a table"
            )
            raise ValueError(f"vary: {name!r} is no size of the design; its sizes are {known}")
    rows = [{name: _number(value) for name, value in cell.factors.items()} for cell in study.cells()]
    grid = [
        {**row, **dict(zip(vary, combination, strict=True))}
        for row in rows
        for combination in itertools.product(*map(list, vary.values()))
    ]
    data["mechanisms"] = {**data["mechanisms"], "grid": grid}
    return Study.from_resolved(data, source=study.source, name=study.name, functions=study.functions())


def _number(value: float | str) -> float | str:
    """A factor as a config writes it: a number among texts is a number there."""
    try:
        number = float(value)
    except ValueError:
        return value
    return int(number) if number.is_integer() else number


def _is_size(study: Study, name: str) -> bool:
    design = study.mechanisms.design
    return isinstance(design, dict) and "table" not in design and name in design and name != "predictors"


def _rule(study: Study, estimand: str) -> Rule:
    decisions = {rule.name: rule for rule in read_rules(getattr(study, "decisions", None) or {})}
    if estimand in decisions:
        return decisions[estimand]
    found = {e.name: e for e in study.estimands}
    known("estimand", estimand, [*decisions, *found])
    if (above := found[estimand].fires_above(study.interval.level)) is not None:
        return Rule(estimand, estimand, above=above)
    return Rule(estimand, estimand, excludes=0.0)


def _units(study: Study) -> list[int]:
    return [len(mechanism_of(study, cell).frame) for cell in study.cells()]


def _smallest(table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float) -> pd.DataFrame:
    """Rows with the fewest units that reach the target, for each method and setting of what is no size."""
    others = [*(f for f in factors if f not in sizes), "method"]
    reaching = table[table["power"] >= target]
    if reaching.empty:
        return reaching
    best = reaching.sort_values(["units", *sizes], kind="stable").groupby(others, sort=False, observed=True).head(1)
    return best.assign(sure=best["lower"] >= target).sort_index().reset_index(drop=True)
