"""How far pooling moves each group: arrows from raw to shrunken estimates, of a study or of one fit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._given import numbers_given
from hiermodels.reporting._rows import choose, in_common, regime_of, replicates, split, target

__all__ = ["plot_shrinkage", "plot_shrinkage_arrays"]

Where = Mapping[str, Any] | None


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
        One replicate; by default the average over the replicates that both methods have, with twice its Monte Carlo
        standard error as bars, which tells something only where the truths are fixed.
    where, regime, ax
        As in `plot_measure`.
    """
    needs = "rep method true"
    rows = choose(estimates, "estimates", needs, estimand=estimand, group="each", where=where)
    for method in (raw, pooled):
        choose(rows, "estimates", needs, where={"method": method})
    one_rep = {} if rep is None else {"rep": rep}
    rows = in_common(choose(rows, "estimates", needs, group="each", where={"method": [raw, pooled], **one_rep}))
    if rows.empty:
        raise ValueError(
            f"raw, pooled: expected a replicate in which {raw} and {pooled} both have {estimand}, found none"
        )
    own = ax is None
    panels = split(rows, {"method", "group", "estimand"})
    looks, groups = f.looks(estimates), rows["group"].nunique()
    figure, axes = f.canvas(len(panels), ax, height=min(1.3 + 0.3 * groups, 8.0))
    for one, (name, part) in zip(axes, panels, strict=True):
        cells = part.groupby(["group", "method"], sort=False, observed=True)
        means = cells[["estimate", "true"]].mean().unstack("method")
        errors = cells["estimate"].sem().unstack("method")
        _arrows(
            one,
            means["estimate"][raw].to_numpy(),
            means["estimate"][pooled].to_numpy(),
            list(means.index),
            names=(raw, pooled),
            looks=(looks[raw], looks[pooled]),
            truth=means["true"][raw].to_numpy(),
            mcse=(errors[raw].to_numpy(), errors[pooled].to_numpy()) if rep is None else None,
        )
        one.set_xlabel(target(estimand), fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    count = f"replicate {rep}" if rep is not None else f"average of {replicates(rows)}"
    f.heading(figure, axes, own, f"shrinkage of {estimand}, {raw} to {pooled}", regime_of(estimates, regime), count)
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
    first, second = numbers_given(raw, "raw"), numbers_given(shrunken, "shrunken")
    count = len(labels) if isinstance(labels, Collection) and not isinstance(labels, str) else 0
    if not len(first) == len(second) == count > 0:
        raise ValueError(
            f"raw, shrunken, labels: expected one length, found {len(first)}, {len(second)}, {count}; give one of "
            f"each per group"
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
    looks: tuple[tuple[str, str], tuple[str, str]] = ((f.PALETTE[1], "o"), (f.PALETTE[0], "o")),
    truth: np.ndarray | None = None,
    centre: float | None = None,
    mcse: tuple[np.ndarray, np.ndarray] | None = None,
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
        looks[0][1],
        color=looks[0][0],
        markerfacecolor="white",
        markersize=size,
        label=names[0],
        zorder=3,
    )
    ax.plot(pooled, y, looks[1][1], color=looks[1][0], markersize=size, label=names[1], zorder=4)
    for at, error in zip((raw, pooled), mcse or (), strict=False):
        bar = error[order]
        if np.isfinite(bar).any():
            ax.hlines(y, at - 2 * bar, at + 2 * bar, color="black", linewidth=1.6, label="± 2 Monte Carlo SE", zorder=6)
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
        ax.set_yticks(y, f.names_of(labels[i] for i in order))
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(order)} groups, by their {names[0]} estimate", fontsize=f.TEXT)
    ax.set_ylim(-0.6, len(order) - 0.4)
    ax.margins(x=0.06)
