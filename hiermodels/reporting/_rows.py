"""Rows of the long tables, and the words for them: what figures and tables for people share.

Nothing here needs matplotlib.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hiermodels._messages import shortened
from hiermodels.reporting._given import study_table
from hiermodels.studies.score.measures import about

MOST_PANELS = 24
MEAN = "[mean]"
TOGETHER = (MEAN, "[any]", "[all]")
"""Rows about all groups together: their average; any and all of the groups that a decision is about."""

_IDENTIFIES = "rep method estimand group measure"
_ESTIMATES = "true estimate median se lower upper rank max_rank status n_try rhat ess_bulk ess_tail divergences"
_PERFORMANCE = "value mcse lower upper n_sim n n_failed n_retried"
_STATUSES = "ok singular heavy_weights low_ess rhat divergent nonfinite"
NOT_FACTORS = frozenset(" ".join((_IDENTIFIES, _ESTIMATES, _PERFORMANCE, _STATUSES)).split())

BEHIND = "n"
"""Column of replicates behind the values of a row, where a table shows it beside its measures."""


def words_of(measure: str) -> str:
    """Words of a measure, or of the count beside it."""
    return "replicates behind the values of a row" if measure == BEHIND else about(measure).label


def factors(table: pd.DataFrame) -> list[str]:
    """Columns of a long table that are factors of the data-generating mechanism, in the table's order."""
    return [column for column in table.columns if column not in NOT_FACTORS]


def groups_of(table: pd.DataFrame) -> pd.Series:
    """The column ``group`` as text, empty for scalars (which a CSV file gives back as missing)."""
    if "group" not in table:
        return pd.Series("", index=table.index)
    return table["group"].astype(object).where(table["group"].notna(), "").astype(str)


def levels(column: pd.Series) -> list[Any]:
    """Distinct values: numbers in increasing order, words in order of first appearance, missing ones last."""
    found = list(column.dropna().unique())
    if pd.api.types.is_numeric_dtype(column):
        found = sorted(found)
    return found + ([None] if column.isna().any() else [])


def label(value: object) -> str:
    """Text of a factor's value: ``5`` for 5.0, a dash where a mechanism has no such factor."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return f"{value:g}" if isinstance(value, (int, float, np.number)) else str(value)


def target(estimand: str, group: str = "") -> str:
    """Name of an estimand with its group, ``theta_school [A]``; the average over groups is said in words."""
    if group == "" or (group == MEAN and "(" in estimand):
        return estimand
    words = {MEAN: "mean over groups", "[any]": "any group", "[all]": "all groups"}
    return f"{estimand}, {words[group]}" if group in words else f"{estimand} [{group}]"


def choose(
    table: Any,
    kind: str,
    more: str = "",
    *,
    estimand: str | Sequence[str] | None = None,
    group: str | Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Rows of a long table that a figure asks for.

    Parameters
    ----------
    table
        What the figure was given.
    kind, more : str
        Which table it takes, and further columns that it reads, as in `study_table`.
    estimand
        One estimand, several, or all (``None``).
    group
        One group, several, or ``None``: scalars and the averages over groups where the table has them, else
        every group. ``"each"`` is every group without the rows about all of them together.
    where
        Column to value, or to a list of values: ``{"sd_school": 5, "method": ["none", "partial"]}``.

    Raises
    ------
    ValueError
        For anything but such a table; where a column is unknown or nothing is left, with what there is.
    """
    table = study_table(table, kind, more)
    rows = table.assign(group=groups_of(table))
    wanted = dict(where or {})
    if estimand is not None:
        wanted["estimand"] = estimand
    if group == "each":
        rows = rows[~rows["group"].isin(TOGETHER)]
    elif group is not None:
        wanted["group"] = group
    elif (rows["group"] == MEAN).any():
        rows = rows[rows["group"].isin([MEAN, ""])]
    for column, value in wanted.items():
        if column not in rows:
            raise ValueError(f"where: expected a column ({', '.join(map(str, rows.columns))}), found {column!r}")
        values = [value] if isinstance(value, str) or not isinstance(value, Iterable) else list(value)
        there = levels(rows[column])
        rows = rows[rows[column].isin(values)]
        if rows.empty:
            names = ", ".join(label(v) for v in there[:20])
            raise ValueError(f"{column}: expected one of {names}, found {', '.join(map(label, values))}")
    return rows


def records(table: pd.DataFrame) -> Iterator[Any]:
    """Rows of a table as named tuples."""
    return iter(table.itertuples(index=False))


def only(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Rows of one performance measure, or an error that lists the measures there are."""
    found = rows[rows["measure"] == measure]
    if found.empty:
        there = ", ".join(map(str, rows["measure"].unique()))
        raise ValueError(
            f"measure: expected one of {there}, found {measure!r}; add it to `performance` and report again"
        )
    return found


def varying(rows: pd.DataFrame, columns: Iterable[str]) -> list[str]:
    """Those of the columns that take more than one value."""
    return [c for c in columns if c in rows and rows[c].nunique(dropna=False) > 1]


def split(rows: pd.DataFrame, used: Iterable[str]) -> list[tuple[str, pd.DataFrame]]:
    """Panels of a figure: the rows by every varying column not already shown on an axis or as a colour.

    Raises
    ------
    ValueError
        For a column that is to be shown and is not there, and for too many panels.
    """
    shown = set(used)
    if missing := sorted(c for c in map(str, shown) if c not in rows):
        there = ", ".join(dict.fromkeys([*factors(rows), "method", "estimand", "group"]))
        raise ValueError(
            shortened(f"x, y, colour: expected a column of the table ({there}), found {missing[0]!r}; name one of them")
        )
    candidates = ["estimand", *factors(rows), "method", "group"]
    keys = [c for c in varying(rows, candidates) if c not in shown]
    if not keys:
        return [("", rows)]
    order = {c: {v: i for i, v in enumerate(levels(rows[c]))} for c in keys}
    found = {known(key): part for key, part in rows.groupby(keys, sort=False, dropna=False, observed=True)}
    panels = [
        (_panel_title(dict(zip(keys, key, strict=True)), part), part)
        for key, part in sorted(
            found.items(), key=lambda item: [order[c][v] for c, v in zip(keys, item[0], strict=True)]
        )
    ]
    if len(panels) > MOST_PANELS:
        raise ValueError(
            f"where: expected at most {MOST_PANELS} panels, found {len(panels)} (by {', '.join(keys)}); "
            "narrow it with `estimand=`, `group=` or `where=`"
        )
    return panels


def known(key: Any) -> tuple[Any, ...]:
    """A group's key with None for what is missing."""
    return tuple(None if pd.isna(value) else value for value in key)


def _panel_title(key: dict[str, Any], part: pd.DataFrame) -> str:
    group = str(part["group"].iloc[0]) if part["group"].nunique() == 1 else ""
    words = []
    for column, value in key.items():
        if column == "estimand":
            words.append(target(str(value), group))
        elif column == "group":
            words += [] if "estimand" in key else [str(value)]
        elif column == "method":
            words.append(str(value))
        else:
            words.append(f"{column} = {label(value)}")
    return ", ".join(words)


def regime_of(table: pd.DataFrame, regime: str | Sequence[str] | None) -> str:
    """The truth regime as words; a table may carry it as ``table.attrs["regime"]``."""
    found = regime or table.attrs.get("regime") or "not stated"
    return "truth regime: " + (found if isinstance(found, str) else ", ".join(found))


def replicates(rows: pd.DataFrame) -> str:
    """How many replicates stand behind the rows, as words: ``100 of 500 replicates``."""
    if "n_sim" in rows and rows["n_sim"].notna().any():
        attempted, behind = _between(rows["n_sim"]), _between(behind_values(rows))
        return f"{attempted} replicates" if behind in ("", attempted) else f"{behind} of {attempted} replicates"
    return f"{_between(pd.Series([rows['rep'].nunique()]))} replicates" if "rep" in rows else ""


def behind_values(rows: pd.DataFrame) -> pd.Series:
    """Replicates behind the values that there are; none where a table of an earlier version does not say."""
    return rows.loc[rows["value"].notna(), "n"] if {"n", "value"} <= set(rows) else pd.Series([], dtype=float)


def _between(counts: pd.Series) -> str:
    """``500``, or ``100 to 500``."""
    if counts.empty:
        return ""
    low, high = int(counts.min()), int(counts.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def in_common(estimates: pd.DataFrame, column: str = "estimate") -> pd.DataFrame:
    """Rows of the replicates that all methods have: what may be set side by side.

    Parameters
    ----------
    estimates
        Long table of estimates.
    column
        What a replicate must have a number in; a method that has none anywhere bars nobody.
    """
    there = estimates[np.isfinite(estimates[column].to_numpy(float))]
    if "method" not in there:
        return there
    keys = [*factors(there), "estimand", "group"]
    have, all_of_them = (
        there.groupby(by, sort=False, dropna=False, observed=True)["method"].transform("nunique")
        for by in ([*keys, "rep"], keys)
    )
    return there[have == all_of_them]


def subject(rows: pd.DataFrame) -> str:
    """``" of theta_school"`` where all rows are about one estimand, else nothing (the panels say it)."""
    if rows["estimand"].nunique() != 1:
        return ""
    groups = rows["group"].unique()
    return " of " + target(str(rows["estimand"].iloc[0]), str(groups[0]) if len(groups) == 1 else "")
