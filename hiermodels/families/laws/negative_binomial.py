"""Overdispersed counts under an exposure, normal groups on the log scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from jax.scipy.special import gammaln
from numpyro import distributions as dist

from hiermodels.families.exposed import Exposed
from hiermodels.families.own import Own
from hiermodels.families.rows import Columns, Rows
from hiermodels.families.style import Style
from hiermodels.priors import half_normal_cv

__all__ = ["SHAPE", "NegativeBinomial"]

SHAPE = Own("shape", "positive", "dispersion", default=half_normal_cv(1), start=2.0, planned=4.0, latex="a")


@dataclass(frozen=True)
class NegativeBinomial(Exposed):
    """Gamma mixture of Poisson laws: mean mu = exposure exp(eta), variance mu + mu^2 / shape."""

    name = "negative_binomial"
    shipped: ClassVar[tuple[str, str | None]] = ("failures ~ 1 + (1 | pump)", "pumps")
    variance = "mean and shape"
    additive = False
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

    def row_kernel(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> Array:
        """With m = size exp(eta): a log(a) + log Gamma(y + a) - log Gamma(a) + y eta - (y + a) log(a + m)."""
        shape = values["shape"]
        own = gammaln(y + shape) - gammaln(shape) - y * jnp.log(shape)
        return own + y * eta - (y + shape) * jax.nn.softplus(eta + self._log_odds(shape, rows))

    def row_slopes(self, y: Array, eta: Array, values: Mapping[str, Array], rows: Rows) -> tuple[Array, Array]:
        shape = values["shape"]
        share = jax.nn.sigmoid(eta + self._log_odds(shape, rows))
        return y - (y + shape) * share, -(y + shape) * share * (1 - share)

    def _log_odds(self, shape: Array, rows: Rows) -> Array:
        """log(size / shape), the linear predictor of mean ``shape`` with its sign turned."""
        return jnp.log(jnp.where(rows.size > 0, rows.size, 1.0)) - jnp.log(shape)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return f"dist.NegativeBinomial2({self._exposed(self.link.inverse_source(eta), columns)}, {own('shape')})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law("NegBinomial", self._shown_mean(style, eta, columns), style.own(SHAPE))
