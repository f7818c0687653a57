"""Long tables cut into cells: from the table of estimates to that of performance, and to counts of failures.

A method's own rows stand on the replicates that it has; what is set side by side stands on those that all methods have.
Python loops run over blocks (`hiermodels.studies.store.blocks`), numpy over replicates and groups.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hiermodels.studies.score.menu import Menu
from hiermodels.studies.score.scores import AVERAGE, Row, Rules, Scores
from hiermodels.studies.score.told import Told
from hiermodels.studies.store.blocks import Layout, Names, known
from hiermodels.studies.store.failures import count_failures
from hiermodels.studies.store.large import Filled, LargeCell

__all__ = [
    "AVERAGE",
    "POLICIES",
    "POLICY_NOTES",
    "REGIMES",
    "Scored",
    "count_failures",
    "failure_note",
    "known",
    "tabulate",
]

POLICIES = ("complete-case", "paired-complete", "worst-case", "retry-with-escalation")
"""What can be done about failed fits."""

REGIMES = {
    "fixed": "Truths are fixed (regime: fixed): bias and coverage of a group are classical, over datasets "
    "from the same truth. Coverage of one group need not be nominal: shrinkage trades it for a smaller MSE.",
    "population": "Hyperparameters are fixed, groups are redrawn (regime: population): bias and coverage of "
    "a group are averages over the population of groups.",
    "prior": (
        "Hyperparameters are drawn anew for each dataset (regime: prior): coverage checks calibration where "
        "truths and priors agree."
    ),
    "mixed": (
        "Truth regimes differ between cells (regime: mixed): bias and coverage mean something else in each; "
        "compare like with like."
    ),
}
"""Truth regimes and what they mean for the reader."""

_REQUIRED = ("rep", "method", "estimand", "group", "true", "estimate", "lower", "upper", "status")


@dataclass(frozen=True)
class Scored:
    """What a long table of estimates comes to.

    Attributes
    ----------
    table : DataFrame
        Performance, each method on the replicates that it has.
    notes : list of str
    common : DataFrame
        The same, all methods on the replicates that every one of them has: what may be set side by side. With
        `rmse_ratio` where errors are judged and there are several methods.
    failures : DataFrame
        See `count_failures`.
    """

    table: pd.DataFrame
    notes: list[str]
    common: pd.DataFrame
    failures: pd.DataFrame


def tabulate(
    estimates: pd.DataFrame | Iterable[pd.DataFrame | LargeCell],
    *,
    factors: list[str],
    menu: Menu,
    failures: str,
    reference: str | None,
    regime: str,
    exclude_flagged: bool,
    decisions: Mapping[str, float],
    supports: Mapping[str, tuple[float, float]],
    settings: Mapping[str, Any],
) -> Scored:
    """The work behind `hiermodels.studies.score.scoring.performance`, which describes the parameters.

    Estimates may come in batches of whole cells; one batch is in memory at a time.
    """
    known("failures", failures, POLICIES)
    known("regime", regime, REGIMES)
    if not 0 < settings["interval"] < 1:
        raise ValueError(f"interval: expected a number between 0 and 1, such as 0.95, found {settings['interval']!r}")
    scorer = _Scorer(factors, regime, Rules(menu, failures, reference, exclude_flagged, decisions, supports, settings))
    batches: Iterable[Any] = [estimates] if hasattr(estimates, "columns") else estimates
    for batch in batches:
        scorer.read(batch)
    return scorer.scored()


def _checked(estimates: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """A batch that has rows and every column that is needed."""
    absent = [name for name in (*_REQUIRED, *factors) if name not in estimates]
    if absent or not len(estimates):
        expected, found = ", ".join((*_REQUIRED, *factors)), ", ".join(absent) or "every row"
        raise ValueError(f"estimates: expected rows with the columns {expected}; missing: {found}")
    return estimates


class _Scorer:
    """Has the blocks of each batch scored, and collects rows and reasons."""

    def __init__(self, factors: Sequence[str], regime: str, rules: Rules) -> None:
        self.factors, self.regime, self.rules, self.names = factors, regime, rules, Names()
        self.rows: dict[tuple[int, int, int], Row] = {}
        self.common: dict[tuple[int, int, int], Row] = {}
        self.told = Told(rules.menu)
        self.counts: list[pd.DataFrame] = []
        self.cell_values: list[pd.DataFrame] = []
        self.cells = 0

    def read(self, estimates: pd.DataFrame | LargeCell) -> None:
        """Score every block of a batch, or of a cell that is read window by window."""
        layout: Layout | Filled
        columns = self.rules.menu.columns
        if isinstance(estimates, LargeCell):
            layout = Filled(estimates, self.factors, self.names, columns)
            self.counts.append(layout.failures)
        else:
            layout = Layout(_checked(estimates, self.factors), self.factors, self.names, columns)
            self.counts.append(count_failures(estimates, self.factors))
        for windows in layout.parts():
            scores = Scores(self.rules, self.names, layout.group_labels, windows)
            for who, row, side in scores.rows(self.told, self.cells):
                self.rows[who], self.common[who] = row, side
        self.cell_values.append(layout.cell_values)
        self.cells += len(layout.cells)

    def scored(self) -> Scored:
        """Tables and notes, in order of cell, method, estimand, group, measure."""
        rules, methods = self.rules, [str(m) for m in self.names.methods]
        reference = known("reference", rules.reference or methods[0], methods)
        cells = pd.concat(self.cell_values, ignore_index=True)
        failures = pd.concat(self.counts, ignore_index=True)
        notes = [REGIMES[self.regime], *failure_note(failures, rules.failures, always=bool(self.told.parts))]
        notes += self.told.notes(cells, reference, rules.settings["interval"], flagged=rules.exclude_flagged)
        table = self._table(self.rows, cells, methods)
        own = table[table["measure"].isin(list(rules.menu.asked))].reset_index(drop=True)
        return Scored(own, notes, self._table(self.common, cells, methods) if len(methods) > 1 else own, failures)

    def _table(
        self, rows: Mapping[tuple[int, int, int], Row], cells: pd.DataFrame, methods: Sequence[str]
    ) -> pd.DataFrame:
        order = sorted(rows)
        parts = [rows[who] for who in order]
        lengths = [len(part["value"]) for part in parts]
        cell, method, estimand = np.repeat(np.array(order, np.int64).reshape(-1, 3), lengths, axis=0).T
        table = cells.iloc[cell].reset_index(drop=True)
        table["method"] = pd.array(methods, dtype="str").take(method)
        table["estimand"] = pd.array([str(e) for e in self.names.estimands], dtype="str").take(estimand)
        for key in parts[0]:
            numbers = np.concatenate([part[key] for part in parts])
            table[key] = pd.array(numbers, dtype="str") if numbers.dtype == object else numbers
        return table


def failure_note(failures: pd.DataFrame, policy: str, *, always: bool = False) -> list[str]:
    """Fits attempted, missing and retried, and what is done about them; nothing where nothing failed.

    Parameters
    ----------
    failures : DataFrame
        From `count_failures`.
    policy : str
    always : bool
        Say it though no fit failed, as parts of answers are missing.
    """
    n_sim, missing, retried = (int(failures[name].sum()) for name in ("n_sim", "nonfinite", "n_retried"))
    if not missing and not retried and not always:
        return []
    fits = f"of {n_sim:,} fits attempted, {missing:,} are missing (not finite) and {retried:,} were retried"
    return [f"Failures: {fits}. Policy {policy}: {POLICY_NOTES[policy]}"]


POLICY_NOTES = {
    "complete-case": "Each method is judged on the replicates where it gave an estimate.",
    "paired-complete": "All methods are judged on the replicates where every one of them gave an estimate.",
    "worst-case": "In shares missing estimates count as not covering and not firing (in the upper limit, as "
    "covering and firing); the other measures have no such bound and use the replicates with an estimate.",
    "retry-with-escalation": "Each method is judged on the replicates where it gave an estimate in the end.",
}
