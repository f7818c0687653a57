"""Student t law of a coefficient."""

from __future__ import annotations

from dataclasses import dataclass

import jax
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["StudentT"]


@dataclass(frozen=True)
class StudentT(Prior):
    """Student t law of a coefficient with ``df`` degrees of freedom."""

    df: float
    loc: float
    scale: float

    name = "student_t"
    example = (4, 1, 2)
    kinds = ("real",)
    in_units = ("loc", "scale")
    symbol = "\\mathrm{t}"

    def wants(self) -> str:
        return "" if self.df > 0 and self.scale > 0 else "df > 0 and scale > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_student_t(x, self.df, self.loc, self.scale)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return self.loc + self.scale * jax.random.t(key, self.df)

    def law(self, kind: str = "real", unit: Array | None = None) -> dist.Distribution:
        return dist.StudentT(self.df, self.loc, self.scale)

    def source(self, kind: str = "real", unit: str = "") -> str:
        return f"dist.StudentT({self.df}, {self.loc}, {self.scale})"

    def moment_tail(self) -> float:
        return -(self.df + 1)
