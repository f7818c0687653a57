"""Half t law of a group sd in units of the residual sd."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior
from hiermodels.priors.laws import _densities

__all__ = ["ScaledHalfT"]


@dataclass(frozen=True)
class ScaledHalfT(Prior):
    """Half t law of a group sd in units of sigma, the residual sd: sd / sigma has ``half_t(df, ratio)``.

    p(sd | sigma) = 2 t_df(sd / (ratio sigma)) / (ratio sigma). A change of the outcome's units changes nothing, so one
    text serves any data and every dataset of a study.

    Examples
    --------
    >>> import hiermodels as hm
    >>> str(hm.priors.scaled_half_t(3, 2.5))
    'scaled_half_t(3, 2.5)'
    """

    df: float
    ratio: float

    name = "scaled_half_t"
    cites = ("sdpriors",)
    example = (3, 2)
    kinds = ("positive",)
    in_units = ("ratio",)
    unit = "residual sd"
    instead = "half_t(df, scale)"

    def wants(self) -> str:
        return "" if self.df > 0 and self.ratio > 0 else "df > 0 and ratio > 0"

    def latex(self, rule: str = "", unit: str = "\\sigma") -> str:
        scale = f"{self.ratio:g}\\, {rule}\\, {unit}" if rule else f"{self.ratio:g}\\, {unit}"
        return f"\\mathrm{{t}}^{{+}}_{{{self.df:g}}}(0,\\, ({scale})^{{2}})"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        if context is None:
            raise ValueError(
                f"prior {self}: it is in units of another parameter; name another prior, e.g. normal(0, 10)"
            )
        return _densities.log_half_t(x / context, self.df, self.ratio) - jnp.log(context)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        if unit is None:
            return super().sample(key)
        return self.ratio * unit * jnp.abs(jax.random.t(key, self.df))

    def law(self, kind: str = "positive", unit: Array | None = None) -> dist.Distribution | None:
        return None if unit is None else dist.FoldedDistribution(dist.StudentT(self.df, 0.0, self.ratio * unit))

    def source(self, kind: str = "positive", unit: str = "") -> str:
        return f"dist.FoldedDistribution(dist.StudentT({self.df}, 0.0, {self.ratio} * {unit}))"

    @property
    def unit_power(self) -> float:
        return self.df

    def moment_tail(self) -> float:
        return -(self.df + 1)
