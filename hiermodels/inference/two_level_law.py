"""The posterior of groups with one known variance, in closed form: truncated inverse gamma, then normal.

Under y_i ~ N(theta_i, s), theta_i ~ N(mu, tau^2) and a prior flat in (mu, tau^2) the total variance s + tau^2 is
inverse gamma above s; everything else is normal given it. Moments are ratios of incomplete gamma functions, quantiles
one-dimensional quadrature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from hiermodels.inference.laws import Numbers, check_positive, outcomes
from hiermodels.inference.truncated import TruncatedInverseGamma, unit_nodes

__all__ = ["TwoLevelNormal", "clipped_quantiles", "two_level_normal"]


@dataclass(frozen=True, eq=False)
class TwoLevelNormal:
    """Posterior of k group means under y_i ~ N(theta_i, s), theta_i ~ N(mu, tau^2), flat in (mu, tau^2).

    With v = s + tau^2 and B = s / v,

        v | y       ~ IG((k - 3) / 2, (k - 1) S2 / 2) restricted to v > s,
        mu | v, y   ~ N(ybar, v / k),
        theta_i | v, y ~ N(B ybar + (1 - B) y_i, s (1 - B (1 - 1 / k))).

    Attributes
    ----------
    y : ndarray, shape (group,)
    variance : float
        The known variance s.
    total : TruncatedInverseGamma
        Law of v.
    """

    y: np.ndarray
    variance: float
    total: TruncatedInverseGamma

    @property
    def centre(self) -> float:
        """ybar, the average of the groups."""
        return float(np.mean(self.y))

    @property
    def untruncated_below(self) -> float:
        """Probability that the inverse gamma law without its restriction gives v < s, that is, a negative tau^2."""
        return 1 - self.total.mass

    def shrinkage(self, order: int = 1) -> float:
        """E[B^order | y]."""
        return self.variance**order * self.total.moment(-order)

    @property
    def theta_mean(self) -> np.ndarray:
        """E[theta_i | y] = ybar + (1 - E B)(y_i - ybar), shape (group,)."""
        return self.centre + (1 - self.shrinkage()) * (self.y - self.centre)

    @property
    def theta_sd(self) -> np.ndarray:
        """Sd of theta_i | y: variance s (1 - E[B] (1 - 1 / k)) + (y_i - ybar)^2 Var(B); shape (group,)."""
        k, first = len(self.y), self.shrinkage()
        inner = self.variance * (1 - first * (1 - 1 / k))
        return np.sqrt(inner + (self.y - self.centre) ** 2 * (self.shrinkage(2) - first**2))

    @property
    def mu_sd(self) -> float:
        """Sd of mu | y: its variance is E[v] / k; infinite for k <= 5."""
        return math.sqrt(self.total.moment(1) / len(self.y))

    @property
    def tau2_mean(self) -> float:
        """E[tau^2 | y] = E[v] - s; infinite for k <= 5."""
        return self.total.moment(1) - self.variance

    @property
    def tau2_sd(self) -> float:
        """Sd of tau^2 | y; infinite for k <= 7."""
        second = self.total.moment(2)
        return math.sqrt(second - self.total.moment(1) ** 2) if math.isfinite(second) else math.inf

    def tau_quantile(self, p: Any) -> np.ndarray:
        """Quantiles of tau | y."""
        return np.sqrt(np.maximum(self.total.ppf(p) - self.variance, 0.0))

    def theta_quantile(self, p: Any) -> np.ndarray:
        """Quantiles of theta_i | y, shape (*p, group)."""
        return self._quantile(p, *self._theta_given(self._nodes()))

    def mu_quantile(self, p: Any) -> np.ndarray:
        """Quantiles of mu | y."""
        v = self._nodes()
        return self._quantile(p, np.full_like(v, self.centre)[:, None], (v / len(self.y))[:, None])[..., 0]

    def new_theta_quantile(self, p: Any) -> np.ndarray:
        """Quantiles of the mean of a group that is not in the data: N(ybar, tau^2 + v / k) given v."""
        return self._new_quantile(p, -self.variance)

    def new_outcome_quantile(self, p: Any) -> np.ndarray:
        """Quantiles of one observation of a group that is not in the data: N(ybar, v + v / k) given v."""
        return self._new_quantile(p, 0.0)

    def outcome_quantile(self, p: Any) -> np.ndarray:
        """Quantiles of one more observation of each group: theta_i plus noise of variance s; shape (*p, group)."""
        mean, variance = self._theta_given(self._nodes())
        return self._quantile(p, mean, variance + self.variance)

    def draw(self, size: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Independent draws of ``tau`` and ``mu`` (size,) and ``theta`` (size, group): v by inversion, then the
        others.
        """
        rng = np.random.default_rng(seed)
        v = self.total.ppf(rng.uniform(size=size))
        mu = self.centre + np.sqrt(v / len(self.y)) * rng.standard_normal(size)
        b = (self.variance / v)[:, None]
        noise = np.sqrt(self.variance * (1 - b)) * rng.standard_normal((size, len(self.y)))
        return {"tau": np.sqrt(v - self.variance), "mu": mu, "theta": b * mu[:, None] + (1 - b) * self.y + noise}

    def _nodes(self) -> np.ndarray:
        return self.total.ppf(unit_nodes()[0])

    def _theta_given(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and variance of theta_i given v, (node, group)."""
        b = (self.variance / v)[:, None]
        inner = self.variance * (1 - b * (1 - 1 / len(self.y)))
        return b * self.centre + (1 - b) * self.y, np.broadcast_to(inner, (len(v), len(self.y)))

    def _new_quantile(self, p: Any, more: float) -> np.ndarray:
        v = self._nodes()
        variance = (v + v / len(self.y) + more)[:, None]
        return self._quantile(p, np.full_like(variance, self.centre), variance)[..., 0]

    def _quantile(self, p: Any, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        return _mixture_quantile(np.asarray(p, dtype=float), unit_nodes()[1], mean, np.sqrt(variance))


def _mixture_quantile(p: np.ndarray, weight: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Quantiles of normal mixtures by bisection; mean and sd (node, group) -> (*p, group)."""
    target = p[..., None] + np.zeros(mean.shape[1])
    low, high = (np.full(target.shape, f(mean + s * 40 * sd)) for f, s in ((np.min, -1), (np.max, 1)))
    for _ in range(200):
        middle = 0.5 * (low + high)
        below = np.tensordot(special.ndtr((middle[..., None, :] - mean) / sd), weight, axes=(-2, 0))
        low, high = np.where(below < target, middle, low), np.where(below < target, high, middle)
        if np.all(high - low <= 1e-13 * (np.abs(low) + np.abs(high))):
            break
    return 0.5 * (low + high)


def two_level_normal(y: Numbers, se: float) -> TwoLevelNormal:
    """Posterior of groups with one known standard error under a flat prior on the mean and on the variance between
    groups.

    Parameters
    ----------
    y : sequence of float, shape (group,)
        One estimate a group, at least four.
    se : float
        Their common standard error.

    Raises
    ------
    ValueError
        With fewer than four groups, where the posterior is improper.

    Examples
    --------
    >>> from hiermodels.datasets import load_dataset
    >>> found = two_level_normal(load_dataset("baseball")["avg"], 0.066)
    >>> round(found.untruncated_below, 6), round(found.shrinkage(), 6), round(float(found.theta_mean[0]), 5)
    (0.217106, 0.675442, 0.30911)
    """
    values = outcomes("y", y, 1)
    check_positive(se=se)
    k = len(values)
    if k < 4:
        raise ValueError(
            f"y: a flat prior on the variance between groups needs at least 4 groups, found {k}: the posterior is "
            f"improper; "
            "use a proper prior, e.g. half_normal(...), with hm.fit"
        )
    square = float(np.sum((values - values.mean()) ** 2))
    if square == 0:
        raise ValueError("y: every group has the same value, so the closed form degenerates; use sampler='exact'")
    return TwoLevelNormal(values, float(se) ** 2, TruncatedInverseGamma((k - 3) / 2, square / 2, float(se) ** 2))


def clipped_quantiles(y: Numbers, se: float, p: Any) -> np.ndarray:
    """Quantiles of group means as a lecture's table has them: *not* the posterior of `two_level_normal`.

    The total variance v is taken from the inverse gamma law without its restriction to v > s, and a negative tau^2 = v
    - s is
    set to zero instead of being turned down, so complete pooling gets the mass of every negative draw. For comparison
    with tables that were made so; nothing else in the library uses it.

    Parameters
    ----------
    y, se
        As in `two_level_normal`.
    p : float or sequence of float
        Probabilities.

    Returns
    -------
    ndarray, shape (*p, group)

    Examples
    --------
    >>> from hiermodels.datasets import load_dataset
    >>> clipped_quantiles(load_dataset("baseball")["avg"], 0.06, 0.5)[0].round(4).tolist()
    0.3084
    """
    found = two_level_normal(y, se)
    mean, variance = found._theta_given(found._nodes())
    pooled_mean, pooled_variance = found._theta_given(np.array([found.variance]))
    weight = np.append(found.total.mass * unit_nodes()[1], found.untruncated_below)
    both = np.concatenate([mean, pooled_mean]), np.sqrt(np.concatenate([variance, pooled_variance]))
    return _mixture_quantile(np.asarray(p, dtype=float), weight, *both)
