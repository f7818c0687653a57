"""What of a simulated dataset differs from its design."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from hiermodels.models.problem import Data

__all__ = ["Rows", "redesigned"]


class Rows(eqx.Module):
    """The rows of simulated data where they differ from the design's in more than the outcome.

    Attributes
    ----------
    y : Array, shape (..., obs)
        Outcome; 0 where there is no row.
    weight, size : Array, shape (..., obs), or None
        Factors of the design's precision weight and of its trials or exposure; 0 where there is no row; None where all
        are 1.
    design : dict of str to Array
        Arrays that take the place of the design's: fields of `hiermodels.models.data.Data` (``x``, ``weight``,
        ``size``), or arguments of a NumPyro function.
    """

    y: Any
    weight: Any = None
    size: Any = None
    design: dict[str, Any] = eqx.field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every row of the design is there, as large as the design has it."""
        return self.weight is None

    def onto(self, layout: Any, data: Any) -> Any:
        """A method's design with these rows."""
        data = redesigned(data, self.design)
        if not isinstance(data, Data):
            return layout.with_outcome(data, self.y)
        if self.complete:
            return eqx.tree_at(lambda d: d.y, data, self.y)
        weight = self.weight if layout.known else (self.weight > 0).astype(self.weight.dtype)
        size = data.size * self.size
        changed = (self.y, data.weight * weight, jnp.round(size) if layout.law.tried else size)
        return eqx.tree_at(lambda d: (d.y, d.weight, d.size), data, changed)


def redesigned(design: Any, changes: Mapping[str, Any]) -> Any:
    """A design with other arrays under some names."""
    if not isinstance(design, Data):
        return {**design, **changes}
    names = tuple(changes)
    return (
        eqx.tree_at(lambda d: tuple(getattr(d, n) for n in names), design, tuple(changes.values())) if names else design
    )
