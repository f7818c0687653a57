"""The no-U-turn sampler for many small posteriors at once, and the Laplace fit that starts it.

`nuts` is written for one dataset and its chains; under `jax.vmap` or ``lax.map(batch_size=...)`` all chains
of all datasets become *lanes*, the last axis of every array, and one loop moves them. A lane that is done
with a trajectory starts the next one at once: lanes wait for each other at the end of a block of draws, not
at each draw. Each dataset adapts its own step size and mass matrix, from all its chains together.

The trajectory is the multinomial no-U-turn sampler with the generalised criterion: Hoffman and Gelman (2014),
JMLR 15, 1593-1623, doubling and slice-free selection as in Betancourt (2017), arXiv:1701.02434, appendix A.3;
the recursion is unrolled as in Phan, Pradhan and Jankowiak (2019), arXiv:1912.11554, section 3. It is written
out here because bookkeeping, not the gradient, is the larger cost of a model with few hyperparameters.
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

from hiermodels.inference.lanes import over_lanes
from hiermodels.inference.laplace import Laplace, laplace
from hiermodels.inference.trajectory import RECORDED, advance, fill_noise

if TYPE_CHECKING:
    from jax import Array

__all__ = ["STATS", "Chains", "Laplace", "NutsSettings", "laplace", "nuts"]

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

_FIRST_STEP = 1.0


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
        ``inverse_mass``, a guess of the posterior covariance, of shape (dim,) or (dim, dim): see `laplace`.
        The log density is traced once, whatever the number of datasets.

    Raises
    ------
    ValueError
        If a field is unknown, or (by ``run``) if a shape does not fit.

    Notes
    -----
    Tuning: step size by Robbins-Monro steps on its logarithm, one a block of draws, from the mean acceptance
    of all chains; covariance from the draws of all chains, in windows of growing length as in Stan.
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
        rows, step = over_lanes(many, mapped)(*leaves, data[None], start[None], scale[None])
        return _chains(rows[0], step[0], start.shape[1], fields, settings)

    return run


# ------------------------------------------------------------------- one dataset, many lanes


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
        root, spare = (
            jnp.sqrt(jnp.diag(covariance) if covariance.ndim == 2 else covariance),
            jnp.ones(dim, dtype),
        )
    return jnp.where(jnp.isfinite(root).all() & (covariance.sum() != 0), root, spare).astype(dtype)


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
    stats = dict(zip(RECORDED, jnp.moveaxis(rows[..., dim:], -1, 0), strict=True))
    depth = stats["tree_depth"]
    stats["step_size"] = jnp.broadcast_to(step, depth.shape).astype(rows.dtype)
    stats["reached_max_treedepth"] = depth >= settings.max_tree_depth
    stats["diverging"] = stats["diverging"] > 0
    for name in ("tree_depth", "n_steps"):
        stats[name] = stats[name].astype(jnp.int32)
    return Chains(rows[..., :dim], {name: stats[name] for name in fields})


# -------------------------------------------------------------------------------- adaptation


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
    count: Array  # type: ignore[assignment]
    n: Array
    first: Array
    second: Array


def _sample(
    density: Callable, keys: Array, start: Array, scale: Array, settings: NutsSettings, *, adapted: bool
) -> tuple[Array, Array]:
    """All draws of all datasets: (dataset, chain, draw, dim + statistic), and their step sizes (dataset,)."""
    n_datasets, chains, dim = start.shape
    lanes, dtype, depth = n_datasets * chains, start.dtype, settings.max_tree_depth
    plan = _schedule(settings, dim)
    size, offset, collect, update = (jnp.asarray(a) for a in plan[:4])
    longest = int(plan.size[: plan.tuning].max())
    first = (
        -1 if adapted else int(np.argmax(plan.update))
    )  # a step found without any scale says nothing about the next one
    density = partial(density, n_datasets=n_datasets)
    q = start.reshape(lanes, dim).T
    lp, g = density(q)
    alive = (jnp.isfinite(lp) & jnp.isfinite(g).all(axis=0)).reshape(n_datasets, chains)
    centre = jnp.mean(jnp.where(alive[..., None], start, 0.0), axis=1)

    def block(b: Array, carry: tuple) -> tuple:
        point, scale, adapt, noise, rows = carry
        tuning = b < plan.tuning
        step = jnp.exp(jnp.where(tuning, adapt.log_step, adapt.mean_log_step))
        noise = fill_noise(keys, b, size[b], noise, chains)
        per_lane = jnp.moveaxis(jnp.repeat(scale, chains, axis=0), 0, -1)
        point, rows = advance(
            density, point, jnp.repeat(step, chains), per_lane, noise, rows, offset[b], size[b], depth
        )
        recent = rows[:, :longest].reshape(n_datasets, chains, longest, -1)
        within = alive[..., None] & (jnp.arange(longest) < size[b])
        x = recent[..., :dim] - centre[:, None, None]
        tuned = _collected(_stepped(adapt, recent[..., dim + 1], within, settings), x, within & collect[b])
        adapt = jax.tree.map(partial(jnp.where, tuning), tuned, adapt)
        scale, adapt = lax.cond(update[b], _rescaled, lambda s, a, f: (s, a), scale, adapt, b == first)
        return point, scale, adapt, noise, rows

    zeros = partial(jnp.zeros, dtype=dtype)
    log_step = jnp.full(n_datasets, math.log(_FIRST_STEP), dtype)
    count = zeros(n_datasets)
    adapt = _Adapt(log_step, log_step, count, count, zeros((n_datasets, dim)), zeros(scale.shape))
    noise = zeros((plan.width, dim, lanes)), jnp.zeros((plan.width, 2, lanes), jnp.uint32)
    rows = zeros((lanes, settings.draws, dim + len(RECORDED)))
    carry = jnp.concatenate([q, g, lp[None]]), scale, adapt, noise, rows
    *_, adapt, _, rows = lax.fori_loop(0, len(plan.size), block, carry)
    rows = rows.reshape(n_datasets, chains, settings.draws, -1)
    lost = ~alive[..., None, None] & (jnp.arange(rows.shape[-1]) < dim)
    return jnp.where(lost, jnp.nan, rows), jnp.exp(adapt.mean_log_step)


def _stepped(adapt: _Adapt, accept: Array, within: Array, settings: NutsSettings) -> _Adapt:
    """Move the log step size towards the target by the mean acceptance (dataset, chain, draw) of a block."""
    mean = jnp.where(within, accept, 0.0).sum(axis=(1, 2)) / jnp.maximum(within.sum(axis=(1, 2)), 1)
    count = adapt.count + 1
    log_step = adapt.log_step + 2.5 * count**-0.7 * (mean - settings.target_accept)
    log_step = jnp.clip(log_step, -25.0, 10.0)
    weight = 1 / jnp.maximum(1.0, 0.6 * count)
    average = (1 - weight) * adapt.mean_log_step + weight * log_step
    return adapt._replace(log_step=log_step, mean_log_step=average, count=count)


def _collected(adapt: _Adapt, x: Array, within: Array) -> _Adapt:
    """Add draws (dataset, chain, draw, dim) to the sums."""
    x = jnp.where(within[..., None], x, 0.0)
    second = jnp.einsum("lcbi,lcbj->lij", x, x) if adapt.second.ndim == 3 else (x**2).sum(axis=(1, 2))
    n = adapt.n + within.sum(axis=(1, 2))
    return adapt._replace(n=n, first=adapt.first + x.sum(axis=(1, 2)), second=adapt.second + second)


def _rescaled(scale: Array, adapt: _Adapt, fresh: Array) -> tuple[Array, _Adapt]:
    """Covariance of the window, shrunk as Stan does, in place of the old one; the sums start again, if ``fresh`` the
    step too.
    """
    n = jnp.maximum(adapt.n, 1)[:, None]
    mean, weight, ridge = adapt.first / n, n / (n + 5.0), 1e-3 * 5.0 / (n + 5.0)
    if adapt.second.ndim == 3:
        n, weight, ridge = n[..., None], weight[..., None], ridge[..., None]
        covariance = adapt.second / n - mean[:, :, None] * mean[:, None, :]
        root = jnp.linalg.cholesky(weight * covariance + ridge * jnp.eye(mean.shape[1], dtype=mean.dtype))
    else:
        root = jnp.sqrt(weight * (adapt.second / n - mean**2) + ridge)
    fine = jnp.isfinite(root).reshape(root.shape[0], -1).all(axis=1)
    scale = jnp.where(fine.reshape(-1, *[1] * (root.ndim - 1)), root, scale)
    step = jnp.where(fresh, math.log(_FIRST_STEP), adapt.log_step)
    zero = jax.tree.map(jnp.zeros_like, adapt)
    return scale, zero._replace(log_step=step, mean_log_step=step, count=jnp.full_like(step, 2.0))
