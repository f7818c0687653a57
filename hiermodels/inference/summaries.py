"""Draws reduced to estimates, where they are made: the draws of a study never leave the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.diagnostics import convergence
from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.inference.order_statistics import hdi, quantile

__all__ = ["ESS_LIMIT", "RHAT_LIMIT", "Interval", "Target", "judge", "summarise"]

RHAT_LIMIT = 1.05
"""R-hat above which a fit of a study is flagged; short chains pass 1.01 by chance."""
ESS_LIMIT = 100.0
"""Bulk effective size below which a fit of a study is flagged."""


@dataclass(frozen=True)
class Target:
    """A quantity to estimate: a variable, an average over groups, a new group, or a posterior probability.

    Attributes
    ----------
    variable : str
        ``theta_school``, ``mean(theta_school)``, ``new(school)``, ``Intercept``.
    point : str
        ``mean`` or ``median``.
    threshold : float or None
        Makes it the posterior probability that the variable is beyond the threshold.
    above : bool
        Direction of that probability.
    no_moment : str
        ``mean`` or ``sd`` where that posterior moment does not exist (``mean`` implies both).
    rows : tuple of tuple of float
        Of a test: the combinations of coefficients that its hypothesis says are 0; the target is 1 - p.
    """

    variable: str
    point: str = "mean"
    threshold: float | None = None
    above: bool = True
    no_moment: str = ""
    rows: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Interval:
    """Credible interval asked for: ``equal_tailed``, ``hdi`` or ``upper`` (from the lower bound to infinity's end).

    ``upper`` gives a one-sided interval: from minus infinity to the ``level`` quantile.
    """

    level: float = 0.95
    kind: str = "equal_tailed"


def _interval(x: Array, interval: Interval) -> tuple[Array, Array]:
    if interval.kind == "hdi":
        ends = hdi(x, interval.level)
        return ends[0], ends[1]
    if interval.kind == "upper":
        upper = quantile(x, interval.level)
        return jnp.full_like(upper, -jnp.inf), upper
    tail = (1 - interval.level) / 2
    return quantile(x, tail), quantile(x, 1 - tail)


def judge(
    estimate: Array,
    rhat: Array | None = None,
    ess: Array | None = None,
    divergences: Array | None = None,
    heavy: Array | None = None,
) -> Array:
    """Worst status of each target, a position in `STATUS`; what is not given is not judged."""
    status = jnp.zeros(estimate.shape, jnp.int32)
    for word, bad in (
        ("heavy_weights", heavy),
        ("low_ess", None if ess is None else ess < ESS_LIMIT),
        ("rhat", None if rhat is None else rhat > RHAT_LIMIT),
        ("divergent", None if divergences is None else divergences > 0),
        ("nonfinite", ~jnp.isfinite(estimate)),
    ):
        if bad is not None:
            status = jnp.where(bad, STATUS.index(word), status)
    return status


def point(mean: Array, median: Array, target: Target) -> Array:
    """The point estimate asked for; the median where the mean does not exist."""
    return median if target.point == "median" or target.no_moment == "mean" else mean


def summarise(
    values: Mapping[str, Array],
    targets: Sequence[Target],
    interval: Interval,
    key: Array,
    truth: Array,
    divergences: Array | None = None,
    heavy: Array | None = None,
    independent: bool = False,
) -> Estimates:
    """Estimates of one dataset from its draws.

    Parameters
    ----------
    values : mapping of str to Array
        Each target's variable to draws of shape (chain, draw) or (chain, draw, group).
    targets : sequence of Target
    interval : Interval
    key : Array
        Breaks ties of the rank statistic at random.
    truth : Array, shape (target,)
        True value of each target, NaN where there is none.
    divergences : Array, optional
        Number of divergent transitions.
    heavy : Array, optional
        Whether the draws' own density is not to be trusted.
    independent : bool
        Draws are independent: no convergence diagnostics apply.
    """
    columns, moments = [], []
    for target in targets:
        x = values[target.variable]
        x = x[..., None] if x.ndim == 2 else x
        if target.threshold is not None:
            x = (x > target.threshold if target.above else x < target.threshold).astype(x.dtype)
        columns.append(x)
        moments.append((target, x.shape[-1]))
    x = jnp.concatenate(columns, -1)
    mean, sd, median = jnp.mean(x, (0, 1)), jnp.std(x, (0, 1)), quantile(x, 0.5)
    lower, upper = _interval(x, interval)
    rhat, bulk, tail = (jnp.full_like(mean, jnp.nan),) * 3 if independent else convergence(x)
    still = sd == 0  # a variable that is known exactly has no chain to diagnose
    below, equal = jnp.sum(x < truth, (0, 1)), jnp.sum(x == truth, (0, 1))
    rank = below + jnp.floor(jax.random.uniform(key, truth.shape, truth.dtype) * (equal + 1))
    count = x.shape[0] * x.shape[1]
    known = jnp.isfinite(truth)
    estimate, error = _by_target(mean, median, sd, moments)
    decision = jnp.concatenate([jnp.full(n, t.threshold is not None) for t, n in moments])
    nan = jnp.nan
    return Estimates(
        estimate=estimate,
        median=jnp.where(decision, nan, median),
        se=jnp.where(decision, nan, error),
        lower=jnp.where(decision, nan, lower),
        upper=jnp.where(decision, nan, upper),
        rank=jnp.where(known & ~decision, rank, nan),
        max_rank=jnp.where(known & ~decision, float(count), nan),
        rhat=rhat,
        ess_bulk=bulk,
        ess_tail=tail,
        status=judge(
            estimate,
            None if independent else jnp.where(still, 1.0, rhat),
            None if independent else jnp.where(still, jnp.inf, bulk),
            divergences,
            heavy,
        ),
        divergences=jnp.zeros((), jnp.int32) if divergences is None else divergences,
        n_try=jnp.ones((), jnp.int32),
    )


def _by_target(mean: Array, median: Array, sd: Array, moments: list[tuple[Target, int]]) -> tuple[Array, Array]:
    estimates, errors, start = [], [], 0
    for target, n in moments:
        part = slice(start, start + n)
        estimates.append(point(mean[part], median[part], target))
        errors.append(jnp.full(n, jnp.nan) if target.no_moment else sd[part])
        start += n
    return jnp.concatenate(estimates), jnp.concatenate(errors)
