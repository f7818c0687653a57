"""Ranks of groups, draw by draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rank_table"]

_BLOCK = 4_000_000
"""Numbers ranked at a time."""


def rank_table(x: np.ndarray, labels: list[str], highest: bool, prob: float) -> pd.DataFrame:
    """Probability of being best, expected rank and an interval of ranks for each group.

    Parameters
    ----------
    x : ndarray, shape (draw, group)
        Draws of the groups' values; groups that agree in a draw share the mean of their ranks.
    labels : list of str
    highest : bool
        Whether rank 1 is the highest value.
    prob : float
        Probability of the interval.

    Returns
    -------
    DataFrame
        Columns ``p_best expected_rank sd_rank rank_lb rank_ub``, a row a group.

    Examples
    --------
    >>> import numpy as np
    >>> rank_table(np.array([[1.0, 2.0], [1.0, 3.0], [5.0, 4.0]]), ["a", "b"], True, 0.5)["expected_rank"].round(3).tolist()
    [1.667, 1.333]
    """  # noqa: E501
    import pandas as pd

    ranks = np.empty(x.shape, np.float32)
    best = np.zeros(x.shape[1])
    step = max(1, _BLOCK // x.shape[1])
    for start in range(0, len(x), step):
        part = _ranks(-x[start : start + step] if highest else x[start : start + step])
        ranks[start : start + step] = part
        first = part == part.min(axis=1, keepdims=True)
        best += (first / first.sum(axis=1, keepdims=True)).sum(axis=0)
    tail = (1 - prob) / 2
    ends = [np.quantile(ranks[:, k : k + 1024], [tail, 1 - tail], axis=0) for k in range(0, x.shape[1], 1024)]
    lower, upper = np.concatenate(ends, axis=1)
    spread = ranks.std(axis=0, ddof=1, dtype=float)
    table = {
        "p_best": best / len(x),
        "expected_rank": ranks.mean(axis=0, dtype=float),
        "sd_rank": spread,
        "rank_lb": lower,
        "rank_ub": upper,
    }
    return pd.DataFrame(table, index=labels)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Ranks within rows from 1 upwards, means of ranks where values agree."""
    order = np.argsort(x, axis=1, kind="stable")
    ordered = np.take_along_axis(x, order, axis=1)
    found = np.empty(x.shape)
    if (ordered[:, 1:] > ordered[:, :-1]).all():
        np.put_along_axis(found, order, np.broadcast_to(np.arange(1.0, x.shape[1] + 1), x.shape), axis=1)
        return found
    from scipy import stats

    return stats.rankdata(x, axis=1)
