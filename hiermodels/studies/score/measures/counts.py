"""How many replicates there are."""

from __future__ import annotations

import numpy as np

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.montecarlo import Measure, estimate

__all__ = ["NSim"]


class NSim(PerformanceMeasure):
    """Number of replicates with an answer that are not left out.

    Averaged over groups: replicates in which every group has one. It has no Monte Carlo error. What a measure stands on
    is in its own row: column ``n`` of the table.

    Examples
    --------
    >>> int(NSim()(Errors(estimate=[1.0, float("nan"), 3.0], true=[1.0, 1.0, 1.0])).value)
    2
    """

    name = "nsim"
    label = "replicates used"

    def of(self, errors: Errors) -> Measure:
        present = errors.present.any(-1) if errors.average else errors.present
        count = errors.fold(np.add, lambda: present).value
        return estimate(count.astype(float), np.full(np.shape(count), np.nan)[()], count)
