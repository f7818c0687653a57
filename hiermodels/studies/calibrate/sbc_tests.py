"""Tests of uniformity for probability integral transforms (PITs) of truths.

With u the position of the truth among draws from its posterior, truths from the prior make u uniform on (0, 1).

- `chi_square`, `smooth`, `ecdf_test`, `ecdf_band`: one PIT a replicate, independent between replicates. Their null laws
  are exact up to the chi-square approximation: the band's probability is computed, not simulated.
Those of groups pooled stand in `hiermodels.studies.calibrate.pooled_tests`. The smooth tests look at a few moments
only: where a posterior is shifted or has a wrong width they see least evidence first; the others
see any shape. Each returns a `Uniformity`: statistic, p-value, and the number of replicates that it stands on.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

__all__ = ["Uniformity", "chi_square", "ecdf_band", "ecdf_test", "holm", "pit", "smooth"]

type Floats = NDArray[np.float64]

BINS = 20
"""Cells of the chi-square tests, and points of the pooled ECDF test, where there are replicates enough."""
ORDER = 4
"""Polynomials of the smooth tests: shift, width, skewness, kurtosis."""
POINTS = 50
"""Points at which the ECDF of independent PITs is compared with the diagonal."""


class Uniformity(NamedTuple):
    """Outcome of a test of uniformity.

    Attributes
    ----------
    statistic : float
        Grows with the deviation from uniformity.
    p : float
        Chance of a statistic at least as large under uniformity; NaN with fewer than `FEWEST` replicates.
    n : int
        Replicates that it stands on.
    """

    statistic: float
    p: float
    n: int


FEWEST = 20
"""Fewer replicates than this are not tested."""


def pit(rank: ArrayLike, max_rank: ArrayLike, rng: np.random.Generator, ess: ArrayLike | None = None) -> Floats:
    """Randomised PITs from ranks: uniform on (0, 1) if the truth is one more draw from the posterior.

    ``u = (r M / L + v) / (M + 1)`` with r the rank among L draws, v uniform, and M the tail ESS, at most L. For
    independent draws (M = L) u is exactly uniform. Autocorrelated draws leave a truth outside all of them about as
    often as M independent ones would, 2 / (M + 1) of the time and not 2 / (L + 1): on the lattice of M those ranks
    spread over the outermost cells as they should. Good for tail ESSs of some fifty and more; thinning
    (`hiermodels.studies.calibrate.sbc`) is safer.

    Parameters
    ----------
    rank, max_rank : array_like
        Number of draws below the truth (ties broken at random), number of draws.
    rng : numpy.random.Generator
    ess : array_like, optional
        Tail ESS; NaN or absent means independent draws.

    Returns
    -------
    ndarray
        NaN where the rank is.

    Examples
    --------
    >>> u = pit(np.arange(4), 3, np.random.default_rng(0))
    >>> bool(((u > np.arange(4) / 4) & (u < (np.arange(4) + 1) / 4)).all())
    True
    """
    rank, count = np.asarray(rank, float), np.asarray(max_rank, float)
    effective = count if ess is None else np.fmin(count, np.asarray(ess, float))
    effective = np.maximum(effective, 1.0)
    return (rank * effective / count + rng.random(np.broadcast(rank, count).shape)) / (effective + 1)


def chi_square(u: ArrayLike, bins: int | None = None) -> Uniformity:
    """Chi-square test that independent PITs are uniform.

    ``X^2 = sum_b (n_b - n / B)^2 / (n / B)`` on B equal cells, B - 1 degrees of freedom.

    Parameters
    ----------
    u : array_like, shape (replicate,)
        NaN is left out.
    bins : int, optional
        B; by default `BINS`, fewer where a cell would hold fewer than five on average.

    Returns
    -------
    Uniformity

    Examples
    --------
    >>> chi_square((np.arange(100) + 0.5) / 100).p
    1.0
    """
    u = finite(u)
    return Counted.of(u, bins or bins_for(len(u), 5)).chi_square()


def smooth(u: ArrayLike, order: int = ORDER) -> Uniformity:
    """Neyman's smooth test of uniformity for independent PITs.

    ``T = n sum_k (mean of phi_k(u))^2``, phi_1 .. phi_K the Legendre polynomials orthonormal on (0, 1): the first sees
    a shift, the second a wrong width, then skewness and kurtosis. Under uniformity T is chi-square with K degrees of
    freedom for large n.

    Parameters
    ----------
    u : array_like, shape (replicate,)
        NaN is left out.
    order : int
        K.

    Returns
    -------
    Uniformity

    References
    ----------
    Neyman (1937), "Smooth test" for goodness of fit, Skandinavisk Aktuarietidskrift 20, 149-199.

    Examples
    --------
    >>> u = np.random.default_rng(1).random(500)
    >>> wide = 0.5 + 0.9 * (u - 0.5)
    >>> smooth(wide).p < 0.01 < smooth(u).p
    True
    """
    return Counted.of(finite(u), order=order).smooth()


def ecdf_test(u: ArrayLike, points: int = POINTS) -> Uniformity:
    """Test of the ECDF-difference band: the smallest pointwise p-value of the ECDF, judged by its own law.

    With C_k the number of PITs up to z_k = k / K, ``gamma = min_k 2 min(P(C_k <= c_k), P(C_k >= c_k))``. The p-value is
    P(gamma <= observed) for n independent uniforms: one minus the chance that all counts stay where their pointwise
    p-values exceed the observed gamma, which `_inside` computes. p <= 1 - prob if and only if the ECDF leaves
    `ecdf_band`.

    Source: Saeilynoja, Buerkner and Vehtari (2022), Statistics and Computing 32:32, doi 10.1007/s11222-022-10090-6.

    Parameters
    ----------
    u : array_like, shape (replicate,)
        NaN is left out.
    points : int
        K.

    Returns
    -------
    Uniformity
        The statistic is ``-log10(gamma)``.

    Examples
    --------
    >>> ecdf_test((np.arange(200) + 0.5) / 200).p > 0.99
    True
    >>> ecdf_test(np.linspace(0.0, 0.8, 200)).p < 1e-6
    True
    """
    return Counted.of(finite(u), points=points).ecdf()


@dataclass(frozen=True)
class Counted:
    """What `chi_square`, `smooth` and `ecdf_test` read of independent PITs; what is counted in parts adds up.

    Attributes
    ----------
    n : int
        PITs.
    cells : ndarray, shape (cell,)
        How many are in each of B equal cells.
    legendre : ndarray, shape (order,)
        Sums of orthonormal Legendre polynomials.
    below : ndarray, shape (point - 1,)
        How many are up to 1/K, ..., (K - 1)/K.
    """

    n: int
    cells: NDArray[np.int64]
    legendre: Floats
    below: NDArray[np.int64]

    @classmethod
    def of(cls, u: Floats, bins: int = BINS, order: int = ORDER, points: int = POINTS) -> Counted:
        """Count finite PITs."""
        z = np.arange(1, points) / points
        cells = np.bincount(cell_of(u, bins), minlength=bins)
        return cls(len(u), cells, legendre(u, order).sum(0), np.searchsorted(np.sort(u), z, side="right"))

    def __add__(self, other: Counted) -> Counted:
        return Counted(
            self.n + other.n, self.cells + other.cells, self.legendre + other.legendre, self.below + other.below
        )

    def chi_square(self) -> Uniformity:
        """See `hiermodels.studies.calibrate.sbc_tests.chi_square`."""
        if self.n < FEWEST:
            return Uniformity(np.nan, np.nan, self.n)
        statistic, p = stats.chisquare(self.cells)
        return Uniformity(float(statistic), float(p), self.n)

    def smooth(self) -> Uniformity:
        """See `hiermodels.studies.calibrate.sbc_tests.smooth`."""
        if self.n < FEWEST:
            return Uniformity(np.nan, np.nan, self.n)
        statistic = float(self.n * np.sum((self.legendre / self.n) ** 2))
        return Uniformity(statistic, float(stats.chi2.sf(statistic, len(self.legendre))), self.n)

    def ecdf(self) -> Uniformity:
        """See `ecdf_test`."""
        n, count, points = self.n, self.below, len(self.below) + 1
        if n < FEWEST:
            return Uniformity(np.nan, np.nan, n)
        z = np.arange(1, points) / points
        tails = 2 * np.minimum(stats.binom.cdf(count, n, z), stats.binom.sf(count - 1, n, z))
        gamma = min(float(tails.min()), 1.0)
        return Uniformity(-np.log10(max(gamma, 1e-300)), max(0.0, 1 - _inside(n, points, gamma * (1 + 1e-9))), n)


@lru_cache(maxsize=64)
def ecdf_band(n: int, prob: float = 0.95, points: int = POINTS) -> tuple[Floats, Floats, Floats]:
    """Simultaneous confidence band of the ECDF of n independent uniform PITs.

    The band of all counts whose pointwise p-values exceed gamma, with the largest gamma whose band holds the whole ECDF
    with a probability of at least `prob`.

    Parameters
    ----------
    n : int
        Replicates.
    prob : float
        Probability that the ECDF stays inside at all points.
    points : int
        K; the band is at 1/K, ..., (K - 1)/K.

    Returns
    -------
    z, lower, upper : ndarray
        Points and ends of the band on the scale of the ECDF (subtract z for the ECDF difference); an ECDF on an end is
        inside.

    Examples
    --------
    >>> z, lower, upper = ecdf_band(100)
    >>> bool((lower < z).all() and (z < upper).all())
    True
    """
    if not 0 < prob < 1:
        raise ValueError(f"prob: expected a number between 0 and 1, found {prob!r}; e.g. 0.95")
    low, high = np.log(1e-14), np.log(1.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(n, points, float(np.exp(middle))) >= prob else (low, middle)
    least, most = _counts(n, points, float(np.exp(low)))
    return np.arange(1, points) / points, least / n, most / n


def _counts(n: int, points: int, gamma: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Least and most counts at 1/K, ..., (K-1)/K whose two-sided pointwise p-values exceed gamma."""
    z = np.arange(1, points) / points
    least = stats.binom.ppf(gamma / 2, n, z).astype(np.int64)
    least += stats.binom.cdf(least, n, z) <= gamma / 2
    most = n - stats.binom.ppf(gamma / 2, n, 1 - z).astype(np.int64)
    most -= stats.binom.sf(most - 1, n, z) <= gamma / 2
    return np.maximum(least, 0), np.minimum(most, n)


def _inside(n: int, points: int, gamma: float) -> float:
    """Probability that all counts of n uniforms have pointwise p-values above gamma.

    Counts of n uniforms in equal cells are independent Poisson counts given their sum: a path of counts is pushed from
    cell to cell, cut to the band at each point, and divided by the chance of the sum.
    """
    if gamma >= 1:
        return 0.0
    least, most = _counts(n, points, gamma)
    if (least > most).any():
        return 0.0
    step = stats.poisson.pmf(np.arange(n + 1), n / points)
    step = step[: np.flatnonzero(step > 1e-18)[-1] + 1]
    start, path = 0, np.ones(1)
    for low, high in zip(least, most, strict=True):
        path = np.convolve(path, step)
        cut = np.zeros(high - low + 1)
        first, last = max(low, start), min(high, start + len(path) - 1)
        if first > last:
            return 0.0
        cut[first - low : last - low + 1] = path[first - start : last - start + 1]
        start, path = int(low), cut
    rest = n - start - np.arange(len(path))
    whole = np.where(rest < len(step), step[np.clip(rest, 0, len(step) - 1)], 0.0)
    return float(np.clip(path @ whole / stats.poisson.pmf(n, n), 0.0, 1.0))


def holm(p: ArrayLike) -> Floats:
    """Holm's adjusted p-values: the least joint failure rate at which each test would be rejected.

    Rejecting where the adjusted value is at most alpha, all tests together fail by chance with probability at most
    alpha, whatever their dependence. NaN stays NaN and is not counted.

    Examples
    --------
    >>> holm([0.01, 0.04, float("nan"), 0.5]).round(2).tolist()
    [0.03, 0.08, nan, 0.5]
    """
    p = np.asarray(p, float)
    out = np.full(p.shape, np.nan)
    real = np.flatnonzero(np.isfinite(p))
    order = real[np.argsort(p[real], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    out[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(order) else steps
    return out


def legendre(u: Floats, order: int) -> Floats:
    """Legendre polynomials 1 .. order, orthonormal on (0, 1), along a last axis."""
    values: Floats = np.asarray(np.polynomial.legendre.legvander(2 * u - 1, order)[..., 1:], np.float64)
    return values * np.sqrt(2 * np.arange(1, order + 1) + 1)


def finite(u: ArrayLike) -> Floats:
    u = np.asarray(u, float).ravel()
    return u[np.isfinite(u)]


def rows_of(u: ArrayLike) -> Floats:
    u = np.asarray(u, float)
    return u[np.isfinite(u).any(1)]


def cell_of(u: Floats, bins: int) -> NDArray[np.int64]:
    return np.minimum((u * bins).astype(np.int64), bins - 1)


def bins_for(n: int, each: int) -> int:
    return int(np.clip(n // each, 2, BINS))
