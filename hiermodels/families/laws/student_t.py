"""Outcomes with Student t errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy  # its parts load when they are used
from jax import Array
from numpyro import distributions as dist

from hiermodels.families.own import Own
from hiermodels.families.rows import Columns, Rows
from hiermodels.families.scaled import SIGMA, Scaled
from hiermodels.families.style import Style
from hiermodels.priors import gamma

__all__ = ["NU", "StudentT"]

NU = Own("nu", "above_one", "degrees of freedom", default=gamma(2, 0.1), start=8.0, planned=4.0, latex="\\nu")


@dataclass(frozen=True)
class StudentT(Scaled):
    """y ~ eta + sigma w^(-1/2) t_nu, or eta + se t_nu."""

    name = "student_t"
    shipped: ClassVar[tuple[str, str | None]] = ("effect ~ 1 + (1 | school)", "eight_schools")
    variance = "known or unknown"
    finite = "nu above 2"
    own = (SIGMA, NU)
    peaks = True
    concave = False
    instead: ClassVar[Mapping[str, str]] = {
        "errors": (
            "remove it: nu says how heavy the tails are, and a method of family student_t fits normal data "
            "with other errors"
        )
    }

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.StudentT(values["nu"], eta, self.scale(values, rows))

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        return scipy.stats.t(values["nu"][..., None], eta, self.host_scale(values, rows))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        """(nu + 1) / (nu + 3) / scale^2 (Lange, Little & Taylor 1989)."""
        nu = values["nu"][:, None]
        return self.precision_of_rows(values, rows) * (nu + 1) / (nu + 3)

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        nu = values["nu"][:, None]
        precision = information * (nu + 3) / (nu + 1)
        return (nu + 1) * precision * (y - eta) / (nu + precision * (y - eta) ** 2)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        nu = own("nu")
        return f"dist.StudentT({nu}, {eta}, {self.scale_source(columns, '' if columns.se else own('sigma'))})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law("t", style.own(NU), eta, self.scale_shown(style, columns))

    def residual_variance(self, values: Mapping[str, Any], weight: np.ndarray, known: bool) -> np.ndarray | None:
        if known:
            return None
        nu = values["nu"]
        variance = values["sigma"] ** 2 / weight[weight > 0].mean()
        return np.where(nu > 2, variance * nu / np.where(nu > 2, nu - 2, 1.0), np.inf)
