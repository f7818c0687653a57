"""The hyperparameters of a model alone, as a NumPyro function: every other level integrated out."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpyro
from numpyro import distributions as dist

from hiermodels.models import hyper
from hiermodels.models.builder import hyperparameters, known_variances
from hiermodels.models.factorise import factorise
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.units import stands_of

__all__ = ["marginalised"]


def marginalised(layout: Layout) -> Callable[[Data], None]:
    """The NumPyro function of phi alone: every other level integrated out into one factor, ``log_marginal``.

    Parameters
    ----------
    layout : Layout
        One that `hiermodels.models.factorise.factorise` accepts.

    Returns
    -------
    callable
        ``model(data)``. Draw the group values given a draw of phi with ``factorise(layout).draw``.

    Examples
    --------
    >>> from hiermodels.datasets import load_dataset
    >>> from hiermodels.models.data import as_jax, bind
    >>> from hiermodels.models.sites import find_sites
    >>> from hiermodels.models.spec import Model
    >>> problem = bind(Model("effect ~ 1 + (1 | school)", known_se="se"), load_dataset("eight_schools"))
    >>> [site.name for site in find_sites(marginalised(problem.layout), as_jax(problem.data))]
    ['sd_school']
    """
    pair = factorise(layout)
    kept = hyper.dimension(pair.parameters)

    def model(data: Data) -> None:
        stands = stands_of(layout, data)
        phi = hyperparameters(pair.parameters, known_variances(layout, data), stands)
        u = hyper.unconstrain(pair.parameters, phi, stands)
        if pair.dim > kept:  # counts in deeper trees: explicit deviations above the finest level
            u = jnp.concatenate(
                [u, numpyro.sample("deviations", dist.Normal(jnp.zeros(pair.dim - kept), 1.0).to_event(1))]
            )
        numpyro.factor("log_marginal", pair.log_likelihood(u, pair.prepare(data)))

    return model
