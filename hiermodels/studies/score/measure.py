"""A measure of performance: its formula, what it needs of an answer, and its words.

An answer of a method to one dataset has parts (`Errors.known`): a point estimate, a standard error, an interval, a
rank. They may be missing separately, so each measure names those that it needs, and uses the replicates that have them.
Whatever tables, reports and figures say or do about a measure, they read off it; nothing asks for its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.montecarlo import Measure, undefined

if TYPE_CHECKING:
    from hiermodels.studies.score.folds import Fold

__all__ = ["Drawn", "PerformanceMeasure"]

NO_REPLICATE = "no replicate is left"
INCOMPLETE = "no replicate has all that it needs for every group"
NEVER_TOGETHER = "no replicate has all that it needs"
ABSENT = {
    "estimate": "the method gives no point estimate, or its moment does not exist",
    "true": "the truth is not known: the mechanism that simulates has no such parameter",
    "se": "no standard error, as the posterior has no second moment or the method gives none",
    "interval": "the method gives no interval",
    "rank": "the method has no draws to rank the truth among",
    "reference": "the reference method does not have this estimand, or no replicate in common",
}
"""Why a measure is undefined, by the part of an answer that is never there."""


class Drawn(NamedTuple):
    """The figure of a measure in a report.

    Attributes
    ----------
    stem : str
        Of the file.
    words : str
        Begin the caption; ``{level}`` is the level of the intervals in percent.
    place : int
        Among the figures, the first is 1.
    plot : str
        Function of `hiermodels.reporting.plots` that draws it from the table of performance.
    along : (str, str), optional
        The function, and the caption, where a numeric factor varies.
    """

    stem: str
    words: str
    place: int
    plot: str = "plot_measure"
    along: tuple[str, str] | None = None


class PerformanceMeasure(ABC):
    """A measure of performance; called with `Errors` it gives a `Measure`, restricted to the replicates that have what
    it needs.

    Attributes
    ----------
    name : str
        Its code.
    label : str
        Its words in tables and figures.
    needs : tuple of str
        Parts of an answer, as in `Errors.known`.
    share : bool
        A share of replicates, in which failed fits count under ``errors.worst``: incomplete replicates are then used
        too. It has Wilson's interval, and figures show percentages.
    over_groups : bool
        It exists only for the average over groups.
    better : str
        The good direction: ``lower``, ``higher``, ``zero``, ``level`` (that of the interval), or empty where there is
        none.
    line : float or None
        Where figures draw a line, unless told otherwise.
    figure : Drawn or None
        Its figure in a report, where there is one.
    overview : int
        Its rank among the measures of which a report shows one over every combination of factors; 0: never.
    default : bool
        Asked for where a study asks for none; a comparison, where there are several methods.
    beside : str
        Measure that compares methods in its stead, set beside it in the table on common replicates.
    by_ranks : str
        It reads quantiles of draws, which few draws bias; the measure that is free of that.
    """

    name: ClassVar[str]
    label: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    share: ClassVar[bool] = False
    over_groups: ClassVar[bool] = False
    better: ClassVar[str] = ""
    line: ClassVar[float | None] = None
    figure: ClassVar[Drawn | None] = None
    overview: ClassVar[int] = 0
    default: ClassVar[bool] = False
    beside: ClassVar[str] = ""
    by_ranks: ClassVar[str] = ""

    @abstractmethod
    def of(self, errors: Errors) -> Measure:
        """Value, Monte Carlo standard error and interval, of errors in which every present answer has all that is
        needed.
        """

    @property
    def paired(self) -> bool:
        """Whether it compares with a reference method, replicate by replicate."""
        return "reference" in self.needs

    @property
    def decides(self) -> bool:
        """Whether it counts decisions."""
        return "decision" in self.needs

    def __call__(self, errors: Errors) -> Measure:
        """The measure; undefined, with the reason, where it stands on nothing."""
        seen = self.seen(errors)
        counted = errors.some(lambda: seen.present | seen.failed if self.share and errors.worst else seen.present)
        explained = _explained(errors, self.needs, counted)
        return explained(self.of(seen))

    def seen(self, errors: Errors) -> Errors:
        """The errors with the replicates that it stands on."""
        return errors.having(self.needs, whole=not (self.share and errors.worst))


def _explained(errors: Errors, parts: Sequence[str], counted: Fold) -> Callable[[Measure], Measure]:
    """Makes a measure undefined, with the reason, where it stands on nothing or the method never gives a part."""
    some = errors.some(lambda: errors.present & errors.kept)
    known = [errors.some(lambda part=part: errors.known(part) & errors.present & errors.kept) for part in parts]  # type: ignore[misc]

    def explained(measure: Measure) -> Measure:
        left, empty = some.value, ~counted.value
        empty = empty.all() if errors.average else empty
        measure = undefined(measure, empty & ~left.any(-1) if errors.average else empty & ~left, NO_REPLICATE)
        for part, there in zip(parts, known, strict=True):
            never = ~there.value
            word = part if part != "decision" else "interval" if errors.cut is None else "estimate"
            measure = undefined(measure, left & ((left.any() and never.all()) | (never & empty)), ABSENT[word])
        return undefined(measure, empty, INCOMPLETE if errors.average else NEVER_TOGETHER)

    return explained
