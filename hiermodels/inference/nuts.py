"""The no-U-turn sampler for many small posteriors at once, and the Laplace fit that starts it.

`nuts` is written for one dataset and its chains; under `jax.vmap` or ``lax.map(batch_size=...)`` all chains of
all datasets become *lanes*, the last axis of every array, and one loop moves them. A lane that has finished a
trajectory starts the next one at once: lanes wait for each other only at the end of a block of draws, not at
every draw. Each dataset adapts its own step size and mass matrix, from all its chains together.

The trajectory is the multinomial no-U-turn sampler with the generalised criterion: Hoffman and Gelman (2014),
JMLR 15, 1593-1623, doubling and slice-free selection as in Betancourt (2017), arXiv:1701.02434, appendix A.3;
the recursion is unrolled as in Phan, Pradhan and Jankowiak (2019), arXiv:1912.11554, section 3. Written out here
because per-lane bookkeeping, not the gradient, is the larger cost of a model with two hyperparameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_batching import custom_vmap

if TYPE_CHECKING:
    from jax import Array

__all__ = ["STATS", "Chains", "NutsSettings", "auto_lanes", "laplace", "nuts"]

STATS = (
    "lp",
    "acceptance_rate",
    "step_size",
    "tree_depth",
    "n_steps",
    "diverging",
    "energy",
    "reached_max_treedepth",
)
"""Statistics of a draw, by their names in ArviZ."""

_RECORDED = ("lp", "acceptance_rate", "tree_depth", "n_steps", "diverging", "energy")
_FIRST_STEP = 1.0
_DIVERGENT = 1000.0


@dataclass(frozen=True)
class NutsSettings:
    """Settings of `nuts`.

    Attributes
    ----------
    draws, tune : int
        Draws kept and tuning draws, a chain.
    chains : int
        Chains a dataset.
    target_accept : float
        Mean acceptance probability the step size is tuned to.
    max_tree_depth : int
        A trajectory has at most ``2**max_tree_depth - 1`` steps.
    dense_mass : bool
        Adapt a full mass matrix instead of a diagonal one; worth it up to about ten dimensions.

    Raises
    ------
    ValueError
        If a setting is out of range.

    Examples
    --------
    >>> NutsSettings(draws=500).chains
    4
    """

    draws: int = 1000
    tune: int = 1000
    chains: int = 4
    target_accept: float = 0.8
    max_tree_depth: int = 10
    dense_mass: bool = False

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("tune", 1), ("chains", 1), ("max_tree_depth", 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(f"NutsSettings({name}=...): expected an integer >= {least}, found {value!r}.")
        if self.max_tree_depth > 20:
            raise ValueError(f"NutsSettings(max_tree_depth=...): expected at most 20, found {self.max_tree_depth}.")
        if not 0 < self.target_accept < 1:
            raise ValueError(
                f"NutsSettings(target_accept=...): expected a number between 0 and 1, found "
                f"{self.target_accept!r}; 0.8 is usual, 0.95 for hard posteriors."
            )


class Chains(eqx.Module):
    """What `nuts` returns.

    Attributes
    ----------
    position : Array, shape (chain, draw, dim)
        Draws, on the scale of the log density's argument; NaN for a chain that started where the log density
        or its gradient is not finite.
    stats : dict of str to Array, each (chain, draw)
        The statistics asked for, by the names of `STATS`. ``energy`` is the Hamiltonian at the start of the
        trajectory; ``tree_depth`` counts doublings, the last one included if it was turned down.
    """

    position: Array
    stats: dict[str, Array]


def nuts(
    log_density: Callable[[Array], Array],
    settings: NutsSettings = NutsSettings(),
    *,
    fields: tuple[str, ...] = STATS,
) -> Callable[..., Chains]:
    """Make a sampler of one dataset's posterior, to be jitted, vmapped or mapped.

    Parameters
    ----------
    log_density : callable
        ``(dim,) -> ()``, up to a constant, on an unconstrained scale; may close over traced data.
    settings : NutsSettings
        Numbers of draws and chains, target acceptance, tree depth, mass matrix.
    fields : tuple of str
        Which of `STATS` to keep.

    Returns
    -------
    callable
        ``run(key, start, inverse_mass=None) -> Chains`` with ``start`` of shape (chain, dim) and
        ``inverse_mass``, a guess of the posterior covariance, of shape (dim,) or (dim, dim): `laplace` gives both.
        The log density is traced once, whatever the number of datasets.

    Raises
    ------
    ValueError
        If a field is unknown, or (by ``run``) if a shape does not fit.

    Notes
    -----
    Tuning: step size by Robbins-Monro steps on its logarithm, one a block of draws, from the mean acceptance of
    all chains; covariance from the draws of all chains in windows of growing length, in Stan's proportions.
    A step to where the density is not finite is a divergence; nothing raises.

    Examples
    --------
    >>> import jax, jax.numpy as jnp
    >>> run = nuts(lambda x: -0.5 * jnp.sum(x**2), NutsSettings(draws=100, tune=100))
    >>> chains = jax.jit(run)(jax.random.key(0), jnp.zeros((4, 2)))
    >>> chains.position.shape, chains.stats["n_steps"].shape
    ((4, 100, 2), (4, 100))
    """
    unknown = sorted(set(fields) - set(STATS))
    if unknown:
        raise ValueError(f"nuts(fields=...): {unknown[0]!r} is no statistic; known are {', '.join(STATS)}.")

    def run(key: Array, start: Array, inverse_mass: Array | None = None) -> Chains:
        _check(settings, start, inverse_mass)
        density = eqx.filter_closure_convert(log_density, start[0])
        arrays, static = eqx.partition(density, eqx.is_array)
        leaves, tree = jax.tree.flatten(arrays)
        data, impl = _key_data(key)
        scale = _scale_of(inverse_mass, start.shape[1], settings.dense_mass, start.dtype)

        def many(mapped: tuple[bool, ...], *args: Array) -> tuple[Array, Array]:
            *leaves, data, start, scale = args
            return _sample(
                _lane_density(tree, static, leaves, mapped[: len(leaves)]),
                jax.random.wrap_key_data(data, impl=impl),
                start,
                scale,
                settings,
                adapted=inverse_mass is not None,
            )

        mapped = (False,) * len(leaves) + (True,) * 3
        rows, step = _over_lanes(many, mapped)(*leaves, data[None], start[None], scale[None])
        return _chains(rows[0], step[0], start.shape[1], fields, settings)

    return run


# ----------------------------------------------------------------------------------- one dataset, many lanes


def _check(settings: NutsSettings, start: Array, inverse_mass: Array | None) -> None:
    if start.ndim != 2 or start.shape[0] != settings.chains:
        raise ValueError(
            f"nuts(...)(start=...): expected shape (chain, dim) with {settings.chains} chains, found {start.shape}."
        )
    dim = start.shape[1]
    if inverse_mass is not None and inverse_mass.shape not in ((dim,), (dim, dim)):
        raise ValueError(
            f"nuts(...)(inverse_mass=...): expected shape ({dim},) or ({dim}, {dim}), found {inverse_mass.shape}."
        )


def _key_data(key: Array) -> tuple[Array, Any]:
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(key), jax.random.key_impl(key)
    return key, "threefry2x32"


def _scale_of(covariance: Array | None, dim: int, dense: bool, dtype: Any) -> Array:
    """A square root of the covariance: (dim, dim) if dense, else (dim,); 1 where there is none."""
    if covariance is None:
        return jnp.eye(dim, dtype=dtype) if dense else jnp.ones(dim, dtype)
    if dense:
        full = jnp.diag(covariance) if covariance.ndim == 1 else covariance
        root, spare = jnp.linalg.cholesky(full), jnp.eye(dim, dtype=dtype)
    else:
        root, spare = jnp.sqrt(jnp.diag(covariance) if covariance.ndim == 2 else covariance), jnp.ones(dim, dtype)
    return jnp.where(jnp.isfinite(root).all() & (covariance.sum() != 0), root, spare).astype(dtype)


def _over_lanes(function: Callable, mapped: tuple[bool, ...]) -> Callable:
    """Let every vmap, nested ones too, widen one leading lane axis that ``function`` sees.

    ``function(mapped, *args)`` takes a lane axis on the arguments marked in ``mapped``, gives one on each result.
    The last argument is always mapped.
    """

    @custom_vmap
    def call(*args: Array) -> Any:
        return function(mapped, *args)

    @call.def_vmap
    def rule(size: int, new: list[bool], *args: Array) -> Any:
        new = jax.tree.leaves(new)
        width = args[-1].shape[1] if new[-1] else args[-1].shape[0]

        def widen(x: Array, is_new: bool, is_old: bool) -> Array:
            if is_new and is_old:
                return x.reshape(size * width, *x.shape[2:])
            if is_new:
                return jnp.repeat(x, width, axis=0)
            return jnp.tile(x, (size,) + (1,) * (x.ndim - 1)) if is_old else x

        either = tuple(a or b for a, b in zip(new, mapped, strict=True))
        out = _over_lanes(function, either)(*map(widen, args, new, mapped))
        return jax.tree.map(lambda o: o.reshape(size, width, *o.shape[1:]), out), jax.tree.map(lambda _: True, out)

    return call


def _lane_density(tree: Any, static: Any, leaves: list[Array], mapped: tuple[bool, ...]) -> Callable:
    """Log density and gradient of all lanes: (dim, dataset * chain) -> (dataset * chain,), (dim, ...)."""

    def one(leaves: list[Array], q: Array) -> Array:
        return eqx.combine(jax.tree.unflatten(tree, leaves), static)(q)

    chains = jax.vmap(jax.value_and_grad(one, argnums=1), in_axes=(None, 0))
    datasets = jax.vmap(chains, in_axes=([0 if m else None for m in mapped], 0))

    def lanes(q: Array, n_datasets: int) -> tuple[Array, Array]:
        value, gradient = datasets(leaves, q.T.reshape(n_datasets, -1, q.shape[0]))
        return value.reshape(-1), gradient.reshape(-1, q.shape[0]).T

    return lanes


def _chains(rows: Array, step: Array, dim: int, fields: tuple[str, ...], settings: NutsSettings) -> Chains:
    """Name the columns of ``rows``, (chain, draw, dim + statistic)."""
    stats = dict(zip(_RECORDED, jnp.moveaxis(rows[..., dim:], -1, 0), strict=True))
    depth = stats["tree_depth"]
    stats["step_size"] = jnp.broadcast_to(step, depth.shape).astype(rows.dtype)
    stats["reached_max_treedepth"] = depth >= settings.max_tree_depth
    stats["diverging"] = stats["diverging"] > 0
    for name in ("tree_depth", "n_steps"):
        stats[name] = stats[name].astype(jnp.int32)
    return Chains(rows[..., :dim], {name: stats[name] for name in fields})


# ------------------------------------------------------------------------------------------------ adaptation


class _Schedule(NamedTuple):
    """Blocks of draws: length, row of the first, whether the covariance is collected and used; (block,)."""

    size: np.ndarray
    offset: np.ndarray
    collect: np.ndarray
    update: np.ndarray
    tuning: int
    width: int  # of the longest block


def _schedule(settings: NutsSettings, dim: int) -> _Schedule:
    """A few tiny blocks to find the step size, then windows in Stan's proportions, then the draws kept."""
    tiny = min(8, settings.tune // 4)
    length = max(1, settings.tune // 250)
    block = min(settings.draws, max(1, settings.tune // 32))
    tuning = [length] * tiny + _split(settings.tune - tiny * length, block)
    kept = _split(settings.draws, max(block, 2048 // dim))
    ends = np.cumsum(tuning) / settings.tune
    update = np.zeros(len(tuning), bool)
    for share in (0.2, 0.3, 0.5, 0.9) if settings.tune >= 50 else ():
        update[np.argmin(np.abs(ends - share))] = True
    pad = np.zeros(len(kept), bool)
    return _Schedule(
        np.array(tuning + kept, np.int32),
        np.concatenate([np.zeros(len(tuning), np.int32), np.cumsum([0, *kept[:-1]], dtype=np.int32)]),
        np.concatenate([ends > 0.15, pad]),
        np.concatenate([update, pad]),
        len(tuning),
        max(*tuning, *kept),
    )


def _split(total: int, width: int) -> list[int]:
    """Cut ``total`` into blocks of ``width`` and a last one of what is left."""
    return [width] * (total // width) + ([total % width] if total % width else [])


class _Adapt(NamedTuple):
    """Per dataset (the leading axis): log step, its running mean, a count of steps; sums over draws."""

    log_step: Array
    mean_log_step: Array
    count: Array
    n: Array
    first: Array
    second: Array


def _sample(
    density: Callable, keys: Array, start: Array, scale: Array, settings: NutsSettings, *, adapted: bool
) -> tuple[Array, Array]:
    """All draws of all datasets: (dataset, chain, draw, dim + statistic), and their step sizes (dataset,)."""
    n_datasets, chains, dim = start.shape
    lanes, dtype = n_datasets * chains, start.dtype
    plan = _schedule(settings, dim)
    size, offset, collect, update = (jnp.asarray(a) for a in plan[:4])
    longest = int(plan.size[: plan.tuning].max())
    density = partial(density, n_datasets=n_datasets)
    q = start.reshape(lanes, dim).T
    lp, g = density(q)
    bad = ~(jnp.isfinite(lp) & jnp.isfinite(g).all(axis=0)).reshape(n_datasets, chains)

    def block(b: Array, carry: tuple) -> tuple:
        point, scale, adapt, noise, rows = carry
        tuning = b < plan.tuning
        step = jnp.exp(jnp.where(tuning, adapt.log_step, adapt.mean_log_step))
        noise = _noise(keys, b, size[b], noise, chains)
        per_lane = jnp.moveaxis(jnp.repeat(scale, chains, axis=0), 0, -1)
        point, rows = _advance(
            density, point, jnp.repeat(step, chains), per_lane, noise, rows, offset[b], size[b], settings
        )
        recent = rows[:, :longest].reshape(n_datasets, chains, longest, -1)
        within = jnp.arange(longest) < size[b]
        x = recent[..., :dim] - start.mean(axis=1)[:, None, None]
        tuned = _collected(_stepped(adapt, recent[..., dim + 1], within, settings), x, within & collect[b])
        adapt = jax.tree.map(partial(jnp.where, tuning), tuned, adapt)
        scale, adapt = lax.cond(
            update[b], partial(_rescaled, adapted=adapted), lambda s, a: (s, a), scale, adapt
        )
        return point, scale, adapt, noise, rows

    zeros = partial(jnp.zeros, dtype=dtype)
    log_step = jnp.full(n_datasets, math.log(_FIRST_STEP), dtype)
    count = zeros(n_datasets)
    adapt = _Adapt(log_step, log_step, count, count, zeros((n_datasets, dim)), zeros(scale.shape))
    noise = zeros((plan.width, dim, lanes)), jnp.zeros((plan.width, 2, lanes), jnp.uint32)
    rows = zeros((lanes, settings.draws, dim + len(_RECORDED)))
    carry = jnp.concatenate([q, g, lp[None]]), scale, adapt, noise, rows
    *_, adapt, _, rows = lax.fori_loop(0, len(plan.size), block, carry)
    rows = rows.reshape(n_datasets, chains, settings.draws, -1)
    lost = bad[..., None, None] & (jnp.arange(rows.shape[-1]) < dim)
    return jnp.where(lost, jnp.nan, rows), jnp.exp(adapt.mean_log_step)


def _noise(keys: Array, b: Array, size: Array, noise: tuple[Array, Array], chains: int) -> tuple[Array, Array]:
    """Fill in a block's momenta (draw, dim, lane) and seeds of choices (draw, 2, lane), a few draws at a time."""
    width, dim, _ = noise[0].shape
    few = min(8, width)

    def one(key: Array) -> tuple[Array, Array]:
        momentum, seed = jax.random.split(key)
        return (
            jax.random.normal(momentum, (few, dim, chains), noise[0].dtype),
            jax.random.bits(seed, (few, 2, chains), jnp.uint32),
        )

    def fill(i: Array, noise: tuple[Array, Array]) -> tuple[Array, Array]:
        new = jax.vmap(lambda key: one(jax.random.fold_in(jax.random.fold_in(key, b), i)))(keys)
        flat = (jnp.moveaxis(a, 0, 2).reshape(few, a.shape[2], -1) for a in new)
        return tuple(lax.dynamic_update_slice_in_dim(old, a, i * few, 0) for old, a in zip(noise, flat, strict=True))

    return lax.fori_loop(0, -(-size // few), fill, noise)


def _stepped(adapt: _Adapt, accept: Array, within: Array, settings: NutsSettings) -> _Adapt:
    """Move the log step size towards the target by the mean acceptance (dataset, chain, draw) of a block."""
    mean = jnp.where(within, accept, 0.0).sum(axis=(1, 2)) / (within.sum() * accept.shape[1])
    count = adapt.count + 1
    log_step = adapt.log_step + 2.5 * count**-0.7 * (mean - settings.target_accept)
    log_step = jnp.clip(log_step, -25.0, 10.0)
    weight = 1 / jnp.maximum(1.0, 0.6 * count)
    average = (1 - weight) * adapt.mean_log_step + weight * log_step
    return adapt._replace(log_step=log_step, mean_log_step=average, count=count)


def _collected(adapt: _Adapt, x: Array, within: Array) -> _Adapt:
    """Add draws (dataset, chain, draw, dim) to the sums."""
    x = jnp.where(within[:, None] & jnp.isfinite(x), x, 0.0)
    second = jnp.einsum("lcbi,lcbj->lij", x, x) if adapt.second.ndim == 3 else (x**2).sum(axis=(1, 2))
    n = adapt.n + within.sum() * x.shape[1]
    return adapt._replace(n=n, first=adapt.first + x.sum(axis=(1, 2)), second=adapt.second + second)


def _rescaled(scale: Array, adapt: _Adapt, *, adapted: bool) -> tuple[Array, _Adapt]:
    """Covariance of the window, shrunk as Stan does, in place of the old one; the sums start again."""
    n = adapt.n[:, None]
    mean, weight, ridge = adapt.first / n, n / (n + 5.0), 1e-3 * 5.0 / (n + 5.0)
    if adapt.second.ndim == 3:
        n, weight, ridge = n[..., None], weight[..., None], ridge[..., None]
        covariance = adapt.second / n - mean[:, :, None] * mean[:, None, :]
        root = jnp.linalg.cholesky(weight * covariance + ridge * jnp.eye(mean.shape[1], dtype=mean.dtype))
    else:
        root = jnp.sqrt(weight * (adapt.second / n - mean**2) + ridge)
    fine = jnp.isfinite(root).reshape(root.shape[0], -1).all(axis=1)
    scale = jnp.where(fine.reshape(-1, *[1] * (root.ndim - 1)), root, scale)
    step = adapt.log_step if adapted else jnp.full_like(adapt.log_step, math.log(_FIRST_STEP))
    zero = jax.tree.map(jnp.zeros_like, adapt)
    return scale, zero._replace(log_step=step, mean_log_step=step, count=jnp.full_like(step, 2.0))


# ---------------------------------------------------------------------------------------------- trajectories


class _Walk(NamedTuple):
    """Where each lane is. The last axis is the lane; few large arrays, as each one costs a pass a step."""

    front: Array  # the end that is being extended: position, momentum, gradient; (3, dim, lane)
    back: Array  # the other end
    pick: Array  # the state chosen from the trajectory: position, gradient, log density; (2 dim + 1, lane)
    sub_pick: Array  # the state chosen from the half that is being added
    weight: Array
    sub_weight: Array
    rho: Array  # sum of the momenta of the trajectory; (dim, lane)
    sub_rho: Array
    ladder: Array  # momentum and sum of momenta at the left ends of unfinished subtrees; (2, rung, dim, lane)
    energy: Array
    sign: Array
    depth: Array
    steps: Array
    accept: Array
    count: Array  # draws finished in this block
    rows: Array  # draws: (lane, draw, dim + statistic)


def _advance(
    density: Callable,
    point: Array,
    step: Array,
    scale: Array,
    noise: tuple[Array, Array],
    rows: Array,
    offset: Array,
    size: Array,
    settings: NutsSettings,
) -> tuple[Array, Array]:
    """Make ``size`` draws in every lane, one leapfrog step of all lanes at a time, into rows from ``offset`` on.

    Momenta are standard normal and positions move by ``scale @ momentum``: sampling in whitened coordinates.
    """
    momenta, seeds = noise
    width, dim, lanes = momenta.shape
    lane = jnp.arange(lanes)

    def at(table: Array, count: Array) -> Array:
        return table[jnp.minimum(count, width - 1), :, lane].T

    def forward(x: Array) -> Array:
        return scale * x if scale.ndim == 2 else (scale * x).sum(axis=1)

    def backward(x: Array) -> Array:
        return scale * x if scale.ndim == 2 else (scale * x[:, None]).sum(axis=0)

    def leap(w: _Walk) -> _Walk:
        active = w.count < size
        half = 0.5 * jnp.where(active, step * w.sign, 0.0)
        p = w.front[1] + half * backward(w.front[2])
        q = w.front[0] + 2.0 * half * forward(p)
        lp, g = density(q)
        p = p + half * backward(g)
        gain = lp - 0.5 * jnp.sum(p * p, axis=0) + w.energy
        gain = jnp.where(jnp.isfinite(gain), gain, -jnp.inf)
        diverging = gain < -_DIVERGENT
        weight = jnp.exp(jnp.minimum(gain, 600.0 if q.dtype == jnp.float64 else 80.0))
        bits = _mixed(at(seeds, w.count) + w.steps.astype(jnp.uint32) * jnp.uint32(0x9E3779B9))

        # the half that is being added
        leaf = w.steps + 1 - jnp.left_shift(1, w.depth)
        first = leaf == 0
        sub_weight = jnp.where(first, 0.0, w.sub_weight) + weight
        sub_rho = jnp.where(first, 0.0, w.sub_rho) + p
        take = first | (_unit(bits[0], p.dtype) * sub_weight < weight)
        sub_pick = jnp.where(take, jnp.concatenate([q, g, lp[None]]), w.sub_pick)
        ladder, turning = _climb(leaf, p, sub_rho, w.ladder)
        stop = turning | diverging
        merge = active & ~stop & (leaf + 1 == jnp.left_shift(1, w.depth))

        # the whole trajectory
        take = merge & (_unit(bits[1], p.dtype) * w.weight < sub_weight)
        pick = jnp.where(take, sub_pick, w.pick)
        total, rho = w.weight + jnp.where(merge, sub_weight, 0.0), w.rho + jnp.where(merge, sub_rho, 0.0)
        depth, steps, accept = w.depth + merge, w.steps + 1, w.accept + jnp.minimum(weight, 1.0)
        whole = _turning(p, w.back[1], rho) | (depth == settings.max_tree_depth)
        done = active & (stop | (merge & whole))
        stats = (pick[-1], accept / steps, w.depth + 1, steps, diverging, w.energy)
        row = jnp.concatenate([pick[:dim], jnp.stack([s.astype(q.dtype) for s in stats])]).T
        place = jnp.where(done, offset + w.count, rows.shape[1])

        # the next one, or its next half
        count = w.count + done
        fresh = jnp.stack([pick[:dim], at(momenta, count), pick[dim:-1]])
        sign = jnp.where(merge, 1.0 - 2.0 * (bits[1] & 1), w.sign).astype(q.dtype)
        turn, end = sign != w.sign, jnp.stack([q, p, g])
        return _Walk(
            front=jnp.where(done, fresh, jnp.where(turn, w.back, end)),
            back=jnp.where(done, fresh, jnp.where(turn, end, w.back)),
            pick=pick,
            sub_pick=sub_pick,
            weight=jnp.where(done, 1.0, total),
            sub_weight=sub_weight,
            rho=jnp.where(done, fresh[1], rho),
            sub_rho=sub_rho,
            ladder=ladder,
            energy=jnp.where(done, 0.5 * jnp.sum(fresh[1] ** 2, axis=0) - pick[-1], w.energy),
            sign=sign,
            depth=jnp.where(done, 0, depth),
            steps=jnp.where(done, 0, steps),
            accept=jnp.where(done, 0.0, accept),
            count=count,
            rows=w.rows.at[lane, place].set(row, mode="drop", unique_indices=True),
        )

    p = momenta[0]
    end = jnp.stack([point[:dim], p, point[dim:-1]])
    none, zero = jnp.zeros_like(point[-1]), jnp.zeros(lanes, jnp.int32)
    walk = _Walk(
        front=end,
        back=end,
        pick=point,
        sub_pick=point,
        weight=none + 1.0,
        sub_weight=none,
        rho=p,
        sub_rho=p,
        ladder=jnp.zeros((2, settings.max_tree_depth, dim, lanes), p.dtype),
        energy=0.5 * jnp.sum(p * p, axis=0) - point[-1],
        sign=none + 1.0,
        depth=zero,
        steps=zero,
        accept=none,
        count=zero,
        rows=rows,
    )
    walk = lax.while_loop(lambda w: jnp.any(w.count < size), leap, walk)
    return walk.pick, walk.rows


def _turning(p: Array, other: Array, rho: Array) -> Array:
    """Whether the ends of a trajectory move towards each other; the ends count half in its sum of momenta."""
    middle = rho - 0.5 * (p + other)
    return (jnp.sum(middle * p, axis=-2) <= 0) | (jnp.sum(middle * other, axis=-2) <= 0)


def _climb(leaf: Array, p: Array, rho: Array, ladder: Array) -> tuple[Array, Array]:
    """Check every subtree that ends at this leaf; an even leaf opens subtrees and is written down.

    Leaf ``n`` keeps its place at rung ``popcount(n >> 1)``; an odd leaf closes as many subtrees as it has trailing
    one bits, whose left ends are on the rungs up to that one.
    """
    rung = jnp.arange(ladder.shape[1])[:, None]
    top = lax.population_count(leaf >> 1)
    closed = lax.population_count(leaf & ~(leaf + 1))
    write = ((leaf & 1 == 0) & (rung == top))[:, None]
    ladder = jnp.where(write, jnp.stack([p, rho])[:, None], ladder)
    turning = _turning(p[None], ladder[0], rho - ladder[1] + ladder[0])
    return ladder, jnp.any(turning & (rung <= top) & (rung > top - closed), axis=0)


def _mixed(x: Array) -> Array:
    """Scramble 32-bit counters (two multiply-xorshift rounds): the choices within a trajectory."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def _unit(bits: Array, dtype: Any) -> Array:
    """The upper 24 bits as a number in [0, 1)."""
    return (bits >> 8).astype(jnp.int32).astype(dtype) * 2.0**-24
