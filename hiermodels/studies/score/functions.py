"""What measures of performance are made of: means, spreads, ratios and shares of errors, with their influences."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.montecarlo import (
    Z95,
    Floats,
    Function,
    Influenced,
    Mean,
    Measure,
    estimate,
    estimate_with,
    mean_over,
    remarked,
    share_over,
    undefined,
)
from hiermodels.studies.score.order import order_statistics

if TYPE_CHECKING:
    from hiermodels.studies.score.folds import Fold

__all__ = [
    "BOUNDARY",
    "STILL",
    "always",
    "coverage",
    "ends",
    "influences",
    "mean",
    "mean_of_two_ended",
    "median",
    "mse_ratio_of",
    "ratio_of",
    "reference_error",
    "relative",
    "root",
    "spreads",
    "two_at_least",
    "with_ratio",
]

BOUNDARY = "the truth is on the boundary of the space, which an interval with two ends inside it never contains"
ENDLESS = "every interval has an infinite end"
SOME_ENDLESS = "intervals with an infinite end are left out, and n counts the others"
STILL = "the errors do not vary"


def always(errors: Errors, condition: Callable[[], Any]) -> Callable[[], Any]:
    """Gives groups in which every estimate that is present meets the condition."""
    not_met, there = errors.some(lambda: ~condition() & errors.present), errors.some(lambda: errors.present)
    return lambda: ~not_met.value & there.value


def ends(values: Floats, errors: Errors) -> tuple[Fold, Fold]:
    """Least and largest value of each group."""
    return errors.fold(np.fmin, lambda: values), errors.fold(np.fmax, lambda: values)


def mean(values: Floats, errors: Errors, floor: float = -np.inf) -> Measure:
    """A measure that is a mean."""
    return estimate_with(mean_over(values, errors), floor=floor)


def mean_of_two_ended(values: Floats, errors: Errors) -> Measure:
    """A mean of numbers that are not negative, of intervals with two finite ends: where an end is infinite, so is the
    number.
    """
    finite = errors.only(np.isfinite(values))
    there, left, endless = (
        errors.some(part)
        for part in (lambda: errors.present, lambda: finite.present, lambda: errors.present & np.isinf(values))
    )
    measure = undefined(mean(values, finite, floor=0.0), there.value & ~left.value, ENDLESS)
    return remarked(measure, endless.value.any() if errors.average else endless.value, SOME_ENDLESS)


def relative(true: Floats, scale: float, errors: Errors) -> Measure:
    """Mean of errors as shares of the truth, undefined at a truth of 0."""
    nothing = errors.some(lambda: true == 0)
    with np.errstate(all="ignore"):
        measure = mean(scale * errors.error / np.where(true == 0, np.nan, true), errors)
    return undefined(measure, nothing.value, "the truth is 0")


def two_at_least(errors: Errors) -> Callable[[Measure], Measure]:
    """Makes a measure undefined on one replicate."""
    count = errors.fold(np.add, lambda: errors.present)
    return lambda measure: undefined(measure, count.value == 1, "fewer than two replicates with an estimate")


def with_ratio(measure: Measure, ratio: Influenced, reason: str) -> Measure:
    """The measure of a ratio, undefined where what it divides by is 0."""
    return undefined(measure, np.isposinf(ratio.value) | (np.isnan(ratio.value) & np.greater(ratio.n, 1)), reason)


def influences(values: Floats, errors: Errors) -> Mean:
    """Means and influences group by group, also when the errors ask for the average."""
    return mean_over(values, errors.replaced(average=False))


def spreads(errors: Errors, *several: Floats) -> list[Mean]:
    """Variances with the divisor n - 1, as means of squares with their influences; 0 where values are all the same, to
    the last bit.
    """
    centres = [influences(values, errors) for values in several]
    reach = [ends(np.where(errors.present, values, np.nan), errors) for values in several]
    found = []
    with np.errstate(all="ignore"):
        for values, centre, (least, most) in zip(several, centres, reach, strict=True):
            squares = np.square(values - centre.value) * (centre.n / (centre.n - 1))
            found.append(mean_over(np.where(least.value == most.value, 0.0 * squares, squares), errors))
    return found


def root(square: Influenced) -> Measure:
    """The root of a mean, or of a function of means."""
    with np.errstate(all="ignore"):
        value = np.sqrt(square.value)
        return estimate_with(Function(value, square.psi / (2 * value), square.n, square.errors), floor=0.0)


def ratio_of(above: Influenced, below: Influenced) -> Function:
    """The ratio of two means, or of functions of them."""
    with np.errstate(all="ignore"):
        ratio = above.value / below.value
        psi = (above.psi - ratio * below.psi) / below.value
    return Function(ratio, psi, above.n, above.errors)


def reference_error(errors: Errors) -> Floats:
    """Errors of the reference method."""
    return errors.reference - errors.true


def mse_ratio_of(errors: Errors) -> Function:
    """MSE over that of the reference method."""
    return ratio_of(mean_over(errors.error**2, errors), mean_over(reference_error(errors) ** 2, errors))


def coverage(errors: Errors, shift: Mean | None = None) -> Measure:
    """Share of intervals, moved by the bias where it is given, that hold the truth; undefined where the truth is on
    the boundary.
    """
    low, high = errors.support
    below = always(errors, lambda: (errors.true == low) & (errors.lower > low))
    above = always(errors, lambda: (errors.true == high) & (errors.upper < high))
    by = 0.0 if shift is None else shift.value
    inside = (errors.lower - by <= errors.true) & (errors.true <= errors.upper - by)
    return undefined(share_over(inside.astype(float), errors), below() | above(), BOUNDARY)


def median(values: Floats, errors: Errors) -> Measure:
    """A median, with a distribution-free interval from order statistics."""
    seen = np.where(errors.present, values, np.nan)
    if errors.average:
        with np.errstate(all="ignore"):
            seen = np.where(errors.present, values, 0.0).sum(-1) / errors.present.sum(-1)
    n = errors.fold(np.add, lambda: np.isfinite(seen)).value
    middle, reach = (n - 1) / 2, Z95 * np.sqrt(n) / 2
    places = np.clip(np.stack([middle, middle - reach, middle + reach]), 0, np.maximum(n - 1, 0))  # from 0
    pair = np.stack([np.floor(places), np.ceil(places)]).astype(int)
    found = order_statistics(seen.reshape(len(seen), -1), pair.reshape(6, -1), np.atleast_1d(n), errors.folds)
    least, most = found.reshape(pair.shape)
    value, lower, upper = least + (places - pair[0]) * (most - least)
    mcse = np.where(n > 1, (upper - lower) / (2 * Z95), np.nan)[()]
    return estimate(value, mcse, n)._replace(lower=lower, upper=upper)
