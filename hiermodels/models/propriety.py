"""Is the posterior proper, and which moments exist? Tail exponents decide, before anything is sampled.

At infinity, for normal hierarchies: sds of a set of group terms that grow together are weighed against the rank that
these terms have beyond the flat coefficients (`hiermodels.models.ranks` has the rule). What counts is what the
coefficients take from a level: a predictor that varies within groups takes nothing. With one flat mean and flat sds
this is "at least 3 groups", with flat variances "at least 4"; for school / class / score with flat variances it is 4, 6
and 8. At zero the likelihood stays positive, so every prior must be integrable there (e > -1). Models of counts have
their own rules: `hiermodels.models.propriety_counts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.propriety_counts import check_counts, missing_count_moments
from hiermodels.models.propriety_links import check_links, check_repeats, missing_link_moments
from hiermodels.models.ranks import ROWS, Set, Spans
from hiermodels.models.told_apart import untold
from hiermodels.models.units import inner_design
from hiermodels.priors import Prior, fixed
from hiermodels.priors.exponents import integrable_at_infinity, integrable_at_zero, worst
from hiermodels.quantities import INTERCEPT, sd_name, theta_name

__all__ = ["check_propriety", "has_moment", "left_over", "missing_moments"]


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


def _flat(layout: Layout) -> list[int]:
    """Population columns whose coefficients have flat priors."""
    return [c for c in layout.population if (p := layout.parameter(layout.columns[c])) is not None and p.prior.constant]


def _check_normal(layout: Layout, data: Data, outcome: bool) -> None:
    spans = Spans(layout, data, _flat(layout))
    for scale in spans.scales:
        if scale.prior.known:
            continue
        if scale.level == ROWS:
            _check_sigma(layout, data, outcome, scale.prior)
        elif not integrable_at_zero(scale.prior.origin):
            raise ValueError(
                f"priors: {scale.name}: {scale.prior} gives an improper posterior: it is not integrable at zero, "
                f"where the likelihood is "
                f"positive; use flat(), half_normal(...) or reference()"
            )
    _check_infinity(spans)
    if layout.known or not layout.columns:
        _check_flat_only(layout, data)


def _check_infinity(spans: Spans) -> None:
    """Refuse scales whose likelihood does not fall by what their priors rise."""
    for some in spans.sets:
        rise = spans.exponent(some)
        fall = spans.fall(some, rise)
        if _falls(rise, fall):
            continue
        scale = spans.scales[max(some)]
        need, taken = scale.units + math.floor(rise - fall) + 1, spans.taken(some)
        why = f", {taken} of which the coefficients follow" if taken > 1 else ""
        others = " and ".join(
            spans.scales[i].name for i in sorted(some - {max(some)}) if spans.scales[i].prior.unit is None
        )
        beside = f" beside that of {others}" if others else ""
        raise ValueError(
            f"priors: {scale.name}: {scale.prior}{beside} gives an improper posterior with {scale.units} "
            f"{scale.unit}{why}: at least {need} "
            f"are needed; use a proper prior, e.g. half_normal(...)"
        )


def _falls(rise: float, fall: float) -> bool:
    """Whether scales that grow together have a finite integral: priors and measure rise by one exponent, the
    likelihood falls by the other.
    """
    return integrable_at_infinity(rise - (fall + 1))


def _check_explicit(layout: Layout, data: Data, outcome: bool) -> None:
    """Outcomes that are not normal: proper priors of every scale but sigma, whose rows must be more than what is
    flat.
    """
    check_links(layout, data)
    if not layout.law.local:
        return
    _check_flat_only(layout, data)
    if outcome:
        _check_sharp(layout, data)
    sigma = layout.residual_sd
    if sigma is None or sigma.prior.known:
        return
    spans = Spans(layout, data, _flat(layout))
    _check_infinity(spans)
    _check_sigma(layout, data, outcome, sigma.prior)
    if outcome:
        check_repeats(layout, data, sigma.prior, spans.rank)


def _sharp(layout: Layout, data: Data) -> tuple[Parameter, int, bool] | None:
    """The parameter without bound as which rows lose their spread, rows to spare, and whether anything is left over of
    them.
    """
    p = layout.find("dispersion")
    if p is None or p.prior.known or not layout.law.sharpens:
        return None
    y = np.asarray(data.y)
    linked = layout.law.empirical(y, np.ones_like(y)) if y.any() else y  # a design has no outcomes
    free, left = left_over(layout, data, linked[None])
    return p, free, bool(left[0])


def _check_sharp(layout: Layout, data: Data) -> None:
    """Where coefficients and groups fit every row exactly, the likelihood grows as a power of the parameter that
    sharpens rows.
    """
    found = _sharp(layout, data)
    if found is None:
        return
    p, free, left = found
    if free > 0 and not left and not integrable_at_infinity(p.prior.tail + free / 2):
        raise ValueError(
            f"priors: {p.name}: {p.prior} gives an improper posterior: coefficients and groups fit every row "
            f"exactly, so nothing is left to keep "
            f"{p.name} from growing; use exponential(...), or check the outcome for equal rows"
        )


def _missing_sharp(layout: Layout, data: Data) -> dict[str, str]:
    """Where no rows are to spare, the tail of the prior is that of the posterior."""
    found = _sharp(layout, data)
    if found is None or found[1] > 0:
        return {}
    tail = found[0].prior.moment_tail()
    lost = worst(not integrable_at_infinity(tail + r) for r in (1, 2))
    return {found[0].name: lost} if lost else {}


def _check_flat_only(layout: Layout, data: Data) -> None:
    rows = int((data.weight > 0).sum())
    if rows < Spans(layout, data, _flat(layout)).rank:
        raise ValueError(
            f"data: {rows} rows cannot inform {len(layout.population)} coefficients with flat priors; give them "
            f"normal priors"
        )


def _check_sigma(layout: Layout, data: Data, outcome: bool, prior: Prior) -> None:
    """At sigma = 0 the likelihood is finite only where something is left over that coefficients and groups cannot
    follow.
    """
    if prior.support("positive")[0] > 0 or math.isinf(prior.origin):
        return
    free, left = left_over(layout, data, np.asarray(data.y)[None])
    if left[0] if outcome else free > 0:
        return
    if free == 0 and any(p.source == "default" and p.prior.unit is not None for p in _beside_sigma(layout, data)):
        raise ValueError(
            f"priors: sigma: {prior}: there are no repeated observations to keep sigma from zero, and only a default "
            f"prior would tell it "
            f"from the spread of groups; give known_se, or name priors of both"
        )
    if not integrable_at_zero(prior.origin + (_scaled(layout) - free)):
        why = (
            "there are no repeated observations"
            if free == 0
            else "coefficients and groups fit every row exactly: nothing is left"
        )
        raise ValueError(
            f"priors: sigma: {prior} gives an improper posterior: it is not integrable at zero, where {why} to keep "
            f"sigma from zero; "
            f"use inverse_gamma_variance(...)" + (" or half_normal(...)" if free == 0 else "")
        )


def _beside_sigma(layout: Layout, data: Data) -> list[Parameter]:
    """Parameters that the design does not tell apart from sigma."""
    together = {
        s.name for some in untold(layout, data).together for s in some if any(other.level == ROWS for other in some)
    }
    return [p for p in layout.parameters if p.name in together]


def _scaled(layout: Layout) -> float:
    """Power of sigma by which priors in its units fall where it falls alone: the finest free groups' sds then are in
    their tails.
    """
    finest = next((level for i, level in reversed(list(enumerate(layout.levels))) if _follows(layout, i)), None)
    if finest is None or finest.pooling != "partial":
        return 0.0
    return min(layout.parameter(sd_name(finest.name, layout.columns[e])).prior.unit_power for e in finest.effects)  # type: ignore[union-attr]


def left_over(layout: Layout, data: Data, outcomes: np.ndarray) -> tuple[int, np.ndarray]:
    """Rows less the rank of the coefficients and finest free groups, and whether each outcome leaves a residual.

    A coefficient in units of sigma counts as one more row, (mean - coefficient) / ratio. Coarser slopes are left out,
    which can only leave more over.

    Parameters
    ----------
    layout : Layout
    data : Data
        NumPy arrays; their own outcome is not looked at.
    outcomes : ndarray, shape (dataset, row)

    Returns
    -------
    free : int
    left : ndarray of bool, shape (dataset,)
    """
    rows = np.asarray(data.weight) > 0
    x, y = np.asarray(inner_design(layout, data))[rows], np.asarray(outcomes, float)[:, rows].T
    finest = next((i for i in reversed(range(len(layout.levels))) if _follows(layout, i)), None)
    outer = np.column_stack([y, x[:, list(layout.population)]])
    rank = 0
    if finest is not None:
        level = layout.levels[finest]
        outer, rank = _within(outer, x[:, list(level.effects)], np.asarray(data.group[finest])[rows], level.size)
    target, inner = outer[:, : y.shape[1]], outer[:, y.shape[1] :]
    gone = np.linalg.norm(inner, axis=0) <= 1e-10 * np.linalg.norm(x[:, list(layout.population)], axis=0)
    inner = np.where(gone, 0.0, inner)
    for place, c in enumerate(layout.population):
        p = layout.parameter(layout.columns[c])
        if p is not None and p.prior.unit is not None:
            mean, ratio = p.prior.gaussian  # type: ignore[misc]
            inner = np.vstack([inner, np.eye(inner.shape[1])[place] / ratio])
            target = np.vstack([target, np.full((1, target.shape[1]), mean / ratio)])
    residual, inner_rank = target, 0
    if inner.shape[1]:
        fitted, _, inner_rank, _ = np.linalg.lstsq(inner, target, rcond=1e-10)
        residual = target - inner @ fitted
    free = len(target) - rank - int(inner_rank)
    noise = (
        64 * np.finfo(float).eps * np.maximum(np.max(np.abs(y), 0, initial=0.0), np.max(np.abs(target), 0, initial=0.0))
    )
    return free, (np.max(np.abs(residual), 0, initial=0.0) > noise) & (free > 0)


def _follows(layout: Layout, i: int) -> bool:
    """Whether the groups of level i have values of their own."""
    level = layout.levels[i]
    if level.pooling == "partial":
        sds = [layout.parameter(sd_name(level.name, layout.columns[e])) for e in level.effects]
        return any(p is not None and p.prior != fixed(0) for p in sds)
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
    if not layout.normal_groups:
        return missing_count_moments(layout, data)
    if not layout.law.local:
        return missing_link_moments(layout, data)
    found = _missing_sharp(layout, data)
    spans = Spans(layout, data, _flat(layout))
    for some in spans.sets:
        rise = spans.exponent(some)
        fall = spans.fall(some, rise + 2)
        if _falls(rise + 2, fall):
            continue
        lost = "sd" if _falls(rise + 1, fall) else "mean"
        for name in _unsteady(layout, spans, some):
            found[name] = "mean" if "mean" in (lost, found.get(name)) else "sd"
    order = [*(s.name for s in spans.scales), *found]
    return {name: found[name] for name in dict.fromkeys(order) if name in found}


def _unsteady(layout: Layout, spans: Spans, some: Set) -> Iterator[str]:
    """Names of what is as uncertain as the scales of a set are large."""
    yield from (spans.scales[i].name for i in spans.moved_by(some))
    rows = any(spans.scales[i].level == ROWS for i in some)
    priors = {c: layout.parameter(layout.columns[c]).prior for c in layout.population}  # type: ignore[union-attr]
    for c, prior in priors.items():
        if (prior.constant and spans.unsteady(some, spans.coefficient(some, c))) or (prior.unit is not None and rows):
            yield layout.columns[c]
    for i, level in enumerate(layout.levels):
        unsteady = [e for e in level.effects if spans.unsteady(some, spans.group_value(some, i, e))]
        yield from (theta_name(level.name, layout.columns[e]) for e in unsteady)
        first = next((e for e in level.effects if layout.columns[e] == INTERCEPT), level.effects[0])
        if first in unsteady or any(
            spans.scales[k].effect == first and spans.scales[k].level in spans.above(i) for k in some
        ):
            yield f"new({level.name})"


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
    spans = Spans(layout, data, _flat(layout))
    place = next((i for i, scale in enumerate(spans.scales) if scale.name == name), None)
    if place is None:
        raise ValueError(
            f"{name}: expected one of {', '.join(s.name for s in spans.scales) or 'no scale'}; name a scale of the "
            f"model"
        )
    if spans.scales[place].prior.known:
        return True
    sets = [some for some in spans.sets if place in set(spans.moved_by(some))]
    return all(_falls(rise + order, spans.fall(some, rise + order)) for some in sets for rise in [spans.exponent(some)])
