"""The numbers that trials print, read from a table's columns and checked row by row."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from hiermodels.models.columns import numbers, require_column
from hiermodels.synthesis.measures import Measure

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ROLES", "ZERO_CELLS", "corrected", "nearest", "read_cells"]

ROLES = ("events", "non_events", "n", "time", "mean", "sd", "correlation")
"""What a column can give; those of a control arm have ``control_`` before them."""

ZERO_CELLS = ("own", "all", "any", "none")

_LEAST = {"events": 0.0, "non_events": 0.0, "n": 0.0, "time": 0.0, "sd": 0.0}


def read_cells(
    frame: pd.DataFrame, measure: Measure, columns: Mapping[str, str | None], control: bool
) -> dict[str, np.ndarray]:
    """Cells of a measure by role, from columns named by role.

    ``non_events`` may stand for ``n`` (n = events + non_events).

    Raises
    ------
    ValueError
        For a role that is missing or superfluous, and by row for a number that cannot be.
    """
    prefixes = ("", "control_") if control else ("",)
    given = {role: name for role, name in columns.items() if name is not None}
    known = {
        f"{prefix}{role}"
        for prefix in prefixes
        for role in (*measure.roles, "non_events" if "events" in measure.roles else "n")
    }
    if "time" in measure.roles:
        known -= {"non_events", "control_non_events"}
    for role in given:
        if role not in known:
            raise ValueError(
                f"{role}: measure {measure.name} has no such column; it takes {_wanted(measure, prefixes)}"
            )
    cells: dict[str, np.ndarray] = {}
    for prefix in prefixes:
        for role in measure.roles:
            column = given.get(prefix + role)
            if column is None and role == "n" and prefix + "non_events" in given:
                other = _numbers(frame, given[prefix + "non_events"], "non_events")
                cells[prefix + role] = cells[prefix + "events"] + other
                continue
            if column is None:
                raise ValueError(
                    f"{prefix}{role}: measure {measure.name} needs this column, found none; it takes "
                    f"{_wanted(measure, prefixes)}"
                )
            if role == "n" and prefix + "non_events" in given:
                raise ValueError(f"{prefix}n: expected n or non_events, found both; give one of them")
            cells[prefix + role] = _numbers(frame, column, role)
        _possible(cells, given, prefix, measure)
    return cells


def _wanted(measure: Measure, prefixes: tuple[str, ...]) -> str:
    words = [f"{prefix}{role}" for prefix in prefixes for role in measure.roles]
    return ", ".join(words) + (" (or non_events in place of n)" if {"events", "n"} <= {*measure.roles} else "")


def _numbers(frame: pd.DataFrame, column: str, role: str) -> np.ndarray:
    require_column(frame, column, role)
    values = np.asarray(numbers(frame, column, role), float)
    bad = ~np.isfinite(values)
    _refuse(bad, values, column, f"a number of {role}", "fill it in or drop the row")
    least = _LEAST.get(role)
    if least is not None:
        _refuse(values < least, values, column, f"at least {least:g} ({role})", "mend or drop the row")
    return values


def _refuse(bad: np.ndarray, values: np.ndarray, column: str, expected: str, hint: str) -> None:
    if bad.any():
        i = int(np.argmax(bad))
        found = "nothing" if np.isnan(values[i]) else f"{values[i]:g}"
        raise ValueError(f"effect_sizes: column {column!r}, row {i}: expected {expected}, found {found}; {hint}")


def _possible(cells: dict[str, np.ndarray], given: Mapping[str, str], prefix: str, measure: Measure) -> None:
    """What cannot be, whatever the other arm says."""

    def refuse(role: str, bad: np.ndarray, expected: str) -> None:
        column = given.get(prefix + role) or given[f"{prefix}non_events"]
        _refuse(bad, cells[prefix + role], column, expected, "mend or drop the row")

    n = cells.get(prefix + "n")
    if "events" in measure.roles and n is not None:
        refuse("n", n <= 0, "at least one person in the arm")
        refuse("events", cells[prefix + "events"] > n, "events of at most the arm's n")
    if "time" in measure.roles:
        refuse("time", cells[prefix + "time"] <= 0, "a positive time")
    if "sd" in measure.roles:
        refuse("sd", cells[prefix + "sd"] <= 0, "a positive sd")
        refuse("n", cells[prefix + "n"] < 2, "n of at least 2")
    if "correlation" in measure.roles:
        r = cells["correlation"]
        refuse("correlation", np.abs(r) >= 1, "a correlation between -1 and 1")
        refuse("n", cells["n"] < 4, "n of at least 4")


def corrected(
    cells: dict[str, np.ndarray], measure: Measure, zero_cells: str, correction: float, trial: np.ndarray | None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Cells with the correction added where it is asked for, and the rows that were corrected.

    ``trial`` has codes of rows whose arms are corrected together; None corrects each row by itself.
    """
    prefixes = [role.removesuffix("events") for role in cells if role.endswith("events")]
    rows = np.zeros(len(next(iter(cells.values()))), bool)
    if not prefixes or zero_cells == "none":
        return cells, rows
    for prefix in prefixes:
        events = cells[prefix + "events"]
        rows |= events == 0
        if prefix + "n" in cells:
            rows |= events == cells[prefix + "n"]
    if trial is not None and rows.any():
        rows = np.isin(trial, trial[rows])
    if zero_cells == "all" or (zero_cells == "any" and rows.any()):
        rows = np.ones_like(rows)
    added = np.where(rows, correction, 0.0)
    found = dict(cells)
    for prefix in prefixes:
        found[prefix + "events"] = cells[prefix + "events"] + added
        if prefix + "n" in cells:
            found[prefix + "n"] = cells[prefix + "n"] + 2 * added
    return found, rows


def nearest(word: object, words: tuple[str, ...] | list[str]) -> str:
    """What to do about a word that is not on a menu."""
    near = difflib.get_close_matches(str(word), words, 1)
    return f"did you mean {near[0]!r}?" if near else "use one of them"
