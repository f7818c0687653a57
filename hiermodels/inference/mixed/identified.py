"""Designs on which some parameter of a normal model has no estimate, whatever the outcome."""

from __future__ import annotations

import numpy as np

from hiermodels.models.problem import Problem
from hiermodels.models.told_apart import untold

__all__ = ["check_identified", "spans"]

_OUTSIDE = 1e-8
"""Share of its length that a column within the span of others may have outside it."""
_DEPENDENT = 1e-9
"""Share of its length by which a column must differ from combinations of those before it."""


def check_identified(problem: Problem) -> None:
    """Refuse predictors that are combinations of others, too few rows or groups, and variances that cannot be told
    apart.

    Raises
    ------
    ValueError
        Naming the predictor, the grouping or the variances.
    """
    layout, data = problem.layout, problem.data
    rows = np.asarray(data.weight) > 0
    names = [layout.columns[c] for c in layout.population]
    if (name := _dependent(np.asarray(data.x)[rows][:, list(layout.population)], names)) is not None:
        raise ValueError(
            f"formula {problem.model.formula!r}: predictor {name!r} is zero or a combination of those before it in "
            f"every row, so that "
            "its coefficient has no estimate; drop it"
        )
    if not layout.known and rows.sum() <= len(names):
        raise ValueError(
            f"data: expected more rows than coefficients, found {rows.sum()} rows and {len(names)}; add rows or drop "
            f"predictors"
        )
    for level in layout.levels:
        count = len(problem.labels[level.name])
        if count < 2:
            raise ValueError(
                f"{level.name}: expected at least 2 groups, found {count}; a spread between groups needs more, drop "
                f"the term"
            )
    left = untold(layout, data)
    if left.alone:
        scale = left.alone[0]
        raise ValueError(
            f"{scale.name}: the coefficients can follow each of the {scale.units} {scale.unit}, so that the data say "
            f"nothing about it; "
            "drop predictors or that group term"
        )
    if left.together:
        some = [scale.name for scale in left.together[0]]
        raise ValueError(
            f"{', '.join(some[:-1])} and {some[-1]} cannot be told apart on this design (one row for each group, or "
            f"groupings that are "
            "the same); drop one of these terms"
        )


def spans(x: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether every column of ``wanted`` is a combination of the columns of ``x``.

    Examples
    --------
    >>> spans(np.array([[1.0], [2.0]]), np.array([[3.0], [6.0]])), spans(np.zeros((2, 0)), np.ones((2, 1)))
    (True, False)
    """
    size = np.linalg.norm(x, axis=0)
    scaled = x / np.where(size > 0, size, 1.0)
    left = wanted - scaled @ np.linalg.lstsq(scaled, wanted, rcond=None)[0]
    return bool(np.all(np.linalg.norm(left, axis=0) <= _OUTSIDE * np.linalg.norm(wanted, axis=0)))


def _dependent(x: np.ndarray, names: list[str]) -> str | None:
    """The first column that those before it combine to."""
    if not x.shape[1]:
        return None
    size = np.linalg.norm(x, axis=0)
    if (size == 0).any():
        return names[int(np.argmax(size == 0))]
    diagonal = np.abs(np.diag(np.linalg.qr(x / size, mode="r")))
    if (diagonal < _DEPENDENT).any():
        return names[int(np.argmax(diagonal < _DEPENDENT))]
    return names[len(diagonal)] if len(diagonal) < len(names) else None
