"""Estimates on their own against pooled ones: with posterior intervals, as pairs in a plane, as Stein's lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._fits import centre_of, groups_of_source, long_estimates
from hiermodels.reporting._rows import regime_of

__all__ = ["plot_mle_posterior", "plot_plane", "plot_stein"]


def plot_mle_posterior(
    source: Any,
    level: str | None = None,
    *,
    truth: Mapping[str, float] | None = None,
    centre: float | None = None,
    prob: float = 0.95,
    xlabel: str | None = None,
    ylabel: str | None = None,
    title: str = "Posterior estimates against what each group says alone",
    ax: Axes | None = None,
) -> Figure:
    """Each group's posterior mean and interval against its maximum likelihood estimate.

    Points on the dashed diagonal would be unpooled, points on the level line completely pooled; larger points have more
    rows, trials or exposure.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit with groups; or a table ``group raw estimate`` and, where known, ``lower upper mcse size true``.
    level : str, optional
        Grouping of a fit; by default the finest.
    truth : mapping of str to float, optional
        True values of groups, drawn as short lines.
    centre : float, optional
        What the groups shrink to; by default the population's posterior mean.
    prob : float
        Probability of a fit's intervals.
    xlabel, ylabel, title, ax
        Words, and the caller's axes.

    Raises
    ------
    ValueError
        Where no group has an estimate of its own.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["A", "B"], "raw": [28.0, 8.0], "estimate": [11.4, 7.9]})
    >>> figure = plot_mle_posterior(table)
    >>> figure.axes[0].get_xlabel()
    'maximum likelihood estimate'
    """
    table = groups_of_source(source, "source", level=level, prob=prob, truth=truth)
    table = table[np.isfinite(table["raw"].to_numpy(float))]
    if table.empty:
        raise ValueError(
            "source: expected groups with estimates of their own (column raw), found none; see plot_caterpillar"
        )
    centre = centre_of(source, level) if centre is None else centre
    figure, axes = f.canvas(1, ax, height=4.0)
    one = axes[0]
    raw, estimate = table["raw"].to_numpy(float), table["estimate"].to_numpy(float)
    one.axline((raw.mean(), raw.mean()), slope=1, color=f.GREY, linestyle="--", linewidth=1, label="no pooling")
    if centre is not None:
        one.axhline(centre, color=f.GREY, linestyle=":", linewidth=1.4, label="complete pooling")
    f.interval_bars(one, raw, table, f.interval_word(source, prob))
    one.scatter(
        raw, estimate, s=_areas(table["size"].to_numpy(float)), color=f.PALETTE[0], zorder=4, label="posterior estimate"
    )
    known = np.isfinite(table["true"].to_numpy(float))
    if known.any():
        one.plot(
            raw[known],
            table["true"][known],
            "_",
            color="black",
            markersize=12,
            markeredgewidth=2,
            label="truth",
            zorder=5,
        )
    one.set_xlabel(xlabel or "maximum likelihood estimate", fontsize=f.TEXT)
    one.set_ylabel(ylabel or "posterior estimate", fontsize=f.TEXT)
    one.margins(0.06)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title)
    return figure


def _areas(size: np.ndarray) -> np.ndarray | float:
    """Areas of points in proportion to the sizes of groups, between a ninth of the largest and it."""
    if not np.isfinite(size).all() or size.max() == size.min():
        return 45.0
    return 110 * np.maximum(size / size.max(), 1 / 9)


def plot_plane(
    source: Any,
    x: str,
    y: str,
    *,
    rep: int | None = None,
    truth: Mapping[str, Mapping[str, float]] | None = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    title: str | None = None,
    regime: str | None = None,
) -> Figure:
    """Two numbers of each group in the plane: how far the estimates are from the truth, or from one another.

    Where truths are known there is a panel a method, an arrow from each group's true pair to its estimate, and the root
    mean squared error over groups of each coordinate. Without truths one panel has the arrows from the first method's
    estimates to the last one's.

    Parameters
    ----------
    source : DataFrame or mapping of str to Fit
        A study's table of estimates, or fits by the name of their method.
    x, y : str
        Estimands with groups, such as ``theta_id`` and ``theta_id_x``.
    rep : int, optional
        Replicate of a table; by default its first.
    truth : mapping, optional
        For fits: estimand to a mapping of group to true value.
    xlabel, ylabel, title
        Words; by default the estimands' names.
    regime
        As in `plot_measure`, for a table.

    Raises
    ------
    ValueError
        Where a method lacks an estimand, or there is neither a truth nor a second method.
    """
    table = long_estimates(source, (x, y), rep, truth)
    methods = list(dict.fromkeys(table["method"]))
    wide = table.pivot_table(
        index="group", columns=["method", "estimand"], values=["estimate", "true"], sort=False, dropna=False
    )
    pairs = {m: np.stack([wide["estimate"][m][e].to_numpy(float) for e in (x, y)]) for m in methods}
    true = np.stack([wide["true"][methods[0]][e].to_numpy(float) for e in (x, y)])
    known = bool(np.isfinite(true).all())
    if not known and len(methods) < 2:
        raise ValueError(
            f"truth: expected true values or two methods, found neither ({methods[0]} alone); give one of them"
        )
    panels = [(m, true, pairs[m]) for m in methods] if known else [("", pairs[methods[0]], pairs[methods[-1]])]
    figure, axes = f.canvas(len(panels), height=3.6, share=len(panels) > 1)
    for one, (name, start, end) in zip(axes, panels, strict=True):
        one.quiver(
            *start,
            *(end - start),
            angles="xy",
            scale_units="xy",
            scale=1,
            color=f.GREY,
            width=0.005,
            headwidth=4,
            zorder=2,
        )
        first, second = ("truth", "estimate") if known else (methods[0], methods[-1])
        one.plot(
            *start, "o", markerfacecolor="white", markeredgecolor=f.PALETTE[1], markersize=4, label=first, zorder=3
        )
        one.plot(*end, "o", color=f.PALETTE[0], markersize=4, label=second, zorder=4)
        one.set_xlabel(xlabel or x, fontsize=f.TEXT)
        one.set_ylabel(ylabel or y, fontsize=f.TEXT)
        one.grid(axis="x", color="#dddddd", linewidth=0.7)
        one.margins(0.05)
        if known:
            across, up = np.sqrt(np.mean((end - start) ** 2, axis=1))
            one.set_title(f"{name}\nRMSE: {xlabel or x} {across:.3g},\n{ylabel or y} {up:.3g}", fontsize=f.TEXT)
    _one_frame(axes)
    f.legend(figure, axes, True)
    of_table = isinstance(source, pd.DataFrame)
    words = (regime_of(source, regime), f"replicate {int(table['rep'].iloc[0])}") if of_table and "rep" in table else ()
    f.heading(figure, axes, True, title or f"{len(wide)} groups: {xlabel or x} and {ylabel or y}", *words)
    return figure


def _one_frame(axes: Sequence[Axes]) -> None:
    """The same limits along x for every panel."""
    ends = np.array([one.get_xlim() for one in axes])
    for one in axes:
        one.set_xlim(ends[:, 0].min(), ends[:, 1].max())


def plot_stein(
    source: Any,
    level: str | None = None,
    *,
    truth: Mapping[str, float] | None = None,
    names: tuple[str, str, str] = ("raw", "shrunken", "truth"),
    xlabel: str = "estimate",
    title: str = "Raw estimates, shrunken estimates, truth",
    ax: Axes | None = None,
) -> Figure:
    """Three rails joined by a line a group: raw estimates above, shrunken ones in the middle, truths below.

    Groups whose shrunken estimate is closer to the truth than the raw one have one colour, the others another; beside
    the rails stand the root mean squared errors over groups.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit with groups; or a table ``group raw estimate true``.
    level : str, optional
        Grouping of a fit.
    truth : mapping of str to float, optional
        True value of each group.
    names : tuple of str
        Words for the three rails.
    xlabel, title, ax
        Words, and the caller's axes.

    Raises
    ------
    ValueError
        Where raw estimates or truths are missing.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["a", "b"], "raw": [0.4, 0.2], "estimate": [0.33, 0.27], "true": [0.3, 0.25]})
    >>> [tick.get_text().split()[0] for tick in plot_stein(table).axes[0].get_yticklabels()]
    ['raw', 'shrunken', 'truth']
    """
    table = groups_of_source(source, "source", level=level, truth=truth)
    rails = table[["raw", "estimate", "true"]].to_numpy(float)
    if not np.isfinite(rails).all():
        column = ("raw", "estimate", "true")[int(np.argmax(~np.isfinite(rails).all(0)))]
        raise ValueError(
            f"source: expected a value of {column!r} for every group, found gaps; give truth= or such a column"
        )
    better = np.abs(rails[:, 1] - rails[:, 2]) < np.abs(rails[:, 0] - rails[:, 2])
    figure, axes = f.canvas(1, ax, height=3.6)
    one, heights = axes[0], np.array([2.0, 1.0, 0.0])
    for chosen, shade, style, word in (
        (better, f.PALETTE[0], "-", "closer to"),
        (~better, f.PALETTE[1], "--", "farther from"),
    ):
        if chosen.any():
            lines = one.plot(rails[chosen].T, heights, style, color=shade, linewidth=1.2, marker="o", markersize=4.5)
            lines[0].set_label(f"moved {word} the truth: {int(chosen.sum())} of {len(table)}")
    error = np.sqrt(np.mean((rails[:, :2] - rails[:, 2:]) ** 2, axis=0))
    one.grid(False)
    one.hlines(heights, rails.min(), rails.max(), color="#dddddd", linewidth=0.8, zorder=0)
    one.set_yticks(heights, [f"{names[0]}\nRMSE {error[0]:.3g}", f"{names[1]}\nRMSE {error[1]:.3g}", names[2]])
    one.set_ylim(-0.25, 2.25)
    one.set_xlabel(xlabel, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title)
    return figure
