"""The law of one variable given the hyperparameters."""

from __future__ import annotations

import equinox as eqx
from jax import Array

__all__ = ["Component"]


class Component(eqx.Module):
    """Law of a variable given the hyperparameters: one component of the posterior mixture.

    Attributes
    ----------
    kind : str
        ``point`` (a is the value), ``normal`` (mean, variance), ``beta`` (a, b) or ``gamma`` (shape, rate).
    a, b : Array
        Shape () or (group,), padding included.
    """

    kind: str = eqx.field(static=True)
    a: Array
    b: Array
