"""Estimates over replicates: against the truth, against their standard errors, their densities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._densities import density_of, support_of
from hiermodels.reporting._rows import (
    choose,
    factors,
    in_common,
    known,
    label,
    levels,
    regime_of,
    replicates,
    split,
    subject,
    varying,
)

__all__ = ["plot_estimate_se", "plot_estimate_truth", "plot_ridge"]

Where = Mapping[str, Any] | None
Names = str | Sequence[str] | None


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
    rows = choose(estimates, "estimates", "method true", estimand=estimand, group=group, where=where)
    own = ax is None
    panels = split(rows, {"group"})
    looks = f.looks(estimates)
    figure, axes = f.canvas(len(panels), ax, height=3.3)
    for one, (name, part) in zip(axes, panels, strict=True):
        for method, points in part.groupby("method", sort=False, observed=True):
            one.plot(
                points["true"],
                points["estimate"],
                looks[method][1],
                color=looks[method][0],
                markersize=2.5,
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


def plot_ridge(
    estimates: pd.DataFrame,
    estimand: str,
    *,
    y: str | None = None,
    colour: str = "method",
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Density of the estimates over replicates, a ridge a method and mechanism; truth and mean estimate marked.

    Methods are shown on the replicates that all of them have.

    Where truths vary between replicates, estimates are shown relative to them. The dot below a ridge is the mean, its
    bar two Monte Carlo standard errors either side (the replicate is the unit, groups of one dataset count once).

    Parameters
    ----------
    estimates
        Long table of estimates.
    estimand
        One estimand; groups of a vector estimand are put together unless ``group`` narrows them.
    y : str, optional
        Column whose levels stand one above the other; by default the first factor that varies, else the method.
    colour : str
        Column shown as colour.
    group, where, regime, ax
        As in `plot_measure`.

    Raises
    ------
    ValueError
        Where no estimate is finite.
    """
    rows = in_common(choose(estimates, "estimates", "rep method true", estimand=estimand, group=group, where=where))
    if rows.empty:
        raise ValueError(
            f"estimand: expected finite estimates of {estimand} in a replicate that all methods have, found none"
        )
    fixed = rows["true"].notna().any() and rows.groupby(["group"], observed=True)["true"].nunique().max() == 1
    fixed = bool(fixed and rows["group"].nunique() == 1)
    relative = not fixed and bool(rows["true"].notna().all())
    shown = rows.assign(estimate=rows["estimate"] - (rows["true"] if relative else 0.0))
    y = y or next(iter(varying(rows, [c for c in factors(rows) if c != colour])), colour)
    own, panels = ax is None, split(shown, {y, colour, "group"})
    looks = f.looks(estimates, colour)
    steps = levels(rows[y])
    figure, axes = f.canvas(len(panels), ax, height=1.2 + 0.75 * len(steps))
    for one, (name, part) in zip(axes, panels, strict=True):
        low, high = (-np.inf, np.inf) if relative else support_of(part["estimate"].to_numpy(float))
        curves = {(a, b): density_of(g["estimate"].to_numpy(), low, high) for a, b, g in _cells(part, y, colour)}
        tops = {a: max(d.max() for (b, _), (_, d) in curves.items() if b == a) for a, _ in curves}
        for a, b, g in _cells(part, y, colour):
            base, (grid, density), shade = steps.index(a), curves[a, b], looks[b][0]
            one.fill_between(grid, base, base + 0.8 * density / tops[a], color=shade, alpha=0.3, linewidth=0)
            one.plot(grid, base + 0.8 * density / tops[a], color=shade, linewidth=1.3, label=label(b))
            each = g.groupby("rep", observed=True)["estimate"].mean()
            here = list(looks).index(b) * 0.05
            half = 2 * each.std(ddof=1) / np.sqrt(len(each))
            one.hlines(base - 0.06 - here, each.mean() - half, each.mean() + half, color=shade, linewidth=2)
            one.plot(each.mean(), base - 0.06 - here, looks[b][1], color=shade, markersize=4)
        if fixed or relative:
            one.axvline(float(part["true"].iloc[0]) if fixed else 0.0, color="black", linewidth=1)
        one.grid(False)
        one.set_yticks(range(len(steps)), [label(v) for v in steps])
        one.set_ylim(-0.12 - 0.05 * len(looks), len(steps) - 0.05)
        one.set_ylabel(y, fontsize=f.TEXT)
        one.set_xlabel(f"estimate − truth, {estimand}" if relative else f"estimate of {estimand}", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, f"estimates of {estimand}", regime_of(estimates, regime), replicates(rows))
    return figure


def _cells(part: pd.DataFrame, y: str, colour: str) -> list[tuple[Any, Any, pd.DataFrame]]:
    """Rows by level of ``y`` and of ``colour``; a cell whose estimates do not vary is left out."""
    keys = [y] if y == colour else [y, colour]
    found = []
    for key, these in part.groupby(keys, sort=False, dropna=False, observed=True):
        values = known(key)
        if these["estimate"].quantile(0.9) > these["estimate"].quantile(0.1):
            found.append((values[0], values[-1], these))
    return found


def plot_estimate_se(
    estimates: pd.DataFrame,
    estimand: Names = None,
    *,
    group: Names = None,
    where: Where = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Standard errors (posterior sds) against errors of estimates, one point a replicate and group.

    Outside the dashed lines an estimate is more than 1.96 of its standard errors from the truth. The level line is the
    empirical standard error, the sd of the errors: where the points lie below it, the method claims too much.

    Parameters
    ----------
    estimates
        Long table of estimates.
    estimand, group, where, regime, ax
        As in `plot_measure`; a panel a method, a mechanism, an estimand.
    """
    rows = choose(estimates, "estimates", "method true se", estimand=estimand, group=group, where=where)
    rows = rows[np.isfinite(rows[["true", "estimate", "se"]].to_numpy(float)).all(axis=1)]
    if rows.empty:
        raise ValueError("estimates: expected rows with a truth, an estimate and a standard error, found none")
    own = ax is None
    panels = split(rows, {"group"})
    looks = f.looks(estimates)
    figure, axes = f.canvas(len(panels), ax, height=3.0)
    for one, (name, part) in zip(axes, panels, strict=True):
        error, se = (part["estimate"] - part["true"]).to_numpy(float), part["se"].to_numpy(float)
        shade, marker = looks[part["method"].iloc[0]]
        one.plot(error, se, marker, color=shade, markersize=2.5, alpha=0.5, rasterized=len(rows) > 1000, label="_")
        top = 1.05 * se.max()
        one.plot(
            [-1.96 * top, 0, 1.96 * top], [top, 0, top], "--", color=f.GREY, linewidth=1, label="1.96 standard errors"
        )
        one.axhline(error.std(ddof=1), color="black", linewidth=1, label="empirical standard error")
        reach = 1.08 * np.abs(error).max()
        one.set_xlim(-reach, reach)
        one.set_ylim(0, max(top, 1.05 * error.std(ddof=1)))
        one.set_xlabel("estimate − truth", fontsize=f.TEXT)
        one.set_ylabel("standard error", fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(
        figure, axes, own, "standard errors and errors" + subject(rows), regime_of(estimates, regime), replicates(rows)
    )
    return figure
