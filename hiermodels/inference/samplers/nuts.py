"""The no-U-turn sampler as a sampler of the menu."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import Array

from hiermodels.inference.nuts import NutsSettings, nuts
from hiermodels.inference.samplers.base import Retry, Sampler, power_of_two
from hiermodels.inference.starts import LAPLACE_LIMIT, starts

__all__ = ["FEW", "Nuts"]

FEW = 6
"""Most dimensions of a marginal posterior of hyperparameters whose trajectories are about equally long."""

_DOUBT = "the groups do not integrate out exactly enough for this posterior, now with"
_FELL_BACK = (
    "nuts: the groups do not integrate out exactly enough for this posterior, so these draws move on every "
    "parameter instead"
)


@dataclass(frozen=True)
class Nuts(Sampler):
    """The no-U-turn sampler for many small posteriors at once, and the Laplace fit that starts it.

    Always works: on the hyperparameters alone where the model factorises, else on everything. See
    `hiermodels.inference.nuts`.
    """

    name = "nuts"
    method = "with the no-U-turn sampler"
    cites = ("nuts",)
    functions = True
    slow_to_compile = True
    chunk = 50

    def positions(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        settings = self.settings
        start_key, run_key = jax.random.split(key)
        start = starts(model, settings.chains, start_key, stats)
        run = nuts(
            start.log_density,
            NutsSettings(
                draws=settings.draws,
                tune=max(settings.tune, 1),
                chains=settings.chains,
                target_accept=settings.target_accept,
                dense_mass=1 < model.dim <= LAPLACE_LIMIT,
            ),
        )
        chains = run(run_key, start.position, start.covariance)
        return jax.vmap(jax.vmap(lambda q: start.unbend(q)[0]))(chains.position), chains.stats

    def lanes(self, device_kind: str, dim: int, size: int) -> int:
        """As of any sampler, but for many dimensions.

        Trajectories in many dimensions (explicit models) differ so much in length that waiting for the longest soon
        costs more than a step of the loop: on CPU large ones move alone, small ones a few together.
        """
        if device_kind.lower() != "cpu" or dim <= FEW:
            return super().lanes(device_kind, dim, size)
        return power_of_two(2.0**12.5 / ((max(1, size) + 2 * dim) * dim), 1, 16)

    def distrusted(self) -> tuple[Retry, ...]:
        if not self.settings.marginalize:
            return ()
        return (
            Retry(replace(self.settings, accuracy="finest"), f"{_DOUBT} a finer quadrature of the groups"),
            Retry(replace(self.settings, marginalize=False), f"{_DOUBT} every parameter", _FELL_BACK),
        )

    def instead(self) -> str:
        return ""
