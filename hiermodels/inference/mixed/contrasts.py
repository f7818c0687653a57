"""Tests of linear hypotheses L b = 0 about the coefficients, with Satterthwaite's degrees of freedom, or none.

For one contrast, v = l C l' with C = (X'V^-1X)^-1, g the gradient of v in the variance parameters and A their
covariance,

    df = 2 v^2 / (g' A g)

(Giesbrecht & Burns 1985, Biometrics 41, 477-486). Several at once: with L C L' = P diag(d) P' the rows of P'L are
independent contrasts of t_m^2 = (P'L b)_m^2 / d_m with df_m each, F = sum t_m^2 / q, and the denominator's degrees of
freedom match the mean of F to that of its parts: E = sum df_m / (df_m - 2) over df_m > 2, 2 E / (E - q) (Fai &
Cornelius 1996, Journal of Statistical Computation and Simulation 54, 363-378; Kuznetsova, Brockhoff & Christensen 2017,
Journal of Statistical Software 82(13)).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import betainc, gammaincc

from hiermodels.inference.mixed.maximum import Maximum

__all__ = ["FTest", "contrast_df", "f_tail", "joint_test"]


class FTest(NamedTuple):
    """An F statistic, its degrees of freedom (the denominator's infinite for chi-square) and the probability of a
    larger one.
    """

    statistic: Array
    numerator: Array
    denominator: Array
    p_value: Array


def f_tail(statistic: Array | np.ndarray, numerator: Array | float, denominator: Array | float) -> Array:
    """P(F > statistic); chi-square over its degrees of freedom where the denominator's are infinite.

    Examples
    --------
    >>> round(float(f_tail(jnp.asarray(4.0), 2.0, 10.0)), 6), round(float(f_tail(jnp.asarray(3.841459), 1.0, jnp.inf)), 6)
    (0.052922, 0.05)
    """  # noqa: E501
    a, b = jnp.asarray(numerator, float), jnp.asarray(denominator, float)
    finite = jnp.where(jnp.isinf(b), 1.0, b)
    return jnp.where(
        jnp.isinf(b), gammaincc(a / 2, a * statistic / 2), betainc(finite / 2, a / 2, finite / (finite + a * statistic))
    )


def contrast_df(found: Maximum, rows: Array | np.ndarray, approximate: bool) -> Array:
    """Satterthwaite's degrees of freedom of each row's contrast; infinite where variances are not estimated from
    residuals.

    Parameters
    ----------
    found : Maximum
    rows : Array, shape (contrast, p)
    approximate : bool
        Whether to approximate them; else they are infinite.
    """
    variance = jnp.einsum("ki,ij,kj->k", rows, found.covariance, rows)
    if not approximate:
        return jnp.where(jnp.isnan(variance), jnp.nan, jnp.inf)
    gradient = jnp.einsum("ki,mij,kj->km", rows, found.slopes, rows)
    return 2 * variance**2 / jnp.einsum("km,mn,kn->k", gradient, found.inverse, gradient)


def joint_test(found: Maximum, rows: Array | np.ndarray, approximate: bool) -> FTest:
    """The F test of L b = 0, L of full row rank.

    Parameters
    ----------
    found : Maximum
    rows : Array, shape (contrast, p)
        L.
    approximate : bool
        Satterthwaite's degrees of freedom, else infinite (Wald).
    """
    count = rows.shape[0]
    middle = rows @ found.covariance @ rows.T
    safe = jnp.where(jnp.isnan(middle), jnp.eye(count), middle)
    values, vectors = jnp.linalg.eigh((safe + safe.T) / 2)
    turned = vectors.T @ rows
    squares = (turned @ found.coefficients) ** 2 / values
    statistic = jnp.sum(squares) / count
    df = contrast_df(found, turned, approximate)
    if count == 1 or not approximate:
        denominator = df[0]
    else:
        above = df > 2
        total = jnp.sum(jnp.where(above, df / jnp.where(above, df - 2, 1.0), 0.0))
        matched = 2 * total / (total - count)
        equal = jnp.max(df) - jnp.min(df) < 1e-8
        denominator = jnp.where(equal, jnp.mean(df), jnp.where(jnp.all(above), matched, 2.0))
    denominator = jnp.where(jnp.any(jnp.isnan(df)), jnp.nan, denominator)
    return FTest(statistic, jnp.asarray(float(count)), denominator, f_tail(statistic, float(count), denominator))
