"""Hyperparameters as one unconstrained vector: transforms, log prior, log Jacobian.

A positive parameter is moved as its logarithm, one on an interval as its logit there, a correlation matrix as the
hyperbolic arctangents of its partial correlations, a real one as itself. Parameters with a ``fixed`` prior are
constants.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.distributions.transforms import CorrCholeskyTransform

from hiermodels.models.layout import Parameter, unit_of

__all__ = ["constrain", "dimension", "log_prior", "slices", "unconstrain", "width"]


def width(parameter: Parameter) -> int:
    """Numbers that a parameter takes in the unconstrained vector."""
    if parameter.prior.known:
        return 0
    return parameter.size * (parameter.size - 1) // 2 if parameter.kind == "correlation" else 1


def dimension(parameters: tuple[Parameter, ...]) -> int:
    """Length of the unconstrained vector.

    Examples
    --------
    >>> from hiermodels.priors import half_normal
    >>> dimension((Parameter("sd_school", "positive", "group sd", prior=half_normal(5)),))
    1
    """
    return sum(width(p) for p in parameters)


Stands = Mapping[str, Array] | None
"""Numbers that parameters are multiplied by where their priors stand (`hiermodels.models.units.Units.stands`); None
for 1.
"""


def _one(parameter: Parameter, u: Array, stands: Array | float = 1.0) -> tuple[Array, Array]:
    """Constrained value of one parameter's slice, and the log Jacobian of where its prior stands."""
    if parameter.kind == "correlation":
        transform = CorrCholeskyTransform()
        factor = transform(u)
        return factor, transform.log_abs_det_jacobian(u, factor)
    x = u[0]
    low, high = parameter.prior.support(parameter.kind)
    if math.isinf(low):
        return x, jnp.zeros_like(x) + jnp.log(stands)
    if math.isinf(high):
        value = jnp.exp(x)
        return low + value, x + jnp.log(stands)
    share = jax.nn.sigmoid(x)
    jacobian = math.log(high - low) + jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)
    return (low + (high - low) * share) / stands, jacobian


def slices(parameters: tuple[Parameter, ...]) -> list[tuple[Parameter, int, int]]:
    """Each parameter with its place in the unconstrained vector, from and up to; nothing lies between for a fixed
    one.
    """
    found, start = [], 0
    for p in parameters:
        found.append((p, start, start + width(p)))
        start += width(p)
    return found


def constrain(parameters: tuple[Parameter, ...], u: Array, stands: Stands = None) -> dict[str, Array]:
    """Values by name; a correlation as its lower Cholesky factor, shape (effect, effect)."""
    values = {}
    for p, start, stop in slices(parameters):
        by = 1.0 if stands is None else stands[p.name]
        values[p.name] = (
            jnp.asarray(p.prior.args[0], dtype=u.dtype) / by if p.prior.known else _one(p, u[start:stop], by)[0]
        )
    return values


def log_prior(
    parameters: tuple[Parameter, ...], u: Array, context: Array | None = None, stands: Stands = None
) -> Array:
    """Log prior density of the unconstrained vector, Jacobian included.

    Parameters
    ----------
    u : Array, shape (dimension,)
    context : Array, optional
        Known variances for ``reference()`` and ``jeffreys2()``.
    stands : mapping of str to Array, optional
        Numbers that parameters are multiplied by where their priors stand.
    """
    total = jnp.zeros((), u.dtype)
    units = constrain(parameters, u, stands) if any(p.prior.unit for p in parameters) else {}
    for p, start, stop in slices(parameters):
        if p.prior.known:
            continue
        by = 1.0 if stands is None else stands[p.name]
        value, jacobian = _one(p, u[start:stop], by)
        unit = unit_of(p, parameters)
        if p.kind == "correlation":
            total += p.prior.log_density(value) + jacobian
        else:
            total += p.inner.log_density(value * by, context if unit is None else units[unit.name]) + jacobian
    return total


def unconstrain(parameters: tuple[Parameter, ...], values: dict[str, Array], stands: Stands = None) -> Array:
    """The unconstrained vector of given values (inverse of `constrain`)."""
    parts = []
    for p, start, stop in slices(parameters):
        if start == stop:
            continue
        value = jnp.asarray(values[p.name])
        if p.kind == "correlation":
            parts.append(CorrCholeskyTransform()._inverse(value))
            continue
        low, high = p.prior.support(p.kind)
        if math.isinf(low):
            parts.append(value[None])
        elif math.isinf(high):
            parts.append(jnp.log(value - low)[None])
        else:
            share = (value * (1.0 if stands is None else stands[p.name]) - low) / (high - low)
            parts.append((jnp.log(share) - jnp.log1p(-share))[None])
    return jnp.concatenate(parts) if parts else jnp.zeros(0)
