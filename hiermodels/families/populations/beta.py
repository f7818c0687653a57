"""Beta populations of probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import scipy  # its parts load when they are used
from jax import Array

from hiermodels.families.component import Component
from hiermodels.families.populations.population import Population
from hiermodels.families.style import Style
from hiermodels.priors import normal
from hiermodels.priors.law import Prior

__all__ = ["BetaGroups"]


@dataclass(frozen=True)
class BetaGroups(Population):
    """theta_j ~ Beta(m kappa, (1 - m) kappa)."""

    name = "beta"
    precision = "kappa"
    planned = 20.0
    start = 10.0
    other = "logit_normal"

    def component(self, mean: Array, concentration: Array) -> Component:
        return Component("beta", concentration * mean, concentration * (1 - mean))

    def law(self, mean: Array, concentration: Array) -> dist.Distribution:
        return dist.Beta(mean * concentration, (1 - mean) * concentration)

    def host_draws(self, rng: np.random.Generator, mean: np.ndarray, concentration: np.ndarray) -> np.ndarray:
        return rng.beta(mean * concentration, (1 - mean) * concentration)

    def padding(self, value: Array) -> Array:
        return jnp.zeros_like(value)

    def source(self, mean: str, concentration: str) -> str:
        return f"dist.Beta({mean} * {concentration}, (1 - {mean}) * {concentration})"

    def shown(self, style: Style, mean: str, concentration: str) -> str:
        return style.law("Beta", style.product(mean, concentration), style.product(f"(1 - {mean})", concentration))

    def unpooled_law(self, size: int) -> tuple[dist.Distribution, Callable[[Array], Array] | None]:
        half = jnp.full(size, 0.5)
        return dist.Beta(half, half), None

    def unpooled_lines(self, variable: str, site: str, count: str) -> list[str]:
        return [f'{variable} = numpyro.sample("{site}", dist.Beta(jnp.full({count}, 0.5), 0.5))']

    def unpooled_shown(self, style: Style) -> str:
        return style.law("Beta", "0.5", "0.5")

    def own(self, y: Any, size: Any) -> Any:
        return self.frozen(y + 1, size - y + 1)

    def frozen(self, a: float, b: float) -> Any:
        return scipy.stats.beta(a, b)

    def predictive(self, a: float, b: float, size: float) -> Any:
        return scipy.stats.betabinom(int(size), a, b)

    def weight(self, mean: np.ndarray, concentration: np.ndarray, size: np.ndarray) -> np.ndarray:
        return concentration / (concentration + size)

    def log_marginal(self, mean: np.ndarray, concentration: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Log B(kappa m + y, kappa (1 - m) + n - y) - log B(kappa m, kappa (1 - m))."""
        first, second = concentration * mean, concentration * (1 - mean)
        return scipy.special.betaln(first + y, second + size - y) - scipy.special.betaln(first, second)

    def shrinking(self, overall: Array) -> Array:
        return jnp.asarray(2.0)

    def share(self, mean: np.ndarray, concentration: np.ndarray, size: float) -> np.ndarray:
        return 1 / (concentration + 1)

    def concentration_of(self, share: float) -> float:
        return 1 / share - 1

    def default_log_concentration(self) -> Prior:
        return normal(3, 2)
