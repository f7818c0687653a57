"""Normal outcomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from numpyro import distributions as dist

from hiermodels.families.rows import Columns, Rows
from hiermodels.families.scaled import SIGMA, Scaled
from hiermodels.families.style import Style

__all__ = ["Normal"]


@dataclass(frozen=True)
class Normal(Scaled):
    """y ~ N(eta, sigma^2 / w), or N(eta, se^2)."""

    name = "normal"
    shipped: ClassVar[tuple[str, str | None]] = ("effect ~ 1 + (1 | school)", "eight_schools")
    variance = "known or unknown"
    deviations: ClassVar[tuple[str, ...]] = ("errors", "heteroscedastic")
    own = (SIGMA,)
    conjugate = True

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.Normal(eta, self.scale(values, rows))

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        return scipy.stats.norm(eta, self.host_scale(values, rows))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        return self.precision_of_rows(values, rows)

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        return information * (y - eta)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        return f"dist.Normal({eta}, {self.scale_source(columns, '' if columns.se else own('sigma'))})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law("N", eta, self.scale_shown(style, columns))

    def residual_variance(self, values: Mapping[str, Any], weight: np.ndarray, known: bool) -> np.ndarray | None:
        return None if known else values["sigma"] ** 2 / weight[weight > 0].mean()
