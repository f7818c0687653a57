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
    base : tuple of Array, or None
        Numbers of a law that all groups share, shape () each, to which each group adds what its own few counts say: ``a - base[0]`` and
        ``b - base[1]`` are free of the hyperparameters.
    """

    kind: str = eqx.field(static=True)
    a: Array
    b: Array
    base: tuple[Array, Array] | None = None
