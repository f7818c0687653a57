"""Groups of one fit: caterpillar, and forest with the pooled estimate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._densities import new_group
from hiermodels.reporting._fits import centre_name, centre_of, declared, groups_of_source, level_of

__all__ = ["plot_caterpillar", "plot_forest"]

MOST_NAMES = 60
"""Groups above which rows are no longer named."""


def plot_caterpillar(
    source: Any,
    level: str | None = None,
    *,
    effect: str | None = None,
    truth: Mapping[str, float] | None = None,
    prob: float = 0.95,
    ordered: bool = True,
    xlabel: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Estimate and interval of each group, a row a group, from the smallest estimate to the largest.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit with groups; or a table ``group estimate`` and, where known, ``lower upper mcse true``.
    level, effect : str, optional
        Grouping and effect of a fit; by default the finest grouping, and its intercept or first slope.
    truth : mapping of str to float, optional
        True values of groups, drawn as short lines.
    prob : float
        Probability of a fit's intervals.
    ordered : bool
        False keeps the source's order, the first group on top.
    xlabel, title, ax
        Words, and the caller's axes.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["A", "B"], "estimate": [11.4, 7.9], "lower": [-2.1, -5.0], "upper": [31.6, 20.7]})
    >>> [tick.get_text() for tick in plot_caterpillar(table).axes[0].get_yticklabels()]
    ['B', 'A']
    """  # noqa: E501
    table = groups_of_source(source, "source", level=level, effect=effect, prob=prob, truth=truth)
    table = table.sort_values("estimate", kind="stable") if ordered else table[::-1]
    figure, axes = f.canvas(1, ax, height=min(1.1 + 0.24 * len(table), 9.0))
    one, rows = axes[0], np.arange(len(table))
    centre = centre_of(source, level, effect)
    f.interval_bars(one, rows, table, f.interval_word(source, prob), horizontal=True)
    one.plot(
        table["estimate"],
        rows,
        "o",
        color=f.PALETTE[0],
        markersize=6 if len(table) <= MOST_NAMES else 3,
        label="estimate",
        zorder=4,
    )
    _mark_truth(one, table, rows)
    if centre is not None:
        one.axvline(centre, color=f.GREY, linestyle="--", linewidth=1, label="population mean", zorder=1)
    _name_rows(one, table, "groups, by their estimate" if ordered else "groups")
    name = str(table["estimand"].iloc[0])
    one.set_xlabel(xlabel or name, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title or f"{len(table)} groups: {xlabel or name}")
    return figure


def _mark_truth(ax: Axes, table: pd.DataFrame, rows: np.ndarray) -> None:
    true = table["true"].to_numpy(float)
    if np.isfinite(true).any():
        ax.plot(true, rows, "|", color="black", markersize=12, markeredgewidth=2, label="truth", zorder=5)


def _name_rows(ax: Axes, table: pd.DataFrame, word: str) -> None:
    ax.grid(False)
    if len(table) <= MOST_NAMES:
        ax.set_yticks(range(len(table)), f.names_of(table["group"]))
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{len(table)} {word}", fontsize=f.TEXT)
    ax.set_ylim(-0.7, len(table) - 0.3)


def plot_forest(
    source: Any,
    level: str | None = None,
    *,
    pooled: Mapping[str, tuple[float, float, float]] | None = None,
    prob: float = 0.95,
    numbers: bool = True,
    xlabel: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Forest plot: what each group says alone, its partially pooled estimate, and the pooled estimate as a diamond.

    Below the groups stand the population mean and, where groups are partially pooled, the value of a group not in the
    data (its median and interval).

    Parameters
    ----------
    source : Fit or DataFrame
        A fit with groups; or a table ``group estimate`` and, where known, ``lower upper mcse raw raw_lower raw_upper``.
    level : str, optional
        Grouping of a fit; by default the finest.
    pooled : mapping, optional
        For a table: name of a summary row to (estimate, lower, upper), each drawn as a diamond below the groups.
    prob : float
        Probability of a fit's intervals.
    numbers : bool
        Write estimate and interval to the right of each row.
    xlabel, title, ax
        Words, and the caller's axes.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["A", "B"], "estimate": [11.4, 7.9], "lower": [-2.1, -5.0], "upper": [31.6, 20.7]})
    >>> figure = plot_forest(table, pooled={"population mean": (8.0, -1.0, 17.0)})
    >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    ['A', 'B', 'population mean']
    """  # noqa: E501
    table = groups_of_source(source, "source", level=level, prob=prob)
    below = dict(pooled or {}) if isinstance(source, pd.DataFrame) else _pooled(source, level, prob)
    count = len(table) + len(below)
    figure, axes = f.canvas(1, ax, height=min(1.1 + 0.34 * count, 11.0))
    one, rows = axes[0], -np.arange(len(table), dtype=float)
    word = f.interval_word(source, prob)
    if np.isfinite(table["raw"].to_numpy(float)).any():
        one.hlines(rows + 0.17, table["raw_lower"], table["raw_upper"], color=f.PALETTE[1], linewidth=1.1, zorder=2)
        one.plot(
            table["raw"],
            rows + 0.17,
            "s",
            markerfacecolor="white",
            markeredgecolor=f.PALETTE[1],
            markersize=5,
            label="alone",
            zorder=3,
        )
    f.interval_bars(one, rows - 0.17, table, word, horizontal=True)
    one.plot(
        table["estimate"], rows - 0.17, "o", color=f.PALETTE[0], markersize=5.5, label="partially pooled", zorder=4
    )
    places = list(rows)
    for i, (estimate, lower, upper) in enumerate(below.values()):
        at = -len(table) - 0.35 - i
        places.append(at)
        one.fill([lower, estimate, upper, estimate], [at, at + 0.28, at, at - 0.28], color=f.PALETTE[2], zorder=3)
    if below:
        one.axvline(next(iter(below.values()))[0], color=f.GREY, linestyle="--", linewidth=1, zorder=1)
        one.axhline(-len(table) + 0.3, color="black", linewidth=0.8)
    one.grid(False)
    one.set_yticks(places, [*f.names_of(table["group"]), *below])
    one.set_ylim(min(places) - 0.6, 0.6)
    if numbers:
        found = [*table[["estimate", "lower", "upper"]].itertuples(index=False, name=None), *below.values()]
        _write_numbers(one, places, found)
    name = str(table["estimand"].iloc[0])
    one.set_xlabel(xlabel or name, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title or f"Forest plot: {xlabel or name}")
    return figure


def _write_numbers(ax: Axes, places: list[float], rows: list[tuple[float, float, float]]) -> None:
    """``11.4 (-2.1, 31.6)`` to the right of each row, to a hundredth of the range of the estimates."""
    values = np.array(rows, float)
    spread = np.nanmax(values) - np.nanmin(values)
    places_after = int(np.clip(2 - np.floor(np.log10(spread or 1.0)), 0, 6))
    for at, (estimate, lower, upper) in zip(places, rows, strict=True):
        ends = (
            f" ({lower:.{places_after}f}, {upper:.{places_after}f})"
            if np.isfinite(lower) and np.isfinite(upper)
            else ""
        )
        ax.text(
            1.02,
            at,
            f"{estimate:.{places_after}f}{ends}",
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize=f.TEXT - 2,
        )


def _pooled(fit: Any, level: str | None, prob: float) -> dict[str, tuple[float, float, float]]:
    """Population mean, and the value of a group that is not in the data, each as estimate and interval."""
    problem = declared(fit, "source").problem
    found = level_of(problem, level)
    name = centre_name(fit, found)
    below = {} if name is None else {"population mean": _three(fit.summary(name, prob).iloc[0])}
    new = new_group(fit, found)
    if new is not None:
        middle, lower, upper = np.quantile(new, [0.5, (1 - prob) / 2, (1 + prob) / 2])
        below[f"new {' in new '.join(reversed(found.name.split(':')))}"] = (float(middle), float(lower), float(upper))
    return below


def _three(row: pd.Series) -> tuple[float, float, float]:
    ends = [float(row[c]) for c in row.index if str(c).startswith("eti")]
    return float(row["median"] if np.isnan(row["mean"]) else row["mean"]), ends[0], ends[1]
