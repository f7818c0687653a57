"""How wide intervals are."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import mean
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, remarked, undefined

__all__ = ["IntervalWidth"]

ENDLESS = "every interval has an infinite end"
SOME_ENDLESS = "intervals with an infinite end are left out, and n counts the others"


class IntervalWidth(PerformanceMeasure):
    """Mean width of the interval, mean(upper - lower), of those with two finite ends; MCSE = sd / sqrt(n)."""

    name = "ciwidth"
    label = "interval width"
    needs = ("interval",)
    better = "lower"
    figure = Drawn("ciwidth", "Mean width of the intervals. Bars are 95% Monte Carlo intervals.", 4)

    def of(self, errors: Errors) -> Measure:
        with np.errstate(invalid="ignore"):
            width = errors.upper - errors.lower
        finite = errors.only(np.isfinite(width))
        there, left, endless = (errors.some(part) for part in (lambda: errors.present, lambda: finite.present, lambda: errors.present & np.isinf(width)))
        measure = undefined(mean(width, finite, floor=0.0), there.value & ~left.value, ENDLESS)
        return remarked(measure, endless.value.any() if errors.average else endless.value, SOME_ENDLESS)
