"""Variance between groups whose own variances are known, in a few steps and without a prior.

    y_j ~ N(theta_j, V_j),  theta_j ~ N(mu, T),  weights w_j(T) = 1 / (V_j + T),  mu(T) = sum w_j y_j / sum w_j

Groups without data have infinite variance and count as absent. `HETEROGENEITY` is the menu.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from hiermodels.inference.point_estimates import masked

__all__ = [
    "HETEROGENEITY",
    "Weighted",
    "dersimonian_laird_variance",
    "highest",
    "ml_variance",
    "odds",
    "paule_mandel_variance",
    "reml_variance",
    "weighted_at",
]

_HALVINGS = 80
_GRID = 33
_LAST = 1 - 1e-6


class Weighted(NamedTuple):
    """Weights at a variance between groups, and what they give.

    Attributes
    ----------
    weight : Array, shape (group,)
        1 / (V_j + T); 0 for groups without data.
    total, mean : Array
        Sum of the weights, weighted mean.
    q : Array
        sum w_j (y_j - mean)^2.
    groups : Array
        Groups with data.
    """

    weight: Array
    total: Array
    mean: Array
    q: Array
    groups: Array


def weighted_at(y: Array, variance: Array, between: Array | float = 0.0) -> Weighted:
    """Inverse-variance weights at a variance between groups.

    Examples
    --------
    >>> at = weighted_at(jnp.array([28.0, 8, -3, 7, -1, 1, 18, 12]), jnp.array([15.0, 10, 16, 11, 9, 11, 10, 18]) ** 2)
    >>> print(f"{at.mean:.3f} {at.total ** -0.5:.3f} {at.q:.3f}")
    7.686 4.072 4.707
    """
    y, precision, count = masked(y, variance)
    weight = jnp.where(precision > 0, precision / (1 + between * precision), 0.0)
    total = jnp.sum(weight)
    mean = jnp.sum(weight * y) / total
    return Weighted(weight, total, mean, jnp.sum(weight * (y - mean) ** 2), count)


def dersimonian_laird_variance(y: Array, variance: Array) -> Array:
    """Moment estimator of the variance between groups, 0 where it would be negative.

    T = (Q - (k - 1)) / (sum w - sum w^2 / sum w) at w = 1 / V. DerSimonian & Laird (1986), Controlled Clinical Trials
    7, 177-188, eq. 8. With equal variances it is S^2 - V, S^2 the sample variance of y.
    """
    at = weighted_at(y, variance)
    excess = at.q - (at.groups - 1)
    return jnp.maximum(excess, 0.0) / (at.total - jnp.sum(at.weight**2) / at.total)


def paule_mandel_variance(y: Array, variance: Array) -> Array:
    """The variance between groups at which Q(T) = sum w_j(T) (y_j - mu(T))^2 equals k - 1; 0 where Q(0) is below that.

    Q falls in T, and Q(T) <= sum (y - ybar)^2 / T, so that the answer lies below the sample variance of y: it is found
    by bisection. Paule & Mandel (1982), Journal of Research of the National Bureau of Standards 87, 377-385; equal to
    the empirical Bayes estimator of Morris (1983).
    """
    ordinary, _, count = _spread(y, variance)
    top = ordinary / (count - 1)

    def narrower(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        low = weighted_at(y, variance, middle).q > count - 1
        return jnp.where(low, middle, ends[0]), jnp.where(low, ends[1], middle)

    ends = lax.fori_loop(0, _HALVINGS, narrower, (jnp.zeros_like(top), top))
    return jnp.where(
        weighted_at(y, variance).q > count - 1, (ends[0] + ends[1]) / 2, jnp.where(jnp.isnan(top), jnp.nan, 0.0)
    )


def reml_variance(y: Array, variance: Array) -> Array:
    """The variance between groups of the highest restricted likelihood.

    log L(T) = -(1/2) [sum log(V_j + T) + log sum w_j + Q(T)]. The highest of a grid is bracketed and improved by
    bisection of the slope, so that a second, lower peak misleads nobody. Viechtbauer (2005), Journal of Educational and
    Behavioral Statistics 30, 261-293.
    """
    return _likeliest(y, variance, 1.0)


def ml_variance(y: Array, variance: Array) -> Array:
    """The variance between groups of the highest likelihood: as `reml_variance`, without log sum w_j."""
    return _likeliest(y, variance, 0.0)


def _likeliest(y: Array, variance: Array, restricted: float) -> Array:
    ordinary, scale, _ = _spread(y, variance)
    scale = ordinary + scale
    there = jnp.isfinite(variance)

    def log_likelihood(u: Array) -> Array:
        between = scale * odds(u)
        at = weighted_at(y, variance, between)
        logs = jnp.sum(jnp.where(there, jnp.log(jnp.where(there, variance, 1.0) + between), 0.0))
        return -0.5 * (logs + restricted * jnp.log(at.total) + at.q)

    u = highest(log_likelihood)
    return scale * odds(u)


HETEROGENEITY: dict[str, Callable[[Array, Array], Array]] = {
    "dersimonian_laird": dersimonian_laird_variance,
    "paule_mandel": paule_mandel_variance,
    "reml": reml_variance,
    "ml": ml_variance,
}
"""Names of the estimators of the variance between groups."""


def _spread(y: Array, variance: Array) -> tuple[Array, Array, Array]:
    """sum (y - ybar)^2, mean variance and number of the groups with data."""
    y, precision, count = masked(y, variance)
    there = precision > 0
    mean = jnp.sum(y) / count
    return jnp.sum(jnp.where(there, (y - mean) ** 2, 0.0)), jnp.sum(jnp.where(there, variance, 0.0)) / count, count


def odds(u: Array) -> Array:
    """From [0, 1) to the positive half line, u / (1 - u)^2: linear at 0, and far out at the last place that `highest`
    tries.
    """
    return u / (1 - u) ** 2


def highest(objective: Callable[[Array], Array]) -> Array:
    """Place in [0, 1) where a smooth function is highest; exactly 0 where it falls from there.

    The best of a grid, then bisection of the sign of the slope between its neighbours.
    """
    grid = (jnp.arange(_GRID) / _GRID) ** 2.0
    best = jnp.argmax(jax.vmap(objective)(grid))
    low = grid[jnp.maximum(best - 1, 0)]
    high = jnp.where(best == _GRID - 1, _LAST, grid[jnp.minimum(best + 1, _GRID - 1)])
    slope = jax.grad(objective)

    def narrower(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        up = slope(middle) > 0
        return jnp.where(up, middle, ends[0]), jnp.where(up, ends[1], middle)

    ends = lax.fori_loop(0, _HALVINGS, narrower, (low, high))
    found = (ends[0] + ends[1]) / 2
    at_edge = (best == 0) & ~(slope(jnp.zeros_like(found)) > 0)
    return jnp.where(at_edge, 0.0, jnp.where(jnp.isnan(objective(found)), jnp.nan, found))
