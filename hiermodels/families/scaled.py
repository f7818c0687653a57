"""Rows on the scale of their linear predictor, with a scale of their own: a residual sd, or known standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.families.family import Family
from hiermodels.families.own import Own
from hiermodels.families.rows import Columns, Rows
from hiermodels.families.style import Style
from hiermodels.priors import power

__all__ = ["SIGMA", "Scaled"]

SIGMA = Own("sigma", "positive", "residual sd", default=power(1), latex="\\sigma")


@dataclass(frozen=True)
class Scaled(Family):
    """A location family: eta plus an error whose scale is sigma w^(-1/2), or 1 / sqrt(w) known."""

    columns = ("known_se", "weights")

    def scale(self, values: Mapping[str, Array], rows: Rows) -> Array:
        """Scale of each row's error."""
        return (1.0 if rows.known else values["sigma"]) * jnp.where(rows.weight > 0, rows.weight, 1.0) ** -0.5

    def host_scale(self, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        """`scale` beside each draw."""
        return rows.weight**-0.5 if rows.known else values["sigma"][..., None] * rows.weight**-0.5

    def precision_of_rows(self, values: Mapping[str, Any], rows: Rows) -> np.ndarray:
        """1 / scale^2, (1 or draw, row)."""
        return rows.weight[None] if rows.known else rows.weight[None] * values["sigma"][:, None] ** -2

    def scale_source(self, columns: Columns, sigma: str) -> str:
        """Python source of `scale`."""
        sd = columns.se or sigma
        return sd + (f" * {columns.weights} ** -0.5" if columns.weights else "")

    def scale_shown(self, style: Style, columns: Columns) -> str:
        """Square of the scale in a line of a model."""
        if columns.se:
            return style.square(columns.se)
        variance = style.square(style.own(SIGMA))
        return style.ratio(variance, columns.weights) if columns.weights else variance
