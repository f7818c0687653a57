"""Random-walk Metropolis on every parameter at once: what gradients and integration are there to replace.

All parameters move together by normal steps on their own scales (standard deviations and probabilities as they are, not
their logarithms; a proposal outside the support is turned down). In many dimensions a joint step must be small to be
taken at all, so the chain diffuses: its effective sample size beside that of `nuts` says how far its averages can be
trusted.

With ``step_size`` every parameter moves by that many units, as in textbook programs. Without, warm-up finds the step:
each coordinate in units of its spread so far, the common factor tuned to an acceptance rate of 0.234 (Roberts, Gelman &
Gilks 1997, Annals of Applied Probability 7, 110-120).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["MetropolisChains", "MetropolisSettings", "metropolis"]

_TARGET = 0.234
"""Acceptance rate at which a random walk in many dimensions mixes fastest."""


@dataclass(frozen=True)
class MetropolisSettings:
    """Settings of `metropolis`.

    Attributes
    ----------
    draws, tune : int
        Steps kept, and steps before them, a chain.
    step_size : float or None
        Sd of the step of every parameter; None tunes it, and a scale a coordinate, during warm-up.

    Raises
    ------
    ValueError
        If a setting is out of range.
    """

    draws: int = 1000
    tune: int = 1000
    step_size: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("draws", 1), ("tune", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name}: expected a whole number >= {least}, found {value!r}; e.g. {name}=1000")
        step = self.step_size
        if step is not None and not (isinstance(step, (int, float)) and math.isfinite(step) and step > 0):
            raise ValueError(f"step_size: expected a positive number or None, found {step!r}; e.g. step_size=0.1")


class MetropolisChains(eqx.Module):
    """What `metropolis` returns.

    Attributes
    ----------
    position : Array, shape (chain, draw, dim)
    stats : dict of str to Array, each (chain, draw)
        ``lp``, ``acceptance_rate`` (of the proposal made) and ``step_size``, by their names in ArviZ.
    """

    position: Array
    stats: dict[str, Array]


class _State(NamedTuple):
    """One chain: position, its log density, the step, and running moments of the positions since the last restart."""

    x: Array
    lp: Array
    log_step: Array
    scale: Array
    count: Array  # type: ignore[assignment]
    mean: Array
    square: Array


def metropolis(
    log_density: Callable[[Array], Array], settings: MetropolisSettings = MetropolisSettings()
) -> Callable[[Array, Array], MetropolisChains]:
    """Make a random-walk sampler of one density, to be jitted, vmapped or mapped.

    Parameters
    ----------
    log_density : callable
        ``(dim,) -> ()``, up to a constant; minus infinity (or NaN) outside the support.
    settings : MetropolisSettings

    Returns
    -------
    callable
        ``run(key, start) -> MetropolisChains`` with ``start`` of shape (chain, dim).

    Examples
    --------
    >>> run = metropolis(lambda x: -0.5 * jnp.sum(x**2), MetropolisSettings(draws=500, tune=500))
    >>> chains = jax.jit(run)(jax.random.key(0), jnp.zeros((4, 3)))
    >>> chains.position.shape, 0.1 < float(chains.stats["acceptance_rate"].mean()) < 0.5
    ((4, 500, 3), True)
    """
    half = settings.tune // 2

    def step(state: _State, inputs: tuple[Array, Array]) -> tuple[_State, tuple[Array, Array, Array, Array]]:
        """One proposal; ``number`` counts warm-up steps from 1 and is 0 afterwards."""
        key, number = inputs
        move_key, accept_key = jax.random.split(key)
        noise = jax.random.normal(move_key, state.x.shape, state.x.dtype)
        proposal = state.x + jnp.exp(state.log_step) * state.scale * noise
        lp = _finite(log_density(proposal))
        rate = jnp.where(jnp.isneginf(lp), 0.0, jnp.exp(jnp.minimum(lp - state.lp, 0.0)))
        taken = jax.random.uniform(accept_key, (), state.x.dtype) < rate
        used = jnp.exp(state.log_step)
        state = state._replace(x=jnp.where(taken, proposal, state.x), lp=jnp.where(taken, lp, state.lp))
        if settings.step_size is None:
            state = jax.lax.cond(number > 0, lambda s: _tuned(s, rate, number, half), lambda s: s, state)
        return state, (state.x, state.lp, rate, used)

    def chain(key: Array, start: Array) -> tuple[Array, Array, Array, Array]:
        dim = start.shape[0]
        first = settings.step_size or 2.38 / math.sqrt(max(dim, 1))
        zero = jnp.zeros((), start.dtype)
        state = _State(
            start,
            _finite(log_density(start)),
            zero + math.log(first),
            jnp.ones_like(start),
            zero,
            jnp.zeros_like(start),
            jnp.zeros_like(start),
        )
        tune_key, draw_key = jax.random.split(key)
        if settings.tune:
            warm = (jax.random.split(tune_key, settings.tune), jnp.arange(1, settings.tune + 1))
            state = jax.lax.scan(lambda s, i: (step(s, i)[0], None), state, warm)[0]
        kept = (jax.random.split(draw_key, settings.draws), jnp.zeros(settings.draws, int))
        return jax.lax.scan(step, state, kept)[1]

    def run(key: Array, start: Array) -> MetropolisChains:
        x, lp, rate, used = jax.vmap(chain)(jax.random.split(key, start.shape[0]), start)
        return MetropolisChains(x, {"lp": lp, "acceptance_rate": rate, "step_size": used})

    return run


def _tuned(state: _State, rate: Array, number: Array, half: int) -> _State:
    """Robbins-Monro on the log step; halfway the spread since the first tenth becomes the scale and the step starts
    anew.
    """
    since = jnp.where(number > half, number - half, number).astype(state.x.dtype)
    log_step = state.log_step + 3 * (rate - _TARGET) / since**0.6
    collect = (number > half // 5) & (number <= half)
    count = state.count + collect
    gain = jnp.where(collect, 1 / jnp.maximum(count, 1.0), 0.0)
    off = state.x - state.mean
    mean = state.mean + gain * off
    square = state.square + jnp.where(collect, off * (state.x - mean), 0.0)
    spread = jnp.sqrt(square / jnp.maximum(count, 1.0))
    now = (number == half) & jnp.all(spread > 0)
    scale = jnp.where(now, spread, state.scale)
    first = math.log(2.38 / math.sqrt(max(state.x.shape[0], 1)))
    return state._replace(log_step=jnp.where(now, first, log_step), scale=scale, count=count, mean=mean, square=square)


def _finite(lp: Array) -> Array:
    """NaN as minus infinity: never stepped to."""
    return jnp.where(jnp.isnan(lp), -jnp.inf, lp)
