"""Gamma populations of rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from jax.scipy.special import gammaln
from numpyro import distributions as dist
from numpyro.distributions import constraints

from hiermodels import variates
from hiermodels.families.component import Component
from hiermodels.families.populations.population import Population
from hiermodels.families.rising import log_rising, positive
from hiermodels.families.style import Style
from hiermodels.priors import normal, power
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

    def unpooled_law(
        self, size: int, prior: tuple[float, float]
    ) -> tuple[dist.Distribution, Callable[[Array], Array] | None]:
        return dist.ImproperUniform(
            constraints.positive, (size,), ()
        ), lambda rate: (prior[0] - 1) * jnp.log(rate) - prior[1] * rate

    def unpooled_lines(self, variable: str, site: str, count: str, prior: tuple[float, float]) -> list[str]:
        falls = f" - {prior[1]:g} * jnp.sum({variable})" if prior[1] else ""
        return [
            f'{variable} = numpyro.sample("{site}", dist.ImproperUniform(constraints.positive, ({count},), ()))',
            f'numpyro.factor("prior_{site}", {prior[0] - 1:g} * jnp.sum(jnp.log({variable})){falls})',
        ]

    def unpooled_shown(self, style: Style, prior: tuple[float, float]) -> str:
        return style.law("Gamma", *(f"{number:g}" for number in prior))

    def own(self, y: Any, size: Any) -> Any:
        return self.frozen(y + 1, size)

    def frozen(self, a: float, b: float) -> Any:
        return scipy.stats.gamma(a, scale=1 / b)

    def weight(self, mean: np.ndarray, concentration: np.ndarray, size: np.ndarray) -> np.ndarray:
        return concentration / (concentration + mean * size)

    def log_marginal(self, mean: np.ndarray, concentration: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Log Gamma(a + y) - log Gamma(a) + a log(b) - (a + y) log(b + x), b = a / m."""
        a, b = concentration, concentration / mean
        return scipy.special.gammaln(a + y) - scipy.special.gammaln(a) + a * np.log(b) - (a + y) * np.log(b + size)

    def shrinking(self, overall: Array) -> Array:
        return 1.0 / overall

    def concentration_of(self, share: float) -> float:
        return share**-2

    # integrated out ---------------------------------------------------------------------------------------------------

    def logs_of_mean(self, mean: Array) -> tuple[Array, Array]:
        mean = positive(mean, float(jnp.finfo(mean.dtype).max) ** 0.9)
        return jnp.log(mean), mean

    def logs_at(self, eta: Array) -> tuple[Array, Array]:
        return eta, jnp.exp(eta)

    def log_common(self, logs: tuple[Array, Array], counts: Any) -> Array:
        y, size = (counts.total[0], counts.total[1]) if jnp.ndim(logs[0]) == 0 else (counts.y, counts.size)
        return counts.constant + jnp.sum(y * logs[0]) - jnp.sum(size * jnp.exp(logs[0]))

    def log_integrated(self, logs: tuple[Array, Array], concentration: Array, counts: Any) -> Array:
        a, y = concentration, counts.y
        value = counts.constant + jnp.sum((counts.total[0] if jnp.ndim(logs[0]) == 0 else y) * logs[0])
        m = jnp.exp(logs[0])
        return value + jnp.sum(log_rising(jnp.broadcast_to(a, y.shape), y) - (a + y) * jnp.log1p(m / a * counts.size))

    def given(self, logs: tuple[Array, Array], concentration: Array, counts: Any) -> Component:
        return Component("gamma", concentration + counts.y, concentration * jnp.exp(-logs[0]) + counts.size)

    def updated(self, prior: tuple[float, float], y: Array, size: Array) -> Component:
        return Component("gamma", prior[0] + y, jnp.where(size > 0, prior[1] + size, 1.0))

    def log_evidence(self, prior: tuple[float, float], law: Component) -> Array:
        a, b = prior
        return gammaln(law.a) - law.a * jnp.log(law.b) - (math.lgamma(a) - a * math.log(b) if b > 0 else 0.0)

    def draw_logs(self, key: Array, law: Component) -> tuple[Array, Array]:
        log_rate = variates.log_gamma(key, law.a) - jnp.log(law.b)
        return log_rate, jnp.exp(log_rate)

    def log_density(self, values: tuple[Array, Array], logs: tuple[Array, Array], concentration: Array) -> Array:
        a, log_rate = concentration, jnp.log(concentration) - logs[0]
        return a * (log_rate + values[0]) - gammaln(a) - jnp.exp(log_rate + values[0])

    def by_moments(self, counts: Any) -> tuple[Array, Array]:
        y, n, (total_y, total) = counts.y, counts.size, counts.total
        m = (total_y + 0.5) / total
        spread = jnp.sum(jnp.where(n > 0, (y - n * m) ** 2 / jnp.where(n > 0, n, 1.0), 0.0)) / m
        groups, weight = jnp.sum(n > 0) - 1.0, total - jnp.sum(n * n) / total
        return m, 1 / jnp.clip((spread - groups) / jnp.maximum(m * weight, 1e-6), 1e-3, 20.0)

    def noisy(self, events: Array, size: Array, units: Array, concentration: Array) -> tuple[Array, Array]:
        return jnp.log(events / size), 1 / events + units / size**2 / concentration

    # defaults ---------------------------------------------------------------------------------------------------------
    def default_mean(self, unpooled: tuple[float, float] | None) -> Prior:
        return power(1) if unpooled is None else power(1 - unpooled[0])

    def default_log_concentration(self) -> Prior:
        return normal(1, 2)
