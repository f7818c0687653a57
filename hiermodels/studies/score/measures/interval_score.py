"""How good intervals are: narrow, and rarely wrong by much."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import mean_of_two_ended
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure

__all__ = ["IntervalScore"]


class IntervalScore(PerformanceMeasure):
    """Interval score, mean(width + (2 / alpha) distance of the truth to the interval), alpha = 1 - level; MCSE = sd /
    sqrt(n).

    With ``l`` and ``u`` the ends of a central interval and ``x`` the truth, a replicate scores ``(u - l) + (2 / alpha)
    max(l - x, 0) + (2 / alpha) max(x - u, 0)`` (Gneiting & Raftery 2007, Strictly Proper Scoring Rules, Prediction, and
    Estimation, JASA 102, eq. 43), in the units of the estimand; the smaller the better. The score is proper: its
    expectation over truths and datasets is least for the interval between the posterior's quantiles alpha / 2 and 1 -
    alpha / 2. Intervals with an infinite end are left out.

    Examples
    --------
    >>> s = IntervalScore()(Errors(estimate=[0.0] * 2, true=[0.5, 2.5], lower=[-1.0, -1.0], upper=[2.0, 2.0], interval=0.9))
    >>> round(float(s.value), 3)  # the mean of 3 and 3 + 20 x 0.5
    8.0
    """  # noqa: E501

    name = "interval_score"
    label = "interval score"
    needs = ("interval", "true")
    better = "lower"
    figure = Drawn(
        "interval_score",
        "Mean interval score of the {level:.6g}% intervals: their width, and a penalty where they miss the truth. "
        "Bars are 95% Monte Carlo intervals.",
        7,
    )

    def of(self, errors: Errors) -> Measure:
        with np.errstate(invalid="ignore"):
            missed_by = np.maximum(errors.lower - errors.true, 0.0) + np.maximum(errors.true - errors.upper, 0.0)
            return mean_of_two_ended(errors.upper - errors.lower + 2 / (1 - errors.interval) * missed_by, errors)
