"""Figures that read the estimates table: one row per replicate, mechanism, method and estimand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._rows import (
    choose,
    factors,
    label,
    levels,
    regime_of,
    replicates,
    split,
    subject,
    target,
    varying,
)
from hiermodels.studies.tables import count_failures

__all__ = ["plot_estimate_truth", "plot_failures", "plot_shrinkage", "plot_shrinkage_arrays", "plot_zip"]

Where = Mapping[str, Any] | None
Names = str | Sequence[str] | None


def plot_shrinkage(
    estimates: pd.DataFrame,
    estimand: str,
    raw: str,
    pooled: str,
    *,
    rep: int | None = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """How far pooling moves each group: the estimates of two methods, joined by arrows, a panel a mechanism.

    Parameters
    ----------
    estimates
        Long table of estimates.
    estimand
        An estimand with groups, such as ``theta_school``.
    raw, pooled
        Names of the two methods, without and with pooling.
    rep
        One replicate; by default the average over replicates, which tells something only where the truths are
        fixed.
    where, regime, ax
        As in `plot_measure`.
    """
    rows = choose(
        estimates, estimand=estimand, group="each", where={"method": [raw, pooled], **(where or {})}
    )
    rows = rows if rep is None else choose(rows, where={"rep": rep}, group="each")
    own = ax is None
    panels = split(rows, {"method", "group", "estimand"})
    groups = rows["group"].nunique()
    figure, axes = f.canvas(len(panels), ax, height=min(1.3 + 0.3 * groups, 8.0))
    for one, (name, part) in zip(axes, panels, strict=True):
        means = (
            part.groupby(["group", "method"], sort=False, observed=True)[["estimate", "true"]]
            .mean()
            .unstack("method")
        )
        _arrows(
            one,
            means["estimate"][raw].to_numpy(),
            means["estimate"][pooled].to_numpy(),
            list(means.index),
            names=(raw, pooled),
            truth=means["true"][raw].to_numpy(),
        )
        one.set_xlabel(target(estimand), fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    count = f"replicate {rep}" if rep is not None else f"average of {replicates(rows)}"
    f.heading(
        figure, axes, own, f"shrinkage of {estimand}, {raw} to {pooled}", regime_of(estimates, regime), count
    )
    return figure


def plot_shrinkage_arrays(
    raw: Sequence[float] | np.ndarray,
    shrunken: Sequence[float] | np.ndarray,
    labels: Sequence[str],
    *,
    centre: float | None = None,
    truth: Sequence[float] | np.ndarray | None = None,
    xlabel: str = "estimate",
    title: str = "raw and partially pooled estimates",
    names: tuple[str, str] = ("raw", "partially pooled"),
    ax: Axes | None = None,
) -> Figure:
    """How far pooling moves each group of one fit, as arrows from the raw to the shrunken estimates.

    Parameters
    ----------
    raw, shrunken
        Estimates, shape (group,), on one scale.
    labels
        Names of the groups.
    centre
        What the groups shrink to, drawn as a line.
    truth
        True values, where known.
    xlabel, title, names
        Words for the axis, the title, and the two kinds of estimates.
    ax
        The caller's axes.

    Examples
    --------
    >>> figure = plot_shrinkage_arrays([28.0, 8.0, -3.0], [11.4, 7.9, 6.1], ["A", "B", "C"], centre=8.0)
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['C', 'B', 'A']
    """
    first, second = np.asarray(raw, float), np.asarray(shrunken, float)
    if not first.shape == second.shape == (len(labels),):
        raise ValueError(
            f"raw, shrunken, labels: expected one length, found {first.shape}, {second.shape}, {len(labels)}"
        )
    figure, axes = f.canvas(1, ax, height=min(1.3 + 0.3 * len(labels), 8.0))
    known = None if truth is None else np.asarray(truth, float)
    _arrows(axes[0], first, second, list(labels), names=names, truth=known, centre=centre)
    axes[0].set_xlabel(xlabel, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title)
    return figure


def _arrows(
    ax: Axes,
    raw: np.ndarray,
    pooled: np.ndarray,
    labels: Sequence[str],
    *,
    names: tuple[str, str],
    truth: np.ndarray | None = None,
    centre: float | None = None,
) -> None:
    """Rows from the smallest raw estimate at the bottom to the largest on top."""
    order = np.argsort(raw, kind="stable")
    raw, pooled = raw[order], pooled[order]
    y = np.arange(len(order))
    size = 7 if len(order) <= 40 else 3
    ax.grid(False)
    ax.quiver(
        raw,
        y,
        pooled - raw,
        np.zeros(len(y)),
        angles="xy",
        scale_units="xy",
        scale=1,
        color=f.GREY,
        units="inches",
        width=0.016,
        headwidth=6,
        headlength=9,
        headaxislength=8,
        zorder=2,
    )
    ax.plot(
        raw,
        y,
        "o",
        markerfacecolor="white",
        markeredgecolor=f.PALETTE[1],
        markersize=size,
        label=names[0],
        zorder=3,
    )
    ax.plot(pooled, y, "o", color=f.PALETTE[0], markersize=size, label=names[1], zorder=4)
    if truth is not None and np.isfinite(truth).any():
        ax.plot(
            truth[order],
            y,
            "|",
            color="black",
            markersize=size + 6,
            markeredgewidth=2,
            label="truth",
            zorder=5,
        )
    if centre is not None:
        ax.axvline(centre, color=f.GREY, linestyle="--", linewidth=1, label="centre", zorder=1)
    if len(order) <= 40:
        ax.set_yticks(y, [str(labels[i]) for i in order])
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(order)} groups, by their {names[0]} estimate", fontsize=f.TEXT)
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.margins(x=0.06)


def plot_estimate_truth(
    estimates: pd.DataFrame,
    estimand: Names = None,
    *,
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Estimates against the truths they are of, one point a replicate and group, with the line of equality.

    Parameters
    ----------
    estimates
        Long table of estimates.
    estimand, group, where, regime, ax
        As in `plot_measure`; a panel a method, a mechanism, an estimand.
    """
    rows = choose(estimates, estimand=estimand, group=group, where=where)
    own = ax is None
    panels = split(rows, {"group"})
    looks = f.looks(levels(estimates["method"]))
    figure, axes = f.canvas(len(panels), ax, height=3.3)
    for one, (name, part) in zip(axes, panels, strict=True):
        for method, points in part.groupby("method", sort=False, observed=True):
            one.plot(
                points["true"],
                points["estimate"],
                ".",
                color=looks[method][0],
                markersize=4,
                alpha=0.5,
                rasterized=len(rows) > 1000,
            )
        one.axline((float(part["true"].mean()),) * 2, slope=1, color=f.GREY, linestyle="--", linewidth=1)
        one.set_xlabel("truth", fontsize=f.TEXT)
        one.set_ylabel("estimate", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.heading(
        figure,
        axes,
        own,
        "estimate and truth" + subject(rows),
        regime_of(estimates, regime),
        replicates(rows),
    )
    return figure


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
    rows = choose(estimates, estimand=estimand, group=group, where=where)
    rows = rows[np.isfinite(rows[["true", "lower", "upper"]].to_numpy(float)).all(axis=1)]
    if rows.empty:
        raise ValueError(
            f"estimand: expected rows with a truth and a finite interval, found none for {estimand}"
        )
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
    counts = count_failures(table, factors(table)) if "rep" in table else table
    if where:
        counts = choose(counts, where=where).drop(columns="group")
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
