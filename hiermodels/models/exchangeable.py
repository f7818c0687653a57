"""Exchangeable variables: the law is the same in any order. What that allows, and what it does not.

De Finetti's theorem makes an infinite exchangeable sequence a mixture of independent, identically distributed ones;
that is the reason to give group values a common law with unknown parameters. It does not hold for finitely many
variables: a known total, or a negative correlation, is exchangeable and no such mixture.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

__all__ = [
    "Moments",
    "equicorrelated",
    "equicorrelation_limits",
    "known_total",
    "longest_extension",
    "mixture_correlation",
]


class Moments(NamedTuple):
    """First two moments of exchangeable variables: every mean, every covariance and every correlation is the same."""

    mean: float
    variance: float
    covariance: float

    @property
    def correlation(self) -> float:
        """Covariance over variance; NaN where nothing varies."""
        return self.covariance / self.variance if self.variance > 0 else math.nan


def _size(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 2:
        raise ValueError(f"n: expected a whole number >= 2, found {n!r}; give the number of variables")
    return int(n)


def equicorrelation_limits(n: int) -> tuple[float, float]:
    """Least correlation of n exchangeable normal variables, and the least that a mixture of independent ones can have.

    The covariance matrix (1 - rho) I + rho 1 1' has eigenvalues 1 - rho and 1 + (n - 1) rho: it is valid iff rho >= -1
    / (n - 1). It is that of theta_j = mu + e_j with a random mu iff rho >= 0.

    Examples
    --------
    >>> equicorrelation_limits(3)
    (-0.5, 0.0)
    """
    return -1 / (_size(n) - 1), 0.0


def equicorrelated(n: int, rho: float, variance: float = 1.0) -> np.ndarray:
    """Covariance matrix of n exchangeable normal variables, shape (n, n).

    Raises
    ------
    ValueError
        For a correlation below -1 / (n - 1) or above 1, which no n variables can have.

    Examples
    --------
    >>> equicorrelated(3, -0.5).tolist()
    [[1.0, -0.5, -0.5], [-0.5, 1.0, -0.5], [-0.5, -0.5, 1.0]]
    """
    least, _ = equicorrelation_limits(n)
    if not least * (1 + 1e-12) <= rho <= 1:
        raise ValueError(
            f"rho: expected a correlation from {least:g} (that is, -1 / (n - 1)) to 1 for n = {n}, found {rho!r}; "
            f"raise it"
        )
    if not 0 < variance < math.inf:
        raise ValueError(f"variance: expected a positive, finite number, found {variance!r}; mend it")
    return variance * ((1 - rho) * np.eye(n) + rho * np.ones((n, n)))


def mixture_correlation(within: float, between: float) -> float:
    """Correlation of theta_j ~ N(mu, within) given mu, where mu has variance ``between``: between / (between + within).

    Examples
    --------
    >>> mixture_correlation(3.0, 1.0)
    0.25
    """
    if not (within >= 0 and between >= 0 and 0 < within + between < math.inf):
        raise ValueError(
            f"within, between: expected variances >= 0, not both zero, found {within!r} and {between!r}; mend them"
        )
    return between / (between + within)


def longest_extension(rho: float) -> float:
    """Most variables that can be exchangeable with this correlation: infinitely many iff rho >= 0, else at most 1 - 1 /
    rho.

    Examples
    --------
    >>> longest_extension(-0.25), longest_extension(0.0)
    (5, inf)
    """
    if not -1 <= rho <= 1:
        raise ValueError(f"rho: expected a correlation from -1 to 1, found {rho!r}; mend it")
    return math.inf if rho >= 0 else math.floor(1 - 1 / rho + 1e-9)


def known_total(n: int, total: int) -> Moments:
    """Moments of n flips of which exactly ``total`` are heads, every order equally likely.

    Mean p = total / n, variance p (1 - p), covariance -p (1 - p) / (n - 1): the correlation is -1 / (n - 1), the least
    possible, so the flips are the start of no longer exchangeable sequence and no mixture of independent ones.

    Examples
    --------
    >>> found = known_total(5, 2)
    >>> found.mean, round(found.covariance, 12), round(found.correlation, 12)
    (0.4, -0.06, -0.25)
    """
    size = _size(n)
    if isinstance(total, bool) or not isinstance(total, (int, np.integer)) or not 0 <= total <= size:
        raise ValueError(f"total: expected a whole number from 0 to {size}, found {total!r}; give the number of heads")
    p = total / size
    return Moments(p, p * (1 - p), -p * (1 - p) / (size - 1))
