"""The lowest point of a smooth, even function of a few relative factors: a damped Newton method with exact second
derivatives.

-2 log likelihood depends on the relative factors through Lambda Lambda' alone: a column's sign changes nothing, so that
a diagonal entry of 0 is a stationary point and not an edge. Newton steps are taken along the absolute eigenvalues of
the Hessian: they leave a 0 at which the function falls to both sides, and stay at a 0 that is a minimum. No bounds are
needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

__all__ = ["Lowest", "lowest"]

_STEPS = 60
_FLAT = 1e-9
"""Eigenvalues of the Hessian below this share of the largest are taken for it."""
_DECREMENT = 1e-16
"""Fall that one more Newton step promises, relative to the function's size, at which the search ends."""
_ENOUGH = 1e-9
"""The same where the search has ended, by steps or by rounding, for its end to count as a minimum."""
_LARGEST = 1e7
"""Relative factors beyond which the function has no minimum."""


class Lowest(NamedTuple):
    """Where a search ended.

    Attributes
    ----------
    place : Array, shape (parameter,)
    value : Array
    hessian : Array, shape (parameter, parameter)
    converged : Array of bool
        The gradient vanishes, no direction curves down.
    steps : Array of int
    """

    place: Array
    value: Array
    hessian: Array
    converged: Array
    steps: Array


class _State(NamedTuple):
    place: Array
    value: Array
    gradient: Array
    hessian: Array
    damping: Array
    done: Array
    steps: Array


Derivatives = Callable[[Array], tuple[Array, Array, Array]]
"""Value, gradient and Hessian at a place."""


def differences(objective: Callable[[Array], Array], step: float = 1e-3) -> Derivatives:
    """Derivatives by central differences, for functions whose automatic derivative is another function's."""

    def at(place: Array) -> tuple[Array, Array, Array]:
        m = place.shape[0]
        first, second = jnp.triu_indices(m, 1)
        single, both = step * jnp.eye(m), step * (jnp.eye(m)[first] + jnp.eye(m)[second])
        moves = jnp.concatenate([jnp.zeros((1, m)), single, -single, both, -both])
        values = jax.vmap(objective)(place + moves)
        up, down = values[1 : m + 1], values[m + 1 : 2 * m + 1]
        pair = values[2 * m + 1 : 2 * m + 1 + len(first)] + values[2 * m + 1 + len(first) :]
        curved = (up + down - 2 * values[0]) / step**2
        mixed = ((pair - 2 * values[0]) / step**2 - curved[first] - curved[second]) / 2
        hessian = jnp.diag(curved).at[first, second].set(mixed).at[second, first].set(mixed)
        return values[0], (up - down) / (2 * step), hessian

    return at


def lowest(
    objective: Callable[[Array], Array], starts: Array, given: Derivatives | None = None, most: int = _STEPS
) -> Lowest:
    """The minimum that is reached from the best of several starts.

    Parameters
    ----------
    objective : callable
        Smooth function of a vector.
    starts : Array, shape (start, parameter)
    given : callable, optional
        Its derivatives; automatic ones by default.
    most : int
        Steps after which the search ends.

    Examples
    --------
    >>> found = lowest(lambda t: (t[0] ** 2 - 4) ** 2 + (t[1] - t[0]) ** 2, jnp.array([[0.1, 0.0], [5.0, 5.0]]))
    >>> bool(found.converged), [round(float(abs(t)), 4) for t in found.place]
    (True, [2.0, 2.0])
    """
    at_starts = lax.map(objective, starts)
    first = starts[jnp.argmin(jnp.where(jnp.isnan(at_starts), jnp.inf, at_starts))]
    if starts.shape[1] == 0:
        return Lowest(first, at_starts[0], jnp.zeros((0, 0)), jnp.isfinite(at_starts[0]), jnp.zeros((), jnp.int32))

    def automatic(place: Array) -> tuple[Array, Array, Array]:
        def both(t: Array) -> tuple[Array, tuple[Array, Array]]:
            value, gradient = jax.value_and_grad(objective)(t)
            return gradient, (value, gradient)

        hessian, (value, gradient) = jax.jacfwd(both, has_aux=True)(place)
        return value, gradient, hessian

    derivatives = given or automatic

    def begin(place: Array) -> _State:
        return _State(place, *derivatives(place), jnp.zeros(()), jnp.zeros((), bool), jnp.zeros((), jnp.int32))

    def step(state: _State) -> _State:
        values, vectors = jnp.linalg.eigh((state.hessian + state.hessian.T) / 2)
        floor = _FLAT * jnp.maximum(jnp.max(jnp.abs(values)), 1e-12)
        along = vectors.T @ state.gradient
        curvature = jnp.maximum(jnp.abs(values), floor)
        size = jnp.linalg.norm(state.place)
        # a place between two valleys has no gradient: the push is along the direction that curves down most
        push = jnp.where(
            (values < -1e-6 * jnp.max(jnp.abs(values))) & (jnp.abs(along) < 1e-8 * curvature), 0.1 * (1 + size), 0.0
        )
        move = -vectors @ (along / (curvature + state.damping) + push)
        longest = 0.5 + size
        length = jnp.linalg.norm(move)
        move = move * jnp.minimum(1.0, longest / jnp.where(length > 0, length, 1.0))
        tried = state.place + move
        value, gradient, hessian = derivatives(tried)
        finite = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(hessian))
        better = finite & (value <= state.value + 1e-13 * (1 + jnp.abs(state.value)))
        top = jnp.max(jnp.abs(values))
        damping = jnp.where(
            better,
            jnp.where(state.damping > 1e-6 * top, state.damping / 10, 0.0),
            jnp.maximum(10 * state.damping, 0.1 * top),
        )
        decrement = jnp.sum(along**2 / curvature)
        flat = (decrement <= _DECREMENT * (1 + jnp.abs(state.value))) & (jnp.min(values) > -1e-6 * top)
        stuck = ~better & (state.damping > 1e12 * top)
        new = _State(tried, value, gradient, hessian, damping, flat, state.steps + 1)
        keep = better & ~(flat & (value > state.value))
        chosen = jax.tree.map(lambda a, b: jnp.where(keep, a, b), new, state)
        return chosen._replace(damping=damping, done=flat | stuck | ~jnp.isfinite(state.value), steps=state.steps + 1)

    def going(state: _State) -> Array:
        return ~state.done & (state.steps < most)

    end = lax.while_loop(going, step, begin(first))
    values, vectors = jnp.linalg.eigh((end.hessian + end.hessian.T) / 2)
    top = jnp.max(jnp.abs(values))
    curvature = jnp.maximum(jnp.abs(values), _FLAT * jnp.maximum(top, 1e-12))
    decrement = jnp.sum((vectors.T @ end.gradient) ** 2 / curvature)
    converged = (
        (decrement <= _ENOUGH * (1 + jnp.abs(end.value)))
        & (values[0] > -1e-5 * top)
        & (jnp.max(jnp.abs(end.place)) < _LARGEST)
    )
    return Lowest(end.place, end.value, end.hessian, converged & jnp.isfinite(end.value), end.steps)
