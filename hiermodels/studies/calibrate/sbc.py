"""Programs of simulation-based calibration: truth, dataset, posterior draws, position of the truth among them.

One replicate, compiled once and mapped over keys:

    prior SBC       theta ~ p(theta),      y ~ p(y | theta),      theta_1..theta_L ~ p(theta | y)
    posterior SBC   theta ~ p(theta | y0), y ~ p(y | theta),      theta_1..theta_L ~ p(theta | y0, y)

theta is then one more draw from the posterior. A *quantity* is any function of parameters and data. Autocorrelated
draws are thinned to their effective number, quantity by quantity, before the truth is ranked among them; ties are
broken at random.

Sources: Talts, Betancourt, Simpson, Vehtari and Gelman (2018), arXiv 1804.06788; Modrak, Moon, Kim, Buerkner, Huurre,
Faltejskova, Gelman and Vehtari (2023), Bayesian Analysis, doi 10.1214/23-BA1404 (quantities that depend on the data);
Saeilynoja, Schmitt, Buerkner and Vehtari (2025), arXiv 2502.03279 (posterior SBC).
"""

from __future__ import annotations

import concurrent.futures
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.diagnostics import convergence
from hiermodels.inference.draws import Draws
from hiermodels.inference.samplers import auto_lanes
from hiermodels.models.layout import Layout
from hiermodels.models.outcomes import outcome_law
from hiermodels.models.problem import Data
from hiermodels.models.row_means import linear_predictor, rates

__all__ = ["Quantities", "Ranks", "log_likelihood", "map_replicates", "ranks"]

POINTS = 9
"""Deciles of the prior at which the data-averaged posterior is compared with it."""


class Ranks(eqx.Module):
    """What is kept of a replicate; arrays of shape (quantity,) unless said otherwise.

    Attributes
    ----------
    rank, count : Array
        Thinned draws below the truth (ties broken at random), and their number.
    ess : Array
        Effective number of draws before thinning: the smaller of bulk and tail.
    share, below : Array, shape (quantity, point)
        Share of all draws up to each point, and whether the truth is.
    finite : Array of bool
        Whether truth and draws of a quantity are all finite.
    kept : Array of bool, shape ()
        Whether the rule that looks at the data alone keeps the replicate.
    flagged : Array of bool, shape ()
        Whether the sampler reports a divergent transition or weights that it distrusts.
    """

    rank: Array
    count: Array
    ess: Array
    share: Array
    below: Array
    finite: Array
    kept: Array
    flagged: Array


@dataclass(frozen=True)
class Quantities:
    """Which functions of parameters and data are ranked.

    Attributes
    ----------
    labels : dict of str to tuple of str
        Name of a quantity to the labels of its entries; ``("",)`` for a scalar.
    places : dict of str to ndarray or None
        For a variable: flat positions of its entries among padded ones.
    functions : dict of str to callable
        For a function ``(values, data) -> scalar`` of one draw.
    """

    labels: dict[str, tuple[str, ...]]
    places: dict[str, np.ndarray]
    functions: dict[str, Callable[..., Any]]

    @property
    def size(self) -> int:
        """Entries of all quantities."""
        return sum(map(len, self.labels.values()))

    def of(self, values: Mapping[str, Array], data: Any) -> Array:
        """All entries for one set of parameter values, shape (quantity,)."""
        parts = [jnp.ravel(values[name])[place] for name, place in self.places.items()]
        for name, function in self.functions.items():
            value = jnp.asarray(function(values, data))
            if value.shape != ():
                raise ValueError(
                    f"quantities: {name}: expected one number a draw, found shape {value.shape}; reduce it, e.g. "
                    f"jnp.sum"
                )
            parts.append(value[None])
        return jnp.concatenate([p.astype(jnp.result_type(float)) for p in parts])


def ranks(
    truth: Array,
    draws: Draws,
    quantities: Quantities,
    data: Any,
    points: Array,
    key: Array,
    independent: bool,
    kept: Array,
) -> Ranks:
    """Rank one truth among the draws of one posterior.

    Parameters
    ----------
    truth : Array, shape (quantity,)
    draws : Draws
        Values (chain, draw, *dims), padded group axes.
    quantities : Quantities
    data : Any
        The dataset that the draws are given.
    points : Array, shape (quantity, point)
    key : Array
        Breaks ties.
    independent : bool
        Draws are independent: nothing is thinned.
    kept : Array of bool, shape ()
    """
    wanted = {name: draws.values[name] for name in draws.values}
    x = jax.vmap(jax.vmap(lambda values: quantities.of(values, data)))(wanted)
    chains, length = x.shape[:2]
    total = float(chains * length)
    ess = jnp.full(truth.shape, total) if independent else _effective(x, total)
    stride = jnp.ceil(total / ess)
    used = (jnp.arange(length)[:, None] % stride == 0)[None]
    below, equal = jnp.sum((x < truth) & used, (0, 1)), jnp.sum((x == truth) & used, (0, 1))
    rank = below + jnp.floor(jax.random.uniform(key, truth.shape, truth.dtype) * (equal + 1))
    return Ranks(
        rank,
        jnp.broadcast_to(chains * jnp.sum(used, (0, 1)), truth.shape),
        ess,
        jnp.mean(x[..., None] <= points, (0, 1)),
        truth[:, None] <= points,
        jnp.all(jnp.isfinite(x), (0, 1)) & jnp.isfinite(truth),
        kept,
        _flagged(draws.stats),
    )


def _effective(x: Array, total: float) -> Array:
    """Effective number of draws, at least one a quantity and at most all; constant quantities have all."""
    _, bulk, tail = convergence(x)
    ess = jnp.minimum(bulk, tail)
    still = jnp.max(x, (0, 1)) == jnp.min(x, (0, 1))
    return jnp.clip(jnp.where(still | jnp.isnan(ess), total, ess), 1.0, total)


def _flagged(stats: Mapping[str, Array]) -> Array:
    found = [jnp.any(stats[name]) for name in ("diverging", "heavy_weights") if name in stats]
    return jnp.any(jnp.stack(found)) if found else jnp.zeros((), bool)


# the log-likelihood
# ----------------------------------------------------------------------------------------------------


def log_likelihood(layout: Layout) -> Callable[[Mapping[str, Array], Data], Array]:
    """Log likelihood of a dataset given every parameter and group value, up to a constant of the data.

    A test quantity that depends on the data: it tells a sampler that ignores the data, or part of them, from the right
    one, which ranks of parameters cannot.

    Parameters
    ----------
    layout : Layout

    Returns
    -------
    callable
        ``(values, data) -> Array`` of shape ().
    """
    if layout.gaussian:
        return lambda values, data: _normal(layout, values, data)
    if layout.normal_groups:
        return lambda values, data: _linked(layout, values, data)
    return lambda values, data: _counts(layout, values, data)


def _normal(layout: Layout, values: Mapping[str, Array], data: Data) -> Array:
    real = data.weight > 0
    sigma = jnp.ones(()) if layout.known else values["sigma"]
    square = jnp.where(real, data.weight * (data.y - linear_predictor(layout, values, data)) ** 2, 0.0)
    return -0.5 * jnp.sum(square) / sigma**2 - jnp.sum(real) * jnp.log(sigma)


def _linked(layout: Layout, values: Mapping[str, Array], data: Data) -> Array:
    law = outcome_law(layout, linear_predictor(layout, values, data), values, data)
    return jnp.sum(jnp.where(data.weight > 0, law.log_prob(data.y), 0.0))


def _counts(layout: Layout, values: Mapping[str, Array], data: Data) -> Array:
    real, size = data.size > 0, data.size
    return jnp.sum(jnp.where(real, layout.law.log_kernel(data.y, rates(layout, values, data), size), 0.0))


# many replicates
# -------------------------------------------------------------------------------------------------------


def map_replicates(one: Callable[..., Any], mapped: Any, shared: Any, lanes: int, workers: int, x64: bool) -> Any:
    """Map a program over replicates: lanes side by side, chunks on threads; compiled once.

    Parameters
    ----------
    one : callable
        ``one(mapped, shared)`` for a single replicate.
    mapped : pytree
        Arrays with a leading replicate axis.
    shared : pytree
    lanes : int
        Replicates in one vectorised step.
    workers : int
        Threads.
    x64 : bool
        Double precision, in every thread.

    Returns
    -------
    pytree of ndarray
        With a leading replicate axis.
    """
    count = len(jax.tree.leaves(mapped)[0])
    lanes = min(lanes, count)
    steps = max(1, min(math.ceil(count / (lanes * workers)), math.ceil(64 / lanes)))
    chunk = lanes * steps
    starts = range(0, count, chunk)

    def part(start: int) -> Any:
        rows = np.minimum(np.arange(start, start + chunk), count - 1)
        return jax.tree.map(lambda a: a[rows], mapped)

    with jax.enable_x64(x64):
        parts = [part(start) for start in starts]
        program = jax.jit(lambda m, s: jax.lax.map(lambda row: one(row, s), m, batch_size=lanes))
        compiled = program.lower(parts[0], shared).compile()

    def call(rows: Any) -> Any:
        with jax.enable_x64(x64):
            return jax.tree.map(np.asarray, compiled(rows, shared))

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(call, parts))
    return jax.tree.map(lambda *a: np.concatenate(a)[:count], *found)


def lanes_for(name: str, dim: int, size: int) -> int:
    """Replicates in one vectorised step of a sampler (16 for one of the user's own)."""
    return auto_lanes(name, jax.devices()[0].platform, dim, size) if name else 16
