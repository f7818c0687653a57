"""Values of the groups at the maximum: conditional modes (best linear unbiased predictions) and three standard errors
of them.

The inverse of the equations of (v, b) times s^2 is the covariance of their errors of prediction (Henderson 1975,
Biometrics 31, 423-447). It is taken apart as it was built: the border's first, then a level of the chain after the
other, coarse to fine, with only the blocks that belong to a group and its ancestors.
"""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from hiermodels.inference.mixed.eliminate import Eliminated, backward, eliminate, forward
from hiermodels.inference.mixed.products import Products
from hiermodels.inference.mixed.shape import Shape
from hiermodels.models.problem import Data

__all__ = ["Modes", "modes"]


class Modes(eqx.Module):
    """One level's groups, (group, effect) each, in the order of the (padded) groups.

    Attributes
    ----------
    value, se : Array
        theta: population coefficient, own deviation and the ancestors'; standard error of prediction, the coefficients'
        error included.
    mode : Array
        Own deviation u.
    mode_se : Array
        Of its prediction, the coefficients' error included (metafor's ``ranef``).
    conditional_sd : Array
        sd of u given y and the coefficients (lme4's ``condVar``).
    """

    value: Array
    se: Array
    mode: Array
    mode_se: Array
    conditional_sd: Array


class _Joint(NamedTuple):
    """Covariances in the user's units: between levels of the chain, of these with the border, within the border."""

    chain: dict[tuple[int, int], Array]
    with_border: list[Array]
    border: Array


def modes(shape: Shape, products: Products, data: Data, theta: Array, variance: Array) -> tuple[Modes, ...]:
    """Groups' values of every level of the layout."""
    at = eliminate(shape, products, theta)
    half = tuple(k @ f for k, f in zip(products.change, shape.factors(theta), strict=True))
    owners = _owners(shape, products)
    inner, size = shape.rest_size, shape.rest_size + shape.coefficients
    low = at.corner[:size, :size]
    flat = solve_triangular(low, at.corner[-1, :size], lower=True, trans=1)
    inverse = _inverse(low)
    given = jnp.zeros_like(inverse).at[:inner, :inner].set(_inverse(low[:inner, :inner]))
    values = _values(shape, at, owners, flat)
    all_values = [v @ half[i].T for v, i in zip(values, shape.chain, strict=True)]
    flat_user = _border_in_units(shape, products, half, flat)
    flat_user = flat_user.at[inner:].add(products.base)
    full, conditional = (_in_units(shape, products, half, _joint(shape, at, owners, b)) for b in (inverse, given))
    return tuple(
        _of_level(shape, data, owners, all_values, flat_user, full, conditional, variance, i)
        for i in range(len(shape.levels))
    )


def _inverse(low: Array) -> Array:
    root = solve_triangular(low, jnp.eye(low.shape[0], dtype=low.dtype), lower=True) if low.shape[0] else low
    return root.T @ root


def _owners(shape: Shape, products: Products) -> dict[tuple[int, int], Array]:
    """Group of place m of the chain that owns each group of place n."""
    found: dict[tuple[int, int], Array] = {}
    for n, i in enumerate(shape.chain):
        found[n, n] = jnp.arange(shape.levels[i].size)
        for m in range(n + 1, len(shape.chain)):
            found[n, m] = products.parent[m - 1][found[n, m - 1]]
    return found


def _values(shape: Shape, at: Eliminated, owners: dict[tuple[int, int], Array], flat: Array) -> list[Array]:
    """v of each level of the chain."""
    found: dict[int, Array] = {}
    for n in reversed(range(len(shape.chain))):
        sides = at.right[n]
        left = sides[-1][..., -1] - sides[-1][..., :-1] @ flat
        for a, m in enumerate(range(n + 1, len(shape.chain))):
            left = left - jnp.einsum("gqr,gr->gq", sides[a], found[m][owners[n, m]])
        found[n] = backward(at.diagonal[n], left[..., None])[..., 0]
    return [found[n] for n in range(len(shape.chain))]


def _joint(shape: Shape, at: Eliminated, owners: dict[tuple[int, int], Array], border: Array) -> _Joint:
    chain: dict[tuple[int, int], Array] = {}
    with_border: dict[int, Array] = {}
    count = len(shape.chain)
    for n in reversed(range(count)):
        low = at.diagonal[n]
        sides = [backward(low, side) for side in at.right[n]]
        above, beside = sides[:-1], sides[-1][..., :-1]
        places = list(range(n + 1, count))

        def between(m: int, k: int, n: int = n) -> Array:
            """Covariance of places m and k above, at the owners of the groups of place n."""
            block = chain[m, k][owners[n, m]] if m <= k else jnp.swapaxes(chain[k, m][owners[n, k]], 1, 2)
            return block

        to_border = beside @ border
        for a, m in enumerate(places):
            to_border = to_border + above[a] @ with_border[m][owners[n, m]]
        with_border[n] = -to_border
        for k in places:
            found = beside @ jnp.swapaxes(with_border[k][owners[n, k]], 1, 2)
            for a, m in enumerate(places):
                found = found + above[a] @ between(m, k)
            chain[n, k] = -found
        eye = jnp.broadcast_to(jnp.eye(low.shape[-1], dtype=low.dtype), low.shape)
        own = backward(low, forward(low, eye)) - with_border[n] @ jnp.swapaxes(beside, 1, 2)
        for a, m in enumerate(places):
            own = own - chain[n, m] @ jnp.swapaxes(above[a], 1, 2)
        chain[n, n] = own
    return _Joint(chain, [with_border[n] for n in range(count)], border)


def _border_in_units(shape: Shape, products: Products, half: tuple[Array, ...], values: Array) -> Array:
    """Entries of the border (last axis) in the user's units."""
    parts = []
    for i in shape.rest:
        part = values[..., shape.border_slice(i)]
        q = half[i].shape[0]
        parts.append((part.reshape(*part.shape[:-1], -1, q) @ half[i].T).reshape(part.shape))
    last = values[..., shape.rest_size :]
    if shape.coefficients:
        moved = jnp.moveaxis(last, -1, 0)
        solved = solve_triangular(products.triangle, moved.reshape(shape.coefficients, -1))
        last = jnp.moveaxis(solved.reshape(moved.shape), 0, -1)
    return jnp.concatenate([*parts, last], -1)


def _in_units(shape: Shape, products: Products, half: tuple[Array, ...], joint: _Joint) -> _Joint:
    chain = {(n, m): half[shape.chain[n]] @ block @ half[shape.chain[m]].T for (n, m), block in joint.chain.items()}
    border = _border_in_units(shape, products, half, joint.border)
    border = _border_in_units(shape, products, half, border.T).T
    beside = [
        half[shape.chain[n]] @ _border_in_units(shape, products, half, b) for n, b in enumerate(joint.with_border)
    ]
    return _Joint(chain, beside, border)


class _Part(NamedTuple):
    """One term of a group's value: an effect of a level of the chain, or an entry of the border; a place for each
    group.
    """

    chain: int
    effect: int
    groups: Array


def _of_level(
    shape: Shape,
    data: Data,
    owners: dict[tuple[int, int], Array],
    values: list[Array],
    flat: Array,
    full: _Joint,
    conditional: _Joint,
    variance: Array,
    i: int,
) -> Modes:
    layout, level = shape.layout, shape.levels[i]
    columns: list[list[Array]] = [[], [], [], [], []]
    for column in level.effects:
        parts, index = [], jnp.arange(level.size)
        j = i
        while j >= 0:
            here = shape.levels[j]
            if column in here.effects:
                parts.append(_part(shape, j, here.effects.index(column), index))
            index, j = data.parent[j][index], here.parent
        own = parts[0]
        if column in layout.population:
            k = shape.rest_size + layout.population.index(column)
            parts.append(_Part(-1, 0, jnp.full(level.size, k)))
        total = sum((_value(p, values, flat) for p in parts), jnp.zeros(level.size))
        square = sum((_covariance(a, b, full) for a in parts for b in parts), jnp.zeros(level.size))
        found = (
            total,
            square,
            _value(own, values, flat),
            _covariance(own, own, full),
            _covariance(own, own, conditional),
        )
        for into, one in zip(columns, found, strict=True):
            into.append(one)
    value, square, mode, mode_square, given = (jnp.stack(c, -1) for c in columns)

    def sd(a: Array) -> Array:
        return jnp.sqrt(jnp.maximum(variance * a, 0.0))

    return Modes(value, sd(square), mode, sd(mode_square), sd(given))


def _part(shape: Shape, level: int, effect: int, index: Array) -> _Part:
    if level in shape.chain:
        return _Part(shape.chain.index(level), effect, index)
    q = len(shape.levels[level].effects)
    return _Part(-1, 0, shape.border_slice(level).start + index * q + effect)


def _value(part: _Part, values: list[Array], flat: Array) -> Array:
    return flat[part.groups] if part.chain < 0 else values[part.chain][part.groups, part.effect]


def _covariance(a: _Part, b: _Part, joint: _Joint) -> Array:
    if a.chain < 0 and b.chain < 0:
        return joint.border[a.groups, b.groups]
    if a.chain < 0 or (b.chain >= 0 and b.chain < a.chain):
        a, b = b, a
    if b.chain < 0:
        return joint.with_border[a.chain][a.groups, a.effect, b.groups]
    return joint.chain[a.chain, b.chain][a.groups, a.effect, b.effect]
