"""Power curves over the number and size of groups, and the smallest design that reaches a target.

`power_curve` simulates every design of a study's grid (sizes of levels are factors like any other), judges one decision
with `hiermodels.studies.score.power`, and reads two answers off: the smallest simulated design whose power reaches the target,
and, along each size, the size between those simulated at which a line through the powers crosses it,

    Phi^-1(power) = a + b sqrt(size / (1 + size / c)),

which is how the power of a normal test grows. With c infinite, a straight line on sqrt(size), it grows without end: the number
of independent units. With a finite c it levels off at Phi(a + b sqrt(c)), as with more and more units in each of a fixed number
of clusters; c is finite where the powers leave no doubt (a chi-square of 3.84 on one degree of freedom). No size is reported
outside those that were simulated, and a level below the target is said.
"""  # noqa: E501

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from hiermodels.studies.config import Study, read_config
from hiermodels.studies.machine import cores
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.plan.planning import pilot
from hiermodels.studies.run.runner import bind_all, truth_regime
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


def crossings(table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float) -> pd.DataFrame:
    """Sizes at which a probit line crosses the target, the other factors held: one size at a time, within those of the table.

    Weighted least squares of Phi^-1(power) on the line above, weights ``phi(Phi^-1(p))^2 n / (p (1 - p))``; powers of 0 and 1 enter
    as half a replicate from the edge. Lines need three sizes and a slope above zero. What lies outside is in `outside`.

    Parameters
    ----------
    table : DataFrame
        Columns of `PowerCurve.table`; ``n``, the replicates behind each power, or ``n_sim``.
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
    """  # noqa: E501
    found = []
    for size, who, values, line in _lines(table, sizes, factors):
        needed, mcse = line.crossing(target)
        if values.min() <= needed <= values.max():
            found.append({"size": size, **who, "needed": needed, "mcse": mcse})
    return pd.DataFrame(found)


def outside(
    table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float, measure: str = "power"
) -> list[str]:
    """Notes where a line does not cross the target within the sizes of the table: what it levels off at, or where to look.

    Parameters
    ----------
    table, sizes, factors, target
        As in `crossings`.
    measure : str
        ``power`` or ``assurance``.
    """  # noqa: E501
    notes = []
    for size, who, values, line in _lines(table, sizes, factors):
        place = ", ".join(f"{key} {_plain(value)}" for key, value in who.items())
        low, high = values.min(), values.max()
        needed, _ = line.crossing(target)
        if low <= needed <= high:
            continue
        if line.power(high) >= target:
            if line.power(low) >= target:
                notes.append(
                    f"{place}: {measure} is above {target:g} at every {size} simulated, the smallest {low:g}; try "
                    f"smaller ones."
                )
        elif line.most < target:
            notes.append(
                f"{place}: as {size} grows, {measure} levels off at about {line.level:.3g}, below {target:g}: no "
                f"{size} reaches it. "
                "Let another size of the design grow, or the effect."
            )
        elif line.slope > 0:
            notes.append(f"{place}: {measure} is about {line.power(high):.3g} at the largest {size} simulated, "
                         f"{high:g}; where it reaches {target:g} "
                         f"lies outside: try larger ones.")  # fmt: skip
        else:
            notes.append(
                f"{place}: {measure} does not grow with {size}; let another size of the design grow, or the effect."
            )
    return notes


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lines(
    table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], Any, _Line]]:
    """A line for each size and setting of the other factors that has three sizes or more, with the sizes."""
    for size in sizes:
        others = [*(f for f in factors if f != size), "method"]
        for key, part in table.groupby(others, sort=False, observed=True):
            values = pd.to_numeric(part[size], errors="coerce").to_numpy(float)
            n, power = (part["n"] if "n" in part else part["n_sim"]).to_numpy(float), part["power"].to_numpy(float)
            real = np.isfinite(values) & np.isfinite(power) & (n > 0)
            if len(np.unique(values[real])) >= 3:
                yield size, dict(zip(others, key, strict=True)), values[real], _line(values[real], power[real], n[real])


_DOUBT = float(stats.chi2.ppf(0.95, 1))
_LEVELS = 60
"""Sizes at which a line may level off, tried on a logarithmic scale."""


@dataclass(frozen=True)
class _Line:
    """Phi^-1(power) = a + b sqrt(size / (1 + size / c)).

    Attributes
    ----------
    a, slope, c : float
    covariance : ndarray
        Of a and b, c held.
    most : float
        Largest power that the line may level off at, within 95% of what the powers say of c; 1 where it may not level off.
    """  # noqa: E501

    a: float
    slope: float
    c: float
    covariance: Any
    most: float

    @property
    def level(self) -> float:
        """Power that the line levels off at."""
        return float(stats.norm.cdf(self.a + self.slope * math.sqrt(self.c))) if math.isfinite(self.c) else 1.0

    def power(self, size: float) -> float:
        """Power at a size."""
        return float(stats.norm.cdf(self.a + self.slope * _root(size, self.c)))

    def crossing(self, target: float) -> tuple[float, float]:
        """Size at which the line crosses a power, and its standard error; NaN where it does not."""
        root = (stats.norm.ppf(target) - self.a) / self.slope if self.slope > 0 else math.nan
        left = 1 - root**2 / self.c
        if not (root > 0 and left > 0):
            return math.nan, math.nan
        gradient = np.array([-1.0, -root]) / self.slope * 2 * root / left**2
        return float(root**2 / left), float(np.sqrt(gradient @ self.covariance @ gradient))


def _root(size: Any, c: float) -> Any:
    return np.sqrt(size / (1 + size / c))


def _line(size: Any, power: Any, n: Any) -> _Line:
    """The line through powers; straight where they leave it in doubt whether it levels off."""
    p = np.clip(power, 0.5 / n, 1 - 0.5 / n)
    y, levels = stats.norm.ppf(p), [math.inf, *np.geomspace(size.min() / 4, size.max() * 64, _LEVELS)[::-1].tolist()]
    weight = stats.norm.pdf(y) ** 2 * n / (p * (1 - p))
    fits = []
    for c in levels:
        x = np.stack([np.ones_like(size), _root(size, c)], 1)
        covariance = np.linalg.pinv(x.T @ (weight[:, None] * x))
        a, b = covariance @ (x.T @ (weight * y))
        fits.append((float(weight @ (y - x @ [a, b]) ** 2), float(a), float(b), c, covariance))
    least = min(fits, key=lambda fit: fit[0])
    if fits[0][0] - least[0] <= _DOUBT:
        return _Line(*fits[0][1:], most=1.0)
    tops = [a + max(b, 0.0) * math.sqrt(c) for loss, a, b, c, _ in fits[1:] if loss - least[0] <= _DOUBT]
    return _Line(*least[1:], most=float(stats.norm.cdf(max(tops))))
