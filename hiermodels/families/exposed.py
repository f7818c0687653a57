"""Rows that are counts of events under an exposure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from jax.scipy.special import gammaln, xlogy
from numpyro import distributions as dist

from hiermodels.families.family import Family
from hiermodels.families.link import LOG
from hiermodels.families.rows import Columns, Refusal, Rows
from hiermodels.families.style import Style
from hiermodels.families.trials import refused_counts

__all__ = ["Exposed"]


@dataclass(frozen=True)
class Exposed(Family):
    """y ~ Poisson(exposure rate), log rate = eta where there is a linear predictor; or another law of the same mean."""

    link = LOG
    columns = ("exposure",)
    additive = True
    outcome = "count"
    telling = "with a positive count"
    response = ("rate", "rate ratio")
    unpooled = (0.5, 0.0)
    local = False

    def refused(self, y: np.ndarray, size: np.ndarray) -> list[Refusal]:
        return refused_counts(y)

    def mean(self, eta: Array, rows: Rows) -> Array:
        """Expected counts."""
        return jnp.where(rows.weight > 0, rows.size, 1.0) * jnp.exp(eta)

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.Poisson(self.mean(eta, rows))

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        return scipy.stats.poisson(rows.size * self.link.host_inverse(eta))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        assert eta is not None
        return rows.size[None] * self.link.slope(eta)

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        return information * (y / (rows.size * np.exp(eta)) - 1)

    def row_kernel(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> Array:
        return y * eta - rows.size * jnp.exp(eta)

    def row_constant(self, y: Array, rows: Rows) -> Array:
        return self.log_constant(y, rows.size)

    def row_guess(self, y: Array, rows: Rows) -> tuple[Array, Array]:
        there = rows.size > 0
        return jnp.log((y + 0.5) / jnp.where(there, rows.size, 1.0)), jnp.where(there, y + 0.5, 0.0)

    def row_slopes(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> tuple[Array, Array]:
        mean = rows.size * jnp.exp(eta)
        return y - mean, -mean

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return self.source_at_rate(self.link.inverse_source(eta), columns)

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return self.shown_at_rate(style, eta, columns)

    def at_rate(self, rate: Array, size: Array) -> dist.Distribution:
        return dist.Poisson(size * rate)

    def host_at_rate(self, rate: np.ndarray, size: np.ndarray) -> Any:
        return scipy.stats.poisson(size * rate)

    def draw(self, key: Array, rate: Array, size: Array) -> Array:
        return jnp.where(size > 0, jax.random.poisson(key, size * rate).astype(rate.dtype), 0.0)

    def host_draw(self, rng: np.random.Generator, rate: np.ndarray, size: np.ndarray) -> np.ndarray:
        return rng.poisson(size * rate)

    def log_kernel(self, y: Array, rate: Array, size: Array) -> Array:
        return xlogy(y, rate) - size * rate

    def log_constant(self, y: Any, size: Any) -> Any:
        if isinstance(y, np.ndarray):
            return scipy.special.xlogy(y, np.where(size > 0, size, 1.0)) - scipy.special.gammaln(y + 1)
        return jnp.where(size > 0, y * jnp.log(jnp.where(size > 0, size, 1.0)) - gammaln(y + 1), 0.0)

    def informative(self, y: Any, size: Any) -> Any:
        return y > 0

    def pooled(self, y: Any, size: Any) -> Any:
        return (y + 0.5) / (size + 1.0)

    def empirical(self, y: Any, size: Any, xp: Any = np) -> Any:
        """Half an event added."""
        return xp.log((y + 0.5) / size)

    def told(self, size: Any, mean: Any) -> Any:
        return size * mean

    def predictive(self, a: float, b: float, size: float) -> Any:
        return scipy.stats.nbinom(a, b / (b + size))

    def share(self, mean: np.ndarray, concentration: np.ndarray, size: float) -> np.ndarray:
        count = mean * size
        return count / (count + concentration)

    def source_at_rate(self, rate: str, columns: Columns) -> str:
        return f"dist.Poisson({self._exposed(rate, columns)})"

    def _exposed(self, rate: str, columns: Columns) -> str:
        return f"{columns.exposure} * {rate}" if columns.exposure else rate

    def shown_at_rate(self, style: Style, rate: str, columns: Columns) -> str:
        return style.law("Poisson", self._shown_mean(style, rate, columns))

    def _shown_mean(self, style: Style, rate: str, columns: Columns) -> str:
        return (columns.exposure + style.times if columns.exposure else "") + rate
