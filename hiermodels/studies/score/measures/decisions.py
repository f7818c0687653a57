"""How often decisions fire."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import always
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, share_over, undefined

__all__ = ["Power", "TypeOneError"]

EXCLUDED = "0 is on the boundary of the space, which an interval with two ends inside it always excludes"
ONE_SIDED = (
    "the interval has one end, on the side of the truth away from 0, so it never excludes 0; "
    "take an interval with two ends, or a probability such as P(x > 0)"
)


class Power(PerformanceMeasure):
    """Share of replicates whose decision fires; MCSE = sqrt(P (1 - P) / n), Wilson's interval.

    For an estimand that is itself a posterior probability (``errors.cut`` given): estimate > cut. Else: the
    credible interval excludes 0; undefined where 0 is on the boundary of the estimand's space, and where intervals have
    one end, on the far side of a truth that is not 0.
    """

    name = "power"
    label = "power"
    needs = ("decision",)
    share = True
    better = "higher"
    figure = Drawn(
        "power",
        "Share of replicates whose decision fires.",
        5,
        along=(
            "plot_power",
            "Share of replicates whose decision fires; the dashed line is a power of 80%. Bars are 95% Monte Carlo "
            "intervals.",
        ),
    )

    def of(self, errors: Errors) -> Measure:
        if errors.cut is not None:
            return share_over((errors.estimate > errors.cut).astype(float), errors)
        low, high = errors.support
        lower, upper, true = errors.lower, errors.upper, errors.true
        above, below = always(errors, lambda: lower > 0), always(errors, lambda: upper < 0)
        blind = [
            always(errors, lambda: (lower == -np.inf) & (true > 0)),
            always(errors, lambda: (upper == np.inf) & (true < 0)),
        ]
        measure = share_over(((lower > 0) | (upper < 0)).astype(float), errors)
        at_the_edge = ((low == 0) & above()) | ((high == 0) & below())
        return undefined(undefined(measure, at_the_edge, EXCLUDED), blind[0]() | blind[1](), ONE_SIDED)


class TypeOneError(Power):
    """Power where the claim of the decision is false; rows of `hiermodels.studies.score.power`, not asked for by
    name.
    """

    name = "type1"
    label = "type I error"
    better = "lower"
    figure = Drawn(
        "type1",
        "Share of replicates in which a decision fires though its claim is false. Bars are 95% Monte Carlo intervals.",
        6,
    )
