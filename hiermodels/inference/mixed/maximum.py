"""REML and ML estimates of one dataset of a normal model, compiled and mapped over datasets."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from hiermodels.inference.mixed.eliminate import Eliminated, eliminate, freedom, profiled, residual_variance
from hiermodels.inference.mixed.maximise import lowest
from hiermodels.inference.mixed.products import Products
from hiermodels.inference.mixed.shape import Shape

__all__ = ["SINGULAR", "Maximum", "at_maximum", "covariances", "pseudo_inverse"]

SINGULAR = 1e-4
"""Relative factor below which a fit is singular, as in lme4."""
_ZERO = 1e-6
"""Relative factor below which it is 0: the deviance is even in it, so that it differs by less than the rounding."""
_DENSE = 200
"""Effects in the border from which fewer starts are tried."""


class Maximum(eqx.Module):
    """The maximum of the (restricted) likelihood.

    Attributes
    ----------
    theta : Array, shape (parameter,)
        Relative factors, in the units of the cross products.
    variance : Array
        Residual variance of a row of mean weight.
    residual : Array
        Penalised residual sum of squares r^2, rows at their relative weights.
    deviance : Array
        -2 log likelihood; of REML its criterion.
    coefficients : Array, shape (p,)
    covariance : Array, shape (p, p)
        Of the coefficients, (X'V^-1X)^-1.
    slopes : Array, shape (parameter + 1, p, p)
        Derivatives of the covariance in (theta, log variance).
    inverse : Array, shape (parameter + 1, parameter + 1)
        Covariance of (theta, log variance): twice the inverse Hessian of the deviance, flat directions left out.
    sigma : Array
        Residual sd of a row of weight 1 (1 where variances are known).
    sds : tuple of Array, each (effect,)
        Of each level's effects, in the user's units.
    correlations : tuple of Array, each (effect, effect)
    sd_slopes, correlation_slopes : tuple of Array
        Derivatives of these in (theta, log variance), last axis.
    converged, singular : Array of bool
    """

    theta: Array
    variance: Array
    residual: Array
    deviance: Array
    coefficients: Array
    covariance: Array
    slopes: Array
    inverse: Array
    sigma: Array
    sds: tuple[Array, ...]
    correlations: tuple[Array, ...]
    sd_slopes: tuple[Array, ...]
    correlation_slopes: tuple[Array, ...]
    converged: Array
    singular: Array


def starts_of(shape: Shape) -> Array:
    """Relative factors from which the search may start: all groups alike, from nearly equal to far apart."""
    exponents = jnp.linspace(-1, 1, 3) if shape.rest_size > _DENSE else jnp.linspace(-2.0, 2.0, 13)
    unit = jnp.array([float(a == b) for _, a, b in shape.entries])
    return 10.0 ** exponents[:, None] * unit


def covariances(shape: Shape, products: Products, theta: Array, variance: Array) -> tuple[Array, ...]:
    """Covariance of each level's effects in the user's units."""
    half = [k @ f for k, f in zip(products.change, shape.factors(theta), strict=True)]
    return tuple(variance * h @ h.T for h in half)


def _sds(matrix: Array) -> Array:
    square = jnp.diagonal(matrix)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def _correlation(matrix: Array) -> Array:
    sd = _sds(matrix)
    scale = jnp.outer(sd, sd)
    return jnp.where(scale > 0, matrix / jnp.where(scale > 0, scale, 1.0), jnp.nan)


def _relative_covariance(shape: Shape, products: Products, at: Eliminated) -> Array:
    """(X'V^-1X)^-1 in the user's columns, relative to the residual variance."""
    inner, p = shape.rest_size, shape.coefficients
    if not p:
        return jnp.zeros((0, 0))
    corner = at.corner[inner : inner + p, inner : inner + p]
    half = solve_triangular(products.triangle, solve_triangular(corner, jnp.eye(p), lower=True).T)
    return half @ half.T


def _coefficients(shape: Shape, products: Products, at: Eliminated) -> Array:
    """Generalised least squares."""
    inner, p = shape.rest_size, shape.coefficients
    if not p:
        return jnp.zeros(0)
    b = solve_triangular(
        at.corner[inner : inner + p, inner : inner + p], at.corner[-1, inner : inner + p], lower=True, trans=1
    )
    return products.base + solve_triangular(products.triangle, b)


def pseudo_inverse(matrix: Array) -> Array:
    """Inverse over the directions that curve up; the others are left out."""
    scale = 1 / jnp.sqrt(jnp.maximum(jnp.diagonal(matrix), 1e-30))
    scaled = matrix * jnp.outer(scale, scale)
    values, vectors = jnp.linalg.eigh((scaled + scaled.T) / 2)
    kept = values > 1e-8 * jnp.max(values)
    inverse = (vectors * jnp.where(kept, 1 / jnp.where(kept, values, 1.0), 0.0)) @ vectors.T
    return inverse * jnp.outer(scale, scale)


def at_maximum(shape: Shape, restricted: bool, products: Products) -> Maximum:
    """The maximum, from the cross products."""
    found = lowest(lambda t: profiled(shape, products, restricted, t), starts_of(shape))
    place = found.place
    on_diagonal = jnp.array([a == b for _, a, b in shape.entries], bool)
    if shape.dim:
        sign = shape.signs(place)
        place = jnp.where(on_diagonal & (jnp.abs(place) < _ZERO), 0.0, sign * place)
        curvature = jnp.outer(sign, sign) * found.hessian
    else:
        curvature = found.hessian

    def solved(theta: Array) -> tuple[Any, Any]:
        at = eliminate(shape, products, theta)
        c = _relative_covariance(shape, products, at)
        return (at.residual, c), (at, c)

    (residual_slope, c_slope), (at, relative) = jax.jacfwd(solved, has_aux=True)(place)
    variance = residual_variance(shape, products, restricted, at.residual)
    inverse = _inverse(shape, freedom(shape, products, restricted), curvature, at.residual, residual_slope)
    joint = jnp.append(place, jnp.log(variance))

    def spreads(p: Array) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        matrices = covariances(shape, products, p[:-1], jnp.exp(p[-1]))
        return tuple(map(_sds, matrices)), tuple(map(_correlation, matrices))

    sds, correlations = spreads(joint)
    sd_slopes, correlation_slopes = jax.jacfwd(spreads)(joint)
    sigma = jnp.ones_like(variance) if shape.layout.known else jnp.sqrt(variance * products.mean_weight)
    good = found.converged & (at.residual > 0) & (freedom(shape, products, restricted) > 0)
    slopes = jnp.concatenate([jnp.moveaxis(c_slope, -1, 0), relative[None]]) * variance

    def kept(a: Array) -> Array:
        return jnp.where(good, a, jnp.nan)

    return Maximum(
        theta=kept(place),
        variance=kept(variance),
        residual=kept(at.residual),
        deviance=kept(found.value),
        coefficients=kept(_coefficients(shape, products, at)),
        covariance=kept(variance * relative),
        slopes=kept(slopes),
        inverse=kept(inverse),
        sigma=kept(sigma),
        sds=jax.tree.map(kept, sds),
        correlations=jax.tree.map(kept, correlations),
        sd_slopes=jax.tree.map(kept, sd_slopes),
        correlation_slopes=jax.tree.map(kept, correlation_slopes),
        converged=good,
        singular=good & jnp.any(on_diagonal & (place < SINGULAR)),
    )


def _inverse(shape: Shape, free: Array, curvature: Array, residual: Array, slope: Array) -> Array:
    """Covariance of (theta, log variance), from the Hessian of the profiled deviance.

    -2 log L = f(theta) + k log v + r^2(theta) / v has at v = r^2 / k the second derivatives H + k g g' / r^4, -k g /
    r^2 and k, with H the Hessian of the profiled deviance and g the gradient of r^2.
    """
    m = shape.dim
    if shape.layout.known:
        return jnp.zeros((m + 1, m + 1)).at[:m, :m].set(2 * pseudo_inverse(curvature)) if m else jnp.zeros((1, 1))
    g = slope / residual
    upper = jnp.concatenate([curvature + free * jnp.outer(g, g), -free * g[:, None]], 1)
    lower = jnp.append(-free * g, free)[None]
    return 2 * pseudo_inverse(jnp.concatenate([upper, lower], 0))
