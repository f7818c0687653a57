"""What a measure of performance needs of an answer: the replicates that it stands on, and why it may stand on none.

An answer of a method to one dataset has parts (`Errors.known`): a point estimate, a standard error, an interval, a rank. They
may be missing separately, so each measure names those that it needs, and uses the replicates that have them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hiermodels.studies.score.montecarlo import Errors, Measure, undefined

if TYPE_CHECKING:
    from hiermodels.studies.score.folds import Fold

__all__ = ["Menu", "needs", "seen_by"]

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
def needs(*parts: str, share: bool = False) -> Callable[[Callable[[Errors], Measure]], Callable[[Errors], Measure]]:
    """Make a measure of a function of errors: restricted to replicates that have these parts, reasons given where none has.

    Parameters
    ----------
    *parts : str
        As in `Errors.known`.
    share : bool
        A share, in which failed fits count under ``errors.worst``: incomplete replicates are then used too.
    """

    def decorate(function: Callable[[Errors], Measure]) -> Callable[[Errors], Measure]:
        @functools.wraps(function)
        def measure(errors: Errors) -> Measure:
            seen = seen_by(measure, errors)
            counted = errors.some(lambda: seen.present | seen.failed if share and errors.worst else seen.present)
            explained = _explained(errors, parts, counted)
            return explained(function(seen))

        measure.parts, measure.share = parts, share  # type: ignore[attr-defined]
        return measure

    return decorate


def seen_by(measure: Callable[[Errors], Measure], errors: Errors) -> Errors:
    """The errors with the replicates that a measure of the menu stands on."""
    return errors.having(measure.parts, whole=not (measure.share and errors.worst))  # type: ignore[attr-defined]


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


@dataclass(frozen=True)
class Menu:
    """Measures: those asked for, those of the common table alone, and which are averages or comparisons."""

    asked: Mapping[str, Callable[[Errors], Measure]]
    side_by_side: Mapping[str, Callable[[Errors], Measure]]
    over_groups: Set[str]
    paired: Set[str]

    @property
    def all(self) -> dict[str, Callable[[Errors], Measure]]:
        """All of them by name."""
        return {**self.asked, **self.side_by_side}

    @property
    def parts(self) -> list[str]:
        """Parts of an answer that some measure needs."""
        return list(dict.fromkeys(part for function in self.all.values() for part in function.parts))  # type: ignore[attr-defined]

    @property
    def columns(self) -> list[str]:
        """Columns of the estimates that are read; a decision may be on an estimate or an interval, and is told by the truth."""
        of = {"interval": ("lower", "upper"), "rank": ("rank", "max_rank"), "reference": ("estimate",), "decision": ("estimate", "true", "lower", "upper")}
        names = [name for part in self.parts for name in of.get(part, (part,))]
        return list(dict.fromkeys([*names, "n_try", *(("ess_tail",) if "cover" in self.all else ())]))
