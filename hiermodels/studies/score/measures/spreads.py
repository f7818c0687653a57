"""How far estimates spread, and whether standard errors know it."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import (
    STILL,
    influences,
    mean,
    ratio_of,
    root,
    spreads,
    two_at_least,
    with_ratio,
)
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, estimate, estimate_with, mean_over

__all__ = ["EmpiricalSE", "ModelSE", "RelativeError", "Variance"]


class EmpiricalSE(PerformanceMeasure):
    """Empirical standard error, sd(e); MCSE = EmpSE / sqrt(2 (n - 1)).

    For a fixed truth sd(e) is sd(estimate). The MCSE above holds for normal errors (with t errors of 5
    degrees of freedom it is half the true one); with ``errors.robust``, and for averages over groups, it is
    the kurtosis form, MCSE(EmpSE^2) / (2 EmpSE). Averaged over groups: the root of the averaged EmpSE^2.
    """

    name = "empse"
    label = "empirical standard error"
    needs = ("estimate", "true")
    better = "lower"

    def of(self, errors: Errors) -> Measure:
        two = two_at_least(errors)
        (square,) = spreads(errors, errors.error)
        if errors.robust or errors.average:
            return two(root(square))
        with np.errstate(all="ignore"):
            value = np.sqrt(square.value)
            return two(estimate(value, value / np.sqrt(2 * (square.n - 1)), square.n, floor=0.0))


class Variance(PerformanceMeasure):
    """Variance of the errors, mean((e - bias)^2); bias^2 + variance = mse; MCSE by the kurtosis form.

    The divisor is n, so that the decomposition is exact: EmpSE^2 is n / (n - 1) times it. MCSE = sd((e -
    bias)^2) / sqrt(n). Averaged over groups it is the mean of the groups' variances, and averaged squared
    biases plus it are the averaged MSE.
    """

    name = "variance"
    label = "variance"
    needs = ("estimate", "true")
    better = "lower"

    def of(self, errors: Errors) -> Measure:
        return mean(np.square(errors.error - influences(errors.error, errors).value), errors, floor=0.0)


class ModelSE(PerformanceMeasure):
    """Model-based standard error, ModSE = sqrt(mean(se^2)); MCSE = sqrt(Var(se^2) / (4 n ModSE^2))."""

    name = "modelse"
    label = "model standard error"
    needs = ("se",)

    def of(self, errors: Errors) -> Measure:
        return root(mean_over(errors.se**2, errors))


class RelativeError(PerformanceMeasure):
    """Error of the model-based standard error in percent, 100 (ModSE / EmpSE - 1).

    MCSE = 100 (ModSE / EmpSE) sqrt(Var(se^2) / (4 n ModSE^4) + 1 / (2 (n - 1))); with ``errors.robust``, and
    for averages over groups, the second term and its covariance with the first come from the influences
    (delta method).
    """

    name = "relerror"
    label = "error of the model standard error, %"
    needs = ("se", "estimate", "true")
    better = "zero"
    line = 0.0

    def of(self, errors: Errors) -> Measure:
        two = two_at_least(errors)
        model = mean_over(errors.se**2, errors)
        (empirical,) = spreads(errors, errors.error)
        ratio = ratio_of(model, empirical)
        with np.errstate(all="ignore"):
            share = np.sqrt(ratio.value)
            value = 100 * (share - 1)
            if errors.robust or errors.average:
                measure = estimate_with(ratio._replace(value=value, psi=50 * ratio.psi / share), floor=-100.0)
            else:
                normal = (model.mcse / (2 * model.value)) ** 2 + 1 / (2 * (empirical.n - 1))
                measure = estimate(value, 100 * share * np.sqrt(normal), ratio.n, floor=-100.0)
        return two(with_ratio(measure, ratio, STILL))
