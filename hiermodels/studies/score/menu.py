"""The measures that a table of performance has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hiermodels.studies.score.measure import PerformanceMeasure

__all__ = ["Menu"]

_COLUMNS = {
    "interval": ("lower", "upper"),
    "rank": ("rank", "max_rank"),
    "reference": ("estimate",),
    "decision": ("estimate", "true", "lower", "upper"),
}
"""Columns of the estimates that a part of an answer is read from, where it is not its own; a decision may be on an
estimate or an interval, and is told by the truth.
"""


@dataclass(frozen=True)
class Menu:
    """Measures: those asked for, and those of the common table alone."""

    asked: Mapping[str, PerformanceMeasure]
    side_by_side: Mapping[str, PerformanceMeasure]

    @classmethod
    def of(cls, asked: Iterable[PerformanceMeasure], known: Mapping[str, PerformanceMeasure]) -> Menu:
        """The measures asked for; beside those that compare methods by another one, that one."""
        wanted = {measure.name: measure for measure in asked}
        beside = {
            measure.beside: known[measure.beside]
            for measure in wanted.values()
            if measure.beside and measure.beside not in wanted
        }
        return cls(wanted, beside)

    @property
    def all(self) -> dict[str, PerformanceMeasure]:
        """All of them by name."""
        return {**self.asked, **self.side_by_side}

    @property
    def over_groups(self) -> list[str]:
        """Names of those asked for that are averages over groups."""
        return sorted(name for name, measure in self.asked.items() if measure.over_groups)

    @property
    def decides(self) -> bool:
        """Whether decisions are counted."""
        return any(measure.decides for measure in self.all.values())

    @property
    def parts(self) -> list[str]:
        """Parts of an answer that some measure needs."""
        return list(dict.fromkeys(part for measure in self.all.values() for part in measure.needs))

    @property
    def columns(self) -> Sequence[str]:
        """Columns of the estimates that are read."""
        names = [name for part in self.parts for name in _COLUMNS.get(part, (part,))]
        return list(
            dict.fromkeys(
                [*names, "n_try", *(("ess_tail",) if any(measure.by_ranks for measure in self.all.values()) else ())]
            )
        )
