"""Rows that are successes of trials."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from jax.scipy.special import gammaln, xlog1py, xlogy
from numpyro import distributions as dist

from hiermodels.families.family import Family
from hiermodels.families.link import LOGIT
from hiermodels.families.rows import Columns, Refusal, Rows
from hiermodels.families.style import Style

__all__ = ["Trials", "refused_binary", "refused_counts"]


def refused_counts(y: np.ndarray) -> list[Refusal]:
    """Outcomes that are no counts."""
    return [Refusal((y < 0) | (y != np.round(y)), "a count (0, 1, 2, ...)", "counts are whole and not negative")]


def refused_binary(family: Family, y: np.ndarray) -> list[Refusal]:
    """Outcomes that are not 0 or 1."""
    hint = (
        f"family {family.name} has one trial a row; counts of several are family {family.kernel} with trials=<column>"
    )
    return [Refusal((y != 0) & (y != 1), "0 or 1", hint)]


@dataclass(frozen=True)
class Trials(Family):
    """y ~ Binomial(trials, p), logit p = eta where there is a linear predictor."""

    link = LOGIT
    additive = True
    outcome = "count"
    telling = "with 0 < y < trials"
    response = ("probability", "odds ratio")
    local = False

    def refused(self, y: np.ndarray, size: np.ndarray) -> list[Refusal]:
        return [
            *refused_counts(y),
            Refusal(y > size, "at most the row's trials", "check which column holds the trials"),
        ]

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.Binomial(jnp.round(jnp.where(rows.weight > 0, rows.size, 1.0)).astype(int), logits=eta)

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        return scipy.stats.binom(rows.size.astype(int), self.link.host_inverse(eta))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        assert eta is not None
        return rows.size[None] * self.link.slope(eta)

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        return y - rows.size * scipy.special.expit(eta)

    def row_kernel(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> Array:
        return y * eta - rows.size * jax.nn.softplus(eta)

    def row_constant(self, y: Array, rows: Rows) -> Array:
        return self.log_constant(y, rows.size)

    def row_guess(self, y: Array, rows: Rows) -> tuple[Array, Array]:
        hits, misses = y + 0.5, rows.size - y + 0.5
        return jnp.log(hits / misses), jnp.where(rows.size > 0, hits * misses / (hits + misses), 0.0)

    def row_slopes(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> tuple[Array, Array]:
        p = jax.nn.sigmoid(eta)
        return y - rows.size * p, -rows.size * p * (1 - p)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return f"dist.Binomial({columns.trials or '1'}, logits={eta})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return self.shown_at_rate(style, eta, columns)

    def at_rate(self, rate: Array, size: Array) -> dist.Distribution:
        return dist.Binomial(jnp.round(size).astype(int), probs=rate)

    def host_at_rate(self, rate: np.ndarray, size: np.ndarray) -> Any:
        return scipy.stats.binom(size.astype(int), rate)

    def draw(self, key: Array, rate: Array, size: Array) -> Array:
        return jnp.where(size > 0, jax.random.binomial(key, jnp.where(size > 0, size, 1.0), rate), 0.0)

    def host_draw(self, rng: np.random.Generator, rate: np.ndarray, size: np.ndarray) -> np.ndarray:
        return rng.binomial(size.astype(int), rate)

    def log_kernel(self, y: Array, rate: Array, size: Array) -> Array:
        return xlogy(y, rate) + xlog1py(size - y, -rate)

    def log_constant(self, y: Any, size: Any) -> Any:
        log_factorial = scipy.special.gammaln if isinstance(y, np.ndarray) else gammaln
        return log_factorial(size + 1) - log_factorial(y + 1) - log_factorial(size - y + 1)

    def informative(self, y: Any, size: Any) -> Any:
        return (y > 0) & (y < size)

    def pooled(self, y: Any, size: Any) -> Any:
        return (y + 0.5) / (size + 1.0)

    def empirical(self, y: Any, size: Any, xp: Any = np) -> Any:
        """Half an event added."""
        return xp.log((y + 0.5) / (size - y + 0.5))

    def told(self, size: Any, mean: Any) -> Any:
        return size * mean * (1 - mean)

    def residual_variance(self, values: Mapping[str, Any], weight: np.ndarray, known: bool) -> float:
        """Of the logistic law on the latent scale."""
        return math.pi**2 / 3

    def predictive(self, a: float, b: float, size: float) -> Any:
        return scipy.stats.betabinom(int(size), a, b)

    def share(self, mean: np.ndarray, concentration: np.ndarray, size: float) -> np.ndarray:
        return 1 / (concentration + 1)

    def source_at_rate(self, rate: str, columns: Columns) -> str:
        return f"dist.Binomial({columns.trials or '1'}, probs={rate})"

    def shown_at_rate(self, style: Style, rate: str, columns: Columns) -> str:
        return style.law("Binomial", columns.trials, rate) if columns.trials else style.law("Bernoulli", rate)
