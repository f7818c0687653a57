"""Posteriors in closed form, with NumPy and SciPy on the host: their laws, moments, quantiles and exact draws.

| data | prior | what it gives |
|---|---|---|
| `normal_inverse_gamma` | mean N(m, s2 r^2), s2 ~ IG | Student t, inverse gamma, log evidence |
| `common_effect` | known standard errors, one mean, normal or flat | normal |
| `gamma_poisson`, `beta_binomial` | one rate or probability | gamma, beta; predictive counts |
| `hiermodels.inference.two_level_law` | one known variance, flat mean, flat variance between groups | truncated inverse gamma |

IG(a, b) has density proportional to v^-(a + 1) exp(-b / v); a Gamma's second number is a rate; a normal law is written
with its variance. Everything is computed in double precision; `hiermodels.inference.closed_form` draws from the same
posteriors for any declared model that has one.
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # its parts load when they are used: scipy.stats takes a second

from hiermodels.families import lookup

__all__ = ["CountLaw", "NormalInverseGamma", "beta_binomial", "common_effect", "gamma_poisson", "normal_inverse_gamma"]

type Numbers = Sequence[float] | np.ndarray


def outcomes(name: str, y: Numbers, least: int) -> np.ndarray:
    """The numbers as a vector; too few of them, or one that is not finite, is refused."""
    values = np.atleast_1d(np.asarray(y, dtype=float))
    if values.ndim != 1 or len(values) < least or not np.isfinite(values).all():
        raise ValueError(f"{name}: expected at least {least} finite numbers, found {y!r}; mend the data")
    return values


def check_positive(**numbers: float) -> None:
    """Refuse a number that is not positive and finite, by its name."""
    for name, value in numbers.items():
        if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: expected a positive, finite number, found {value!r}; mend it")


# one level ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NormalInverseGamma:
    """A mean and a variance: theta | s2 ~ N(centre, s2 / count), s2 ~ IG(shape, scale).

    Attributes
    ----------
    centre, count, shape, scale : float
        As above; ``count`` is in observations.
    log_evidence : float
        log p(y) of the data that led here, normalised.
    """

    centre: float
    count: float
    shape: float
    scale: float
    log_evidence: float

    @property
    def theta(self) -> Any:
        """Law of the mean, the variance integrated out: Student t with 2 shape degrees of freedom (frozen SciPy
        law).
        """
        return scipy.stats.t(2 * self.shape, self.centre, math.sqrt(self.scale / (self.shape * self.count)))

    @property
    def variance(self) -> Any:
        """Law of the variance: IG(shape, scale) (frozen SciPy law)."""
        return scipy.stats.invgamma(self.shape, scale=self.scale)

    @property
    def outcome(self) -> Any:
        """Law of one more observation: Student t with 2 shape degrees of freedom (frozen SciPy law)."""
        return scipy.stats.t(2 * self.shape, self.centre, math.sqrt(self.scale / self.shape * (1 + 1 / self.count)))

    def draw(self, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Independent draws of (theta, s2): the variance first, then the mean given it.

        Examples
        --------
        >>> theta, variance = normal_inverse_gamma([9.2, 10.1, 8.7], 8, 1.5, 3, 2).draw(5)
        >>> theta.shape, bool((variance > 0).all())
        ((5,), True)
        """
        rng = np.random.default_rng(seed)
        variance = self.scale / rng.gamma(self.shape, size=size)
        return self.centre + np.sqrt(variance / self.count) * rng.standard_normal(size), variance


def normal_inverse_gamma(y: Numbers, mean: float, ratio: float, shape: float, scale: float) -> NormalInverseGamma:
    r"""Posterior of a normal sample's mean and variance under the conjugate prior.

    y_i ~ N(theta, s2), theta | s2 ~ N(mean, s2 ratio^2), s2 ~ IG(shape, scale). With k = n + 1 / ratio^2,

        centre = (n ybar + mean / ratio^2) / k,
        Q      = sum (y_i - ybar)^2 + n (ybar - mean)^2 / (1 + n ratio^2),
        theta | s2, y ~ N(centre, s2 / k),    s2 | y ~ IG(shape + n / 2, scale + Q / 2),

    as in Gelman et al. (2013), Bayesian Data Analysis, section 3.3.

    Parameters
    ----------
    y : sequence of float, shape (obs,)
    mean, ratio : float
        The same prior as `hiermodels.priors.scaled_normal`.
    shape, scale : float
        The same prior as `hiermodels.priors.inverse_gamma_variance`.

    Raises
    ------
    ValueError
        For data that are empty or not finite, and numbers that are not positive.

    Examples
    --------
    >>> found = normal_inverse_gamma([9.2, 10.1, 8.7, 11.4, 10.6, 9.9], mean=8, ratio=1.5, shape=3, scale=2)
    >>> [round(float(q), 4) for q in found.theta.ppf([0.025, 0.975])], round(float(found.variance.median()), 4)
    ([9.0515, 10.6416], 0.9079)
    """
    values = outcomes("y", y, 1)
    check_positive(ratio=ratio, shape=shape, scale=scale)
    n, average, weight = len(values), float(np.mean(values)), ratio**-2.0
    count = n + weight
    square = float(np.sum((values - average) ** 2)) + n * (average - mean) ** 2 / (1 + n * ratio**2)
    new_shape, new_scale = shape + n / 2, scale + square / 2
    evidence = -0.5 * n * math.log(2 * math.pi) - 0.5 * math.log1p(n * ratio**2)
    evidence += math.lgamma(new_shape) - math.lgamma(shape) + shape * math.log(scale) - new_shape * math.log(new_scale)
    return NormalInverseGamma((n * average + mean * weight) / count, count, new_shape, new_scale, evidence)


# one mean, one rate, one probability
# ---------------------------------------------------------------------------------------


def common_effect(y: Numbers, se: Numbers, mean: float = 0.0, sd: float = math.inf) -> Any:
    """Posterior of one mean of estimates with known standard errors (complete pooling), under N(mean, sd^2) or a flat
    prior.

    Parameters
    ----------
    y, se : sequence of float, shape (obs,)
    mean, sd : float
        Of the normal prior; an infinite sd is flat.

    Returns
    -------
    frozen SciPy normal law

    Examples
    --------
    >>> from hiermodels.datasets import load_dataset
    >>> frame = load_dataset("eight_schools")
    >>> law = common_effect(frame["effect"], frame["se"])
    >>> round(float(law.mean()), 6), round(float(law.std()), 6)
    (7.685617, 4.071919)
    """
    values, errors = outcomes("y", y, 1), outcomes("se", se, 1)
    if errors.shape != values.shape or not (errors > 0).all():
        raise ValueError(
            f"se: expected a positive standard error for each of {len(values)} rows, found {se!r}; mend the data"
        )
    if not sd > 0:
        raise ValueError(f"sd: expected a positive number, found {sd!r}; use math.inf for a flat prior")
    weight, prior = errors**-2.0, 0.0 if math.isinf(sd) else sd**-2.0
    total = float(weight.sum()) + prior
    return scipy.stats.norm((float(weight @ values) + prior * mean) / total, total**-0.5)


@dataclass(frozen=True)
class CountLaw:
    """Posterior of one rate or probability, and what it predicts.

    Attributes
    ----------
    family : str
        ``poisson`` or ``binomial``.
    a, b : float
        Gamma(a, rate b), or Beta(a, b).
    log_evidence : float
        log p(y), normalised; NaN under an improper prior.
    """

    family: str
    a: float
    b: float
    log_evidence: float

    @property
    def rate(self) -> Any:
        """Law of the rate, or of the probability (frozen SciPy law)."""
        return lookup(self.family).population.frozen(self.a, self.b)

    def count(self, size: float) -> Any:
        """Law of a new count at an exposure (negative binomial) or out of some trials (beta-binomial); frozen SciPy
        law.
        """
        check_positive(size=size)
        return lookup(self.family).predictive(self.a, self.b, size)


def gamma_poisson(y: int, exposure: float, shape: float, rate: float) -> CountLaw:
    """Posterior of one rate: y ~ Poisson(exposure theta), theta ~ Gamma(shape, rate).

    theta | y ~ Gamma(shape + y, rate + exposure); a new count is negative binomial.

    Parameters
    ----------
    y : int
    exposure : float
    shape, rate : float
        Of the prior; ``gamma_poisson(y, x, 0.5, 0)`` is Jeffreys' rule.

    Examples
    --------
    >>> law = gamma_poisson(3, 2.0, 3, 5)
    >>> round(float(law.rate.mean()), 6), round(float(law.count(2.0).pmf(0)), 5)
    (0.857143, 0.22138)
    """
    count = _count("y", y)
    check_positive(exposure=exposure, shape=shape)
    if not 0 <= rate < math.inf:
        raise ValueError(f"rate: expected a number >= 0, found {rate!r}; mend it")
    evidence = math.nan
    if rate > 0:
        evidence = float(scipy.stats.nbinom(shape, rate / (rate + exposure)).logpmf(count))
    return CountLaw("poisson", shape + count, rate + exposure, evidence)


def beta_binomial(y: int, trials: int, a: float, b: float) -> CountLaw:
    """Posterior of one probability: y ~ Binomial(trials, theta), theta ~ Beta(a, b).

    theta | y ~ Beta(a + y, b + trials - y); a new count is beta-binomial.

    Examples
    --------
    >>> round(float(beta_binomial(49, 100, 70, 130).rate.mean()), 4)
    0.3967
    """
    count, size = _count("y", y), _count("trials", trials)
    check_positive(a=a, b=b)
    if count > size:
        raise ValueError(f"y: expected at most {size} successes, found {count}; check which number is the trials")
    return CountLaw("binomial", a + count, b + size - count, float(scipy.stats.betabinom(size, a, b).logpmf(count)))


def _count(name: str, value: Any) -> int:
    if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value >= 0 and value == int(value)):
        raise ValueError(f"{name}: expected a count (0, 1, 2, ...), found {value!r}; counts are whole and not negative")
    return int(value)
