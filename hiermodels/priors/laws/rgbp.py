"""Joint prior of the mean and the concentration of a population that is flat on the link scale."""

from __future__ import annotations

from dataclasses import dataclass

from hiermodels.priors.law import Prior
from hiermodels.priors.laws.beta import Beta
from hiermodels.priors.laws.power import Power

__all__ = ["RGBP"]


@dataclass(frozen=True)
class RGBP(Prior):
    """Joint rule: flat coefficients on the link scale, 1 / kappa (1 / shape) uniform on the positive numbers.

    Flat on 1 / b, with b = a / m, would be improper for any counts: at a below one over the number of groups the mean
    runs off.
    """

    name = "rgbp"
    joint = True

    def split(self, kind: str) -> tuple[Prior, Prior]:
        return (Beta(0, 0) if kind == "unit" else Power(1)), Power(2)
