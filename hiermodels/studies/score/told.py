"""What the reader of a table of performance must know: why values are missing, and how many replicates stand behind
them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hiermodels.studies.score.montecarlo import Measure

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.studies.score.menu import Menu

__all__ = ["CONDITIONAL", "PARTS", "Told"]

CONDITIONAL = 0.05
"""Share of the replicates that a method may lack before comparisons are said to be conditional on it."""
_MOST = 6
"""Names in a list, at most."""
PARTS = {"estimate": "Point estimates", "se": "Standard errors", "interval": "Intervals"}
"""Parts of an answer, as they are called in notes."""


class Told:
    """Collects what is to be said while blocks are scored, one after the other.

    Parameters
    ----------
    menu : Menu
    factors : sequence of str
    """

    def __init__(self, menu: Menu) -> None:
        self.menu = menu
        self.reasons: dict[tuple[str, str, bool], dict[str, set[int]]] = {}
        self.lost: dict[str, dict[str, float]] = {}
        self.incomplete: dict[str, tuple[int, int]] = {}
        self.parts: dict[str, dict[str, tuple[int, int]]] = {}
        self.compared: dict[str, tuple[int, int, int, int]] = {}
        self.averages: set[str] = set()
        self.cells: set[int] = set()

    def now(self, cell: int, estimand: str, method: str) -> None:
        """Name the block whose measures come next."""
        self.cell, self.estimand, self.method = cell, estimand, method
        self.who = f"{estimand} ({method})"
        self.cells.add(cell)

    def measured(self, name: str, measure: Measure, counts: Any, *, average: bool) -> None:
        """Take note of a measure of the block, or of the average of its groups, and of the counts beside it."""
        if name not in self.menu.asked:
            return
        if average and self.menu.asked[name].over_groups:
            self.averages.add(name)
        for note in filter(None, np.unique(measure.note).tolist()):
            undefined = bool(np.isnan(measure.value)[np.asarray(measure.note) == note].any())
            self.reasons.setdefault((name, note, undefined), {}).setdefault(self.estimand, set()).add(self.cell)
        if average:
            _least(self.incomplete, self.who, int(measure.n), int(counts.n_sim))
        elif self.menu.asked[name].paired:
            self._compare(measure, counts)

    def block(self, known: Mapping[str, NDArray[np.int64]], given: Collection[str]) -> None:
        """Take note of parts of answers that a block's method gives in some replicates only.

        Parameters
        ----------
        known : mapping of str to array, shape (group,)
            Answers that have a part; as ``tried``, fits attempted, and as ``present``, answers.
        given : collection of str
            Parts that the method gives at all.
        """
        for part in PARTS:
            if part in known and part in given and (known[part] < known["present"]).any():
                group = int(np.argmin(known[part]))
                _least(self.parts.setdefault(part, {}), self.who, int(known[part][group]), int(known["tried"][group]))

    def _compare(self, measure: Measure, counts: Any) -> None:
        n, of = np.atleast_1d(measure.n), np.atleast_1d(counts.n_sim)
        group = int(np.argmin(n / np.maximum(of, 1)))
        found = (
            int(n[group]),
            int(of[group]),
            int(np.atleast_1d(counts.own)[group]),
            int(np.atleast_1d(counts.other)[group]),
        )
        old = self.compared.get(self.method)
        if found[0] and (old is None or found[0] * old[1] < old[0] * found[1]):
            self.compared[self.method] = found

    def few_draws(self, name: str, loss: float) -> None:
        """Take note of the coverage that a measure of the block loses by few draws."""
        lost = self.lost.setdefault(name, {})
        lost[self.who] = max(lost.get(self.who, 0.0), loss)

    def notes(self, cells: pd.DataFrame, reference: str, nominal: float, *, flagged: bool) -> list[str]:
        """Everything, a sentence a note.

        Parameters
        ----------
        cells : DataFrame
            Factor values, a row a cell.
        reference : str
            Method that others are compared with.
        nominal : float
            Level of the intervals.
        flagged : bool
            Flagged fits were left out.
        """
        notes = []
        if flagged:
            notes.append("Flagged fits are left out, which conditions on convergence: compare with the full table.")
        if self.parts:
            parts = "; ".join(f"{PARTS[part]}: {_counts(found)}" for part, found in self.parts.items())
            notes.append(
                f"Some answers lack a part that their method gives elsewhere. {parts}. Column n counts what each "
                f"value stands on."
            )
        if short := {who: pair for who, pair in self.incomplete.items() if pair[0] < pair[1]}:
            notes.append(f"Rows [mean] stand on complete replicates, in which no group is missing: {_counts(short)}.")
        if any(measure.paired for measure in self.menu.asked.values()):
            notes.append(self._comparison(reference))
        for (measure, reason, undefined), estimands in self.reasons.items():
            places = _listed([name + self._where(cells, found) for name, found in estimands.items()], "; ")
            notes.append(f"{measure} {'is NA for' if undefined else 'of'} {places}: {reason}.")
        for name in self.menu.over_groups:
            if name not in self.averages:
                notes.append(f"{name} has no row: it is an average over groups, and no estimand here has any.")
        return [*notes, *self._bias_note(nominal)]

    def _comparison(self, reference: str) -> str:
        parts, less = [], []
        for method, (n, of, own, other) in self.compared.items():
            if n == of:
                continue
            parts.append(f"{method!r} on {n:,} of {of:,}")
            less += [name for name, have in ((method, own), (reference, other)) if have < (1 - CONDITIONAL) * of]
        text = f"Comparisons are with method {reference!r}, paired by replicate"
        if not parts:
            return f"{text}."
        text = f"{text}, on the replicates that both methods have: at the least {_listed(parts)}."
        if less:
            names = _listed([repr(name) for name in dict.fromkeys(less)], " and ")
            text += (
                f" More than {100 * CONDITIONAL:g}% are missing from {names}: such a comparison is conditional "
                f"on having an estimate there."
            )
        return text

    def _bias_note(self, nominal: float) -> list[str]:
        notes = []
        for name, lost in self.lost.items():
            worst = max(lost.values())
            notes.append(
                f"Few draws bias {name} of {', '.join(lost)}: at a tail ESS of {2 * nominal / worst - 1:.0f} an "
                f"interval between "
                f"sample quantiles covers {nominal - worst:.3f} for {nominal:g}, more than half an MCSE less. "
                f"Take more draws, or read {self.menu.all[name].by_ranks}, which has no such bias."
            )
        return notes

    def _where(self, cells: pd.DataFrame, found: set[int]) -> str:
        """In which cells, in words; empty if in all of them."""
        if len(found) == len(self.cells):
            return ""
        rows = cells.iloc[sorted(found)[:3]]
        words = [
            " ".join(f"{k}={_plain(v)}" for k, v in zip(rows.columns, row, strict=True))
            for row in rows.itertuples(index=False)
        ]
        more = f" and {len(found) - 3} more cells" if len(found) > 3 else ""
        return f" at {', '.join(words)}{more}"


def _least(found: dict[str, tuple[int, int]], who: str, n: int, of: int) -> None:
    """Keep the pair of numbers with the least share."""
    if who not in found or n * found[who][1] < found[who][0] * of:
        found[who] = (n, of)


def _counts(found: Mapping[str, tuple[int, int]]) -> str:
    return _listed([f"{who} has them in {n:,} of {of:,}" for who, (n, of) in found.items()])


def _listed(words: Iterable[str], by: str = ", ") -> str:
    """Words in a row, cut where there are many."""
    words = list(words)
    return by.join(words[:_MOST]) + (f" and {len(words) - _MOST} more" if len(words) > _MOST else "")


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
