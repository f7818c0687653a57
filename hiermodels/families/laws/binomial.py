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
    shipped: ClassVar[tuple[str, str | None]] = ("tumors ~ 1 + (1 | experiment)", "rats")
    deviations: ClassVar[tuple[str, ...]] = ("overdispersion",)
    linked = "binomial_logit"
    population = BetaGroups()
    columns: ClassVar[tuple[str, ...]] = ("trials",)
    needs: ClassVar[tuple[str, ...]] = ("trials",)
    conjugate = True
    written = "beta_binomial"
