"""Errors, squared."""

from __future__ import annotations

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import mean, root
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, mean_over

__all__ = ["MSE", "RMSE"]


class MSE(PerformanceMeasure):
    """Mean squared error, mean(e^2); MCSE = sqrt(sum((e^2 - MSE)^2) / (n (n - 1))).

    Examples
    --------
    >>> m = MSE()(Errors(estimate=[1.0, 3.0, 2.0, 6.0], true=[1.0, 2.0, 3.0, 4.0]))
    >>> round(float(m.value), 3), round(float(m.mcse), 3)
    (1.5, 0.866)
    """

    name = "mse"
    label = "mean squared error"
    needs = ("estimate", "true")
    better = "lower"
    default = True
    beside = "rmse_ratio"
    overview = 2

    def of(self, errors: Errors) -> Measure:
        return mean(errors.error**2, errors, floor=0.0)


class RMSE(PerformanceMeasure):
    """Root mean squared error, sqrt(MSE), or that of the groups' mean MSE; MCSE = MCSE(MSE) / (2 RMSE)."""

    name = "rmse"
    label = "root mean squared error"
    needs = ("estimate", "true")
    better = "lower"
    beside = "rmse_ratio"
    overview = 1

    def of(self, errors: Errors) -> Measure:
        return root(mean_over(errors.error**2, errors))
