"""Laws on an equally spaced grid of a coordinate of the whole line: density, distribution function, quantiles.

In a coordinate where densities fall off in both directions sums of grid values are integrals to rounding. Between grid
points F is the cubic with the right values and slopes. A table is made from densities (`density_table`) or from lattice
nodes that the hyperparameters fix, smoothed between them (`point_table`).

Where the nodes fall apart into two lattices the two halves' distribution functions differ by delta; the whole is then
off by the order of delta squared, and that is `Table.error`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erfc

__all__ = ["BETWEEN", "Table", "density_table", "finer", "halves_error", "point_table"]

_ROOT_2 = math.sqrt(2.0)
_ROOT_2PI = math.sqrt(2 * math.pi)
_ORDER = 5
"""The smoothing kernel leaves moments up to 2 * _ORDER + 1 alone."""
_CELL = (11 / 1440, -93 / 1440, 802 / 1440, 802 / 1440, -93 / 1440, 11 / 1440)
"""Integral over the middle cell of the polynomial through six neighbours."""
_COARSE_CELL = (0.0, -1 / 24, 13 / 24, 13 / 24, -1 / 24, 0.0)
"""The same through four."""
_BESIDE = 2.0
"""Error of F by six neighbours, as a multiple of what F by four differs from it: 2 on needles of 1,000 datasets of
counts.
"""

BETWEEN = 3
"""Values of a density for each of its planes."""
_NOTHING, _BEND = 60.0, 0.25
"""Logarithms below the largest density that count as nothing, and by which a density may rise or fall between
neighbours.
"""


class Table(eqx.Module):
    """Laws on an equally spaced grid of a coordinate of the whole line, a group each.

    Attributes
    ----------
    start, step : Array, shape (group,)
        First grid point and spacing.
    below, slope : Array, shape (grid, group)
        F and its derivative, on the coordinate's scale.
    error : Array, shape (group,)
        Estimated error of F, of the halves of the nodes.
    beside : Array, shape (group,)
        Estimated error of F that the halves do not see: of the grid, and of how its densities were made.
    value, position : callable
        Coordinate to value and back, shapes (k, group).
    log_jacobian : callable
        log of d value / d coordinate at a coordinate.
    """

    start: Array
    step: Array
    below: Array
    slope: Array
    error: Array
    beside: Array
    value: Callable[[Array], Array] = eqx.field(static=True)
    position: Callable[[Array], Array] = eqx.field(static=True)
    log_jacobian: Callable[[Array], Array] = eqx.field(static=True)

    def _cell(self, i: Array) -> tuple[Array, ...]:
        """Values and slopes (per cell width) at both ends of cells i, shape (k, group)."""
        f0, f1 = jnp.take_along_axis(self.below, i, 0), jnp.take_along_axis(self.below, i + 1, 0)
        d0, d1 = jnp.take_along_axis(self.slope, i, 0), jnp.take_along_axis(self.slope, i + 1, 0)
        # slopes up to three times the chord's keep the cubic monotone (Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17,
        # 238-246)
        limit = 3 * jnp.maximum(f1 - f0, 0.0)
        return f0, f1, jnp.clip(d0 * self.step, 0.0, limit), jnp.clip(d1 * self.step, 0.0, limit)

    def unseen(self) -> Array:
        """Error of F that the halves of the nodes do not see, (group,)."""
        return self.beside

    def quantile_at(self, p: Array) -> Array:
        """Coordinates with probability p below, p of shape (k, group)."""
        last = self.below.shape[0] - 2
        i = jnp.clip(jnp.sum(self.below[None] < p[:, None], 1) - 1, 0, last)
        f0, f1, d0, d1 = self._cell(i)
        s = jnp.clip((p - f0) / jnp.maximum(f1 - f0, 1e-300), 0.0, 1.0)
        for _ in range(5):
            value, slope = _cubic(s, f0, f1, d0, d1)
            s = jnp.clip(s - (value - p) / jnp.maximum(slope, 1e-3 * (f1 - f0) + 1e-300), 0.0, 1.0)
        return self.start + self.step * (i + s)

    def quantile(self, p: Array) -> Array:
        """Values with probability p below, p of shape (k, group)."""
        return self.value(self.quantile_at(p))

    def quantile_error(self, p: Array) -> tuple[Array, Array]:
        """Quantiles, and the estimated error of F there."""
        return self.quantile(p), jnp.broadcast_to(self.error, p.shape)

    def cdf(self, x: Array) -> Array:
        """Probability of values at or below x, shape (k, group)."""
        at = self.position(x)
        place = (at - self.start) / self.step
        last = self.below.shape[0] - 2
        inside = jnp.clip(place, 0.0, last + 1.0)
        i = jnp.clip(jnp.nan_to_num(inside).astype(int), 0, last)
        found = _cubic(inside - i, *self._cell(i))[0]
        return jnp.where(at == -jnp.inf, 0.0, jnp.where(at == jnp.inf, 1.0, found))

    def cdf_error(self, x: Array) -> tuple[Array, Array]:
        """F at x, and its estimated error."""
        return self.cdf(x), jnp.broadcast_to(self.error, x.shape)

    def density(self, x: Array) -> Array:
        """Density at x on the values' scale, shape (k, group)."""
        at = self.position(x)
        place = jnp.clip((at - self.start) / self.step, 0.0, self.below.shape[0] - 1.0)
        i = jnp.clip(jnp.nan_to_num(place).astype(int), 0, self.below.shape[0] - 2)
        log_slope = jnp.log(jnp.maximum(self.slope, 1e-300))
        low, high = jnp.take_along_axis(log_slope, i, 0), jnp.take_along_axis(log_slope, i + 1, 0)
        return jnp.exp(low + (high - low) * (place - i) - self.log_jacobian(at))


def _cubic(s: Array, f0: Array, f1: Array, d0: Array, d1: Array) -> tuple[Array, Array]:
    """Cubic with given values and slopes at 0 and 1, and its derivative, at s."""
    rise = f1 - f0
    c2, c3 = 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise
    return f0 + s * (d0 + s * (c2 + s * c3)), d0 + s * (2 * c2 + 3 * s * c3)


def halves_error(one: Array, other: Array) -> Array:
    """Error of a whole lattice, from what its two halves give: the square of a half's error, which is half of their
    difference.
    """
    return (0.5 * (one - other)) ** 2


def density_table(
    start: Array,
    step: Array,
    halves: Array,
    left: Array,
    right: Array,
    *maps: Callable[[Array], Array],
    unseen: Array | float = 0.0,
) -> Table:
    """Table from densities on the grid, known up to a factor: cell integrals of the polynomial through six neighbours.

    Parameters
    ----------
    start, step : Array, shape (group,)
    halves : Array, shape (half, grid, group)
        Densities by the two halves of a lattice; one alone where there is no lattice.
    left, right : Array, shape (half, group)
        Mass before and after the grid, in the same units.
    *maps : callable
        ``value``, ``position``, ``log_jacobian`` as in `Table`.
    unseen : Array or float
        What F is off by for another reason, known from how the densities were made; shape (group,).
    """
    size = halves.shape[1] - 1
    padded = jnp.pad(halves, ((0, 0), (2, 2), (0, 0)))

    def cumulated(rule: tuple[float, ...], densities: Array) -> Array:
        cells = step * sum(c * densities[..., k : k + size, :] for k, c in enumerate(rule))
        return jnp.concatenate([jnp.zeros_like(densities[..., :1, :]), jnp.cumsum(jnp.maximum(cells, 0.0), -2)], -2)

    below = left[:, None] + cumulated(_CELL, padded)
    mass = below[:, -1] + right
    total = jnp.maximum(jnp.sum(mass, 0), 1e-300)
    error = jnp.zeros_like(start)
    if len(halves) == 2:
        each = below / jnp.maximum(mass, 1e-300)[:, None]
        error = jnp.max(halves_error(each[0], each[1]), 0)
    coarse = jnp.sum(left, 0) + cumulated(_COARSE_CELL, jnp.sum(padded, 0))
    below = jnp.sum(below, 0) / total
    grid_error = _BESIDE * jnp.max(jnp.abs(below - coarse / jnp.maximum(coarse[-1] + jnp.sum(right, 0), 1e-300)), 0)
    return Table(start, step, below, jnp.sum(halves, 0) / total, error, jnp.maximum(grid_error, unseen), *maps)


@lru_cache(maxsize=16)
def _between(count: int, neighbours: int) -> np.ndarray:
    """Matrix (value, point) of the polynomials through neighbours among equally spaced points."""
    at = np.arange((count - 1) * BETWEEN + 1) / BETWEEN
    found = np.zeros((len(at), count))
    for row, x in zip(found, at, strict=True):
        first = int(np.clip(np.floor(x) - neighbours // 2 + 1, 0, count - neighbours))
        for k in range(first, first + neighbours):
            row[k] = math.prod((x - j) / (k - j) for j in range(first, first + neighbours) if j != k)
    return found


def finer(density: Array, neighbours: int = 6) -> Array:
    """Density at equally spaced points, and between them, `BETWEEN` values a step.

    Its logarithm is the polynomial through so many neighbours, kept near what both ends of a step allow: beside an end
    of the support, where the density drops to nothing, a polynomial would swing.
    """
    known = jnp.maximum(jnp.log(density), jnp.log(jnp.max(density)) - _NOTHING)
    left = np.minimum(np.arange((len(density) - 1) * BETWEEN + 1) // BETWEEN, len(density) - 2)
    ends = known[left], known[left + 1]
    found = jnp.asarray(_between(len(density), neighbours)) @ known
    return jnp.exp(jnp.clip(found, jnp.minimum(*ends) - _BEND, jnp.maximum(*ends) + _BEND))


@lru_cache(maxsize=1)
def _kernel() -> tuple[np.ndarray, np.ndarray]:
    """Polynomials P and Q of the kernel: F(x) = Phi(x) - phi(x) P(x), f(x) = phi(x) Q(x)."""
    from numpy.polynomial import hermite_e

    even, odd = np.zeros(2 * _ORDER + 1), np.zeros(2 * _ORDER)
    for r in range(_ORDER + 1):
        factor = (-1) ** r / (2**r * math.factorial(r))
        even[2 * r] = factor
        if r:
            odd[2 * r - 1] = factor
    return hermite_e.herme2poly(odd), hermite_e.herme2poly(even)


def _smooth(x: Array) -> tuple[Array, Array]:
    """F and f of the smoothing kernel: flat in frequency, exp(-w^2/2) sum over r <= 5 of (w^2/2)^r / r!."""
    odd, even = _kernel()
    bell = jnp.exp(-0.5 * x * x) / _ROOT_2PI
    square = x * x
    p, q = jnp.zeros_like(x), jnp.zeros_like(x)
    for k in range(_ORDER - 1, -1, -1):
        p = p * square + odd[2 * k + 1]
    for k in range(_ORDER, -1, -1):
        q = q * square + even[2 * k]
    return 0.5 * erfc(x * (-1 / _ROOT_2)) - bell * x * p, bell * q


def point_table(
    weight: Array,
    at: Array,
    width: Array,
    start: Array,
    stop: Array,
    points: int,
    precision: str,
    *maps: Callable[[Array], Array],
) -> Table:
    """Law of something that the hyperparameters fix, from its values at lattice nodes, smoothed between them.

    A lattice knows the characteristic function up to half its dual's shortest vector; a kernel that is flat up to there
    gives back F without smoothing bias (higher-order Gaussian kernels: Wand & Schucany 1990, Canadian J. Statist. 18,
    197-204).

    Parameters
    ----------
    weight : Array, shape (half, node)
    at : Array, shape (node, group)
        Coordinate of each node.
    width : Array, shape (group,)
        Width of the kernel.
    start, stop : Array, shape (group,)
        Range of the grid.
    points : int
        Grid points.
    precision : str
        Type in which the kernel is evaluated.
    *maps : callable
        ``value``, ``position``, ``log_jacobian`` as in `Table`.
    """
    step = (stop - start) / (points - 1)
    x = start + step * jnp.arange(points, dtype=start.dtype)[:, None]
    inside = ((x[:, None] - at) * (1 / width)).astype(precision if at.dtype == jnp.float64 else at.dtype)
    below, slope = (
        jnp.einsum("hn,xng->hxg", weight.astype(inside.dtype), part).astype(at.dtype) for part in _smooth(inside)
    )
    slope = jnp.sum(slope, 0) / width
    error = jnp.max(halves_error(*(below / jnp.maximum(jnp.sum(weight, 1), 1e-300)[:, None, None])), 0)
    below = jnp.sum(below, 0)
    below = jax.lax.cummax(jnp.clip(below, 0.0, 1.0), axis=0)
    return Table(start, step, below, jnp.maximum(slope, 0.0), error, jnp.zeros_like(error), *maps)
