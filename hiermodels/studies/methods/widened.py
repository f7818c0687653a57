"""Designs of several sizes share programs: the coarsest level is padded with empty groups to a power of two.

A power curve over ten numbers of schools then compiles three or four programs instead of ten. Padding changes no
posterior; it is done only where the number of groups of some level is a factor of the grid, so that no other study
carries it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.cells import with_cells
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data, Problem
from hiermodels.models.twins import find_twins
from hiermodels.models.units import inner_design

if TYPE_CHECKING:
    from hiermodels.studies.config import Cell

__all__ = ["sizes_vary", "widened"]


def sizes_vary(cell: Cell) -> bool:
    """Whether the number of groups of a level is a factor of the grid."""
    design = cell.design
    return (
        isinstance(design, dict)
        and "table" not in design
        and any(name in design and name != "obs" for name in cell.factors)
    )


def widened(problem: Problem) -> Problem:
    """The same problem with its coarsest groups, and its rows, padded; itself where groups do not nest or are stored
    ragged.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    Problem
        Labels and positions are what they were: padding comes after the real groups and rows.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> frame = hm.load_dataset("eight_schools").head(5)
    >>> problem = widened(bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), frame))
    >>> problem.layout.levels[0].size, problem.layout.obs, problem.data.real[0].sum()
    (8, 8, np.int64(5))
    """
    layout, data = problem.layout, problem.data
    if not layout.levels or not layout.nested or any(level.width is None for level in layout.levels):
        return problem
    first = layout.levels[0].size
    wide = 1 << max(0, first - 1).bit_length()
    rows = np.bincount(data.group[0][np.asarray(data.size) > 0], minlength=first).max() if layout.obs else 0
    obs = max(layout.obs, wide * _even(int(rows), layout.obs, first))
    if wide == first and obs == layout.obs:
        return problem
    levels, size = [], 1
    for level in layout.levels:
        size = wide if level.parent < 0 else size * int(level.width or 1)
        levels.append(replace(level, size=size, width=wide if level.parent < 0 else level.width))
    new = replace(layout, levels=tuple(levels), obs=obs)
    new, longer = with_cells(_with_types(new, layout), _padded(data, layout, new))
    return replace(problem, layout=new, data=longer)


def _even(most: int, obs: int, groups: int) -> int:
    """Rows of a coarsest group: as they are where all have as many, else the most, rounded up to a power of two."""
    return most if most * groups == obs else 1 << max(0, most - 1).bit_length()


def _padded(data: Data, old: Layout, new: Layout) -> Data:
    def rows(a: Any) -> np.ndarray:
        return _longer(a, new.obs)

    parent, real = [], []
    for before, after in zip(old.levels, new.levels, strict=True):
        owner = (
            np.zeros(after.size, int)
            if after.parent < 0
            else np.repeat(np.arange(new.levels[after.parent].size), int(after.width or 1))
        )
        parent.append(owner.astype(np.asarray(data.parent[old.levels.index(before)]).dtype))
        real.append(_longer(data.real[old.levels.index(before)], after.size))
    longer: dict[str, Any] = {name: rows(getattr(data, name)) for name in ("y", "x", "weight", "size")}
    found = replace(
        data, **longer, group=tuple(rows(g) for g in data.group), parent=tuple(parent), real=tuple(real), twin=()
    )
    if not old.twins:
        return found
    sizes = tuple(level.size for level in new.levels)
    return replace(found, twin=find_twins(inner_design(new, found), found.weight, found.group, found.parent, sizes))


def _longer(a: Any, length: int) -> np.ndarray:
    a = np.asarray(a)
    return np.concatenate([a, np.zeros((length - len(a), *a.shape[1:]), a.dtype)])


def _with_types(new: Layout, old: Layout) -> Layout:
    return replace(new, twins=old.twins)
