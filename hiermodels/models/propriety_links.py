"""Propriety and moments where an outcome that is not normal has normal groups.

- Logit and log links: a likelihood need not fall as a coefficient or a group sd grows (no events, or nothing else), so
  every prior must be proper. Then the posterior is. With K groups whose counts are neither none nor all, the likelihood
  falls at least as sd^-K in that level's sd, so its moment of order r exists where the prior's tail exponent e has e +
  r - K < -1. As ``shape`` grows the negative binomial law becomes the Poisson law, whose likelihood is positive: the
  prior alone decides.
- `student_t`: as `normal` as sigma grows. As sigma falls to zero, s rows that r coefficients can fit exactly weigh
  sigma^-(s - r), while every other row costs sigma^nu, nu >= 1: with a prior sigma^e the posterior is proper iff n - s
  - (s - r) + e > -1 (compare Fernandez & Steel 1999, Biometrika 86, 153-167). Group sds need proper priors.
"""

from __future__ import annotations

import math

import numpy as np

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.priors import Prior
from hiermodels.priors.exponents import integrable_at_infinity, integrable_at_zero, worst
from hiermodels.quantities import sd_name

__all__ = ["check_links", "check_repeats", "missing_link_moments"]


def check_links(layout: Layout, data: Data) -> None:
    """Refuse improper priors where the likelihood cannot make up for them.

    Raises
    ------
    ValueError
        Naming the parameter, its prior and one that works.
    """
    for p in layout.parameters:
        if p.kind == "correlation" or p.prior.known or p.role == "residual sd":
            continue
        if p.kind == "real":
            if not layout.law.local and not p.prior.proper:
                raise ValueError(
                    f"priors: {p.name}: {p.prior} may give an improper posterior: on a {layout.link} scale a "
                    f"likelihood need not fall; "
                    f"use a proper prior, e.g. normal(0, 10)"
                )
        elif p.kind == "positive" and not p.prior.proper:
            raise ValueError(
                f"priors: {p.name}: {p.prior} may give an improper posterior under family {layout.family}; "
                f"use a proper prior, e.g. half_normal(...)"
            )


def check_repeats(layout: Layout, data: Data, prior: Prior, rank: int) -> None:
    """Refuse t outcomes of which so many are equal that sigma can fall to zero on them.

    Raises
    ------
    ValueError
        With the number of equal outcomes.
    """
    if math.isinf(prior.origin) or prior.support("positive")[0] > 0:
        return
    rows = np.asarray(data.weight) > 0
    y = np.asarray(data.y)[rows]
    group = np.asarray(data.group[-1])[rows] if layout.levels else np.zeros(len(y), int)
    pairs, counts = np.unique(np.stack([group.astype(float), y]), axis=1, return_counts=True)
    most = [int(counts[pairs[0] == g].max()) for g in np.unique(pairs[0])]
    extra = sum(m - 1 for m in most)
    fitted = extra + (len(most) if layout.levels else max(rank, 1))
    if not integrable_at_zero(prior.origin + (len(y) - fitted - extra)):
        raise ValueError(
            f"priors: sigma: {prior} gives an improper posterior: {extra + len(most)} of {len(y)} outcomes are equal "
            f"to others of "
            f"their group, so t errors with a scale of zero fit them; use inverse_gamma_variance(...), or family normal"
        )


def missing_link_moments(layout: Layout, data: Data) -> dict[str, str]:
    """Scales whose posterior mean or sd does not exist, by name; see `hiermodels.models.propriety.missing_moments`."""
    found: dict[str, str] = {}
    informative: dict[str, int] = {}
    rows = layout.law.counted(np.asarray(data.y), np.asarray(data.size))
    for i, level in enumerate(layout.levels):
        y, size = (tree_of(layout, data).sum_rows(a, i) for a in rows)
        count = int(np.sum(layout.law.informative(y, size)))
        informative |= {sd_name(level.name, layout.columns[e]): count for e in level.effects}
    for p in layout.parameters:
        if p.kind != "positive" or p.prior.known:
            continue
        tail = p.prior.moment_tail() - informative.get(p.name, 0)
        lost = worst(not integrable_at_infinity(tail + r) for r in (1, 2))
        if lost:
            found[p.name] = lost
    return found
