"""Decisions and how often they are right: type I error, power, assurance.

A *rule* says when a decision fires, from estimates that are stored, so that rules change without refitting:

| rule | fires where | the claim |
|---|---|---|
| ``benefit: 0.975`` | the posterior probability ``benefit`` exceeds 0.975 | the event of that probability |
| ``{estimand: treated, excludes: 0}`` | the interval of ``treated`` excludes 0 | treated is not 0 |
| ``{estimand: treated, excludes: 0, side: above}`` | the interval lies above 0 | treated > 0 |
| ``{estimand: benefit, type1: 0.05, null: {treated: 0}}`` | ``benefit`` exceeds what 5% do in the cells with treated = 0 | the event |

Where the claim is false, firing is a type I error; where it is true, it is power; where truths are drawn from a prior, the
share that fires is the assurance. Rules on groups are judged group by group, averaged (``[mean]``), and as a family
(``[any]``, ``[all]``): any false claim is the family-wise error.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.studies.montecarlo import Z95

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ALL", "ANY", "Rule", "calibrate_thresholds", "decide", "operating", "read_rules"]

ANY, ALL = "[any]", "[all]"
_KEYS = ("estimand", "above", "excludes", "side", "type1", "null")
_SIDES = ("both", "above", "below")


@dataclass(frozen=True)
class Rule:
    """When a decision fires.

    Attributes
    ----------
    name : str
        Of the decision; the ``estimand`` of its rows in the table.
    estimand : str
        What it reads.
    above : float or None
        Fires where the estimate, a posterior probability, exceeds it.
    excludes : float or None
        Fires where the interval excludes it.
    side : str
        ``both``, ``above`` or ``below``: where the interval has to lie.
    type1 : float or None
        Fires above the threshold that this share of the null cell exceeds.
    null : dict of str to number or text
        Factors of the null cell; the other factors are the cell's own.
    """

    name: str
    estimand: str
    above: float | None = None
    excludes: float | None = None
    side: str = "both"
    type1: float | None = None
    null: Mapping[str, Any] = field(default_factory=dict)


def read_rules(decisions: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Rules from the ``decisions`` of a config.

    Parameters
    ----------
    decisions : mapping
        Name of a decision to a threshold, or to a mapping with ``estimand`` (by default the name) and one of ``above``,
        ``excludes`` (with ``side``) and ``type1`` (with ``null``).

    Raises
    ------
    ValueError
        Starting with the decision's name: what was expected, what was found, what to write.

    Examples
    --------
    >>> read_rules({"benefit": 0.975})[0].above
    0.975
    >>> read_rules({"differs": {"estimand": "treated", "excludes": 0}})[0].side
    'both'
    """
    if not isinstance(decisions, Mapping):
        raise ValueError(f"expected decision: threshold, found {decisions!r}; write e.g. {{benefit: 0.975}}")
    return tuple(_rule(str(name), value) for name, value in decisions.items())


def _rule(name: str, value: Any) -> Rule:
    given = dict(value) if isinstance(value, Mapping) else {"above": value}
    for key in given:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(_KEYS)}"
            raise ValueError(f"{name}: unknown key {key!r}; {hint}")
    kinds = [key for key in ("above", "excludes", "type1") if key in given]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise ValueError(f"{name}: expected one of above, excludes and type1, found {found}; write e.g. {{above: 0.975}}")
    kind = kinds[0]
    number = given[kind]
    real = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not real or (kind != "excludes" and not 0 < number < 1):
        wanted = "a number" if kind == "excludes" else "a number between 0 and 1"
        raise ValueError(f"{name}: {kind}: expected {wanted}, found {number!r}; write e.g. {0 if kind == 'excludes' else 0.975}")
    side = given.get("side", "both")
    if side not in _SIDES or (side != "both" and kind != "excludes"):
        raise ValueError(f"{name}: side: expected one of {', '.join(_SIDES)}, of an interval that excludes a value, found {side!r}; mend it")
    null = given.get("null", {})
    if (kind == "type1") != bool(null) or not isinstance(null, Mapping):
        raise ValueError(f"{name}: null: expected the factors of the null cell beside type1 and nowhere else, found {null!r}; write e.g. null: {{treated: 0}}")
    return Rule(name, str(given.get("estimand", name)), **{kind: float(number)}, side=side, null=dict(null))


def decide(estimates: pd.DataFrame, rules: Sequence[Rule], factors: Sequence[str] = ()) -> pd.DataFrame:
    """The table of decisions: as the table of estimates, with 1 where a rule fires and 0 where it does not.

    Parameters
    ----------
    estimates : DataFrame
        The long table of estimates.
    rules : sequence of Rule
    factors : sequence of str
        Columns whose values identify a cell.

    Returns
    -------
    DataFrame
        ``rep, <factors>, method, estimand`` (the rule's name), ``group, true`` (whether the claim is true, NaN where
        unknown), ``estimate`` (whether it fires, NaN where the fit gave nothing), ``status`` and ``n_try``.

    Raises
    ------
    ValueError
        For a rule whose estimand the table has not, or that asks a threshold of what is no probability.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"rep": [0, 1], "method": "m", "estimand": "benefit", "group": "", "true": 1.0,
    ...                      "estimate": [0.99, 0.5], "lower": float("nan"), "upper": float("nan"), "status": "ok"})
    >>> decide(rows, read_rules({"benefit": 0.975}))["estimate"].tolist()
    [1.0, 0.0]
    """
    import pandas as pd

    parts = []
    for rule in rules:
        rows = estimates[estimates["estimand"] == rule.estimand]
        if rows.empty:
            known = ", ".join(map(str, pd.unique(estimates["estimand"])))
            raise ValueError(f"decisions: {rule.name}: no estimand {rule.estimand!r} in the estimates; it has {known}")
        keep = [c for c in ("rep", *factors, "method", "group", "status", "n_try") if c in rows]
        fired, claim = _applied(rule, rows, factors)
        parts.append(rows[keep].assign(estimand=rule.name, true=claim, estimate=fired, lower=np.nan, upper=np.nan))
    return pd.concat(parts, ignore_index=True)


def _applied(rule: Rule, rows: pd.DataFrame, factors: Sequence[str]) -> tuple[Any, Any]:
    """Whether the rule fires and whether its claim is true, row by row; NaN where not known."""
    true = rows["true"].to_numpy(float)
    if rule.excludes is not None:
        lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
        over, under = lower > rule.excludes, upper < rule.excludes
        fired = {"both": over | under, "above": over, "below": under}[rule.side]
        claim = {"both": true != rule.excludes, "above": true > rule.excludes, "below": true < rule.excludes}[rule.side]
        known = ~(np.isnan(lower) | np.isnan(upper)) & ~_blind(rule, rows)
        return np.where(known, fired, np.nan), np.where(np.isfinite(true), claim, np.nan)
    estimate = rows["estimate"].to_numpy(float)
    seen = estimate[np.isfinite(estimate)]
    if len(seen) and not ((seen >= 0) & (seen <= 1)).all():
        raise ValueError(f"decisions: {rule.name}: expected a posterior probability such as P({rule.estimand} > 0), found numbers outside 0 to 1; use excludes: 0")
    threshold: Any = rule.above
    if rule.type1 is not None:
        table = calibrate_thresholds(rows, rule, factors)
        free = [f for f in factors if f not in rule.null]
        wanted = _plain_keys(rows[[*free, "method"]]).merge(_plain_keys(table), how="left", on=[*free, "method"])
        threshold = wanted["value"].to_numpy(float)
        if np.isnan(threshold).any():
            null = ", ".join(f"{k}={v}" for k, v in rule.null.items())
            raise ValueError(f"decisions: {rule.name}: null: no cell with {null} beside every other cell; add it to the grid")
    return np.where(np.isfinite(estimate), estimate > threshold, np.nan), true


def _blind(rule: Rule, rows: pd.DataFrame) -> Any:
    """Rows whose claim the method cannot make: its intervals have no end on the side away from the truth."""
    true = rows["true"].to_numpy(float)
    found = np.zeros(len(rows), bool)
    for end, infinite, side in (("lower", -np.inf, "above"), ("upper", np.inf, "below")):
        if rule.side not in ("both", side):
            continue
        open_ended = rows[end].isna() | (rows[end] == infinite)
        always = open_ended.groupby(rows["method"].astype(str)).transform("all").to_numpy(bool) & ~rows[end].isna().to_numpy()
        assert rule.excludes is not None
        found |= always & (true > rule.excludes if side == "above" else true < rule.excludes)
    return found


def _one_sided(rule: Rule, estimates: pd.DataFrame) -> list[str]:
    """A note where intervals with one end cannot make the rule's claim."""
    if rule.excludes is None:
        return []
    rows = estimates[estimates["estimand"] == rule.estimand]
    methods = sorted(set(rows.loc[_blind(rule, rows), "method"].astype(str)))
    if not methods:
        return []
    return [
        f"{rule.name} is NA for {', '.join(methods[:6])} where its claim is on the side without an end: intervals of {rule.estimand} have one end, "
        f"which never passes {rule.excludes:g}; take an interval with two ends, or decide by a probability such as P({rule.estimand} > {rule.excludes:g})."
    ]


def _plain_keys(table: pd.DataFrame) -> pd.DataFrame:
    """Texts as texts, so that tables with and without categories can be joined."""
    import pandas as pd

    return table.assign(**{str(c): table[c].astype(str) for c in table if not pd.api.types.is_numeric_dtype(table[c].dtype)})


def calibrate_thresholds(estimates: pd.DataFrame, rule: Rule, factors: Sequence[str] = ()) -> pd.DataFrame:
    """Thresholds at which a rule has its type I error in the null cells: one for each method and setting of the other factors.

    The least stored probability t with ``share(estimate > t) <= type1`` over all replicates (and groups) of the null cell. For
    continuous estimates the error of a threshold chosen so has mean type1 and the standard deviation
    ``sqrt(type1 (1 - type1) / n)`` (a beta law), which is the MCSE of the resulting error; with groups the replicate is the unit.

    Parameters
    ----------
    estimates : DataFrame
        Long table of estimates with the rule's estimand.
    rule : Rule
        With ``type1`` and ``null``.
    factors : sequence of str

    Returns
    -------
    DataFrame
        ``<other factors>, method, value, lower, upper, error, error_mcse, n_sim``: the threshold with a 95% Monte Carlo
        interval from order statistics, the share that exceeds it in the null cell, and the MCSE of the resulting error.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"rep": range(100), "method": "m", "estimand": "b", "group": "", "treated": 0.0,
    ...                      "true": 0.0, "estimate": [i / 100 for i in range(100)], "status": "ok"})
    >>> rule = Rule("b", "b", type1=0.05, null={"treated": 0})
    >>> calibrate_thresholds(rows, rule, ["treated"])[["value", "error"]].values.tolist()
    [[0.94, 0.05]]
    """
    import pandas as pd

    assert rule.type1 is not None
    unknown = [name for name in rule.null if name not in factors]
    if unknown:
        raise ValueError(f"decisions: {rule.name}: null: {unknown[0]!r} is no factor of the grid ({', '.join(factors) or 'none'}); name one of them")
    null = estimates[estimates["estimand"] == rule.estimand]
    for name, value in rule.null.items():
        null = null[null[name].astype(object).map(_same) == _same(value)]
    free = [f for f in factors if f not in rule.null]
    rows = []
    for key, part in null.groupby([*free, "method"], sort=False, observed=True):
        rows.append({**dict(zip([*free, "method"], key, strict=True)), **_threshold(part, rule.type1)})
    return pd.DataFrame(rows, columns=[*free, "method", "value", "lower", "upper", "error", "error_mcse", "n_sim"])


def _same(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | np.number) else str(value)


def _threshold(part: pd.DataFrame, type1: float) -> dict[str, float]:
    seen = part[np.isfinite(part["estimate"].to_numpy(float))]
    values = np.sort(seen["estimate"].to_numpy(float))
    n = len(values)
    if n == 0:
        return {"value": np.nan, "lower": np.nan, "upper": np.nan, "error": np.nan, "error_mcse": np.nan, "n_sim": 0}
    fired = seen.assign(fired=seen["estimate"] > values[_place(n, type1)])
    within = fired.groupby("rep")["fired"].mean()
    spread = max(float(within.std(ddof=1) / math.sqrt(len(within))) if len(within) > 1 else 0.0, math.sqrt(type1 * (1 - type1) / n))
    low, high = (values[_place(n, min(max(type1 + sign * Z95 * spread, 0.0), 1.0))] for sign in (1, -1))
    return {"value": values[_place(n, type1)], "lower": low, "upper": high, "error": float(fired["fired"].mean()), "error_mcse": spread, "n_sim": len(within)}


def _place(n: int, share: float) -> int:
    """Place of the least order statistic that at most this share of n values exceeds."""
    return max(0, n - 1 - math.floor(share * n + 1e-9))


def operating(
    estimates: pd.DataFrame, rules: Sequence[Rule], *, factors: Sequence[str] = (), regime: str = "population", failures: str = "complete-case"
) -> tuple[pd.DataFrame, list[str]]:
    """Operating characteristics of decision rules, in the form of the table of performance.

    Parameters
    ----------
    estimates : DataFrame
        The long table of estimates.
    rules : sequence of Rule
    factors : sequence of str
        Columns whose values identify a cell.
    regime : str
        Truth regime; ``prior`` adds the assurance.
    failures : str
        What to do about fits that gave nothing, as in `hiermodels.studies.measures.performance`.

    Returns
    -------
    table : DataFrame
        Columns of the table of performance; ``measure`` is ``type1`` (share that fires where the claim is false), ``power``
        (where it is true), ``assurance`` (whatever the truth, in the prior regime) or ``threshold`` (of a calibrated rule).
        ``group`` ``[any]`` and ``[all]``: any, all of the groups for which the claim is false (type1) or true (power).
        Shares have binomial MCSEs and Wilson intervals, the replicate as the unit.
    notes : list of str

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"rep": range(4), "method": "m", "estimand": "benefit", "group": "", "true": 1.0,
    ...                      "estimate": [0.99, 0.5, 0.99, 0.98], "lower": float("nan"), "upper": float("nan"), "status": "ok"})
    >>> table, notes = operating(rows, read_rules({"benefit": 0.975}))
    >>> table[["measure", "value", "n_sim"]].to_dict("records")
    [{'measure': 'power', 'value': 0.75, 'n_sim': 4}]
    """
    import pandas as pd

    decided = decide(estimates, rules, factors)
    order = {rule.name: i for i, rule in enumerate(rules)}
    parts = []
    for measure, rows in _sides(decided, regime):
        if rows.empty:
            continue
        table = _shares(rows, factors, regime, failures)
        parts.append(table.assign(measure=measure))
        family = _families(rows, factors, measure)
        for group, whole in family:
            table = _shares(whole, factors, regime, failures)
            parts.append(table.assign(measure=measure, group=group))
    parts += [_threshold_rows(estimates, rule, factors) for rule in rules if rule.type1 is not None]
    table = pd.concat(parts, ignore_index=True)
    place = table["estimand"].map(order)
    cells = table.groupby([*factors], sort=False, observed=True, dropna=False).ngroup() if factors else np.zeros(len(table), int)
    table = table.assign(_cell=cells, _rule=place).sort_values(["_cell", "method", "_rule"], kind="stable")
    notes = [note for rule in rules for note in _one_sided(rule, estimates)]
    return table.drop(columns=["_cell", "_rule"]).reset_index(drop=True), notes


def _sides(decided: pd.DataFrame, regime: str) -> list[tuple[str, pd.DataFrame]]:
    """Rows by what firing means there; a claim of which nothing is known counts as true."""
    false = decided["true"] == 0
    found = [("type1", decided[false]), ("power", decided[~false])]
    return [*found, ("assurance", decided)] if regime == "prior" else found


def _shares(rows: pd.DataFrame, factors: Sequence[str], regime: str, failures: str) -> pd.DataFrame:
    from hiermodels.studies.measures import performance

    names = {str(n): 0.5 for n in rows["estimand"].unique()}
    return performance(rows, factors=factors, measures=["power"], failures=failures, regime=regime, decisions=names)[0]


def _families(rows: pd.DataFrame, factors: Sequence[str], measure: str) -> list[tuple[str, pd.DataFrame]]:
    """Decisions on groups as one decision a replicate: any fires; all fire (of true claims)."""
    grouped = rows[rows["group"].astype(str) != ""]
    if grouped.empty:
        return []
    keys = ["rep", *factors, "method", "estimand"]
    by = grouped.groupby(keys, sort=False, observed=True)
    first = by[[c for c in ("true", "lower", "upper", "status", "n_try") if c in grouped]].first()
    found = []
    for group, function in ((ANY, "max"), (ALL, "min")):
        if group == ALL and measure == "type1":
            continue
        fired = by["estimate"].agg(function).where(by["estimate"].count() == by.size())
        status = first["status"].astype(object).where(fired.notna(), "nonfinite")
        found.append((group, first.assign(estimate=fired, status=status, group="").reset_index()))
    return found


def _threshold_rows(estimates: pd.DataFrame, rule: Rule, factors: Sequence[str]) -> pd.DataFrame:
    """Calibrated thresholds as rows of the null cells."""
    table = calibrate_thresholds(estimates, rule, factors)
    table = table.assign(**rule.null, estimand=rule.name, group="", measure="threshold", n=table["n_sim"], n_failed=0, n_retried=0)
    table["mcse"] = (table["upper"] - table["lower"]) / (2 * Z95)
    columns = [*factors, "method", "estimand", "group", "measure", "value", "mcse", "lower", "upper", "n_sim", "n", "n_failed", "n_retried"]
    return table[columns]
