"""Independent draws of posteriors in closed form: variances first, by their own law, then means given them.

What is in closed form, whatever the data hold:

- nothing unknown but coefficients and group values: known variances (or fixed sds) with flat or normal coefficients;
  one rate
  or probability under a gamma or beta prior; unpooled groups of counts;
- one residual variance over coefficients and unpooled groups that are flat or ``scaled_normal``, under ``flat()``,
  ``flat_variance()``, ``power(c)``, ``inverse_gamma_variance(...)`` or ``uniform(...)``: an inverse gamma law;
- one variance between groups of equal known variances, flat mean, ``flat_variance()``: the total variance is inverse
  gamma,
  truncated at the known one.

The same posteriors as SciPy laws, with moments, quantiles and evidence: `hiermodels.inference.laws` and
`hiermodels.inference.two_level_law`, whose names are here too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.scipy.special import gammainc, gammaincc, gammaln

from hiermodels import variates
from hiermodels.inference.laws import (
    CountLaw,
    NormalInverseGamma,
    beta_binomial,
    common_effect,
    gamma_poisson,
    normal_inverse_gamma,
)
from hiermodels.inference.truncated import TruncatedInverseGamma
from hiermodels.inference.two_level_law import TwoLevelNormal, clipped_quantiles, two_level_normal
from hiermodels.models import hyper
from hiermodels.models.factorise import Factorised
from hiermodels.models.gaussian import Gaussian
from hiermodels.models.gaussian_stats import GaussianStats
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.problem import Data
from hiermodels.models.tree import tree_of

__all__ = [
    "CountLaw",
    "NormalInverseGamma",
    "TruncatedInverseGamma",
    "TwoLevelNormal",
    "beta_binomial",
    "check_variances",
    "clipped_quantiles",
    "closed_form",
    "common_effect",
    "gamma_poisson",
    "normal_inverse_gamma",
    "two_level_normal",
]

_EQUAL = 1e-5
"""Relative difference up to which known variances count as equal."""


def closed_form(factorised: Factorised) -> Callable[[Array, Any, tuple[int, ...]], Array]:
    """Sampler of the hyperparameters of a posterior in closed form.

    Parameters
    ----------
    factorised : Factorised
        From `hiermodels.models.factorise.factorise`; its ``draw`` gives everything else beside each draw.

    Returns
    -------
    callable
        ``draw(key, stats, shape) -> u``, independent unconstrained hyperparameters, (*shape, dim). NaN where known
        variances that had to be equal are not (`check_variances` says so beforehand), and where the data leave the law
        no mass.

    Raises
    ------
    ValueError
        Which parameter has no closed form, and the way on.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import as_jax, bind
    >>> from hiermodels.models.factorise import factorise
    >>> with jax.enable_x64(True):
    ...     priors = {"Intercept": "scaled_normal(8, 1.5)", "sigma": "inverse_gamma_variance(3, 2)"}
    ...     problem = bind(hm.Model("effect ~ 1", priors=priors), hm.load_dataset("eight_schools"))
    ...     model = factorise(problem.layout)
    ...     u = closed_form(model)(jax.random.key(0), model.prepare(as_jax(problem.data)), (4, 1000))
    >>> u.shape
    (4, 1000, 1)
    """
    if factorised.dim == 0:
        return lambda key, stats, shape: jnp.zeros((*shape, 0))
    parameter = _only(factorised)
    assert isinstance(factorised, Gaussian)
    law = _residual if parameter.role == "residual sd" else _between

    def draw(key: Array, stats: GaussianStats, shape: tuple[int, ...]) -> Array:
        count = math.prod(shape)
        value = law(factorised, parameter, stats, key, count)
        u = jax.vmap(lambda x: hyper.unconstrain(factorised.parameters, {parameter.name: x}))(value)
        return u.reshape(*shape, 1)

    return draw


def _only(factorised: Factorised) -> Parameter:
    """The one hyperparameter of a posterior in closed form; any other posterior is refused, with the reason."""
    layout, free = factorised.layout, [p for p in factorised.parameters if hyper.width(p)]
    way = "use sampler='exact' or 'nuts'"
    if not layout.gaussian:
        names = ", ".join(p.name for p in free)
        raise ValueError(
            f"sampler: 'closed_form': the population of groups of family {layout.family} ({names}) "
            f"has no closed form; {way}"
        )
    others = [p for p in free if p.role != "residual sd"]
    if not others:
        _check_residual(layout, free[0], way)
        return free[0]
    bad = others[0]
    if bad.kind != "positive":
        hint = (
            "use flat(), normal(...) or scaled_normal(...)"
            if bad.kind == "real"
            else "write || for independent effects"
        )
        raise ValueError(f"sampler: 'closed_form': {bad.name} ~ {bad.prior} has no closed form; {hint}, or {way[4:]}")
    partial = [level for level in layout.levels if level.pooling == "partial"]
    balanced = (
        len(layout.levels) == 1 and len(partial) == 1 and layout.columns == ("Intercept",) and layout.population == (0,)
    )
    if len(free) > 1 or not layout.known or not balanced:
        raise ValueError(
            f"sampler: 'closed_form': {bad.name} has a closed form only as the one sd between groups of equal known "
            f"variances, "
            f"with an intercept alone; {way}"
        )
    flat_mean = layout.intercept
    if bad.prior.inverse_gamma() != (-1.0, 0.0) or flat_mean is None or not flat_mean.prior.constant:
        raise ValueError(
            f"sampler: 'closed_form': {bad.name} ~ {bad.prior} has no closed form; use {bad.name} ~ flat_variance() "
            f"with "
            f"Intercept ~ flat(), or {way[4:]}"
        )
    return bad


def _check_residual(layout: Layout, sigma: Parameter, way: str) -> None:
    spread = next((level.name for level in layout.levels if level.pooling == "partial"), None)
    if spread is not None:
        raise ValueError(
            f"sampler: 'closed_form': sigma has no closed form beside partially pooled {spread} groups of fixed "
            f"spread; {way}"
        )
    if sigma.prior.inverse_gamma() is None:
        raise ValueError(
            f"sampler: 'closed_form': sigma ~ {sigma.prior} has no closed form; use inverse_gamma_variance(shape, "
            f"scale), "
            f"flat_variance(), flat(), power(c) or uniform(low, high), or {way[4:]}"
        )
    apart = next(
        (
            p
            for p in layout.parameters
            if p.kind == "real" and p.prior.gaussian and p.prior.unit is None and not p.prior.constant
        ),
        None,
    )
    if apart is not None:
        raise ValueError(
            f"sampler: 'closed_form': {apart.name} ~ {apart.prior} is not in units of sigma, so the posterior has no "
            f"closed form; "
            f"use scaled_normal(mean, ratio) or flat(), or {way[4:]}"
        )


def check_variances(layout: Layout, data: Data) -> None:
    """Refuse unequal known variances where the closed form needs equal ones; host arrays.

    Raises
    ------
    ValueError
        With the smallest and largest standard error of a group's mean.
    """
    if not (
        layout.known and any(level.pooling == "partial" and not _fixed(layout, level.name) for level in layout.levels)
    ):
        return
    error = (
        tree_of(layout, data).sum_rows(np.asarray(data.weight), len(layout.levels) - 1)[np.asarray(data.real[-1])]
        ** -0.5
    )
    if error.max() > (1 + _EQUAL) * error.min():
        raise ValueError(
            f"sampler: 'closed_form' needs the same standard error in every {layout.levels[-1].name}, found "
            f"{error.min():.4g} to "
            f"{error.max():.4g}; use sampler='exact'"
        )


def _fixed(layout: Layout, level: str) -> bool:
    parameter = layout.find("group sd", level, "Intercept")
    return parameter is not None and parameter.prior.known


# the two laws ---------------------------------------------------------------------------------------------------------


def _residual(model: Gaussian, sigma: Parameter, stats: GaussianStats, key: Array, count: int) -> Array:
    """Draws of the residual sd: the likelihood is lambda^(nu / 2) exp(-lambda Q / 2), lambda = 1 / sigma^2.

    Its logarithm has slope nu / (2 lambda) - Q / 2 and curvature -nu / (2 lambda^2), which give nu and Q.
    """
    power, scale = sigma.prior.inverse_gamma()  # type: ignore[misc]
    low, high = sigma.prior.support("positive")

    def log_likelihood(precision: Array) -> Array:
        phi = {sigma.name: precision**-0.5}
        return model.log_likelihood(hyper.unconstrain(model.parameters, phi), stats)

    total = jnp.maximum(jnp.sum(stats.cc[0, 0]), jnp.finfo(stats.yy.dtype).tiny)
    at = jnp.maximum(stats.rows, 1.0) / jnp.where(stats.yy > 0, stats.yy, 1e-12 * total)
    if math.isfinite(high):  # a precision inside the support
        at = jnp.maximum(at, (0.999 * high + 0.001 * low) ** -2.0)
        at = jnp.minimum(at, (0.001 * high + 0.999 * low) ** -2.0)
    slope, curvature = jax.grad(log_likelihood)(at), jax.grad(jax.grad(log_likelihood))(at)
    freedom = -2 * at**2 * curvature
    square = freedom / at - 2 * slope
    shape, rate = (freedom + power - 1) / 2, scale + square / 2
    rate = jnp.where(rate > 0, rate, jnp.nan)
    if math.isinf(high):
        return jnp.sqrt(rate / variates.gamma(key, jnp.broadcast_to(shape, (count,))))
    first, last = rate / high**2, jnp.inf if low == 0 else rate / low**2
    return jnp.sqrt(rate / _gamma_between(key, shape, first, last, count, upper=True))


def _between(model: Gaussian, spread: Parameter, stats: GaussianStats, key: Array, count: int) -> Array:
    """Draws of the sd between k groups of equal known variance s: s + tau^2 is inverse gamma above s."""
    real = stats.real[-1]
    weight = jnp.where(real, stats.cc[0, 0], 1.0)
    mean = jnp.where(real, stats.cy[0] / weight, 0.0)
    k = jnp.sum(real)
    known = jnp.sum(jnp.where(real, 1 / weight, 0.0)) / k
    unequal = jnp.max(jnp.where(real, jnp.abs(1 / weight - known), 0.0)) > 4 * _EQUAL * known
    square = jnp.sum(jnp.where(real, (mean - jnp.sum(mean) / k) ** 2, 0.0))
    shape, rate = (k - 3) / 2.0, jnp.where(unequal, jnp.nan, square / 2)
    total = rate / _gamma_between(key, shape, 0.0, rate / known, count, upper=False)
    return jnp.sqrt(jnp.maximum(total - known, jnp.finfo(total.dtype).tiny))


def _gamma_between(key: Array, shape: Array, low: Any, high: Any, count: int, upper: bool) -> Array:
    """Gamma(shape, 1) variates between two values, by inversion; ``upper`` works from the upper tail.

    Newton's steps on log x, kept within a shrinking bracket by bisection.
    """
    tail, sign = (gammaincc, -1.0) if upper else (gammainc, 1.0)
    shape, low, high = (jnp.asarray(x, jnp.result_type(float)) for x in (shape, low, high))
    tiny, eps, most = jnp.finfo(shape.dtype).tiny, jnp.finfo(shape.dtype).eps, jnp.finfo(shape.dtype).max
    first = tail(shape, low)
    last = jnp.where(jnp.isinf(high), 0.0 if upper else 1.0, tail(shape, jnp.minimum(high, most)))
    target = first + jax.random.uniform(key, (count,), shape.dtype) * (last - first)
    below = (jnp.log(jnp.maximum(target, tiny)) + gammaln(shape + 1)) / shape  # P(a, x) <= x^a / Gamma(a + 1)
    least = jnp.log(jnp.maximum(low, tiny))
    start = jnp.broadcast_to(least, (count,)) if upper else jnp.maximum(below, least)
    far = jnp.log(low + shape + 40 * jnp.sqrt(shape) + 800)
    stop = jnp.broadcast_to(jnp.where(jnp.isinf(high), far, jnp.log(jnp.maximum(high, tiny))), (count,))

    def step(state: Any) -> Any:
        n, left, right, z, _ = state
        excess = sign * (tail(shape, jnp.exp(z)) - target)
        left, right = jnp.where(excess < 0, z, left), jnp.where(excess < 0, right, z)
        slope = jnp.exp(shape * z - jnp.exp(z) - gammaln(shape))
        newton = z - excess / slope
        inside = (newton > left) & (newton < right)
        new = jnp.where(inside, newton, 0.5 * (left + right))
        return n + 1, left, right, new, jnp.abs(new - z)

    def unfinished(state: Any) -> Array:
        return (state[0] < 80) & jnp.any(state[4] > 16 * eps * (1 + jnp.abs(state[3])))

    zero = jnp.zeros((), jnp.int32)
    state = (zero, start, stop, 0.5 * (start + stop), jnp.full((count,), jnp.inf, shape.dtype))
    z = lax.while_loop(unfinished, step, state)[3]
    empty = ~(jnp.abs(first - last) > tiny)
    return jnp.where(empty, jnp.nan, jnp.exp(z))
