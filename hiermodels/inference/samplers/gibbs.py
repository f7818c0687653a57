"""The Gibbs sampler as a sampler of the menu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.gibbs import gibbs
from hiermodels.inference.samplers.base import Sampler
from hiermodels.inference.starts import starts
from hiermodels.models.factorise import Factorised, factorise
from hiermodels.models.layout import Layout

__all__ = ["Gibbs"]


@dataclass(frozen=True)
class Gibbs(Sampler):
    """Gibbs sampler: groups given hyperparameters, hyperparameters given groups, in turn.

    As lectures do; to compare with. For models that factorise; see `hiermodels.inference.gibbs`.
    """

    name = "gibbs"
    method = "with a Gibbs sampler"
    cites = ("gibbs",)

    def model(self, layout: Layout) -> Factorised:
        if layout.by_quadrature:
            raise ValueError(
                f"sampler: 'gibbs': the groups of family {layout.family} have no law in closed form given the "
                f"hyperparameters; "
                f"use sampler='nuts' or 'exact'"
            )
        return factorise(layout)

    def positions(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        start_key, run_key = jax.random.split(key)
        unbend, _, position, covariance = starts(model, self.settings.chains, start_key, stats)
        length = jnp.ones(model.dim)
        if covariance is not None:  # what a coordinate moves within two sds
            centre, sd = jnp.mean(position, 0), jnp.sqrt(jnp.diagonal(covariance))
            length = jnp.maximum(unbend(centre + sd)[0] - unbend(centre - sd)[0], 1e-3)
            length = jnp.where(jnp.isfinite(length), length, 1.0)
        start = jax.vmap(lambda q: unbend(q)[0])(position)
        found = gibbs(model, self.settings.draws, self.settings.tune)(run_key, start, length, stats)
        return found, {"lp": jax.vmap(jax.vmap(lambda u: model.log_density(u, stats)))(found)}
