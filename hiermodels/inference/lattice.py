"""Quadrature over a handful of hyperparameters: a lattice laid over the posterior, centred and scaled by its moments.

The trapezoidal rule on the whole line converges faster than any power of the spacing for smooth functions that fall off
in both directions, and so do its cousins on lattices in several dimensions: the error for a standard normal is the sum
of ``exp(-|k|^2 / 2)`` over the dual lattice without its origin. The lattice D_n* (the integers, and the integers plus a
half in every coordinate) has the sparser dual for its number of points, and falls apart into two plain grids whose
disagreement measures the error. Moments found on one lattice place the next (Naylor & Smith 1982, Applied Statistics
31, 214-225, with Gauss-Hermite rules).
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

__all__ = ["Lattice", "cholesky", "lattice", "solve_lower", "solve_upper"]


class Lattice(NamedTuple):
    """Points of D_n* inside a ball, in units of standard deviations.

    Attributes
    ----------
    z : ndarray, shape (node, dim)
    odd : ndarray of bool, shape (node,)
        Whether the point belongs to the shifted grid.
    cell : float
        Volume a point stands for.
    spacing : float
        Spacing of either plain grid.
    radius : float
    """

    z: np.ndarray
    odd: np.ndarray
    cell: float
    spacing: float
    radius: float

    @property
    def alias(self) -> float:
        """Length of the dual lattice's shortest vector: frequencies beyond half of it are not seen."""
        dim = self.z.shape[1]
        return 2 * math.pi / self.spacing * (2.0 if dim == 1 else math.sqrt(2.0))


def _points(dim: int, spacing: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    reach = int(radius / spacing) + 1
    axis = np.arange(-reach, reach + 1, dtype=float)
    grid = np.array(list(itertools.product(axis, repeat=dim))) if dim <= 3 else _product(axis, dim)
    both = np.concatenate([grid, grid + 0.5]) * spacing
    odd = np.repeat([False, True], len(grid))
    square = np.sum(both**2, 1)
    inside = square <= radius**2
    return both[inside], odd[inside]


def _product(axis: np.ndarray, dim: int) -> np.ndarray:
    return np.stack([g.ravel() for g in np.meshgrid(*[axis] * dim, indexing="ij")], 1)


@lru_cache(maxsize=32)
def lattice(dim: int, count: int, radius: float) -> Lattice:
    """Finest lattice with at most ``count`` points within ``radius``.

    Examples
    --------
    >>> grid = lattice(1, 49, 6.0)
    >>> grid.z.shape, grid.odd.sum().item()
    ((49, 1), 24)
    """
    ball = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * radius**dim
    # of many points the ball's volume tells the number closely, and counting them takes seconds
    spacing = (0.9 if count < 50_000 else 0.99) * (2 * ball / count) ** (1 / dim)
    for _ in range(400):
        z, odd = _points(dim, spacing, radius)
        if len(z) <= count:
            break
        spacing *= 1.005
    return Lattice(z, odd, spacing**dim / 2, spacing, radius)


def cholesky(matrix: Array, floor: Array | float = 0.0) -> Array:
    """Cholesky factor of a small symmetric matrix, written out so that it batches; pivots are kept above ``floor``.

    With a positive floor an indefinite matrix gives the factor of a nearby positive definite one.
    """
    dim = matrix.shape[-1]
    rows: list[list[Array]] = []
    for i in range(dim):
        row: list[Array] = []
        for j in range(i):
            row.append((matrix[i, j] - sum((row[k] * rows[j][k] for k in range(j)), jnp.zeros(()))) / rows[j][j])
        pivot = matrix[i, i] - sum((x * x for x in row), jnp.zeros(()))
        rows.append([*row, jnp.sqrt(jnp.maximum(pivot, floor))])
    zero = jnp.zeros((), matrix.dtype)
    return jnp.stack([jnp.stack([*row, *[zero] * (dim - len(row))]) for row in rows])


def solve_lower(factor: Array, right: Array) -> Array:
    """Solve ``factor x = right`` for a small lower triangular factor; right has shape (dim,) or (dim, m)."""
    found: list[Array] = []
    for i in range(factor.shape[-1]):
        done = sum((factor[i, j] * found[j] for j in range(i)), jnp.zeros(()))
        found.append((right[i] - done) / factor[i, i])
    return jnp.stack(found)


def solve_upper(factor: Array, right: Array) -> Array:
    """Solve ``factor' x = right`` for a small lower triangular factor."""
    dim = factor.shape[-1]
    found: list[Array] = [right[0]] * dim
    for i in reversed(range(dim)):
        done = sum((factor[j, i] * found[j] for j in range(i + 1, dim)), jnp.zeros(()))
        found[i] = (right[i] - done) / factor[i, i]
    return jnp.stack(found)
