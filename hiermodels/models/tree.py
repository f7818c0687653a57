"""The tree of groups: what is summed up it, spread down it, and averaged over children; NumPy on the host, JAX in
programs.

Values of a level's groups have the group axis last, any axes before it; a value of the population (level -1) has none,
or one of length one. Levels that cross are trees side by side: each level knows the one that it nests in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.models.layout import LevelLayout, lineage

__all__ = ["Tree", "tree_of"]


@dataclass(frozen=True)
class Tree:
    """Groups of every level, and the rows that are theirs.

    Attributes
    ----------
    levels : tuple of LevelLayout
        Coarse to fine.
    parent : tuple of array, each (group,)
        Index of each group's parent at the level that its own nests in.
    real : tuple of array, each (group,)
        False for padding.
    group : tuple of array, each (obs,)
        Each row's group; empty where rows are summed up already.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> tree = bind(hm.Model("strength ~ 1 + (1 | batch/cask)"), hm.load_dataset("pastes")).tree
    >>> tree.owner(1)[:4].tolist(), tree.children(1)[:2].tolist()
    ([0, 0, 0, 1], [3.0, 3.0])
    >>> import numpy as np
    >>> tree.mean_of_children(np.arange(30.0), 1)[:2].tolist()
    [1.0, 4.0]
    """

    levels: tuple[LevelLayout, ...]
    parent: tuple[Any, ...]
    real: tuple[Any, ...]
    group: tuple[Any, ...] = ()

    def owner(self, i: int, above: int | None = None) -> Any:
        """Index of each group's ancestor at the level ``above`` (by default its parent); shape (group,), zeros for the
        population.
        """
        top = self.levels[i].parent if above is None else above
        return self.spread_down(np.arange(self.levels[top].size) if top >= 0 else np.zeros((), int), top, i)

    def spread_down(self, x: Any, start: int, stop: int) -> Any:
        """Each group of level ``stop`` with its ancestor's value at level ``start``, -1 for the population's."""
        line = (-1, *lineage(self.levels, stop)) if stop >= 0 else (-1,)
        for i in line[line.index(start) + 1 :]:
            level, xp = self.levels[i], _module(x, self.parent[i])
            if level.parent < 0:
                x = xp.broadcast_to(x, (*x.shape[:-1], level.size))
            elif level.width is not None:
                x = (
                    x.repeat(level.width, axis=-1)
                    if xp is np
                    else jnp.repeat(x, level.width, axis=-1, total_repeat_length=level.size)
                )
            else:
                x = x[..., self.parent[i]]
        return x

    def inherited(self, values: Mapping[tuple[int, str], Any], i: int, column: str, root: Any) -> Any:
        """What the groups of level i scatter around in one coefficient: the value of the nearest level above that has
        one, else the population's; (group,).

        Parameters
        ----------
        values : mapping of (int, str) to array
            By level and name of the coefficient.
        root : array
            The population's.
        """
        up = next((j for j in reversed(lineage(self.levels, i)[:-1]) if (j, column) in values), -1)
        return self.spread_down(values[up, column] if up >= 0 else root, up, i)

    def sum_up(self, x: Any, i: int, above: int | None = None) -> Any:
        """Sum groups of level i over each group of the level ``above`` (by default their parents'); the population's
        axis has length one.
        """
        top = self.levels[i].parent if above is None else above
        while i != top:
            level = self.levels[i]
            if level.parent < 0:
                x = x.sum(-1, keepdims=True)
            elif level.width is not None:
                x = x.reshape(*x.shape[:-1], self.levels[level.parent].size, level.width).sum(-1)
            else:
                x = _totals(x, self.parent[i], self.levels[level.parent].size, ordered=True)
            i = level.parent
        return x

    def children(self, i: int) -> Any:
        """Number of real groups of level i in each of their parents; float, shape (parent group,)."""
        return self.sum_up(self.real[i].astype(float), i)

    def mean_of_children(self, x: Any, i: int) -> Any:
        """Unweighted mean of the real groups of level i in each of their parents; zero where a parent has none."""
        xp = _module(x, self.real[i])
        return self.sum_up(xp.where(self.real[i], x, 0.0), i) / xp.maximum(self.children(i), 1.0)

    def sum_rows(self, x: Any, i: int) -> Any:
        """Sum rows over each group of level i, (..., obs) to (..., group); over all rows for the population, -1."""
        if i < 0:
            return x.sum(-1, keepdims=True)
        level, group = self.levels[i], self.group[i]
        if _module(x, group) is jnp and x.shape[-1] == level.size and level.parent < 0:
            return jnp.zeros((*x.shape[:-1], level.size), x.dtype).at[..., group].add(x)
        return _totals(x, group, level.size)

    def at_rows(self, x: Any, i: int) -> Any:
        """Each row with its group's value at level i; x is one of the population for -1."""
        return x[..., self.group[i]] if i >= 0 else x


def tree_of(layout: Any, data: Any) -> Tree:
    """The tree of a layout's padded groups: of data, or of statistics that rows are summed up in."""
    return Tree(layout.levels, data.parent, data.real, getattr(data, "group", ()))


def _module(*arrays: Any) -> Any:
    """``numpy`` where all arrays are on the host, else ``jax.numpy``."""
    return np if all(isinstance(x, (np.ndarray, np.generic)) for x in arrays) else jnp


def _totals(x: Any, at: Any, size: int, ordered: bool = False) -> Any:
    """Sum entries of the last axis over the places that they have."""
    if _module(x, at) is np:
        rows = [np.bincount(at, one, size) for one in x.reshape(-1, x.shape[-1])]
        return np.stack(rows).reshape(*x.shape[:-1], size)
    summed = jax.ops.segment_sum(jnp.moveaxis(x, -1, 0), at, num_segments=size, indices_are_sorted=ordered)
    return jnp.moveaxis(summed, 0, -1)
