"""Against a reference method, on the same replicates."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import (
    STILL,
    influences,
    mean,
    mse_ratio_of,
    ratio_of,
    reference_error,
    root,
    spreads,
    two_at_least,
    with_ratio,
)
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, estimate, estimate_with, mean_over

__all__ = ["MSEDifference", "MSERatio", "RMSERatio", "RelativePrecision"]

NO_ERROR = "the reference method has no error"


class MSERatio(PerformanceMeasure):
    """MSE of the method over that of the reference method on the same replicates.

    ``MCSE = R sqrt(sum_i (psi_i / MSE - phi_i / MSE_ref)^2)`` (delta method; psi and phi the influences on
    the two MSEs, so that what the methods share on a dataset cancels).
    """

    name = "mse_ratio"
    label = "MSE relative to the reference"
    needs = ("estimate", "true", "reference")
    better = "lower"

    def of(self, errors: Errors) -> Measure:
        ratio = mse_ratio_of(errors)
        return with_ratio(estimate_with(ratio, floor=0.0), ratio, NO_ERROR)


class RMSERatio(PerformanceMeasure):
    """Root of `mse_ratio`: RMSE of the method over that of the reference, MCSE = MCSE(ratio) / (2 root)."""

    name = "rmse_ratio"
    label = "RMSE relative to the reference"
    needs = ("estimate", "true", "reference")
    better = "lower"
    default = True
    figure = Drawn(
        "rmse_ratio",
        "Root mean squared error of each method relative to the reference method's, paired by replicate.",
        3,
        "plot_rmse_ratio",
    )

    def of(self, errors: Errors) -> Measure:
        ratio = mse_ratio_of(errors)
        return with_ratio(root(ratio), ratio, NO_ERROR)


class MSEDifference(PerformanceMeasure):
    """MSE of the method minus the reference's on the same replicates; MCSE = sd(e^2 - e_ref^2) / sqrt(n)."""

    name = "mse_diff"
    label = "difference of MSE to the reference"
    needs = ("estimate", "true", "reference")
    better = "lower"

    def of(self, errors: Errors) -> Measure:
        return mean(errors.error**2 - reference_error(errors) ** 2, errors)


class RelativePrecision(PerformanceMeasure):
    """Gain in precision over the reference method A, in percent: 100 ((EmpSE_A / EmpSE)^2 - 1).

    MCSE = 200 (EmpSE_A / EmpSE)^2 sqrt((1 - rho^2) / (n - 1)) with rho the correlation of the two methods'
    errors (normal theory); with ``errors.robust``, and for averages over groups, the delta method on the
    paired squares.
    """

    name = "relprec"
    label = "gain in precision, %"
    needs = ("estimate", "true", "reference")
    better = "higher"
    line = 0.0

    def of(self, errors: Errors) -> Measure:
        two = two_at_least(errors)
        own, other = errors.error, reference_error(errors)
        centres = [influences(values, errors) for values in (own, other)]
        a, b = spreads(errors, other, own)
        cross = (
            None
            if errors.robust or errors.average
            else mean_over((own - centres[0].value) * (other - centres[1].value), errors)
        )
        ratio = ratio_of(a, b)
        value = 100 * (ratio.value - 1)
        if cross is None:
            measure = estimate_with(ratio._replace(value=value, psi=100 * ratio.psi), floor=-100.0)
        else:
            with np.errstate(all="ignore"):
                rho2 = (cross.value * ratio.n / (ratio.n - 1)) ** 2 / (a.value * b.value)
                rho2 = np.where(rho2 > 1 - 1e-12, 1.0, rho2)[()]  # of equal errors, up to rounding
                mcse = 200 * ratio.value * np.sqrt((1 - rho2) / (ratio.n - 1))
            measure = estimate(value, mcse, ratio.n, floor=-100.0)
        return two(with_ratio(measure, ratio, STILL))
