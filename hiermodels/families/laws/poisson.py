"""Counts under an exposure, gamma populations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hiermodels.families.exposed import Exposed
from hiermodels.families.populations.gamma import GammaGroups

__all__ = ["Poisson"]


@dataclass(frozen=True)
class Poisson(Exposed):
    """y ~ Poisson(exposure theta), theta ~ Gamma(shape, shape / mean)."""

    name = "poisson"
    shipped: ClassVar[tuple[str, str | None]] = ("failures ~ 1 + (1 | pump)", "pumps")
    deviations: ClassVar[tuple[str, ...]] = ("overdispersion",)
    linked = "poisson_log"
    population = GammaGroups()
    conjugate = True
    written = "gamma_poisson"
