"""Cross products of a normal model: everything that its likelihood needs of the rows, made once a dataset.

    y = X b + sum_l Z_l u_l + e,   u_l ~ N(0, s^2 Lambda_l Lambda_l') a group,   e ~ N(0, s^2 / w) a row

Weights are divided by their mean, so that Lambda is relative to a typical row's sd. X is replaced by an orthonormal
basis of its columns, y by its residual. Effects of groups are divided by their size and, where correlated with an
intercept, centred: the law of the groups is the same in other units, and `Products.change` leads back.
"""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.mixed.shape import Shape
from hiermodels.models.problem import Data
from hiermodels.quantities import INTERCEPT

__all__ = ["Products", "cross_products"]


class Products(eqx.Module):
    """Cross products, all weighted.

    Attributes
    ----------
    own : tuple of Array, each (group, effect, effect)
        Of a level of the chain with itself.
    above : tuple of tuple of Array, each (group, effect, effect above)
        With each coarser level of the chain.
    border : tuple of Array, each (group, effect, column)
        With the border's columns: effects of the other levels, basis of X, residual of y.
    corner : Array, shape (column, column)
        Of the border with itself.
    parent : tuple of Array, each (group,)
        Group of the next coarser level of the chain.
    change : tuple of Array, each (effect, effect)
        Matrix K of each level of the layout: effects in the user's units are K times those here.
    triangle : Array, shape (p, p)
        R of X = Q R.
    base : Array, shape (p,)
        Coefficients that were taken from y.
    rows, log_weight, mean_weight : Array
        Rows with weight, sum of the logarithms of their relative weights, mean weight.
    """

    own: tuple[Array, ...]
    above: tuple[tuple[Array, ...], ...]
    border: tuple[Array, ...]
    corner: Array
    parent: tuple[Array, ...]
    change: tuple[Array, ...]
    triangle: Array
    base: Array
    rows: Array
    log_weight: Array
    mean_weight: Array


def cross_products(shape: Shape, data: Data) -> Products:
    """Cross products of one dataset.

    Parameters
    ----------
    shape : Shape
    data : Data
        As JAX arrays.
    """
    layout = shape.layout
    there = data.weight > 0
    rows = jnp.sum(there).astype(data.y.dtype)
    mean_weight = jnp.sum(data.weight) / rows
    weight = data.weight / mean_weight
    root = jnp.sqrt(weight)[:, None]
    x = root * data.x[:, jnp.array(layout.population, int)]
    q, triangle = jnp.linalg.qr(x) if shape.coefficients else (x, jnp.zeros((0, 0), x.dtype))
    first = q.T @ (root[:, 0] * data.y)
    y = root[:, 0] * data.y - q @ first
    again = q.T @ y
    base = jax.scipy.linalg.solve_triangular(triangle, first + again) if shape.coefficients else first
    columns = jnp.concatenate([q, (y - q @ again)[:, None]], 1)

    change = tuple(_change(layout, i, data.x, weight) for i in range(len(layout.levels)))
    z = [root * (data.x[:, jnp.array(v.effects, int)] @ change[i]) for i, v in enumerate(layout.levels)]

    def total(level: int, a: Array, b: Array) -> Array:
        products = a[:, :, None] * b[:, None, :]
        return jnp.zeros((layout.levels[level].size, *products.shape[1:]), a.dtype).at[data.group[level]].add(products)

    def crossed(i: int, j: int) -> Array:
        a, b = layout.levels[i], layout.levels[j]
        found = jnp.zeros((a.size, b.size, len(a.effects), len(b.effects)), z[i].dtype)
        found = found.at[data.group[i], data.group[j]].add(z[i][:, :, None] * z[j][:, None, :])
        return jnp.swapaxes(found, 1, 2).reshape(a.size, len(a.effects), b.size * len(b.effects))

    border = tuple(
        jnp.concatenate([*(crossed(i, r) for r in shape.rest), total(i, z[i], columns)], 2) for i in shape.chain
    )
    flat = [
        crossed(r, s).reshape(-1, layout.levels[s].size * len(layout.levels[s].effects))
        for r in shape.rest
        for s in shape.rest
    ]
    sides = [total(r, z[r], columns).reshape(-1, columns.shape[1]) for r in shape.rest]
    k = len(shape.rest)
    upper = [jnp.concatenate([*flat[k * a : k * a + k], sides[a]], 1) for a in range(k)]
    corner = jnp.concatenate([*upper, jnp.concatenate([*(s.T for s in sides), columns.T @ columns], 1)], 0)
    return Products(
        own=tuple(total(i, z[i], z[i]) for i in shape.chain),
        above=tuple(tuple(total(i, z[i], z[j]) for j in shape.chain[n + 1 :]) for n, i in enumerate(shape.chain)),
        border=border,
        corner=corner,
        parent=tuple(data.parent[i] for i in shape.chain),
        change=change,
        triangle=triangle,
        base=base,
        rows=rows,
        log_weight=jnp.sum(jnp.where(there, jnp.log(jnp.where(there, weight, 1.0)), 0.0)),
        mean_weight=mean_weight,
    )


def _change(layout: Any, i: int, x: Array, weight: Array) -> Array:
    """K of a level: columns of unit mean square, centred where an intercept is correlated with them."""
    level = layout.levels[i]
    names = [layout.columns[e] for e in level.effects]
    found = jnp.eye(len(names), dtype=x.dtype)
    total = jnp.sum(weight)
    for block in level.blocks:
        origin = next((b for b in block if names[b] == INTERCEPT), None)
        for b in block:
            column = x[:, level.effects[b]]
            centre = 0.0 if origin is None or b == origin else jnp.sum(weight * column) / total
            size = jnp.sqrt(jnp.sum(weight * (column - centre) ** 2) / total)
            size = jnp.where(size > 0, size, 1.0)
            found = found.at[b, b].set(1 / size)
            if origin is not None and b != origin:
                found = found.at[origin, b].set(-centre / size)
    return found
