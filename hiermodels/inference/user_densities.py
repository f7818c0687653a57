"""Densities of a user's own NumPyro function, site by site, beside its draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro import distributions as dist
from numpyro import handlers

from hiermodels.models.user import UserModel

__all__ = ["user_densities"]


def user_densities(model: UserModel, values: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Log density of every observed value, and of every latent site.

    Parameters
    ----------
    model : UserModel
    values : mapping of str to ndarray
        Draws by site, (chain, draw, *dims).

    Returns
    -------
    log_likelihood : dict of str to ndarray, each (chain, draw, *dims)
        By observed site; a `numpyro.factor` is neither.
    log_prior : dict of str to ndarray, each (chain, draw)
        By latent site, given the sites above it.
    """
    shape = next(iter(values.values())).shape[:2]
    with jax.enable_x64(True):
        latent = {site.name: jnp.asarray(values[site.name]) for site in model.sites}
        data = model.prepare(model.data)
        flat = {name: x.reshape(-1, *x.shape[2:]) for name, x in latent.items()}
        found = jax.vmap(lambda one: _densities(model, one, data))(flat)
    whole = jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *x.shape[1:]), found)
    return whole[0], whole[1]


def _densities(
    model: UserModel, latent: dict[str, Array], data: dict[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    placed = handlers.substitute(handlers.seed(model.function, 0), data=latent)
    trace = handlers.trace(placed).get_trace(**data, **model.counts)
    observed: dict[str, Array] = {}
    prior: dict[str, Array] = {}
    for name, site in trace.items():
        if site["type"] != "sample" or isinstance(_base(site["fn"]), dist.Unit):
            continue
        density = site["fn"].log_prob(site["value"])
        if site["is_observed"]:
            observed[name] = density
        else:
            prior[name] = jnp.sum(density)
    return observed, prior


def _base(law: Any) -> Any:
    while isinstance(law, (dist.MaskedDistribution, dist.Independent, dist.ExpandedDistribution)):
        law = law.base_dist
    return law
