"""One trial a row, normal groups on the logit scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hiermodels.families.laws.binomial_logit import BinomialLogit
from hiermodels.families.rows import Refusal
from hiermodels.families.trials import refused_binary

__all__ = ["BernoulliLogit"]


@dataclass(frozen=True)
class BernoulliLogit(BinomialLogit):
    """The family `binomial_logit` with one trial."""

    name = "bernoulli_logit"
    shipped: ClassVar[tuple[str, str | None]] = ("success ~ 1 + treated + (1 | centre)", None)
    deviations: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    outcome = "binary"
    twin = "binomial_logit"
    instead: ClassVar[Mapping[str, str]] = {"overdispersion": "remove it: one trial cannot be overdispersed"}

    def refused(self, y: np.ndarray, size: np.ndarray) -> list[Refusal]:
        return refused_binary(self, y)
