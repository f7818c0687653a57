"""Tests of uniformity of PITs whose groups share hyperparameters and data: the replicate is the unit.

- `pooled_chi_square`, `pooled_smooth`, `pooled_ecdf`: the groups of one replicate pooled; dependence within it is taken
  from the replicates.
- `sup_test`: a vector a replicate with mean zero, such as posterior probability minus indicator (the data-averaged
  posterior).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from hiermodels.studies.calibrate.sbc_tests import (
    FEWEST,
    ORDER,
    Floats,
    Uniformity,
    bins_for,
    cell_of,
    legendre,
    rows_of,
)

__all__ = ["pooled_chi_square", "pooled_ecdf", "pooled_smooth", "sup_test"]

_SIMULATED = 20_000
"""Gaussian vectors from which the law of a largest studentised deviation is read."""


def pooled_chi_square(u: ArrayLike, bins: int | None = None) -> Uniformity:
    """Test that the PITs of groups, pooled, are uniform; the replicate is the unit.

    Each replicate gives the shares of its groups in B equal cells. Their mean is compared with 1 / B by Hotelling's
    ``T^2 = n d' S^-1 d``, d without the last cell and S the covariance of shares between replicates:
    ``(n - B + 1) / ((B - 1)(n - 1)) T^2`` has F(B - 1, n - B + 1) degrees of freedom.

    Parameters
    ----------
    u : array_like, shape (replicate, group)
        NaN is left out; replicates without any are not counted.
    bins : int, optional
        B; by default `BINS`, at most a twentieth of the replicates.

    Returns
    -------
    Uniformity
        The statistic is T^2.

    Examples
    --------
    >>> u = np.random.default_rng(1).random((200, 8))
    >>> 0.001 < pooled_chi_square(u).p <= 1
    True
    """
    u = rows_of(u)
    n = len(u)
    if n < FEWEST:
        return Uniformity(np.nan, np.nan, n)
    return hotelling(Sample(share_rows(u, bins or bins_for(n, 20))))


def share_rows(u: Floats, bins: int) -> Floats:
    """Shares of each replicate's groups in B equal cells but the last, less 1 / B."""
    real = np.isfinite(u)
    cells = cell_of(np.where(real, u, 0.0), bins)
    return np.stack([((cells == b) & real).sum(1) for b in range(bins - 1)], 1) / real.sum(1, keepdims=True) - 1 / bins


def pooled_smooth(u: ArrayLike, order: int = ORDER) -> Uniformity:
    """Neyman's smooth test for the PITs of groups, pooled; the replicate is the unit.

    Each replicate gives the averages of phi_1 .. phi_K (see `smooth`) over its groups; Hotelling's T^2 compares their
    means with zero.

    Parameters
    ----------
    u : array_like, shape (replicate, group)
        NaN is left out; replicates without any are not counted.
    order : int
        K.

    Returns
    -------
    Uniformity
        The statistic is T^2.

    Examples
    --------
    >>> u = np.random.default_rng(1).random((200, 8))
    >>> pooled_smooth(0.5 + 0.95 * (u - 0.5)).p < 0.01 < pooled_smooth(u).p
    True
    """
    u = rows_of(u)
    if len(u) < max(FEWEST, 5 * order):
        return Uniformity(np.nan, np.nan, len(u))
    return hotelling(Sample(legendre_rows(u, order)))


def legendre_rows(u: Floats, order: int = ORDER) -> Floats:
    """Averages of Legendre polynomials over each replicate's groups."""
    found: Floats = np.nanmean(legendre(u, order), 1)
    return found


def pooled_ecdf(u: ArrayLike, points: int | None = None) -> Uniformity:
    """ECDF-difference test of the PITs of groups, pooled; the replicate is the unit.

    Each replicate gives the ECDF of its groups at z_k = k / K; `sup_test` judges the mean difference from z_k.

    Parameters
    ----------
    u : array_like, shape (replicate, group)
        NaN is left out; replicates without any are not counted.
    points : int, optional
        K; by default `BINS`, at most a twentieth of the replicates.

    Returns
    -------
    Uniformity
        The statistic is the largest studentised difference.

    Examples
    --------
    >>> u = np.random.default_rng(1).random((200, 8))
    >>> pooled_ecdf(u**1.3).p < 1e-4 < pooled_ecdf(u).p
    True
    """
    u = rows_of(u)
    if len(u) < FEWEST:
        return Uniformity(np.nan, np.nan, len(u))
    z = pooled_points(len(u), points)
    return sup_test(ecdf_rows(u, z) - z)


def pooled_points(n: int, points: int | None = None) -> Floats:
    """Points at which a pooled ECDF of n replicates is judged."""
    points = points or bins_for(n, 20)
    return np.arange(1, points) / points


def ecdf_rows(u: Floats, z: Floats) -> Floats:
    """ECDF of each replicate's groups at some points, (replicate, group) -> (replicate, point)."""
    real = np.isfinite(u)
    below = np.stack([((u <= at) & real).sum(1) for at in z], 1)
    return below / np.maximum(real.sum(1, keepdims=True), 1)


def sup_test(rows: ArrayLike) -> Uniformity:
    """Test that vectors, one a replicate, have mean zero in every component.

    ``T = max_k sqrt(n) |mean_k| / sqrt(mean(x_k^2))``: the variance is that under the hypothesis, which holds the size
    where a component counts rare events. Its law is that of the largest component of a normal vector with the
    correlations found, simulated; in its far tail the Bonferroni bound, which is never below. Components that do not
    vary are left out.

    Parameters
    ----------
    rows : array_like, shape (replicate, component)

    Returns
    -------
    Uniformity

    Examples
    --------
    >>> rows = np.random.default_rng(1).normal(size=(100, 5))
    >>> sup_test(rows + 1).p < 1e-6 < 0.001 < sup_test(rows).p
    True
    """
    return largest_deviation(Sample(np.asarray(rows, float)))


class Vectors(Protocol):
    """What `hotelling` and `largest_deviation` read of vectors, one a replicate."""

    @property
    def n(self) -> int:
        """How many there are."""

    @property
    def mean(self) -> Floats:
        """Their mean."""

    @property
    def sd(self) -> Floats:
        """Standard deviation of each component, divisor n - 1."""

    @property
    def square(self) -> Floats:
        """Mean square of each component."""

    @property
    def covariance(self) -> Floats:
        """Covariance matrix, divisor n - 1."""

    @property
    def correlation(self) -> Floats:
        """Correlation matrix."""

    def some(self, here: NDArray[np.bool_]) -> Vectors:
        """Some of the components."""


class Sample:
    """`Vectors` in memory, shape (replicate, component)."""

    def __init__(self, rows: Floats) -> None:
        self.rows, self.n = rows, len(rows)

    @property
    def mean(self) -> Floats:
        """See `Vectors`."""
        return np.asarray(self.rows.mean(0))

    @property
    def sd(self) -> Floats:
        """See `Vectors`."""
        return np.asarray(self.rows.std(0, ddof=1))

    @property
    def square(self) -> Floats:
        """See `Vectors`."""
        return np.asarray(np.mean(self.rows**2, 0))

    @property
    def covariance(self) -> Floats:
        """See `Vectors`."""
        return np.cov(self.rows, rowvar=False).reshape(self.rows.shape[1], -1)

    @property
    def correlation(self) -> Floats:
        """See `Vectors`."""
        return np.corrcoef(self.rows, rowvar=False).reshape(self.rows.shape[1], -1)

    def some(self, here: NDArray[np.bool_]) -> Sample:
        """See `Vectors`."""
        return Sample(self.rows[:, here])


def largest_deviation(vectors: Vectors) -> Uniformity:
    """`sup_test` of vectors of which moments are known."""
    n, moving = vectors.n, vectors.sd > 1e-12
    if not moving.any():
        constant = bool((np.abs(vectors.mean) > 1e-12).any())
        return Uniformity(np.inf if constant else 0.0, 0.0 if constant else 1.0, n)
    vectors = vectors.some(moving)
    largest = float(np.max(np.abs(vectors.mean) / np.sqrt(vectors.square)) * np.sqrt(n))
    bound = min(1.0, 2 * int(moving.sum()) * float(stats.norm.sf(largest)))
    if bound < 20 / _SIMULATED:
        return Uniformity(largest, bound, n)
    above = int(np.sum(_largest(vectors.correlation) >= largest))
    return Uniformity(largest, min(bound, (above + 1) / (_SIMULATED + 1)), n)


def sup_quantile(rows: ArrayLike, prob: float) -> float:
    """How many standard errors wide a simultaneous band of the means of these vectors is; see `sup_test`."""
    rows = np.asarray(rows, float)
    moving = rows.std(0, ddof=1) > 1e-12
    return float(np.quantile(_largest(Sample(rows[:, moving]).correlation), prob)) if moving.any() else 0.0


def _largest(correlation: Floats) -> Floats:
    """Simulated largest components, in absolute value, of a normal vector with these correlations."""
    value, vector = np.linalg.eigh(correlation)
    root = np.sqrt(np.maximum(value, 0.0))[:, None] * vector.T
    return np.abs(_noise(len(value)) @ root.astype(np.float32)).max(1)


@lru_cache(maxsize=4)
def _noise(width: int) -> NDArray[np.float32]:
    """The same random numbers for every test of this width."""
    return np.random.default_rng(20221121).standard_normal((_SIMULATED, width), np.float32)


def hotelling(vectors: Vectors) -> Uniformity:
    """Hotelling's T^2 of vectors, one a replicate, that have mean zero under the hypothesis."""
    n, mean = vectors.n, vectors.mean
    free = len(mean)
    statistic = float(n * mean @ np.linalg.pinv(vectors.covariance, hermitian=True) @ mean)
    return Uniformity(statistic, float(stats.f.sf(statistic * (n - free) / (free * (n - 1)), free, n - free)), n)
