"""The exact engine as a sampler of the menu."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.draws import Draws, Estimates
from hiermodels.inference.exact import POOR, ExactSettings, exact
from hiermodels.inference.node_draws import weighed_draws
from hiermodels.inference.node_estimates import estimates_of_nodes
from hiermodels.inference.nodes import ACCURACIES
from hiermodels.inference.samplers.base import Retry, Sampler, Steps
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.factorise import Factorised, factorise
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data, Problem

__all__ = ["Exact"]

_DOUBT = "not accurate enough for this posterior, now with"
_FELL_BACK = (
    "exact: its estimate of its own error was too large for this posterior, so these draws are from NUTS instead"
)

_FELL_FAR = f"{_FELL_BACK}, and the groups do not integrate out exactly enough, so that they move on every parameter"


@dataclass(frozen=True)
class Exact(Sampler):
    """The exact engine: posteriors with few hyperparameters, by quadrature, without a Markov chain.

    Independent draws and quadrature summaries, where the hyperparameters are few; see `hiermodels.inference.exact`. It
    has no loop that waits for the slowest dataset, so that its lanes may be wider.
    """

    name = "exact"
    method = "by numerical quadrature over its hyperparameters, without a Markov chain"
    independent = True
    quadrature = True
    takes = ("accuracy",)
    chunk = 256
    most_lanes = 256

    def model(self, layout: Layout) -> Factorised:
        return factorise(layout, self.settings.accuracy)

    def check(self, layout: Layout, data: Data) -> None:
        exact(self.model(layout))  # says why not

    def draw(self, model: Any, key: Array, stats: Any) -> Draws:
        settings = self.settings
        node_key, draw_key = jax.random.split(key)
        nodes = exact(model, ExactSettings(settings.accuracy))(node_key, stats)
        heavy = jnp.broadcast_to(nodes.quality > POOR, (settings.chains, settings.draws))
        values, lp = weighed_draws(model, nodes, stats, draw_key, settings.chains, settings.draws)
        error = nodes.quality * ACCURACIES[settings.accuracy].allowed
        return Draws(values, {"lp": lp, "heavy_weights": heavy}, independent=True, error=error)

    def steps(self, model: Any, targets: tuple[Target, ...], interval: Interval) -> Steps:
        def from_nodes(key: Array, data: Data, truth: Array) -> Estimates:
            stats = model.prepare(data)
            nodes = exact(model, ExactSettings(self.settings.accuracy))(key, stats)
            return estimates_of_nodes(model, nodes, stats, targets, interval, truth)

        return Steps(from_nodes, None)

    def distrusted(self) -> tuple[Retry, ...]:
        finer = {"study": "refined", "fit": "finest"}[self.settings.accuracy]
        return (
            Retry(replace(self.settings, accuracy=finer), f"{_DOUBT} a finer lattice"),
            Retry(replace(self.settings, sampler="nuts"), f"{_DOUBT} NUTS", _FELL_BACK),
            Retry(
                replace(self.settings, sampler="nuts", marginalize=False),
                f"{_DOUBT} NUTS on every parameter",
                _FELL_FAR,
            ),
        )

    def words(self, problem: Problem, draws: Draws) -> list[str]:
        """Its estimate of its own error; nothing where the draws come from another sampler in its place."""
        if draws.error is None:
            return super().words(problem, draws)
        return [f"quadrature: off by about {float(draws.error):.1g} posterior sd, by its own estimate"]
