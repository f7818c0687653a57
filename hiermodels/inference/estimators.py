"""Estimators beside the posterior: shrinkage and its two extremes, in closed form.

k groups with estimates y_j of known variance V_j (at least roughly normal); ``B_j`` is how far the estimate of group j
is pulled from y_j to the centre. The menu is this module's ``__all__``.

| function | estimate of theta_j | standard error |
|---|---|---|
| `separate` | y_j (the MLE) | sqrt(V_j) |
| `pooled` | ybar | sqrt(sum V) / k |
| `weighted` | sum (y / V) / sum (1 / V) | (sum 1 / V)^(-1/2) |
| `james_stein` | centre + (1 - B)+ (y_j - centre), B = (k - 3) / Q | none |
| `arcsine_james_stein` | the same on the arcsine scale of a proportion | none |
| `morris` | Morris's parametric empirical Bayes | his |
| `naive_eb` | posterior mean with the population's mean and variance plugged in | plugged in: too short |
| `constrained_eb` | centre + sqrt(1 - B_j) (y_j - centre): the estimates vary as the thetas do | none |
| `compromise` | w y_j + (1 - w) weighted mean | none |

Every function is pure JAX for one dataset; given lists or NumPy arrays it checks them, computes in double precision and
returns NumPy arrays. A group without data has infinite variance: it counts nowhere, and its estimate is the centre
where the method has a population, else NaN. The average over all groups, ``mean(theta_<group>)`` of a study, has the
centre in such a group's place, as posteriors under partial pooling have their prediction; `separate`, which has none,
is missing there, as no pooling is. In a study: ``methods: {js: {estimator: james_stein}}``.
"""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp
from jax import Array

from hiermodels.inference.heterogeneity import HETEROGENEITY, paule_mandel_variance, weighted_at
from hiermodels.inference.point_estimates import PointEstimates, masked, on_arrays

__all__ = [
    "separate",
    "pooled",
    "weighted",
    "james_stein",
    "arcsine_james_stein",
    "morris",
    "naive_eb",
    "constrained_eb",
    "compromise",
]

Heterogeneity = Literal["dersimonian_laird", "paule_mandel", "reml"]


@on_arrays
def separate(y: Array, variance: Array) -> PointEstimates:
    """Each group by itself: the maximum-likelihood estimate y_j with standard error sqrt(V_j).

    Parameters
    ----------
    y : Array, shape (group,)
    variance : Array, shape (group,) or ()
        Of y, known.

    Returns
    -------
    PointEstimates
        theta, its shrinkage of 0, and the standard error of its average, sqrt(sum V) / k.

    Examples
    --------
    >>> separate([28, 8, -3], 100).theta_se.tolist()
    [10.0, 10.0, 10.0]
    """
    shown, precision, count = masked(y, variance)
    there = precision > 0
    nothing = jnp.where(there, 0.0, jnp.nan)
    error = jnp.sqrt(jnp.sum(jnp.where(there, variance, 0.0))) / count
    return PointEstimates(shown + nothing, jnp.sqrt(variance) + nothing, nothing, average_se=error)


@on_arrays
def pooled(y: Array, variance: Array) -> PointEstimates:
    """One value for all groups: their unweighted mean ybar, with standard error sqrt(sum V) / k if they are indeed
    equal.

    Parameters
    ----------
    y, variance : Array
        As in `separate`.

    Returns
    -------
    PointEstimates
        theta (all equal), mean.

    Examples
    --------
    >>> float(pooled([28, 8, -3], 100).mean)
    11.0
    """
    y, precision, count = masked(y, variance)
    error = jnp.sqrt(jnp.sum(jnp.where(precision > 0, variance, 0.0))) / count
    return _all_equal(jnp.sum(y) / count, error, y)


@on_arrays
def weighted(y: Array, variance: Array) -> PointEstimates:
    """One value for all groups: their precision-weighted mean, sum (y / V) / sum (1 / V), se (sum 1 / V)^(-1/2).

    The maximum-likelihood estimate under complete pooling.

    Parameters
    ----------
    y, variance : Array
        As in `separate`.

    Returns
    -------
    PointEstimates
        theta (all equal), mean.

    Examples
    --------
    >>> found = weighted([28, 8, -3, 7, -1, 1, 18, 12], [225, 100, 256, 121, 81, 121, 100, 324])
    >>> round(float(found.mean), 6), round(float(found.mean_se), 6)
    (7.685617, 4.071919)
    """
    at = weighted_at(y, variance)
    return _all_equal(at.mean, at.total**-0.5, y)


def _all_equal(mean: Array, error: Array, y: Array) -> PointEstimates:
    same = jnp.ones_like(y)
    return PointEstimates(mean * same, error * same, same, average_se=error, mean=mean, mean_se=error)


@on_arrays
def james_stein(y: Array, variance: Array) -> PointEstimates:
    """James-Stein estimator that shrinks to the mean, positive part.

    theta_j = c + (1 - B) (y_j - c),  B = min(1, (k - 3) / Q),  Q = sum (y_j - c)^2 / V_j,

    with c the precision-weighted mean: ybar for equal variances, where B = (k - 3) V / sum (y - ybar)^2. With unequal
    variances this is the same estimator of y_j / sqrt(V_j), shrunk to the line of equal thetas: it has a smaller risk
    than y for squared errors divided by V_j, whatever the thetas (k >= 4). With k <= 3 nothing is shrunk.

    Efron & Morris (1975), Journal of the American Statistical Association 70, 311-319, eq. 2.7 (with the estimated
    mean); James & Stein (1961), Proceedings of the Fourth Berkeley Symposium 1, 361-379.

    Parameters
    ----------
    y, variance : Array
        As in `separate`.

    Returns
    -------
    PointEstimates
        theta, shrinkage B (one number, repeated), mean c. It has no standard errors.

    Examples
    --------
    >>> import numpy as np
    >>> import hiermodels as hm
    >>> hits = hm.load_dataset("baseball")["hits"].to_numpy()
    >>> x = np.sqrt(45) * np.arcsin(2 * hits / 45 - 1)  # unit variance
    >>> round(float(james_stein(x, 1.0).shrinkage[0]), 6)
    0.791026
    """
    at = weighted_at(y, variance)
    shrinkage = jnp.where(at.q > 0, jnp.clip((at.groups - 3) / jnp.where(at.q > 0, at.q, 1.0), 0.0, 1.0), 1.0)
    nothing = jnp.where(at.weight > 0, 0.0, jnp.nan)
    theta = at.mean + (1 - shrinkage) * (y - at.mean)
    return PointEstimates(
        jnp.where(at.weight > 0, theta, jnp.nan), shrinkage=shrinkage + nothing, centre=at.mean, mean=at.mean
    )


@on_arrays
def arcsine_james_stein(successes: Array, trials: Array) -> PointEstimates:
    """`james_stein` for proportions, on the scale where their variance is nearly constant.

    x_j = arcsin(2 s_j / n_j - 1) has variance close to 1 / n_j; its James-Stein estimate e_j goes back as
    p_j = (1 + sin e_j) / 2. Efron & Morris (1975), section 3 (their X is sqrt(n) x, which shrinks the same).

    Parameters
    ----------
    successes, trials : Array, shape (group,)
        Counts; ``trials`` may be one number.

    Returns
    -------
    PointEstimates
        theta and mean as probabilities, shrinkage B.

    Examples
    --------
    >>> import hiermodels as hm
    >>> batters = hm.load_dataset("baseball")
    >>> arcsine_james_stein(batters["hits"], batters["at_bats"]).theta[:2].round(3).tolist()
    [0.29, 0.286]
    """
    there = trials > 0
    share = jnp.where(there, successes / jnp.where(there, trials, 1.0), 0.5)
    angle = jnp.arcsin(2 * share - 1)
    found = james_stein(angle, jnp.where(there, 1 / jnp.where(there, trials, 1.0), jnp.inf))
    centre = (1 + jnp.sin(found.mean)) / 2
    return PointEstimates((1 + jnp.sin(found.theta)) / 2, shrinkage=found.shrinkage, centre=centre, mean=centre)


@on_arrays
def morris(y: Array, variance: Array) -> PointEstimates:
    """Morris's parametric empirical Bayes estimator, with intervals that allow for the estimated population.

    theta_j = mu + (1 - B_j) (y_j - mu),  B_j = ((k - 3) / (k - 1)) V_j / (V_j + T),

    mu the mean weighted with w_j = 1 / (V_j + T), and T, cut at 0, such that sum w_j (y_j - mu)^2 = k - 1. For equal
    variances T = max(0, S^2 - V) and B = ((k - 3) / (k - 1)) V / max(V, S^2), S^2 the sample variance of y. With v_j =
    (2 / (k - 3)) B_j^2 (Vbar + T) / (V_j + T), Vbar = sum w V / sum w,

    se_j^2 = V_j [1 - (1 - w_j / sum w) B_j] + v_j (y_j - mu)^2.

    Morris (1983), Journal of the American Statistical Association 78, 47-55, section 5 (equal variances: section 1).
    With k <= 3 nothing is shrunk.

    Parameters
    ----------
    y, variance : Array
        As in `separate`.

    Returns
    -------
    PointEstimates
        theta with standard errors for normal intervals, shrinkage B_j, mean mu with (sum w)^(-1/2), sd sqrt(T).

    Examples
    --------
    >>> import hiermodels as hm
    >>> batters = hm.load_dataset("baseball")
    >>> found = morris(batters["hits"] / 45, 0.066**2)
    >>> round(float(((found.theta - batters["rem_avg"].round(3)) ** 2).sum()), 4)  # against the published averages
    0.0213
    """
    between = paule_mandel_variance(y, variance)
    at = weighted_at(y, variance, between)
    there, more = at.weight > 0, at.groups > 3
    centred = jnp.where(there, y, at.mean) - at.mean
    full = jnp.where(there, jnp.where(there, variance, 1.0) * at.weight, 1.0)
    shrinkage = jnp.where(more, (at.groups - 3) / (at.groups - 1), 0.0) * full
    within = jnp.where(there, variance, 0.0)
    average = jnp.sum(at.weight * within) / at.total
    spread = (
        jnp.where(more, 2 / jnp.where(more, at.groups - 3, 1.0), 0.0) * shrinkage**2 * (average + between) * at.weight
    )
    own = within * (1 - (1 - at.weight / at.total) * shrinkage) + spread * centred**2
    error = jnp.sqrt(jnp.where(there, own, between + 1 / at.total))
    theta = at.mean + (1 - shrinkage) * centred
    return PointEstimates(theta, error, shrinkage, mean=at.mean, mean_se=at.total**-0.5, sd=jnp.sqrt(between))


@on_arrays
def naive_eb(y: Array, variance: Array, *, heterogeneity: Heterogeneity = "dersimonian_laird") -> PointEstimates:
    """Empirical Bayes with the population's mean and variance plugged in as if they were known.

    theta_j = mu + (1 - B_j) (y_j - mu),  B_j = V_j / (V_j + T),  se_j = sqrt(V_j (1 - B_j)),

    T an estimate of the variance between groups, mu the mean weighted with 1 / (V_j + T). For equal variances and the
    default, B = min(1, V / S^2). The intervals leave out that mu and T are estimated, and have no width where T = 0:
    they cover too rarely, which is what "naive" says (Morris 1983, section 1).

    Parameters
    ----------
    y, variance : Array
        As in `separate`.
    heterogeneity : str
        Estimator of T: ``dersimonian_laird``, ``paule_mandel`` or ``reml``.

    Returns
    -------
    PointEstimates
        theta with plugged-in standard errors, shrinkage B_j, mean with (sum w)^(-1/2), sd sqrt(T).

    Examples
    --------
    >>> found = naive_eb([28, 8, -3, 7, -1, 1, 18, 12], [225, 100, 256, 121, 81, 121, 100, 324])
    >>> float(found.sd), round(float(found.theta[0]), 4)  # the estimate of T is 0: complete pooling
    (0.0, 7.6856)
    """
    found, shrinkage, centred = _plugged_in(y, variance, heterogeneity)
    error = jnp.sqrt(found.sd**2 * shrinkage)
    theta = found.mean + (1 - shrinkage) * centred
    return PointEstimates(theta, error, shrinkage, mean=found.mean, mean_se=found.mean_se, sd=found.sd)


@on_arrays
def constrained_eb(y: Array, variance: Array, *, heterogeneity: Heterogeneity = "dersimonian_laird") -> PointEstimates:
    """Empirical Bayes whose estimates vary between groups as much as the thetas do.

    theta_j = mu + sqrt(1 - B_j) (y_j - mu) with mu and B_j of `naive_eb`: given mu and T, theta_j has the variance T
    over datasets, where posterior means have only (1 - B_j) T. Meant for the histogram and the ranks of the thetas; its
    error of a single theta is larger. Louis (1984), Journal of the American Statistical Association 79, 393-398; Ghosh
    (1992), same journal 87, 533-540 (for equal variances theirs is this, up to the finite number of groups).

    Parameters
    ----------
    y, variance, heterogeneity
        As in `naive_eb`.

    Returns
    -------
    PointEstimates
        theta, shrinkage 1 - sqrt(1 - B_j), mean, sd. It has no standard errors of theta.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.array([-3.0, -1.0, 1.0, 3.0])  # S^2 = 20/3
    >>> found = constrained_eb(y, 1.0)
    >>> round(float(found.theta.var(ddof=1)), 6), round(float(found.sd) ** 2, 6)
    (5.666667, 5.666667)
    """
    found, shrinkage, centred = _plugged_in(y, variance, heterogeneity)
    kept = jnp.sqrt(1 - shrinkage)
    return PointEstimates(
        found.mean + kept * centred, shrinkage=1 - kept, mean=found.mean, mean_se=found.mean_se, sd=found.sd
    )


def _plugged_in(y: Array, variance: Array, heterogeneity: str) -> tuple[PointEstimates, Array, Array]:
    """The population, B_j and y_j - mu; B_j is 1 for a group without data."""
    between = HETEROGENEITY[_one_of("heterogeneity", heterogeneity)](y, variance)
    at = weighted_at(y, variance, between)
    there = at.weight > 0
    shrinkage = jnp.minimum(
        jnp.where(there, jnp.where(there, variance, 1.0) * at.weight, 1.0), 1.0
    )  # 1 by rounding may be more
    centred = jnp.where(there, y - at.mean, 0.0)
    return PointEstimates(mean=at.mean, mean_se=at.total**-0.5, sd=jnp.sqrt(between)), shrinkage, centred


def _one_of(name: str, word: str) -> str:
    if word not in HETEROGENEITY:
        raise ValueError(f"{name}: expected one of {', '.join(HETEROGENEITY)}, found {word!r}; choose one")
    return word


@on_arrays
def compromise(y: Array, variance: Array, *, weight: float = 0.5) -> PointEstimates:
    """A weighted mean of `separate` and `weighted` with a weight fixed beforehand: w y_j + (1 - w) sum (y / V) / sum (1
    / V).

    Parameters
    ----------
    y, variance : Array
        As in `separate`.
    weight : float
        w, from 0 (the pooled mean) to 1 (the group's own).

    Returns
    -------
    PointEstimates
        theta, shrinkage 1 - w. It has no standard errors.

    Examples
    --------
    >>> compromise([0, 2, 4], 1.0, weight=0.5).theta.tolist()
    [1.0, 2.0, 3.0]
    """
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ValueError(f"weight: expected a number from 0 (pooled) to 1 (separate), found {weight!r}; e.g. 0.5")
    at = weighted_at(y, variance)
    nothing = jnp.where(at.weight > 0, 0.0, jnp.nan)
    theta = weight * y + (1 - weight) * at.mean
    return PointEstimates(jnp.where(at.weight > 0, theta, jnp.nan), shrinkage=1 - weight + nothing, centre=at.mean)
