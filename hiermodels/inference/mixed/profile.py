"""Profile intervals of group sds, correlations and sigma: the values whose best fit is not worse than a chi-square
quantile.

A point (phi, c) of the profile of a parameter c lies at the minimum of -2 log L + rho (c - s)^2 over everything, for
any s: where the minimum stands, c need not be s. One compiled program with s and the parameter as arguments gives the
whole profile, smooth where a variance is 0, since c is a variance, in units of its estimate. The ends are found by
bisection (Brent) in s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.mixed.eliminate import deviance
from hiermodels.inference.mixed.maximise import lowest
from hiermodels.inference.mixed.maximum import covariances
from hiermodels.inference.mixed.products import Products
from hiermodels.inference.mixed.shape import Shape

__all__ = ["profile_interval"]

_DOUBLINGS = 40
_STEPS = 300
"""Newton steps for one point: far out the valley of few groups is long and bent."""


def _quantities(shape: Shape, products: Products, place: Array) -> Array:
    """Variances of every effect, correlations (level by level), residual variance of a row of weight 1."""
    variance = _variance(shape, products, place)
    found = []
    for level, matrix in zip(shape.levels, covariances(shape, products, place[: shape.dim], variance), strict=True):
        square = jnp.diagonal(matrix)
        found += list(square)
        for block in (b for b in level.blocks if len(b) > 1):
            for j, a in enumerate(block):
                found += [matrix[a, b] / jnp.sqrt(jnp.maximum(square[a] * square[b], 1e-300)) for b in block[:j]]
    return jnp.stack([*found, variance * products.mean_weight])


def _variance(shape: Shape, products: Products, place: Array) -> Array:
    return 1 / products.mean_weight if shape.layout.known else jnp.exp(place[-1])


@lru_cache(maxsize=64)
def _program(shape: Shape, restricted: bool) -> Callable[..., tuple[Array, Array, Array, Array]]:
    def at(
        products: Products, place: Array, weights: Array, goal: Array, pull: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Place, quantity, deviance and convergence of one point of the profile."""

        def objective(p: Array) -> Array:
            value = deviance(shape, products, restricted, p[: shape.dim], _variance(shape, products, p))
            return value + pull * (weights @ _quantities(shape, products, p) - goal) ** 2

        found = lowest(objective, place[None], most=_STEPS)
        value = deviance(shape, products, restricted, found.place[: shape.dim], _variance(shape, products, found.place))
        return found.place, weights @ _quantities(shape, products, found.place), value, found.converged

    return jax.jit(at)


def profile_interval(
    shape: Shape, products: Products, restricted: bool, place: np.ndarray, which: int, least: float, critical: float
) -> tuple[float, float]:
    """Lower and upper end for one quantity, on its own scale (variances as variances).

    Parameters
    ----------
    shape, products
        Of a normal model and its data.
    restricted : bool
    place : ndarray
        Relative factors and log variance at the maximum.
    which : int
        Place among the variances and correlations, level by level, sigma's variance last.
    least : float
        Deviance at the maximum.
    critical : float
        Rise of the deviance at the ends.

    Returns
    -------
    lower, upper : float
        0 (-1) where a variance (correlation) as low fits well enough; infinity (1) where the profile stays low; NaN
        where an end was not found.
    """
    from scipy.optimize import brentq

    place = place[: shape.dim] if shape.layout.known else place
    sizes = np.asarray(_quantities(shape, products, jnp.asarray(place)))
    correlation = _is_correlation(shape)[which]
    scale = 1.0 if correlation else float(sizes[which]) or float(np.max(sizes))
    weights = np.zeros(len(sizes))
    weights[which] = 1 / scale
    centre = float(sizes[which] / scale)
    program = _program(shape, restricted)
    pull, best = 4.0 * critical, centre
    latest: dict[str, Any] = {"place": jnp.asarray(place)}

    def rise(goal: float) -> float:
        found, value, deviation, good = program(products, latest["place"], weights, goal, pull)
        if not bool(good) or not np.isfinite(float(deviation)):
            found, value, deviation, good = program(products, jnp.asarray(place) + 0.05, weights, goal, pull)
        latest["place"], latest["value"] = (found if bool(good) else jnp.asarray(place)), float(value)
        return float(deviation) - least - critical if bool(good) else np.nan

    def end(direction: int) -> float:
        latest["place"] = jnp.asarray(place)
        last, step = best, 0.25
        for _ in range(_DOUBLINGS):
            goal = last + direction * step
            over = rise(goal)
            if np.isnan(over):
                return np.nan
            if over > 0:
                root = brentq(rise, last, goal, xtol=1e-12, rtol=1e-12)
                rise(root)
                return latest["value"] * scale
            if direction < 0 and not correlation and latest["value"] < 1e-10:
                return 0.0
            if correlation and abs(latest["value"]) > 1 - 1e-7:
                return float(direction)
            last, step = goal, 2 * step
        return np.inf if direction > 0 else 0.0

    return end(-1), end(1)


def _is_correlation(shape: Shape) -> list[bool]:
    found = []
    for level in shape.levels:
        found += [False] * len(level.effects)
        found += [True] * sum(len(b) * (len(b) - 1) // 2 for b in level.blocks)
    return [*found, False]
