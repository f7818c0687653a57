"""Power curves over the number and size of groups, and the smallest design that reaches a target.

`power_curve` simulates every design of a study's grid (sizes of levels are factors like any other), judges one decision
with `hiermodels.studies.power`, and reads two answers off: the smallest simulated design whose power reaches the target,
and, along each size, the size at which a probit line through the simulated powers crosses it,

    Phi^-1(power) = a + b sqrt(size),    size* = ((Phi^-1(target) - a) / b)^2,

which is how the power of a normal test grows; its standard error is the delta method's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from hiermodels.studies.config import Study, read_config
from hiermodels.studies.power import Rule, operating, read_rules

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PowerCurve", "crossings", "power_curve", "vary_sizes"]

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
    """

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
            parts += ["", f"size at which {self.measure} crosses {self.target:g}, by a probit line:", shown(self.crossings)]
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
        any other by whether its interval excludes 0.
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
    """
    import pandas as pd

    from hiermodels.studies.machine import cores
    from hiermodels.studies.planning import pilot
    from hiermodels.studies.runner import bind_all, truth_regime

    if isinstance(target, bool) or not isinstance(target, int | float) or not 0 < target < 1:
        raise ValueError(f"power: expected a number between 0 and 1, found {target!r}; e.g. 0.8")
    study = vary_sizes(read_config(config, replications=replications or REPLICATIONS), vary or {})
    rule = _rule(study, estimand)
    bind_all(study)
    estimates, _ = pilot(study, study.replications, workers or cores())
    estimates = estimates[estimates["rep"] < study.replications]
    factors = list(study.factors)
    regimes = {truth_regime(study, cell) for cell in study.cells()}
    prior = regimes == {"prior"}
    found, notes = operating(estimates, [rule], factors=factors, regime="prior" if prior else "population", failures=study.failures)
    measure = "assurance" if prior else "power"
    rows = found[(found["measure"] == measure) & found["group"].isin(["", "[mean]"])]
    if rows.empty:
        raise ValueError(f"estimand: {estimand}: the claim is false in every cell, so there is no power; give a truth for which it is true")
    units = pd.DataFrame([{**cell.factors, "units": n} for cell, n in zip(study.cells(), _units(study), strict=True)])
    rows = rows.merge(units, how="left", on=factors) if factors else rows.assign(units=units["units"].iloc[0])
    table = rows.rename(columns={"value": "power"})[[*factors, "units", "method", "power", "mcse", "lower", "upper", "n_sim", "n", "n_failed"]]
    table = table.reset_index(drop=True)
    sizes = [f for f in factors if _is_size(study, f)]
    return PowerCurve(table, _smallest(table, sizes, factors, target), crossings(table, sizes, factors, target), float(target), measure, tuple(notes))


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
            known = ", ".join(k for k in design if k != "predictors") if isinstance(design, dict) and "table" not in design else "none: it is a table"
            raise ValueError(f"vary: {name!r} is no size of the design; its sizes are {known}")
    rows = [cell.factors for cell in study.cells()]
    grid = [{**row, **dict(zip(vary, combination, strict=True))} for row in rows for combination in itertools.product(*map(list, vary.values()))]
    data["mechanisms"] = {**data["mechanisms"], "grid": grid}
    return Study.from_resolved(data, source=study.source, name=study.name, functions=study.functions())


def _is_size(study: Study, name: str) -> bool:
    design = study.mechanisms.design
    return isinstance(design, dict) and "table" not in design and name in design and name != "predictors"


def _rule(study: Study, estimand: str) -> Rule:
    from hiermodels.studies.tables import known

    decisions = {rule.name: rule for rule in read_rules(getattr(study, "decisions", None) or {})}
    if estimand in decisions:
        return decisions[estimand]
    found = {e.name: e for e in study.estimands}
    known("estimand", estimand, [*decisions, *found])
    if found[estimand].kind == "probability":
        return Rule(estimand, estimand, above=(1 + study.interval.level) / 2)
    return Rule(estimand, estimand, excludes=0.0)


def _units(study: Study) -> list[int]:
    from hiermodels.studies.ready import mechanism_of

    return [len(mechanism_of(study, cell).frame) for cell in study.cells()]


def _smallest(table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float) -> pd.DataFrame:
    """Rows with the fewest units that reach the target, for each method and setting of what is no size."""
    others = [*(f for f in factors if f not in sizes), "method"]
    reaching = table[table["power"] >= target]
    if reaching.empty:
        return reaching
    best = reaching.sort_values(["units", *sizes], kind="stable").groupby(others, sort=False, observed=True).head(1)
    return best.assign(sure=best["lower"] >= target).sort_index().reset_index(drop=True)


def crossings(table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float) -> pd.DataFrame:
    """Sizes at which a probit line crosses the target, the other factors held: one size at a time.

    Weighted least squares of Phi^-1(power) on sqrt(size), weights ``phi(Phi^-1(p))^2 n / (p (1 - p))``; powers of 0 and 1 enter as
    half a replicate from the edge. Lines need three sizes and a slope above zero.

    Parameters
    ----------
    table : DataFrame
        Columns of `PowerCurve.table`.
    sizes, factors : sequence of str
    target : float

    Returns
    -------
    DataFrame
        ``size, <other factors>, method, needed, mcse``: the crossing (not rounded) and its Monte Carlo standard error.

    Examples
    --------
    >>> import pandas as pd
    >>> size = np.arange(10, 60, 10.0)
    >>> rows = pd.DataFrame({"school": size, "method": "m", "power": stats.norm.cdf(-1.96 + 0.5 * np.sqrt(size)), "n_sim": 1000})
    >>> float(crossings(rows, ["school"], ["school"], 0.8)["needed"].round(1).iloc[0])
    31.4
    """
    import pandas as pd

    found = []
    for size in sizes:
        others = [*(f for f in factors if f != size), "method"]
        for key, part in table.groupby(others, sort=False, observed=True):
            values = pd.to_numeric(part[size], errors="coerce")
            if values.notna().sum() < 3:
                continue
            at = _crossing(values.to_numpy(float), part["power"].to_numpy(float), part["n_sim"].to_numpy(float), target)
            if at is not None:
                found.append({"size": size, **dict(zip(others, key, strict=True)), "needed": at[0], "mcse": at[1]})
    return pd.DataFrame(found)


def _crossing(size: Any, power: Any, n: Any, target: float) -> tuple[float, float] | None:
    p = np.clip(power, 0.5 / n, 1 - 0.5 / n)
    y, x = stats.norm.ppf(p), np.stack([np.ones_like(size), np.sqrt(size)], 1)
    weight = stats.norm.pdf(y) ** 2 * n / (p * (1 - p))
    covariance = np.linalg.pinv(x.T @ (weight[:, None] * x))
    a, b = covariance @ (x.T @ (weight * y))
    root = (stats.norm.ppf(target) - a) / b if b > 0 else math.nan
    if not root > 0:
        return None
    gradient = np.array([-2 * root / b, -2 * root**2 / b])
    return float(root**2), float(np.sqrt(gradient @ covariance @ gradient))
