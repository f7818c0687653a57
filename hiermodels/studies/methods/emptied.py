"""Estimates of groups that a dataset has no rows of, under no pooling: their posterior is improper."""

from __future__ import annotations

import numpy as np

from hiermodels.inference.draws import Estimates
from hiermodels.inference.samplers import target_sizes
from hiermodels.inference.summaries import Target
from hiermodels.models.problem import Problem
from hiermodels.models.tree import Tree
from hiermodels.quantities import theta_name
from hiermodels.studies.methods.refusals import blanked

__all__ = ["without_empty"]


def without_empty(problem: Problem, targets: tuple[Target, ...], present: np.ndarray, found: Estimates) -> Estimates:
    """Estimates with those taken away that no pooling cannot have: of groups without a row, whose posterior is
    improper.

    Parameters
    ----------
    problem : Problem
        Of the method.
    targets : tuple of Target
        What it estimates.
    present : ndarray of bool, shape (replicate, obs)
        Rows that are there.
    found : Estimates
        NumPy arrays, a row a replicate.
    """
    layout = problem.layout
    unpooled = [i for i, level in enumerate(layout.levels) if level.pooling == "none"]
    if not unpooled:
        return found
    empty = {i: ~problem.data.real[i] & np.zeros((len(present), 1), bool) for i in range(len(layout.levels))}
    for i in unpooled:
        _spread_emptiness(problem, i, present, empty)
    at = {name: i for i, level in enumerate(layout.levels) for name in layout.effect_names(level)}
    gone, start = np.zeros(found.estimate.shape, bool), 0
    for target, size in zip(targets, target_sizes(layout, targets), strict=True):
        if target.variable in at:
            gone[:, start : start + size] = empty[at[target.variable]]
        elif (averaged := layout.quantities.get(target.variable)) is not None and averaged.role == "mean of groups":
            gone[:, start] = empty[at[theta_name(averaged.owner, averaged.effect)]].any(1)
        start += size
    return blanked(found, gone)


def _spread_emptiness(problem: Problem, unpooled: int, present: np.ndarray, empty: dict[int, np.ndarray]) -> None:
    """Mark groups without rows at an unpooled level, the coarser ones that average them, and the finer ones in them."""
    levels, data = problem.layout.levels, problem.data
    rows = min(problem.layout.obs, present.shape[1])
    there = present[:, :rows] & (data.weight[:rows] > 0)
    tree = Tree(levels, data.parent, data.real, tuple(group[:rows] for group in data.group))
    here = {unpooled: (tree.sum_rows(there, unpooled) == 0) & data.real[unpooled]}
    fine = unpooled
    while (coarse := levels[fine].parent) >= 0:
        here[coarse] = tree.sum_up(here[fine], fine) > 0
        fine = coarse
    for i in range(unpooled + 1, len(levels)):
        if levels[i].parent in here and levels[i].parent >= unpooled:
            here[i] = tree.spread_down(here[levels[i].parent], levels[i].parent, i)
    for i, marks in here.items():
        empty[i] = empty[i] | marks
