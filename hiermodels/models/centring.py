"""Which group values are best sampled as they are, and which as standardised deviations: chosen from the data, term by
term.

Write V_j for the sampling variance of a group's own estimate and tau^2 for the variance between groups. Where data
inform a group more than its population does, V_j < tau^2, the centred parameters are nearly independent of tau;
elsewhere the standardised ones are (Papaspiliopoulos, Roberts & Skold 2007, Statistical Science 22, 59-73). The
posterior of tau has some width, and where it reaches down to V_j the centred parameters have a funnel there. So a term
is centred where the lower end of a 95% interval of tau^2 (Q-profile: Viechtbauer 2007, Statistics in Medicine 26,
37-52) is above V_j in nine of ten groups, for each of its effects. All are moments of the data, so the choice is a rule
of thumb; either is right in law.
"""

from __future__ import annotations

import numpy as np
import scipy  # its parts load when they are used

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.starting import working
from hiermodels.models.units import inner_design

__all__ = ["centring"]


def centring(layout: Layout, data: Data) -> tuple[str, ...]:
    """Names of the sites of group values that are better sampled themselves; see `hiermodels.models.builder.build`.

    Parameters
    ----------
    layout : Layout
    data : Data
        NumPy arrays, as `hiermodels.models.data.bind` gives them.

    Returns
    -------
    tuple of str
        ``theta_<g>``, ``theta_<g>_x``, or ``coef_<g>`` for correlated effects. Empty for beta and gamma populations.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> problem = bind(hm.Model("weight ~ 1 + day + (1 | rat)"), hm.load_dataset("growth"))
    >>> centring(problem.layout, problem.data)
    ('theta_rat',)
    """
    if not layout.normal_groups or not layout.levels:
        return ()
    there = working(layout, data)
    rows = np.asarray(there.weight) > 0
    y, weight, x = (np.asarray(a, float)[rows] for a in (there.y, there.weight, inner_design(layout, data)))
    groups = [np.asarray(g)[rows] for g in data.group]
    y = y - _fitted(y, weight, x[:, list(layout.population)])
    if layout.law.measured and not layout.known:
        weight = weight / _residual_variance(layout, y, weight, x, groups[-1])
    found: list[str] = []
    variance = 1 / weight  # of a row's y around the group values of the level at hand
    for i in reversed(range(len(layout.levels))):
        level = layout.levels[i]
        spread = 0.0
        for block in level.blocks if level.pooling == "partial" else ():
            columns = [level.effects[b] for b in block]
            between, low, own = _moments(y, 1 / variance, x[:, columns], groups[i], level.size)
            informed = np.quantile(low / own, 0.1, axis=0) > 1
            if informed.all():
                found.append(f"coef_{level.name}" if len(block) > 1 else layout.effect_names(level)[block[0]])
            spread += sum(v for v, c in zip(between, columns, strict=True) if layout.columns[c] == "Intercept")
        if (
            spread and level.parent >= 0
        ):  # rows of a group share its deviation: each carries the group's share of that variance
            count = np.bincount(groups[i], minlength=level.size)[groups[i]]
            variance = variance + spread * count
    return tuple(reversed(found))


def _fitted(y: np.ndarray, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    root = np.sqrt(weight)
    return x @ np.linalg.lstsq(x * root[:, None], y * root, rcond=None)[0] if x.shape[1] else np.zeros_like(y)


def _residual_variance(layout: Layout, y: np.ndarray, weight: np.ndarray, x: np.ndarray, group: np.ndarray) -> float:
    """Weighted variance left over within the finest groups; half of the whole where nothing is left over."""
    level = layout.levels[-1]
    precision, cross = _sums(y, weight, x[:, list(level.effects)], group, level.size)
    own = np.einsum("gab,gb->ga", np.linalg.pinv(precision, hermitian=True), cross)
    left = y - np.sum(x[:, list(level.effects)] * own[group], axis=1)
    free = len(y) - int(np.linalg.matrix_rank(precision, hermitian=True).sum())
    whole = float(np.mean(weight * y**2)) or 1.0
    return max(float(np.sum(weight * left**2)) / free, 1e-12 * whole) if free > 0 else 0.5 * whole


def _sums(
    y: np.ndarray, weight: np.ndarray, x: np.ndarray, group: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """X'WX and X'Wy of each group."""
    k = x.shape[1]
    precision, cross = np.zeros((size, k, k)), np.zeros((size, k))
    np.add.at(precision, group, weight[:, None, None] * x[:, :, None] * x[:, None])
    np.add.at(cross, group, (weight * y)[:, None] * x)
    return precision, cross


def _moments(y: np.ndarray, weight: np.ndarray, x: np.ndarray, group: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Variance between groups of each effect, its lower end, and the sampling variance of each group's own estimate.

    The last has shape (group, effect), infinite where a group has no estimate.
    """
    precision, cross = _sums(y, weight, x, group, size)
    precision, cross = precision[np.unique(group)], cross[np.unique(group)]
    whole = np.linalg.matrix_rank(precision, hermitian=True) == x.shape[1]
    own = np.full(cross.shape, np.inf)
    if whole.sum() < 2:
        return np.zeros(x.shape[1]), np.zeros(x.shape[1]), own
    inverse = np.linalg.inv(precision[whole])
    estimate = np.einsum("gab,gb->ga", inverse, cross[whole])
    own[whole] = np.diagonal(inverse, axis1=1, axis2=2)
    between = estimate.var(axis=0, ddof=1) - own[whole].mean(axis=0)
    low = np.array([_lower_end(b, v) for b, v in zip(estimate.T, own[whole].T, strict=True)])
    return np.maximum(between, 0.0), low, own


def _lower_end(estimate: np.ndarray, variance: np.ndarray) -> float:
    """Where sum_j (b_j - mean)^2 / (V_j + tau^2), which falls in tau^2, is the upper 2.5% point of its law; 0 where it
    is below that.
    """

    def excess(between: float) -> float:
        weight = 1 / (variance + between)
        return float(np.sum(weight * (estimate - np.average(estimate, weights=weight)) ** 2) - limit)

    limit = scipy.stats.chi2.ppf(0.975, len(estimate) - 1)
    most = 4 * float(np.var(estimate)) * len(estimate)
    return scipy.optimize.brentq(excess, 0.0, most) if excess(0.0) > 0 > excess(most) else 0.0
