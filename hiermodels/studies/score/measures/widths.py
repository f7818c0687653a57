"""How wide intervals are."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import mean_of_two_ended
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure

__all__ = ["IntervalWidth"]


class IntervalWidth(PerformanceMeasure):
    """Mean width of the interval, mean(upper - lower), of those with two finite ends; MCSE = sd / sqrt(n)."""

    name = "ciwidth"
    label = "interval width"
    needs = ("interval",)
    better = "lower"
    figure = Drawn("ciwidth", "Mean width of the intervals. Bars are 95% Monte Carlo intervals.", 4)

    def of(self, errors: Errors) -> Measure:
        with np.errstate(invalid="ignore"):
            return mean_of_two_ended(errors.upper - errors.lower, errors)
