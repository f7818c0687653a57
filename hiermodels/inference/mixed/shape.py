"""Which levels of a normal model are eliminated group by group, and which stay in the dense border; static and
hashable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
from jax import Array

from hiermodels.models.layout import Layout, LevelLayout

__all__ = ["Shape", "shape_of"]


@dataclass(frozen=True)
class Shape:
    """How the equations of a normal model are solved.

    Attributes
    ----------
    layout : Layout
    chain : tuple of int
        Levels, finest first, each nested in the next: their equations are block diagonal and are eliminated in turn.
    rest : tuple of int
        Levels that are crossed with these: their effects stay, beside the coefficients, in one dense matrix, the
        border.
    """

    layout: Layout
    chain: tuple[int, ...]
    rest: tuple[int, ...]

    @property
    def levels(self) -> tuple[LevelLayout, ...]:
        """Every level, coarse to fine."""
        return self.layout.levels

    @property
    def coefficients(self) -> int:
        """Population coefficients, p."""
        return len(self.layout.population)

    @property
    def rest_size(self) -> int:
        """Effects in the border."""
        return sum(self.levels[i].size * len(self.levels[i].effects) for i in self.rest)

    @property
    def entries(self) -> tuple[tuple[int, int, int], ...]:
        """Entries (level, row, column) of the relative factors, in the order of the vector theta."""
        found = []
        for i, level in enumerate(self.levels):
            for block in level.blocks:
                found += [(i, block[a], block[b]) for b in range(len(block)) for a in range(b, len(block))]
        return tuple(found)

    @property
    def dim(self) -> int:
        """Length of theta."""
        return len(self.entries)

    def border_slice(self, level: int) -> slice:
        """Where a level's effects stand in the border."""
        start = 0
        for i in self.rest:
            width = self.levels[i].size * len(self.levels[i].effects)
            if i == level:
                return slice(start, start + width)
            start += width
        raise KeyError(level)

    def factors(self, theta: Array) -> tuple[Array, ...]:
        """Relative Cholesky factor of each level's effects, shape (effect, effect), lower triangular."""
        found = [jnp.zeros((len(level.effects), len(level.effects)), theta.dtype) for level in self.levels]
        for value, (i, row, column) in zip(theta, self.entries, strict=True):
            found[i] = found[i].at[row, column].set(value)
        return tuple(found)

    def signs(self, theta: Array) -> Array:
        """Signs that make the factors' diagonals at least 0: a column's sign changes no covariance."""
        diagonal = {(i, b): k for k, (i, a, b) in enumerate(self.entries) if a == b}
        return jnp.stack([jnp.where(theta[diagonal[i, b]] < 0, -1.0, 1.0) for i, _, b in self.entries])


@lru_cache(maxsize=256)
def shape_of(layout: Layout) -> Shape:
    """The shape that leaves the smallest border: the lineage with the most effects is eliminated.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)"), hm.load_dataset("penicillin"), priors=False).layout
    >>> shape = shape_of(layout)
    >>> [layout.levels[i].name for i in shape.chain], shape.rest_size
    (['plate'], 6)
    """  # noqa: E501

    def effects(lineage: tuple[int, ...]) -> int:
        return sum(layout.levels[i].size * len(layout.levels[i].effects) for i in lineage)

    lineages = [layout.lineage(i) for i in range(len(layout.levels))]
    best = max(lineages, key=effects, default=())[::-1]
    return Shape(layout, best, tuple(i for i in range(len(layout.levels)) if i not in best))
