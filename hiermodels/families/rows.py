"""What a family is told of rows beside their linear predictors, and what it says of outcomes that it does not have."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

__all__ = ["Columns", "Refusal", "Rows"]


class Rows(NamedTuple):
    """What a family may need of the rows beside their linear predictors, NumPy or JAX; shape (row,).

    Attributes
    ----------
    weight : array
        Precision weights; 1 / se^2 where variances are known.
    size : array
        Trials or exposure; 1 where there are none.
    known : bool
        Whether the variances are known.
    """

    weight: Any
    size: Any
    known: bool


class Columns(NamedTuple):
    """Symbols of a row's columns, in source or in a line of a model; empty where the model has none.

    Attributes
    ----------
    se, weights, trials, exposure : str
    """

    se: str = ""
    weights: str = ""
    trials: str = ""
    exposure: str = ""


class Refusal(NamedTuple):
    """Outcomes that a family does not have: which, what was expected, what to do."""

    bad: np.ndarray
    expected: str
    hint: str
