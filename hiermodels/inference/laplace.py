"""The Laplace fit: a normal approximation at the mode, the start of `hiermodels.inference.nuts`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

if TYPE_CHECKING:
    from jax import Array

__all__ = ["Laplace", "laplace"]


class Laplace(NamedTuple):
    """A normal approximation: ``mode`` (dim,), ``covariance`` (dim, dim), and whether the mode was found."""

    mode: Array
    covariance: Array
    ok: Array


def laplace(
    log_density: Callable[[Array], Array], start: Array, *, steps: int = 30, largest_sd: float = 3.0
) -> Laplace:
    r"""Fit a normal distribution at the mode by a damped Newton method that always comes back with something.

    With :math:`-\nabla^2 \log p = V \mathrm{diag}(w) V^T`, a step is :math:`V \mathrm{diag}(1/(|w|+\lambda))
    V^T \nabla \log p`, cut to length 3; :math:`\lambda` falls when the density rises, else it grows.
    The covariance is :math:`V \mathrm{diag}(1/|w|) V^T` with no sd above ``largest_sd``: a variance component
    at zero makes the log density flat in that direction, not the covariance infinite.

    Parameters
    ----------
    log_density : callable
        ``(dim,) -> ()``, twice differentiable.
    start : Array, shape (dim,)
        Where to begin; a finite log density is enough.
    steps : int
        At most this many evaluations.
    largest_sd : float
        Bound of the standard deviation in any direction.

    Returns
    -------
    Laplace
        ``ok`` is False where the gradient at the mode, in units of the covariance, is not below 0.01: the
        mode is then the best point met, or ``start`` with a unit covariance if that is not finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> fit = laplace(lambda x: -0.5 * jnp.sum((x - 1.0) ** 2 / 0.25), jnp.zeros(1))
    >>> [round(float(v), 3) for v in (fit.mode[0], fit.covariance[0, 0])]
    [1.0, 0.25]
    """
    dim = start.shape[0]

    def both(q: Array) -> tuple[Array, tuple[Array, Array]]:
        value, gradient = jax.value_and_grad(log_density)(q)
        return gradient, (value, gradient)

    def downhill(state: _Newton) -> Array:
        return (state.evaluations < steps) & ~((state.decrement < 1e-12) & (state.damping < 1e-6))

    def step(s: _Newton) -> _Newton:
        hessian, (value, gradient) = jax.jacfwd(both, has_aux=True)(s.proposal)
        fine = jnp.isfinite(value) & jnp.isfinite(gradient).all() & jnp.isfinite(hessian).all()
        better = fine & (value >= s.value)
        q, value = jnp.where(better, s.proposal, s.q), jnp.where(better, value, s.value)
        gradient, hessian = jnp.where(better, gradient, s.gradient), jnp.where(better, hessian, s.hessian)
        damping = jnp.where(better, 0.1 * s.damping, jnp.maximum(10.0 * s.damping, 0.1))
        curvature, vectors = _curvature(hessian, largest_sd)
        slope = vectors.T @ gradient
        move = vectors @ (slope / (curvature * (1.0 + damping)))
        move = move * jnp.minimum(1.0, 3.0 / (jnp.linalg.norm(move) + 1e-30))
        return _Newton(q, value, gradient, hessian, q + move, damping, jnp.sum(slope**2 / curvature), s.evaluations + 1)

    zero = jnp.zeros((), start.dtype)
    begin = _Newton(
        start,
        zero - jnp.inf,
        jnp.zeros_like(start),
        -jnp.eye(dim, dtype=start.dtype),
        start,
        zero,
        zero + jnp.inf,
        jnp.int32(0),
    )
    end = lax.while_loop(downhill, step, begin)
    curvature, vectors = _curvature(end.hessian, largest_sd)
    return Laplace(end.q, (vectors / curvature) @ vectors.T, (end.decrement < 1e-4) & (end.value > -jnp.inf))


class _Newton(NamedTuple):
    q: Array
    value: Array
    gradient: Array
    hessian: Array
    proposal: Array
    damping: Array
    decrement: Array
    evaluations: Array


def _curvature(hessian: Array, largest_sd: float) -> tuple[Array, Array]:
    """Eigenvalues of minus the Hessian, made positive, and eigenvectors."""
    values, vectors = jnp.linalg.eigh(-hessian)
    return jnp.maximum(jnp.abs(values), largest_sd**-2), vectors
