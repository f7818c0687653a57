"""Beta populations of probabilities."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from jax.scipy.special import betaln
from numpyro import distributions as dist

from hiermodels import variates
from hiermodels.families.component import Component
from hiermodels.families.populations.population import Population
from hiermodels.families.rising import log_rising, positive, tallied
from hiermodels.families.style import Style
from hiermodels.priors import beta, normal, uniform
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

    def unpooled_law(
        self, size: int, prior: tuple[float, float]
    ) -> tuple[dist.Distribution, Callable[[Array], Array] | None]:
        return dist.Beta(*(jnp.full(size, number) for number in prior)), None

    def unpooled_lines(self, variable: str, site: str, count: str, prior: tuple[float, float]) -> list[str]:
        return [f'{variable} = numpyro.sample("{site}", dist.Beta(jnp.full({count}, {prior[0]:g}), {prior[1]:g}))']

    def unpooled_shown(self, style: Style, prior: tuple[float, float]) -> str:
        return style.law("Beta", *(f"{number:g}" for number in prior))

    def own(self, y: Any, size: Any) -> Any:
        return self.frozen(y + 1, size - y + 1)

    def frozen(self, a: float, b: float) -> Any:
        return scipy.stats.beta(a, b)

    def weight(self, mean: np.ndarray, concentration: np.ndarray, size: np.ndarray) -> np.ndarray:
        return concentration / (concentration + size)

    def log_marginal(self, mean: np.ndarray, concentration: np.ndarray, y: np.ndarray, size: np.ndarray) -> np.ndarray:
        """Log B(kappa m + y, kappa (1 - m) + n - y) - log B(kappa m, kappa (1 - m))."""
        first, second = concentration * mean, concentration * (1 - mean)
        return scipy.special.betaln(first + y, second + size - y) - scipy.special.betaln(first, second)

    def shrinking(self, overall: Array) -> Array:
        return jnp.asarray(2.0)

    def concentration_of(self, share: float) -> float:
        return 1 / share - 1

    # integrated out ---------------------------------------------------------------------------------------------------

    def logs_of_mean(self, mean: Array) -> tuple[Array, Array]:
        mean = jnp.minimum(positive(mean, float(jnp.finfo(mean.dtype).max) ** 0.9), 1 - jnp.finfo(mean.dtype).epsneg)
        return jnp.log(mean), jnp.log1p(-mean)

    def logs_at(self, eta: Array) -> tuple[Array, Array]:
        return -jax.nn.softplus(-eta), -jax.nn.softplus(eta)

    def log_common(self, logs: tuple[Array, Array], counts: Any) -> Array:
        y, size = (counts.total[0], counts.total[1]) if jnp.ndim(logs[0]) == 0 else (counts.y, counts.size)
        return counts.constant + jnp.sum(y * logs[0]) + jnp.sum((size - y) * logs[1])

    def log_integrated(self, logs: tuple[Array, Array], concentration: Array, counts: Any) -> Array:
        a, tally, (y, size) = concentration, counts.tally, (counts.y, counts.size)
        value = self.log_common(logs, counts)
        alpha, beta = positive(a * jnp.exp(logs[0])), positive(a * jnp.exp(logs[1]))
        if tally.shape[-1] and jnp.ndim(logs[0]) == 0:
            return value + jnp.sum(tallied(jnp.stack([alpha, beta, a]), tally))
        value += jnp.sum(
            log_rising(jnp.broadcast_to(alpha, y.shape), y) + log_rising(jnp.broadcast_to(beta, y.shape), size - y)
        )
        return value + (
            tallied(a, tally[2]) if tally.shape[-1] else -jnp.sum(log_rising(jnp.broadcast_to(a, y.shape), size))
        )

    def given(self, logs: tuple[Array, Array], concentration: Array, counts: Any) -> Component:
        alpha, beta = concentration * jnp.exp(logs[0]), concentration * jnp.exp(logs[1])
        base = (alpha, beta) if counts.tally.shape[-1] and jnp.ndim(logs[0]) == 0 else None
        return Component("beta", alpha + counts.y, beta + (counts.size - counts.y), base)

    def updated(self, prior: tuple[float, float], y: Array, size: Array) -> Component:
        return Component("beta", prior[0] + y, prior[1] + (size - y))

    def log_evidence(self, prior: tuple[float, float], law: Component) -> Array:
        a, b = prior
        return betaln(law.a, law.b) - (math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b) if min(a, b) > 0 else 0.0)

    def draw_logs(self, key: Array, law: Component) -> tuple[Array, Array]:
        both = variates.log_gamma(key, jnp.stack([law.a, law.b]))
        return jax.nn.log_sigmoid(both[0] - both[1]), jax.nn.log_sigmoid(both[1] - both[0])

    def log_density(self, values: tuple[Array, Array], logs: tuple[Array, Array], concentration: Array) -> Array:
        alpha, beta = positive(concentration * jnp.exp(logs[0])), positive(concentration * jnp.exp(logs[1]))
        return alpha * values[0] + beta * values[1] - betaln(alpha, beta)

    def by_moments(self, counts: Any) -> tuple[Array, Array]:
        y, n, (total_y, total) = counts.y, counts.size, counts.total
        m = (total_y + 0.5) / (total + 1.0)
        spread = jnp.sum(jnp.where(n > 0, (y - n * m) ** 2 / jnp.where(n > 0, n, 1.0), 0.0)) / (m * (1 - m))
        groups, weight = jnp.sum(n > 0) - 1.0, total - jnp.sum(n * n) / total
        rho = (spread - groups) / jnp.maximum(weight - groups, 1e-6)
        return m, 1 / jnp.clip(rho, 1e-3, 0.9) - 1

    def noisy(self, events: Array, size: Array, units: Array, concentration: Array) -> tuple[Array, Array]:
        trials = size + 1.0
        misses, unit = trials - events, units / trials**2  # one over the effective number of groups
        return jnp.log(events / misses), (1 / events + 1 / misses) * (1 + trials * unit / (concentration + 1))

    # defaults ---------------------------------------------------------------------------------------------------------
    def default_mean(self, unpooled: tuple[float, float] | None) -> Prior:
        return uniform(0, 1) if unpooled is None else beta(*unpooled)

    def default_log_concentration(self) -> Prior:
        return normal(3, 2)
