"""Performance measures with their Monte Carlo standard errors.

Each is a `hiermodels.studies.score.measure.PerformanceMeasure`: it is called with `Errors` (one factor cell x method x
estimand) and returns a `Measure`. Codes and estimators are those of Stata's simsum and R's rsimsum (White 2010; Morris,
White & Crowther 2019, table 6), except that every MCSE is computed from errors, estimate - truth, and so holds when the
truth is redrawn in each replicate. `hiermodels.studies.score.scoring` makes the long table of performance from the long
table of estimates.

In the formulas ``e_i = estimate_i - true_i``, n is the number of replicates used, and sd has the divisor n - 1. Each
measure names the parts of an answer that it needs (`Errors.known`), and stands on the replicates that have them: its n.
Averaged over groups these are complete replicates, in which every group has them. Averaged over groups, a mean or a
share is the mean of the groups' values, and whatever is a function of means (`empse`, `rmse`, `modelse`, `relerror`,
`relprec`, ratios) is that function of the averaged means (so `rmse` is the root of the averaged MSE); the replicate,
not the group, is the unit of every MCSE.

The menu: a measure is a class in a file of this folder and one line here.
"""

from __future__ import annotations

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.measures.biases import Bias, PercentBias, RelativeBias, RmsBias
from hiermodels.studies.score.measures.comparisons import MSEDifference, MSERatio, RelativePrecision, RMSERatio
from hiermodels.studies.score.measures.counts import NSim
from hiermodels.studies.score.measures.coverage import BiasEliminatedCover, Cover, RankCover
from hiermodels.studies.score.measures.decisions import Power, TypeOneError
from hiermodels.studies.score.measures.estimates import Se2Mean, Se2Median, ThetaMean, ThetaMedian
from hiermodels.studies.score.measures.interval_score import IntervalScore
from hiermodels.studies.score.measures.spreads import EmpiricalSE, ModelSE, RelativeError, Variance
from hiermodels.studies.score.measures.squares import MSE, RMSE
from hiermodels.studies.score.measures.widths import IntervalWidth
from hiermodels.studies.score.montecarlo import Measure

MENU: dict[str, PerformanceMeasure] = {measure.name: measure for measure in (
    NSim(),
    ThetaMean(),
    ThetaMedian(),
    Se2Mean(),
    Se2Median(),
    Bias(),
    RelativeBias(),
    PercentBias(),
    RmsBias(),
    EmpiricalSE(),
    Variance(),
    MSE(),
    RMSE(),
    MSERatio(),
    MSEDifference(),
    RMSERatio(),
    RelativePrecision(),
    ModelSE(),
    RelativeError(),
    Cover(),
    BiasEliminatedCover(),
    RankCover(),
    Power(),
    IntervalWidth(),
    IntervalScore(),
)}  # fmt: skip
"""Every measure by its code."""

OF_DECISIONS: dict[str, PerformanceMeasure] = {measure.name: measure for measure in (TypeOneError(),)}
"""Measures of a study's ``decisions``, which come without being asked for."""

__all__ = [*MENU]

globals().update(MENU)  # by name; where a file is called as its measure, the measure is meant


class _Other(PerformanceMeasure):
    """A measure of somebody's own table, of which nothing is known but its name."""

    def __init__(self, name: str) -> None:
        self.name = self.label = name  # type: ignore[misc]

    def of(self, errors: Errors) -> Measure:
        """Nothing: it was computed elsewhere."""
        raise ValueError(
            f"{self.name}: expected a measure of the menu, found another; `hiermodels list measures` prints them"
        )


def about(name: str) -> PerformanceMeasure:
    """The measure of rows of a table of performance; what is not on the menu has a name and no more."""
    return MENU.get(name) or OF_DECISIONS.get(name) or _Other(name)


def compared_by(name: str) -> list[str]:
    """Measures in whose stead this one compares methods."""
    return [measure.name for measure in MENU.values() if measure.beside == name]
