"""Propriety and moments of beta-binomial and gamma-Poisson hierarchies.

Write J for the number of groups, K for those with 0 < y < trials (binomial) or y > 0 (poisson), c for the
concentration.

- c -> infinity is complete pooling, whose likelihood is positive: the prior of c must be integrable there.
- c -> 0: every group of the K contributes a factor c. A prior c^e is usable iff K + e > -1, so (alpha +
beta)^(-5/2), which is
  kappa^(-3/2) in (m, kappa), needs one such group.
- Poisson, m -> infinity at fixed shape a: the likelihood falls as m^(-aJ) only. A prior 1/m then costs a
factor 1/a (K + e - 1 > -1:
  two positive counts for a^(-3/2)), p flat coefficients on the log scale cost a^(-p), and a flat m is
  improper always.
- flat coefficients b: no direction d may keep the likelihood from falling, d != 0 with x'd = 0 in the K
groups, x'd <= 0 where
  y = 0, x'd >= 0 where y = trials (separation; Albert & Anderson 1984, Biometrika 71, 1-10).

For the same reason E[m | y] is infinite under 1/m, however many groups there are, and with it the mean rate of a new
group; log m has a moment of order r iff K + e - 1 - r > -1. E[kappa | y] and E[a | y] are infinite under c^(-3/2).
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.units import inner_design
from hiermodels.priors import Prior
from hiermodels.priors.exponents import integrable_at_infinity, integrable_at_zero, worst
from hiermodels.quantities import sd_name

__all__ = ["check_counts", "missing_count_moments"]


class _Units(NamedTuple):
    """Counts of the units of the likelihood, and their predictors with flat priors."""

    y: np.ndarray
    size: np.ndarray
    x: np.ndarray


def _units(layout: Layout, data: Data) -> _Units:
    flat = [c for c in layout.population if _is_flat(layout.parameter(layout.columns[c]))]
    unit, rows = count_tree(layout).unit, np.asarray(data.size) > 0
    events, exposure = layout.law.counted(np.asarray(data.y), np.asarray(data.size))
    y, size, x = (np.asarray(a)[rows] for a in (events, exposure, inner_design(layout, data)[:, flat]))
    if unit < 0:
        return _Units(y, size, x)
    group = np.asarray(data.group[unit])[rows]
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    return _Units(np.bincount(inverse, y), np.bincount(inverse, size), x[first])


def _is_flat(parameter: Parameter | None) -> bool:
    return parameter is not None and parameter.kind == "real" and parameter.prior.constant


def _informative(layout: Layout, units: _Units) -> np.ndarray:
    return layout.law.informative(units.y, units.size)


def _lowest(prior: Prior) -> float:
    """Lower end of a concentration's support."""
    return max(prior.args[0] if prior.known else prior.support("positive")[0], 0.0)


def _improper(name: str, prior: Prior, why: str, hint: str) -> ValueError:
    return ValueError(f"priors: {name}: {prior} gives an improper posterior: {why}; {hint}")


def check_counts(layout: Layout, data: Data, outcome: bool) -> None:
    """Refuse an improper posterior.

    Raises
    ------
    ValueError
        Naming the parameter, its prior, the condition and a prior that works.
    """
    tree = count_tree(layout)
    for p in layout.parameters:
        if p.prior.of_variances:
            raise ValueError(f"priors: {p.name}: {p.prior} is defined for known normal variances; use exponential(1)")
        if p.role == "group sd" and not p.prior.proper:
            raise _improper(p.name, p.prior, "the likelihood does not fall with it", "use half_normal(...)")
        if p.name == log_precision(layout) and tree.above and p.prior.constant:
            raise _improper(p.name, p.prior, "complete pooling has positive likelihood", "use normal(...)")
    units = _units(layout, data)
    if tree.word == "partial" and not tree.above:
        _check_concentration(layout, units, outcome)
    if not outcome:
        return
    name = rate_name(layout)
    if name is not None:
        _check_rate(layout.parameter(name), layout, units)  # type: ignore[arg-type]
    elif units.x.shape[1] and _separated(layout, units):
        names = ", ".join(p.name for p in layout.parameters if _is_flat(p))
        raise ValueError(
            f"data: flat priors of {names} give an improper posterior: some combination of predictors "
            f"tells apart the groups with and without events; give normal(0, ...) priors or drop a predictor"
        )


def _check_concentration(layout: Layout, units: _Units, outcome: bool) -> None:
    name = precision(layout)
    prior = layout.parameter(name).prior  # type: ignore[union-attr]
    if not integrable_at_infinity(prior.tail):
        raise _improper(
            name,
            prior,
            "complete pooling has positive likelihood, so the prior must be integrable at infinity",
            "use bda3(), exponential(...) or half_normal(...)",
        )
    lost = _lost(layout, units, prior)
    need = (
        next(k for k in itertools.count() if integrable_at_zero(prior.origin + (k - lost)))
        if math.isfinite(prior.origin)
        else 0
    )
    found = int(_informative(layout, units).sum())
    if outcome and found < need:
        raise _improper(
            name,
            prior,
            f"at least {need} group(s) {layout.law.telling} are needed, found {found}",
            "use a proper prior, e.g. exponential(...)",
        )


def _lost(layout: Layout, units: _Units, prior: Prior) -> int:
    """Powers of the shape that scale-free priors of a mean cost near zero; an unbounded mean is refused."""
    if layout.link.bounded or _lowest(prior) > 0:
        return 0
    name = rate_name(layout)
    if name is None:
        return int(np.linalg.matrix_rank(units.x)) if units.x.size else 0
    mean = layout.parameter(name).prior  # type: ignore[union-attr]
    if mean.tail > -1:
        raise _improper(name, mean, "the mean can grow without bound", "use gamma(...) or power(1)")
    return 1 if mean.tail == -1 else 0


def _check_rate(parameter: Parameter, layout: Layout, units: _Units) -> None:
    """A common rate, or the mean of a population, near its ends: the likelihood behaves as a power there."""
    name, prior, pooled = parameter.name, parameter.prior, count_tree(layout).word == "complete"
    events, misses = float(units.y.sum()), float((units.size - units.y).sum())
    if layout.link.bounded:
        a, b = prior.conjugate("unit") or (1.0, 1.0)
        if a + events <= 0:
            raise _uninformed(name, prior, "every count is zero")
        if b + misses <= 0:
            raise _uninformed(name, prior, "every trial succeeded")
    elif not integrable_at_zero(prior.origin + events):
        what = "every count is zero" if events == 0 else f"there are {events:g} events in all"
        raise _uninformed(name, prior, what)
    elif not pooled and prior.tail > -1 and prior.tail - _lowest_shape(layout) * len(units.y) >= -1:
        raise _improper(name, prior, "the mean can grow without bound", "use gamma(...) or power(1)")


def _uninformed(name: str, prior: Prior, what: str) -> ValueError:
    return ValueError(f"data: {what}, so {name} ~ {prior} gives an improper posterior; use a proper prior")


def _lowest_shape(layout: Layout) -> float:
    parameter = layout.parameter(precision(layout))
    return 0.0 if parameter is None else _lowest(parameter.prior)


def _separated(layout: Layout, units: _Units) -> bool:
    """Whether some direction of the flat coefficients never lowers the likelihood (a linear programme)."""
    from scipy.optimize import linprog

    inside = _informative(layout, units)
    outside = np.where((units.y == 0)[:, None], -units.x, units.x)[~inside]
    if np.linalg.matrix_rank(units.x[inside]) == units.x.shape[1]:
        return False
    found = linprog(
        -outside.sum(0) if len(outside) else np.zeros(units.x.shape[1]),
        A_ub=-outside if len(outside) else None,
        b_ub=np.zeros(len(outside)) if len(outside) else None,
        A_eq=units.x[inside] if inside.any() else None,
        b_eq=np.zeros(int(inside.sum())) if inside.any() else None,
        bounds=(-1, 1),
    )
    return len(outside) == 0 or -float(found.fun) > 1e-9


# moments ----------------------------------------------------------------------------------------------------


def missing_count_moments(layout: Layout, data: Data) -> dict[str, str]:
    """Variables without posterior mean (``"mean"``), or with a mean but no sd (``"sd"``).

    A design without outcome counts as one in which every group is informative.
    """
    tree, found = count_tree(layout), {}
    if tree.word != "partial":
        return {}
    new = f"new({layout.levels[-1].name})" if tree.unit == len(layout.levels) - 1 else ""
    if tree.above:
        lost = worst(_deep_new(layout, r) for r in (1, 2)) if not layout.link.bounded else ""
        return {new: lost} if lost and new else {}
    shape = layout.parameter(precision(layout)).prior  # type: ignore[union-attr]
    tail = shape.moment_tail()
    lost = worst(not integrable_at_infinity(tail + r) for r in (1, 2))
    if lost:
        found[precision(layout)] = lost
    if not layout.link.bounded:
        found |= _missing_means(layout, _units(layout, data), shape, new)
    return found


def _missing_means(layout: Layout, units: _Units, shape: Prior, new: str) -> dict[str, str]:
    """Where the mean of a gamma population, its logarithm and a new group's rate have no moments."""
    groups, low, found = len(units.y), _lowest(shape), {}
    informative = int(_informative(layout, units).sum()) if units.y.any() else groups
    name = rate_name(layout)
    if name is not None:
        tail = layout.parameter(name).prior.moment_tail()  # type: ignore[union-attr]
        infinite = [not integrable_at_infinity(tail + (r - low * groups)) for r in (1, 2)]
        lost = worst(infinite)
        if lost:
            found[name] = lost
    else:
        flat = [p.name for p in layout.parameters if _is_flat(p)]
        room = shape.origin + (informative - units.x.shape[1])
        lost = worst(low == 0 and not integrable_at_zero(room - r) for r in (1, 2))
        found |= dict.fromkeys(flat, lost) if lost else {}
        intercept = layout.intercept
        heavy = intercept is not None and intercept.prior.moment_tail() > -math.inf
        infinite = [heavy and r >= low * groups for r in (1, 2)]
    unsteady = low == 0 and not integrable_at_zero(shape.origin + (informative - 1))
    lost = worst([infinite[0], infinite[1] or unsteady])
    if lost and new:
        found[new] = lost
    return found


def _deep_new(layout: Layout, order: int) -> bool:
    """Whether E[rate^order] of a new group of new parents is infinite.

    E exp(r sd z) is finite under a half-normal prior of sd iff its scale is below 1 / r; E[1 / a] has r = 1.
    """
    log_name = log_precision(layout)
    names = [(sd_name(layout.levels[i].name, "Intercept"), order) for i in count_tree(layout).above]
    names.append((sd_name(layout.levels[count_tree(layout).above[-1]].name, log_name), order - 1))
    for name, r in names:
        prior = layout.parameter(name).prior  # type: ignore[union-attr]
        if r and not prior.finite_exponential(r):
            return True
    intercept = layout.intercept
    return intercept is not None and intercept.prior.moment_tail() > -math.inf and not intercept.prior.constant
