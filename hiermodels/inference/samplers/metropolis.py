"""The random walk as a sampler of the menu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.metropolis import MetropolisSettings, metropolis
from hiermodels.inference.samplers.base import Sampler
from hiermodels.models.builder import build
from hiermodels.models.explicit import Explicit
from hiermodels.models.layout import Layout
from hiermodels.models.sites import natural, natural_log_density

__all__ = ["Metropolis"]


@dataclass(frozen=True)
class Metropolis(Sampler):
    """Random-walk Metropolis on every parameter at once: what gradients and integration are there to replace.

    To compare with; see `hiermodels.inference.metropolis`.
    """

    name = "metropolis"
    method = "with a random-walk Metropolis algorithm"
    cites = ("metropolis",)
    takes = ("step_size",)

    def model(self, layout: Layout) -> Explicit:
        return self.explicit(layout)

    def positions(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        settings = self.settings
        start_key, run_key = jax.random.split(key)
        function, sites = build(model.layout, model.centred), model.sites
        start = model.start(stats)
        position = start + 0.1 * jax.random.normal(start_key, (settings.chains, model.dim), start.dtype)
        run = metropolis(
            lambda x: natural_log_density(function, sites, x, stats, stats.y)[0],
            MetropolisSettings(settings.draws, settings.tune, settings.step_size),
        )
        chains = run(run_key, jax.vmap(lambda u: natural(function, sites, u, stats, stats.y))(position))
        found = jax.vmap(jax.vmap(lambda x: natural_log_density(function, sites, x, stats, stats.y)[1]))(
            chains.position
        )
        lost = jnp.isneginf(chains.stats["lp"])  # a chain that never found a density
        return jnp.where(lost[..., None], jnp.nan, found), chains.stats
