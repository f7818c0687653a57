"""Positive outcomes, normal groups on the log scale."""

from __future__ import annotations

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
from hiermodels.families.own import Own
from hiermodels.families.rows import Columns, Rows
from hiermodels.families.style import Style
from hiermodels.priors import half_normal_cv

__all__ = ["SHAPE", "Gamma"]

SHAPE = Own("shape", "positive", "dispersion", default=half_normal_cv(1), start=2.0, planned=4.0, latex="a")


@dataclass(frozen=True)
class Gamma(Family):
    """y ~ Gamma(shape, shape / mean), mean exp(eta): its coefficient of variation is 1 / sqrt(shape)."""

    name = "gamma"
    link = LOG
    shipped: ClassVar[tuple[str, str | None]] = ("cost ~ 1 + treated + (1 | clinic)", None)
    variance = "mean and shape"
    own = (SHAPE,)
    sharpens = True

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.Gamma(values["shape"], values["shape"] / jnp.exp(eta))

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        shape = values["shape"][..., None]
        return scipy.stats.gamma(shape, scale=self.link.host_inverse(eta) / shape)

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        return values["shape"][:, None] * np.ones((1, len(rows.weight)))

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        return information * (y * np.exp(-eta) - 1)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return f"dist.Gamma({own('shape')}, {own('shape')} / {self.link.inverse_source(eta)})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law("Gamma", style.own(SHAPE), style.ratio(style.own(SHAPE), eta))

    def residual_variance(self, values: Mapping[str, Any], weight: np.ndarray, known: bool) -> np.ndarray:
        """Of the logarithm of an outcome."""
        return scipy.special.polygamma(1, values["shape"])
