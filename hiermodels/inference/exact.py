"""The exact engine: posteriors with few hyperparameters, by quadrature, without a Markov chain.

`exact` lays a lattice over p(phi | y); `summarise_nodes` turns its nodes into means, quantiles and probabilities of
every variable, which are mixtures over the nodes; `sample_nodes` gives independent draws. All are for one dataset,
pure, and batch under ``vmap``: one compiled program serves every dataset of a layout.

How
---
1. Newton steps find the mode; slices through it choose the coordinates (`hiermodels.inference.coordinates`), in which a
   standard deviation that may be zero has no long tail.
2. A lattice (`hiermodels.inference.lattice`) is laid over the Laplace approximation and laid again over the moments it
   finds,
   until its own error estimate is good.
3. The estimate, `Nodes.quality`, is in units of the error that the accuracy allows: the disagreement of the lattice's
   two halves, squared (the error of the whole is of the order of the square of a half's), the weight at its edge, and
   where groups integrate out by quadrature what that does to the posterior (`hiermodels.inference.inner_error`).

Above `POOR` the posterior needs something better: ``accuracy="refined"`` after ``"study"``, ``"finest"`` after
``"fit"``, then NUTS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.coordinates import Coordinates, Kinds, fit_coordinates, kinds
from hiermodels.inference.inner_error import inner_error, some_nodes
from hiermodels.inference.lattice import Lattice, cholesky, lattice, solve_lower, solve_upper
from hiermodels.inference.law_tables import BETWEEN, finer
from hiermodels.inference.node_draws import sample_nodes
from hiermodels.inference.node_summaries import summarise_nodes
from hiermodels.inference.nodes import ACCURACIES, MAX_DIM, POOR, Accuracy, Marginal, Nodes, block_size
from hiermodels.models.factorise import Factorised

__all__ = ["MAX_DIM", "POOR", "ExactSettings", "Nodes", "exact", "sample_nodes", "summarise_nodes"]

_MANY = 10_000
"""With more groups than this a marginal density is smoothed from the lattice instead: the posterior is nearly normal
then.
"""


@dataclass(frozen=True)
class ExactSettings:
    """How exact.

    Attributes
    ----------
    accuracy : str
        ``fit``: every summary within 1e-3 posterior sd; ``study``: at least as good as 400 independent draws;
        ``finest`` and ``refined``: as these two, with more nodes.
    """

    accuracy: str = "fit"

    def __post_init__(self) -> None:
        if self.accuracy not in ACCURACIES:
            raise ValueError(
                f"accuracy: expected one of {', '.join(ACCURACIES)}, found {self.accuracy!r}; use one of them"
            )


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
    known = _kinds(factorised)
    accuracy = ACCURACIES[word]
    most = 1 + len(accuracy.across if not accuracy.shared else () if factorised.sharp else accuracy.shared)
    marginal = 1 < dim <= most and max([level.size for level in factorised.layout.levels] + [1]) <= _MANY

    def nodes(key: Array, stats: Any) -> Nodes:
        def log_density(u: Array) -> Array:
            return factorised.log_density(u, stats)

        found = _lay(
            log_density, factorised.start(stats), known, block_size(factorised), word, marginal, factorised.sharp
        )
        inner = inner_error(factorised, some_nodes(found.u, found.log_weight), stats)
        return (
            found
            if inner is None
            else eqx.tree_at(lambda n: n.quality, found, found.quality + inner / accuracy.allowed)
        )

    return nodes


def _kinds(factorised: Factorised) -> Kinds:
    """Kinds of all coordinates; what follows the parameters (standardised group effects) is real."""
    known = kinds(factorised.parameters)
    more = factorised.dim - len(known.kind)
    return Kinds(known.kind + (2,) * more, known.power + (1.0,) * more, known.light + (False,) * more)


def _single(factorised: Factorised, stats: Any, word: str) -> Nodes:
    """No hyperparameters: the posterior is in closed form."""
    u = jnp.zeros((1, 0))
    zero = jnp.zeros(())
    density = factorised.log_density(u[0], stats)
    quality = jnp.where(jnp.isfinite(density), 0.0, jnp.inf)
    none = jnp.zeros(0)
    return Nodes(
        u, jnp.zeros(1), u, none, jnp.zeros((0, 0)), None, density, quality, zero.astype(jnp.int32), None, word, False
    )


def _lay(
    log_density: Callable[[Array], Array],
    start: Array,
    known: Kinds,
    block: int,
    word: str,
    marginal: bool,
    sharp: bool,
) -> Nodes:
    accuracy = ACCURACIES[word]
    grid = accuracy.grid(start.shape[0])
    mode, gradient, curvature = _mode(log_density, start, known)
    coordinates = fit_coordinates(log_density, mode, jnp.diagonal(curvature), known)
    centre, scale = _laplace(coordinates, gradient, curvature)
    light = np.flatnonzero(known.light)

    def weigh(u: Array, log_slope: Array) -> Array:
        """Log density of lattice coordinates, (node, dim) and (node,) -> (node,)."""
        density = jax.vmap(log_density)(u) if len(u) <= block else jax.lax.map(log_density, u, batch_size=block)
        density = density + log_slope
        return jnp.where(density < jnp.inf, density, -jnp.inf)

    def laid(grid: Lattice, centre: Array, scale: Array) -> tuple[Array, Array, tuple[Array, ...]]:
        """Unconstrained nodes of a lattice, their log densities, and what `_judge` says."""
        u, log_slope = coordinates.placed(centre + jnp.asarray(grid.z) @ scale.T)
        density = weigh(u, jnp.sum(log_slope, -1))
        squares = jnp.exp(jnp.minimum(2 * (u - coordinates.centre), 200.0))[:, light]
        return u, density, _judge(grid, density, squares)

    def again(state: Any) -> Any:
        count, _, _, _, _, _, _, centre, scale = state
        u, density, (mean, spread, error, edge) = laid(grid, centre, scale)
        wider = jnp.where(edge > 0.3 * accuracy.allowed, 1.15, 1.0)
        factor = cholesky(spread, 0.01)
        return count + 1, centre, scale, u, density, error, edge, centre + scale @ mean, wider * scale @ factor

    def unfinished(state: Any) -> Array:
        return (state[0] < accuracy.rounds) & ((state[5] + state[6] > accuracy.allowed) | (state[0] < 1))

    worst = jnp.full((), jnp.inf, start.dtype)
    empty = jnp.zeros(len(grid.z), start.dtype)
    state = (
        jnp.zeros((), jnp.int32),
        centre,
        scale,
        jnp.zeros(grid.z.shape, start.dtype),
        empty,
        worst,
        worst,
        centre,
        scale,
    )
    count, centre, scale, u, density, error, edge, next_centre, next_scale = jax.lax.while_loop(
        unfinished, again, state
    )
    if sharp:
        grid, centre, scale = accuracy.grid(start.shape[0], sharp), next_centre, next_scale
        u, density, (_, _, error, edge) = laid(grid, centre, scale)
    total = jax.scipy.special.logsumexp(density)
    # nodes without weight may be so far out that nothing can be computed there: they move to the best one
    seen = density - jnp.max(density) > -60.0
    u = jnp.where(seen[:, None] | jnp.isnan(total), u, u[jnp.argmax(density)])
    volume = math.log(grid.cell) + jnp.sum(jnp.log(jnp.diagonal(scale)))
    quality = jnp.where(jnp.isfinite(total), (error + edge) / accuracy.allowed, jnp.inf)
    marginals = None
    if marginal:
        marginals = _marginals(weigh, coordinates, centre, scale, word)
    log_weight = jnp.where(seen, density - total, -jnp.inf)
    v = centre + jnp.asarray(grid.z) @ scale.T
    return Nodes(u, log_weight, v, centre, scale, coordinates, total + volume, quality, count, marginals, word, sharp)


def _marginals(
    weigh: Callable[[Array, Array], Array], coordinates: Coordinates, centre: Array, scale: Array, word: str
) -> tuple[Marginal, ...]:
    """Marginal densities of the lattice's coordinates, up to a factor each."""
    accuracy, dim = ACCURACIES[word], centre.shape[0]
    if accuracy.shared:
        return _shared_planes(weigh, coordinates, centre, scale, lattice(dim, *accuracy.shared[dim - 2]))
    return tuple(_own_planes(weigh, coordinates, centre, scale, accuracy, i) for i in range(dim))


def _shared_planes(
    weigh: Callable[[Array, Array], Array], coordinates: Coordinates, centre: Array, scale: Array, grid: Lattice
) -> tuple[Marginal, ...]:
    """Sums over the planes of one lattice along the axes, on which a coordinate is placed once a plane.

    Its spacing lies between what the marginal and the conditional standard deviations want.
    """
    dim, step = centre.shape[0], 0.5 * grid.spacing
    place = np.rint(grid.z / step).astype(int)
    last = int(place.max())
    inverse = solve_lower(scale, jnp.eye(dim, dtype=scale.dtype))
    width = jnp.sqrt(jnp.sqrt(jnp.sum(scale**2, 1) / jnp.sum(inverse**2, 0)))
    u, log_slope = coordinates.placed(centre + step * width * np.arange(-last, last + 1)[:, None])
    u, log_slope = (jnp.stack([x[place[:, i] + last, i] for i in range(dim)], -1) for x in (u, log_slope))
    density = weigh(u, jnp.sum(log_slope, -1))
    member = (place[:, :, None] == np.arange(-last, last + 1)).reshape(len(place), -1)
    sums = (jnp.exp(density - jnp.max(density)) @ member.astype(float)).reshape(dim, -1)
    finest = step * width / BETWEEN
    return tuple(Marginal(centre[i] - step * width[i] * last, finest[i], *_between_planes(sums[i])) for i in range(dim))


def _between_planes(density: Array) -> tuple[Array, Array]:
    """A density between its planes, and the error of its distribution function: three times what fewer neighbours
    change.
    """
    found = finer(density)
    below, other = (jnp.cumsum(x) / jnp.sum(x) for x in (found, finer(density, 4)))
    return found, 3 * jnp.max(jnp.abs(below - other))


def _own_planes(
    weigh: Callable[[Array, Array], Array],
    coordinates: Coordinates,
    centre: Array,
    scale: Array,
    accuracy: Accuracy,
    i: int,
) -> Marginal:
    """Sums over equally spaced planes of one coordinate, each with a lattice in the others, moved along their
    regression on this one.
    """
    dim = centre.shape[0]
    order = np.array([i, *(j for j in range(dim) if j != i)])
    across = lattice(dim - 1, *accuracy.across[dim - 2])
    turned = cholesky((scale @ scale.T)[order][:, order], 1e-300)
    shape = (accuracy.planes, len(across.z))
    places = jnp.linspace(-accuracy.plane_radius, accuracy.plane_radius, accuracy.planes)
    first = jnp.broadcast_to(places[:, None], shape)[..., None]
    z = jnp.concatenate([first, jnp.broadcast_to(jnp.asarray(across.z), (*shape, dim - 1))], -1)
    u, log_slope = coordinates.placed(centre + (z.reshape(-1, dim) @ turned.T)[:, np.argsort(order)])
    density = weigh(u, jnp.sum(log_slope, -1)).reshape(shape)
    reach = accuracy.plane_radius * turned[0, 0]
    return Marginal(
        centre[i] - reach,
        2 * reach / (accuracy.planes - 1),
        jnp.sum(jnp.exp(density - jnp.max(density)), 1),
        jnp.zeros(()),
    )


def _mode(log_density: Callable[[Array], Array], start: Array, known: Kinds) -> tuple[Array, Array, Array]:
    """Mode, gradient and minus the Hessian there.

    Newton steps at four dampings and a short one are tried side by side and the best is kept, so that no lane of a
    batch waits for another's line search; they end where a step would gain less than a thousandth.
    """
    dim = start.shape[0]
    limit = jnp.asarray(np.where(np.array(known.kind) == 2, 1e6, 2.0), start.dtype)
    damping = jnp.array([0.0, 0.03, 0.3, 3.0], start.dtype)
    unit = jnp.eye(dim, dtype=start.dtype)

    def step(state: Any) -> Any:
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

    def unfinished(state: Any) -> Array:
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

    The halves' evidence, means and covariances disagree by delta: the whole is then off by about delta^2. The outermost
    shell holds ``edge``; a normal law holds some of it there too, and what lies beyond is about twice the rest. The
    same is asked of the second moments of standard deviations, ``squares`` (node, light).
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
