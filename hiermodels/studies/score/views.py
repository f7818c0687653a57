"""Blocks of one estimand as measures see them: the policies about failed fits applied, on the replicates that count.

What must be known of all replicates, however few are here, are `Facts`: without them a view is `Pending`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiermodels.inference.draws import FLAGGED
from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.folds import Folds, Pending
from hiermodels.studies.score.menu import Menu
from hiermodels.studies.store.blocks import MATRICES, Block

__all__ = ["OWN", "SIDE", "Facts", "Rules", "View"]

OWN, SIDE = "own", "side by side"
"""A method's own rows, and those on the replicates that all methods have."""


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


class View:
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
        if parts is None or (side == OWN and not paired):
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


def _present_estimates(block: Block) -> NDArray[np.float64]:
    estimate = block.columns["estimate"]
    return estimate if block.present.all() else np.where(block.present, estimate, np.nan)
