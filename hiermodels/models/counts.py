"""What a model of counts estimates: which level is conjugate, which stay explicit, names of parameters.

By pooling, coarse to fine, the parameters are

- no grouping, or all ``complete``: one rate, ``Intercept`` or ``mean_<g>``; with predictors their
coefficients;
- finest ``none``: nothing; Jeffreys posteriors group by group;
- one ``partial``: ``mean_<g>`` (with predictors their coefficients on the link scale) and ``kappa_<g>`` or
``shape_<g>``;
- several ``partial``: coefficients on the link scale, ``sd_<p>`` of every coarser p, ``log_kappa`` or
``log_shape``, and
  its sd over the last of them, ``sd_<p>_log_kappa`` or ``sd_<p>_log_shape``.

A ``complete`` level has no law of its own: its groups share their parent's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hiermodels import families
from hiermodels.models.layout import Layout, Parameter
from hiermodels.quantities import INTERCEPT, Quantity, coefficient, group_sd, mean_name

__all__ = [
    "conjugate_prior",
    "CountTree",
    "check_tree",
    "count_bound",
    "count_parameters",
    "count_tree",
    "log_precision",
    "precision",
    "rate_name",
]


class CountTree(NamedTuple):
    """Which level of a model of counts does what.

    Attributes
    ----------
    word : str
        ``complete``, ``none`` or ``partial``: how the units are pooled.
    unit : int
        Level whose groups are the units of the likelihood: the finest that is not pooled completely, else the finest;
        -1 without groupings, where rows are the units.
    above : tuple of int
        Partially pooled levels above it, coarse to fine; their group values stay explicit.
    """

    word: str
    unit: int
    above: tuple[int, ...]


def count_tree(layout: Layout) -> CountTree:
    """Read the roles of the levels off their pooling."""
    words = [level.pooling for level in layout.levels]
    unit = next((i for i in reversed(range(len(words))) if words[i] != "complete"), len(words) - 1)
    word = words[unit] if words else "complete"
    above = tuple(i for i in range(unit) if words[i] == "partial")
    return CountTree(word, unit, above if word == "partial" else ())


def check_tree(layout: Layout, family: str = "") -> None:
    """Refuse trees of groups whose counts have no beta or gamma population; ``family`` as the user called it.

    Raises
    ------
    ValueError
        For crossed groupings, slopes that vary by group, unpooled groups above pooled ones, predictors
        without pooling.
    """
    for i, level in enumerate(layout.levels):
        if level.parent != i - 1:
            raise ValueError(
                f"{level.name} is crossed with {layout.levels[i - 1].name}, not nested in it: rates "
                f"have one population below another; give labels that nest, or use family "
                f"{families.lookup(family or layout.family).linked}"
            )
        if [layout.columns[e] for e in level.effects] != ["Intercept"]:
            slope = next(n for e in level.effects if (n := layout.columns[e]) != "Intercept")
            raise ValueError(
                f"{level.name}: {slope} varies by group, but a beta or gamma population has no slopes; "
                f"use family {families.lookup(family or layout.family).linked}"
            )
    tree = count_tree(layout)
    lone = next((v.name for v in layout.levels[: max(tree.unit, 0)] if v.pooling == "none"), None)
    if lone is not None and tree.word == "partial":
        raise ValueError(
            f"pooling: {lone} is none above {layout.levels[tree.unit].name}, which is partial: a "
            f"population of its own for each {lone} is a model of its own; make {lone} complete or "
            f"partial, or fit each {lone} apart"
        )
    predictors = [layout.columns[c] for c in layout.population if layout.columns[c] != "Intercept"]
    if tree.word == "none" and predictors:
        raise ValueError(
            f"pooling: none: predictor {predictors[0]!r} cannot be told from unpooled rates; drop it or pool "
            f"{layout.levels[tree.unit].name} partially"
        )


def precision(layout: Layout) -> str:
    """Name of the concentration of the units' population, e.g. ``kappa_rat``."""
    return f"{layout.law.precision}_{layout.levels[count_tree(layout).unit].name}"


def log_precision(layout: Layout) -> str:
    """Name of the mean log concentration in deeper trees: ``log_kappa`` or ``log_shape``."""
    return f"log_{layout.law.precision}"


def rate_name(layout: Layout) -> str | None:
    """Name of the population's mean on its natural scale; None where coefficients stand for it."""
    tree = count_tree(layout)
    if tree.word == "none" or tree.above or [layout.columns[c] for c in layout.population] != ["Intercept"]:
        return None
    return mean_name(layout.levels[tree.unit].name if layout.levels else "")


def count_parameters(layout: Layout) -> list[Quantity]:
    """Every parameter, in the order of the unconstrained vector."""
    tree, name = count_tree(layout), rate_name(layout)
    if tree.word == "none":
        return []
    unit = layout.levels[tree.unit].name if layout.levels else ""
    if name is not None:
        wanted = [Quantity(name, layout.link.kind, "population mean", unit)]
    else:
        wanted = [coefficient(layout.columns[c]) for c in layout.population]
    if tree.word == "complete":
        return wanted
    if not tree.above:
        return [*wanted, Quantity(precision(layout), "positive", "concentration", unit)]
    log_name, names = log_precision(layout), [layout.levels[i].name for i in tree.above]
    log_concentration = Quantity(log_name, "real", "log concentration", effect=log_name)
    return [*wanted, *(group_sd(n, INTERCEPT) for n in names), log_concentration, group_sd(names[-1], log_name)]


def count_bound(layout: Layout, size: np.ndarray, group: tuple[np.ndarray, ...]) -> int:
    """Most trials of a unit, rounded up to a power of two: the tally's length; 0 for exposures."""
    tree = count_tree(layout)
    if not layout.law.tried or tree.unit < 0:
        return 0
    return 1 << int(np.ceil(np.log2(max(np.bincount(group[tree.unit], size).max(), 1))))


def conjugate_prior(parameter: Parameter | None) -> tuple[float, float] | None:
    """(a, b) of the beta or gamma law that this prior is, Jeffreys and other powers included."""
    return None if parameter is None else parameter.prior.conjugate(parameter.kind)
