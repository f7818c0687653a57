"""Summaries of a mixture of laws over nodes of the hyperparameters: a posterior without draws.

    p(x | y) = sum_k w_k p(x | phi_k, y)

A mixture is held in one of two ways, each for all groups of a kind at once:

- `NormalMixture`: the cumulative distribution function is summed exactly; quantiles solve ``Phi^-1(F(x)) = Phi^-1(p)`` by
  Newton steps, in ``x = c + s sinh(xi)`` so that heavy tails are as easy as light ones, from a Cornish-Fisher start, inside a
  bracket that bisects where Newton leaves it;
- `Table`: density and cumulative distribution on an equally spaced grid of a coordinate of the whole line (logit of a beta,
  log of a gamma variable, the lattice's own coordinate of a hyperparameter), where both fall off fast: sums of grid values
  are integrals to rounding. Between grid points F is the cubic with the right values and slopes.

Axes: node first, then group. Everything is for one dataset and batches under ``vmap``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erfc, ndtri

__all__ = ["NormalMixture", "Summary", "Table", "density_table", "hdi", "point_table", "table"]

_ROOT_2 = math.sqrt(2.0)
_ROOT_2PI = math.sqrt(2 * math.pi)
_FAR, _NARROW, _STEPS = 40.0, 1e-6, 100
"""Bracket of ``xi`` at first, the width at which a jump of F is its quantile, and the most steps of a search."""
_ORDER = 5
"""The smoothing kernel leaves moments up to 2 * _ORDER + 1 alone."""

Sweep = Callable[[Callable[[Array, Array, Array], tuple[Array, ...]]], tuple[Array, ...]]
"""Adds ``f(weight, a, b)`` over blocks of nodes; weight (node,), a and b (node, group)."""


class Summary(NamedTuple):
    """Posterior summary of one variable; arrays have the variable's shape.

    Attributes
    ----------
    mean, median, sd, lower, upper : Array
        ``lower`` and ``upper`` bound the interval asked for.
    cdf : tuple of Array
        Posterior probability of values at or below each threshold asked for, in that order.
    """

    mean: Array
    median: Array
    sd: Array
    lower: Array
    upper: Array
    cdf: tuple[Array, ...]


class NormalMixture(eqx.Module):
    """Mixtures of normal laws, a group each.

    Attributes
    ----------
    sweep : callable
        Adds over nodes; its ``a`` is the mean, ``b`` the variance of each component.
    centre, scale, mean, sd, skewness, kurtosis : Array, shape (group,)
        Mean and twice the sd of one component; then the mixture's moments.
    tolerance : float
        Newton stops where no quantile's normal score is further off; the last step then squares the error.
    precision : str
        Type in which distribution functions are evaluated; ``float32`` halves the time.
    """

    sweep: Sweep = eqx.field(static=True)
    centre: Array
    scale: Array
    mean: Array
    sd: Array
    skewness: Array
    kurtosis: Array
    tolerance: float = eqx.field(static=True)
    precision: str = eqx.field(static=True)

    @classmethod
    def build(
        cls, sweep: Sweep, centre: Array, variance: Array, tolerance: float, precision: str = "float64"
    ) -> NormalMixture:
        """Moments of the mixture in one sweep, around a component of the bulk (its mean and variance, shape (group,))."""

        def powers(weight: Array, mean: Array, variance: Array) -> tuple[Array, ...]:
            m, v = mean - centre, _positive(variance, mean)
            return tuple(weight @ x for x in (m, m**2 + v, m * (m**2 + 3 * v), m**4 + 6 * m**2 * v + 3 * v**2))

        one, two, three, four = sweep(powers)
        total = jnp.maximum(two - one**2, 1e-300)
        third = three - 3 * one * two + 2 * one**3
        fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
        shape = (third / total**1.5, fourth / total**2 - 3)
        scale = 2 * jnp.sqrt(_positive(variance, centre))
        return cls(sweep, centre, scale, centre + one, jnp.sqrt(total), *shape, tolerance, precision)

    def _scores(self, x: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
        root = jax.lax.optimization_barrier(1 / jnp.sqrt(_positive(variance, mean)))
        precision = self.precision if x.dtype == jnp.float64 else x.dtype
        return ((x[:, None] - mean) * root).astype(precision), root.astype(precision)

    def cdf_pdf(self, x: Array) -> tuple[Array, Array]:
        """F and f at x, shape (k, group)."""

        def add(weight: Array, mean: Array, variance: Array) -> tuple[Array, Array]:
            z, root = self._scores(x, mean, variance)
            below, density = 0.5 * erfc(z * (-1 / _ROOT_2)), jnp.exp(-0.5 * z * z) * (root / _ROOT_2PI)
            share = weight.astype(z.dtype)
            found = jnp.einsum("n,kng->kg", share, below), jnp.einsum("n,kng->kg", share, density)
            return found[0].astype(x.dtype), found[1].astype(x.dtype)

        below, density = self.sweep(add)
        return below, density

    def cdf(self, x: Array) -> Array:
        """F at x, shape (k, group)."""

        def add(weight: Array, mean: Array, variance: Array) -> tuple[Array]:
            z, _ = self._scores(x, mean, variance)
            below = jnp.einsum("n,kng->kg", weight.astype(z.dtype), 0.5 * erfc(z * (-1 / _ROOT_2)))
            return (below.astype(x.dtype),)

        return self.sweep(add)[0]

    def density(self, x: Array) -> Array:
        """Density at x, shape (k, group)."""
        return self.cdf_pdf(x)[1]

    def quantile(self, p: Array) -> Array:
        """Values with probability p below, p of shape (k, group); NaN where the search did not end."""
        z = ndtri(p)
        skewness, kurtosis = jnp.clip(self.skewness, -1.5, 1.5), jnp.clip(self.kurtosis, -1.0, 3.0)
        start = z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
        far = self.mean + self.sd * start
        xi = jnp.arcsinh((far - self.centre) / self.scale)
        # moments of the heaviest tails overflow: the bulk is a start too
        xi = jnp.where(jnp.isfinite(self.mean + self.sd + start), jnp.clip(xi, -_FAR, _FAR), jnp.arcsinh(0.5 * z))

        def step(state: _Search) -> _Search:
            below, density = self.cdf_pdf(self.centre + self.scale * jnp.sinh(state.xi))
            score = ndtri(jnp.clip(below, 1e-300, 1 - 1e-16))
            off = score - z
            low, high = jnp.where(off < 0, state.xi, state.low), jnp.where(off > 0, state.xi, state.high)
            slope = density * self.scale * jnp.cosh(state.xi) * _ROOT_2PI * jnp.exp(0.5 * score**2)
            new = state.xi - off / slope
            # where F rounds to 0 or 1 its slope says nothing about the distance: a step must halve what is left, or the bracket
            least = jnp.maximum(0.5 * jnp.abs(state.off), self.tolerance)
            helps = (new > low) & (new < high) & (jnp.abs(off) <= least)
            new = jnp.where(helps, new, jnp.where(off == 0, state.xi, 0.5 * (low + high)))
            new = jnp.where(jnp.isnan(off), off, new)
            found = _Search(state.steps + 1, low, high, new, off)
            return jax.tree.map(lambda a, b: jnp.where(unsolved(state), a, b), found, state)._replace(steps=found.steps)

        def unsolved(state: _Search) -> Array:
            return (jnp.abs(state.off) > self.tolerance) & (state.high - state.low > _NARROW)

        # what the expansion leaves out, from the size of its last terms
        s, k = jnp.abs(self.skewness), jnp.abs(self.kurtosis)
        left = jnp.max(0.2 * k**2 + 0.2 * s * k + 0.1 * s**3)
        left = jnp.where(left < 0.4 * self.tolerance, 0.0, jnp.inf)

        wide = jnp.full_like(xi, _FAR)
        begin = _Search(jnp.zeros((), jnp.int32), -wide, wide, xi, jnp.broadcast_to(left.astype(xi.dtype), xi.shape))
        end = jax.lax.while_loop(lambda state: (state.steps < _STEPS) & jnp.any(unsolved(state)), step, begin)
        return jnp.where(unsolved(end), jnp.nan, self.centre + self.scale * jnp.sinh(end.xi))


class _Search(NamedTuple):
    """Where the quantiles are sought: brackets, places and the normal scores that are still missing, (k, group) each."""

    steps: Array
    low: Array
    high: Array
    xi: Array
    off: Array


def _positive(variance: Array, mean: Array) -> Array:
    """Variances kept above rounding, so that a variable that is known exactly has a law too."""
    return jnp.maximum(variance, 1e-26 * (1e-10 + mean * mean))


class Table(eqx.Module):
    """Laws on an equally spaced grid of a coordinate of the whole line, a group each.

    Attributes
    ----------
    start, step : Array, shape (group,)
        First grid point and spacing.
    below, slope : Array, shape (grid, group)
        F and its derivative, on the coordinate's scale.
    value, position : callable
        Coordinate to value and back, shapes (k, group).
    log_jacobian : callable
        log of d value / d coordinate at a coordinate.
    """

    start: Array
    step: Array
    below: Array
    slope: Array
    value: Callable[[Array], Array] = eqx.field(static=True)
    position: Callable[[Array], Array] = eqx.field(static=True)
    log_jacobian: Callable[[Array], Array] = eqx.field(static=True)

    def _cell(self, i: Array) -> tuple[Array, ...]:
        """Values and slopes (per cell width) at both ends of cells i, shape (k, group)."""
        f0, f1 = jnp.take_along_axis(self.below, i, 0), jnp.take_along_axis(self.below, i + 1, 0)
        d0, d1 = jnp.take_along_axis(self.slope, i, 0), jnp.take_along_axis(self.slope, i + 1, 0)
        # slopes up to three times the chord's keep the cubic monotone (Fritsch & Carlson 1980, SIAM J. Numer. Anal. 17, 238-246)
        limit = 3 * jnp.maximum(f1 - f0, 0.0)
        return f0, f1, jnp.clip(d0 * self.step, 0.0, limit), jnp.clip(d1 * self.step, 0.0, limit)

    def quantile_at(self, p: Array) -> Array:
        """Coordinates with probability p below, p of shape (k, group)."""
        last = self.below.shape[0] - 2
        i = jnp.clip(jnp.sum(self.below[None] < p[:, None], 1) - 1, 0, last)
        f0, f1, d0, d1 = self._cell(i)
        s = jnp.clip((p - f0) / jnp.maximum(f1 - f0, 1e-300), 0.0, 1.0)
        for _ in range(5):
            value, slope = _cubic(s, f0, f1, d0, d1)
            s = jnp.clip(s - (value - p) / jnp.maximum(slope, 1e-3 * (f1 - f0) + 1e-300), 0.0, 1.0)
        return self.start + self.step * (i + s)

    def quantile(self, p: Array) -> Array:
        """Values with probability p below, p of shape (k, group)."""
        return self.value(self.quantile_at(p))

    def cdf(self, x: Array) -> Array:
        """Probability of values at or below x, shape (k, group)."""
        place = (self.position(x) - self.start) / self.step
        last = self.below.shape[0] - 2
        inside = jnp.clip(place, 0.0, last + 1.0)
        i = jnp.clip(jnp.nan_to_num(inside).astype(int), 0, last)
        return _cubic(inside - i, *self._cell(i))[0]

    def density(self, x: Array) -> Array:
        """Density at x on the values' scale, shape (k, group)."""
        at = self.position(x)
        place = jnp.clip((at - self.start) / self.step, 0.0, self.below.shape[0] - 1.0)
        i = jnp.clip(jnp.nan_to_num(place).astype(int), 0, self.below.shape[0] - 2)
        log_slope = jnp.log(jnp.maximum(self.slope, 1e-300))
        low, high = jnp.take_along_axis(log_slope, i, 0), jnp.take_along_axis(log_slope, i + 1, 0)
        return jnp.exp(low + (high - low) * (place - i) - self.log_jacobian(at))


def _cubic(s: Array, f0: Array, f1: Array, d0: Array, d1: Array) -> tuple[Array, Array]:
    """Cubic with given values and slopes at 0 and 1, and its derivative, at s."""
    rise = f1 - f0
    c2, c3 = 3 * rise - 2 * d0 - d1, d0 + d1 - 2 * rise
    return f0 + s * (d0 + s * (c2 + s * c3)), d0 + s * (2 * c2 + 3 * s * c3)


def table(
    kind: str, sweep: Sweep, points: int, reach: float, precision: str = "float64"
) -> tuple[Table, Array, Array]:
    """Mixtures of beta or gamma laws as a table; also their means and standard deviations (exact).

    Parameters
    ----------
    kind : str
        ``beta`` (a and b) or ``gamma`` (shape and rate).
    sweep : callable
        Adds over nodes.
    points : int
        Grid points.
    reach : float
        Standard deviations of the logit (log) that the grid covers on either side.
    precision : str
        Type in which densities are exponentiated and added.

    Notes
    -----
    In x = logit t (log t) a component's density is ``exp(a x - c g(x))`` with c = a + b, g = log(1 + e^x) (c = b, g = e^x):
    smooth and falling exponentially, so the sum over the grid normalises it; no gamma function is needed.
    """
    beta = kind == "beta"

    def moments(weight: Array, a: Array, b: Array) -> tuple[Array, ...]:
        total = a + b
        mean = a / total if beta else a / b
        variance = mean * (1 - mean) / (total + 1) if beta else mean / b
        x, spread = _log_moments(a)
        y, more = _log_moments(b) if beta else (jnp.log(b), jnp.zeros_like(b))
        middle = x - y
        terms = (mean, mean**2 + variance, middle, middle**2 + spread + more, a, b)
        return tuple(weight @ term for term in terms)

    mean, square, middle, middle_square, a_mean, b_mean = sweep(moments)
    sd = jnp.sqrt(jnp.maximum(square - mean**2, 0.0))
    spread = jnp.sqrt(jnp.maximum(middle_square - middle**2, 1e-12))
    left = reach * (spread + 0.5 / a_mean)
    right = reach * (spread + (0.5 / b_mean if beta else 0.0))
    start, step = middle - left, (left + right) / (points - 1)
    x = start + step * jnp.arange(points, dtype=start.dtype)[:, None]

    def densities(weight: Array, a: Array, b: Array) -> tuple[Array]:
        c = a + b if beta else b
        curve = jnp.logaddexp(x, 0.0) if beta else jnp.exp(x)
        top = a * jnp.log(a) + b * jnp.log(b) - c * jnp.log(c) if beta else a * jnp.log(a / b) - a
        kept = precision if x.dtype == jnp.float64 else x.dtype
        terms = jnp.exp((a * x[:, None] - c * curve[:, None] - top).astype(kept))  # (grid, node, group)
        share = weight[:, None].astype(kept) / jnp.maximum(jnp.sum(terms, 0), 1e-30)
        return (jnp.einsum("ng,xng->xg", share, terms).astype(x.dtype),)

    slope = sweep(densities)[0] / step
    identity = (jax.nn.sigmoid, _logit, _log_logistic) if beta else (jnp.exp, _log, lambda at: at)
    return density_table(start, step, slope, *identity), mean, sd


def _logit(t: Array) -> Array:
    inside = jnp.clip(t, 1e-300, 1.0)
    return jnp.log(inside) - jnp.log1p(-jnp.minimum(inside, 1 - 1e-16)) + 0 * t


def _log(t: Array) -> Array:
    return jnp.log(jnp.maximum(t, 1e-300)) + 0 * t


def _log_logistic(x: Array) -> Array:
    return jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)


def _log_moments(a: Array) -> tuple[Array, Array]:
    """Mean and variance of log of a Gamma(a, 1) variable, to a per cent or so: they only place the grid."""
    return jnp.log(a + 0.5) - 1 / a, 1 / (a * a) + 1 / (a + 0.5)


def density_table(start: Array, step: Array, slope: Array, *maps: Callable[[Array], Array]) -> Table:
    """Table from densities on the grid, known up to a factor: cell integrals of the cubic through four neighbours.

    Parameters
    ----------
    start, step : Array, shape (group,)
    slope : Array, shape (grid, group)
    *maps : callable
        ``value``, ``position``, ``log_jacobian`` as in `Table`.
    """
    padded = jnp.concatenate([slope[:1] * 0, slope, slope[:1] * 0])
    cells = step / 24 * (13 * (slope[:-1] + slope[1:]) - padded[:-3] - padded[3:])
    below = jnp.concatenate([jnp.zeros_like(slope[:1]), jnp.cumsum(jnp.maximum(cells, 0.0), 0)])
    total = jnp.maximum(below[-1], 1e-300)
    return Table(start, step, below / total, slope / total, *maps)


@lru_cache(maxsize=1)
def _kernel() -> tuple[np.ndarray, np.ndarray]:
    """Polynomials P and Q of the kernel: F(x) = Phi(x) - phi(x) P(x), f(x) = phi(x) Q(x)."""
    from numpy.polynomial import hermite_e

    even, odd = np.zeros(2 * _ORDER + 1), np.zeros(2 * _ORDER)
    for r in range(_ORDER + 1):
        factor = (-1) ** r / (2**r * math.factorial(r))
        even[2 * r] = factor
        if r:
            odd[2 * r - 1] = factor
    return hermite_e.herme2poly(odd), hermite_e.herme2poly(even)


def _smooth(x: Array) -> tuple[Array, Array]:
    """F and f of the smoothing kernel: flat in frequency, exp(-w^2/2) sum over r <= 5 of (w^2/2)^r / r!."""
    odd, even = _kernel()
    bell = jnp.exp(-0.5 * x * x) / _ROOT_2PI
    square = x * x
    p, q = jnp.zeros_like(x), jnp.zeros_like(x)
    for k in range(_ORDER - 1, -1, -1):
        p = p * square + odd[2 * k + 1]
    for k in range(_ORDER, -1, -1):
        q = q * square + even[2 * k]
    return 0.5 * erfc(x * (-1 / _ROOT_2)) - bell * x * p, bell * q


def point_table(
    weight: Array,
    at: Array,
    width: Array,
    start: Array,
    stop: Array,
    points: int,
    precision: str,
    *maps: Callable[[Array], Array],
) -> Table:
    """Law of something that the hyperparameters fix, from its values at lattice nodes, smoothed between them.

    A lattice knows the characteristic function up to half its dual's shortest vector; a kernel that is flat up to there gives
    back F without smoothing bias (higher-order Gaussian kernels: Wand & Schucany 1990, Canadian J. Statist. 18, 197-204).

    Parameters
    ----------
    weight : Array, shape (node,)
    at : Array, shape (node, group)
        Coordinate of each node.
    width : Array, shape (group,)
        Width of the kernel.
    start, stop : Array, shape (group,)
        Range of the grid.
    points : int
        Grid points.
    precision : str
        Type in which the kernel is evaluated.
    *maps : callable
        ``value``, ``position``, ``log_jacobian`` as in `Table`.
    """
    step = (stop - start) / (points - 1)
    x = start + step * jnp.arange(points, dtype=start.dtype)[:, None]
    inside = ((x[:, None] - at) * (1 / width)).astype(precision if at.dtype == jnp.float64 else at.dtype)
    share = weight.astype(inside.dtype)
    below, slope = (jnp.einsum("n,xng->xg", share, part).astype(at.dtype) for part in _smooth(inside))
    slope = slope / width
    below = jax.lax.cummax(jnp.clip(below, 0.0, 1.0), axis=0)
    return Table(start, step, below, jnp.maximum(slope, 0.0), *maps)


def hdi(law: NormalMixture | Table, level: float, groups: int) -> tuple[Array, Array]:
    """Shortest interval of a unimodal law with the given probability: equal density at both ends.

    Returns
    -------
    tuple of Array, each of shape (group,)
        Where the density rises towards an end of the support, the interval starts there.
    """
    tiny = 1e-7
    low = jnp.full((1, groups), tiny)
    high = jnp.full((1, groups), 1 - level - tiny)

    def ends(p: Array) -> Array:
        return law.quantile(jnp.concatenate([p, p + level]))

    def halve(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = state
        p = 0.5 * (low + high)
        density = law.density(ends(p))
        left = density[:1] < density[1:]
        return jnp.where(left, p, low), jnp.where(left, high, p)

    low, high = jax.lax.fori_loop(0, 20, halve, (low, high))
    found = ends(0.5 * (low + high))
    return found[0], found[1]
