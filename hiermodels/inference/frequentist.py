"""Frequentist rivals of the hierarchical posterior, in closed form or a few steps.

| function | data | estimates |
|---|---|---|
| `dersimonian_laird`, `paule_mandel`, `reml`, `ml` | groups with known variances | sd between groups; mean with a normal interval; prediction |
| `hksj`, `hksj_modified` | the same | the same mean with Student's t and a rescaled standard error |
| `cluster_t` | clusters with a treatment | treatment effect by a t-test on cluster means |
| `satterthwaite` | the same | treatment effect of the linear mixed model by REML, approximate degrees of freedom |

The menu is this module's ``__all__``; `cluster_summaries` prepares the data of the last two. Calls, precision and
groups without data are as in `hiermodels.inference.estimators`.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.estimators import _one_of
from hiermodels.inference.heterogeneity import HETEROGENEITY, highest, odds, weighted_at
from hiermodels.inference.point_estimates import PointEstimates, on_arrays

__all__ = ["dersimonian_laird", "paule_mandel", "reml", "ml", "hksj", "hksj_modified", "cluster_t", "satterthwaite"]

Heterogeneity = Literal["dersimonian_laird", "paule_mandel", "reml", "ml"]


def _population(y: Array, variance: Array, heterogeneity: str, rescale: str = "") -> PointEstimates:
    """Mean, sd and prediction at an estimate of the variance between groups."""
    between = HETEROGENEITY[_one_of("heterogeneity", heterogeneity)](y, variance)
    at = weighted_at(y, variance, between)
    square, df = 1 / at.total, jnp.full_like(at.total, jnp.inf)
    if rescale:
        factor = at.q / (at.groups - 1)
        square, df = square * (jnp.maximum(factor, 1.0) if rescale == "modified" else factor), at.groups - 1
    return PointEstimates(
        mean=at.mean,
        mean_se=jnp.sqrt(square),
        mean_df=df,
        sd=jnp.sqrt(between),
        new_se=jnp.sqrt(between + square),
        new_df=at.groups - 2,
    )


@on_arrays
def dersimonian_laird(y: Array, variance: Array) -> PointEstimates:
    """Random-effects mean with the moment estimator of the variance between groups.

    mu = sum w y / sum w, se = (sum w)^(-1/2), w = 1 / (V + T), with a normal interval; T as in
    `hiermodels.inference.heterogeneity.dersimonian_laird_variance`. The prediction interval of a new group is mu -+
    t_{k-2} sqrt(T + se^2) (Higgins, Thompson & Spiegelhalter 2009, Journal of the Royal Statistical Society A 172,
    137-159, eq. 12). DerSimonian & Laird (1986), Controlled Clinical Trials 7, 177-188.

    Parameters
    ----------
    y : Array, shape (group,)
        Estimates, one a group.
    variance : Array, shape (group,) or ()
        Of y, known.

    Returns
    -------
    PointEstimates
        mean, sd, and ``interval("new")`` for a group not in the data.

    Examples
    --------
    >>> found = dersimonian_laird([28, 8, -3, 7, -1, 1, 18, 12], [225, 100, 256, 121, 81, 121, 100, 324])
    >>> round(float(found.mean), 4), float(found.sd)
    (7.6856, 0.0)
    """
    return _population(y, variance, "dersimonian_laird")


@on_arrays
def paule_mandel(y: Array, variance: Array) -> PointEstimates:
    """Random-effects mean as `dersimonian_laird`, with the variance between groups of Paule and Mandel (1982).

    Parameters
    ----------
    y, variance : Array
        As in `dersimonian_laird`.

    Returns
    -------
    PointEstimates

    Examples
    --------
    >>> round(float(paule_mandel([0.0, 4.0], 1.0).sd) ** 2, 9)  # S^2 - V
    7.0
    """
    return _population(y, variance, "paule_mandel")


@on_arrays
def reml(y: Array, variance: Array) -> PointEstimates:
    """Random-effects mean as `dersimonian_laird`, with the variance between groups of restricted maximum likelihood.

    As a method of a study on a normal outcome: REML of any normal model, as `hiermodels.estimate`.

    Parameters
    ----------
    y, variance : Array
        As in `dersimonian_laird`.

    Returns
    -------
    PointEstimates

    Examples
    --------
    >>> round(float(reml([0.0, 4.0], 1.0).sd) ** 2, 9)
    7.0
    """
    return _population(y, variance, "reml")


@on_arrays
def ml(y: Array, variance: Array) -> PointEstimates:
    """Random-effects mean as `dersimonian_laird`, with the variance between groups of maximum likelihood.

    As a method of a study on a normal outcome: maximum likelihood of any normal model, as `hiermodels.estimate`.

    Parameters
    ----------
    y, variance : Array
        As in `dersimonian_laird`.

    Returns
    -------
    PointEstimates

    Examples
    --------
    >>> round(float(ml([0.0, 4.0], 1.0).sd) ** 2, 9)  # the mean square about the mean, less V
    3.0
    """
    return _population(y, variance, "ml")


@on_arrays
def hksj(y: Array, variance: Array, *, heterogeneity: Heterogeneity = "reml") -> PointEstimates:
    """Hartung-Knapp-Sidik-Jonkman: the mean's standard error rescaled, its interval from Student's t with k - 1 degrees
    of freedom.

    se^2 = q / sum w,  q = sum w (y - mu)^2 / (k - 1). The prediction interval is mu -+ t_{k-2} sqrt(T + se^2) (Partlett
    & Riley 2017, Statistics in Medicine 36, 301-317). Hartung & Knapp (2001), Statistics in Medicine 20, 3875-3889;
    Sidik & Jonkman (2002), same journal 21, 3153-3159.

    Parameters
    ----------
    y, variance : Array
        As in `dersimonian_laird`.
    heterogeneity : str
        Estimator of the variance between groups: ``dersimonian_laird``, ``paule_mandel``, ``reml`` or ``ml``.

    Returns
    -------
    PointEstimates

    Examples
    --------
    >>> found = hksj([28, 8, -3, 7, -1, 1, 18, 12], [225, 100, 256, 121, 81, 121, 100, 324])
    >>> round(float(found.mean_se), 4), float(found.mean_df)
    (3.3391, 7.0)
    """
    return _population(y, variance, heterogeneity, "plain")


@on_arrays
def hksj_modified(y: Array, variance: Array, *, heterogeneity: Heterogeneity = "reml") -> PointEstimates:
    """`hksj` whose factor q is at least 1, so that the interval is never shorter than with the unscaled standard error.

    Röver, Knapp & Friede (2015), BMC Medical Research Methodology 15:99.

    Parameters
    ----------
    y, variance, heterogeneity
        As in `hksj`.

    Returns
    -------
    PointEstimates

    Examples
    --------
    >>> found = hksj_modified([28, 8, -3, 7, -1, 1, 18, 12], [225, 100, 256, 121, 81, 121, 100, 324])
    >>> round(float(found.mean_se), 4)
    4.0719
    """
    return _population(y, variance, heterogeneity, "modified")


def cluster_summaries(y: Sequence[float], cluster: Sequence[Any], treated: Sequence[float]) -> dict[str, np.ndarray]:
    """What `cluster_t` and `satterthwaite` take, from one row an outcome.

    Parameters
    ----------
    y, cluster, treated : sequence
        Outcome, label of the cluster, and the cluster's predictor, of equal length.

    Returns
    -------
    dict
        ``mean, size, within, treated``, an entry a cluster in order of first appearance; ``within`` is the sum of
        squares within the cluster.

    Raises
    ------
    ValueError
        For a predictor that varies within a cluster.

    Examples
    --------
    >>> found = cluster_summaries([1, 3, 5, 9], ["a", "a", "b", "b"], [0, 0, 1, 1])
    >>> found["mean"].tolist(), found["within"].tolist()
    ([2.0, 7.0], [2.0, 8.0])
    """
    import pandas as pd

    code, labels = pd.factorize(np.asarray(cluster))
    outcome, predictor = np.asarray(y, float), np.asarray(treated, float)
    size = np.bincount(code).astype(float)
    mean = np.bincount(code, outcome) / size
    value = np.bincount(code, predictor) / size
    if np.abs(predictor - value[code]).max() > 1e-9 * (1 + np.abs(value).max()):
        i = int(np.argmax(np.abs(predictor - value[code])))
        raise ValueError(
            f"treated: expected one value a cluster, found several in {str(labels[code[i]])!r}; give a cluster-level "
            f"predictor"
        )
    return {"mean": mean, "size": size, "within": np.bincount(code, (outcome - mean[code]) ** 2), "treated": value}


@on_arrays
def cluster_t(mean: Array, size: Array, treated: Array, *, equal_variances: bool = True) -> PointEstimates:
    """Two-sample t-test on the unweighted cluster means.

    effect = mbar_1 - mbar_0 with K - 2 degrees of freedom and the pooled variance of the cluster means, or (with
    ``equal_variances=False``) Welch's. Exact for normal data and equal cluster sizes, whatever the variances between
    and within. Hayes & Moulton (2017), Cluster Randomised Trials, section 10.3.

    Parameters
    ----------
    mean : Array, shape (cluster,)
        Mean outcome.
    size : Array, shape (cluster,)
        Outcomes; 0 leaves a cluster out.
    treated : Array, shape (cluster,)
        Predictor with two values, e.g. 0 and 1; the effect is that of one unit of it.
    equal_variances : bool

    Returns
    -------
    PointEstimates
        effect, and mean: the value at predictor 0. NaN where an arm has no cluster.

    Examples
    --------
    >>> found = cluster_t([1.0, 2.0, 4.0, 7.0], [5, 5, 5, 5], [0, 0, 1, 1])
    >>> float(found.effect), round(float(found.effect_se), 4), float(found.effect_df)
    (4.0, 1.5811, 2.0)
    """
    there = size > 0
    low = jnp.min(jnp.where(there, treated, jnp.inf))
    high = jnp.max(jnp.where(there, treated, -jnp.inf))
    arms = [there & (treated <= (low + high) / 2), there & (treated > (low + high) / 2)]
    count = jnp.stack([jnp.sum(a) for a in arms]).astype(mean.dtype)
    centre = jnp.stack([jnp.sum(jnp.where(a, mean, 0.0)) for a in arms]) / count
    squares = jnp.stack([jnp.sum(jnp.where(a, (mean - c) ** 2, 0.0)) for a, c in zip(arms, centre, strict=True)])
    if equal_variances:
        variance = jnp.sum(squares) / (jnp.sum(count) - 2) / count
    else:
        variance = squares / (count - 1) / count

    def along(contrast: Array) -> tuple[Array, Array, Array]:
        parts = contrast**2 * variance
        df = jnp.sum(count) - 2 if equal_variances else jnp.sum(parts) ** 2 / jnp.sum(parts**2 / (count - 1))
        return contrast @ centre, jnp.sqrt(jnp.sum(parts)), df

    effect = along(jnp.stack([-1.0, 1.0]) / (high - low))
    at_zero = along(jnp.stack([high, -low]) / (high - low))
    return PointEstimates(
        effect=effect[0],
        effect_se=effect[1],
        effect_df=effect[2],
        mean=at_zero[0],
        mean_se=at_zero[1],
        mean_df=at_zero[2],
    )


@on_arrays
def satterthwaite(mean: Array, size: Array, within: Array, treated: Array) -> PointEstimates:
    """Linear mixed model of a two-level cluster-randomised design by REML, with Satterthwaite's degrees of freedom.

    y_ij = b0 + b1 x_j + u_j + e_ij,  u_j ~ N(0, T),  e_ij ~ N(0, s2). The restricted likelihood is maximised over the
    ratio T / s2 (s2 has a closed form given it); b follows by generalised least squares with covariance C = (X' V^-1
    X)^-1, and for each coefficient

    df = 2 C_bb^2 / (g' A g),

    g the gradient of C_bb in (s2, T), A the inverse of the observed information. Where the estimate of T is 0 only s2
    varies, and df = N - 2. Satterthwaite (1946), Biometrics Bulletin 2, 110-114; Giesbrecht & Burns (1985), Biometrics
    41, 477-486. With equal cluster sizes and T > 0 the effect's interval is that of `cluster_t`.

    Parameters
    ----------
    mean, size, treated : Array, shape (cluster,)
        As in `cluster_t`; the predictor may have any values.
    within : Array, shape (cluster,)
        Sum of squares of the outcomes about their cluster's mean.

    Returns
    -------
    PointEstimates
        effect, mean (the value at predictor 0), sd (between clusters), sigma (within).

    Examples
    --------
    >>> found = satterthwaite([1.0, 2.0, 4.0, 7.0], [5, 5, 5, 5], [2.0, 2.0, 2.0, 2.0], [0, 0, 1, 1])
    >>> round(float(found.effect), 4), round(float(found.effect_se), 4), round(float(found.effect_df), 4)
    (4.0, 1.5811, 2.0)
    """
    there = size > 0
    x = jnp.stack([jnp.ones_like(mean), treated], -1)
    y = jnp.where(there, mean, 0.0)
    rows = jnp.sum(size)
    inside = jnp.sum(jnp.where(there, within, 0.0))

    def normal_equations(precision: Array) -> tuple[Array, Array, Array]:
        """Information matrix, coefficients and residual sum of squares for weights of the cluster means."""
        information = (x * precision[:, None]).T @ x
        b = jnp.linalg.solve(information, x.T @ (precision * y))
        return information, b, jnp.sum(precision * (y - x @ b) ** 2)

    def precision_at(s2: Array, between: Array) -> Array:
        return size / (s2 + size * between)

    def minus_twice(s2: Array, between: Array) -> Array:
        """-2 log restricted likelihood, up to a constant."""
        information, _, residual = normal_equations(precision_at(s2, between))
        clusters = jnp.sum(there)
        logs = jnp.sum(jnp.where(there, jnp.log(s2 + size * between), 0.0)) + (rows - clusters) * jnp.log(s2)
        return logs + jnp.linalg.slogdet(information)[1] + inside / s2 + residual

    def residual_variance(ratio: Array) -> Array:
        return (inside + normal_equations(precision_at(jnp.ones_like(ratio), ratio))[2]) / (rows - 2)

    scale = jnp.sum(there) / rows

    def profile(u: Array) -> Array:
        ratio = scale * odds(u)
        s2 = residual_variance(ratio)
        return -0.5 * minus_twice(s2, s2 * ratio)

    u = highest(profile)
    ratio = scale * odds(u)
    s2 = residual_variance(ratio)
    between = s2 * ratio
    variances = jnp.stack([s2, between])
    _, b, _ = normal_equations(precision_at(s2, between))

    def covariance(v: Array) -> Array:
        return jnp.diag(jnp.linalg.inv(normal_equations(precision_at(v[0], v[1]))[0]))

    c, gradient = covariance(variances), jax.jacfwd(covariance)(variances)
    information = 0.5 * jax.hessian(lambda v: minus_twice(v[0], v[1]))(variances)
    at_edge = between <= 0
    only_s2 = gradient[:, 0] ** 2 / information[0, 0]
    both = jnp.sum(gradient * jnp.linalg.solve(information, gradient.T).T, -1)
    df = 2 * c**2 / jnp.where(at_edge, only_s2, both)
    return PointEstimates(
        effect=b[1], effect_se=jnp.sqrt(c[1]), effect_df=df[1], mean=b[0], mean_se=jnp.sqrt(c[0]), mean_df=df[0],
        sd=jnp.sqrt(between), sigma=jnp.sqrt(s2),
    )  # fmt: skip
