"""Thresholds of decisions that are calibrated: what so small a share of the null cells exceeds.

Null cells may be larger than memory: their rows arrive in tables, each with whole replicates of a method, as often as
it takes (`hiermodels.studies.score.folds`). Kept are a few order statistics, and how many replicates have so many
groups above the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiermodels.studies.score.folds import Folds, InPasses, Join, in_passes
from hiermodels.studies.score.montecarlo import Z95
from hiermodels.studies.score.order import order_statistics
from hiermodels.studies.score.rules import Rule
from hiermodels.studies.score.scores import PERFORMANCE

__all__ = ["THRESHOLD_READS", "calibrate_thresholds", "calibrated", "threshold_rows"]

type _Window = Mapping[tuple[Any, ...], tuple[NDArray[Any], NDArray[np.float64]]]
"""Replicates and finite estimates, by the setting of the free factors and the method."""

THRESHOLD_READS = ("rep", "method", "estimand", "estimate")
"""Columns that thresholds are made of, beside factors."""
_NUMBERS = ("value", "lower", "upper", "error", "error_mcse", "n_sim")
_NOTHING = (np.zeros(0, np.int64), np.zeros(0))


def calibrate_thresholds(estimates: pd.DataFrame, rule: Rule, factors: Sequence[str] = ()) -> pd.DataFrame:
    """Thresholds at which a rule has its type I error in the null cells: one for each method and setting of the other
    factors.

    The least stored probability t with ``share(estimate > t) <= type1`` over all replicates (and groups) of the null
    cell. For continuous estimates the error of a threshold chosen so has mean type1 and the standard deviation
    ``sqrt(type1 (1 - type1) / n)`` (a beta law), which is the MCSE of the resulting error; with groups the replicate is
    the unit.

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
    return calibrated(lambda: [estimates], rule, factors)


def calibrated(frames: Callable[[], Iterable[pd.DataFrame]], rule: Rule, factors: Sequence[str]) -> pd.DataFrame:
    """As `calibrate_thresholds`, of tables that arrive one by one, in the same order whenever they are asked for."""
    assert rule.type1 is not None
    share, free, folds = rule.type1, [f for f in factors if f not in rule.null], InPasses()

    def windows() -> Iterable[_Window]:
        return (_window(_null(frame[frame["estimand"] == rule.estimand], rule, factors), free) for frame in frames())

    counts: dict[tuple[Any, ...], int] = {}
    for window in windows():
        for key, (_, values) in window.items():
            counts[key] = counts.get(key, 0) + len(values)
    rows = {key: dict.fromkeys(_NUMBERS, np.nan) | {"n_sim": 0} for key in counts}

    def program(key: tuple[Any, ...]) -> Callable[[_Window], dict[str, float]]:
        return lambda window: _threshold(*window.get(key, _NOTHING), counts[key], share, folds)

    def found(key: tuple[Any, ...], numbers: dict[str, float]) -> dict[Any, Any]:
        rows[key] = numbers
        return {}

    in_passes(windows, folds, {key: program(key) for key, n in counts.items() if n}, found)
    names = [*free, "method"]
    return pd.DataFrame(
        [{**dict(zip(names, key, strict=True)), **numbers} for key, numbers in rows.items()],
        columns=[*names, *_NUMBERS],
    )


def _null(rows: pd.DataFrame, rule: Rule, factors: Sequence[str]) -> pd.DataFrame:
    """Rows of the null cells."""
    unknown = [name for name in rule.null if name not in factors]
    if unknown:
        raise ValueError(
            f"decisions: {rule.name}: null: {unknown[0]!r} is no factor of the grid "
            f"({', '.join(factors) or 'none'}); name one of them"
        )
    for name, value in rule.null.items():
        codes, levels = rows[name].factorize()
        rows = rows[
            np.array([_same(level) == _same(value) for level in levels], bool)[codes]
            if len(levels)
            else np.zeros(len(rows), bool)
        ]
    return rows


def _same(value: Any) -> Any:
    return float(value) if isinstance(value, int | float | np.number) else str(value)


def _window(rows: pd.DataFrame, free: Sequence[str]) -> _Window:
    """Finite estimates of some rows, and their replicates."""
    found = {}
    for key, part in rows.groupby([*free, "method"], sort=False, observed=True):
        values = part["estimate"].to_numpy(float)
        finite = np.isfinite(values)
        found[key if isinstance(key, tuple) else (key,)] = part["rep"].to_numpy()[finite], values[finite]
    return found


class _Tally:
    """Rows of two numbers and how often they are there, each pair once."""

    @staticmethod
    def reduce(array: Any, axis: int) -> Any:
        pairs, place = np.unique(array[:, :2], axis=0, return_inverse=True)
        return np.column_stack([pairs, np.bincount(place.ravel(), array[:, 2], len(pairs)).astype(np.int64)])

    def __call__(self, one: Any, other: Any) -> Any:
        return self.reduce(np.concatenate([one, other]), 0)


_TALLY: Join = _Tally()


def _threshold(rep: NDArray[Any], values: NDArray[np.float64], n: int, type1: float, folds: Folds) -> dict[str, float]:
    """The threshold of one method and setting with so many finite estimates, of which some are in this window."""

    def at(*shares: float) -> list[float]:
        places = np.array(
            [[max(0, n - 1 - math.floor(share * n + 1e-9))] for share in shares]
        )  # the least that at most this share exceeds
        return [float(v) for v in order_statistics(values[:, None], places, np.array([n]), folds)[:, 0]]

    (value,) = at(type1)

    def above() -> NDArray[np.int64]:
        """Groups above the threshold, and groups, of each replicate."""
        _, place = np.unique(rep, return_inverse=True)
        groups = np.bincount(place)
        return np.column_stack(
            [np.bincount(place, values > value, len(groups)).astype(np.int64), groups, np.ones_like(groups)]
        )

    fired, groups, times = folds.fold(_TALLY, above).value.T
    within, replicates = fired / groups, int(times.sum())
    mean = (times * within).sum() / replicates
    spread = math.sqrt((times * (within - mean) ** 2).sum() / (replicates - 1) / replicates) if replicates > 1 else 0.0
    spread = max(spread, math.sqrt(type1 * (1 - type1) / n))
    low, high = at(*(min(max(type1 + sign * Z95 * spread, 0.0), 1.0) for sign in (1, -1)))
    error = float((times * fired).sum() / (times * groups).sum())
    return {"value": value, "lower": low, "upper": high, "error": error, "error_mcse": spread, "n_sim": replicates}


def threshold_rows(table: pd.DataFrame, rule: Rule, factors: Sequence[str]) -> pd.DataFrame:
    """Calibrated thresholds as rows of the null cells."""
    table = table.assign(
        **rule.null, estimand=rule.name, group="", measure="threshold", n=table["n_sim"], n_failed=0, n_retried=0
    )
    table["mcse"] = (table["upper"] - table["lower"]) / (2 * Z95)
    return table[[*factors, *PERFORMANCE]]
