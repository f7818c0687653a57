"""Log densities that several laws share."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
from jax import Array

__all__ = ["log_half_t", "log_normal", "log_student_t"]


def log_normal(x: Array, mean: Any, sd: Any) -> Array:
    """Log density of N(mean, sd^2)."""
    return -0.5 * ((x - mean) / sd) ** 2 - math.log(sd) - 0.5 * math.log(2 * math.pi)


def log_student_t(x: Array, df: float, loc: float, scale: float) -> Array:
    """Log density of loc + scale t_df."""
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(df * math.pi) - math.log(scale)
    return constant - (df + 1) / 2 * jnp.log1p(((x - loc) / scale) ** 2 / df)


def log_half_t(x: Array, df: float, scale: float) -> Array:
    """Log density of scale |t_df|."""
    return math.log(2.0) + log_student_t(x, df, 0.0, scale)
