"""Gamma populations of rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import scipy  # its parts load when they are used
from jax import Array
from numpyro.distributions import constraints

from hiermodels.families.component import Component
from hiermodels.families.populations.population import Population
from hiermodels.families.style import Style
from hiermodels.priors import normal
from hiermodels.priors.law import Prior

__all__ = ["GammaGroups"]


@dataclass(frozen=True)
class GammaGroups(Population):
    """theta_j ~ Gamma(shape, shape / m)."""

    name = "gamma"
    precision = "shape"
    planned = 4.0
    start = 2.0
    other = "lognormal"
    unpooled = (0.5, 0.0)

    def component(self, mean: Array, concentration: Array) -> Component:
        return Component("gamma", concentration + jnp.zeros_like(mean), concentration / mean)

    def law(self, mean: Array, concentration: Array) -> dist.Distribution:
        return dist.Gamma(concentration, concentration / mean)

    def host_draws(self, rng: np.random.Generator, mean: np.ndarray, concentration: np.ndarray) -> np.ndarray:
        return rng.gamma(concentration, size=np.broadcast(mean, concentration).shape) * mean / concentration

    def padding(self, value: Array) -> Array:
        return jnp.negative(value)

    def source(self, mean: str, concentration: str) -> str:
        return f"dist.Gamma({concentration}, {concentration} / {mean})"

    def shown(self, style: Style, mean: str, concentration: str) -> str:
        return style.law("Gamma", concentration, style.ratio(concentration, mean))

    def unpooled_law(self, size: int) -> tuple[dist.Distribution, Callable[[Array], Array] | None]:
        return dist.ImproperUniform(constraints.positive, (size,), ()), lambda rate: -0.5 * jnp.log(rate)

    def unpooled_lines(self, variable: str, site: str, count: str) -> list[str]:
        return [
            f'{variable} = numpyro.sample("{site}", dist.ImproperUniform(constraints.positive, ({count},), ()))',
            f'numpyro.factor("prior_{site}", -0.5 * jnp.sum(jnp.log({variable})))',
        ]

    def unpooled_shown(self, style: Style) -> str:
        return style.law("Gamma", "0.5", "0")

    def own(self, y: Any, size: Any) -> Any:
        return self.frozen(y + 1, size)

    def frozen(self, a: float, b: float) -> Any:
        return scipy.stats.gamma(a, scale=1 / b)

    def predictive(self, a: float, b: float, size: float) -> Any:
        return scipy.stats.nbinom(a, b / (b + size))

    def weight(self, mean: np.ndarray, concentration: np.ndarray, size: np.ndarray) -> np.ndarray:
        return concentration / (concentration + mean * size)

    def log_marginal(self, mean: np.ndarray, concentration: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Log Gamma(a + y) - log Gamma(a) + a log(b) - (a + y) log(b + x), b = a / m."""
        a, b = concentration, concentration / mean
        return scipy.special.gammaln(a + y) - scipy.special.gammaln(a) + a * np.log(b) - (a + y) * np.log(b + size)

    def shrinking(self, overall: Array) -> Array:
        return 1.0 / overall

    def share(self, mean: np.ndarray, concentration: np.ndarray, size: float) -> np.ndarray:
        count = mean * size
        return count / (count + concentration)

    def concentration_of(self, share: float) -> float:
        return share**-2

    def default_log_concentration(self) -> Prior:
        return normal(1, 2)
