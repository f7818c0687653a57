"""Waiting times, gamma populations of rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import scipy  # its parts load when they are used
from jax import Array

from hiermodels.families.family import Family
from hiermodels.families.link import LOG
from hiermodels.families.populations.gamma import GammaGroups
from hiermodels.families.rows import Columns
from hiermodels.families.style import Style

__all__ = ["Exponential"]


@dataclass(frozen=True)
class Exponential(Family):
    """y ~ Exponential(theta), theta ~ Gamma(shape, shape / mean): theta and ``mean_<g>`` are rates, the mean of y is 1
    / theta.

    A group's n waiting times add n to the shape and their sum to the rate: as n Poisson events in that time.
    Coefficients, too, are of log rates; predictions, residuals and fitted values are waiting times. The mean waiting
    time of a new group does not exist (a rate may be close to 0); its median and quantiles do.
    """

    name = "exponential"
    link = LOG
    population = GammaGroups()
    conjugate = True
    linked = "exponential_log"
    response = ("rate", "rate ratio")
    unpooled = (0.0, 0.0)
    shipped: ClassVar[tuple[str, str | None]] = ("days ~ 1 + (1 | clinic)", None)

    def counted(self, y: Any, size: Any) -> tuple[Any, Any]:
        """One event a row, in its waiting time."""
        return (size > 0) * 1.0, y

    def at_rate(self, rate: Array, size: Array) -> dist.Distribution:
        return dist.Exponential(rate)

    def host_at_rate(self, rate: np.ndarray, size: np.ndarray) -> Any:
        return scipy.stats.expon(scale=1 / rate)

    def draw(self, key: Array, rate: Array, size: Array) -> Array:
        return jnp.where(size > 0, jax.random.exponential(key, jnp.shape(rate), rate.dtype) / rate, 0.0)

    def host_draw(self, rng: np.random.Generator, rate: np.ndarray, size: np.ndarray) -> np.ndarray:
        return rng.exponential(1 / rate)

    def log_kernel(self, y: Array, rate: Array, size: Array) -> Array:
        return jnp.log(rate) - rate * y

    def log_constant(self, y: Any, size: Any) -> Any:
        return 0.0 * y

    def mean_at_rate(self, rate: np.ndarray) -> np.ndarray:
        return 1 / rate

    def moments_below(self, a: np.ndarray) -> np.ndarray:
        return a

    def predictive(self, a: float, b: float, size: float) -> Any:
        return scipy.stats.lomax(a, scale=b)

    def share(self, mean: np.ndarray, concentration: np.ndarray, size: float) -> np.ndarray:
        """Of logarithms of waiting times, whose variance always exists."""
        between, within = (scipy.special.polygamma(1, x) for x in (concentration, 1.0))
        return between / (between + within)

    def source_at_rate(self, rate: str, columns: Columns) -> str:
        return f"dist.Exponential({rate})"

    def shown_at_rate(self, style: Style, rate: str, columns: Columns) -> str:
        return style.law("Exponential", rate)
