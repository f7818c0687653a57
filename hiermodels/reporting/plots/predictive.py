"""Replicated data against observed data: what a fitted model would expect to see, and where the data disagree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.models.problem import Problem
from hiermodels.reporting import _figure as f
from hiermodels.reporting._draws import monte_carlo_error
from hiermodels.reporting._fits import declared
from hiermodels.reporting._given import table_columns, thing
from hiermodels.reporting._rows import label, records

__all__ = ["plot_extremes", "plot_pooled_densities", "plot_predictive", "plot_predictive_intervals"]


def replicated(source: Any, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str], str]:
    """Replicated outcomes (chain, draw, row), observed ones (row,), names of rows, name of the outcome.

    Parameters
    ----------
    source : Fit or DataTree
        A fit, of which replicates are drawn; or a tree with groups ``posterior_predictive`` and ``observed_data``.
    seed : int
        Of the replicates.
    """
    if not hasattr(source, "predict"):
        groups = getattr(source, "children", {})
        if not isinstance(groups, Mapping) or not {"posterior_predictive", "observed_data"} <= set(groups):
            found = ", ".join(groups) if isinstance(groups, Mapping) and groups else thing(source)
            raise ValueError(
                f"source: expected a fit, or a DataTree with posterior_predictive and observed_data, found {found}; "
                f"give one of them"
            )
        name = str(next(iter(source["observed_data"].data_vars)))
        again = source["posterior_predictive"][name].transpose("chain", "draw", ...)
        observed = source["observed_data"][name].to_numpy()
        return again.to_numpy(), observed, [str(i) for i in range(len(observed))], name
    problem = declared(source, "source").problem
    name = problem.model.outcome
    again = source.predict(kind="outcome", seed=seed)["predictions"][name].to_numpy()
    observed = source.data[name].to_numpy(float)
    names = _group_of_rows(problem, source.data) if problem.model.parsed.groups else []
    if len(set(names)) != len(observed):
        names = [str(i) for i in range(len(observed))]
    return again, observed, names, name


def plot_predictive(
    source: Any,
    *,
    replicates: int = 60,
    seed: int = 0,
    xlabel: str | None = None,
    title: str = "Observed data among data replicated by the fitted model",
    ax: Axes | None = None,
) -> Figure:
    """Distribution function of the observed outcomes among those of replicated datasets.

    Parameters
    ----------
    source : Fit or DataTree
        A fit; or a tree with groups ``posterior_predictive`` and ``observed_data``.
    replicates : int
        Replicated datasets drawn as thin steps.
    seed : int
        Of the replicates.
    xlabel, title, ax
        Words, and the caller's axes.
    """
    again, observed, _, name = replicated(source, seed)
    flat = again.reshape(-1, again.shape[-1])
    figure, axes = f.canvas(1, ax, height=3.2)
    one = axes[0]
    for i in np.unique(np.linspace(0, len(flat) - 1, replicates).astype(int)):
        one.ecdf(flat[i], color=f.PALETTE[5], linewidth=0.6, alpha=0.7, label="replicated" if i == 0 else "_")
    one.ecdf(observed, color="black", linewidth=2, label="observed")
    one.set_xlabel(xlabel or name, fontsize=f.TEXT)
    one.set_ylabel("share of rows up to x", fontsize=f.TEXT)
    one.set_ylim(-0.02, 1.02)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title)
    return figure


def plot_predictive_intervals(
    source: Any,
    *,
    prob: float = 0.95,
    seed: int = 0,
    xlabel: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Each row's predictive interval with its observed outcome; outcomes outside stand out.

    Parameters
    ----------
    source : Fit or DataTree
        As in `plot_predictive`.
    prob : float
        Probability of the interval; the thick bar of a wider one holds 50%.
    seed : int
        Of the replicates.
    xlabel, title, ax
        Words, and the caller's axes.
    """
    again, observed, names, name = replicated(source, seed)
    flat = again.reshape(-1, again.shape[-1])
    order = np.argsort(np.median(flat, axis=0), kind="stable")
    low, high = np.quantile(flat, [(1 - prob) / 2, (1 + prob) / 2], axis=0)[:, order]
    inner = np.quantile(flat, [0.25, 0.75], axis=0)[:, order]
    observed, rows = observed[order], np.arange(len(order))
    outside = (observed < low) | (observed > high)
    figure, axes = f.canvas(1, ax, height=min(1.1 + 0.24 * len(rows), 9.0))
    one = axes[0]
    few = len(rows) <= 60
    one.hlines(rows, low, high, color=f.PALETTE[0], linewidth=1.2, label=f"{100 * prob:.6g}% predictive interval")
    if prob > 0.5:
        one.hlines(
            rows, *inner, color=f.PALETTE[0], linewidth=4 if few else 2, alpha=0.45, label="50% predictive interval"
        )
    for chosen, shade, marker, word in (
        (~outside, "black", "o", "observed"),
        (outside, f.PALETTE[1], "D", "observed, outside"),
    ):
        if chosen.any():
            one.plot(
                observed[chosen], rows[chosen], marker, color=shade, markersize=5 if few else 2.5, label=word, zorder=4
            )
    one.grid(False)
    if few:
        one.set_yticks(rows, [names[i] for i in order])
    else:
        one.set_yticks([])
        one.set_ylabel(f"{len(rows)} rows, by their median prediction", fontsize=f.TEXT)
    one.set_ylim(-0.7, len(rows) - 0.3)
    one.set_xlabel(xlabel or name, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    words = f"{int(outside.sum())} of {len(rows)} observed outcomes outside their interval"
    f.heading(figure, axes, ax is None, title or "Observed outcomes and their predictions", words)
    return figure


def plot_extremes(
    source: Any,
    *,
    statistics: Mapping[str, Callable[..., Any]] | None = None,
    seed: int = 0,
    xlabel: str | None = None,
    title: str = "Extremes of replicated data against the observed",
) -> Figure:
    """The largest and the smallest outcome of replicated datasets, with the observed ones and their tail probabilities.

    A tail probability is the share of replicates at least as extreme as the observed statistic, at the side on which
    the observed one lies for ``max`` and ``min``; it stands in the panel's title with its Monte Carlo standard error.

    Parameters
    ----------
    source : Fit or DataTree
        As in `plot_predictive`.
    statistics : mapping of str to callable, optional
        Name to a function of an array and an ``axis``, such as ``{"sd": numpy.std}``; by default max and min. For
        others than min the tail is P(replicated >= observed).
    seed : int
        Of the replicates.
    xlabel, title
        Words.
    """
    again, observed, _, name = replicated(source, seed)
    chosen = statistics or {"max": np.max, "min": np.min}
    figure, axes = f.canvas(len(chosen), height=2.9)
    for one, (word, function) in zip(axes, chosen.items(), strict=True):
        found, seen = np.asarray(function(again, axis=-1), float), float(function(observed, axis=-1))
        beyond = (found <= seen if word == "min" else found >= seen).astype(float)
        share, mcse = float(beyond.mean()), monte_carlo_error(beyond) if 0 < beyond.mean() < 1 else float("nan")
        sign = "≤" if word == "min" else "≥"
        ends = np.quantile(found, [0.001, 0.999])
        edges = np.linspace(min(ends[0], seen), max(ends[1], seen), 41)
        heights, _ = np.histogram(found, edges, density=True)
        one.stairs(heights, edges, fill=True, color=f.PALETTE[5], alpha=0.8, label="replicated")
        one.axvline(seen, color=f.PALETTE[1], linewidth=2, label="observed")
        error = f"(Monte Carlo SE {mcse:.2g})" if np.isfinite(mcse) else ""
        one.set_title(f"P({word} {sign} {label(round(seen, 6))}) = {share:.3f}\n{error}".strip(), fontsize=f.TEXT)
        one.set_yticks([])
        one.grid(False)
        one.set_xlabel(f"{word} of {xlabel or name}", fontsize=f.TEXT)
    f.legend(figure, axes, True)
    f.heading(figure, axes, True, title)
    return figure


def plot_pooled_densities(
    source: Any,
    *,
    xlabel: str | None = None,
    title: str = "What complete pooling expects of each group",
    ax: Axes | None = None,
) -> Figure:
    """Predictive density of each outcome under one common mean, and where the observed one lies in it.

    Rows differ in their standard errors alone. Of a fit the density is N(m, v + se^2) with m and v the posterior mean
    and variance of the common mean; beside each stands the probability of an outcome at least as far out on the
    observed side.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit with ``pooling="complete"`` and known standard errors; or a table ``group mean sd observed``.
    xlabel, title, ax
        Words, and the caller's axes.

    Raises
    ------
    ValueError
        For another fit, or a table without these columns.

    Examples
    --------
    >>> table = pd.DataFrame({"group": ["A", "B"], "mean": 7.7, "sd": [15.0, 10.0], "observed": [28.0, 8.0]})
    >>> figure = plot_pooled_densities(table)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['P(Y ≥ 28) = 0.09', 'P(Y ≥ 8) = 0.49']
    """
    from scipy.stats import norm

    table = _pooled_table(source)
    law = norm(table["mean"], table["sd"])
    grid = np.linspace(float((law.mean() - 3.2 * law.std()).min()), float((law.mean() + 3.2 * law.std()).max()), 400)
    density = norm.pdf(grid[:, None], table["mean"].to_numpy(), table["sd"].to_numpy())
    height = 1.2 / density.max()
    figure, axes = f.canvas(1, ax, height=1.0 + 0.42 * len(table))
    one = axes[0]
    for i, row in enumerate(records(table)):
        base = len(table) - 1 - i
        curve = base + height * density[:, i]
        above = row.observed >= row.mean
        tail = grid >= row.observed if above else grid <= row.observed
        one.fill_between(grid, base, curve, where=~tail, color=f.PALETTE[5], alpha=0.45, linewidth=0, zorder=2 * i)
        one.fill_between(grid, base, curve, where=tail, color=f.PALETTE[1], alpha=0.55, linewidth=0, zorder=2 * i)
        one.plot(
            grid,
            curve,
            color=f.PALETTE[0],
            linewidth=1.2,
            zorder=2 * i + 1,
            label="predictive density" if i == 0 else "_",
        )
        one.plot(
            row.observed,
            base,
            "o",
            color="black",
            markersize=6,
            zorder=3 * len(table),
            clip_on=False,
            label="observed" if i == 0 else "_",
        )
        share = float(norm.sf(row.observed, row.mean, row.sd) if above else norm.cdf(row.observed, row.mean, row.sd))
        words = f"P(Y {'≥' if above else '≤'} {row.observed:.4g}) = {share:.2f}"
        one.text(1.02, base, words, transform=one.get_yaxis_transform(), va="center", fontsize=f.TEXT - 2)
    one.axvline(float(table["mean"].mean()), color=f.GREY, linestyle="--", linewidth=1, zorder=0)
    one.grid(False)
    one.set_yticks(range(len(table)), f.names_of(table["group"])[::-1])
    one.set_ylim(-0.3, len(table) + 0.4)
    one.set_xlim(grid[0], grid[-1])
    one.set_xlabel(xlabel or "outcome", fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title)
    return figure


def _pooled_table(source: Any) -> pd.DataFrame:
    if isinstance(source, pd.DataFrame):
        return table_columns(source, "group mean sd observed")
    problem = declared(source, "source").problem
    words = set(problem.pooling.values())
    if not problem.layout.gaussian or not problem.layout.known or words != {"complete"}:
        found = f"{problem.layout.family}, pooling {', '.join(sorted(words)) or 'none'}"
        raise ValueError(f"source: expected a fit with known_se and pooling='complete', found {found}; fit it so")
    mean = source.predict(kind="mean")["predictions"][problem.model.outcome].to_numpy()
    se = source.data[problem.model.known_se].to_numpy(float)
    return pd.DataFrame(
        {
            "group": _group_of_rows(problem, source.data),
            "mean": mean.mean((0, 1)),
            "sd": np.sqrt(mean.var((0, 1)) + se**2),
            "observed": source.data[problem.model.outcome].to_numpy(float),
        }
    )


def _group_of_rows(problem: Problem, frame: pd.DataFrame) -> list[str]:
    """Printed label of each row, of the group term written last."""
    return problem.groupings[problem.model.parsed.groups[-1].name].match(frame, "data")[1]
