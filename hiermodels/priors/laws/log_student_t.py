"""Log Student t law."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.exponents import Exponent
from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["LogStudentT"]


@dataclass(frozen=True)
class LogStudentT(Prior):
    """The logarithm is loc + scale t_df: positive, with no moments, and mass as near to zero as far from it.

    p(x) = t_df((log x - loc) / scale) / (scale x), which behaves as |log x|^-(df + 1) / x at both ends. Its median is
    exp(loc).

    Examples
    --------
    >>> import hiermodels as hm
    >>> str(hm.priors.log_student_t(4, 0, 1))
    'log_student_t(4, 0, 1)'
    """

    df: float
    loc: float
    scale: float

    name = "log_student_t"
    example = (8, 0.5, 1)
    kinds = ("positive", "above_one")
    symbol = "\\mathrm{log\\mbox{-}t}"

    def wants(self) -> str:
        return "" if self.df > 0 and self.scale > 0 else "df > 0 and scale > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        return _densities.log_student_t(jnp.log(x), self.df, self.loc, self.scale) - jnp.log(x)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        return jnp.exp(self.loc + self.scale * jax.random.t(key, self.df))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution:
        return dist.TransformedDistribution(
            dist.StudentT(self.df, self.loc, self.scale), dist.transforms.ExpTransform()
        )

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return (
            f"dist.TransformedDistribution(dist.StudentT({self.df}, {self.loc}, {self.scale}), "
            f"dist.transforms.ExpTransform())"
        )

    @property
    def origin(self) -> float:
        return Exponent(-1, log=-(self.df + 1))

    def moment_tail(self) -> float:
        return Exponent(-1, log=-(self.df + 1))
