"""Order statistics, exact, of replicates of which only a window is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hiermodels.studies.score.folds import APPEND

if TYPE_CHECKING:
    from hiermodels.studies.score.folds import Folds

__all__ = ["order_statistics"]

_BINS = 4096
"""Parts into which an interval is cut in a pass."""
_FEW = 8192
"""Numbers of a group that are collected and sorted."""
_SIGN = np.uint64(1) << np.uint64(63)


def order_statistics(
    values: NDArray[np.float64], ranks: NDArray[np.int64], n: NDArray[np.int64], folds: Folds
) -> NDArray[np.float64]:
    """Order statistics of each column.

    An interval around the ranks that are wanted is narrowed, a pass a time, until it holds few numbers; these are
    sorted.

    Parameters
    ----------
    values : array, shape (replicate, group)
        What is not finite is left out.
    ranks : array of int, shape (rank, group)
        From 0, below `n`.
    n : array of int, shape (group,)
        Finite numbers of each column.
    folds : Folds

    Returns
    -------
    array, shape (rank, group)
        NaN where a column has no number.

    Examples
    --------
    >>> from hiermodels.studies.score.folds import AT_ONCE
    >>> order_statistics(np.array([[3.0], [np.nan], [1.0]]), np.array([[0], [1]]), np.array([2]), AT_ONCE).ravel().tolist()
    [1.0, 3.0]
    """  # noqa: E501
    groups = np.arange(values.shape[1])
    keys, real = _keys(values), np.isfinite(values)
    low, high = np.zeros(len(groups), np.uint64), np.full(len(groups), np.iinfo(np.uint64).max)
    before, within = np.zeros(len(groups), np.int64), np.asarray(n)
    while (wide := (within > _FEW) & (low < high)).any():
        width = (high - low) // np.uint64(_BINS) + np.uint64(1)

        def histogram(
            low: NDArray[np.uint64] = low, high: NDArray[np.uint64] = high, width: NDArray[np.uint64] = width
        ) -> NDArray[np.int64]:
            place = groups * _BINS + ((keys - low) // width).astype(np.int64)
            return np.bincount(place[real & (keys >= low) & (keys <= high)], minlength=len(groups) * _BINS).reshape(
                1, len(groups), _BINS
            )

        reached = before[:, None] + np.cumsum(folds.fold(np.add, histogram).value, 1)
        first, last = ((reached <= rank[:, None]).sum(1).clip(max=_BINS - 1) for rank in (ranks.min(0), ranks.max(0)))
        start = np.where(first > 0, reached[groups, first - 1], before)
        top = low + np.minimum(last.astype(np.uint64) * width + (width - np.uint64(1)), high - low)
        new = low + first.astype(np.uint64) * width
        if not (wide & ((new > low) | (top < high))).any():
            break
        low, high = np.where(wide, new, low), np.where(wide, top, high)
        before, within = np.where(wide, start, before), np.where(wide, reached[groups, last] - start, within)
    tied = low == high
    taken = real & (keys >= low) & (keys <= high) & ~tied
    found = folds.fold(APPEND, lambda: np.stack([np.nonzero(taken)[1].astype(np.uint64), keys[taken]], 1)).value
    group, key = found[np.lexsort((found[:, 1], found[:, 0]))].T
    start = np.searchsorted(group, groups.astype(np.uint64))
    at = np.clip(start + ranks - before, 0, max(len(key) - 1, 0))
    wanted = np.where(tied, low, key[at] if len(key) else np.uint64(0))
    return np.where(np.asarray(n) > 0, _values(wanted), np.nan)


def _keys(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Whole numbers in the order of the values."""
    bits = np.ascontiguousarray(values + 0.0).view(np.uint64)  # -0 is 0
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def _values(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    bits = np.where(keys & _SIGN, keys & ~_SIGN, ~keys)
    return np.ascontiguousarray(bits).view(np.float64)
