"""Down the tree of groups: from standardised deviations to groups' effects, and from effects to the coefficients of rows."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.quantities import cor_name, sd_name

__all__ = ["correlate", "row_coefficients"]


def correlate(layout: Layout, level: Any, z: Array, known: dict[str, Array]) -> Array:
    """Standardised deviations, shape (effect, group), with a level's correlations and standard deviations."""
    correlation = known.get(cor_name(level.name), jnp.zeros(()))
    rows = list(z)
    for block in level.blocks:
        if len(block) > 1:
            matrix = correlation if correlation.ndim else jnp.eye(len(block)) * (1 - correlation) + correlation
            mixed = _root(matrix) @ z[jnp.array(block)]
            for n, b in enumerate(block):
                rows[b] = mixed[n]
    sds = [known.get(sd_name(level.name, layout.columns[e]), jnp.full((), jnp.nan)) for e in level.effects]
    return jnp.stack([sd * row for sd, row in zip(sds, rows, strict=True)])


def _root(matrix: Array) -> Array:
    """Lower Cholesky factor of a correlation matrix, which may be singular: a column without variance of its own is zero."""
    size = matrix.shape[0]
    factor = jnp.zeros_like(matrix)
    for j in range(size):
        left = matrix[j:, j] - factor[j:, :j] @ factor[j, :j]
        own = left[0] > 1e-12
        factor = factor.at[j:, j].set(jnp.where(own, left / jnp.sqrt(jnp.where(own, left[0], 1.0)), 0.0))
    return factor


def row_coefficients(layout: Layout, design: Data, root: list[Array], values: list[list[Array]]) -> list[Array]:
    """Each column's coefficient for each row; a given group value may leave what lies above it undefined."""

    def of(i: int, c: int) -> Array:
        return jnp.broadcast_to(tree_of(layout, design).at_rows(values[i][c] if i >= 0 else root[c], i), (layout.obs,))

    (first, _), *crossed = layout.branches or ((-1, -1),)
    return [sum((of(leaf, c) - of(shared, c) for leaf, shared in crossed), of(first, c)) for c in range(len(layout.columns))]
