"""Summaries of a mixture of laws over nodes of the hyperparameters: a posterior without draws.

    p(x | y) = sum_k w_k p(x | phi_k, y)

A mixture is held in one of two ways, each for all groups of a kind at once:

- `NormalMixture`: the cumulative distribution function is summed exactly; quantiles solve ``Phi^-1(F(x)) = Phi^-1(p)``
  by Newton steps, in ``x = c + s sinh(xi)`` so that heavy tails are as easy as light ones, from a Cornish-Fisher start,
  inside a bracket that bisects where Newton leaves it;
- `hiermodels.inference.law_tables.Table`: densities on a grid that follows the components
  (`hiermodels.inference.count_laws`) or, of a hyperparameter, on the lattice's own coordinate.

Axes: node first, then group. Everything is for one dataset and batches under ``vmap``. No group's numbers depend on
another's.

Errors
------
A summary is wrong by the lattice's error and by its own. The lattice's two halves (weights have the shape (half, node))
give two values of a probability, each normalised, that differ by delta: the whole is off by about delta squared
(`halves_error`). Grids are laid so finely that what they add is below a tenth of what an accuracy allows, for
components of any width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import erfc, ndtri

from hiermodels.families.component import Component
from hiermodels.inference.count_laws import Sweep
from hiermodels.inference.law_tables import Table, halves_error

__all__ = ["NormalMixture", "Summary", "hdi"]

_ROOT_2 = math.sqrt(2.0)
_ROOT_2PI = math.sqrt(2 * math.pi)
_FAR, _NARROW, _STEPS = 40.0, 1e-6, 100
"""Bracket of ``xi`` at first, the width at which a jump of F is its quantile, and the most steps of a search."""


class Summary(NamedTuple):
    """Posterior summary of one variable; arrays have the variable's shape.

    Attributes
    ----------
    mean, median, sd, lower, upper : Array
        ``lower`` and ``upper`` bound the interval asked for.
    cdf : tuple of Array
        Posterior probability of values at or below each threshold asked for, in that order.
    error, moment_error : Array
        Estimated errors over what the accuracy allows: of the worst quantile or probability, and of mean and sd.
    """

    mean: Array
    median: Array
    sd: Array
    lower: Array
    upper: Array
    cdf: tuple[Array, ...]
    error: Array
    moment_error: Array


class NormalMixture(eqx.Module):
    """Mixtures of normal laws, a group each.

    Attributes
    ----------
    sweep : callable
        Adds over nodes; its ``a`` is the mean, ``b`` the variance of each component.
    mass : Array, shape (half,)
        Weight of either half of the nodes.
    centre, scale, mean, sd, skewness, kurtosis : Array, shape (group,)
        Mean and twice the sd of one component; then the mixture's moments.
    error : Array, shape (group,)
        Estimated error of mean and sd, in sds.
    tolerance : float
        Newton stops where no quantile's normal score is further off; the last step then squares the error.
    precision : str
        Type in which distribution functions are evaluated; ``float32`` halves the time.
    """

    sweep: Sweep = eqx.field(static=True)
    mass: Array
    centre: Array
    scale: Array
    mean: Array
    sd: Array
    skewness: Array
    kurtosis: Array
    error: Array
    tolerance: float = eqx.field(static=True)
    precision: str = eqx.field(static=True)

    @classmethod
    def build(
        cls, sweep: Sweep, centre: Array, variance: Array, tolerance: float, precision: str = "float64"
    ) -> NormalMixture:
        """Moments of the mixture in one sweep, around a component of the bulk (its mean and variance, shape
        (group,)).
        """

        def powers(weight: Array, law: Component) -> tuple[Array, ...]:
            m, v = law.a - centre, _positive(law.b, law.a)
            low = jnp.stack([m, m**2 + v])
            high = (m * (m**2 + 3 * v), m**4 + 6 * m**2 * v + 3 * v**2)
            total = jnp.sum(weight, 0)
            return jnp.sum(weight, 1), jnp.einsum("hn,kng->hkg", weight, low), *(total @ x for x in high)

        mass, low, three, four = sweep(powers)
        one, two = jnp.sum(low, 0)
        total = jnp.maximum(two - one**2, 1e-300)
        third = three - 3 * one * two + 2 * one**3
        fourth = four - 4 * one * three + 6 * one**2 * two - 3 * one**4
        shape = (third / total**1.5, fourth / total**2 - 3)
        scale = 2 * jnp.sqrt(_positive(variance, centre))
        first, second = jnp.moveaxis(low / jnp.maximum(mass, 1e-300)[:, None, None], 1, 0)
        scaled = second - 2 * one * first
        error = (
            halves_error(*first) + 0.5 * halves_error(*scaled) / total
        ) / total  # of an sd: half of the variance's, relatively
        return cls(sweep, mass, centre, scale, centre + one, jnp.sqrt(total), *shape, error, tolerance, precision)

    def _scores(self, x: Array, law: Component) -> tuple[Array, Array]:
        root = jax.lax.optimization_barrier(1 / jnp.sqrt(_positive(law.b, law.a)))
        precision = self.precision if x.dtype == jnp.float64 else x.dtype
        return ((x[:, None] - law.a) * root).astype(precision), root.astype(precision)

    def _sums(self, x: Array) -> tuple[Array, Array]:
        """F by half, (half, k, group), and f, (k, group), at x of shape (k, group)."""

        def add(weight: Array, law: Component) -> tuple[Array, Array]:
            z, root = self._scores(x, law)
            below, density = 0.5 * erfc(z * (-1 / _ROOT_2)), jnp.exp(-0.5 * z * z) * (root / _ROOT_2PI)
            share = weight.astype(z.dtype)
            found = jnp.einsum("hn,kng->hkg", share, below), jnp.einsum("n,kng->kg", jnp.sum(share, 0), density)
            return found[0].astype(x.dtype), found[1].astype(x.dtype)

        below, density = self.sweep(add)
        return below, density

    def cdf_error(self, x: Array) -> tuple[Array, Array]:
        """F at x, shape (k, group), and its estimated error."""

        def add(weight: Array, law: Component) -> tuple[Array]:
            z, _ = self._scores(x, law)
            below = jnp.einsum("hn,kng->hkg", weight.astype(z.dtype), 0.5 * erfc(z * (-1 / _ROOT_2)))
            return (below.astype(x.dtype),)

        below = self.sweep(add)[0]
        return jnp.sum(below, 0), self._error(below)

    def _error(self, below: Array) -> Array:
        """Error of F from its parts by half, (half, k, group) -> (k, group)."""
        return halves_error(*(below / jnp.maximum(self.mass, 1e-300)[:, None, None]))

    def unseen(self) -> Array:
        """Error of the distribution function that the halves of the nodes do not see, (group,): none."""
        return jnp.zeros_like(self.error)

    def cdf(self, x: Array) -> Array:
        """F at x, shape (k, group)."""
        return self.cdf_error(x)[0]

    def density(self, x: Array) -> Array:
        """Density at x, shape (k, group)."""
        return self._sums(x)[1]

    def quantile(self, p: Array) -> Array:
        """Values with probability p below, p of shape (k, group); NaN where the search did not end."""
        return self.quantile_error(p)[0]

    def quantile_error(self, p: Array) -> tuple[Array, Array]:
        """Quantiles, and the estimated error of F there."""
        z = ndtri(p)
        skewness, kurtosis = jnp.clip(self.skewness, -1.5, 1.5), jnp.clip(self.kurtosis, -1.0, 3.0)
        start = z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skewness**2 / 36
        far = self.mean + self.sd * start
        xi = jnp.arcsinh((far - self.centre) / self.scale)
        # moments of the heaviest tails overflow: the bulk is a start too
        xi = jnp.where(jnp.isfinite(self.mean + self.sd + start), jnp.clip(xi, -_FAR, _FAR), jnp.arcsinh(0.5 * z))

        def step(state: _Search) -> _Search:
            halves, density = self._sums(self.centre + self.scale * jnp.sinh(state.xi))
            below = jnp.sum(halves, 0)
            score = ndtri(jnp.clip(below, 1e-300, 1 - 1e-16))
            off = score - z
            low, high = jnp.where(off < 0, state.xi, state.low), jnp.where(off > 0, state.xi, state.high)
            slope = density * self.scale * jnp.cosh(state.xi) * _ROOT_2PI * jnp.exp(0.5 * score**2)
            new = state.xi - off / slope
            # where F rounds to 0 or 1 its slope says nothing about the distance: a step must halve what is left, or the
            # bracket
            least = jnp.maximum(0.5 * jnp.abs(state.off), self.tolerance)
            helps = (new > low) & (new < high) & (jnp.abs(off) <= least)
            new = jnp.where(helps, new, jnp.where(off == 0, state.xi, 0.5 * (low + high)))
            new = jnp.where(jnp.isnan(off), off, new)
            found = _Search(state.steps + 1, low, high, new, off, self._error(halves))
            return jax.tree.map(lambda a, b: jnp.where(unsolved(state), a, b), found, state)._replace(steps=found.steps)

        def unsolved(state: _Search) -> Array:
            return (jnp.abs(state.off) > self.tolerance) & (state.high - state.low > _NARROW)

        wide = jnp.full_like(xi, _FAR)
        unknown = jnp.full_like(xi, jnp.inf)
        begin = _Search(jnp.zeros((), jnp.int32), -wide, wide, xi, unknown, unknown)
        end = jax.lax.while_loop(lambda state: (state.steps < _STEPS) & jnp.any(unsolved(state)), step, begin)
        return jnp.where(unsolved(end), jnp.nan, self.centre + self.scale * jnp.sinh(end.xi)), end.error


class _Search(NamedTuple):
    """Where the quantiles are sought: brackets, places, normal scores still missing, errors of F; (k, group) each."""

    steps: Array
    low: Array
    high: Array
    xi: Array
    off: Array
    error: Array


def _positive(variance: Array, mean: Array) -> Array:
    """Variances kept above rounding, so that a variable that is known exactly has a law too."""
    return jnp.maximum(variance, 1e-26 * (1e-10 + mean * mean))


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
