"""One trial a row, beta populations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hiermodels.families.laws.binomial import Binomial
from hiermodels.families.rows import Refusal
from hiermodels.families.trials import refused_binary

__all__ = ["Bernoulli"]


@dataclass(frozen=True)
class Bernoulli(Binomial):
    """The family `binomial` with one trial."""

    name = "bernoulli"
    shipped: ClassVar[tuple[str, str | None]] = ("success ~ 1 + (1 | centre)", None)
    deviations: ClassVar[tuple[str, ...]] = ()
    linked = "bernoulli_logit"
    columns: ClassVar[tuple[str, ...]] = ()
    needs: ClassVar[tuple[str, ...]] = ()
    outcome = "binary"
    twin = "binomial"
    instead: ClassVar[Mapping[str, str]] = {"overdispersion": "remove it: one trial cannot be overdispersed"}

    def refused(self, y: np.ndarray, size: np.ndarray) -> list[Refusal]:
        return refused_binary(self, y)
