"""Normal groups around the linear predictor."""

from __future__ import annotations

from dataclasses import dataclass

from hiermodels.families.populations.population import Population

__all__ = ["NormalGroups"]


@dataclass(frozen=True)
class NormalGroups(Population):
    """Group values are normal around the linear predictor, on the scale of the link."""

    name = "normal"
    normal = True
