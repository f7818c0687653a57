"""Waiting times, normal groups on the log scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import scipy  # its parts load when they are used
from jax import Array

from hiermodels.families.family import Family
from hiermodels.families.link import LOG
from hiermodels.families.rows import Columns, Rows
from hiermodels.families.style import Style

__all__ = ["ExponentialLog"]


@dataclass(frozen=True)
class ExponentialLog(Family):
    """y ~ Exponential with mean exp(eta): eta is the log of a mean waiting time, not of a rate."""

    name = "exponential_log"
    link = LOG
    shipped: ClassVar[tuple[str, str | None]] = ("days ~ 1 + treated + (1 | clinic)", None)

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.Exponential(1 / jnp.exp(eta))

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        return scipy.stats.expon(scale=self.link.host_inverse(eta))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        return np.ones((1, len(rows.weight)))

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        return y * np.exp(-eta) - 1

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return f"dist.Exponential(1 / {self.link.inverse_source(eta)})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law("Exponential", style.ratio("1", eta))

    def residual_variance(self, values: Mapping[str, Any], weight: np.ndarray, known: bool) -> float:
        """Of the logarithm of a waiting time."""
        return math.pi**2 / 6
