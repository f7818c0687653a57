"""Calibration from ranks: histogram, ECDF difference, coverage at every level.

The rank of the truth among a fit's draws is uniform on 0, 1, ..., ``max_rank`` if the posterior is right and truths
come from the prior (truth regime *prior*); under other regimes departures are expected, and each figure names its
regime.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._given import study_table
from hiermodels.reporting._rows import choose, in_common, regime_of, replicates, split, subject

__all__ = ["plot_coverage_curve", "plot_ecdf_difference", "plot_ranks"]

Where = Mapping[str, Any] | None
Names = str | Sequence[str] | None


PIT_CELLS = 100
"""Cells of the unit interval into which the PITs of a calibration are put."""


def _ranks_of(source: Any) -> pd.DataFrame:
    """A long table with ranks, if this is one: as given, or of a `Calibration`, whose PITs become cells of the unit
    interval.
    """
    pits = getattr(source, "pits", None)
    if pits is None:
        return study_table(source, "ranks")
    parts = []
    for who, u, labels in pits:
        there = np.isfinite(u)
        rep, place = np.nonzero(there)
        rank = np.minimum((u[there] * PIT_CELLS).astype(int), PIT_CELLS - 1)
        part = pd.DataFrame(
            {"rep": rep, "group": np.array(labels, object)[place], "rank": rank, "max_rank": PIT_CELLS - 1}
        )
        parts.append(part.assign(**who))
    if not parts:
        raise ValueError(
            "estimates: expected a calibration with ranks, found one without; run it with more replications"
        )
    return pd.concat(parts, ignore_index=True)


def _ranked(estimates: pd.DataFrame, estimand: Names, group: Names, where: Where) -> pd.DataFrame:
    """Rows that have a rank."""
    rows = choose(estimates, "ranks", estimand=estimand, group=group, where=where)
    rows = rows[np.isfinite(rows["rank"].to_numpy(float))]
    if rows.empty:
        raise ValueError("estimates: expected rows with a rank, found none; methods without draws have no ranks")
    return rows


def plot_ranks(
    estimates: Any,
    estimand: Names = None,
    *,
    bins: int = 20,
    level: float = 0.95,
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Histogram of the ranks of the truth, a panel a method, estimand and mechanism, with the band that uniform ranks
    keep.

    Groups of a vector estimand are put together unless ``group`` narrows them. The band is pointwise: binomial for one
    rank a replicate; where a replicate has a rank a group, from the spread of the replicates' own shares, since groups
    of one dataset depend on one another.

    Parameters
    ----------
    estimates
        Long table of estimates with ``rank`` and ``max_rank``, or the `Calibration` that
        `hiermodels.studies.calibrate.calibration.sbc` returns.
    estimand, group, where, regime, ax
        As in `plot_measure`.
    bins : int
        Number of bins; at most ``max_rank`` + 1.
    level : float
        Probability of the band in each bin.

    Raises
    ------
    ValueError
        Where no row has a rank.
    """
    from scipy.stats import binom, norm

    estimates = _ranks_of(estimates)
    rows = _ranked(estimates, estimand, group, where)
    bins = int(min(bins, rows["max_rank"].min() + 1))
    own = ax is None
    panels = split(rows, {"group"})
    figure, axes = f.canvas(len(panels), ax, height=2.4, share=True)
    looks, edges = f.looks(estimates), np.linspace(0, 1, bins + 1)
    for one, (name, part) in zip(axes, panels, strict=True):
        shares = _bin_shares(part, edges)
        if part["group"].nunique() > 1:
            half = norm.ppf((1 + level) / 2) * shares.std(0, ddof=1) / np.sqrt(len(shares))
            low, high = 1 / bins - half, 1 / bins + half
        else:
            low, high = (
                np.full(bins, q) / len(shares)
                for q in binom.ppf([(1 - level) / 2, (1 + level) / 2], len(shares), 1 / bins)
            )
        one.stairs(
            high,
            edges,
            baseline=low,
            fill=True,
            color="#dddddd",
            label=f"{100 * level:.6g}% band of uniform ranks",
            zorder=1,
        )
        one.stairs(
            shares.mean(0),
            edges,
            baseline=None,
            color=looks[f.method_of(part)][0],
            linewidth=1.5,
            label=_word(rows, part),
            zorder=3,
        )
        one.axhline(1 / bins, color=f.GREY, linestyle="--", linewidth=1, zorder=2)
        one.set_xlim(0, 1)
        one.yaxis.set_major_formatter(f.percent)
        one.set_xlabel("scaled rank of the truth", fontsize=f.TEXT)
        one.set_ylabel("replicates", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    axes[0].set_ylim(bottom=0)  # the panels share their scale
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, "ranks of the truth" + subject(rows), regime_of(estimates, regime), replicates(rows))
    return figure


def _word(rows: pd.DataFrame, part: pd.DataFrame) -> str:
    """What a panel's ranks are called: their method, where there are several."""
    return str(f.method_of(part)) if "method" in rows and rows["method"].nunique() > 1 else "ranks"


def _bin_shares(part: pd.DataFrame, edges: np.ndarray) -> np.ndarray:
    """Share of each replicate's ranks in each bin, (replicate, bin); a rank's cell that an edge cuts is shared out."""
    width = 1 / (part["max_rank"].to_numpy(float) + 1)
    start = part["rank"].to_numpy(float) * width
    overlap = np.minimum(start[:, None] + width[:, None], edges[1:]) - np.maximum(start[:, None], edges[:-1])
    inside = np.clip(overlap, 0, None) / width[:, None]
    code, count = pd.factorize(part["rep"])[0], part["rep"].nunique()
    total = np.zeros((count, len(edges) - 1))
    np.add.at(total, code, inside)
    return total / np.bincount(code, minlength=count)[:, None]


def plot_ecdf_difference(
    estimates: Any,
    estimand: Names = None,
    *,
    level: float = 0.95,
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Distribution function of the ranks less that of uniform ones, with a simultaneous band, a panel a method and
    estimand.

    The curve of a right posterior stays inside the band everywhere with probability ``level``. Each group of a vector
    estimand is a curve of its own; the band holds for each curve alone.

    Parameters
    ----------
    estimates
        Long table of estimates with ``rank`` and ``max_rank``, or the `Calibration` that
        `hiermodels.studies.calibrate.calibration.sbc` returns.
    level : float
        Probability with which a curve stays in the band.
    estimand, group, where, regime, ax
        As in `plot_measure`.

    Raises
    ------
    ValueError
        Where no row has a rank.

    Notes
    -----
    Säilynoja, Bürkner and Vehtari (2022), Statistics and Computing 32, 32: pointwise binomial bands whose level is set
    by simulation, from `arviz_stats`. Evaluated at the ends of rank cells, where uniform ranks are binomial exactly.
    """
    estimates = _ranks_of(estimates)
    rows = _ranked(estimates, estimand, group, where)
    own = ax is None
    panels = split(rows, {"group"})
    looks = f.looks(estimates)
    figure, axes = f.canvas(len(panels), ax, height=2.6, share=True)
    for one, (name, part) in zip(axes, panels, strict=True):
        at = _cells(part)
        low, high = _band(int(part["rep"].nunique()), tuple(at), level)
        one.fill_between(
            [0, *at, 1],
            [0, *(low - at), 0],
            [0, *(high - at), 0],
            color="#dddddd",
            label=f"{100 * level:.6g}% band",
            linewidth=0,
        )
        curves = [g for _, g in part.groupby("group", sort=False, observed=True)]
        for curve in curves:
            scaled = np.sort((curve["rank"].to_numpy(float) + 1) / (curve["max_rank"].to_numpy(float) + 1))
            share = np.searchsorted(scaled, at + 1e-9, side="right") / len(scaled)
            word, faint = _word(rows, part) if curve is curves[0] else "_", 1.0 if len(curves) == 1 else 0.6
            one.plot(
                [0, *at, 1],
                [0, *(share - at), 0],
                color=looks[f.method_of(part)][0],
                linewidth=1.3,
                alpha=faint,
                label=word,
            )
        one.axhline(0, color=f.GREY, linestyle="--", linewidth=1)
        one.set_xlim(0, 1)
        one.set_xlabel("scaled rank of the truth", fontsize=f.TEXT)
        one.set_ylabel("ECDF − uniform", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, "ranks of the truth" + subject(rows), regime_of(estimates, regime), replicates(rows))
    return figure


def _cells(part: pd.DataFrame, most: int = 100) -> np.ndarray:
    """Ends of rank cells inside (0, 1), at most so many."""
    cells = int(part["max_rank"].min()) + 1
    return np.unique(np.linspace(1, cells - 1, min(most, cells - 1)).astype(int)) / cells


@lru_cache(maxsize=64)
def _band(count: int, at: tuple[float, ...], level: float) -> tuple[np.ndarray, np.ndarray]:
    """Simultaneous band of the ECDF of so many uniform ranks at these points; the same numbers every time."""
    from arviz_stats.ecdf_utils import get_pointwise_confidence_band, simulate_confidence_bands

    points = np.array(at)
    chance = simulate_confidence_bands(count, 1, points, level, 1000, np.random.default_rng(1))
    low, high = get_pointwise_confidence_band(chance, count, points)
    return low, high


def _surprise(part: pd.DataFrame) -> np.ndarray:
    """abs(2 PIT - 1), PIT the middle of the rank's cell of the unit interval."""
    return np.abs((2 * part["rank"].to_numpy(float) + 1) / (part["max_rank"].to_numpy(float) + 1) - 1)


def plot_coverage_curve(
    estimates: Any,
    estimand: Names = None,
    *,
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Coverage of central intervals at every level less that level, from ranks, with 95% Monte Carlo bands.

    Methods are shown on the replicates that all of them have.

    Above zero intervals are too wide, below it too narrow. Groups of a vector estimand are averaged, with the replicate
    as the unit of the band.

    Parameters
    ----------
    estimates
        Long table of estimates with ``rank`` and ``max_rank``, or the `Calibration` that
        `hiermodels.studies.calibrate.calibration.sbc` returns.
    estimand, group, where, regime, ax
        As in `plot_measure`; a colour a method.

    Raises
    ------
    ValueError
        Where no row has a rank.
    """
    from hiermodels.studies.score.montecarlo import wilson

    estimates = _ranks_of(estimates)
    rows = in_common(_ranked(estimates, estimand, group, where), "rank")
    own = ax is None
    panels = split(rows, {"group", "method"})
    looks = f.looks(estimates)
    figure, axes = f.canvas(len(panels), ax, height=2.8, share=True)
    asked = np.linspace(0.02, 0.99, 98)
    for one, (name, part) in zip(axes, panels, strict=True):
        for method, these in part.groupby("method", sort=False, observed=True):
            inside = (_surprise(these)[:, None] <= asked).astype(float)
            code, count = pd.factorize(these["rep"])[0], these["rep"].nunique()
            shares = np.zeros((count, len(asked)))
            np.add.at(shares, code, inside)
            shares /= np.bincount(code, minlength=count)[:, None]
            share, variance = shares.mean(0), shares.var(0) / count
            effective = np.where(variance > 0, share * (1 - share) / np.where(variance > 0, variance, 1), count)
            low, high = wilson(share, np.clip(effective, count, len(these)))
            one.fill_between(asked, low - asked, high - asked, color=looks[method][0], alpha=0.2, linewidth=0)
            one.plot(asked, share - asked, color=looks[method][0], linewidth=1.5, label=str(method))
        one.axhline(0, color=f.GREY, linestyle="--", linewidth=1)
        one.set_xlim(0, 1)
        one.xaxis.set_major_formatter(f.percent)
        one.yaxis.set_major_formatter(f.percent)
        one.set_xlabel("nominal level", fontsize=f.TEXT)
        one.set_ylabel("coverage − nominal", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(
        figure, axes, own, "coverage at every level" + subject(rows), regime_of(estimates, regime), replicates(rows)
    )
    return figure
