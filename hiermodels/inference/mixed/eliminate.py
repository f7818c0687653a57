"""Penalised least squares of a normal model by block elimination, and the likelihood profiled over coefficients and
sigma.

With u = Lambda v and v ~ N(0, s^2 I) the equations of (v, b) are

    [ Lambda' Z'WZ Lambda + I   Lambda' Z'WX ] [v]   [ Lambda' Z'Wy ]
    [ X'WZ Lambda               X'WX         ] [b] = [ X'Wy         ]

(Bates, Maechler, Bolker & Walker 2015, Journal of Statistical Software 67(1), section 3). Nested levels are eliminated
finest first, a small Cholesky factor a group; what is crossed with them, the coefficients and y stay in one dense
matrix, whose Cholesky factor gives the other determinants and the penalised residual sum of squares r^2.

    REML: -2 log L = (n - p) log(2 pi s^2) - sum log w + log|Lambda'Z'WZ Lambda + I| + log|X'V^-1X| + r^2 / s^2,  V =
    cov(y) / s^2
    ML:   -2 log L =  n      log(2 pi s^2) - sum log w + log|Lambda'Z'WZ Lambda + I|                + r^2 / s^2
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from hiermodels.inference.mixed.determinants import leading_log_determinants
from hiermodels.inference.mixed.products import Products
from hiermodels.inference.mixed.shape import Shape

__all__ = ["Eliminated", "deviance", "eliminate", "profiled", "residual_variance"]


class Eliminated(NamedTuple):
    """The factorised equations.

    Attributes
    ----------
    diagonal : list of Array, each (group, effect, effect)
        Cholesky factor of each level of the chain.
    right : list of list of Array
        Each level's right sides, L^-1 times: those of the coarser levels, the border's last.
    corner : Array
        Cholesky factor of the border's Schur complement.
    log_det : Array
        log|Lambda'Z'WZ Lambda + I|.
    log_det_x : Array
        log|X'V^-1X| with X as the user has it.
    residual : Array
        r^2.
    """

    diagonal: list[Array]
    right: list[list[Array]]
    corner: Array
    log_det: Array
    log_det_x: Array
    residual: Array


def small_cholesky(a: Array) -> Array:
    """Lower Cholesky factors of many small matrices, (group, q, q), unrolled over q."""
    q = a.shape[-1]
    low: dict[tuple[int, int], Array] = {}
    for j in range(q):
        pivot = a[:, j, j] - sum((low[j, k] ** 2 for k in range(j)), jnp.zeros(()))
        low[j, j] = jnp.sqrt(pivot)
        for i in range(j + 1, q):
            low[i, j] = (a[:, i, j] - sum((low[i, k] * low[j, k] for k in range(j)), jnp.zeros(()))) / low[j, j]
    zero = jnp.zeros_like(a[:, 0, 0])
    return jnp.stack([jnp.stack([low.get((i, j), zero) for j in range(q)], -1) for i in range(q)], -2)


def forward(low: Array, b: Array) -> Array:
    """L^-1 b for many small L, (group, q, q) and (group, q, column)."""
    found: list[Array] = []
    for i in range(low.shape[-1]):
        known = sum((low[:, i, k, None] * found[k] for k in range(i)), jnp.zeros(()))
        found.append((b[:, i] - known) / low[:, i, i, None])
    return jnp.stack(found, 1)


def backward(low: Array, b: Array) -> Array:
    """L^-T b for many small L."""
    q = low.shape[-1]
    found: dict[int, Array] = {}
    for i in reversed(range(q)):
        known = sum((low[:, k, i, None] * found[k] for k in range(i + 1, q)), jnp.zeros(()))
        found[i] = (b[:, i] - known) / low[:, i, i, None]
    return jnp.stack([found[i] for i in range(q)], 1)


def sum_up(shape: Shape, level: int, parent: Array, values: Array) -> Array:
    """Sums over the groups of a level that lie in each group of its parent."""
    here = shape.levels[level]
    size = shape.levels[here.parent].size
    if here.width is not None:
        return values.reshape(size, here.width, *values.shape[1:]).sum(1)
    return jnp.zeros((size, *values.shape[1:]), values.dtype).at[parent].add(values)


def _border_times(shape: Shape, factors: tuple[Array, ...], values: Array) -> Array:
    """Columns of the border times the factors of their levels."""
    parts = []
    for i in shape.rest:
        part = values[..., shape.border_slice(i)]
        q = factors[i].shape[0]
        parts.append((part.reshape(*part.shape[:-1], -1, q) @ factors[i]).reshape(part.shape))
    return jnp.concatenate([*parts, values[..., shape.rest_size :]], -1)


def eliminate(shape: Shape, products: Products, theta: Array) -> Eliminated:
    """Factorise the equations at relative factors theta."""
    factors = shape.factors(theta)
    chain = [factors[i] for i in shape.chain]
    own = [f.T @ a @ f for f, a in zip(chain, products.own, strict=True)]
    above = [
        [f.T @ a @ g for a, g in zip(row, chain[n + 1 :], strict=True)]
        for n, (f, row) in enumerate(zip(chain, products.above, strict=True))
    ]
    border = [_border_times(shape, factors, f.T @ b) for f, b in zip(chain, products.border, strict=True)]
    corner = _border_times(shape, factors, products.corner)
    corner = _border_times(shape, factors, corner.T).T
    inner = shape.rest_size
    corner = corner + jnp.diag((jnp.arange(corner.shape[0]) < inner).astype(corner.dtype))

    diagonal, right, log_det = [], [], jnp.zeros((), theta.dtype)
    for n in range(len(shape.chain)):
        low = small_cholesky(own[n] + jnp.eye(own[n].shape[-1], dtype=theta.dtype))
        log_det = log_det + 2 * jnp.sum(jnp.log(jnp.diagonal(low, axis1=-2, axis2=-1)))
        sides = [forward(low, b) for b in (*above[n], border[n])]
        diagonal.append(low)
        right.append(sides)
        for a, j in enumerate(range(n + 1, len(shape.chain))):
            finer = sides[a]

            def lifted(other: Array, finer: Array = finer, j: int = j, n: int = n) -> Array:
                found = jnp.einsum("gqi,gqj->gij", finer, other)
                for k in range(n, j):
                    found = sum_up(shape, shape.chain[k], products.parent[k], found)
                return found

            own[j] = own[j] - lifted(finer)
            above[j] = [old - lifted(sides[a + 1 + m]) for m, old in enumerate(above[j])]
            border[j] = border[j] - lifted(sides[-1])
        flat = sides[-1].reshape(-1, corner.shape[0])
        corner = corner - flat.T @ flat
    of_rest, of_both, of_all = leading_log_determinants(corner, (inner, inner + shape.coefficients, len(corner)))
    of_basis = 2 * jnp.sum(jnp.log(jnp.abs(jnp.diagonal(products.triangle))))
    low = jnp.linalg.cholesky(corner)
    return Eliminated(diagonal, right, low, log_det + of_rest, of_both - of_rest + of_basis, jnp.exp(of_all - of_both))


def freedom(shape: Shape, products: Products, restricted: bool) -> Array:
    """n - p, or n for maximum likelihood."""
    return products.rows - shape.coefficients if restricted else products.rows


def deviance(shape: Shape, products: Products, restricted: bool, theta: Array, variance: Array) -> Array:
    """-2 log likelihood at relative factors and residual variance (of a row of mean weight), coefficients profiled
    out.
    """
    at = eliminate(shape, products, theta)
    return _deviance(shape, products, restricted, at, variance)


def _deviance(shape: Shape, products: Products, restricted: bool, at: Eliminated, variance: Array) -> Array:
    free = freedom(shape, products, restricted)
    found = free * jnp.log(2 * jnp.pi * variance) - products.log_weight + at.log_det + at.residual / variance
    return found + at.log_det_x if restricted else found


def residual_variance(shape: Shape, products: Products, restricted: bool, residual: Array) -> Array:
    """The variance of a row of mean weight: known, or r^2 / (n - p), r^2 / n."""
    if shape.layout.known:
        return 1 / products.mean_weight
    return residual / freedom(shape, products, restricted)


def profiled(shape: Shape, products: Products, restricted: bool, theta: Array) -> Array:
    """-2 log likelihood with coefficients and residual variance profiled out."""
    at = eliminate(shape, products, theta)
    return _deviance(shape, products, restricted, at, residual_variance(shape, products, restricted, at.residual))
