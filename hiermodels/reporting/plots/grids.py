"""A performance measure over the factors of a study: heat map, nested loop, curve along one numeric factor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._rows import (
    choose,
    factors,
    known,
    label,
    levels,
    only,
    regime_of,
    replicates,
    split,
    subject,
    varying,
    words_of,
)
from hiermodels.reporting.tables import number
from hiermodels.studies.score.measures import about

__all__ = ["plot_curve", "plot_heat", "plot_nested_loop", "plot_power"]

Where = Mapping[str, Any] | None
Names = str | Sequence[str] | None

_BESIDE = 0.02
"""Share of the axis between the marks of two methods at one place."""


def plot_heat(
    performance: pd.DataFrame,
    measure: str,
    estimand: str,
    x: str,
    y: str,
    *,
    group: Names = None,
    where: Where = None,
    reference: float | None = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """One performance measure over two factors, a panel a method; in each cell the value and its Monte Carlo standard
    error.

    Parameters
    ----------
    performance, measure, estimand, group, where, regime, ax
        As in `plot_measure`.
    x, y
        The two factors.
    reference
        Centre of the colours; by default 0 for biases, else none.
    """
    rows = only(choose(performance, "performance", "mcse", estimand=estimand, group=group, where=where), measure)
    own, word = ax is None, words_of(measure)
    panels = split(rows, {x, y})
    across, down = levels(rows[x]), levels(rows[y])
    figure, axes = f.canvas(len(panels), ax, height=1.6 + 0.55 * len(down))
    centre = about(measure).line if reference is None else reference
    low, high = float(rows["value"].min()), float(rows["value"].max())
    if centre is not None:
        reach = max(abs(low - centre), abs(high - centre)) or 1.0
        low, high = centre - reach, centre + reach
    for one, (name, part) in zip(axes, panels, strict=True):
        grid = part.pivot(index=y, columns=x, values="value").reindex(index=down, columns=across).to_numpy(float)
        errors = part.pivot(index=y, columns=x, values="mcse").reindex(index=down, columns=across).to_numpy(float)
        mesh = one.pcolormesh(grid, vmin=low, vmax=high, cmap="PuOr" if centre is not None else "cividis")
        one.grid(False)
        for (i, j), value in np.ndenumerate(grid):
            if np.isfinite(value):
                red, green, blue, _ = mesh.cmap(mesh.norm(value))
                ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else "white"
                words = number(value, errors[i, j]).replace(" ", "\n")
                one.text(j + 0.5, i + 0.5, words, ha="center", va="center", color=ink, fontsize=f.TEXT - 2)
        one.set_xticks(np.arange(len(across)) + 0.5, [label(v) for v in across])
        one.set_yticks(np.arange(len(down)) + 0.5, [label(v) for v in down])
        one.set_xlabel(x, fontsize=f.TEXT)
        one.set_ylabel(y, fontsize=f.TEXT)
        f.name_panel(one, name, own)
    figure.colorbar(mesh, ax=axes, label=word).ax.yaxis.label.set_fontsize(f.TEXT)
    f.heading(figure, axes, own, word + subject(rows), regime_of(performance, regime), replicates(rows))
    return figure


def plot_nested_loop(
    performance: pd.DataFrame,
    measure: str,
    estimand: Names = None,
    *,
    order: Sequence[str] | None = None,
    colour: str = "method",
    group: Names = None,
    where: Where = None,
    reference: float | None = None,
    regime: str | None = None,
) -> Figure:
    """One performance measure over every combination of several factors, side by side; the factors' levels in steps
    below.

    The first factor changes slowest. Bars are the table's 95% Monte Carlo intervals.

    Parameters
    ----------
    performance, measure, estimand, group, where, regime
        As in `plot_measure`; a panel an estimand.
    order : sequence of str, optional
        Factors from the slowest to the fastest; by default those that vary, in the table's order; one left out
        becomes panels.
    colour : str
        Column shown as colour.
    reference : float, optional
        Height of a horizontal line; by default 0 for biases.

    Raises
    ------
    ValueError
        Where no factor varies or a name is unknown.

    Notes
    -----
    Rücker and Schwarzer (2014), BMC Medical Research Methodology 14, 129.
    """
    rows = only(choose(performance, "performance", estimand=estimand, group=group, where=where), measure)
    there = varying(rows, factors(rows))
    loops = list(order) if order is not None else there
    for name in loops:
        if name not in rows:
            raise ValueError(
                f"order: expected factors among {', '.join(factors(rows))}, found {name!r}; name one of them"
            )
    if not loops:
        raise ValueError("order: expected factors that vary, found none; a lollipop or dots show one mechanism")
    ranks = {name: {v: i for i, v in enumerate(levels(rows[name]))} for name in loops}
    combinations = sorted(
        {known(key) for key in rows[loops].itertuples(index=False, name=None)},
        key=lambda key: [ranks[n][v] for n, v in zip(loops, key, strict=True)],
    )
    place = {key: i for i, key in enumerate(combinations)}
    word, panels = words_of(measure), split(rows, {*loops, colour})
    looks = f.looks(performance, colour)
    figure, axes = f.canvas(
        len(panels) + 1, height=2.2, wide=True, ratios=[1.0] * len(panels) + [0.16 + 0.16 * len(loops)]
    )
    edges = np.arange(len(combinations) + 1) - 0.5
    line = about(measure).line if reference is None else reference
    for one, (name, part) in zip(axes, panels, strict=False):
        here = [level for level in looks if (part[colour] == level).any()]
        for i, level in enumerate(here):
            these = part[part[colour] == level]
            at = np.array([place[known(key)] for key in these[loops].itertuples(index=False, name=None)])
            height = np.full(len(combinations), np.nan)
            height[at] = these["value"]
            shade = looks[level][0]
            one.stairs(height, edges, baseline=None, color=shade, linewidth=1.6, label=label(level))
            shift = (i - (len(here) - 1) / 2) * min(0.18, 0.6 / len(here))
            one.vlines(at + shift, these["lower"], these["upper"], color=shade, linewidth=1.2)
        if line is not None:
            one.axhline(line, color=f.GREY, linestyle="--", linewidth=1, zorder=1)
        if about(measure).share:
            one.yaxis.set_major_formatter(f.percent)
        one.set_xlim(edges[0], edges[-1])
        one.set_xticks([])
        one.set_ylabel(f.axis_name(word, part), fontsize=f.TEXT)
        f.name_panel(one, name, True)
    _loops(axes[-1], loops, combinations)
    f.legend(figure, axes, True)
    f.heading(figure, axes, True, word + subject(rows), regime_of(performance, regime), replicates(rows))
    return figure


def _loops(ax: Axes, loops: Sequence[str], combinations: Sequence[tuple[Any, ...]]) -> None:
    """A row a factor: its levels as cells as wide as they stay the same."""
    for row, _ in enumerate(loops):
        values = [key[row] for key in combinations]
        outer = [key[: row + 1] for key in combinations]
        starts = [i for i in range(len(values)) if i == 0 or outer[i] != outer[i - 1]]
        for n, (start, stop) in enumerate(zip(starts, [*starts[1:], len(values)], strict=True)):
            shade = "#e9e9e9" if n % 2 == 0 else "white"
            ax.barh(row, stop - start, left=start - 0.5, height=0.9, color=shade, edgecolor="#bbbbbb", linewidth=0.5)
            if len(starts) <= 26:
                ax.text(
                    (start + stop - 1) / 2, row, label(values[start]), ha="center", va="center", fontsize=f.TEXT - 3
                )
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    ax.set_yticks(range(len(loops)), loops)
    ax.set_xticks([])
    ax.tick_params(left=False)
    ax.set_ylim(len(loops) - 0.5, -0.5)
    ax.set_xlim(-0.5, len(combinations) - 0.5)


def plot_curve(
    performance: pd.DataFrame,
    measure: str,
    estimand: Names = None,
    *,
    x: str | None = None,
    colour: str = "method",
    group: Names = None,
    where: Where = None,
    log: bool = False,
    reference: float | None = None,
    xlabel: str | None = None,
    regime: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """One performance measure along a numeric factor, to scale: a line a method, with 95% Monte Carlo intervals.

    Methods stand a little beside each other, so that equal ones are all seen.

    Parameters
    ----------
    performance, measure, estimand, colour, group, where, regime, title, ax
        As in `plot_measure`.
    x : str, optional
        A numeric factor; by default the first that varies.
    log : bool
        Logarithmic horizontal axis.
    reference : float, optional
        Height of a horizontal line; by default 0 for biases.
    xlabel : str, optional
        Words for the factor.

    Raises
    ------
    ValueError
        Where no numeric factor varies.

    Examples
    --------
    >>> rows = {"schools": [10.0, 20.0], "method": "partial", "estimand": "treated", "group": "", "measure": "power"}
    >>> table = pd.DataFrame(rows | {"value": [0.4, 0.7], "lower": [0.3, 0.6], "upper": [0.5, 0.8], "n_sim": 100})
    >>> plot_curve(table, "power", "treated").axes[0].get_xlabel()
    'schools'
    """
    rows = only(choose(performance, "performance", estimand=estimand, group=group, where=where), measure)
    numeric = [c for c in varying(rows, factors(rows)) if pd.api.types.is_numeric_dtype(rows[c])]
    x = x or next(iter(numeric), None)
    if x not in numeric:
        found = repr(x) if x else "none"
        raise ValueError(
            f"x: expected a numeric factor that varies ({', '.join(numeric) or 'none'}), found {found}; see "
            f"plot_measure"
        )
    own, word = ax is None, words_of(measure)
    panels = split(rows, {x, colour})
    line = about(measure).line if reference is None else reference
    looks = f.looks(performance, colour)
    figure, axes = f.canvas(len(panels), ax, share=about(measure).share)
    for one, (name, part) in zip(axes, panels, strict=True):
        ends = np.array([part[x].min(), part[x].max()], float)
        for i, (level, (shade, marker)) in enumerate(looks.items()):
            these = part[part[colour] == level].sort_values(x)
            if len(these):
                at = these[x].to_numpy(float)
                beside = _BESIDE * (i - (len(looks) - 1) / 2)
                at = at * (ends[1] / ends[0]) ** beside if log else at + beside * (ends[1] - ends[0])
                one.vlines(at, these["lower"], these["upper"], color=shade, linewidth=1.8)
                one.plot(
                    at, these["value"], marker=marker, color=shade, markersize=6, linewidth=1.2, label=label(level)
                )
        if line is not None:
            one.axhline(line, color=f.GREY, linestyle="--", linewidth=1, zorder=1)
        if about(measure).share:
            one.yaxis.set_major_formatter(f.percent)
        if log:
            one.set_xscale("log")
        at = np.array(levels(part[x]), float)
        if len(at) <= 9:
            one.set_xticks(at, [label(v) for v in at])
            one.set_xticks([], minor=True)
        one.set_xlabel(xlabel or x, fontsize=f.TEXT)
        one.set_ylabel(f.axis_name(word, part), fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, title or word + subject(rows), regime_of(performance, regime), replicates(rows))
    return figure


def plot_power(
    performance: pd.DataFrame, estimand: Names = None, *, x: str | None = None, target: float = 0.8, **options: Any
) -> Figure:
    """Power curve: the share of replicates whose decision fires, along a numeric factor, with a line at the power asked
    for.

    Parameters
    ----------
    performance
        Long table with rows of ``power``.
    estimand
        One decision, several, or all.
    x : str, optional
        A numeric factor; by default the first that varies.
    target : float
        Power asked for.
    **options
        As in `plot_curve`.
    """
    figure = plot_curve(performance, "power", estimand, x=x, reference=target, **options)
    for ax in [options["ax"]] if options.get("ax") is not None else figure.axes:
        ax.set_ylim(-0.02, 1.02)
    return figure
