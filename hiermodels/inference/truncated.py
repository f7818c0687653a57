"""The inverse gamma law between two values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import special

from hiermodels.inference.laws import check_positive

__all__ = ["TruncatedInverseGamma", "unit_nodes"]

_NODES = 800


@dataclass(frozen=True)
class TruncatedInverseGamma:
    """IG(shape, scale) restricted to low < v < high.

    With w = 1 / v the law is Gamma(shape, rate scale) between 1 / high and 1 / low. P(a, x) below is the regularised
    lower incomplete gamma function.

    Attributes
    ----------
    shape, scale : float
    low, high : float
        Ends of the support; 0 and infinity leave it untruncated.

    Raises
    ------
    ValueError
        For numbers out of range, and where the interval has no mass in double precision.

    Examples
    --------
    >>> law = TruncatedInverseGamma(7.5, 0.0412, low=0.066**2)
    >>> round(law.mass, 2), law.moment(1) > law.low
    (0.78, True)
    """

    shape: float
    scale: float
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        check_positive(shape=self.shape, scale=self.scale)
        if not 0 <= self.low < self.high:
            raise ValueError(f"low, high: expected 0 <= low < high, found {self.low!r} and {self.high!r}; mend them")
        if self.mass <= 1e-290:
            raise ValueError(
                f"low, high: the inverse gamma law has no mass in ({self.low:g}, {self.high:g}) in double precision, "
                f"so the data "
                "contradict the known variance; use sampler='exact'"
            )

    @property
    def _ends(self) -> tuple[float, float]:
        """The interval of scale / v."""
        return (self.scale / self.high, math.inf if self.low == 0 else self.scale / self.low)

    def _between(self, shape: float) -> float:
        """P(shape, upper end) - P(shape, lower end), from the tail that keeps the digits."""
        first, last = self._ends
        if special.gammainc(shape, first) > 0.5:
            return float(special.gammaincc(shape, first) - special.gammaincc(shape, last))
        return float(special.gammainc(shape, last) - special.gammainc(shape, first))

    @property
    def mass(self) -> float:
        """Probability that the untruncated law gives the interval."""
        return self._between(self.shape)

    def moment(self, order: float) -> float:
        """E[v^order]; infinite where the integral diverges.

        With b = scale, b^order Gamma(shape - order) / Gamma(shape) times the ratio of the two laws' masses. An order of
        -1 times the known variance is the mean shrinkage factor of `hiermodels.inference.two_level_law.TwoLevelNormal`.
        """
        rest = self.shape - order
        if rest <= 0:
            return math.inf if math.isinf(self.high) else self._integral(order)
        power = order * math.log(self.scale) + math.lgamma(rest) - math.lgamma(self.shape)
        return math.exp(power) * self._between(rest) / self.mass

    def _integral(self, order: float) -> float:
        """E[v^order] by quadrature over the distribution function, where the closed form has no meaning."""
        nodes, weights = unit_nodes()
        return float(weights @ self.ppf(nodes) ** order)

    def cdf(self, v: Any) -> np.ndarray:
        """P(V <= v)."""
        first, last = self._ends
        x = self.scale / np.clip(np.asarray(v, dtype=float), max(self.low, 1e-300), self.high)
        if special.gammainc(self.shape, first) > 0.5:
            upper = special.gammaincc(self.shape, x) - special.gammaincc(self.shape, last)
        else:
            upper = special.gammainc(self.shape, last) - special.gammainc(self.shape, x)
        return np.clip(upper / self.mass, 0.0, 1.0)

    def ppf(self, p: Any) -> np.ndarray:
        """Quantile: the inverse of `cdf`, by the inverse incomplete gamma function."""
        p = np.asarray(p, dtype=float)
        first, last = self._ends
        if special.gammainc(self.shape, first) > 0.5:
            x = special.gammainccinv(self.shape, special.gammaincc(self.shape, last) + p * self.mass)
        else:
            x = special.gammaincinv(self.shape, special.gammainc(self.shape, last) - p * self.mass)
        with np.errstate(divide="ignore"):
            return np.clip(self.scale / x, self.low, self.high)

    def draw(self, size: int, seed: int = 0) -> np.ndarray:
        """Independent draws, by inversion."""
        return self.ppf(np.random.default_rng(seed).uniform(size=size))


@lru_cache(maxsize=1)
def unit_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return 0.5 * (nodes + 1), 0.5 * weights
