"""Successes of trials, normal groups on the logit scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hiermodels.families.trials import Trials

__all__ = ["BinomialLogit"]


@dataclass(frozen=True)
class BinomialLogit(Trials):
    """y ~ Binomial(trials, logistic(eta))."""

    name = "binomial_logit"
    shipped: ClassVar[tuple[str, str | None]] = ("tumors ~ 1 + (1 | experiment)", "rats")
    deviations: ClassVar[tuple[str, ...]] = ("overdispersion",)
    columns: ClassVar[tuple[str, ...]] = ("trials",)
    needs: ClassVar[tuple[str, ...]] = ("trials",)
