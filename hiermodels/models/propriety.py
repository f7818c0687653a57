"""Is the posterior proper, and which moments exist? Tail exponents decide, before anything is sampled.

For normal hierarchies with flat coefficients of rank p and n_l groups at level l, let the scale of level l grow with
all coarser scales below it: the likelihood falls as scale^-(n_l - p) and the prior as scale^e_l, while each coarser
scale m integrates to scale^(e_m + 1) where its prior has a heavy tail. The posterior is proper at that end iff

    e_l + sum over coarser m of max(0, e_m + 1) - (n_l - p) < -1,

and a moment of order r of that scale exists iff the same holds with e_l + r. With flat sds this is "at least p + 2
groups", with flat variances "at least p + 3"; for school / class / score with flat variances it is 4, 6 and 8. At zero the
likelihood stays positive, so every prior must be integrable there (e > -1). Models of counts have their own rules:
`hiermodels.models.propriety_counts`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from hiermodels.models.priors import Prior
from hiermodels.models.propriety_counts import check_counts, missing_count_moments
from hiermodels.models.spec import Layout, sd_name, theta_name

if TYPE_CHECKING:
    from hiermodels.models.data import Data

__all__ = ["check_propriety", "missing_moments"]


def check_propriety(layout: Layout, data: Data, outcome: bool) -> None:
    """Refuse an improper posterior.

    Raises
    ------
    ValueError
        Naming the parameter, its prior, the condition and a prior that works.
    """
    if layout.family == "normal":
        _check_normal(layout, data, outcome)
    else:
        check_counts(layout, data, outcome)


def _flat_rank(layout: Layout, data: Data) -> int:
    flat = [
        c
        for c in layout.population
        if (p := layout.parameter(layout.columns[c])) is not None and p.prior.name == "flat"
    ]
    return int(np.linalg.matrix_rank(data.x[:, flat])) if flat else 0


def _scales(layout: Layout, data: Data) -> list[tuple[str, Prior, int, str]]:
    """(parameter, prior, count of units, unit) coarse to fine, rows last."""
    found = []
    for level, real in zip(layout.levels, data.real, strict=True):
        for e in level.effects if level.pooling == "partial" else ():
            name = sd_name(level.name, layout.columns[e])
            found.append((name, layout.parameter(name).prior, int(real.sum()), f"{level.name} groups"))  # type: ignore[union-attr]
    sigma = layout.parameter("sigma")
    if sigma is not None:
        found.append(("sigma", sigma.prior, int((data.weight > 0).sum()), "rows"))
    return found


def _unpooled_count(layout: Layout, data: Data) -> int:
    return sum(
        int(real.sum()) * len(level.effects)
        for level, real in zip(layout.levels, data.real, strict=True)
        if level.pooling == "none"
    )


def _tail_excess(scales: list[tuple[str, Prior, int, str]], i: int, rank: int, order: float = 0.0) -> float:
    """Exponent at infinity of scale i's marginal posterior plus one; negative iff the moment of this order exists."""
    name, prior, count, _ = scales[i]
    tail = prior.tail if order == 0 else prior.moment_tail()
    if tail == -math.inf:
        return -math.inf
    coarser = sum(max(0.0, p.tail + 1) for other, p, n, _ in scales[:i] if n < count or other == name)
    return tail + order + coarser - (count - rank) + 1


def _check_normal(layout: Layout, data: Data, outcome: bool) -> None:
    rank = _flat_rank(layout, data) + _unpooled_count(layout, data)
    scales = _scales(layout, data)
    for i, (name, prior, count, unit) in enumerate(scales):
        if prior.name == "fixed":
            continue
        if prior.origin <= -1 and not (name == "sigma" and _replicated(layout, data, outcome)):
            why = (
                "there are no repeated observations to keep sigma from zero"
                if name == "sigma"
                else "the likelihood is positive at zero"
            )
            raise ValueError(
                f"priors: {name}: {prior} gives an improper posterior: it is not integrable at zero, where {why}; "
                f"use flat(), half_normal(...) or reference()"
            )
        if prior.tail != -math.inf and _tail_excess(scales, i, rank) >= 0:
            need = count + math.floor(_tail_excess(scales, i, rank)) + 1
            raise ValueError(
                f"priors: {name}: {prior} gives an improper posterior with {count} {unit}: at least {need} are needed; "
                f"use a proper prior, e.g. half_normal(...)"
            )
    if layout.known or not layout.columns:
        _check_flat_only(layout, data)


def _check_flat_only(layout: Layout, data: Data) -> None:
    rows = int((data.weight > 0).sum())
    if rows < _flat_rank(layout, data):
        raise ValueError(f"data: {rows} rows cannot inform {len(layout.population)} coefficients with flat priors; give them normal priors")


def _replicated(layout: Layout, data: Data, outcome: bool) -> bool:
    """Whether the residual sum of squares within the finest groups can be positive."""
    rows = int((data.weight > 0).sum())
    finest = int(data.real[-1].sum()) if layout.levels else 1
    spread = not outcome or float(np.ptp(data.y[data.weight > 0])) > 0 if rows else False
    return rows > finest and spread


def missing_moments(layout: Layout, data: Data) -> dict[str, str]:
    """Variables whose posterior mean or sd does not exist, though the posterior is proper.

    Returns
    -------
    dict
        Variable name to ``"mean"`` (neither mean nor sd exists) or ``"sd"`` (the mean exists, the sd does not).
        ``"new(<g>)"`` is a key too.
    """
    found: dict[str, str] = {}
    if layout.family != "normal":
        return missing_count_moments(layout, data)
    rank = _flat_rank(layout, data) + _unpooled_count(layout, data)
    scales = _scales(layout, data)
    worst = ""
    for i, (name, prior, _, _) in enumerate(scales):
        if prior.name == "fixed":
            continue
        lost = "mean" if _tail_excess(scales, i, rank, 1) >= 0 else "sd" if _tail_excess(scales, i, rank, 2) >= 0 else ""
        if lost:
            found[name] = lost
            worst = "mean" if "mean" in (lost, worst) else "sd"
    if worst:  # coefficients and coarse group values spread with the scales that estimate them
        for c in layout.population:
            if (p := layout.parameter(layout.columns[c])) is not None and p.prior.name == "flat":
                found.setdefault(p.name, worst)
        for level in layout.levels[:-1]:
            for e in level.effects:
                found.setdefault(theta_name(level.name, layout.columns[e]), worst)
        for level in layout.levels:
            found.setdefault(f"new({level.name})", worst)
    return found
