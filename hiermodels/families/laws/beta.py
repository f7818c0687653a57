"""Shares, normal groups on the logit scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np
import numpyro.distributions as dist
import scipy  # its parts load when they are used
from jax import Array

from hiermodels.families.family import Family
from hiermodels.families.link import LOGIT
from hiermodels.families.own import Own
from hiermodels.families.rows import Columns, Rows
from hiermodels.families.style import Style
from hiermodels.priors import half_normal_cv

__all__ = ["PRECISION", "Beta"]

PRECISION = Own(
    "precision", "positive", "dispersion", default=half_normal_cv(1), start=5.0, planned=10.0, latex="\\phi"
)


@dataclass(frozen=True)
class Beta(Family):
    """y ~ Beta(mean precision, (1 - mean) precision), mean logistic(eta): its variance is mean (1 - mean) / (1 +
    precision).
    """

    name = "beta"
    link = LOGIT
    shipped: ClassVar[tuple[str, str | None]] = ("share ~ 1 + treated + (1 | clinic)", None)
    response = ("mean", "odds ratio")
    variance = "mean and precision"
    own = (PRECISION,)
    sharpens = True
    concave = False

    def rows(self, eta: Array, values: Mapping[str, Array], rows: Rows) -> dist.Distribution:
        return dist.Beta(values["precision"] * jax.nn.sigmoid(eta), values["precision"] * jax.nn.sigmoid(-eta))

    def host_rows(self, eta: np.ndarray, values: Mapping[str, Any], rows: Rows) -> Any:
        return scipy.stats.beta(*self._numbers(eta, values["precision"][..., None]))

    def information(self, eta: np.ndarray | None, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        assert eta is not None
        precision = values["precision"][:, None]
        first, second = (scipy.special.polygamma(1, number) for number in self._numbers(eta, precision))
        return (precision * self.link.slope(eta)) ** 2 * (first + second)

    def score(
        self, y: np.ndarray, eta: np.ndarray, values: Mapping[str, Any], rows: Rows, information: np.ndarray
    ) -> np.ndarray:
        precision = values["precision"][:, None]
        first, second = (scipy.special.digamma(number) for number in self._numbers(eta, precision))
        return precision * self.link.slope(eta) * (scipy.special.logit(y) - first + second)

    def source(self, eta: str, columns: Columns, own: Callable[[str], str]) -> str:
        first, second = (self.link.inverse_source(side) for side in (eta, f"-({eta})"))
        return f"dist.Beta({own('precision')} * {first}, {own('precision')} * {second})"

    def shown(self, style: Style, eta: str, columns: Columns) -> str:
        return style.law(
            "Beta", style.product(eta, style.own(PRECISION)), style.product(f"(1 - {eta})", style.own(PRECISION))
        )

    def _numbers(self, eta: np.ndarray, precision: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return precision * self.link.host_inverse(eta), precision * self.link.host_inverse(-eta)
