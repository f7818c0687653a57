"""The hierarchy of one fit: its tree of groups, and its groups along the spread between them."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._paths import path_table, tree_table
from hiermodels.reporting._rows import records

__all__ = ["plot_paths", "plot_tree"]


def plot_tree(
    source: Any,
    *,
    xlabel: str | None = None,
    title: str = "From the population to its groups",
    ax: Axes | None = None,
) -> Figure:
    """The tree of a nested hierarchy: population mean above, each level's estimates below it, joined to their parents.

    The lowest rail has the raw means of the finest groups, joined to their estimates: what the data say alone. Thick
    bars are twice the Monte Carlo standard error either side.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit of nested groups; or a table ``level group parent estimate`` and, where known, ``mcse raw``, the levels
        from coarse to fine, one row of the first level.
    xlabel, title, ax
        Words, and the caller's axes.

    Raises
    ------
    ValueError
        For crossed groups, or a table whose parents are not in it.

    Examples
    --------
    >>> rows = {"level": ["population", "school", "school"], "group": ["all", "A", "B"], "parent": ["", "all", "all"]}
    >>> figure = plot_tree(pd.DataFrame(rows | {"estimate": [8.0, 9.0, 7.0]}))
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['population', 'school']
    """
    table = tree_table(source)
    levels = list(dict.fromkeys(table["level"]))
    raw = table[np.isfinite(table["raw"].to_numpy(float)) & (table["level"] == levels[-1])]
    rails = [*levels, f"{levels[-1]}, alone"] if len(raw) else levels
    figure, axes = f.canvas(1, ax, height=1.0 + 0.8 * len(rails))
    one = axes[0]
    height = {level: len(rails) - 1 - i for i, level in enumerate(rails)}
    place = {(row.level, row.group): (row.estimate, height[row.level]) for row in records(table)}
    shades = _branches(table, levels)
    for i, level in enumerate(levels):
        for row in records(table[table["level"] == level]):
            shade = shades.get((row.level, row.group), "black")
            x, y = place[row.level, row.group]
            if i > 0:
                above = place[levels[i - 1], row.parent]
                one.plot([above[0], x], [above[1], y], color=shade, linewidth=1.1, zorder=2)
            if np.isfinite(row.mcse):
                one.hlines(y, x - 2 * row.mcse, x + 2 * row.mcse, color=shade, linewidth=6, alpha=0.4, zorder=3)
            one.plot(x, y, "o", color=shade, markersize=8 - 2 * min(i, 2), zorder=4)
    for row in records(raw):
        shade = shades.get((row.level, row.group), "black")
        one.plot([row.estimate, row.raw], [1, 0], ":", color=shade, linewidth=1, zorder=1)
        one.plot(row.raw, 0, "o", markerfacecolor="white", markeredgecolor=shade, markersize=4, zorder=4)
    if len(levels) > 1:
        first = table[table["level"] == levels[1]]
        if len(first) <= 12:
            f.spread_labels(
                one,
                first["estimate"].to_numpy(float),
                height[levels[1]] + 0.16,
                f.names_of(first["group"], max(8, 60 // len(first))),
            )
    one.grid(False)
    one.set_yticks(
        [height[r] for r in rails],
        [
            "\n".join(textwrap.wrap(_in_words(r) if r in levels else f"{_in_words(levels[-1])}, alone", 16))
            for r in rails
        ],
    )
    one.set_ylim(-0.35, len(rails) - 0.6)
    one.margins(x=0.04)
    one.set_xlabel(xlabel or "estimate", fontsize=f.TEXT)
    f.heading(figure, axes, ax is None, title)
    return figure


def _in_words(level: str) -> str:
    """``classroom in school`` for ``school:classroom``."""
    return " in ".join(reversed(level.split(":")))


def _branches(table: pd.DataFrame, levels: list[str]) -> dict[tuple[str, str], str]:
    """Colour of each node: that of its ancestor just below the population."""
    found: dict[tuple[str, str], str] = {}
    for i, level in enumerate(levels[1:], start=1):
        for n, row in enumerate(records(table[table["level"] == level])):
            found[level, row.group] = f.PALETTE[n % len(f.PALETTE)] if i == 1 else found[levels[i - 1], row.parent]
    return found


def plot_paths(
    source: Any,
    level: str | None = None,
    *,
    points: int = 61,
    xlabel: str | None = None,
    ylabel: str | None = None,
    title: str | None = None,
) -> Figure:
    """Each group's conditional posterior mean and sd as the spread between groups grows from 0, above the spread's
    posterior.

    At 0 all groups have the pooled estimate; the larger the spread, the nearer each comes to what it says alone. The
    posterior of the spread tells which part of the paths counts. Other hyperparameters stay at their posterior medians.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit whose groups integrate out; or a table ``spread group estimate se``, with the posterior density of the
        spread in ``density`` where it is known.
    level : str, optional
        Grouping of a fit; by default the finest.
    points : int
        Number of values of the spread.
    xlabel, ylabel, title
        Words.

    Notes
    -----
    The conditional law of the groups given all hyperparameters is exact, from the model's factorisation; that of
    two-level models with known variances is N(B mu + (1 - B) y, ...) with B = se^2 / (se^2 + tau^2).

    Examples
    --------
    >>> table = pd.DataFrame({"spread": [0.0, 5.0] * 2, "group": ["A", "A", "B", "B"], "estimate": [7.7, 9.9, 7.7, 7.9], "se": 4.0})
    >>> [ax.get_ylabel() for ax in plot_paths(table).axes]
    ['conditional mean', 'conditional sd']
    """  # noqa: E501
    table, spread, estimand = path_table(source, level, points)
    dense = "density" in table and np.isfinite(table["density"].to_numpy(float)).any()
    what = [("estimate", ylabel or "conditional mean"), ("se", "conditional sd")]
    if not np.isfinite(table["se"].to_numpy(float)).any():
        what = what[:1]
    ratios = [2.4, 1.3, 1.0][: len(what)] + ([1.0] if dense else [])
    figure, axes = f.canvas(len(ratios), height=2.0, wide=True, ratios=ratios)
    groups = list(dict.fromkeys(table["group"]))
    for one, (column, word) in zip(axes, what, strict=False):
        ends = []
        for i, group in enumerate(groups):
            part = table[table["group"] == group]
            shade = f.PALETTE[i % len(f.PALETTE)] if len(groups) <= 12 else f.PALETTE[0]
            style = "-" if i < len(f.PALETTE) or len(groups) > 12 else "--"
            one.plot(
                part["spread"],
                part[column],
                style,
                color=shade,
                linewidth=1.3 if len(groups) <= 12 else 0.7,
                label=group,
            )
            ends.append(float(part[column].iloc[-1]))
        if len(groups) <= 12:
            f.end_labels(one, float(table["spread"].max()), np.array(ends), f.names_of(groups))
        one.set_ylabel(word, fontsize=f.TEXT)
    if dense:
        first = table[table["group"] == groups[0]]
        axes[-1].fill_between(first["spread"], first["density"], color=f.PALETTE[5], alpha=0.6, linewidth=0)
        axes[-1].plot(first["spread"], first["density"], color=f.PALETTE[0], linewidth=1.3)
        axes[-1].set_ylabel("posterior\ndensity", fontsize=f.TEXT)
        axes[-1].set_yticks([])
        axes[-1].set_ylim(bottom=0)
    for one in axes[:-1]:
        one.sharex(axes[-1])
        one.tick_params(labelbottom=False)
    axes[-1].set_xlim(0, float(table["spread"].max()))
    axes[-1].set_xlabel(xlabel or spread, fontsize=f.TEXT)
    f.heading(figure, axes, True, title or f"{estimand} given {xlabel or spread}")
    return figure
