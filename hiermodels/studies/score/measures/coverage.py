"""How often intervals hold the truth."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.functions import BOUNDARY, always, coverage, influences
from hiermodels.studies.score.measure import Drawn, PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, share_over, undefined

__all__ = ["BiasEliminatedCover", "Cover", "RankCover"]


class Cover(PerformanceMeasure):
    """Coverage, the share with lower <= true <= upper; MCSE = sqrt(C (1 - C) / n), Wilson's interval.

    Undefined where the truth is on the boundary of the space (a group sd of 0) and every interval has both
    ends inside.

    Examples
    --------
    >>> c = Cover()(Errors(estimate=[0.0] * 4, true=[0.0] * 4, lower=[-1, -1, -1, 1], upper=[2, 2, 2, 2]))
    >>> float(c.value), round(float(c.lower), 3), round(float(c.upper), 3)
    (0.75, 0.301, 0.954)
    """

    name = "cover"
    label = "coverage"
    needs = ("interval", "true")
    share = True
    better = "level"
    default = True
    overview = 3
    by_ranks = "rank_cover"
    figure = Drawn(
        "coverage",
        "Coverage of the {level:.6g}% intervals; the dashed line is the nominal level. Bars are 95% Monte Carlo "
        "intervals.",
        1,
    )

    def of(self, errors: Errors) -> Measure:
        return coverage(errors)


class BiasEliminatedCover(PerformanceMeasure):
    """Bias-eliminated coverage: lower - bias <= true <= upper - bias; MCSE and interval as for `cover`."""

    name = "becover"
    label = "bias-eliminated coverage"
    needs = ("interval", "estimate", "true")
    share = True
    better = "level"

    def of(self, errors: Errors) -> Measure:
        return coverage(errors, influences(errors.error, errors))


class RankCover(PerformanceMeasure):
    """Coverage of the central interval by ranks: free of the bias that few draws bring into quantiles.

    With the truth at rank r among L draws, ``[r, r + 1] / (L + 1)`` is its cell of the unit interval; a
    replicate contributes the share of that cell within the central `interval`: 0 or 1, fractional in the two
    cells that the ends cut. Its expectation is exactly `interval` if ranks are uniform, whatever L; a 95%
    interval between interpolated quantiles of L independent draws covers .95 (L - 1) / (L + 1) instead.
    """

    name = "rank_cover"
    label = "rank-based coverage"
    needs = ("rank", "true")
    share = True
    better = "level"

    def of(self, errors: Errors) -> Measure:
        tail = (1 - errors.interval) / 2
        cells = errors.max_rank + 1
        with np.errstate(all="ignore"):
            overlap = np.minimum(errors.rank + 1, (1 - tail) * cells) - np.maximum(errors.rank, tail * cells)
        low, high = errors.support
        below = always(errors, lambda: (errors.true == low) & (errors.rank == 0))
        above = always(errors, lambda: (errors.true == high) & (errors.rank == errors.max_rank))
        measure = share_over(np.clip(overlap, 0.0, 1.0), errors)
        return undefined(measure, below() | above(), BOUNDARY)
