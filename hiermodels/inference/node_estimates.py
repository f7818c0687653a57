"""Estimates of a study from a mixture over nodes of the hyperparameters."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import Array

from hiermodels.inference.derived import target_sizes
from hiermodels.inference.draws import Estimates
from hiermodels.inference.node_summaries import summarise_nodes
from hiermodels.inference.nodes import POOR, Nodes
from hiermodels.inference.summaries import Interval, Target, judge, point

__all__ = ["estimates_of_nodes"]

_RANKS = 1000
"""Exact posteriors have a probability of the truth, not a rank: it is cut into 1,001 equal cells, uniform if it is."""


def estimates_of_nodes(
    model: Any, nodes: Nodes, stats: Any, targets: tuple[Target, ...], interval: Interval, truth: Array
) -> Estimates:
    """Estimates from a mixture over nodes of the hyperparameters: no draws are made."""
    wanted = tuple(dict.fromkeys(t.variable for t in targets))
    sizes = target_sizes(model.layout, targets)
    thresholds: dict[str, list[Array]] = {}
    start = 0
    for target, n in zip(targets, sizes, strict=True):
        part = truth[start : start + n] if n > 1 else truth[start]
        thresholds.setdefault(target.variable, []).append(
            part if target.threshold is None else jnp.full_like(part, target.threshold)
        )
        start += n
    found = summarise_nodes(
        model, nodes, stats, wanted, interval=interval.level, kind=interval.kind, thresholds=thresholds
    )
    seen: dict[str, int] = {}
    heavy = []
    parts: dict[str, list[Array]] = {k: [] for k in ("estimate", "median", "se", "lower", "upper", "rank", "max_rank")}
    for target in targets:
        summary = found[target.variable]
        place = seen.get(target.variable, 0)
        seen[target.variable] = place + 1
        below = jnp.atleast_1d(summary.cdf[place])
        moments = target.threshold is None and not target.no_moment
        error = jnp.maximum(summary.error, summary.moment_error) if moments else summary.error
        heavy.append(jnp.atleast_1d(jnp.maximum(nodes.quality, error) > POOR))
        mean, median, sd = (jnp.atleast_1d(a) for a in (summary.mean, summary.median, summary.sd))
        nan = jnp.full_like(mean, jnp.nan)
        if target.threshold is not None:
            row = (1 - below if target.above else below, nan, nan, nan, nan, nan, nan)
        else:
            se = nan if target.no_moment else sd
            ends = (jnp.atleast_1d(summary.lower), jnp.atleast_1d(summary.upper))
            lost = jnp.isnan(ends[0]) | jnp.isnan(ends[1])  # a quantile that was not found: the whole row is missing
            row = (jnp.where(lost, nan, point(mean, median, target)), median, se, *ends, below, nan)
        for name, value in zip(parts, row, strict=True):
            parts[name].append(value)
    columns = {k: jnp.concatenate(v) for k, v in parts.items()}
    ranks = (_RANKS + 1) * columns["rank"]
    columns["rank"] = jnp.where(jnp.isfinite(truth), jnp.floor(jnp.clip(ranks, 0, _RANKS)), jnp.nan)
    columns["max_rank"] = jnp.where(jnp.isfinite(columns["rank"]), float(_RANKS), jnp.nan)
    none = jnp.full_like(columns["estimate"], jnp.nan)
    return Estimates(
        **columns,
        rhat=none,
        ess_bulk=none,
        ess_tail=none,
        status=judge(columns["estimate"], heavy=jnp.concatenate(heavy)),
        divergences=jnp.zeros((), jnp.int32),
        n_try=jnp.ones((), jnp.int32),
    )
