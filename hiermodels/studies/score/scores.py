"""Measures applied to the blocks of a cell: rows of the tables of performance, each method's own and side by side.

Blocks come in windows of replicates (`hiermodels.studies.store.blocks.Layout.parts`). Every number is a *program* that
is run on windows
(`hiermodels.studies.score.folds`): a measure of one method and estimand, of its groups or their average; counts; what
the policies and
notes must know of all replicates (`Facts`). Programs run side by side, so that few passes are needed, whatever their
number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiermodels.inference.draws import FLAGGED
from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.folds import AT_ONCE, Folds, InPasses, Pending, at_once, in_passes
from hiermodels.studies.score.measure import PerformanceMeasure
from hiermodels.studies.score.menu import Menu
from hiermodels.studies.score.montecarlo import Z95, Measure, mean_over, undefined
from hiermodels.studies.score.told import PARTS, Told
from hiermodels.studies.store.blocks import MATRICES, Block, Names

__all__ = ["AVERAGE", "Row", "Rules", "Scores"]

AVERAGE = "[mean]"
"""Group of rows about the average of all groups."""

type Row = dict[str, NDArray[Any]]
"""Columns of a table of performance, of one cell, method and estimand."""
type _Program = Callable[[list[_View]], Any]

_NUMBERS = ("value", "mcse", "lower", "upper")
_COUNTS = ("n_sim", "n", "n_failed", "n_retried")
_OWN, _SIDE = "own", "side by side"


@dataclass(frozen=True)
class Rules:
    """What is scored, and how; see `hiermodels.studies.score.scoring.performance`."""

    menu: Menu
    failures: str
    reference: str | None
    exclude_flagged: bool
    decisions: Mapping[str, float]
    supports: Mapping[str, tuple[float, float]]
    settings: Mapping[str, Any]

    @cached_property
    def parts(self) -> list[str]:
        """Parts of an answer that measures may need, that of a decision being an estimate or an interval."""
        named = (("estimate", "interval") if part == "decision" else (part,) for part in self.menu.parts)
        return list(dict.fromkeys(part for some in named for part in some))


class Facts(NamedTuple):
    """What must be known of all replicates of a block.

    Attributes
    ----------
    given, lacking : set of str
        Parts of an answer that the method gives in some replicate, and those that an answer lacks somewhere.
    some : bool
        Whether there is an answer.
    ragged : bool
        Whether fits failed or were not attempted somewhere.
    cut : float or None
        See `hiermodels.studies.score.montecarlo.Errors`.
    known : dict of str to array, shape (group,)
        Answers that have a part; as ``tried``, fits attempted, and as ``present``, answers.
    """

    given: frozenset[str]
    lacking: frozenset[str]
    some: bool
    ragged: bool
    cut: float | None
    known: dict[str, NDArray[np.int64]]

    def gives(self, part: str) -> bool:
        """Whether the method gives a part; a decision is on an estimate or an interval."""
        return (
            ("interval" if self.cut is None else "estimate") in self.given if part == "decision" else part in self.given
        )

    def loses(self, parts: Sequence[str]) -> bool:
        """Whether the method lacks some replicate, or a part of an answer that it gives elsewhere."""
        words = [("interval" if self.cut is None else "estimate") if part == "decision" else part for part in parts]
        return self.ragged or any(word in self.given and word in self.lacking for word in words)


class _Counts(NamedTuple):
    """Replicates attempted, without what a measure needs, and tried more than once; with an estimate, and with one of
    the reference.
    """

    n_sim: Any
    n_failed: Any
    n_retried: Any
    own: Any
    other: Any


class _View:
    """The blocks of one estimand, a window of replicates, as measures see them; what they share is made once."""

    def __init__(
        self, rules: Rules, name: str, blocks: Sequence[Block], reference: int, folds: Folds, facts: list[Facts]
    ) -> None:
        self.rules, self.name, self.blocks, self.reference, self.folds = rules, name, blocks, reference, folds
        self._facts = facts  # empty until they are known
        self._seen: dict[tuple[int, bool], Errors] = {}
        self._common: dict[tuple[bool, tuple[str, ...]], NDArray[np.bool_]] = {}
        self._restricted: dict[tuple[Any, ...], Errors] = {}

    def fact(self, place: int) -> Facts:
        """What is known of a block, or `Pending`."""
        return _fact(self._facts, place)

    @cached_property
    def _against(self) -> NDArray[np.float64] | None:
        """Estimates of the reference method."""
        if "reference" not in self.rules.menu.parts:
            return None
        return next((_present_estimates(block) for block in self.blocks if block.method == self.reference), None)

    @cached_property
    def raw(self) -> list[Errors]:
        """What measures read of each block, on the axes that blocks share."""
        return [self._errors(place, block) for place, block in enumerate(self.blocks)]

    def _errors(self, place: int, block: Block) -> Errors:
        numbers: dict[str, Any] = {"estimate": np.full(block.present.shape, np.nan), "true": np.nan}
        numbers |= {key: block.columns[key] for key in MATRICES if key in block.columns}
        rules = self.rules
        errors = Errors(
            **numbers,
            reference=self._against,
            present=block.present,
            failed=block.failed,
            kept=block.columns["status"] < FLAGGED if rules.exclude_flagged else None,
            worst=rules.failures == "worst-case",
            support=rules.supports.get(self.name, (-np.inf, np.inf)),
            **rules.settings,
        )
        facts = self._facts  # and not the view, which holds the errors: what is in circles is not let go of at once
        return errors.replaced(folds=self.folds, given=lambda part: _fact(facts, place).gives(part))

    def errors(self, place: int) -> Errors:
        """As `raw`, with the threshold of a decision."""
        if not self.rules.menu.decides:
            return self.raw[place]
        cut = self.rules.decisions.get(self.name)
        return self.raw[place].replaced(cut=self.fact(place).cut if cut is None else float(cut))

    def seen(self, place: int, average: bool, side: str, parts: tuple[str, ...] | None) -> Errors:
        """The errors of the groups that a method has; ``parts``: on the replicates that methods have in common, for
        what needs these parts.
        """
        if (place, average) not in self._seen:
            here, errors = self.blocks[place].here, self.errors(place)
            errors = errors if here.all() else errors.groups(here)
            self._seen[place, average] = errors.replaced(average=True) if average else errors
        errors = self._seen[place, average]
        paired = self.rules.failures == "paired-complete"
        if parts is None or (side == _OWN and not paired):
            return errors
        key = (place, average, side, parts)
        if key not in self._restricted:
            kept = errors.kept & self.common(parts, strict=paired)[:, self.blocks[place].here]
            self._restricted[key] = errors.replaced(kept=kept)
        return self._restricted[key]

    def common(self, parts: tuple[str, ...], *, strict: bool) -> NDArray[np.bool_]:
        """Replicates (replicate, group) where every method has these parts of an answer that gives them at all.

        A method without a single answer counts where the policy asks for it (``strict``): nothing is left then.
        """
        if (strict, parts) not in self._common:
            each = [self._having(place, parts, strict) for place in range(len(self.blocks))]
            self._common[strict, parts] = np.logical_and.reduce(each)
        return self._common[strict, parts]

    def _having(self, place: int, parts: tuple[str, ...], strict: bool) -> NDArray[np.bool_]:
        errors, fact = self.errors(place), self.fact(place)
        if not all(fact.gives(part) for part in parts) and (fact.some or not strict):
            return np.ones_like(errors.present)
        return errors.having(parts).present | ~self.blocks[place].here


def _fact(facts: Sequence[Facts], place: int) -> Facts:
    if not facts:
        raise Pending
    return facts[place]


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
            programs |= self._programs(e, _OWN)
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
                row = self._row(e, place, _OWN, told)
                yield who, row, row if ("side", e) not in self.found else self._row(e, place, _SIDE, None)

    def _views(self, window: list[list[Block]], folds: Folds) -> list[_View]:
        names = [self.estimands[blocks[0].estimand] for blocks in window]
        return [
            _View(self.rules, name, blocks, self.reference, folds, facts)
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
        return self._programs(e, _SIDE)

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
                    if function.by_ranks and side == _OWN and "ess_tail" in block.columns:
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
"""Arguments of `_View.seen`."""


def _measure(e: int, of: _Of, function: PerformanceMeasure, views: list[_View]) -> Measure:
    """A measure of an estimand."""
    return function(views[e].seen(*of))


def _facts(e: int, views: list[_View]) -> list[Facts]:
    """What must be known of each block of an estimand."""
    view = views[e]
    return [asked() for asked in [_asked(view, place) for place in range(len(view.blocks))]]


def _asked(view: _View, place: int) -> Callable[[], Facts]:
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


def _cut(view: _View, errors: Errors) -> Callable[[], float | None]:
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


def _counts(e: int, of: _Of, function: PerformanceMeasure, views: list[_View]) -> _Counts:
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


def _loss(e: int, of: _Of, views: list[_View]) -> Any:
    """Coverage that quantiles of few draws lose."""
    view = views[e]
    seen, block = view.seen(*of), view.blocks[of[0]]
    return mean_over(2 * seen.interval / (block.columns["ess_tail"][:, block.here] + 1), seen).value


def _few_draws(told: Told, name: str, cover: Measure, loss: NDArray[np.float64]) -> None:
    """Remember estimands whose tail ESS biases quantile coverage by more than half its MCSE."""
    mcse = np.where(cover.mcse > 0, cover.mcse, (cover.upper - cover.lower) / (2 * Z95))
    if (short := loss > mcse / 2).any():
        told.few_draws(name, float(loss[short].max()))


def _present_estimates(block: Block) -> NDArray[np.float64]:
    estimate = block.columns["estimate"]
    return estimate if block.present.all() else np.where(block.present, estimate, np.nan)
