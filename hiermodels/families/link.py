"""Links: the scale on which predictors and normal groups act on an outcome's mean."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy  # its parts load when they are used
from jax import Array

from hiermodels.quantities import support

__all__ = ["IDENTITY", "LOG", "LOGIT", "Identity", "Link", "Log", "Logit"]


@dataclass(frozen=True)
class Link:
    """A link; a subclass holds one.

    Attributes
    ----------
    name : str
    identity : bool
        Whether the linear predictor is the mean itself.
    kind : str
        Support of the mean: ``real``, ``positive`` or ``unit``.
    plain, latex : str
        The inverse as a function's name, in text and in LaTeX; empty where it is none.
    typical : float
        A mean to plan with.
    """

    name: ClassVar[str] = ""
    identity: ClassVar[bool] = False
    kind: ClassVar[str] = "real"
    plain: ClassVar[str] = ""
    latex: ClassVar[str] = ""
    typical: ClassVar[float] = 0.0

    def __str__(self) -> str:
        return self.name

    @property
    def bounded(self) -> bool:
        """Whether the mean has an upper end."""
        return support(self.kind)[1] < math.inf

    def forward(self, mean: Array) -> Array:
        """Linear predictor of a mean."""
        raise NotImplementedError(self.name)

    def host_forward(self, mean: np.ndarray) -> np.ndarray:
        """`forward` in NumPy."""
        raise NotImplementedError(self.name)

    def inverse(self, eta: Array) -> Array:
        """Mean at a linear predictor."""
        raise NotImplementedError(self.name)

    def host_inverse(self, eta: np.ndarray) -> np.ndarray:
        """`inverse` in NumPy."""
        raise NotImplementedError(self.name)

    def slope(self, eta: np.ndarray) -> np.ndarray:
        """Derivative of the mean by the linear predictor, NumPy."""
        raise NotImplementedError(self.name)

    def forward_source(self, mean: str) -> str:
        """Python source of `forward`."""
        raise NotImplementedError(self.name)

    def inverse_source(self, eta: str) -> str:
        """Python source of `inverse`."""
        raise NotImplementedError(self.name)

    def sds_of(self, shares: Mapping[str, float], variance: float) -> dict[str, float]:
        """Group sds at which groups have these shares of the whole variance, that of a row around its groups being
        ``variance``.
        """
        rest = 1 - sum(shares.values())
        return {name: math.sqrt(variance) * math.sqrt(share / rest) for name, share in shares.items()}


class Identity(Link):
    """eta is the mean."""

    name = "identity"
    identity = True

    def forward(self, mean: Array) -> Array:
        return mean

    def host_forward(self, mean: np.ndarray) -> np.ndarray:
        return mean

    def inverse(self, eta: Array) -> Array:
        return eta

    def host_inverse(self, eta: np.ndarray) -> np.ndarray:
        return eta

    def slope(self, eta: np.ndarray) -> np.ndarray:
        return np.ones_like(eta)

    def forward_source(self, mean: str) -> str:
        return mean

    def inverse_source(self, eta: str) -> str:
        return eta


class Logit(Link):
    """eta is the logit of a probability."""

    name = "logit"
    kind = "unit"
    plain = "logistic"
    latex = "\\operatorname{logit}^{-1}"
    typical = 0.2

    def forward(self, mean: Array) -> Array:
        return jnp.log(mean) - jnp.log1p(-mean)

    def host_forward(self, mean: np.ndarray) -> np.ndarray:
        return np.log(mean) - np.log1p(-mean)

    def inverse(self, eta: Array) -> Array:
        return jax.nn.sigmoid(eta)

    def host_inverse(self, eta: np.ndarray) -> np.ndarray:
        return scipy.special.expit(eta)

    def slope(self, eta: np.ndarray) -> np.ndarray:
        return 1 / (2 + np.exp(-eta) + np.exp(eta))

    def forward_source(self, mean: str) -> str:
        return f"jnp.log({mean}) - jnp.log1p(-{mean})"

    def inverse_source(self, eta: str) -> str:
        return f"jax.nn.sigmoid({eta})"


class Log(Link):
    """eta is the logarithm of a rate."""

    name = "log"
    kind = "positive"
    plain = "exp"
    latex = "\\exp"
    typical = 1.0

    def forward(self, mean: Array) -> Array:
        return jnp.log(mean)

    def host_forward(self, mean: np.ndarray) -> np.ndarray:
        return np.log(mean)

    def inverse(self, eta: Array) -> Array:
        return jnp.exp(eta)

    def host_inverse(self, eta: np.ndarray) -> np.ndarray:
        return np.exp(eta)

    def slope(self, eta: np.ndarray) -> np.ndarray:
        return np.exp(eta)

    def forward_source(self, mean: str) -> str:
        return f"jnp.log({mean})"

    def inverse_source(self, eta: str) -> str:
        return f"jnp.exp({eta})"

    def sds_of(self, shares: Mapping[str, float], variance: float) -> dict[str, float]:
        """Of log-normal means with these coefficients of variation."""
        return {name: math.sqrt(math.log1p(cv**2)) for name, cv in shares.items()}


IDENTITY, LOGIT, LOG = Identity(), Logit(), Log()
