"""Joint prior of the mean and the concentration of a population, as in BDA3."""

from __future__ import annotations

from dataclasses import dataclass

from hiermodels.priors.law import Prior
from hiermodels.priors.laws.power import Power
from hiermodels.priors.laws.uniform import Uniform

__all__ = ["BDA3"]


@dataclass(frozen=True)
class BDA3(Prior):
    """Joint rule (alpha + beta)^(-5/2) of a beta population; a^(-3/2) / b of a gamma population.

    With m the population's mean and kappa = alpha + beta: (alpha + beta)^(-5/2) dalpha dbeta = kappa^(-3/2) dm dkappa,
    and a^(-3/2) b^(-1) da db = a^(-3/2) m^(-1) da dm.
    """

    name = "bda3"
    joint = True

    def split(self, kind: str) -> tuple[Prior, Prior]:
        return (Uniform(0, 1) if kind == "unit" else Power(1)), Power(1.5)
