"""Replicates one by one: intervals as a zip, fits that are missing or flagged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._given import study_table
from hiermodels.reporting._rows import (
    choose,
    factors,
    label,
    regime_of,
    replicates,
    split,
    varying,
)
from hiermodels.studies.score.tables import count_failures

__all__ = ["plot_failures", "plot_zip"]

Where = Mapping[str, Any] | None
Names = str | Sequence[str] | None


def plot_zip(
    estimates: pd.DataFrame,
    estimand: str,
    *,
    nominal: float = 0.95,
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Every interval as a line, the least surprising at the bottom; those that miss the truth stand out.

    Intervals are ranked by abs(2 PIT - 1), PIT = rank / max_rank of the truth among the draws; where a method
    has no ranks, by abs(estimate - truth) / se. Where truths vary, intervals are shown relative to them. With
    the right coverage the misses begin at the line of the nominal level.

    Parameters
    ----------
    estimates
        Long table of estimates.
    estimand
        One estimand; a panel a method and a mechanism. All groups of a vector estimand are pooled unless
        ``group`` is given.
    nominal
        Level asked of the intervals.
    group, where, regime, ax
        As in `plot_measure`.

    Raises
    ------
    ValueError
        Where no row has a truth and an interval.
    """
    rows = choose(estimates, "estimates", "method true lower upper", estimand=estimand, group=group, where=where)
    rows = rows[np.isfinite(rows[["true", "lower", "upper"]].to_numpy(float)).all(axis=1)]
    if rows.empty:
        raise ValueError(f"estimand: expected rows with a truth and a finite interval, found none for {estimand}")
    own, fixed = ax is None, rows["true"].nunique() == 1
    panels = split(rows, {"group"})
    figure, axes = f.canvas(len(panels), ax, height=3.4)
    for one, (name, part) in zip(axes, panels, strict=True):
        part = part.assign(surprise=_surprise(part)).sort_values("surprise", kind="stable")
        height = 100 * (np.arange(len(part)) + 0.5) / len(part)
        shift = 0.0 if fixed else part["true"].to_numpy(float)
        low, high = part["lower"].to_numpy(float) - shift, part["upper"].to_numpy(float) - shift
        covers = ((part["lower"] <= part["true"]) & (part["true"] <= part["upper"])).to_numpy()
        ends = np.stack([np.stack([low, height], -1), np.stack([high, height], -1)], axis=1)
        for chosen, shade, word in ((covers, f.PALETTE[5], "covers"), (~covers, f.PALETTE[1], "misses")):
            lines = LineCollection(
                list(ends[chosen]), colors=shade, label=word, linewidths=0.9, rasterized=len(rows) > 1000
            )
            one.add_collection(lines)
        one.axhline(100 * nominal, color=f.GREY, linestyle="--", linewidth=1)
        one.axvline(float(part["true"].iloc[0]) if fixed else 0.0, color="black", linewidth=1)
        one.set_xlim(low.min(), high.max())
        one.set_ylim(0, 100)
        one.margins(x=0.03)
        one.set_xlabel(estimand if fixed else f"interval − truth, {estimand}", fontsize=f.TEXT)
        one.set_ylabel("centile of surprise", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, f"intervals for {estimand}", regime_of(estimates, regime), replicates(rows))
    return figure


def _surprise(part: pd.DataFrame) -> np.ndarray:
    """abs(2 PIT - 1) where ranks are known for every row, else abs(estimate - truth) / se."""
    if {"rank", "max_rank"} <= set(part) and part["rank"].notna().all():
        return np.abs(2 * part["rank"].to_numpy(float) / part["max_rank"].to_numpy(float) - 1)
    return np.abs((part["estimate"] - part["true"]).to_numpy(float)) / part["se"].to_numpy(float)


STATUS_SHADES = {
    "nonfinite": "#000000",
    "divergent": "#D55E00",
    "rhat": "#E69F00",
    "low_ess": "#56B4E9",
    "heavy_weights": "#CC79A7",
}


def plot_failures(
    table: pd.DataFrame, *, where: Where = None, regime: str | None = None, ax: Axes | None = None
) -> Figure:
    """Share of fits that are missing (``nonfinite``) or flagged (any other word), by their worst status.

    Parameters
    ----------
    table
        Long table of estimates, or `Run.failures`: one row a mechanism and method, one column a status.
    where, regime, ax
        As in `plot_measure`.
    """
    long = isinstance(table, pd.DataFrame) and "rep" in table
    counts = (
        count_failures(study_table(table, "estimates", "rep method status n_try"), factors(table)) if long else table
    )
    counts = choose(counts, "failures", " ".join(STATUS_SHADES), where=where).drop(columns="group")
    varied = varying(counts, factors(counts))
    names = [
        ", ".join([*(f"{c} = {label(row[c])}" for c in varied), str(row["method"])])
        for row in counts.to_dict("records")
    ]
    own = ax is None
    figure, axes = f.canvas(1, ax, height=0.8 + 0.34 * len(names))
    left = np.zeros(len(names))
    for status, shade in STATUS_SHADES.items():
        share = (counts[status] / counts["n_sim"]).to_numpy(float)
        if share.any():
            axes[0].barh(range(len(names)), share, left=left, color=shade, label=status, height=0.7)
            left += share
    if not left.any():
        axes[0].text(
            0.5,
            0.5,
            "no fit is missing or flagged",
            transform=axes[0].transAxes,
            ha="center",
            va="center",
            fontsize=f.TEXT,
            backgroundcolor="white",
        )
        axes[0].set_xlim(0, 1)
    axes[0].grid(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[0].xaxis.set_major_formatter(f.percent)
    axes[0].set_xlabel("share of attempted fits", fontsize=f.TEXT)
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, "fits missing or flagged", regime_of(table, regime), replicates(counts))
    return figure
