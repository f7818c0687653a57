"""Decisions and how often they are right: type I error, power, assurance.

A *rule* says when a decision fires, from estimates that are stored, so that rules change without refitting:

| rule | fires where | the claim |
|---|---|---|
| ``benefit: 0.975`` | the posterior probability ``benefit`` exceeds 0.975 | the event of that probability |
| ``{estimand: treated, excludes: 0}`` | the interval of ``treated`` excludes 0 | treated is not 0 |
| ``{estimand: treated, excludes: 0, side: above}`` | the interval lies above 0 | treated > 0 |
| ``{estimand: benefit, type1: 0.05, null: {treated: 0}}`` | ``benefit`` exceeds what 5% do in the cells with treated = 0 | the event |

Where the claim is false, firing is a type I error; where it is true, it is power; where truths are drawn from a prior,
the share that fires is the assurance. Rules on groups are judged group by group, averaged (``[mean]``), and as a family
(``[any]``, ``[all]``): any false claim is the family-wise error.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hiermodels.inference.draws import STATUS
from hiermodels.studies.score.rules import Rule, read_rules
from hiermodels.studies.score.scoring import performance
from hiermodels.studies.score.thresholds import THRESHOLD_READS, calibrate_thresholds, calibrated, threshold_rows
from hiermodels.studies.store.blocks import cells_of
from hiermodels.studies.store.large import LargeCell

__all__ = ["ALL", "ANY", "Rule", "calibrate_thresholds", "decide", "operating", "read_rules"]

ANY, ALL = "[any]", "[all]"


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
    return _decided(estimates, rules, factors, _Evidence([estimates], rules, factors)).astype({"estimand": "str"})


type Batch = pd.DataFrame | LargeCell
"""Rows of whole cells, or a cell that is read chunk by chunk."""
_READ = ("rep", "method", "estimand", "group", "true", "estimate", "lower", "upper", "status", "n_try")
"""Columns of the estimates that decisions are made on, beside factors."""


def _frames(batches: Sequence[Batch], columns: Sequence[str], factors: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Rows, so many at a time as are in memory, with these columns and factors at least."""
    for batch in batches:
        if isinstance(batch, LargeCell):
            yield from (table.to_pandas() for table in batch.tables({*columns, *factors}))
        else:
            yield batch


class _Evidence:
    """What rules must know of all rows: thresholds that are calibrated, and methods whose intervals have one end.

    Parameters
    ----------
    batches : sequence of DataFrame or LargeCell
    rules : sequence of Rule
    factors : sequence of str
    """

    def __init__(self, batches: Sequence[Batch], rules: Sequence[Rule], factors: Sequence[str]) -> None:
        seen: dict[Any, None] = {}
        open_ends: dict[tuple[str, str, str], tuple[bool, bool]] = {}
        for frame in _frames(batches, _READ, factors):
            seen |= dict.fromkeys(pd.unique(frame["estimand"]))
            for rule in rules:
                rows = frame[frame["estimand"] == rule.estimand]
                for key, found in _open_ends(rule, rows).items():
                    old = open_ends.get(key, (True, False))
                    open_ends[key] = (old[0] and found[0], old[1] or found[1])
        for rule in rules:
            if rule.estimand not in seen:
                raise ValueError(
                    f"decisions: {rule.name}: no estimand {rule.estimand!r} in the estimates; it has "
                    f"{', '.join(map(str, seen))}"
                )
        self.open_ends = open_ends
        self.thresholds = {
            rule.name: calibrated(lambda: _frames(batches, THRESHOLD_READS, factors), rule, factors)
            for rule in rules
            if rule.type1 is not None
        }

    def blind(self, rule: Rule, rows: pd.DataFrame) -> Any:
        """Rows whose claim the method cannot make: its intervals have no end on the side away from the truth."""
        found = np.zeros(len(rows), bool)
        for end, _, side in _of_side(rule):
            always = [
                m
                for (name, e, m), (all_of_them, _) in self.open_ends.items()
                if (name, e) == (rule.name, end) and all_of_them
            ]
            if always:
                found |= rows["method"].astype(str).isin(always).to_numpy(bool) & _claims(rule, rows, end, side)
        return found

    def one_sided(self, rule: Rule) -> list[str]:
        """A note where intervals with one end cannot make the rule's claim."""
        methods = sorted(
            {
                m
                for (name, _, m), (all_of_them, some) in self.open_ends.items()
                if name == rule.name and all_of_them and some
            }
        )
        if not methods:
            return []
        return [
            f"{rule.name} is NA for {', '.join(methods[:6])} where its claim is on the side without an end: "
            f"intervals of {rule.estimand} have one end, "
            f"which never passes {rule.excludes:g}; take an interval with two ends, or decide by a probability such "
            f"as P({rule.estimand} > {rule.excludes:g})."
        ]


def _of_side(rule: Rule) -> list[tuple[str, float, str]]:
    """Ends of intervals, what they are where there is none, and the side of the claims that they make."""
    ends = [("lower", -np.inf, "above"), ("upper", np.inf, "below")]
    return [] if rule.excludes is None else [one for one in ends if rule.side in ("both", one[2])]


def _claims(rule: Rule, rows: pd.DataFrame, end: str, side: str) -> Any:
    """Rows with an interval whose claim is true on a side."""
    true = rows["true"].to_numpy(float)
    assert rule.excludes is not None
    return ~rows[end].isna().to_numpy() & (true > rule.excludes if side == "above" else true < rule.excludes)


def _open_ends(rule: Rule, rows: pd.DataFrame) -> dict[tuple[str, str, str], tuple[bool, bool]]:
    """By rule, end and method: whether every interval lacks the end, and whether some claim is on its side."""
    found = {}
    for end, infinite, side in _of_side(rule):
        open_ended, claims = (rows[end].isna() | (rows[end] == infinite)).to_numpy(), _claims(rule, rows, end, side)
        for method in rows["method"].unique():
            here = (rows["method"] == method).to_numpy(bool)
            found[rule.name, end, str(method)] = (bool(open_ended[here].all()), bool(claims[here].any()))
    return found


def _decided(
    estimates: pd.DataFrame, rules: Sequence[Rule], factors: Sequence[str], evidence: _Evidence
) -> pd.DataFrame:
    """As `decide`, of some of the rows."""
    parts, names = [], pd.CategoricalDtype([rule.name for rule in rules])
    for i, rule in enumerate(rules):
        rows = estimates[estimates["estimand"] == rule.estimand]
        keep = [c for c in ("rep", *factors, "method", "group", "status", "n_try") if c in rows]
        fired, claim = _applied(rule, rows, evidence)
        name = pd.Categorical.from_codes(np.full(len(rows), i), dtype=names)
        parts.append(rows[keep].assign(estimand=name, true=claim, estimate=fired, lower=np.nan, upper=np.nan))
    return pd.concat(parts, ignore_index=True)


def _applied(rule: Rule, rows: pd.DataFrame, evidence: _Evidence) -> tuple[Any, Any]:
    """Whether the rule fires and whether its claim is true, row by row; NaN where not known."""
    true = rows["true"].to_numpy(float)
    if rule.excludes is not None:
        lower, upper = rows["lower"].to_numpy(float), rows["upper"].to_numpy(float)
        over, under = lower > rule.excludes, upper < rule.excludes
        fired = {"both": over | under, "above": over, "below": under}[rule.side]
        claim = {"both": true != rule.excludes, "above": true > rule.excludes, "below": true < rule.excludes}[rule.side]
        known = ~(np.isnan(lower) | np.isnan(upper)) & ~evidence.blind(rule, rows)
        return np.where(known, fired, np.nan), np.where(np.isfinite(true), claim, np.nan)
    estimate = rows["estimate"].to_numpy(float)
    seen = estimate[np.isfinite(estimate)]
    if len(seen) and not ((seen >= 0) & (seen <= 1)).all():
        raise ValueError(
            f"decisions: {rule.name}: expected a posterior probability such as P({rule.estimand} > 0), found numbers "
            f"outside 0 to 1; use excludes: 0"
        )
    threshold: Any = rule.above
    if rule.type1 is not None:
        table = evidence.thresholds[rule.name]
        keys = list(table.columns[: table.columns.get_loc("value")])
        wanted = _plain_keys(rows[keys]).merge(_plain_keys(table), how="left", on=keys)
        threshold = wanted["value"].to_numpy(float)
        if np.isnan(threshold).any():
            null = ", ".join(f"{k}={v}" for k, v in rule.null.items())
            raise ValueError(
                f"decisions: {rule.name}: null: no cell with {null} beside every other cell; add it to the grid"
            )
    return np.where(np.isfinite(estimate), estimate > threshold, np.nan), true


def _plain_keys(table: pd.DataFrame) -> pd.DataFrame:
    """Texts as texts, so that tables with and without categories can be joined."""
    return table.assign(
        **{str(c): table[c].astype(str) for c in table if not pd.api.types.is_numeric_dtype(table[c].dtype)}
    )


def operating(
    estimates: pd.DataFrame | Sequence[Batch],
    rules: Sequence[Rule],
    *,
    factors: Sequence[str] = (),
    regime: str = "population",
    failures: str = "complete-case",
) -> tuple[pd.DataFrame, list[str]]:
    """Operating characteristics of decision rules, in the form of the table of performance.

    Parameters
    ----------
    estimates : DataFrame or sequence
        The long table of estimates; or in batches of whole cells, each a table or a
        `hiermodels.studies.store.large.LargeCell`.
    rules : sequence of Rule
    factors : sequence of str
        Columns whose values identify a cell.
    regime : str
        Truth regime; ``prior`` adds the assurance.
    failures : str
        What to do about fits that gave nothing, as in `hiermodels.studies.score.scoring.performance`.

    Returns
    -------
    table : DataFrame
        Columns of the table of performance; ``measure`` is ``type1`` (share that fires where the claim is false),
        ``power`` (where it is true), ``assurance`` (whatever the truth, in the prior regime) or ``threshold`` (of a
        calibrated rule). ``group`` ``[any]`` and ``[all]``: any, all of the groups for which the claim is false (type1)
        or true (power). Shares have binomial MCSEs and Wilson intervals, the replicate as the unit.
    notes : list of str

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame({"rep": range(4), "method": "m", "estimand": "benefit", "group": "", "true": 1.0,
    ...                      "estimate": [0.99, 0.5, 0.99, 0.98], "lower": float("nan"), "upper": float("nan"), "status": "ok"})
    >>> table, notes = operating(rows, read_rules({"benefit": 0.975}))
    >>> table[["measure", "value", "n_sim"]].to_dict("records")
    [{'measure': 'power', 'value': 0.75, 'n_sim': 4}]
    """  # noqa: E501
    batches: Sequence[Batch] = [estimates] if isinstance(estimates, pd.DataFrame) else estimates
    evidence = _Evidence(batches, rules, factors)

    def parted(frame: pd.DataFrame) -> pd.DataFrame:
        return _parted(_decided(frame, rules, factors, evidence), factors, regime)

    decided = [_large(batch, parted, factors) if isinstance(batch, LargeCell) else parted(batch) for batch in batches]
    names = {_tag(part, rule.name): 0.5 for part in _PARTS for rule in rules}
    table = performance(
        decided, factors=factors, measures=["power"], failures=failures, regime=regime, decisions=names
    )[0]
    table = _untagged(table)
    parts = [
        table,
        *(threshold_rows(evidence.thresholds[rule.name], rule, factors) for rule in rules if rule.type1 is not None),
    ]
    table = pd.concat(parts, ignore_index=True)
    cells = (
        table.groupby([*factors], sort=False, observed=True, dropna=False).ngroup()
        if factors
        else np.zeros(len(table), int)
    )
    place = table["estimand"].map({rule.name: i for i, rule in enumerate(rules)})
    table = table.assign(_cell=cells, _rule=place).sort_values(["_cell", "method", "_rule"], kind="stable")
    notes = [note for rule in rules for note in evidence.one_sided(rule)]
    return table.drop(columns=["_cell", "_rule"]).reset_index(drop=True), notes


_PARTS = tuple((measure, group) for measure in ("type1", "power", "assurance") for group in ("", ANY, ALL))
"""Measures, and whether they are of groups or of a family of them, in the order of their rows."""
_BY = "\x1f"


def _tag(part: tuple[str, str], name: str) -> str:
    """Name of an estimand, or label of a group, that says what it is a part of."""
    return _BY.join((str(_PARTS.index(part)), name))


def _large(cell: LargeCell, parted: Callable[[pd.DataFrame], pd.DataFrame], factors: Sequence[str]) -> LargeCell:
    """A cell whose chunks become decisions as they are read."""
    return cell.mapped(
        lambda table: pa.Table.from_pandas(parted(table.to_pandas()), preserve_index=False), {*_READ, *factors}
    )


def _parted(decided: pd.DataFrame, factors: Sequence[str], regime: str) -> pd.DataFrame:
    """Decisions by what firing means, and as families; estimands and groups with their tags.

    A claim of which nothing is known counts as true.
    """
    false = decided["true"] == 0
    sides = {"type1": decided[false], "power": decided[~false], **({"assurance": decided} if regime == "prior" else {})}
    found = []
    for measure, rows in sides.items():
        found += [
            ((measure, ""), rows),
            *(((measure, group), whole) for group, whole in _families(rows, factors, measure)),
        ]
    tags = {name: _tags(decided[name]) for name in ("estimand", "group")}
    parts = [rows.assign(**{name: _tagged(rows[name], tags[name], part) for name in tags}) for part, rows in found]
    return pd.concat(parts, ignore_index=True)


def _tags(column: pd.Series) -> pd.CategoricalDtype:
    """Texts of a column with the tags of every part; a scalar has no group."""
    texts = [str(text) for text in column.astype("category").cat.categories if text]
    return pd.CategoricalDtype(["", *(_tag(part, text) for part in _PARTS for text in texts)])


def _tagged(column: pd.Series, tags: pd.CategoricalDtype, part: tuple[str, str]) -> Any:
    """Texts with the tags of a part."""
    coded = column.astype("category")
    place = tags.categories.get_indexer(
        pd.Index([_tag(part, str(text)) if text else "" for text in coded.cat.categories])
    )
    return pd.Categorical.from_codes(place[coded.cat.codes.to_numpy()], dtype=tags)


def _untagged(table: pd.DataFrame) -> pd.DataFrame:
    """A table of decisions in the order of its parts, with their measures, and estimands and groups without tags."""
    tags = table["estimand"].str.split(_BY, n=1)
    place = tags.str[0].astype(int)
    families = place.map(lambda i: _PARTS[i][1])
    group = table["group"].str.split(_BY, n=1).str[-1].where(families == "", families)
    table = table.assign(
        estimand=tags.str[1].astype("str"),
        group=group.astype("str"),
        measure=place.map(lambda i: _PARTS[i][0]).astype("str"),
    )
    return table.iloc[np.argsort(place.to_numpy(), kind="stable")]


def _families(rows: pd.DataFrame, factors: Sequence[str], measure: str) -> list[tuple[str, pd.DataFrame]]:
    """Decisions on groups as one decision a replicate: any fires; all fire (of true claims)."""
    grouped = rows[(rows["group"] != "").to_numpy(bool)]
    if grouped.empty:
        return []

    fit = cells_of(grouped, [*factors, "method", "estimand", "rep"])[0].codes
    order = np.argsort(fit, kind="stable")
    starts = np.flatnonzero(np.diff(fit[order], prepend=-1))
    first, estimate = grouped.iloc[order[starts]], grouped["estimate"].to_numpy(float)[order]
    found = []
    for group, function in ((ANY, np.maximum), (ALL, np.minimum)):
        if group == ALL and measure == "type1":
            continue
        fired = function.reduceat(estimate, starts)  # not known where one of them is not
        known = first["status"].astype(pd.CategoricalDtype(list(STATUS)))
        status = known.where(np.isfinite(fired), "nonfinite")
        found.append((group, first.assign(estimate=fired, status=status, group="")))
    return found
