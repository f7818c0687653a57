"""Laws of single numbers: prior against posterior, prior with likelihood and posterior, and the funnel of a
hierarchy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hiermodels.reporting import _figure as f
from hiermodels.reporting._densities import density_of, prior_density, support_of, triple_table
from hiermodels.reporting._draws import diverging_of, draws_of, monte_carlo_error
from hiermodels.reporting._fits import declared
from hiermodels.reporting._given import by_name

__all__ = ["plot_funnel", "plot_prior_posterior", "plot_triple"]


def plot_prior_posterior(
    source: Any,
    var_names: str | Sequence[str] | None = None,
    *,
    priors: Mapping[str, Any] | None = None,
    title: str = "Prior against posterior",
) -> Figure:
    """Posterior density of each hyperparameter with its prior density, a panel each; the posterior mean with its error.

    An improper prior has a shape and no scale: it is drawn dashed, scaled to the panel. A prior in units of another
    parameter is averaged over that parameter's posterior draws. The tick below the axis is the posterior mean, as wide
    as four of its Monte Carlo standard errors.

    Parameters
    ----------
    source : Fit or DataTree
        A fit; or a tree with a group ``posterior``, which needs ``priors``.
    var_names : str or sequence of str, optional
        Parameters to show; by default every one that has a prior of its own.
    priors : mapping of str to prior, optional
        Prior of each variable, as text or record, where the source is not a fit.
    title
        Words.

    Raises
    ------
    ValueError
        For a variable without a prior of its own.
    """
    laws = _priors_of(source, priors)
    if not laws:
        raise ValueError(
            "source: expected parameters with priors of their own, found none that is estimated; nothing can be drawn"
        )
    names = list(laws) if var_names is None else [var_names] if isinstance(var_names, str) else list(var_names)
    for name in names:
        if name not in laws:
            raise ValueError(
                f"var_names: expected one of {', '.join(laws)}, found {name!r}; name a parameter with a prior"
            )
    figure, axes = f.canvas(len(names), height=2.3)
    for one, name in zip(axes, names, strict=True):
        kind, prior, context = laws[name]
        x = draws_of(source, name)
        grid, density = density_of(x, *(prior.support(kind) if kind else support_of(x)))
        one.fill_between(grid, density, color=f.PALETTE[5], alpha=0.55, linewidth=0, label="posterior")
        one.plot(grid, density, color=f.PALETTE[0], linewidth=1.4)
        before = prior_density(prior, grid, kind or "real", context)
        if prior.proper:
            one.plot(grid, before, color=f.PALETTE[1], linewidth=1.6, label="prior")
        else:
            top = np.nanmax(before[np.isfinite(before)])
            one.plot(
                grid,
                0.5 * density.max() * before / top,
                "--",
                color=f.PALETTE[1],
                linewidth=1.6,
                label="improper prior, shape only",
            )
        _mean_tick(one, source, name, x)
        one.set_ylim(0, 1.15 * density.max())
        one.set_yticks([])
        one.grid(False)
        one.set_xlabel(name, fontsize=f.TEXT)
        one.set_title(str(prior), fontsize=f.TEXT - 1, color=f.PALETTE[1])
    f.legend(figure, axes, True)
    f.heading(figure, axes, True, title)
    return figure


def _mean_tick(ax: Axes, source: Any, name: str, x: np.ndarray) -> None:
    if hasattr(source, "summary"):
        row = source.summary(name).iloc[0]
        mean, mcse = float(row["mean"]), float(row["mcse_mean"])
    else:
        mean, mcse = float(x.mean()), monte_carlo_error(x)
    if np.isfinite(mean):
        ax.hlines(
            0.0,
            mean - 2 * mcse,
            mean + 2 * mcse,
            color="black",
            linewidth=7,
            clip_on=False,
            zorder=5,
            label="posterior mean ± 2 Monte Carlo SE",
        )


def _priors_of(source: Any, priors: Mapping[str, Any] | None) -> dict[str, tuple[str, Any, Any]]:
    """Kind, prior and context of each variable that has a prior of its own; the kind is empty where nothing tells it.

    The context is what the density depends on: known variances, or draws of the parameter in whose units the prior is
    given.
    """
    from hiermodels.models.units import prior_at_zero
    from hiermodels.priors import parse

    if priors is not None:
        laws = {name: parse(text, f"priors: {name}") for name, text in priors.items()}
        return {n: ("" if p.tail > -np.inf or p.origin == 0.0 else "positive", p, None) for n, p in laws.items()}
    problem, values = declared(source, "source").problem, source.draws.values
    found = {}
    for p in problem.layout.parameters:
        if p.kind == "correlation" or p.prior.known or p.name not in values:
            continue
        context, unit = None, problem.layout.unit_of(p)
        if p.prior.of_variances:
            weight = np.bincount(problem.data.group[-1], problem.data.weight)
            context = 1 / weight[weight > 0]
        elif unit is not None:
            draws = np.ravel(values[unit.name])
            context = draws[:: max(1, len(draws) // 200)]
        prior = prior_at_zero(problem.layout, problem.data.units, p)
        if prior is not None:
            found[p.name] = (p.kind, prior, context)
    return found


def plot_triple(
    source: Any,
    group: str | None = None,
    *,
    level: str | None = None,
    names: tuple[str, str, str] = ("prior", "likelihood", "posterior"),
    xlabel: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Prior, normalised likelihood and posterior of one number on one axis: the compromise that Bayes' rule makes.

    Of a fit the number is a group's value: its prior is the population as the other hyperparameters' draws describe it
    (the law of a new group), its likelihood that of its own rows.

    Parameters
    ----------
    source : Fit or DataFrame
        A fit with groups; or a table ``x prior likelihood posterior`` of values and densities, any of which may be
        missing.
    group : str, optional
        Label of the group of a fit; by default the first.
    level : str, optional
        Grouping of a fit; by default the finest.
    names : tuple of str
        Words for the three curves.
    xlabel, title, ax
        Words, and the caller's axes.

    Raises
    ------
    ValueError
        For an unknown group, or a table with none of the curves.

    Examples
    --------
    >>> import pandas as pd
    >>> x = np.linspace(0.01, 0.99, 50)
    >>> figure = plot_triple(pd.DataFrame({"x": x, "prior": 6 * x * (1 - x), "posterior": 12 * x**2 * (1 - x)}))
    >>> [line.get_label() for line in figure.axes[0].lines]
    ['prior', 'posterior']
    """
    table, estimand, group = triple_table(source, group, level)
    figure, axes = f.canvas(1, ax, height=3.0)
    one = axes[0]
    styles = ((f.PALETTE[1], "--"), (f.PALETTE[2], "-."), (f.PALETTE[0], "-"))
    for column, word, (shade, style) in zip(("prior", "likelihood", "posterior"), names, styles, strict=True):
        if column in table:
            one.plot(table["x"], table[column], style, color=shade, linewidth=1.8, label=word)
            one.fill_between(table["x"], table[column], color=shade, alpha=0.12, linewidth=0)
    one.set_ylim(bottom=0)
    one.set_yticks([])
    one.set_ylabel("density", fontsize=f.TEXT)
    one.grid(False)
    one.set_xlabel(xlabel or estimand, fontsize=f.TEXT)
    f.legend(figure, axes, ax is None)
    f.heading(figure, axes, ax is None, title or "Prior, likelihood and posterior" + (f" of {group}" if group else ""))
    return figure


def plot_funnel(
    sources: Mapping[str, Any],
    theta: str,
    group: str,
    *,
    mean: str = "Intercept",
    sd: str,
    most: int = 4000,
    title: str | None = None,
) -> Figure:
    """Draws of one group's value against the population mean and against the log spread, a column a parameterisation.

    Divergent transitions are marked and counted: where a sampler could not follow the posterior's curvature. The same
    posterior is seen in every column where all is well; a column whose lower end is missing has not reached the neck.

    Parameters
    ----------
    sources : mapping of str to Fit or DataTree
        Fits of one model, by the name of their parameterisation.
    theta, group : str
        Variable and the group's label, ``theta_school`` and ``A``.
    mean, sd : str
        Population mean and spread.
    most : int
        Most draws shown of each; evenly thinned above it. Divergent ones are all shown.
    title
        Words.

    Examples
    --------
    >>> import xarray as xr
    >>> rng = np.random.default_rng(0)
    >>> draws = {"mu": (("chain", "draw"), rng.normal(size=(2, 50))), "tau": (("chain", "draw"), rng.exponential(size=(2, 50)))}
    >>> draws["theta"] = (("chain", "draw", "school"), rng.normal(size=(2, 50, 1)))
    >>> tree = xr.DataTree.from_dict({"posterior": xr.Dataset(draws, {"school": ["A"]})})
    >>> len(plot_funnel({"mine": tree}, "theta", "A", mean="mu", sd="tau").axes)
    2
    """  # noqa: E501
    names = list(by_name(sources, "sources"))
    figure, axes = f.canvas(2 * len(names), columns=len(names), height=2.9, share="row")
    for i, name in enumerate(names):
        source = sources[name]
        y = np.ravel(draws_of(source, theta, group))
        bad = diverging_of(source)
        bad = np.zeros(y.shape, bool) if bad is None else np.ravel(bad)
        shown = np.zeros(y.shape, bool)
        shown[:: max(1, -(-len(y) // most))] = True
        across = (np.ravel(draws_of(source, mean)), np.log(np.ravel(draws_of(source, sd))))
        for row, x in enumerate(across):
            one = axes[row * len(names) + i]
            good = shown & ~bad & np.isfinite(x)
            one.plot(
                x[good], y[good], ".", color=f.PALETTE[0], markersize=2.5, alpha=0.35, rasterized=True, label="draw"
            )
            if bad.any():
                one.plot(
                    x[bad],
                    y[bad],
                    "x",
                    color=f.PALETTE[1],
                    markersize=5,
                    markeredgewidth=1.3,
                    label="divergent",
                    zorder=4,
                )
            one.set_xlabel((mean, f"log {sd}")[row], fontsize=f.TEXT)
            if i == 0:
                one.set_ylabel(f"{theta} [{group}]", fontsize=f.TEXT)
        axes[i].set_title(f"{name}: {int(bad.sum()):,} of {len(bad):,}\ndivergent", fontsize=f.TEXT)
    for panels in (axes[: len(names)], axes[len(names) :]):
        ends = np.array([one.get_xlim() for one in panels])
        for one in panels:
            one.set_xlim(ends[:, 0].min(), ends[:, 1].max())
    f.legend(figure, axes, True)
    f.heading(figure, axes, True, title or f"{theta} [{group}] against {mean} and log {sd}")
    return figure
