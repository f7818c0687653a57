"""Log determinants of a positive definite matrix's leading blocks, with derivatives by products of matrices alone.

d log|A| = tr(A^-1 dA) and d A^-1 = -A^-1 dA A^-1: derivatives of any order are products, which many datasets side by
side share well, where those of a Cholesky factor solve a triangular system for each dataset and direction.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = ["leading_log_determinants"]

_SMALL = 64
"""Rows up to which the inverse is made by Gauss-Jordan steps, that datasets take together."""


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def leading_log_determinants(a: Array, sizes: tuple[int, ...]) -> Array:
    """log|A[:k, :k]| for each k.

    Examples
    --------
    >>> [round(float(x), 4) for x in leading_log_determinants(jnp.diag(jnp.array([2.0, 3.0])), (0, 1, 2))]
    [0.0, 0.6931, 1.7918]
    """
    logs = jnp.append(0.0, jnp.cumsum(2 * jnp.log(jnp.diagonal(jnp.linalg.cholesky(a)))))
    return logs[jnp.array(sizes)]


@leading_log_determinants.defjvp
def _(sizes: tuple[int, ...], primals: Any, tangents: Any) -> tuple[Array, Array]:
    (a,), (change,) = primals, tangents
    slopes = [jnp.sum(inverse(a[:k, :k]) * change[:k, :k]) if k else jnp.zeros((), a.dtype) for k in sizes]
    return leading_log_determinants(a, sizes), jnp.stack(slopes)


@jax.custom_jvp
def inverse(a: Array) -> Array:
    """A^-1 of a positive definite matrix."""
    if a.shape[0] > _SMALL:
        return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(a), True), jnp.eye(a.shape[0], dtype=a.dtype))
    place = jnp.arange(a.shape[0])

    def sweep(j: Array, b: Array) -> Array:
        here = place == j
        row = jnp.where(here, 1.0, b[j]) / b[j, j]
        rest = jnp.where(here[None, :], 0.0, b) - jnp.where(here, 0.0, b[:, j])[:, None] * row
        return jnp.where(here[:, None], row, rest)

    return lax.fori_loop(0, a.shape[0], sweep, a)


@inverse.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    found = inverse(primals[0])
    return found, -found @ tangents[0] @ found
