"""Mixtures of beta and gamma laws over nodes of the hyperparameters, on grids that follow the components.

In x = logit t (log t) a component's density is ``exp(a x - c g(x))`` with c = a + b, g = log(1 + e^x) (c = b, g = e^x):
smooth, log-concave, falling like ``e^(a x)`` to the left and ``e^(-b x)`` to the right. Components of one mixture
differ in width by any factor: a population close to complete pooling gives needles, one close to none gives tails of
hundreds of units. They have their centres in common, so the grid is equally spaced in s,

    x = middle + narrow sinh(s),

fine where the needles are and as coarse as the tails are long, at the price of a logarithm; each component is
normalised by its own sum over the grid. Past both ends (a logit of -745 is the smallest number) the tails are
exponential, and added in closed form.

Needles narrower than the nodes are apart would make stairs of F: they are widened to a share (``least``) of what the
nodes leave open, and the second-order error of that is taken back.

Where all groups share a population, ``a = a_0 + y`` and ``b = b_0 + rest``: the density is the population's times the
group's likelihood. Both stand on one grid, and sums over nodes and over the grid are products of matrices. The
second-order correction of a widened population holds near its centre; a group whose likelihood lies in its far tail,
where the correction takes almost all back, is left out at that node, and the weight left out is part of the error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import xlogy

from hiermodels.families.component import Component
from hiermodels.inference.law_tables import Table, density_table, halves_error

__all__ = ["Sweep", "count_law"]

_SMALLEST = -745.0
"""Log of the smallest double: below it a rate is zero."""
_LARGEST = 40.0
"""Logit above which a probability is one."""
_FLAT, _LEAST_SHAPE = 1e-4, 1e-30
"""A tail this flat has no mass between the ends of any grid; the least that is divided by."""
_KEPT = 0.2
"""Least share of a group's mass that the correction of a widened population may leave."""
_NUMBERS = 1 << 22
"""Densities held at once."""
_EXACTLY = jax.lax.Precision.HIGHEST
"""Of products of matrices: accelerators would round to ten bits."""

Sweep = Callable[[Callable[[Array, Component], tuple[Array, ...]]], tuple[Array, ...]]
"""Adds ``f(weight, law)`` over blocks of nodes; weight (half, node), the law's numbers (node, group), its base
(node,).
"""


class _Grid(NamedTuple):
    """Equally spaced s from ``start`` on; x = middle + narrow sinh(s); components are at least ``least`` wide. Each
    (group,) or (1,).
    """

    start: Array
    step: Array
    middle: Array
    narrow: Array
    least: Array
    count: int  # type: ignore[assignment]  # no tuple is counted here

    def x(self) -> tuple[Array, Array]:
        """Places and dx / ds, (grid, group)."""
        s = self.start + self.step * jnp.arange(self.count, dtype=self.start.dtype)[:, None]
        return self.middle + self.narrow * jnp.sinh(s), self.narrow * jnp.cosh(s)


def count_law(
    kind: str,
    sweep: Sweep,
    groups: int,
    points: int,
    reach: float,
    least: float,
    precision: str,
    likelihood: tuple[Array, Array] | None,
) -> tuple[Table, Array, Array, Array]:
    """Mixtures of beta or gamma laws as a table; also their means, standard deviations, and the errors of these in sds.

    Parameters
    ----------
    kind : str
        ``beta`` (a and b) or ``gamma`` (shape and rate).
    sweep : callable
        Adds over nodes.
    groups : int
    points : int
        Grid points.
    reach : float
        Root mean squares (of tails and of places) that the grid covers on either side.
    least : float
        Width of the narrowest component, in units of the spread of the narrow components' places.
    precision : str
        Type in which densities are exponentiated and added.
    likelihood : tuple of Array, or None
        What each group adds to the base's a and b, (group,) each, where components have a base.
    """
    beta, shared = kind == "beta", likelihood is not None

    def moments(weight: Array, law: Component) -> tuple[Array, ...]:
        total = law.a + law.b
        mean = law.a / total if beta else law.a / law.b
        variance = mean * (1 - mean) / (total + 1) if beta else mean / law.b
        return (
            jnp.sum(weight, 1),
            jnp.einsum("hn,ng->hg", weight, mean),
            jnp.einsum("hn,ng->hg", weight, mean**2 + variance),
        )

    mass, first, second = sweep(moments)
    mean = jnp.sum(first, 0)
    sd = jnp.sqrt(jnp.maximum(jnp.sum(second, 0) - mean**2, 0.0))
    scale = jnp.maximum(sd, 1e-300)
    first, second = (x / jnp.maximum(mass, 1e-300)[:, None] for x in (first, second))
    about, square = (first - mean) / scale, (second - 2 * mean * first + mean**2) / scale**2
    error = halves_error(*about) + 0.5 * halves_error(*square)
    grid = _place(beta, sweep, points, reach, least, shared)
    densities = (
        _shared(beta, sweep, grid, precision, likelihood) if likelihood else _separate(beta, sweep, grid, precision)
    )
    start, step = (jnp.broadcast_to(x, (groups,)) for x in (grid.start, grid.step))
    on_grid = jnp.einsum("hxg,xg->hg", densities[0], _rim(jnp.broadcast_to(step, densities[0].shape[1:])))
    lost = jnp.abs(1 - jnp.sum(on_grid + densities[1] + densities[2], 0))
    return density_table(start, step, *densities, *_maps(beta, grid), unseen=lost), mean, sd, error


def _place(beta: bool, sweep: Sweep, points: int, reach: float, least: float, shared: bool) -> _Grid:
    """Grid of each group, or of all."""

    def places(weight: Array, law: Component) -> tuple[Array, ...]:
        a, b = (x[:, None] for x in law.base) if shared and law.base is not None else (law.a, law.b)
        a, b = jnp.maximum(a, _FLAT), jnp.maximum(b, _FLAT)
        x, spread = _log_moments(a)
        y, more = _log_moments(b) if beta else (jnp.log(b), jnp.zeros_like(b))
        x, spread = x - y, spread + more
        sharp = 1 / (spread + 1e-4)
        log_width, tails = 0.5 * jnp.log(spread), 1 / (a * a) + (1 / (b * b) if beta else 0.0)
        terms = (sharp, sharp * x, sharp * x * x, log_width, log_width**2, x, x * x + spread + tails)
        return tuple(jnp.sum(weight, 0) @ term for term in terms)

    sharp, place, square, log_width, log_square, x, far = sweep(places)
    middle = place / sharp
    apart = jnp.sqrt(jnp.maximum(square / sharp - middle**2, 0.0))
    narrow = jnp.exp(log_width - 1.5 * jnp.sqrt(jnp.maximum(log_square - log_width**2, 0.0)))
    width = least * apart
    narrow = 1.5 * jnp.maximum(narrow, width)
    root = reach * jnp.sqrt(jnp.maximum(far - 2 * middle * x + middle**2, 1e-12))
    left = jnp.minimum(root, jnp.maximum(middle - _SMALLEST, 1.0))
    right = jnp.minimum(root, jnp.maximum((_LARGEST if beta else -_SMALLEST) - middle, 1.0))
    start, stop = -jnp.arcsinh(left / narrow), jnp.arcsinh(right / narrow)
    return _Grid(start, (stop - start) / (points - 1), middle, narrow, width, points)


def _log_moments(a: Array) -> tuple[Array, Array]:
    """Mean and variance of log of a Gamma(a, 1) variable, to a per cent or so: they only place the grid."""
    return jnp.log(a + 0.5) - 1 / a, 1 / (a * a) + 1 / (a + 0.5)


def _log_density(beta: bool, a: Array, b: Array, x: Array) -> Array:
    """Log density up to a constant, in a form that loses nothing where a and b differ by many powers of ten."""
    return -a * jnp.logaddexp(-x, 0.0) - b * jnp.logaddexp(x, 0.0) if beta else a * x - b * jnp.exp(x)


def _components(
    beta: bool, a: Array, b: Array, x: Array, rim: Array, least: Array, precision: str
) -> tuple[Array, Array, Array]:
    """Densities at x (grid,) of components (node,), relative to their peaks, (grid, node), and their masses on the
    grid, (node,).

    The third are the densities before the correction of the widened ones.
    """
    spread = 1 / a + (1 / b if beta else 0.0)
    shrink = jnp.minimum(1.0, spread / jnp.maximum(least, 1e-150) ** 2)
    excess = 0.5 * jnp.maximum(least**2 - spread, 0.0)
    a, b = a * shrink, b * shrink
    c = a + b if beta else b
    x = x[:, None]
    top = -a * jnp.log1p(b / a) - b * jnp.log1p(a / b) if beta else a * jnp.log(a / b) - a
    kept = precision if x.dtype == jnp.float64 else x.dtype
    terms = jnp.exp((_log_density(beta, a, b, x) - top).astype(kept))
    # density'' / density = (a - c g')^2 - c g'', taken back where a component was widened
    first = jax.nn.sigmoid(x) if beta else jnp.exp(x)
    slope = a - c * first
    bend = slope * slope - c * first * ((1 - first) if beta else 1.0)
    mended = jnp.where(terms > 0, terms * (1 - jnp.maximum(excess * bend, -1.0)).astype(kept), 0.0)
    mass, new_mass = rim.astype(kept) @ terms, rim.astype(kept) @ mended
    seen = (
        jnp.abs(new_mass - mass) < 0.2 * mass
    )  # far from the middle, where nothing weighs, the grid may be too coarse for it
    return jnp.where(seen, mended, terms), jnp.where(seen, new_mass, mass), terms


def _separate(beta: bool, sweep: Sweep, grid: _Grid, precision: str) -> tuple[Array, Array, Array]:
    """Densities by half, (half, grid, group), and the mass left and right of the grid, (half, group)."""
    x, slope = grid.x()
    step = grid.step

    def one(args: tuple[Array, ...], weight: Array) -> tuple[Array, Array, Array]:
        x, slope, step, least, a, b = args
        a, b = jnp.maximum(a, _LEAST_SHAPE), jnp.maximum(b, _LEAST_SHAPE)
        terms, mass, _ = _components(beta, a, b, x, step * _rim(slope), least, precision)
        ends = terms[0] / a, (terms[-1] / b if beta else jnp.zeros_like(b))
        total = mass + ends[0] + ends[1]
        share = (weight / jnp.maximum(total, 1e-30)).astype(terms.dtype)
        found = (jnp.einsum("hn,xn->hx", share, terms, precision=_EXACTLY) * slope, share @ ends[0], share @ ends[1])
        return tuple(f.astype(x.dtype) for f in found)  # type: ignore[return-value]

    def densities(weight: Array, law: Component) -> tuple[Array, ...]:
        args = (x.T, slope.T, step, grid.least, law.a.T, law.b.T)
        numbers = x.shape[0] * law.a.shape[0]
        if numbers * law.a.shape[1] <= _NUMBERS:
            found = jax.vmap(lambda group: one(group, weight))(args)
        else:
            found = jax.lax.map(lambda group: one(group, weight), args, batch_size=max(1, _NUMBERS // numbers))
        return jnp.moveaxis(found[0], 0, -1), found[1].T, found[2].T

    return sweep(densities)  # type: ignore[return-value]


def _rim(slope: Array) -> Array:
    """Weights of the trapezoidal rule."""
    return slope.at[0].multiply(0.5).at[-1].multiply(0.5)


def _shared(
    beta: bool, sweep: Sweep, grid: _Grid, precision: str, likelihood: tuple[Array, Array]
) -> tuple[Array, Array, Array]:
    """As `_separate`, on the grid of all groups."""
    x, slope = (column[:, 0] for column in grid.x())
    y, more = likelihood
    top = xlogy(y, y) + xlogy(more, more) - xlogy(y + more, y + more) if beta else xlogy(y, y) - xlogy(y, more) - y
    kept = precision if x.dtype == jnp.float64 else x.dtype
    gain = jnp.exp((_log_density(beta, y, more, x[:, None]) - top).astype(kept))  # (grid, group)

    def densities(weight: Array, law: Component) -> tuple[Array, ...]:
        base_a, base_b = (jnp.maximum(z, _LEAST_SHAPE) for z in law.base)  # type: ignore[union-attr]
        all_a, all_b = jnp.maximum(law.a, _LEAST_SHAPE), jnp.maximum(law.b, _LEAST_SHAPE)
        rim = grid.step[0] * _rim(slope)
        terms, _, widened = _components(beta, base_a, base_b, x, rim, grid.least[0], precision)
        rim = rim.astype(terms.dtype)
        ends = (
            gain[0] * terms[0][:, None] / all_a,
            gain[-1] * terms[-1][:, None] / all_b if beta else jnp.zeros_like(all_b),
        )
        on_grid, before = (
            jnp.matmul(t.T, rim[:, None] * gain, precision=_EXACTLY) for t in (terms, widened)
        )  # (node, group)
        total = on_grid + ends[0] + ends[1]
        inverse = jnp.where((total > 1e-30) & (on_grid >= _KEPT * before), 1 / jnp.maximum(total, 1e-30), 0.0)
        share = (weight[:, :, None] * inverse).astype(terms.dtype)
        found = jnp.einsum("xn,hng->hxg", terms, share, precision=_EXACTLY) * gain * slope[:, None]
        return tuple(
            f.astype(x.dtype)
            for f in (found, jnp.einsum("hng,ng->hg", share, ends[0]), jnp.einsum("hng,ng->hg", share, ends[1]))
        )

    return sweep(densities)  # type: ignore[return-value]


def _maps(beta: bool, grid: _Grid) -> tuple[Callable[[Array], Array], ...]:
    """Coordinate s to value and back, and the log of the slope."""

    def log_scale(s: Array) -> Array:
        return grid.middle + grid.narrow * jnp.sinh(s)

    def value(s: Array) -> Array:
        return jax.nn.sigmoid(log_scale(s)) if beta else jnp.exp(log_scale(s))

    def position(t: Array) -> Array:
        low = t <= 0
        high = t >= 1 if beta else t == jnp.inf
        inside = jnp.where(low | high, 0.5, t)
        x = jnp.log(inside) - (jnp.log1p(-inside) if beta else 0.0)
        s = jnp.arcsinh((x - grid.middle) / grid.narrow)
        return jnp.where(low, -jnp.inf, jnp.where(high, jnp.inf, s))

    def log_jacobian(s: Array) -> Array:
        x = log_scale(s)
        outer = jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x) if beta else x
        return outer + jnp.log(grid.narrow) + jnp.log(jnp.cosh(s))

    return value, position, log_jacobian
