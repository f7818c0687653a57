"""Where estimates and standard errors lie."""

from __future__ import annotations

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import mean, median
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure

__all__ = ["Se2Mean", "Se2Median", "ThetaMean", "ThetaMedian"]


class ThetaMean(PerformanceMeasure):
    """Mean of the point estimates; MCSE sd / sqrt(n)."""

    name = "thetamean"
    label = "mean estimate"
    needs = ("estimate",)

    def of(self, errors: Errors) -> Measure:
        return mean(errors.estimate, errors)


class ThetaMedian(PerformanceMeasure):
    """Median of the point estimates, with a distribution-free interval from order statistics.

    The interval runs between the order statistics of ranks ``n/2 -+ 1.96 sqrt(n)/2``; MCSE = its width / (2 x
    1.96).
    """

    name = "thetamedian"
    label = "median estimate"
    needs = ("estimate",)

    def of(self, errors: Errors) -> Measure:
        return median(errors.estimate, errors)


class Se2Mean(PerformanceMeasure):
    """Mean of the squared standard errors (posterior variances); MCSE sd / sqrt(n)."""

    name = "se2mean"
    label = "mean squared standard error"
    needs = ("se",)

    def of(self, errors: Errors) -> Measure:
        return mean(errors.se**2, errors, floor=0.0)


class Se2Median(PerformanceMeasure):
    """Median of the squared standard errors (posterior variances); interval and MCSE as for `thetamedian`."""

    name = "se2median"
    label = "median squared standard error"
    needs = ("se",)

    def of(self, errors: Errors) -> Measure:
        return median(errors.se**2, errors)
