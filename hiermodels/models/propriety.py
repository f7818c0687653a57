"""Is the posterior proper, and which moments exist? Tail exponents decide, before anything is sampled.

For normal hierarchies with flat coefficients of rank p and n_l groups at level l, let the scale of level l grow with
all coarser scales below it: the likelihood falls as scale^-(n_l - p) and the prior as scale^e_l, while each coarser
scale m integrates to scale^(e_m + 1) where its prior has a heavy tail. The posterior is proper at that end iff

    e_l + sum over coarser m of max(0, e_m + 1) - (n_l - p) < -1,

and a moment of order r of that scale exists iff the same holds with e_l + r. Where every group of a level has one child, the data
tell the sum of the two variances only: each counts as coarser than the other. With flat sds this is "at least p + 2
groups", with flat variances "at least p + 3"; for school / class / score with flat variances it is 4, 6 and 8. At zero the
likelihood stays positive, so every prior must be integrable there (e > -1). Models of counts have their own rules:
`hiermodels.models.propriety_counts`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hiermodels.models.priors import Prior
from hiermodels.models.propriety_counts import check_counts, missing_count_moments
from hiermodels.models.propriety_links import check_links, check_repeats, missing_link_moments
from hiermodels.models.spec import Layout, sd_name, theta_name
from hiermodels.models.units import inner_design

if TYPE_CHECKING:
    from hiermodels.models.data import Data

__all__ = ["check_propriety", "has_moment", "missing_moments"]


def check_propriety(layout: Layout, data: Data, outcome: bool) -> None:
    """Refuse an improper posterior.

    Raises
    ------
    ValueError
        Naming the parameter, its prior, the condition and a prior that works.
    """
    if layout.gaussian:
        _check_normal(layout, data, outcome)
    elif layout.normal_groups:
        _check_explicit(layout, data, outcome)
    else:
        check_counts(layout, data, outcome)


def _flat_rank(layout: Layout, data: Data) -> int:
    flat = [
        c
        for c in layout.population
        if (p := layout.parameter(layout.columns[c])) is not None and p.prior.name == "flat"
    ]
    return int(np.linalg.matrix_rank(inner_design(layout, data)[:, flat])) if flat else 0


class _Scale(NamedTuple):
    """A standard deviation: how many units it has, what they are called, and the levels in which they nest."""

    name: str
    prior: Prior
    units: int
    unit: str
    level: int
    above: frozenset[int]


def _scales(layout: Layout, data: Data) -> list[_Scale]:
    """Every standard deviation, coarse to fine, rows last."""
    found: list[_Scale] = []
    above: list[frozenset[int]] = []
    for i, (level, real) in enumerate(zip(layout.levels, data.real, strict=True)):
        above.append(above[level.parent] | {level.parent} if level.parent >= 0 else frozenset[int]())
        for e in level.effects if level.pooling == "partial" else ():
            name = sd_name(level.name, layout.columns[e])
            prior = layout.parameter(name).prior  # type: ignore[union-attr]
            found.append(_Scale(name, prior, int(real.sum()), f"{level.name} groups", i, above[i]))
    sigma = layout.residual_sd
    if sigma is not None:
        levels = range(len(layout.levels))
        found.append(_Scale(sigma.name, sigma.prior, int((data.weight > 0).sum()), "rows", len(layout.levels), frozenset(levels)))
    return found


def _coarser(one: _Scale, other: _Scale) -> bool:
    """Whether a scale can hide below another that is large: it has fewer units, or the same ones in another level of the tree."""
    tied = other.units == one.units and (other.level in one.above or one.level in other.above)
    return other.units < one.units or tied


def _unpooled_count(layout: Layout, data: Data) -> int:
    return sum(
        int(real.sum()) * len(level.effects)
        for level, real in zip(layout.levels, data.real, strict=True)
        if level.pooling == "none"
    )


def _tail_excess(scales: list[_Scale], i: int, rank: int, order: float = 0.0) -> float:
    """Exponent at infinity of scale i's marginal posterior plus one; negative iff the moment of this order exists."""
    here = scales[i]
    tail = here.prior.tail if order == 0 else here.prior.moment_tail()
    if tail == -math.inf:
        return -math.inf
    coarser = sum(max(0.0, scale.prior.tail + 1) for scale in scales if _coarser(here, scale))
    return tail + order + coarser - (here.units - rank) + 1


def _check_normal(layout: Layout, data: Data, outcome: bool) -> None:
    rank = _flat_rank(layout, data) + _unpooled_count(layout, data)
    scales = _scales(layout, data)
    for i, (name, prior, count, unit, _, _) in enumerate(scales):
        if prior.name == "fixed":
            continue
        if name == "sigma":
            _check_sigma(layout, data, outcome, prior)
        elif prior.origin <= -1:
            raise ValueError(
                f"priors: {name}: {prior} gives an improper posterior: it is not integrable at zero, where the likelihood is positive; "
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


def _check_explicit(layout: Layout, data: Data, outcome: bool) -> None:
    """Outcomes that are not normal: proper priors of every scale but sigma, whose rows must be more than what is flat."""
    check_links(layout, data)
    if layout.link != "identity":
        return
    _check_flat_only(layout, data)
    sigma, rank = layout.residual_sd, _flat_rank(layout, data) + _unpooled_count(layout, data)
    if sigma is None or sigma.prior.name == "fixed":
        return
    rows = int((data.weight > 0).sum())
    if sigma.prior.tail + rank - rows >= -1:
        raise ValueError(
            f"priors: sigma: {sigma.prior} gives an improper posterior with {rows} rows and {rank} flat coefficients; "
            f"use a proper prior, e.g. half_normal(...)"
        )
    _check_sigma(layout, data, outcome, sigma.prior)
    if outcome:
        check_repeats(layout, data, sigma.prior, rank)


def _check_flat_only(layout: Layout, data: Data) -> None:
    rows = int((data.weight > 0).sum())
    if rows < _flat_rank(layout, data):
        raise ValueError(f"data: {rows} rows cannot inform {len(layout.population)} coefficients with flat priors; give them normal priors")


def _check_sigma(layout: Layout, data: Data, outcome: bool, prior: Prior) -> None:
    """At sigma = 0 the likelihood is finite only where something is left over that coefficients and groups cannot follow."""
    if prior.support("positive")[0] > 0 or math.isinf(prior.origin):
        return
    free, left = _left_over(layout, data)
    if left if outcome else free > 0:
        return
    if free == 0 and any(p.source == "default" and p.prior.name == "scaled_half_t" for p in layout.parameters):
        raise ValueError(
            f"priors: sigma: {prior}: there are no repeated observations to keep sigma from zero, and only a default prior would tell it "
            f"from the spread of groups; give known_se, or name priors of both"
        )
    if prior.origin + _scaled(layout) - free <= -1:
        why = "there are no repeated observations" if free == 0 else "coefficients and groups fit every row exactly: nothing is left"
        raise ValueError(
            f"priors: sigma: {prior} gives an improper posterior: it is not integrable at zero, where {why} to keep sigma from zero; "
            f"use inverse_gamma_variance(...)" + (", flat() or half_normal(...)" if free == 0 else "")
        )


def _scaled(layout: Layout) -> float:
    """Power of sigma by which priors in its units fall where it falls alone: the finest free groups' sds then are in their tails."""
    finest = next((level for i, level in reversed(list(enumerate(layout.levels))) if _follows(layout, i)), None)
    if finest is None or finest.pooling != "partial":
        return 0.0
    priors = [layout.parameter(sd_name(finest.name, layout.columns[e])).prior for e in finest.effects]  # type: ignore[union-attr]
    return min(prior.args[0] if prior.name == "scaled_half_t" else 0.0 for prior in priors)


def _left_over(layout: Layout, data: Data) -> tuple[int, bool]:
    """Rows less the rank of the coefficients and finest free groups, and whether the outcome leaves a residual.

    A coefficient in units of sigma counts as one more row, (mean - coefficient) / ratio. Coarser slopes are left out, which can
    only leave more over.
    """
    rows = np.asarray(data.weight) > 0
    x, y = np.asarray(inner_design(layout, data))[rows], np.asarray(data.y)[rows]
    finest = next((i for i in reversed(range(len(layout.levels))) if _follows(layout, i)), None)
    outer = np.column_stack([y, x[:, list(layout.population)]])
    rank = 0
    if finest is not None:
        level = layout.levels[finest]
        outer, rank = _within(outer, x[:, list(level.effects)], np.asarray(data.group[finest])[rows], level.size)
    inner, target = outer[:, 1:], outer[:, 0]
    gone = np.linalg.norm(inner, axis=0) <= 1e-10 * np.linalg.norm(x[:, list(layout.population)], axis=0)
    inner = np.where(gone, 0.0, inner)
    for place, c in enumerate(layout.population):
        p = layout.parameter(layout.columns[c])
        if p is not None and p.prior.name == "scaled_normal":
            inner = np.vstack([inner, np.eye(inner.shape[1])[place] / p.prior.args[1]])
            target = np.append(target, p.prior.args[0] / p.prior.args[1])
    fitted, inner_rank = np.zeros(0), 0
    if inner.shape[1]:
        fitted, _, inner_rank, _ = np.linalg.lstsq(inner, target, rcond=1e-10)
    residual = target - inner @ fitted
    noise = 64 * np.finfo(float).eps * max(np.max(np.abs(y), initial=0.0), np.max(np.abs(target), initial=0.0))
    return len(target) - rank - int(inner_rank), bool(np.max(np.abs(residual), initial=0.0) > noise)


def _follows(layout: Layout, i: int) -> bool:
    """Whether the groups of level i have values of their own."""
    level = layout.levels[i]
    if level.pooling == "partial":
        sds = [layout.parameter(sd_name(level.name, layout.columns[e])) for e in level.effects]
        return any(p is not None and p.prior != Prior("fixed", (0.0,)) for p in sds)
    return level.pooling == "none"


def _within(values: np.ndarray, effects: np.ndarray, group: np.ndarray, size: int) -> tuple[np.ndarray, int]:
    """What is left of columns after each group's own least squares on its effects, and the rank of these."""
    k = effects.shape[1]
    squares, cross = np.zeros((size, k, k)), np.zeros((size, k, values.shape[1]))
    np.add.at(squares, group, effects[:, :, None] * effects[:, None])
    np.add.at(cross, group, effects[:, :, None] * values[:, None])
    inverse = np.linalg.pinv(squares, rcond=1e-10, hermitian=True)
    rank = int(np.sum(np.linalg.matrix_rank(squares, tol=None, hermitian=True)))
    return values - np.einsum("nk,nkv->nv", effects, (inverse @ cross)[group]), rank


def missing_moments(layout: Layout, data: Data) -> dict[str, str]:
    """Variables whose posterior mean or sd does not exist, though the posterior is proper.

    Returns
    -------
    dict
        Variable name to ``"mean"`` (neither mean nor sd exists) or ``"sd"`` (the mean exists, the sd does not).
        ``"new(<g>)"`` is a key too.
    """
    found: dict[str, str] = {}
    if not layout.normal_groups:
        return missing_count_moments(layout, data)
    if layout.link != "identity":
        return missing_link_moments(layout, data)
    rank = _flat_rank(layout, data) + _unpooled_count(layout, data)
    scales = _scales(layout, data)
    worst = ""
    for i, (name, prior, *_) in enumerate(scales):
        if prior.name == "fixed":
            continue
        lost = "mean" if _tail_excess(scales, i, rank, 1) >= 0 else "sd" if _tail_excess(scales, i, rank, 2) >= 0 else ""
        if lost:
            found[name] = lost
            worst = "mean" if "mean" in (lost, worst) else "sd"
    if worst:  # coefficients and coarse group values spread with the scales that estimate them
        for c in layout.population:
            if (p := layout.parameter(layout.columns[c])) is not None and p.prior.name in ("flat", "scaled_normal"):
                found.setdefault(p.name, worst)
        branches = [leaf for leaf, _ in layout.branches]
        for i, level in enumerate(layout.levels):
            if branches == [i]:  # rows hold the values of the finest groups; of crossed ones, only their sums
                continue
            for e in level.effects:
                found.setdefault(theta_name(level.name, layout.columns[e]), worst)
        for level in layout.levels:
            found.setdefault(f"new({level.name})", worst)
    return found


def has_moment(layout: Layout, data: Data, name: str, order: float) -> bool:
    """Whether E[scale^order | y] exists for a scale of a normal hierarchy whose posterior is proper.

    Parameters
    ----------
    layout : Layout
        With normal groups around a linear predictor in units of the outcome.
    data : Data
        NumPy arrays, as `hiermodels.models.data.bind` gives them.
    name : str
        ``sigma`` or ``sd_<g>``.
    order : float
        Positive.

    Raises
    ------
    ValueError
        For a name that is no scale of the model.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat()"})
    >>> problem = bind(model, hm.load_dataset("eight_schools"))
    >>> [has_moment(problem.layout, problem.data, "sd_school", r) for r in (2, 4, 6)]
    [True, True, False]
    """
    scales = _scales(layout, data)
    place = next((i for i, scale in enumerate(scales) if scale.name == name), None)
    if place is None:
        raise ValueError(f"{name}: expected one of {', '.join(s.name for s in scales) or 'no scale'}; name a scale of the model")
    if scales[place].prior.name == "fixed":
        return True
    return _tail_excess(scales, place, _flat_rank(layout, data) + _unpooled_count(layout, data), order) < 0
