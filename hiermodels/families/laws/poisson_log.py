"""Counts under an exposure, normal groups on the log scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hiermodels.families.exposed import Exposed

__all__ = ["PoissonLog"]


@dataclass(frozen=True)
class PoissonLog(Exposed):
    """y ~ Poisson(exposure exp(eta))."""

    name = "poisson_log"
    shipped: ClassVar[tuple[str, str | None]] = ("deaths ~ 1 + (1 | state/county)", "counties")
    deviations: ClassVar[tuple[str, ...]] = ("overdispersion",)
