"""Priors as NumPyro sites, and any NumPyro model as a density over one flat vector.

A proper prior is a NumPyro distribution. An improper one is `ImproperUniform` on its support plus a
`numpyro.factor` with its log density, so that ``trace`` and ``log_density`` see both.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from numpyro import distributions as dist
from numpyro import handlers
from numpyro.distributions import biject_to, constraints
from numpyro.infer.util import log_density

from hiermodels.models.layout import Layout, Parameter
from hiermodels.priors import Prior, parse

__all__ = [
    "TRACING",
    "Centring",
    "Site",
    "find_sites",
    "flat_log_density",
    "hyperparameter",
    "in_order",
    "is_centred",
    "natural",
    "natural_log_density",
    "outcome_site",
    "padded",
    "to_flat",
]

TRACING = threading.RLock()
"""NumPyro keeps its handlers in one stack a process: threads that trace models take turns, or see one another's sites.
"""


Centring = bool | tuple[str, ...]
"""Group values as they are or as standardised deviations: for all, or the names of those sites that are sampled as
they are.
"""

_SUPPORT = {
    "real": constraints.real,
    "positive": constraints.positive,
    "above_one": constraints.greater_than(1.0),
    "unit": constraints.unit_interval,
}


def hyperparameter(
    name: str,
    prior: Prior | str | float,
    kind: str = "positive",
    variances: Array | None = None,
    unit: Array | None = None,
    stands: Array | None = None,
) -> Array:
    """A parameter's site: sampled from its prior, or a constant where the prior is ``fixed``.

    Parameters
    ----------
    name : str
        Site name.
    prior : Prior or text
        Text is read by `hiermodels.priors.parse`.
    kind : str
        ``real``, ``positive``, ``unit``, or ``above_one``: a prior cut at one, its constant left out.
    variances : Array, shape (group,), optional
        Known variances of the groups' means, which ``reference()`` and ``jeffreys2()`` need.
    unit : Array, shape (), optional
        Value of the parameter that the prior is in units of: the residual sd for ``scaled_normal()`` and
        ``scaled_half_t()``, the shape for ``gamma_rate()``.
    stands : Array, shape (), optional
        What the site's value is multiplied by where the prior stands (`hiermodels.models.units.Units`).

    Returns
    -------
    Array
        Scalar.
    """
    prior = parse(prior, f"prior of {name}")
    written, prior = prior, prior if stands is None else prior.times(1 / stands)
    if prior.known:
        return numpyro.deterministic(name, jnp.asarray(prior.args[0]))
    if prior.unit is not None and unit is None:
        raise ValueError(
            f"prior of {name}: {prior} is in units of the {prior.unit}, which this model has not; use another"
        )
    law = prior.law(kind, unit)
    if law is not None and not prior.cut(kind):
        return numpyro.sample(name, law)
    value = numpyro.sample(name, dist.ImproperUniform(_SUPPORT[kind], (), ()))
    if not prior.constant:
        numpyro.factor(f"prior_{name}", written.log_density(value if stands is None else value * stands, variances))
    return value


def in_order(parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    """Parameters in the order of sampling: those in units of another one come after it."""
    return tuple(sorted(parameters, key=lambda p: p.prior.unit is not None))


def outcome_site(layout: Layout) -> str:
    """Name of the outcome's site: ``y``, or ``y_`` beside a predictor of that name."""
    return "y_" if "y" in layout.columns else "y"


def is_centred(centred: Centring, name: str) -> bool:
    """Whether a site of group values is sampled itself: by one word for all, or because it is named."""
    return centred if isinstance(centred, bool) else name in centred


def padded(name: str, law: dist.Distribution, real: Array, log_weight: Callable[[Array], Array] | None = None) -> Array:
    """Sample a level's groups; padding is masked, and held in place by a factor of its own.

    Parameters
    ----------
    name : str
    law : Distribution
        Batch shape (group,).
    real : Array of bool, shape (group,)
        False for padding.
    log_weight : callable, optional
        Elementwise log density of padded values up to a constant; the default, -z^2 / 2, vanishes at zero.

    Returns
    -------
    Array
        Shape (group, *event).
    """
    with handlers.mask(mask=real):
        value = numpyro.sample(name, law)
    hold = (lambda z: -0.5 * z**2) if log_weight is None else log_weight
    padding = ~real.reshape(real.shape + (1,) * (value.ndim - 1))
    numpyro.factor(f"padding_{name}", jnp.sum(jnp.where(padding, hold(value), 0.0)))
    return value


# any model as a density over one flat vector ----------------------------------------------------------------


class Site(NamedTuple):
    """Where a latent site lives in the flat vector: its unconstrained shape, first and last position."""

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int


def _latent(message: dict[str, Any]) -> bool:
    return message["type"] == "sample" and not message["is_observed"]


def find_sites(model: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Site, ...]:
    """Latent sites of a NumPyro model in the order in which it samples them; the model is traced once, on
    shapes alone.

    Raises
    ------
    ValueError
        For a discrete latent site, on which no gradient moves.
    """
    found: list[Site] = []

    def place(message: dict[str, Any]) -> Array | None:
        if not _latent(message) or message["value"] is not None:
            return None
        if message["fn"].support.is_discrete:
            raise ValueError(
                f"model: site {message['name']!r} is discrete, and no gradient moves on it; "
                "sum it out of the model, or observe it"
            )
        transform = biject_to(message["fn"].support)
        shape = transform.inverse_shape(message["fn"].shape(message["kwargs"].get("sample_shape", ())))
        start = found[-1].stop if found else 0
        found.append(Site(message["name"], tuple(shape), start, start + math.prod(shape)))
        return transform(jnp.zeros(shape))

    def run() -> None:
        handlers.trace(handlers.substitute(handlers.seed(model, 0), substitute_fn=place)).get_trace(*args, **kwargs)

    with TRACING:
        jax.eval_shape(run)
    return tuple(found)


def flat_log_density(
    model: Callable[..., Any], sites: tuple[Site, ...], u: Array, *args: Any, **kwargs: Any
) -> tuple[Array, dict[str, Any]]:
    """Log density of the flat vector, Jacobian included, and the trace of the model at it.

    Parameters
    ----------
    model : callable
        A NumPyro model function.
    sites : tuple of Site
        From `find_sites`.
    u : Array, shape (dim,)
    """
    where = {site.name: site for site in sites}
    jacobians: list[Array] = []

    def place(message: dict[str, Any]) -> Array | None:
        site = where.get(message["name"]) if _latent(message) else None
        if site is None:
            return None
        transform = biject_to(message["fn"].support)
        free = u[site.start : site.stop].reshape(site.shape)
        value = transform(free)
        jacobians.append(jnp.sum(transform.log_abs_det_jacobian(free, value)))
        return value

    placed = handlers.substitute(handlers.seed(model, 0), substitute_fn=place)
    total, trace = log_density(placed, args, kwargs, {})
    return total + sum(jacobians, start=jnp.zeros((), u.dtype)), trace


def to_flat(
    model: Callable[..., Any],
    sites: tuple[Site, ...],
    guess: Callable[[str], Array | None],
    *args: Any,
    **kwargs: Any,
) -> Array:
    """The flat vector at which sites take the guessed values; sites without a guess are at zero,
    unconstrained.

    Parameters
    ----------
    guess : callable
        Site name to value, or None.
    """
    where = {site.name: site for site in sites}
    parts: dict[str, Array] = {}

    def place(message: dict[str, Any]) -> Array | None:
        site = where.get(message["name"]) if _latent(message) else None
        if site is None:
            return None
        transform = biject_to(message["fn"].support)
        value = guess(site.name)
        if value is None:
            parts[site.name] = jnp.zeros(site.shape)
            return transform(parts[site.name])
        parts[site.name] = transform.inv(value)
        return value

    placed = handlers.substitute(handlers.seed(model, 0), substitute_fn=place)
    handlers.trace(placed).get_trace(*args, **kwargs)
    return jnp.concatenate([parts[s.name].reshape(-1) for s in sites]) if sites else jnp.zeros(0)


def natural(model: Callable[..., Any], sites: tuple[Site, ...], u: Array, *args: Any, **kwargs: Any) -> Array:
    """The flat vector with every parameter on its own scale; what has no coordinates of its own (a correlation's
    factor) stays unconstrained.

    Parameters
    ----------
    model, sites
        As in `flat_log_density`.
    u : Array, shape (dim,)
        Unconstrained.
    """
    trace = flat_log_density(model, sites, u, *args, **kwargs)[1]
    parts = [
        trace[s.name]["value"].reshape(-1) if _elementwise(trace[s.name]["fn"].support) else u[s.start : s.stop]
        for s in sites
    ]
    return jnp.concatenate(parts) if parts else u


def natural_log_density(
    model: Callable[..., Any], sites: tuple[Site, ...], x: Array, *args: Any, **kwargs: Any
) -> tuple[Array, Array]:
    """Log density of the parameters on their own scales, and the unconstrained vector at them.

    Parameters
    ----------
    model, sites
        As in `flat_log_density`.
    x : Array, shape (dim,)
        As `natural` gives it. Outside the support the density is minus infinity.
    """
    where = {site.name: site for site in sites}
    parts: dict[str, Array] = {}
    inside: list[Array] = []
    jacobians: list[Array] = []

    def place(message: dict[str, Any]) -> Array | None:
        site = where.get(message["name"]) if _latent(message) else None
        if site is None:
            return None
        here, support = x[site.start : site.stop].reshape(site.shape), message["fn"].support
        transform = biject_to(support)
        if not _elementwise(support):
            value = transform(here)
            parts[site.name] = here
            jacobians.append(jnp.sum(transform.log_abs_det_jacobian(here, value)))
            return value
        fine = _base(support)(here)
        inside.append(jnp.all(fine))
        value = jnp.where(fine, here, transform(jnp.zeros_like(here)))
        parts[site.name] = transform.inv(value)
        return value

    placed = handlers.substitute(handlers.seed(model, 0), substitute_fn=place)
    total, _ = log_density(placed, args, kwargs, {})
    total = total + sum(jacobians, start=jnp.zeros((), x.dtype))
    fine = jnp.all(jnp.stack(inside)) if inside else jnp.array(True)
    u = jnp.concatenate([parts[s.name].reshape(-1) for s in sites]) if sites else x
    return jnp.where(fine, total, -jnp.inf), u


def _base(support: Any) -> Any:
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def _elementwise(support: Any) -> bool:
    """Whether each number of a value is a parameter by itself."""
    return _base(support).event_dim == 0
