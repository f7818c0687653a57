"""A parameter of an outcome's own law."""

from __future__ import annotations

from dataclasses import dataclass, field

from hiermodels.priors.law import Prior
from hiermodels.priors.laws.flat import Flat
from hiermodels.quantities import Quantity

__all__ = ["Own"]


@dataclass(frozen=True)
class Own(Quantity):
    """A parameter of an outcome's own law.

    Attributes
    ----------
    default : Prior
        Its prior where none is named.
    start : float
        Where chains start it; a residual sd starts at the spread of the data.
    planned : float
        A true value to plan with; a residual sd has that of the data.
    latex : str
        Its symbol; by default its name, upright.
    """

    default: Prior = field(default=Flat(), kw_only=True)
    start: float = field(default=1.0, kw_only=True)
    planned: float = field(default=1.0, kw_only=True)
    latex: str = field(default="", kw_only=True)
