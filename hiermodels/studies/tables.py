"""Long tables cut into cells: from the table of estimates to that of performance, and to counts of failures.

A method's own rows stand on the replicates that it has; what is set side by side stands on those that all methods have.
Python loops run over blocks (`hiermodels.studies.blocks`), numpy over replicates and groups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hiermodels.inference.draws import STATUS
from hiermodels.studies.blocks import MATRICES, Block, Layout, Names, axis_of, cells_of, known, severity
from hiermodels.studies.large import Filled, LargeCell
from hiermodels.studies.montecarlo import Z95, Errors, Measure, mean_over, undefined
from hiermodels.studies.needs import Menu, seen_by
from hiermodels.studies.told import Told

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["POLICIES", "POLICY_NOTES", "REGIMES", "Scored", "count_failures", "failure_note", "known", "tabulate"]

POLICIES = ("complete-case", "paired-complete", "worst-case", "retry-with-escalation")
"""What can be done about failed fits."""

REGIMES = {
    "fixed": "Truths are fixed (regime: fixed): bias and coverage of a group are classical, over datasets "
    "from the same truth. Coverage of one group need not be nominal: shrinkage trades it for a smaller MSE.",
    "population": "Hyperparameters are fixed, groups are redrawn (regime: population): bias and coverage of "
    "a group are averages over the population of groups.",
    "prior": "Hyperparameters are drawn anew for each dataset (regime: prior): coverage checks calibration where truths and priors agree.",
    "mixed": "Truth regimes differ between cells (regime: mixed): bias and coverage mean something else in each; compare like with like.",
}
"""Truth regimes and what they mean for the reader."""

AVERAGE = "[mean]"
_REQUIRED = ("rep", "method", "estimand", "group", "true", "estimate", "lower", "upper", "status")


_NUMBERS = ("value", "mcse", "lower", "upper")
_COUNTS = ("n_sim", "n", "n_failed", "n_retried")


@dataclass(frozen=True)
class Scored:
    """What a long table of estimates comes to.

    Attributes
    ----------
    table : DataFrame
        Performance, each method on the replicates that it has.
    notes : list of str
    common : DataFrame
        The same, all methods on the replicates that every one of them has: what may be set side by side. With `rmse_ratio`
        where errors are judged and there are several methods.
    failures : DataFrame
        See `count_failures`.
    """

    table: pd.DataFrame
    notes: list[str]
    common: pd.DataFrame
    failures: pd.DataFrame


def tabulate(
    estimates: pd.DataFrame | Iterable[pd.DataFrame],
    *,
    factors: list[str],
    functions: Mapping[str, Callable[[Errors], Measure]],
    side_by_side: Mapping[str, Callable[[Errors], Measure]],
    over_groups: Set[str],
    paired: Set[str],
    failures: str,
    reference: str | None,
    regime: str,
    exclude_flagged: bool,
    decisions: Mapping[str, float],
    supports: Mapping[str, tuple[float, float]],
    settings: Mapping[str, Any],
) -> Scored:
    """The work behind `hiermodels.studies.measures.performance`, which describes the parameters.

    Estimates may come in batches of whole cells; one batch is in memory at a time. ``side_by_side`` are measures of the
    common table alone.
    """
    known("failures", failures, POLICIES)
    known("regime", regime, REGIMES)
    if not 0 < settings["interval"] < 1:
        raise ValueError(
            f"interval: expected a number between 0 and 1, such as 0.95, found {settings['interval']!r}"
        )
    menu = Menu(functions, side_by_side, over_groups, paired)
    scorer = _Scorer(factors, menu, failures, reference, regime, exclude_flagged, decisions, supports, settings)
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


class _Common:
    """The replicates that several methods have, of one cell and estimand, for whatever a measure needs."""

    def __init__(self, errors: Sequence[Errors], *, strict: bool) -> None:
        self.errors, self.strict = errors, strict
        self.known: dict[tuple[str, ...], NDArray[np.bool_]] = {}

    def __call__(self, parts: tuple[str, ...]) -> NDArray[np.bool_]:
        """Replicates (replicate, group) where every method has these parts of an answer that gives them at all.

        A method without a single answer counts where the policy asks for it (``strict``): nothing is left then.
        """
        if parts not in self.known:
            self.known[parts] = np.logical_and.reduce([self._of(e, parts) for e in self.errors])
        return self.known[parts]

    def _of(self, errors: Errors, parts: tuple[str, ...]) -> NDArray[np.bool_]:
        gives = all(errors.gives(part) for part in parts)
        if not gives and (errors.present.any() or not self.strict):
            return np.ones_like(errors.present)
        return errors.having(parts).present | ~_tried(errors).any(0)


def _tried(errors: Errors) -> NDArray[np.bool_]:
    return errors.present | errors.failed


def _loses(errors: Errors, parts: Collection[str]) -> bool:
    """Whether a method lacks some replicate, or a part of an answer that it gives elsewhere."""
    tried = _tried(errors)
    ragged = bool((~tried & tried.any(0)).any()) or bool(errors.failed.any())
    return ragged or any(errors.gives(part) and bool((errors.present & ~errors.known(part)).any()) for part in parts)


class _Scorer:
    """Applies measures to blocks and collects rows and reasons."""

    def __init__(
        self,
        factors: Sequence[str],
        menu: Menu,
        failures: str,
        reference: str | None,
        regime: str,
        exclude_flagged: bool,
        decisions: Mapping[str, float],
        supports: Mapping[str, tuple[float, float]],
        settings: Mapping[str, Any],
    ) -> None:
        self.factors, self.names, self.reference_name = factors, Names(), reference
        self.menu, self.failures, self.regime, self.decisions = menu, failures, regime, decisions
        self.exclude_flagged, self.supports, self.settings = exclude_flagged, supports, settings
        self.rows: dict[tuple[int, int, int], dict[str, NDArray[Any]]] = {}
        self.common: dict[tuple[int, int, int], dict[str, NDArray[Any]]] = {}
        self.told = Told(menu)
        self.counts: list[pd.DataFrame] = []
        self.cell_values: list[pd.DataFrame] = []
        self.cells = 0

    def read(self, estimates: pd.DataFrame | LargeCell) -> None:
        """Score every block of a batch, or of a cell that is read chunk by chunk."""
        layout: Layout | Filled
        if isinstance(estimates, LargeCell):
            layout = Filled(estimates, self.factors, self.names, self.menu.columns)
            self.counts.append(layout.failures)
        else:
            layout = Layout(_checked(estimates, self.factors), self.factors, self.names, self.menu.columns)
            self.counts.append(count_failures(estimates, self.factors))
        self.layout = layout
        for blocks in layout.shared():
            self.add(blocks)
        self.cell_values.append(layout.cell_values)
        self.cells += len(layout.cells)

    @property
    def methods(self) -> list[str]:
        """Methods so far."""
        return [str(m) for m in self.names.methods]

    @property
    def reference(self) -> int:
        """Code of the method that others are compared with; -1 while it has not been seen."""
        if self.reference_name is None:
            return 0
        return self.methods.index(self.reference_name) if self.reference_name in self.methods else -1

    def add(self, blocks: list[Block]) -> None:
        """Score the blocks of one cell and estimand."""
        against = None
        if "reference" in self.menu.parts:
            against = next((_present_estimates(b) for b in blocks if b.method == self.reference), None)
        errors = [self._errors(block, against) for block in blocks]
        paired = self.failures == "paired-complete"
        together = _Common(errors, strict=True) if paired else None
        differ = not paired and len(blocks) > 1 and any(_loses(one, self.menu.parts) for one in errors)
        side = _Common(errors, strict=False) if differ else None
        for block, one in zip(blocks, errors, strict=True):
            who = (self.cells + block.cell, block.method, block.estimand)
            self.told.now(who[0], self.name(block), self.methods[block.method])
            self.told.block(one)
            self.rows[who] = self._scored(block, one, together, self.told)
            self.common[who] = self.rows[who] if side is None else self._scored(block, one, side, None)

    def name(self, block: Block) -> str:
        """The estimand of a block."""
        return str(self.layout.estimands.labels[block.estimand])

    def _errors(self, block: Block, against: NDArray[np.float64] | None) -> Errors:
        """What measures read of a block, on the axes that it shares."""
        name = self.name(block)
        numbers: dict[str, Any] = {"estimate": np.full(block.present.shape, np.nan), "true": np.nan}
        numbers |= {key: block.columns[key] for key in MATRICES if key in block.columns}
        return Errors(
            **numbers,
            reference=against,
            present=block.present,
            failed=block.failed,
            kept=block.columns["status"] <= 0 if self.exclude_flagged else None,
            worst=self.failures == "worst-case",
            support=self.supports.get(name, (-np.inf, np.inf)),
            cut=self._cut(name, block) if "power" in self.menu.all else None,
            **self.settings,
        )

    def _cut(self, estimand: str, block: Block) -> float | None:
        """Threshold of a posterior probability: as asked, else that of the interval where estimates look like one."""
        if estimand in self.decisions:
            return float(self.decisions[estimand])
        ends = np.isfinite(block.columns["lower"]) | np.isfinite(block.columns["upper"])
        seen, true = block.columns["estimate"][block.present], block.columns["true"][block.present]
        probability = len(seen) and not ends.any() and bool(((seen >= 0) & (seen <= 1)).all())
        probability = probability and bool(((true == 0) | (true == 1) | np.isnan(true)).all())
        return (1 + self.settings["interval"]) / 2 if probability else None

    def _scored(self, block: Block, errors: Errors, common: _Common | None, told: Told | None) -> dict[str, NDArray[Any]]:
        """Rows of a block: its groups, and their average."""
        here = _tried(errors).any(0)  # groups that the method has
        labels = self.layout.group_labels[block.groups[here]]
        versions = [(errors if here.all() else errors.groups(here), labels)]
        if any(labels != ""):
            versions.append((versions[0][0].replaced(average=True), np.array([AVERAGE], object)))
        parts = [self._score(version, names, block, here, common, told) for version, names in versions]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _score(
        self, errors: Errors, groups: NDArray[Any], block: Block, here: NDArray[np.bool_], common: _Common | None, told: Told | None
    ) -> dict[str, NDArray[Any]]:
        retried = (block.columns["n_try"] > 1 if "n_try" in block.columns else np.zeros_like(block.failed))[:, here]
        columns: dict[str, list[Any]] = {key: [] for key in (*_NUMBERS, *_COUNTS)}
        menu = {name: f for name, f in self.menu.all.items() if errors.average or name not in self.menu.over_groups}
        tried = _tried(errors)
        restricted: dict[Any, Any] = {}
        for name, function in menu.items():
            seen, parts = errors, function.parts  # type: ignore[attr-defined]
            if common is not None and not (function.share and errors.worst):  # type: ignore[attr-defined]
                seen = restricted.setdefault(parts, errors.replaced(kept=errors.kept & common(parts)[:, here]))
            measure = function(seen)
            if name in self.menu.paired and block.method == self.reference:
                measure = undefined(measure, np.ones(np.shape(measure.value), bool), "this method is the reference")
            counts = [_count(mask, errors.average) for mask in (tried, seen_by(function, seen).failed, retried)]
            for key, numbers in zip((*_NUMBERS, *_COUNTS), (*measure[:4], *counts[:1], measure.n, *counts[1:]), strict=True):
                columns[key].append(np.broadcast_to(np.asarray(numbers), len(groups)))
            if told is not None:
                told.measured(name, measure, seen)
                if name == "cover":
                    self._short_chains(seen, block.columns, here, measure)
        found = {"group": np.repeat(groups, len(menu)), "measure": np.tile(np.array(list(menu), object), len(groups))}
        for key, lists in columns.items():
            whole = np.stack(lists, -1).ravel() if lists else np.zeros(0)
            found[key] = whole.astype(np.int64 if key in _COUNTS else float)
        return found

    def _short_chains(self, errors: Errors, columns: Mapping[str, NDArray[Any]], here: NDArray[np.bool_], cover: Measure) -> None:
        """Remember estimands whose tail ESS biases quantile coverage by more than half its MCSE."""
        if "ess_tail" not in columns:
            return
        loss = np.atleast_1d(mean_over(2 * errors.interval / (columns["ess_tail"][:, here] + 1), errors).value)
        mcse = np.where(cover.mcse > 0, cover.mcse, (cover.upper - cover.lower) / (2 * Z95))
        if (short := loss > mcse / 2).any():
            self.told.few_draws(float(loss[short].max()))

    def scored(self) -> Scored:
        """Tables and notes, in order of cell, method, estimand, group, measure."""
        import pandas as pd

        reference = known("reference", self.reference_name or self.methods[0], self.methods)
        cells = pd.concat(self.cell_values, ignore_index=True)
        failures = pd.concat(self.counts, ignore_index=True)
        notes = [REGIMES[self.regime], *failure_note(failures, self.failures, always=bool(self.told.parts))]
        notes += self.told.notes(cells, reference, self.settings["interval"], flagged=self.exclude_flagged)
        table = self._table(self.rows, cells)
        asked = table["measure"].isin(list(self.menu.asked))
        several = len(self.methods) > 1
        common = self._table(self.common, cells) if several else table
        return Scored(table[asked].reset_index(drop=True), notes, common if several else table[asked].reset_index(drop=True), failures)

    def _table(self, rows: Mapping[tuple[int, int, int], Mapping[str, NDArray[Any]]], cells: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        order = sorted(rows)
        parts = [rows[who] for who in order]
        lengths = [len(part["value"]) for part in parts]
        cell, method, estimand = np.repeat(np.array(order, np.int64).reshape(-1, 3), lengths, axis=0).T
        table = cells.iloc[cell].reset_index(drop=True)
        table["method"] = pd.array(self.methods, dtype="str").take(method)
        table["estimand"] = pd.array([str(e) for e in self.names.estimands], dtype="str").take(estimand)
        for key in parts[0]:
            numbers = np.concatenate([part[key] for part in parts])
            table[key] = pd.array(numbers, dtype="str") if numbers.dtype == object else numbers
        return table


def _present_estimates(block: Block) -> NDArray[np.float64]:
    estimate = block.columns["estimate"]
    return estimate if block.present.all() else np.where(block.present, estimate, np.nan)


def _count(mask: NDArray[np.bool_], average: bool) -> Any:
    return (mask.any(-1) if average else mask).sum(0)


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


def count_failures(estimates: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Fits by status: one row a cell x method.

    A fit has the worst status of its estimates. Columns: ``<factors>, method, n_sim``, one count a status
    from best to worst, and ``n_retried``.

    Parameters
    ----------
    estimates : pandas.DataFrame
        The long table of estimates.
    factors : sequence of str
        Columns whose values identify a cell.

    Returns
    -------
    pandas.DataFrame

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"rep": [0, 0, 1], "method": "m", "status": ["ok", "rhat", "ok"], "n_try": 1})
    >>> count_failures(frame, [])[["method", "n_sim", "ok", "rhat"]].to_dict("records")
    [{'method': 'm', 'n_sim': 2, 'ok': 1, 'rhat': 1}]
    """
    import pandas as pd

    cells, values = cells_of(estimates, factors)
    methods, rep = axis_of(estimates["method"]), estimates["rep"].to_numpy(np.int64)
    both = cells.codes * len(methods) + methods.codes
    fit, first = pd.factorize(both * (rep.max() + 1) + rep)
    worst = np.zeros(len(first), np.int8)
    np.maximum.at(worst, fit, severity(estimates["status"]))
    tries = np.zeros(len(first), np.int64)
    if "n_try" in estimates:
        np.maximum.at(tries, fit, estimates["n_try"].to_numpy(np.int64))
    of = np.asarray(first) // (rep.max() + 1)
    shape = (len(cells) * len(methods), len(STATUS))
    counts = np.bincount(of * len(STATUS) + worst, minlength=shape[0] * shape[1]).reshape(shape)
    kept = counts.sum(1) > 0
    table = values.iloc[np.repeat(np.arange(len(cells)), len(methods))[kept]].reset_index(drop=True)
    table["method"] = np.tile(np.array([str(m) for m in methods.labels], object), len(cells))[kept]
    table["method"] = table["method"].astype("str")
    table["n_sim"] = counts.sum(1)[kept]
    for place, word in enumerate(STATUS):
        table[word] = counts[kept, place]
    table["n_retried"] = np.bincount(of[tries > 1], minlength=shape[0])[kept]
    return table
