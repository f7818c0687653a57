"""One performance measure with its Monte Carlo intervals: dots, coverage, bias, interval width, RMSE ratio,
lollipop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._given import study_table
from hiermodels.reporting._rows import (
    choose,
    factors,
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
from hiermodels.studies.score.measures import about
from hiermodels.studies.score.measures.comparisons import RMSERatio
from hiermodels.studies.score.measures.squares import MSE, RMSE

__all__ = ["plot_bias", "plot_ciwidth", "plot_coverage", "plot_lollipop", "plot_measure", "plot_rmse_ratio"]

Where = Mapping[str, Any] | None
Names = str | Sequence[str] | None


def plot_measure(
    performance: pd.DataFrame,
    measure: str,
    estimand: Names = None,
    *,
    x: str | None = None,
    colour: str = "method",
    group: Names = None,
    where: Where = None,
    reference: float | None = None,
    regime: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Dots of one performance measure with 95% Monte Carlo intervals (the table's ``lower`` and ``upper``).

    Parameters
    ----------
    performance
        Long table, columns as in `Run.performance`.
    measure
        Code such as ``"bias"``; the table must have rows of it.
    estimand
        One estimand, several, or all.
    x
        Column along the axis; by default the first factor that varies, else the groups, the estimands, the
        methods.
    colour
        Column shown as colour and marker.
    group
        Groups of a vector estimand; by default their average where the table has it. ``"each"`` is every
        group.
    where
        Column to value or values, to narrow the rows.
    reference
        Height of a horizontal line; by default 0 for biases.
    regime
        ``fixed``, ``population`` or ``prior``; by default ``performance.attrs["regime"]``.
    title
        First line of the title; by default the measure and the estimand.
    ax
        Axes for a single panel.

    Raises
    ------
    ValueError
        Where no row is left, or more panels are needed than can be drawn.

    Examples
    --------
    >>> rows = {"method": ["none", "partial"], "estimand": "Intercept", "group": "", "measure": "bias"}
    >>> numbers = {"value": [0.1, 0.3], "lower": [-0.1, 0.1], "upper": [0.3, 0.5], "n_sim": 100}
    >>> table = pd.DataFrame(rows | numbers)
    >>> figure = plot_measure(table, "bias", "Intercept", regime="fixed")
    >>> figure.axes[0].get_ylabel()
    'bias of Intercept'
    """
    rows = only(choose(performance, "performance", estimand=estimand, group=group, where=where), measure)
    rows = rows[rows.groupby(["estimand", "group"])["value"].transform(lambda v: v.notna().any()).astype(bool)]
    if rows.empty:
        raise ValueError(f"measure: {measure} is not defined for any chosen row; see the notes of the table")
    reference = about(measure).line if reference is None else reference
    own, word = ax is None, words_of(measure)
    x = x or _axis_of(rows, colour)
    panels = split(rows, {x, colour})
    figure, axes = f.canvas(len(panels), ax, share=about(measure).better == "level")
    looks = f.looks(performance, colour)
    for one, (name, part) in zip(axes, panels, strict=True):
        _dots(one, part, x, colour, looks)
        if reference is not None:
            one.axhline(reference, color=f.GREY, linestyle="--", linewidth=1, zorder=1)
        if about(measure).share:
            one.yaxis.set_major_formatter(f.percent)
        one.set_xlabel(x, fontsize=f.TEXT)
        one.set_ylabel(f.axis_name(word, part), fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.legend(figure, axes, own)
    f.heading(figure, axes, own, title or word + subject(rows), regime_of(performance, regime), replicates(rows))
    return figure


def _axis_of(rows: pd.DataFrame, colour: str) -> str:
    varied = varying(rows, [c for c in (*factors(rows), "group", "estimand") if c != colour])
    if rows["estimand"].nunique() > 1 and varied == ["group", "estimand"]:
        return "estimand"
    return varied[0] if varied else "method"


def _dots(ax: Axes, part: pd.DataFrame, x: str, colour: str, looks: Mapping[Any, tuple[str, str]]) -> None:
    """One dot and interval a row, side by side within a category; a row without a value is written as n/a."""
    categories = levels(part[x])
    place = {category: i for i, category in enumerate(categories)}
    here = [level for level in looks if (part[colour] == level).any()]
    step = 0.0 if x == colour else min(0.18, 0.6 / max(len(here), 1))
    for i, level in enumerate(here):
        rows = part[part[colour] == level]
        at = np.array([place[None if pd.isna(v) else v] for v in rows[x]]) + (i - (len(here) - 1) / 2) * step
        shade, marker = looks[level]
        ax.vlines(at, rows["lower"], rows["upper"], color=shade, linewidth=2, zorder=2)
        ax.plot(
            at,
            rows["value"],
            linestyle="",
            marker=marker,
            color=shade,
            markersize=7,
            label=label(level),
            zorder=3,
        )
        for missing in at[rows["value"].isna().to_numpy()]:
            ax.text(
                missing,
                0.01,
                "n/a",
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="bottom",
                rotation=90,
                color=shade,
                fontsize=f.TEXT - 3,
            )
    f.name_ticks(ax, categories)


def plot_coverage(
    performance: pd.DataFrame,
    estimand: Names = None,
    *,
    nominal: float = 0.95,
    measure: str = "cover",
    **options: Any,
) -> Figure:
    """Coverage of intervals with 95% Monte Carlo intervals and a line at the nominal level.

    Parameters
    ----------
    performance
        Long table with rows of ``measure``.
    estimand
        One estimand, several, or all.
    nominal
        Level asked of the intervals.
    measure
        ``cover``, or another share such as ``becover``.
    **options
        As in `plot_measure`.
    """
    return plot_measure(performance, measure, estimand, reference=nominal, **options)


def plot_bias(performance: pd.DataFrame, estimand: Names = None, *, measure: str = "bias", **options: Any) -> Figure:
    """Bias, mean of estimate minus truth, with 95% Monte Carlo intervals; options as in `plot_measure`."""
    return plot_measure(performance, measure, estimand, reference=0.0, **options)


def plot_ciwidth(performance: pd.DataFrame, estimand: Names = None, **options: Any) -> Figure:
    """Mean width of the intervals with 95% Monte Carlo intervals; options as in `plot_measure`."""
    return plot_measure(performance, "ciwidth", estimand, **options)


def plot_rmse_ratio(
    performance: pd.DataFrame, estimand: Names = None, *, to: str | None = None, **options: Any
) -> Figure:
    """Root mean squared error of each method, divided by a reference method's on the same datasets.

    Where the table has rows of ``rmse_ratio`` (paired by replicate) and no other reference is asked for, they are
    drawn. Else its ``rmse`` rows are used, or the square roots of its ``mse`` rows, where both methods have every
    replicate; the bars are then the method's own Monte Carlo interval divided by the reference's value, and the title
    says so.

    Parameters
    ----------
    performance
        Long table with rows of ``rmse_ratio``, ``rmse`` or ``mse``.
    estimand
        One estimand, several, or all.
    to
        The reference method; by default that of the ``rmse_ratio`` rows, else the first of the table.
    **options
        As in `plot_measure`, but for ``reference``.

    Raises
    ------
    ValueError
        Where the table has none of the measures, not the reference method, or errors of other replicates of two
        methods.
    """
    performance = study_table(performance, "performance")
    paired = performance[performance["measure"] == RMSERatio.name]
    own_error = to is not None or paired.empty
    if own_error:
        to = str(performance["method"].iloc[0]) if to is None else to
        rows = _relative(performance, to)
    else:
        rows, to = paired, _reference(paired)
    rows.attrs = {**performance.attrs, "methods": list(f.looks(performance))}  # the reference method keeps its place
    about = subject(
        choose(rows, "performance", estimand=estimand, group=options.get("group"), where=options.get("where"))
    )
    remark = f" (bars leave the error of {to} out)" if own_error else ""
    options.setdefault("title", f"RMSE{about} relative to {to}{remark}")
    figure = plot_measure(rows, RMSERatio.name, estimand, reference=1.0, **options)
    for ax in [options["ax"]] if options.get("ax") is not None else figure.axes:
        ax.set_ylabel(f"RMSE / RMSE of {to}", fontsize=f.TEXT)
    return figure


def _relative(performance: pd.DataFrame, to: str) -> pd.DataFrame:
    """Rows of RMSE divided by the reference method's."""
    squared = not (performance["measure"] == RMSE.name).any()
    rows = only(performance, MSE.name if squared else RMSE.name)
    keys, numbers = [*factors(performance), "estimand", "group"], ["value", "lower", "upper"]
    rows = rows.assign(**{c: rows[c].astype(float) for c in numbers})
    if squared:
        rows = rows.assign(**{c: np.sqrt(rows[c].clip(lower=0)) for c in numbers})
    base = rows.loc[rows["method"] == to, [*keys, "value"]].rename(columns={"value": "base"})
    if base.empty:
        raise ValueError(f"to: expected one of {', '.join(map(str, rows['method'].unique()))}, found {to!r}")
    _check_replicates(rows)
    rows = rows.merge(base[base["base"] > 0], on=keys, how="inner")
    return rows.assign(measure=RMSERatio.name, **{c: rows[c] / rows["base"] for c in numbers}).drop(columns="base")


def _check_replicates(rows: pd.DataFrame) -> None:
    """Refuse errors that stand on other replicates than those attempted: nothing says that they are the same for two
    methods.
    """
    if "n" not in rows:
        return
    short = rows[rows["value"].notna() & (rows["n"] < rows["n_sim"])]
    if not short.empty:
        row = short.iloc[0]
        raise ValueError(
            f"measure: {row['method']} has its error of {row['estimand']} from {int(row['n']):,} of "
            f"{int(row['n_sim']):,} replicates; expected rows of "
            "rmse_ratio, which pair the methods; add it to `performance` and report again, or give the run's "
            "`common` table"
        )


def _reference(paired: pd.DataFrame) -> str:
    """The method without a value: its ratio to itself says nothing."""
    known = set(paired.loc[paired["value"].notna(), "method"])
    return next((str(m) for m in paired["method"].unique() if m not in known), "the reference")


def plot_lollipop(
    performance: pd.DataFrame,
    measure: str,
    estimand: Names = None,
    *,
    y: str = "method",
    group: Names = None,
    where: Where = None,
    reference: float | None = None,
    regime: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """One line a method from the reference to the measure's value, the 95% Monte Carlo interval as brackets.

    Parameters
    ----------
    performance, measure, estimand, group, where, regime, ax
        As in `plot_measure`.
    y
        Column along the vertical axis.
    reference
        Where the stems start; by default 0 for biases, 0.95 for coverage, else the axis' left edge at 0.
    """
    rows = only(choose(performance, "performance", estimand=estimand, group=group, where=where), measure)
    start = reference if reference is not None else (0.95 if about(measure).better == "level" else 0.0)
    own, word = ax is None, words_of(measure)
    panels = split(rows, {y})
    looks = f.looks(performance, y)
    figure, axes = f.canvas(len(panels), ax, height=0.9 + 0.42 * rows[y].nunique())
    for one, (name, part) in zip(axes, panels, strict=True):
        here = [level for level in looks if (part[y] == level).any()]
        for i, level in enumerate(here):
            row = part[part[y] == level].iloc[0]
            shade, marker = looks[level]
            one.hlines(i, start, row["value"], color=shade, linewidth=2)
            one.plot(row["value"], i, marker=marker, color=shade, markersize=8, linestyle="")
            for end, sign in ((row["lower"], "$($"), (row["upper"], "$)$")):
                one.plot(end, i, marker=sign, color=shade, markersize=10, linestyle="")
        one.axvline(start, color=f.GREY, linestyle="--", linewidth=1)
        one.set_yticks(range(len(here)), [label(level) for level in here])
        one.set_ylim(len(here) - 0.5, -0.5)
        one.set_xlabel(f.axis_name(word, part), fontsize=f.TEXT)
        f.name_panel(one, name, own)
    f.heading(figure, axes, own, word + subject(rows), regime_of(performance, regime), replicates(rows))
    return figure
