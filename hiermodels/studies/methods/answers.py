"""Answers that come from outside, checked for their meaning: estimate, standard error, and the ends of an interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUMBERS", "faults", "there"]

NUMBERS = ("estimate", "se", "lower", "upper")
"""Numbers of an answer, in this order; NaN where there is none."""


def there(numbers: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether there is an answer at all: a point estimate, or an interval.

    Examples
    --------
    >>> nan = float("nan")
    >>> there(np.array([[1.0, nan, nan, nan], [nan, nan, 0.0, 2.0], [nan, 1.0, nan, nan]])).tolist()
    [True, True, False]
    """
    return np.isfinite(numbers[..., 0]) | ~np.isnan(numbers[..., 2:]).any(-1)


def faults(numbers: NDArray[np.float64], support: NDArray[np.float64]) -> dict[int, str]:
    """What is wrong with answers, by their place; the first fault of each.

    Parameters
    ----------
    numbers : array, shape (answer, 4)
        As in `NUMBERS`.
    support : array, shape (answer, 2)
        Least and largest value of each answer's estimand.

    Examples
    --------
    >>> faults(np.array([[1.0, 0.5, 0.0, 2.0], [1.0, 0.5, 2.0, 0.0]]), np.array([[-np.inf, np.inf]] * 2))
    {1: 'expected lower <= upper, found 2 and 0; exchange them'}
    """
    estimate, se, lower, upper = np.moveaxis(numbers, -1, 0)
    low, high = np.moveaxis(support, -1, 0)
    checks = (
        (
            np.isinf(estimate),
            lambda i: f"expected a finite estimate, found {estimate[i]:g}; leave it empty where there is none",
        ),
        (
            np.isinf(se) | (se < 0),
            lambda i: f"expected a finite se of at least 0, found {se[i]:g}; leave it empty where there is none",
        ),
        (
            np.isnan(lower) != np.isnan(upper),
            lambda i: (
                "expected both ends of the interval, found one; write -inf or inf for an end that it does not have"
            ),
        ),
        (lower > upper, lambda i: f"expected lower <= upper, found {lower[i]:g} and {upper[i]:g}; exchange them"),
        (
            (estimate < low) | (estimate > high),
            lambda i: (
                f"expected an estimate from {low[i]:g} to {high[i]:g}, found {estimate[i]:g}; is it on another scale?"
            ),
        ),
    )
    found: dict[int, str] = {}
    for wrong, said in checks:
        for i in np.flatnonzero(wrong).tolist():
            found.setdefault(i, said(i))
    return dict(sorted(found.items()))
