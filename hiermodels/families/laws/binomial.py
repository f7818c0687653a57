"""Successes of trials, beta populations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hiermodels.families.populations.beta import BetaGroups
from hiermodels.families.trials import Trials

__all__ = ["Binomial"]


@dataclass(frozen=True)
class Binomial(Trials):
    """y ~ Binomial(trials, theta), theta ~ Beta(mean kappa, (1 - mean) kappa)."""

    name = "binomial"
    linked = "binomial_logit"
    population = BetaGroups()
    columns: ClassVar[tuple[str, ...]] = ("trials",)
    needs: ClassVar[tuple[str, ...]] = ("trials",)
    conjugate = True
