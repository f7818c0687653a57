"""Maximum likelihood of link-scale families: one grouping, its groups integrated out by quadrature.

-2 log L(b, s) with the integral over each group's deviation by adaptive Gauss-Hermite at the mode (one node: Laplace's
approximation; Pinheiro & Chao 2006, Journal of Computational and Graphical Statistics 15, 58-81) or, without ``nodes``,
by the rule of the exact engine. The rules' places carry no derivative, so that automatic derivatives are those of the
integral and not of the sum that is maximised: Newton steps are taken on differences of the sum itself. Coefficients are
moved along an orthonormal basis of the design; -2 log L is even in s.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import solve_triangular

from hiermodels.inference.mixed.maximise import differences, lowest
from hiermodels.inference.mixed.maximum import SINGULAR, Maximum, pseudo_inverse
from hiermodels.inference.mixed.modes import Modes
from hiermodels.models.layout import Layout
from hiermodels.models.line_rules import gauss_hermite
from hiermodels.models.problem import Data
from hiermodels.models.quadrature import Quadrature
from hiermodels.quantities import INTERCEPT

__all__ = ["linked_maximum"]

_TOLD = 2e-4
"""Least curvature of -2 log L along a direction of the coefficients, per root mean square of its linear predictor: a
standard error of 100.
"""


@lru_cache(maxsize=64)
def linked_maximum(layout: Layout, nodes: int | None) -> Callable[[Data], tuple[Maximum, tuple[Modes, ...]]]:
    """The function that maximises the likelihood of a dataset; pure, jittable.

    Parameters
    ----------
    layout : Layout
        Of which `Layout.by_quadrature` is true, without parameters of the rows' own law.
    nodes : int or None
        Of Gauss-Hermite quadrature; None for the exact engine's rule.
    """
    model = Quadrature(layout)
    rule = model.rule if nodes is None else gauss_hermite(nodes)
    names = [layout.columns[c] for c in layout.population]
    level, p = layout.levels[0], len(layout.population)

    def find(data: Data) -> tuple[Maximum, tuple[Modes, ...]]:
        stats = model.prepare(data)
        there = data.weight > 0
        rows = jnp.sum(there)
        x = jnp.where(there[:, None], data.x[:, jnp.array(layout.population, int)], 0.0)
        triangle = jnp.linalg.qr(x, mode="r") / jnp.sqrt(rows) if p else jnp.zeros((0, 0))
        spread = jnp.sqrt(jnp.sum(jnp.where(there, data.x[:, level.effects[0]] ** 2, 0.0)) / rows)

        def phi(place: Array) -> dict[str, Array]:
            b = solve_triangular(triangle, place[:p]) if p else place[:0]
            return {**dict(zip(names, b, strict=True)), model.sd: place[p] / spread}

        def objective(place: Array) -> Array:
            return -2 * model.log_marginal(phi(place), stats, rule)

        first = jnp.zeros(p)
        if INTERCEPT in names:
            share = (jnp.sum(jnp.where(there, data.y, 0.0)) + 0.5) / (jnp.sum(jnp.where(there, data.size, 0.0)) + 1)
            first = triangle[:, names.index(INTERCEPT)] * layout.link.forward(share)
        starts = jnp.stack([jnp.append(first, s) for s in (0.1, 0.5, 1.5)])
        found = lowest(objective, starts, differences(objective))
        place = found.place.at[p].set(jnp.where(jnp.abs(found.place[p]) < SINGULAR, 0.0, jnp.abs(found.place[p])))
        sign = jnp.append(jnp.ones(p), jnp.where(found.place[p] < 0, -1.0, 1.0))
        hessian = found.hessian * jnp.outer(sign, sign)
        told = jnp.min(jnp.linalg.eigvalsh(hessian[:p, :p])) > _TOLD if p else True
        good = found.converged & told & jnp.isfinite(found.value)
        covariance = 2 * pseudo_inverse(hessian)
        back = solve_triangular(triangle, jnp.eye(p)) if p else jnp.zeros((0, 0))

        def kept(a: Array) -> Array:
            return jnp.where(good, a, jnp.nan)

        sd, square = place[p] / spread, covariance[p, p] / spread**2
        maximum = Maximum(
            theta=kept(place[p:]),
            variance=kept(jnp.ones(())),
            residual=kept(jnp.zeros(())),
            deviance=kept(found.value),
            coefficients=kept(back @ place[:p]),
            covariance=kept(back @ covariance[:p, :p] @ back.T),
            slopes=jnp.zeros((2, p, p)),
            inverse=kept(jnp.diag(jnp.stack([square, jnp.zeros(())]))),
            sigma=kept(jnp.ones(())),
            sds=(kept(sd[None]),),
            correlations=(kept(jnp.ones((1, 1))),),
            sd_slopes=(jnp.array([[1.0, 0.0]]),),
            correlation_slopes=(jnp.zeros((1, 1, 2)),),
            converged=good,
            singular=good & (place[p] == 0),
        )
        return maximum, (_modes(model, phi(place), stats, kept),)

    return find


def _modes(model: Quadrature, phi: dict[str, Array], stats: Any, kept: Callable[[Array], Array]) -> Modes:
    """Each group's mode given the estimates, and the sd that the curvature there gives."""
    value, deviation, sd = (kept(x)[:, None] for x in model.modes(phi, stats))
    return Modes(value, sd, deviation, jnp.full_like(deviation, jnp.nan), sd)
