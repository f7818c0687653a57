"""Counts under an exposure, gamma populations."""

from __future__ import annotations

from dataclasses import dataclass

from hiermodels.families.exposed import Exposed
from hiermodels.families.populations.gamma import GammaGroups

__all__ = ["Poisson"]


@dataclass(frozen=True)
class Poisson(Exposed):
    """y ~ Poisson(exposure theta), theta ~ Gamma(shape, shape / mean)."""

    name = "poisson"
    linked = "poisson_log"
    population = GammaGroups()
    conjugate = True
