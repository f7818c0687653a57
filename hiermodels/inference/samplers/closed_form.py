"""Posteriors in closed form as a sampler of the menu."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
from jax import Array

from hiermodels.inference.closed_form import check_variances, closed_form
from hiermodels.inference.nodes import block_size
from hiermodels.inference.samplers.base import Sampler
from hiermodels.models.factorise import Factorised, factorise
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data

__all__ = ["ClosedForm"]


@dataclass(frozen=True)
class ClosedForm(Sampler):
    """Independent draws of posteriors in closed form: variances first, by their own law, then means given them.

    Where the hyperparameters have a law in closed form; see `hiermodels.inference.closed_form`.
    """

    name = "closed_form"
    method = "in closed form"
    independent = True

    def model(self, layout: Layout) -> Factorised:
        model = factorise(layout)
        closed_form(model)  # says why not
        return model

    def check(self, layout: Layout, data: Data) -> None:
        super().check(layout, data)
        check_variances(layout, data)

    def positions(self, model: Any, key: Array, stats: Any) -> tuple[Array, dict[str, Array]]:
        shape = (self.settings.chains, self.settings.draws)
        position = closed_form(model)(key, stats, shape)
        lp = jax.lax.map(
            lambda u: model.log_density(u, stats), position.reshape(-1, model.dim), batch_size=block_size(model)
        )
        return position, {"lp": lp.reshape(shape)}
