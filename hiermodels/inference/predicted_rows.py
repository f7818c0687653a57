"""Rows to predict, against a fitted problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """Rows to predict, against a fitted problem.

    Attributes
    ----------
    x : ndarray, shape (row, column)
        Design matrix.
    known : tuple of ndarray, each (row,)
        Position of the row's group in ``problem.labels``, a level each; -1 for a group not in the data.
    fresh : tuple of ndarray, each (row,)
        Number of the row's new group of that level, from 0; -1 for a group in the data.
    """

    x: np.ndarray
    known: tuple[np.ndarray, ...]
    fresh: tuple[np.ndarray, ...]
