"""Coordinates in which chains move, and where they start in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.models import hyper
from hiermodels.models.conjugate import Conjugate
from hiermodels.models.count_stats import CountStats
from hiermodels.models.counts import count_tree
from hiermodels.models.explicit import Explicit
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of
from hiermodels.models.units import inner_design
from hiermodels.quantities import sd_name

__all__ = ["bent"]


def bent(model: Any, stats: Any) -> tuple[Callable[[Array], tuple[Array, Array]], Array]:
    """Coordinates in which NUTS moves standard deviations, and where it starts in them.

    A standard deviation is ``scale softplus(q)``: its logarithm far below the scale of the data, itself far above. On
    the logarithm alone a group sd that may be zero has a long flat tail on one side and a cliff on the other, which one
    step size cannot serve. ``sigma^-2`` is ``scale softplus(-2 q)`` where there are more rows than groups: the
    likelihood is exponential in it, and has a cliff below on the logarithm of ``sigma``. The mean, ``kappa`` or
    ``shape`` of a population under a prior with a light tail is its logarithm up to the prior's scale and itself above;
    under `half_normal_cv` the same goes for ``1 / sqrt(shape)``. Standardised deviations of groups of counts are
    centred as far as the counts tell about them (`_latents`), those of explicit groups of outcomes with a scale are in
    units of their conditional sd (`_matched`). Everything else keeps its unconstrained coordinate.

    Returns
    -------
    unbend : callable
        ``q -> (u, log |du / dq|)``, both of the model's unconstrained vector.
    start : Array, shape (dim,)
    """
    start = model.start(stats)
    each = [p for p in getattr(model, "parameters", ()) for _ in range(hyper.width(p))]
    powers = [_power(p) for p in each]
    latents, start = (
        _matched(model, stats, start) if isinstance(model, Explicit) else (_latents(model, stats, start), start)
    )
    if not any(powers):
        return latents, start
    n = len(each)  # standardised group values come after the parameters
    mask, factor, power, base = _bends(each, model.layout, start[:n])

    def unbend(q: Array) -> tuple[Array, Array]:
        log_value, log_slope = _log_softplus(jnp.where(mask, factor * q[:n], 0.0))
        u, more = latents(jnp.concatenate([jnp.where(mask, base + power * log_value, q[:n]), q[n:]]))
        return u, jnp.sum(jnp.where(mask, jnp.log(jnp.abs(power * factor)) + log_slope, 0.0)) + more

    first = jnp.log(jnp.expm1(jnp.exp(jnp.minimum((start[:n] - base) / power, 0.0))))
    return unbend, jnp.concatenate([jnp.where(mask, first / factor, start[:n]), start[n:]])


def _bends(each: list[Parameter], layout: Layout, start: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray, Array]:
    """Of every parameter whether it bends, and factor, power and base of ``u = base + power log softplus(factor q)``;
    (parameter,).
    """
    bounded, power = np.array([_bounded(p, layout) for p in each]), np.array([_power(p) for p in each])
    elbow = np.array([_elbow(p) for p in each])
    base = jnp.where(bounded, start + math.log(2.0), jnp.where(np.isfinite(elbow), elbow, start))
    return power != 0, np.where(bounded, -2.0, 1.0), np.where(bounded, -0.5, np.where(power != 0, power, 1.0)), base


def _log_softplus(r: Array) -> tuple[Array, Array]:
    """``log softplus(r)``, and the logarithm of its derivative; one exponential and two logarithms for both."""
    tail = jnp.log1p(jnp.exp(-jnp.abs(r)))
    far = r < -30.0  # there softplus is the exponential to rounding
    log_value = jnp.where(far, r, jnp.log(jnp.where(far, 1.0, jnp.maximum(r, 0.0) + tail)))
    return log_value, jnp.minimum(r, 0.0) - tail - log_value


def _bounded(parameter: Parameter, layout: Layout) -> bool:
    """Whether the data bound a standard deviation away from zero: that of rows, with rows to spare in the finest
    groups.
    """
    groups = max([level.size for level in layout.levels if level.pooling != "complete"] + [1])
    return parameter.role == "residual sd" and _power(parameter) != 0 and layout.obs >= 1.5 * groups


def _elbow(parameter: Parameter) -> float:
    """Where the coordinate of a population's mean, ``kappa`` or ``shape`` bends: the log of its prior's scale, if the
    tail is light.
    """
    if parameter.kind != "positive" or _is_sd(parameter):
        return math.inf
    return math.log(parameter.prior.bend())


def _is_sd(parameter: Parameter) -> bool:
    return parameter.role in ("residual sd", "group sd")


def _power(parameter: Parameter) -> float:
    """What power of ``softplus(q)`` a positive parameter is in units of its start; 0 leaves it on the log scale."""
    if parameter.kind != "positive" or math.isfinite(parameter.prior.support("positive")[1]):
        return 0.0
    if parameter.prior.normal_power is not None:
        return parameter.prior.normal_power
    return float(math.isfinite(_elbow(parameter)) or _is_sd(parameter))


def _latents(model: Any, stats: Any, start: Array) -> Callable[[Array], tuple[Array, Array]]:
    """Partial centring of the standardised deviations z of one level of groups of counts; anything else stays.

    With weight w in [0, 1] and a fixed scale s the coordinate of a group is r, ``m + sd z = m + sd^(1 - w) s^w (r - w
    (m - m0) / s)``: the deviation itself in units of sd for w = 0, the group's own level in units of s for w = 1
    (Papaspiliopoulos, Roberts and Skoeld 2003, Bayesian Statistics 7, 307-326). w is the share of the variance between
    groups in that of the groups' raw levels; 0 for groups that show no spread.
    """
    above = count_tree(model.layout).above if isinstance(model, Conjugate) else ()
    if len(above) != 1:
        return lambda u: (u, jnp.zeros((), u.dtype))
    level = model.layout.levels[above[0]]
    place = {p.name: low for p, low, high in hyper.slices(model.parameters) if high > low}  # fixed ones have none
    sd, mean = place.get(sd_name(level.name, "Intercept")), place.get("Intercept")
    if sd is None:  # one scale: standardised deviations have no funnel
        return lambda u: (u, jnp.zeros((), u.dtype))
    weight, scale = _reliability(model, stats, above[0])
    first, origin = hyper.dimension(model.parameters), jnp.zeros(()) if mean is None else start[mean]

    def move(u: Array) -> tuple[Array, Array]:
        ratio = weight * (jnp.log(scale) - u[sd])
        shift = 0.0 if mean is None else weight * (u[mean] - origin) / scale
        r = u[first : first + level.size]
        return u.at[first : first + level.size].set(jnp.exp(ratio) * (r - shift)), jnp.sum(ratio)

    return move


def _matched(model: Explicit, data: Data, start: Array) -> tuple[Callable[[Array], tuple[Array, Array]], Array]:
    """Standardised deviations z of independent effects, in units of their sd given everything else, and where they
    start.

    Given all else and a normal outcome, z_j has the precision ``r_j^2 = 1 + sd^2 I_j``, where ``I_j = sum(weight x^2) /
    sigma^2`` over the group's rows. The coordinate is r_j z_j. On z itself that law narrows as sd grows, and steps that
    suit a spread near zero are too long for its tail, which chains then do not enter.
    """
    layout, sites = model.layout, {site.name: site for site in model.sites}
    free: list[tuple[int, int, slice]] = []
    for i, level in enumerate(layout.levels):
        for e, name in zip(level.effects, layout.effect_names(level), strict=True):
            site = sites.get("eta" + name[len("theta") :])
            if site is not None and site.shape == (level.size,):
                free.append((i, e, slice(site.start, site.stop)))
    if not layout.link.identity or not free:
        return (lambda u: (u, jnp.zeros((), u.dtype))), start
    square = data.weight[:, None] * inner_design(layout, data) ** 2
    told = [tree_of(layout, data).sum_rows(square[:, e], i) for i, e, _ in free]

    def value(u: Array, p: Parameter | None) -> Array | float:
        """A standard deviation; 1 where variances are known."""
        if p is None:
            return 1.0
        at = 0 if p.prior.known else sites[p.name].start
        return hyper.constrain((p,), u[at : at + hyper.width(p)])[p.name]

    def ratios(u: Array) -> Iterator[tuple[slice, Array]]:
        sigma = value(u, layout.residual_sd)
        for (i, e, place), information in zip(free, told, strict=True):
            by = 1.0 if data.units is None or e in layout.origin else data.units.inward[e, e]
            sd = value(u, layout.parameter(sd_name(layout.levels[i].name, layout.columns[e]))) / by
            yield place, jnp.sqrt(1.0 + information * (sd / sigma) ** 2)

    def move(u: Array) -> tuple[Array, Array]:
        total = jnp.zeros((), u.dtype)
        for place, r in ratios(u):
            u, total = u.at[place].set(u[place] / r), total - jnp.sum(jnp.log(r))
        return u, total

    for place, r in ratios(start):
        start = start.at[place].set(start[place] * r)
    return move, start


def _reliability(model: Conjugate, stats: CountStats, i: int) -> tuple[Array, Array]:
    """Weight w of each group of level i, (group,), and the sd between groups, by moments on the link scale."""
    layout, population = model.layout, model.layout.law.population
    tree, unit = tree_of(layout, stats), count_tree(layout).unit

    def total(x: Array) -> Array:
        return tree.sum_up(jnp.where(stats.size > 0, x, 0.0), unit, i)

    events, trials, squares = total(stats.y) + 0.5, total(stats.size), total(stats.size**2)
    real = trials > 0
    trials, squares = jnp.where(real, trials, 1.0), jnp.where(real, squares, 1.0)
    value, noise = population.noisy(events, trials, squares, population.by_moments(stats)[1])
    count = jnp.maximum(jnp.sum(real), 2)
    centre = jnp.sum(jnp.where(real, value, 0.0)) / count
    spread = jnp.sum(jnp.where(real, (value - centre) ** 2, 0.0)) / (count - 1)
    safe = jnp.maximum(1 - jnp.sqrt(2 / (count - 1)), 0.0)  # where it may be zero, centring would make a funnel
    between = jnp.maximum(safe * spread - jnp.sum(jnp.where(real, noise, 0.0)) / count, 0.0)
    return jnp.where(real, between / (between + noise), 0.0), jnp.sqrt(jnp.maximum(between, 1e-4))
