"""Estimates that are off on average."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import ends, influences, mean, relative
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Z95, Measure, estimate, undefined

__all__ = ["Bias", "PercentBias", "RelativeBias", "RmsBias"]


class Bias(PerformanceMeasure):
    """Bias, mean(e); MCSE = sd(e) / sqrt(n).

    With sd(estimate) in its place, as in rsimsum's ``R/performance.R``, the MCSE would be wrong wherever the
    truth varies between replicates.

    Examples
    --------
    >>> b = Bias()(Errors(estimate=[1.0, 3.0, 2.0, 6.0], true=[1.0, 2.0, 3.0, 4.0]))
    >>> round(float(b.value), 3), round(float(b.mcse), 3)
    (0.5, 0.645)
    """

    name = "bias"
    label = "bias"
    needs = ("estimate", "true")
    better = "zero"
    line = 0.0
    default = True
    figure = Drawn("bias", "Bias. Bars are 95% Monte Carlo intervals.", 2)

    def of(self, errors: Errors) -> Measure:
        return mean(errors.error, errors)


class RelativeBias(PerformanceMeasure):
    """Relative bias, mean(e / true); MCSE = sd(e / true) / sqrt(n).

    Undefined where a truth is 0, and where truths change sign between replicates (the ratio then has no
    mean).
    """

    name = "rbias"
    label = "relative bias"
    needs = ("estimate", "true")
    better = "zero"
    line = 0.0

    def of(self, errors: Errors) -> Measure:
        true = np.where(errors.present, errors.true, np.nan)
        above, below = errors.some(lambda: true > 0), errors.some(lambda: true < 0)
        measure = relative(true, 1.0, errors)
        return undefined(measure, above.value & below.value, "the truth changes sign between replicates")


class PercentBias(PerformanceMeasure):
    """Bias in percent of the truth, 100 bias / true; MCSE = 100 sd(e) / (sqrt(n) abs(true)).

    Undefined at a truth of 0, and where the truth varies between replicates (`rbias` may be meant).
    """

    name = "pctbias"
    label = "bias, % of the truth"
    needs = ("estimate", "true")
    better = "zero"
    line = 0.0

    def of(self, errors: Errors) -> Measure:
        true = np.where(errors.present, errors.true, np.nan)
        least, most = ends(true, errors)
        measure = relative(true, 100.0, errors)
        with np.errstate(all="ignore"):
            return undefined(
                measure, most.value > least.value, "the truth varies between replicates; rbias averages e / true"
            )


class RmsBias(PerformanceMeasure):
    """Root mean square, over groups, of the groups' biases, freed of Monte Carlo noise; fixed truths only.

    ``sqrt(max(0, Q))`` with ``Q = mean_g(bias_g^2 - mcse_g^2)``: without the second term the measure would be
    positive for an unbiased method. Q has the variance ``(4 b' S b + 2 tr(S S)) / G^2`` with b the biases and
    S the covariance of their estimates, replicates as the unit; the interval is that of Q, cut at 0, on the
    scale of the root, and the MCSE half the width of the same interval at one standard error (for a clear
    bias the delta method's sd(Q) / (2 sqrt(Q))).
    """

    name = "rms_bias"
    label = "root mean square bias over groups"
    needs = ("estimate", "true")
    better = "lower"
    line = 0.0
    over_groups = True

    def of(self, errors: Errors) -> Measure:
        if not errors.average:
            raise ValueError(
                "rms_bias: an average over groups; give Errors(..., average=True) with arrays (replicate, group)"
            )
        per_group = influences(errors.error, errors)
        replicates = errors.fold(np.add, lambda: errors.present.any(-1))
        if not errors.fixed:
            return undefined(
                estimate(np.nan, np.nan, replicates.value),
                True,
                "biases of groups need truths that are fixed in every replicate",
            )
        b, psi, groups = per_group.value, per_group.psi, errors.present.shape[-1]
        with np.errstate(all="ignore"):
            slope = errors.fold(np.add, lambda: np.square(psi @ b))
            gram = errors.fold(np.add, lambda: (psi.T @ psi)[None])
            q = np.mean(b**2 - per_group.mcse**2)
            sd = np.sqrt(4 * slope.value + 2 * np.square(gram.value).sum()) / groups
            low, high, lower, upper = np.sqrt(np.maximum(q + sd * np.array([-1.0, 1.0, -Z95, Z95]), 0.0))
            measure = Measure(np.sqrt(np.maximum(q, 0.0)), (high - low) / 2, lower, upper, n=replicates.value)
        return undefined(measure, np.isnan(q) & (measure.n > 0), "fewer than two replicates with an estimate")
