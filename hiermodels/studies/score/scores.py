"""Measures applied to the blocks of a cell: rows of the tables of performance, each method's own and side by side.

Blocks come in windows of replicates (`hiermodels.studies.store.blocks.Layout.parts`). Every number is a *program* that
is run on windows (`hiermodels.studies.score.folds`): a measure of one method and estimand, of its groups or their
average; counts; what the policies and notes must know of all replicates (`Facts`). Programs run side by side, so that
few passes are needed, whatever their number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.folds import AT_ONCE, Folds, InPasses, at_once, in_passes
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.montecarlo import Z95, Measure, mean_over, undefined
from hiermodels.studies.score.told import PARTS, Told
from hiermodels.studies.score.views import OWN, SIDE, Facts, Rules, View
from hiermodels.studies.store.blocks import Block, Names

__all__ = ["AVERAGE", "PERFORMANCE", "Row", "Rules", "Scores"]

AVERAGE = "[mean]"
"""Group of rows about the average of all groups."""

type Row = dict[str, NDArray[Any]]
"""Columns of a table of performance, of one cell, method and estimand."""
type _Program = Callable[[list[View]], Any]

_NUMBERS = ("value", "mcse", "lower", "upper")
_COUNTS = ("n_sim", "n", "n_failed", "n_retried")
PERFORMANCE = ("method", "estimand", "group", "measure", *_NUMBERS, *_COUNTS)
"""Columns of a table of performance, after the factors."""


class _Counts(NamedTuple):
    """Replicates attempted, without what a measure needs, and tried more than once; with an estimate, and with one of
    the reference.
    """

    n_sim: Any
    n_failed: Any
    n_retried: Any
    own: Any
    other: Any


class Scores:
    """The blocks of some estimands of some cells, scored.

    Parameters
    ----------
    rules : Rules
    names : Names
        What codes of blocks stand for.
    group_labels : array of str
    windows : callable
        Makes the windows; of each, blocks of some cells and estimands, one a method.
    """

    def __init__(
        self, rules: Rules, names: Names, group_labels: NDArray[Any], windows: Callable[[], Iterator[list[list[Block]]]]
    ) -> None:
        self.rules, self.group_labels, self.windows = rules, group_labels, windows
        self.methods, self.estimands = ([str(name) for name in some] for some in (names.methods, names.estimands))
        self.reference = (
            0
            if rules.reference is None
            else self.methods.index(rules.reference)
            if rules.reference in self.methods
            else -1
        )
        self.facts: list[list[Facts]] = []
        self.found: dict[tuple[Any, ...], Any] = {}

    def rows(self, told: Told, cells: int) -> Iterator[tuple[tuple[int, int, int], Row, Row]]:
        """Rows of each block by cell, method and estimand: on what the method has, and side by side with the others."""
        first, *more = itertools.islice(self.windows(), 2)
        self.blocks, self.facts = first, [[] for _ in first]
        programs: dict[tuple[Any, ...], _Program] = {("facts", e): partial(_facts, e) for e in range(len(first))}
        for e in range(len(first)):
            programs |= self._programs(e, OWN)
        if not more:
            at_once(self._views(first, AT_ONCE), programs, self._more)
        else:
            folds = InPasses()
            in_passes(lambda: (self._views(window, folds) for window in self.windows()), folds, programs, self._more)
        for e, blocks in enumerate(first):
            for place, block in enumerate(blocks):
                who = (cells + block.cell, block.method, block.estimand)
                told.now(who[0], self.estimands[block.estimand], self.methods[block.method])
                told.block(self.facts[e][place].known, self.facts[e][place].given)
                row = self._row(e, place, OWN, told)
                yield who, row, row if ("side", e) not in self.found else self._row(e, place, SIDE, None)

    def _views(self, window: list[list[Block]], folds: Folds) -> list[View]:
        names = [self.estimands[blocks[0].estimand] for blocks in window]
        return [
            View(self.rules, name, blocks, self.reference, folds, facts)
            for name, blocks, facts in zip(names, window, self.facts, strict=True)
        ]

    def _more(self, key: tuple[Any, ...], found: Any) -> dict[tuple[Any, ...], _Program]:
        """Keep what a program found; programs of the table side by side, once it is known that methods lack different
        replicates.
        """
        self.found[key] = found
        if key[0] != "facts":
            return {}
        e, rules = key[1], self.rules
        self.facts[e].extend(found)
        differ = (
            rules.failures != "paired-complete"
            and len(found) > 1
            and any(fact.loses(rules.menu.parts) for fact in found)
        )
        if not differ:
            return {}
        self.found["side", e] = True
        return self._programs(e, SIDE)

    def _versions(self, block: Block) -> list[tuple[bool, NDArray[Any]]]:
        """Whether groups are averaged, and labels of the rows."""
        labels = self.group_labels[block.groups[block.here]]
        return [(False, labels), *([(True, np.array([AVERAGE], object))] if any(labels != "") else [])]

    def _menu(self, average: bool) -> dict[str, PerformanceMeasure]:
        return {name: measure for name, measure in self.rules.menu.all.items() if average or not measure.over_groups}

    def _standing(self, measure: PerformanceMeasure) -> tuple[tuple[str, ...], bool]:
        """Parts that a measure needs, and whether it counts failed fits instead of leaving them out."""
        return measure.needs, bool(measure.share and self.rules.failures == "worst-case")

    def _programs(self, e: int, side: str) -> dict[tuple[Any, ...], _Program]:
        """Measures, and the counts beside them, of one estimand."""
        programs: dict[tuple[Any, ...], _Program] = {}
        for place, block in enumerate(self.blocks[e]):
            for average, _ in self._versions(block):
                for name, function in self._menu(average).items():
                    parts, worst = self._standing(function)
                    of = (place, average, side, None if worst else parts)
                    programs["measure", e, *of[:3], name] = partial(_measure, e, of, function)
                    programs["counts", e, *of, parts] = partial(_counts, e, of, function)
                    if function.by_ranks and side == OWN and "ess_tail" in block.columns:
                        programs["loss", e, *of[:2], name] = partial(_loss, e, of)
        return programs

    def _row(self, e: int, place: int, side: str, told: Told | None) -> Row:
        """Rows of a block: its groups, and their average."""
        parts = [
            self._part(e, place, average, labels, side, told)
            for average, labels in self._versions(self.blocks[e][place])
        ]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _part(self, e: int, place: int, average: bool, labels: NDArray[Any], side: str, told: Told | None) -> Row:
        columns: dict[str, list[Any]] = {key: [] for key in (*_NUMBERS, *_COUNTS)}
        menu = self._menu(average)
        for name, function in menu.items():
            parts, worst = self._standing(function)
            measure: Measure = self.found["measure", e, place, average, side, name]
            counts: _Counts = self.found["counts", e, place, average, side, None if worst else parts, parts]
            if function.paired and self.blocks[e][place].method == self.reference:
                measure = undefined(measure, np.ones(np.shape(measure.value), bool), "this method is the reference")
            numbers = (*measure[:4], counts.n_sim, measure.n, counts.n_failed, counts.n_retried)
            for key, values in zip((*_NUMBERS, *_COUNTS), numbers, strict=True):
                columns[key].append(np.broadcast_to(np.asarray(values), len(labels)))
            if told is not None:
                told.measured(name, measure, counts, average=average)
                if (loss := ("loss", e, place, average, name)) in self.found:
                    _few_draws(told, name, measure, np.atleast_1d(self.found[loss]))
        found = {"group": np.repeat(labels, len(menu)), "measure": np.tile(np.array(list(menu), object), len(labels))}
        for key, lists in columns.items():
            whole = np.stack(lists, -1).ravel() if lists else np.zeros(0)
            found[key] = whole.astype(np.int64 if key in _COUNTS else float)
        return found


# programs
# -----------------------------------------------------------------------------------------------------------------


type _Of = tuple[int, bool, str, tuple[str, ...] | None]
"""Arguments of `View.seen`."""


def _measure(e: int, of: _Of, function: PerformanceMeasure, views: list[View]) -> Measure:
    """A measure of an estimand."""
    return function(views[e].seen(*of))


def _facts(e: int, views: list[View]) -> list[Facts]:
    """What must be known of each block of an estimand."""
    view = views[e]
    return [asked() for asked in [_asked(view, place) for place in range(len(view.blocks))]]


def _asked(view: View, place: int) -> Callable[[], Facts]:
    rules, block, errors = view.rules, view.blocks[place], view.raw[place]
    tried = block.present | block.failed
    ragged = [errors.some(lambda: ~tried & block.here), errors.some(lambda: errors.failed)]
    counted = {part: errors.fold(np.add, lambda part=part: errors.known(part) & errors.present) for part in rules.parts}  # type: ignore[misc]
    lacking = {part: errors.some(lambda part=part: errors.present & ~errors.known(part)) for part in rules.parts}  # type: ignore[misc]
    attempted, answers = errors.fold(np.add, lambda: tried), errors.fold(np.add, lambda: errors.present)
    cut = _cut(view, errors) if rules.menu.decides else lambda: None

    def facts() -> Facts:
        known = {part: fold.value for part, fold in counted.items()}
        return Facts(
            frozenset(part for part, numbers in known.items() if numbers.any()),
            frozenset(part for part, fold in lacking.items() if fold.value.any()),
            bool(answers.value.any()),
            any(bool(fold.value.any()) for fold in ragged),
            cut(),
            {
                **{part: known[part] for part in PARTS if part in rules.menu.parts},
                "tried": attempted.value,
                "present": answers.value,
            },
        )

    return facts


def _cut(view: View, errors: Errors) -> Callable[[], float | None]:
    """Threshold of a posterior probability: as asked, else that of the interval where estimates look like one."""
    if (asked := view.rules.decisions.get(view.name)) is not None:
        return lambda: float(asked)
    ends = errors.some(lambda: np.isfinite(errors.lower) | np.isfinite(errors.upper))
    there = errors.some(lambda: errors.present)
    other = errors.some(lambda: errors.present & ~((errors.estimate >= 0) & (errors.estimate <= 1)))
    true = errors.true
    strange = errors.some(lambda: errors.present & ~((true == 0) | (true == 1) | np.isnan(true)))

    def cut() -> float | None:
        probability = there.value.any() and not any(fold.value.any() for fold in (ends, other, strange))
        return (1 + errors.interval) / 2 if probability else None

    return cut


def _counts(e: int, of: _Of, function: PerformanceMeasure, views: list[View]) -> _Counts:
    """Counts beside a measure."""
    view = views[e]
    seen, block = view.seen(*of), view.blocks[of[0]]
    tried = seen.present | seen.failed

    def count(mask: Callable[[], NDArray[Any]]) -> Any:
        return seen.fold(np.add, lambda: mask().any(-1) if seen.average else mask())

    def retried() -> NDArray[np.bool_]:
        return (block.columns["n_try"] > 1 if "n_try" in block.columns else np.zeros_like(block.failed))[:, block.here]

    paired = function.paired
    folds = [count(lambda: tried), count(retried)]
    compared = [
        seen.fold(np.add, part)
        for part in (lambda: seen.known("estimate") & seen.present, lambda: seen.known("reference") & tried)
        if paired
    ]
    folds.insert(1, count(lambda: function.seen(seen).failed))
    return _Counts(*(fold.value for fold in folds), *([fold.value for fold in compared] or [None, None]))


def _loss(e: int, of: _Of, views: list[View]) -> Any:
    """Coverage that quantiles of few draws lose."""
    view = views[e]
    seen, block = view.seen(*of), view.blocks[of[0]]
    return mean_over(2 * seen.interval / (block.columns["ess_tail"][:, block.here] + 1), seen).value


def _few_draws(told: Told, name: str, cover: Measure, loss: NDArray[np.float64]) -> None:
    """Remember estimands whose tail ESS biases quantile coverage by more than half its MCSE."""
    mcse = np.where(cover.mcse > 0, cover.mcse, (cover.upper - cover.lower) / (2 * Z95))
    if (short := loss > mcse / 2).any():
        told.few_draws(name, float(loss[short].max()))
