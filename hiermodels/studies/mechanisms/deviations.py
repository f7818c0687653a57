"""Mechanisms beyond the fitted model: each deviation a small pure function.

A config asks for them under ``mechanisms``, and its grid may vary them (``deviation.effects: [normal, student_t(3)]``):

    deviation:
      effects: student_t(3)          # law of the group effects
      errors: outliers(0.05, 5)      # law of the errors
      heteroscedastic: 0.5           # error variances differ between groups
      overdispersion: 0.1            # counts vary more than their family says
      dependence: clustered(4, 0.5)  # group effects are not independent
      missing: 0.2                   # groups without data
      sizes: informative(1)          # groups with larger effects have more data

Truths keep their meaning. Laws of effects and errors have mean 0 and variance 1 before they are scaled, so that
``sd_school`` is the sd of the group effects and ``sigma`` (or a known standard error) that of the errors, whatever the
law; dependent effects keep their marginal variance; error variances differ around the given one; overdispersion leaves
means alone; missing and informative groups keep their true values, only their data go. Where there are several
groupings a mapping says which is meant (``missing: {school: 0.2}``); a single law of effects is that of all of them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr

from hiermodels import variates

__all__ = [
    "clustered",
    "correlated",
    "heteroscedastic",
    "informative",
    "logit_normal",
    "lognormal",
    "missing",
    "mixture",
    "outliers",
    "overdispersed_binomial",
    "overdispersed_poisson",
    "skewed",
    "student_t",
]

_NODES = 64


# laws with mean 0 and variance 1
# ----------------------------------------------------------------------------------------


def student_t(key: Array, shape: tuple[int, ...], df: float) -> Array:
    """Student's t with ``df`` > 2 degrees of freedom, divided by its sd sqrt(df / (df - 2)).

    Examples
    --------
    >>> student_t(jax.random.key(1), (3,), 4.0).shape
    (3,)
    """
    return jax.random.t(key, df, shape) * jnp.sqrt((df - 2) / df)


def skewed(key: Array, shape: tuple[int, ...], skewness: float) -> Array:
    """A gamma law of this skewness (its mirror image for a negative one): (G - a) / sqrt(a), G ~ Gamma(a), a = 4 /
    skewness^2.
    """
    a = 4 / skewness**2
    return jnp.sign(skewness) * (variates.gamma(key, jnp.full(shape, a, jnp.result_type(float))) - a) / jnp.sqrt(a)


def outliers(key: Array, shape: tuple[int, ...], share: float, times: float) -> Array:
    """A normal law of which ``share`` has an sd ``times`` as large, divided by the sd of the whole."""
    which, noise = jax.random.split(key)
    wide = jax.random.uniform(which, shape) < share
    return jnp.where(wide, times, 1.0) * jax.random.normal(noise, shape) / jnp.sqrt(1 - share + share * times**2)


def mixture(key: Array, shape: tuple[int, ...], distance: float) -> Array:
    """Two equally large normal clusters whose centres lie ``distance`` of their sds apart, divided by the sd of the
    whole.
    """
    which, noise = jax.random.split(key)
    side = jnp.where(jax.random.bernoulli(which, 0.5, shape), 0.5, -0.5) * distance
    return (side + jax.random.normal(noise, shape)) / jnp.sqrt(1 + distance**2 / 4)


# populations of rates with the mean and variance of the beta or gamma law
# ------------------------------------------------


def logit_normal(key: Array, shape: tuple[int, ...], mean: Array, concentration: Array) -> Array:
    """Probabilities whose logit is normal, with the mean and variance of Beta(mean kappa, (1 - mean) kappa).

    The normal's two parameters solve the two moment equations by Newton's method on Gauss-Hermite nodes.
    """
    nodes, weights = (jnp.asarray(a) for a in np.polynomial.hermite_e.hermegauss(_NODES))
    weights = weights / jnp.sum(weights)
    variance = mean * (1 - mean) / (concentration + 1)
    wanted = jnp.stack([jnp.asarray(mean), variance])

    def moments(u: Array) -> Array:
        rate = jax.nn.sigmoid(u[0] + jnp.exp(u[1]) * nodes)
        first = jnp.sum(weights * rate)
        return jnp.stack([first, jnp.sum(weights * (rate - first) ** 2)])

    def step(_: int, u: Array) -> Array:
        move = jnp.linalg.solve(jax.jacfwd(moments)(u), wanted - moments(u))
        return u + jnp.clip(move, -1.0, 1.0)

    start = jnp.stack([jnp.log(mean) - jnp.log1p(-mean), 0.5 * jnp.log(variance) - jnp.log(mean * (1 - mean))])
    u = jax.lax.fori_loop(0, 40, step, start)
    return jax.nn.sigmoid(u[0] + jnp.exp(u[1]) * jax.random.normal(key, shape))


def lognormal(key: Array, shape: tuple[int, ...], mean: Array, concentration: Array) -> Array:
    """Lognormal rates with the mean and variance of Gamma(a, a / mean): variance of the logarithm log(1 + 1 / a)."""
    spread = jnp.log1p(1 / concentration)
    return mean * jnp.exp(-spread / 2 + jnp.sqrt(spread) * jax.random.normal(key, shape))


# dependence, spread, sizes
# ----------------------------------------------------------------------------------------------


def clustered(key: Array, z: Array, real: Array, clusters: float, share: float) -> Array:
    """Groups in hidden clusters that share part of their effects' variance.

    Neighbours in the order of the groups form ``clusters`` clusters of (nearly) equal size; effects within one have the
    correlation ``share``, others are independent. The last axis of ``z`` is the group, ``real`` marks groups that are
    not padding.
    """
    place = jnp.cumsum(real) - 1
    cluster = jnp.minimum((place * int(clusters)) // jnp.maximum(jnp.sum(real), 1), int(clusters) - 1)
    common = jax.random.normal(key, (*z.shape[:-1], int(clusters)))[..., jnp.maximum(cluster, 0)]
    return jnp.sqrt(share) * common + jnp.sqrt(1 - share) * z


def correlated(key: Array, z: Array, real: Array, correlation: float) -> Array:
    """Groups whose effects all have the same correlation with one another: one cluster."""
    return clustered(key, z, real, 1, correlation)


def heteroscedastic(key: Array, groups: int, variation: float) -> Array:
    """Factors of the groups' error variances: gamma with mean 1 and this coefficient of variation.

    Under known standard errors the reported ones stay as they are: they are then wrong group by group, and right on
    average.
    """
    a = variation**-2
    return variates.gamma(key, jnp.full(groups, a, jnp.result_type(float))) / a


def overdispersed_binomial(key: Array, trials: Array, rate: Array, correlation: float) -> Array:
    """Beta-binomial counts: trials of a row have this correlation; Var = n p (1 - p) (1 + (n - 1) correlation)."""
    rate_key, count_key = jax.random.split(key)
    total = (1 - correlation) / correlation
    drawn = variates.beta(rate_key, rate * total, (1 - rate) * total)
    return jax.random.binomial(count_key, jnp.where(trials > 0, trials, 1.0), drawn)


def overdispersed_poisson(key: Array, mean: Array, dispersion: float) -> Array:
    """Negative binomial counts: Var = mean + dispersion mean^2."""
    factor_key, count_key = jax.random.split(key)
    factor = variates.gamma(factor_key, jnp.full(mean.shape, 1 / dispersion, mean.dtype)) * dispersion
    return jax.random.poisson(count_key, mean * factor).astype(mean.dtype)


def missing(key: Array, real: Array, share: float) -> Array:
    """Groups without data: round(share x groups) of them, any set of that many equally likely; True where missing."""
    order = jnp.argsort(jnp.argsort(jnp.where(real, jax.random.uniform(key, real.shape), jnp.inf)))
    return real & (order < jnp.round(share * jnp.sum(real)))


def informative(theta: Array, real: Array, strength: float) -> Array:
    """Share of its data that each group keeps: Phi(strength z), z its true value standardised among the dataset's
    groups.

    A negative strength leaves larger effects less data. With one row a group and a known standard error the precision
    is multiplied by the share; trials (at least 1) and exposures are; of several rows the first ones stay (at least 1).
    """
    count = jnp.sum(real)
    centred = jnp.where(real, theta - jnp.sum(jnp.where(real, theta, 0.0)) / count, 0.0)
    sd = jnp.sqrt(jnp.sum(centred**2) / count)
    return ndtr(strength * jnp.where(sd > 0, centred / jnp.where(sd > 0, sd, 1.0), 0.0))
