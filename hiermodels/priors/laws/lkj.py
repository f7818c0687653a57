"""Law of a correlation matrix."""

from __future__ import annotations

from dataclasses import dataclass

from jax import Array
from numpyro import distributions as dist

from hiermodels.priors.law import Prior

__all__ = ["LKJ"]


@dataclass(frozen=True)
class LKJ(Prior):
    """LKJ law of a correlation matrix: density proportional to det(R)^(eta - 1).

    Lewandowski, Kurowicka & Joe (2009), Journal of Multivariate Analysis 100, 1989-2001.
    """

    eta: float

    name = "lkj"
    cites = ("lkj",)
    example = (2,)
    kinds = ("correlation",)
    symbol = "\\mathrm{LKJ}"

    def wants(self) -> str:
        return "" if self.eta > 0 else "eta > 0"

    def log_density(self, x: Array, context: Array | None = None) -> Array:
        """Log density of a Cholesky factor of a correlation matrix, normalised; shape (effect, effect) in, scalar
        out.
        """
        return self.cholesky(x.shape[-1]).log_prob(x)

    def sample(self, key: Array, unit: Array | None = None, size: int = 1) -> Array:
        """A matrix, shape (size, size)."""
        return dist.LKJ(size, self.eta).sample(key)

    def cholesky(self, size: int) -> dist.Distribution:
        return dist.LKJCholesky(size, self.eta)

    def cholesky_source(self, size: int) -> str:
        return f"dist.LKJCholesky({size}, {self.eta})"
