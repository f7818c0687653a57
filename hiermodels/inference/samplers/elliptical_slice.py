"""Elliptical slice sampling, with a reference law that is fitted in warm-up.

Elliptical slice sampling (Murray, Adams & MacKay 2010, AISTATS 9, 541-548) moves a target N(x; m, S) r(x) along an
ellipse through the current point and a draw of the normal law, and shrinks the arc until r is high enough; it has no
step size and wants no gradient. Any target is of that form once a reference is divided out of it. As in Nishihara,
Murray & Adams (2014, JMLR 15, 2087-2112, section 2) that reference is a multivariate t law, a normal law given its own
random scale: chains return from tails that are heavier than the normal one.

Location and scale of the reference start at a Laplace fit and are fitted anew to the draws of all chains in three
windows of warm-up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from hiermodels.inference.samplers.base import Sampler
from hiermodels.inference.starts import LAPLACE_LIMIT, starts
from hiermodels.models.layout import Layout

__all__ = ["EllipticalSlice"]

_FREEDOM = 5.0
"""Degrees of freedom of the reference."""
_PROPOSALS = 60
"""Most proposals on an ellipse; by then nothing is left of the arc, and the chain stays where it is."""
_WINDOWS = (0.15, 0.4, 1.0)
"""Shares of warm-up after which the reference is fitted to the draws since the last time."""


@dataclass(frozen=True)
class EllipticalSlice(Sampler):
    """Elliptical slice sampler: along ellipses through draws of a reference law that warm-up fits; no step size, no
    gradient.

    To compare with. Moves on what `nuts` moves on, in the same coordinates, and refuses models with more dimensions
    than a reference can be fitted in: arcs are then too short to get anywhere.
    """

    name = "elliptical_slice"
    method = "with elliptical slice sampling"
    cites = ("elliptical",)
    functions = True

    def model(self, layout: Layout) -> Any:
        model = super().model(layout)
        if model.dim > LAPLACE_LIMIT:
            raise ValueError(
                f"sampler: {self.name!r} is for up to {LAPLACE_LIMIT} dimensions, this model has {model.dim}; use "
                f"sampler='nuts'"
            )
        return model

    def positions(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        settings = self.settings
        start_key, run_key = jax.random.split(key)
        unbend, log_density, position, covariance = starts(model, settings.chains, start_key, stats)
        first = jnp.eye(model.dim) if covariance is None else covariance
        rows, tried = _run(log_density, run_key, position, first, settings.draws, settings.tune)
        u = jax.vmap(jax.vmap(lambda q: unbend(q)[0]))(rows[..., :-1])
        return u, {"lp": rows[..., -1], "n_steps": tried}


class _Reference(NamedTuple):
    """A multivariate t law, and sums over draws z in its standardised coordinates, in which it is fitted anew.

    Attributes
    ----------
    mean, root : Array, shapes (dim,), (dim, dim)
        Location, and lower root of the scale matrix.
    count, first, second : Array, shapes (), (dim,), (dim, dim)
        Number of draws, sum of z, sum of z z'.
    """

    mean: Array
    root: Array
    count: Array  # type: ignore[assignment]
    first: Array
    second: Array

    @classmethod
    def at(cls, mean: Array, root: Array) -> _Reference:
        """A reference that has seen no draws."""
        return cls(mean, root, jnp.zeros((), mean.dtype), jnp.zeros_like(mean), jnp.zeros_like(root))

    def seen(self, z: Array) -> _Reference:
        """With some more draws (chain, dim); those that are not finite do not count."""
        fine = jnp.isfinite(z).all(1)
        z = jnp.where(fine[:, None], z, 0.0)
        return self._replace(
            count=self.count + jnp.sum(fine), first=self.first + jnp.sum(z, 0), second=self.second + z.T @ z
        )

    def fitted(self) -> _Reference:
        """The law with mean and covariance of the draws, shrunk towards the old one by ten draws."""
        n, unit = jnp.maximum(self.count, 1.0), jnp.eye(len(self.mean), dtype=self.mean.dtype)
        mean = self.first / n
        spread = (_FREEDOM - 2) / _FREEDOM * (self.second - n * jnp.outer(mean, mean))
        root = self.root @ jnp.linalg.cholesky((spread + 10 * unit) / (n + 10))
        fine = jnp.isfinite(root).all()
        return self.at(jnp.where(fine, self.mean + self.root @ mean, self.mean), jnp.where(fine, root, self.root))

    def inward(self, x: Array) -> Array:
        """Standardised coordinates of points (chain, dim)."""
        return jax.scipy.linalg.solve_triangular(self.root, (x - self.mean).T, lower=True).T


def _run(
    log_density: Callable[[Array], Array], key: Array, start: Array, covariance: Array, draws: int, tune: int
) -> tuple[Array, Array]:
    """Draws with their log densities (chain, draw, dim + 1), and numbers of proposals (chain, draw).

    A draw is what stands after as many ellipses as there are dimensions, and at least two.
    """
    chains, dim = start.shape
    reference = _Reference.at(jnp.mean(start, 0), jnp.linalg.cholesky((_FREEDOM - 2) / _FREEDOM * covariance))
    update = np.isin(np.arange(1, tune + draws + 1), [round(share * tune) for share in _WINDOWS])

    def ellipses(reference: _Reference, key: Array, points: Array) -> tuple[Array, Array]:
        def one(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
            keys = jax.random.split(jax.random.fold_in(key, i), chains)
            return jax.vmap(lambda *args: _ellipse(log_density, reference, *args))(keys, *state)

        return lax.fori_loop(0, max(2, dim), one, (points, jnp.zeros(chains, jnp.int32)))

    def draw(i: Array, state: Any) -> Any:
        reference, points, rows, tried = state
        points, count = ellipses(reference, jax.random.fold_in(key, i), points)
        reference = reference.seen(reference.inward(points[:, :-1]))
        reference = lax.cond(jnp.asarray(update)[i], _Reference.fitted, lambda r: r, reference)
        row = jnp.maximum(i - tune, 0)  # what warm-up leaves there is written over
        return reference, points, rows.at[:, row].set(points), tried.at[:, row].set(count)

    lp = jax.vmap(log_density)(start)
    points = jnp.concatenate(
        [jnp.where(jnp.isfinite(lp)[:, None], start, jnp.nan), lp[:, None]], 1
    )  # a chain that cannot start is lost
    rows = jnp.zeros((chains, draws, dim + 1), start.dtype)
    *_, rows, tried = lax.fori_loop(
        0, tune + draws, draw, (reference, points, rows, jnp.zeros((chains, draws), jnp.int32))
    )
    return rows, tried


def _ellipse(
    log_density: Callable[[Array], Array], reference: _Reference, key: Array, point: Array, tried: Array
) -> tuple[Array, Array]:
    """One chain's move along an ellipse; a point is its coordinates and its log density, (dim + 1,)."""
    dim = point.shape[0] - 1
    z = reference.inward(point[None, :dim])[0]
    scale_key, normal_key, height_key, angle_key = jax.random.split(key, 4)
    shape = (dim + _FREEDOM) / 2
    variance = (_FREEDOM + z @ z) / 2 / jax.random.gamma(scale_key, shape, dtype=z.dtype)
    other = jnp.sqrt(variance) * jax.random.normal(normal_key, z.shape, z.dtype)

    def excess(z: Array, lp: Array) -> Array:
        """Log of the target over the reference."""
        return lp + shape * jnp.log1p(z @ z / _FREEDOM)

    height = excess(z, point[dim]) - jax.random.exponential(height_key, dtype=z.dtype)
    angle = jax.random.uniform(angle_key, dtype=z.dtype, maxval=2 * math.pi)

    def proposed(state: Any) -> Any:
        count, low, high, angle, _, _ = state
        there = z * jnp.cos(angle) + other * jnp.sin(angle)
        x = reference.mean + reference.root @ there
        lp = log_density(x)
        low, high = jnp.where(angle < 0, angle, low), jnp.where(angle < 0, high, angle)
        share = jax.random.uniform(jax.random.fold_in(angle_key, count), dtype=z.dtype)
        return count + 1, low, high, low + (high - low) * share, jnp.append(x, lp), excess(there, lp) > height

    def unfinished(state: Any) -> Array:
        return ~state[-1] & (state[0] < _PROPOSALS)

    state = (jnp.zeros((), jnp.int32), angle - 2 * math.pi, angle, angle, point, jnp.zeros((), bool))
    count, *_, found, taken = lax.while_loop(unfinished, proposed, state)
    return jnp.where(taken, found, point), tried + count
