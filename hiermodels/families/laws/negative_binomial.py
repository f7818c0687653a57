"""Overdispersed counts under an exposure, normal groups on the log scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from numpyro import distributions as dist

from hiermodels.families.exposed import Exposed
from hiermodels.families.family import Columns, Own, Rows
from hiermodels.families.style import Style
from hiermodels.priors import half_normal_cv

__all__ = ["SHAPE", "NegativeBinomial"]

SHAPE = Own("shape", "positive", "dispersion", default=half_normal_cv(1), start=2.0, planned=4.0)


@dataclass(frozen=True)
class NegativeBinomial(Exposed):
    """Gamma mixture of Poisson laws: mean mu = exposure exp(eta), variance mu + mu^2 / shape."""

    name = "negative_binomial"
    shipped: ClassVar[tuple[str, str | None]] = ("failures ~ 1 + (1 | pump)", "pumps")
    variance = "mean and shape"
    own = (SHAPE,)
    instead: ClassVar[Mapping[str, str]] = {"overdispersion": "remove it: shape is its overdispersion"}

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.NegativeBinomial2(self.mean(eta, rows), values["shape"])

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        shape = values["shape"][..., None]
        return scipy.stats.nbinom(shape, shape / (shape + rows.size * self.link.host_inverse(eta)))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        mean = super().information(eta, values, rows)
        return mean / (1 + mean / values["shape"][:, None])

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return f"dist.NegativeBinomial2({self._exposed(self.link.inverse_source(eta), columns)}, {own('shape')})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law("NegBinomial", self._shown_mean(style, eta, columns), style.own("shape"))
