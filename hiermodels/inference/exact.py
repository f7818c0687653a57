"""The exact engine: posteriors with few hyperparameters, by quadrature, without a Markov chain.

`exact` lays a lattice over p(phi | y); `summarise_nodes` turns its nodes into means, quantiles and probabilities of every
variable, which are mixtures over the nodes; `sample_nodes` gives independent draws. All are for one dataset, pure, and batch
under ``vmap``: one compiled program serves every dataset of a layout.

How
---
1. Newton steps find the mode; slices through it choose the coordinates (`hiermodels.inference.coordinates`), in which a
   standard deviation that may be zero has no long tail.
2. A lattice (`hiermodels.inference.lattice`) is laid over the Laplace approximation and laid again over the moments it finds,
   until its own error estimate is good.
3. The estimate, `Nodes.quality`, is in units of the error that the accuracy allows: the disagreement of the lattice's two halves,
   squared (the error of the whole is of the order of the square of a half's), and the weight at its edge.

Above `POOR` the posterior needs something better: ``accuracy="fit"`` after ``"study"``, then NUTS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.coordinates import Coordinates, Kinds, fit_coordinates, kinds
from hiermodels.inference.lattice import Lattice, cholesky, lattice, solve_lower, solve_upper
from hiermodels.inference.mixtures import NormalMixture, Summary, Table, density_table, hdi, point_table, table
from hiermodels.models import hyper
from hiermodels.models.component import Component
from hiermodels.models.factorise import Factorised
from hiermodels.models.spec import Parameter

__all__ = ["MAX_DIM", "POOR", "ExactSettings", "Nodes", "exact", "sample_nodes", "summarise_nodes"]

MAX_DIM = 6
"""Most hyperparameters that a lattice is laid over."""
POOR = 1.0
"""`Nodes.quality` above this: the accuracy asked for was not reached (status ``heavy_weights``)."""

_NODES = {"study": (21, 36, 64, 144, 300, 600), "fit": (49, 640, 2500, 8000, 16000, 32000)}
_RADIUS = {"study": (4.6, 4.0, 4.0, 4.3, 4.5, 4.7), "fit": (6.0, 6.0, 6.0, 6.0, 6.0, 6.0)}
_PLANES = 49
"""Points at which the marginal density of a hyperparameter is integrated for a fit."""
_ACROSS = ((31, 5.6), (160, 5.6), (640, 5.5), (2000, 5.5), (6000, 5.6))
"""Nodes and radius of the lattices in the other hyperparameters."""
_MANY = 10_000
"""With more groups than this a marginal density is smoothed from the lattice instead: the posterior is nearly normal then."""
_ALLOWED = {"study": 0.05, "fit": 1e-3}
"""Error allowed, in posterior standard deviations: 1 / sqrt(400), and the promise of a fit."""
_ROUNDS = {"study": 3, "fit": 4}
_GRID = {"study": (24, 36, 4.2), "fit": (64, 160, 7.0)}
"""Grid points of a hyperparameter's table, of a beta or gamma table, and reach of the latter."""
_TOLERANCE = {"study": 0.05, "fit": 3e-3}
_PRECISION = {"study": "float32", "fit": "float64"}
"""Of the distribution functions summed over nodes (not of anything else)."""
_SMOOTH = {"study": 5.2, "fit": 6.2}
"""Kernel widths times the lattice's first alias: how much of it is let through."""
_BLOCK = 1 << 22
"""Numbers (nodes times groups) held at once."""
_POOL = 8
"""Candidates a draw, where draws are resampled."""


@dataclass(frozen=True)
class ExactSettings:
    """How exact.

    Attributes
    ----------
    accuracy : str
        ``fit``: every summary within 1e-3 posterior sd; ``study``: at least as good as 400 independent draws.
    """

    accuracy: str = "fit"

    def __post_init__(self) -> None:
        if self.accuracy not in _NODES:
            raise ValueError(f"accuracy: expected 'fit' or 'study', found {self.accuracy!r}; use one of them")


class Nodes(eqx.Module):
    """Weighted values of the hyperparameters that stand for their posterior.

    Attributes
    ----------
    u : Array, shape (node, dim)
        Unconstrained values.
    log_weight : Array, shape (node,)
        Normalised.
    v : Array, shape (node, dim)
        The same nodes in the lattice's coordinates.
    centre, scale : Array, shapes (dim,), (dim, dim)
        The lattice is ``centre + scale z``, scale lower triangular.
    coordinates : Coordinates
        v to u.
    log_evidence : Array
        log p(y), shape ().
    quality : Array
        Estimated error over the error allowed, shape (); above `POOR` it is not to be trusted.
    rounds : Array
        Times the lattice was laid, shape ().
    marginals : Array or None, shape (dim, plane)
        Marginal densities of the lattice's coordinates, equally spaced over its radius (accuracy of a fit, two or more
        hyperparameters), up to a factor.
    accuracy : str
    """

    u: Array
    log_weight: Array
    v: Array
    centre: Array
    scale: Array
    coordinates: Coordinates | None
    log_evidence: Array
    quality: Array
    rounds: Array
    marginals: Array | None
    accuracy: str = eqx.field(static=True)


def exact(factorised: Factorised, settings: ExactSettings | None = None) -> Callable[[Array, Any], Nodes]:
    """Quadrature over the hyperparameters of a factorised model.

    Parameters
    ----------
    factorised : Factorised
    settings : ExactSettings
        Default: accuracy of a fit.

    Returns
    -------
    callable
        ``nodes(key, stats) -> Nodes`` for one dataset; the key is not used (there is nothing random).

    Raises
    ------
    ValueError
        With more than `MAX_DIM` hyperparameters.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import as_jax, bind
    >>> from hiermodels.models.factorise import factorise
    >>> with jax.enable_x64(True):
    ...     model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat()"})
    ...     problem = bind(model, hm.load_dataset("eight_schools"))
    ...     model = factorise(problem.layout)
    ...     stats = model.prepare(as_jax(problem.data))
    ...     nodes = exact(model)(jax.random.key(0), stats)
    ...     found = summarise_nodes(model, nodes, stats, ("sd_school",))["sd_school"]
    >>> round(float(found.mean), 2), round(float(found.median), 2)
    (6.58, 5.24)
    """
    settings = settings or ExactSettings()
    dim, word = factorised.dim, settings.accuracy
    if dim > MAX_DIM:
        raise ValueError(
            f"sampler: 'exact' is for up to {MAX_DIM} hyperparameters, this model has {dim}; use sampler='nuts'"
        )
    if dim == 0:
        return lambda key, stats: _single(factorised, stats, word)
    grid = lattice(dim, _NODES[word][dim - 1], _RADIUS[word][dim - 1])
    known = _kinds(factorised)

    def nodes(key: Array, stats: Any) -> Nodes:
        def log_density(u: Array) -> Array:
            return factorised.log_density(u, stats)

        return _lay(log_density, factorised.start(stats), grid, known, _block(factorised), word)

    return nodes


def _kinds(factorised: Factorised) -> Kinds:
    """Kinds of all coordinates; what follows the parameters (standardised group effects) is real."""
    known = kinds(factorised.parameters)
    more = factorised.dim - len(known.kind)
    return Kinds(known.kind + (2,) * more, known.power + (1.0,) * more, known.light + (False,) * more)


def _block(factorised: Factorised) -> int:
    """Nodes evaluated at once, so that memory stays flat in the number of groups."""
    layout = factorised.layout
    size = max([level.size for level in layout.levels] + [1]) * max(1, len(layout.columns)) ** 2
    return max(1, _BLOCK // size)


def _single(factorised: Factorised, stats: Any, word: str) -> Nodes:
    """No hyperparameters: the posterior is in closed form."""
    u = jnp.zeros((1, 0))
    zero = jnp.zeros(())
    density = factorised.log_density(u[0], stats)
    quality = jnp.where(jnp.isfinite(density), 0.0, jnp.inf)
    none = jnp.zeros(0)
    return Nodes(u, jnp.zeros(1), u, none, jnp.zeros((0, 0)), None, density, quality, zero.astype(jnp.int32), None, word)


# the lattice --------------------------------------------------------------------------------------------------------


def _lay(
    log_density: Callable[[Array], Array], start: Array, grid: Lattice, known: Kinds, block: int, word: str
) -> Nodes:
    mode, gradient, curvature = _mode(log_density, start, known)
    coordinates = fit_coordinates(log_density, mode, jnp.diagonal(curvature), known)
    centre, scale = _laplace(coordinates, gradient, curvature)
    z, light = jnp.asarray(grid.z), np.flatnonzero(known.light)

    def at(v: Array) -> Array:
        """Log density of lattice coordinates, (node, dim) -> (node,)."""
        u = coordinates.u(v)
        density = jax.vmap(log_density)(u) if len(v) <= block else jax.lax.map(log_density, u, batch_size=block)
        density = density + jnp.sum(coordinates.log_slope(v), -1)
        return jnp.where(density < jnp.inf, density, -jnp.inf)

    def again(state: tuple[Array, ...]) -> tuple[Array, ...]:
        count, centre, scale, _, _, _, next_centre, next_scale = state
        centre, scale = next_centre, next_scale
        v = centre + z @ scale.T
        density = at(v)
        squares = jnp.exp(jnp.minimum(2 * (coordinates.u(v) - coordinates.centre), 200.0))[:, light]
        mean, spread, error, edge = _judge(grid, density, squares)
        wider = jnp.where(edge > 0.3 * _ALLOWED[word], 1.15, 1.0)
        factor = cholesky(spread, 0.01)
        return count + 1, centre, scale, density, error, edge, centre + scale @ mean, wider * scale @ factor

    def unfinished(state: tuple[Array, ...]) -> Array:
        return (state[0] < _ROUNDS[word]) & ((state[4] + state[5] > _ALLOWED[word]) | (state[0] < 1))

    worst = jnp.full((), jnp.inf, start.dtype)
    empty = jnp.zeros(len(grid.z), start.dtype)
    state = (jnp.zeros((), jnp.int32), centre, scale, empty, worst, worst, centre, scale)
    count, centre, scale, density, error, edge, _, _ = jax.lax.while_loop(unfinished, again, state)
    total = jax.scipy.special.logsumexp(density)
    v = centre + z @ scale.T
    # nodes without weight may be so far out that nothing can be computed there: they move to the best one
    seen = density - jnp.max(density) > -60.0
    u = coordinates.u(v)
    u = jnp.where(seen[:, None] | jnp.isnan(total), u, u[jnp.argmax(density)])
    volume = math.log(grid.cell) + jnp.sum(jnp.log(jnp.diagonal(scale)))
    quality = jnp.where(jnp.isfinite(total), (error + edge) / _ALLOWED[word], jnp.inf)
    marginals = None
    if word == "fit" and grid.z.shape[1] > 1 and block > _BLOCK // _MANY:
        marginals = jnp.stack([_marginal(at, centre, scale, i) for i in range(grid.z.shape[1])])
    log_weight = jnp.where(seen, density - total, -jnp.inf)
    return Nodes(u, log_weight, v, centre, scale, coordinates, total + volume, quality, count, marginals, word)


def _marginal(at: Callable[[Array], Array], centre: Array, scale: Array, i: int) -> Array:
    """Marginal density of one lattice coordinate at equally spaced values, up to a factor: (plane,).

    Each value has a lattice in the other coordinates, moved along their regression on this one.
    """
    dim = centre.shape[0]
    order = np.array([i, *(j for j in range(dim) if j != i)])
    across = lattice(dim - 1, *_ACROSS[dim - 2])
    turned = cholesky((scale @ scale.T)[order][:, order], 1e-300)
    radius = _RADIUS["fit"][dim - 1]
    shape = (_PLANES, len(across.z))
    first = jnp.broadcast_to(jnp.linspace(-radius, radius, _PLANES)[:, None], shape)[..., None]
    z = jnp.concatenate([first, jnp.broadcast_to(jnp.asarray(across.z), (*shape, dim - 1))], -1)
    v = centre + (z.reshape(-1, dim) @ turned.T)[:, np.argsort(order)]
    density = at(v).reshape(shape)
    return jnp.sum(jnp.exp(density - jnp.max(density)), 1)


def _mode(log_density: Callable[[Array], Array], start: Array, known: Kinds) -> tuple[Array, Array, Array]:
    """Mode, gradient and minus the Hessian there.

    Newton steps at four dampings and a short one are tried side by side and the best is kept, so that no lane of a batch waits
    for another's line search; they end where a step would gain less than a thousandth.
    """
    dim = start.shape[0]
    limit = jnp.asarray(np.where(np.array(known.kind) == 2, 1e6, 2.0), start.dtype)
    damping = jnp.array([0.0, 0.03, 0.3, 3.0], start.dtype)
    unit = jnp.eye(dim, dtype=start.dtype)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        count, _, _, _, here, _ = state
        gradient, curvature = jax.grad(log_density)(here), -jax.hessian(log_density)(here)
        size = jnp.max(jnp.abs(jnp.diagonal(curvature))) + 1e-6

        def direction(extra: Array) -> Array:
            factor = cholesky(curvature + extra * size * unit, 1e-3 * size)
            return jnp.clip(solve_upper(factor, solve_lower(factor, gradient)), -limit, limit)

        moves = jax.vmap(direction)(damping)
        tried = jnp.concatenate([here[None], here + moves, here + 0.25 * moves[:1]])
        density = jax.vmap(log_density)(tried)
        best = tried[jnp.argmax(jnp.where(density < jnp.inf, density, -jnp.inf))]
        return count + 1, here, gradient, curvature, best, jnp.max(jnp.abs(gradient * moves[0]))

    def unfinished(state: tuple[Array, ...]) -> Array:
        return (state[0] < 1) | ((state[0] < 20) & (state[5] > 1e-3))

    zero = jnp.zeros((), jnp.int32)
    first = (zero, start, start, unit, start, jnp.zeros((), start.dtype))
    return jax.lax.while_loop(unfinished, step, first)[1:4]


def _laplace(coordinates: Coordinates, gradient: Array, curvature: Array) -> tuple[Array, Array]:
    """Centre and scale of the Laplace approximation in the lattice's coordinates."""
    v, ones = coordinates.v0, jnp.ones_like(coordinates.v0)
    log_slope, first = jax.jvp(coordinates.log_slope, (v,), (ones,))
    second = jax.jvp(lambda x: jax.jvp(coordinates.log_slope, (x,), (ones,))[1], (v,), (ones,))[1]
    slope = jnp.exp(log_slope)
    bend = gradient * slope * first + second
    factor = cholesky(slope[:, None] * curvature * slope - jnp.diag(bend), 0.02)
    move = solve_upper(factor, solve_lower(factor, gradient * slope + first))
    covariance = solve_upper(factor, solve_lower(factor, jnp.eye(v.shape[0], dtype=v.dtype)))
    limit = jnp.sqrt(jnp.maximum(jnp.diagonal(covariance), 0.0))
    return v + jnp.clip(move, -limit, limit), cholesky(covariance, 1e-12)


def _judge(grid: Lattice, density: Array, squares: Array) -> tuple[Array, Array, Array, Array]:
    """Mean and covariance in units of the lattice, and two errors in posterior sds: of its spacing and of its edge.

    The halves' evidence, means and covariances disagree by delta: the whole is then off by about delta^2. The outermost shell
    holds ``edge``; a normal law holds some of it there too, and what lies beyond is about twice the rest. The same is asked of
    the second moments of standard deviations, ``squares`` (node, light).
    """
    z, odd = jnp.asarray(grid.z), jnp.asarray(grid.odd)
    weight = jnp.exp(density - jnp.max(density))
    square = np.sum(grid.z**2, 1)
    shell = square > (grid.radius - 1.0) ** 2
    usual = np.sum(np.exp(-0.5 * square[shell])) / np.sum(np.exp(-0.5 * square))
    products = jnp.asarray(np.einsum("ni,nj->nij", grid.z, grid.z).reshape(len(grid.z), -1))
    features = jnp.concatenate([jnp.ones_like(z[:, :1]), z, products, jnp.asarray(shell, z.dtype)[:, None]], 1)
    one, other = jnp.where(odd, weight, 0.0) @ features, jnp.where(odd, 0.0, weight) @ features
    total = one + other
    dim = z.shape[1]

    def moments(sums: Array) -> tuple[Array, Array]:
        return sums[1 : 1 + dim] / sums[0], sums[1 + dim : -1].reshape(dim, dim) / sums[0]

    mean, second = moments(total)
    spread = second - mean[:, None] * mean
    (mean_1, second_1), (mean_2, second_2) = moments(one), moments(other)
    sd = jnp.sqrt(jnp.maximum(jnp.diagonal(spread), 1e-12))
    delta = jnp.abs(one[0] - other[0]) / total[0]
    delta = jnp.maximum(delta, jnp.max(jnp.abs(mean_1 - mean_2) / sd) / 2)
    delta = jnp.maximum(delta, jnp.max(jnp.abs(second_1 - second_2) / (sd[:, None] * sd)) / 2)
    share = total[-1] / total[0]
    edge = 2 * jnp.maximum(share - 1.5 * usual, 0.0) + 0.3 * jnp.minimum(share, usual)
    outside = (weight * shell) @ squares / (weight @ squares)
    edge = jnp.max(jnp.append(0.5 * jnp.maximum(outside - 3 * usual, 0.0), edge))
    unknown = ~jnp.isfinite(delta + edge)
    return mean, spread, jnp.where(unknown, jnp.inf, 0.5 * delta**2), jnp.where(unknown, jnp.inf, edge)


# summaries ----------------------------------------------------------------------------------------------------------


def summarise_nodes(
    factorised: Factorised,
    nodes: Nodes,
    stats: Any,
    wanted: Sequence[str],
    *,
    interval: float = 0.95,
    kind: str = "equal_tailed",
    thresholds: Mapping[str, Sequence[Array]] | None = None,
) -> dict[str, Summary]:
    """Posterior summaries of variables, ``mean(<variable>)`` and ``new(<level>)``: mixtures over the nodes.

    Parameters
    ----------
    factorised : Factorised
    nodes : Nodes
    stats
        Of the same dataset.
    wanted : sequence of str
        Names from ``factorised.available()``.
    interval : float
        Probability of the interval.
    kind : str
        ``equal_tailed``, ``hdi`` (shortest, of a unimodal law) or ``upper`` (from minus infinity).
    thresholds : mapping of str to sequence of Array
        Variable to values at which its distribution function is asked; each broadcasts to the variable's shape.

    Returns
    -------
    dict of str to Summary
        Group axes padded. Where a moment does not exist the number given is the lattice's and means nothing.

    Raises
    ------
    ValueError
        For an unknown kind of interval or an interval outside (0, 1).
    """
    if kind not in ("equal_tailed", "hdi", "upper"):
        raise ValueError(f"interval: expected equal_tailed, hdi or upper, found {kind!r}; use one of them")
    if not 0 < interval < 1:
        raise ValueError(f"interval: expected a probability between 0 and 1, found {interval!r}; e.g. 0.95")
    thresholds = thresholds or {}
    wanted = tuple(dict.fromkeys(wanted))
    best = nodes.u[jnp.argmax(nodes.log_weight)]
    one = factorised.components(best, stats, wanted)
    held = _Held(factorised, nodes, stats, one)
    found: dict[str, Summary] = {}
    for kind_of_law in ("normal", "beta", "gamma"):
        names = [n for n in wanted if one[n].kind == kind_of_law]
        if names:
            found |= _summarise_laws(kind_of_law, names, held, interval, kind, thresholds)
    for name in wanted:
        if one[name].kind == "point":
            found[name] = _summarise_point(name, held, interval, kind, thresholds.get(name, ()))
    return {name: found[name] for name in wanted}


class _Held:
    """Components at the nodes: all at once, or in blocks where that would be too much."""

    def __init__(self, factorised: Factorised, nodes: Nodes, stats: Any, one: dict[str, Component]) -> None:
        self.factorised, self.nodes, self.stats, self.one = factorised, nodes, stats, one
        self.weight = jnp.exp(nodes.log_weight)
        count, self.block = nodes.u.shape[0], _block(factorised)
        self.whole = self._components(nodes.u, tuple(one)) if count <= self.block else None

    def _components(self, u: Array, names: tuple[str, ...]) -> dict[str, Component]:
        return jax.vmap(lambda here: self.factorised.components(here, self.stats, names))(u)

    def values(self, name: str) -> Array:
        """A point's value at every node, shape (node, *shape)."""
        if self.whole is not None:
            return self.whole[name].a
        u = self.nodes.u
        return jax.lax.map(lambda here: self.factorised.components(here, self.stats, (name,))[name].a, u, batch_size=self.block)

    def sweep(self, names: list[str]) -> Callable[[Callable[..., tuple[Array, ...]]], tuple[Array, ...]]:
        """Adds ``f(weight, a, b)`` over nodes; a and b hold the groups of all names side by side."""
        if self.whole is not None:
            a, b = _beside(self.whole, names)
            return lambda f: f(self.weight, a, b)
        count, block = self.nodes.u.shape[0], self.block
        blocks = -(-count // block)
        u = jnp.concatenate([self.nodes.u, jnp.repeat(self.nodes.u[:1], blocks * block - count, 0)])
        weight = jnp.concatenate([self.weight, jnp.zeros(blocks * block - count, self.weight.dtype)])
        parts = (u.reshape(blocks, block, -1), weight.reshape(blocks, block))

        def swept(f: Callable[..., tuple[Array, ...]]) -> tuple[Array, ...]:
            def add(total: tuple[Array, ...], part: tuple[Array, Array]) -> tuple[tuple[Array, ...], None]:
                a, b = _beside(self._components(part[0], tuple(names)), names)
                return jax.tree.map(jnp.add, total, f(part[1], a, b)), None

            shapes = jax.eval_shape(lambda: f(parts[1][0], *_beside(self._components(parts[0][0], tuple(names)), names)))
            zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
            return jax.lax.scan(add, zero, parts)[0]

        return swept


def _beside(components: dict[str, Component], names: list[str]) -> tuple[Array, Array]:
    """Components of several variables side by side, (node, group) each."""

    def flat(x: Array) -> Array:
        return x.reshape(x.shape[0], -1)

    a = [flat(components[n].a) for n in names]
    b = [flat(jnp.broadcast_to(components[n].b, components[n].a.shape)) for n in names]
    return jnp.concatenate(a, 1), jnp.concatenate(b, 1)


def _summarise_laws(
    kind_of_law: str,
    names: list[str],
    held: _Held,
    interval: float,
    kind: str,
    thresholds: Mapping[str, Sequence[Array]],
) -> dict[str, Summary]:
    word = held.nodes.accuracy
    sweep, shapes = held.sweep(names), [held.one[n].a.shape for n in names]
    sizes = [math.prod(s) for s in shapes]
    law: NormalMixture | Table
    if kind_of_law == "normal":
        centre = jnp.concatenate([jnp.ravel(held.one[n].a) for n in names])
        spread = jnp.concatenate([jnp.ravel(jnp.broadcast_to(held.one[n].b, held.one[n].a.shape)) for n in names])
        law = NormalMixture.build(sweep, centre, spread, _TOLERANCE[word], _PRECISION[word])
        mean, sd = law.mean, law.sd
    else:
        _, points, reach = _GRID[word]
        law, mean, sd = table(kind_of_law, sweep, points, reach, _PRECISION[word])
    median, lower, upper = _interval(law, sum(sizes), interval, kind)
    most = max([len(thresholds.get(n, ())) for n in names])
    below = None
    if most:
        rows = [[*thresholds.get(n, ()), *[jnp.nan] * (most - len(thresholds.get(n, ())))] for n in names]
        asked = [
            jnp.concatenate([jnp.ravel(jnp.broadcast_to(row[k], s)) for row, s in zip(rows, shapes, strict=True)])
            for k in range(most)
        ]
        below = law.cdf(jnp.stack(asked).astype(mean.dtype))
    found, start = {}, 0
    for name, shape, size in zip(names, shapes, sizes, strict=True):
        part = slice(start, start + size)
        five = [x[part].reshape(shape) for x in (mean, median, sd, lower, upper)]
        count = len(thresholds.get(name, ()))
        chances = () if below is None else tuple(below[k, part].reshape(shape) for k in range(count))
        found[name] = Summary(*five, chances)
        start += size
    return found


def _interval(law: NormalMixture | Table, groups: int, interval: float, kind: str) -> tuple[Array, Array, Array]:
    """Median and the ends of the interval, each (group,)."""
    tail = (1 - interval) / 2
    asked = {"equal_tailed": [0.5, tail, 1 - tail], "upper": [0.5, interval], "hdi": [0.5]}[kind]
    found = law.quantile(jnp.broadcast_to(jnp.array(asked)[:, None], (len(asked), groups)))
    if kind == "equal_tailed":
        return found[0], found[1], found[2]
    if kind == "upper":
        return found[0], jnp.full_like(found[0], -jnp.inf), found[1]
    return found[0], *hdi(law, interval, groups)


def _summarise_point(name: str, held: _Held, interval: float, kind: str, thresholds: Sequence[Array]) -> Summary:
    """Summary of something that the hyperparameters fix."""
    values = held.values(name)
    shape = values.shape[1:]
    flat = values.reshape(values.shape[0], -1)
    centre = flat[jnp.argmax(held.weight)]
    mean, sd = _moments(held.weight, flat)
    place = _coordinate(held.factorised, name)
    if place is not None and held.nodes.coordinates is not None:
        law = _coordinate_table(held.nodes, *place)
        if held.nodes.marginals is not None:
            planes = held.nodes.marginals[place[0]]
            at = law.start + law.step * jnp.arange(_PLANES)[:, None]
            mean, sd = _moments(planes / jnp.sum(planes), jnp.where(planes[:, None] > 0, law.value(at), centre))
    elif held.factorised.dim == 0 or _fixed(held.factorised, name):
        known = centre + 0 * mean
        chances = tuple(jnp.where(jnp.isnan(t), jnp.nan, (t >= known.reshape(shape)) * 1.0) for t in thresholds)
        ends = [known.reshape(shape)] * 2
        if kind == "upper":
            ends[0] = jnp.full_like(ends[0], -jnp.inf)
        return Summary(known.reshape(shape), known.reshape(shape), jnp.zeros_like(ends[1]), ends[0], ends[1], chances)
    else:
        law = _value_table(held.nodes, held.weight, flat, mean, sd)
    median, lower, upper = _interval(law, flat.shape[1], interval, kind)
    chances = ()
    if thresholds:
        asked = jnp.stack([jnp.ravel(jnp.broadcast_to(t, shape)) for t in thresholds]).astype(mean.dtype)
        chances = tuple(x.reshape(shape) for x in law.cdf(asked))
    return Summary(*[x.reshape(shape) for x in (mean, median, sd, lower, upper)], chances)


def _moments(weight: Array, x: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of weighted values, (node, group) -> (group,)."""
    centre = x[jnp.argmax(weight)]
    shift = weight @ (x - centre)
    return centre + shift, jnp.sqrt(jnp.maximum(weight @ (x - centre) ** 2 - shift**2, 0.0))


def _coordinate(factorised: Factorised, name: str) -> tuple[int, Parameter] | None:
    """Place in u of a parameter that is one of its coordinates."""
    start = 0
    for p in factorised.parameters:
        count = hyper.width(p)
        if p.name == name and count == 1 and p.kind != "correlation":
            return start, p
        start += count
    return None


def _fixed(factorised: Factorised, name: str) -> bool:
    return any(p.name == name and hyper.width(p) == 0 for p in factorised.layout.parameters)


def _coordinate_table(nodes: Nodes, i: int, p: Parameter) -> Table:
    """Law of one coordinate of phi, on the lattice's own scale of it."""
    assert nodes.coordinates is not None
    here = nodes.coordinates.at(i)
    grid, width = _kernel_width(nodes)
    reach = jnp.sqrt(jnp.sum(nodes.scale[i] ** 2))
    low, high = p.prior.support(p.kind)

    def natural(v: Array) -> Array:
        return hyper.constrain((p,), here.u(v)[None])[p.name]

    def position(x: Array) -> Array:
        inside = jnp.where(x > low, x, 0.5 * (low + min(high, low + 2.0)) if math.isfinite(low) else x)
        inside = jnp.where(inside < high, inside, low + 0.5 * (high - low) if math.isfinite(high) else inside)
        u = hyper.unconstrain((p,), {p.name: inside})[0]
        return jnp.where(x <= low, -jnp.inf, jnp.where(x >= high, jnp.inf, here.v(u)))

    def log_jacobian(v: Array) -> Array:
        return jnp.log(jax.jvp(natural, (v,), (jnp.ones_like(v),))[1])

    centre, ends = nodes.centre[i][None], (reach * grid.radius)[None]
    maps = (natural, position, log_jacobian)
    if nodes.marginals is not None:
        return density_table(centre - ends, 2 * ends / (_PLANES - 1), nodes.marginals[i][:, None], *maps)
    return point_table(
        jnp.exp(nodes.log_weight),
        nodes.v[:, i : i + 1],
        (reach * width)[None],
        centre - ends,
        centre + ends,
        _GRID[nodes.accuracy][0],
        _PRECISION[nodes.accuracy],
        *maps,
    )


def _kernel_width(nodes: Nodes) -> tuple[Lattice, float]:
    """The lattice, and the width of the kernel that smooths between its points, in its units."""
    dim, word = nodes.u.shape[1], nodes.accuracy
    grid = lattice(dim, _NODES[word][dim - 1], _RADIUS[word][dim - 1])
    return grid, _SMOOTH[word] / grid.alias


def _value_table(nodes: Nodes, weight: Array, at: Array, mean: Array, sd: Array) -> Table:
    """Law of a function of phi that is no coordinate, on its own scale."""
    grid, width = _kernel_width(nodes)
    known = jnp.maximum(sd, 1e-12 * (1e-10 + jnp.abs(mean)))
    bulk = grid.radius * known

    def same(x: Array) -> Array:
        return x

    return point_table(weight, at, width * known, mean - bulk, mean + bulk, 2 * _GRID[nodes.accuracy][0], "float64", same, same, jnp.zeros_like)


# draws --------------------------------------------------------------------------------------------------------------


def sample_nodes(
    factorised: Factorised, nodes: Nodes, stats: Any, key: Array, chains: int, draws: int
) -> dict[str, Array]:
    """Independent draws of every variable.

    One hyperparameter is drawn by inverting its distribution function; more by resampling, hardly ever with repetition, from candidates
    spread evenly over the lattice's cells, each weighted by its own density. Then `Factorised.draw`.

    Returns
    -------
    dict of str to Array
        Each (chain, draw, *dims), group axes padded.
    """
    phi_key, draw_key = jax.random.split(key)
    count = chains * draws
    dim = factorised.dim
    if dim == 0:
        u = jnp.zeros((count, 0))
    elif dim == 1:
        u = _invert(nodes, phi_key, count)
    else:
        u = _resample(factorised, nodes, stats, phi_key, count)
    keys = jax.random.split(draw_key, count)
    block = max(1, min(count, _block(factorised)))

    def draw(args: tuple[Array, Array]) -> dict[str, Array]:
        return factorised.draw(args[0], args[1], stats)

    values = jax.lax.map(draw, (keys, u), batch_size=block)
    return {name: x.reshape(chains, draws, *x.shape[1:]) for name, x in values.items()}


def _invert(nodes: Nodes, key: Array, count: int) -> Array:
    assert nodes.coordinates is not None
    grid, width = _kernel_width(nodes)
    reach = nodes.scale[0]
    law = point_table(
        jnp.exp(nodes.log_weight),
        nodes.v,
        reach * width,
        nodes.centre - reach * grid.radius,
        nodes.centre + reach * grid.radius,
        4 * _GRID["fit"][0],
        "float64",
        *([lambda x: x] * 3),
    )
    p = jax.random.uniform(key, (count, 1), nodes.u.dtype)
    return nodes.coordinates.u(law.quantile_at(p))


def _resample(factorised: Factorised, nodes: Nodes, stats: Any, key: Array, count: int) -> Array:
    assert nodes.coordinates is not None
    coordinates = nodes.coordinates
    grid, _ = _kernel_width(nodes)
    keys = jax.random.split(key, 4)
    chosen = _systematic(keys[0], nodes.log_weight, _POOL * count)
    spread = jax.random.uniform(keys[1], (_POOL * count, nodes.u.shape[1]), nodes.u.dtype, -0.5, 0.5)
    v = nodes.v[chosen] + grid.spacing * spread @ nodes.scale.T

    def weigh(v: Array) -> tuple[Array, Array]:
        u = coordinates.u(v)
        return u, factorised.log_density(u, stats) + jnp.sum(coordinates.log_slope(v))

    u, density = jax.lax.map(weigh, v, batch_size=min(_POOL * count, _block(factorised), 4096))
    log_weight = jnp.where(density < jnp.inf, density, -jnp.inf) - nodes.log_weight[chosen]
    kept = _systematic(keys[2], log_weight, count)
    return u[jax.random.permutation(keys[3], kept)]


def _systematic(key: Array, log_weight: Array, count: int) -> Array:
    """Systematic resampling: positions drawn with these weights, one random number for all."""
    below = jnp.cumsum(jax.nn.softmax(log_weight))
    at = (jnp.arange(count) + jax.random.uniform(key, (), below.dtype)) / count
    return jnp.clip(jnp.searchsorted(below, at * below[-1]), 0, log_weight.shape[0] - 1)
