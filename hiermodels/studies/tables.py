"""Long tables cut into cells: from the table of estimates to that of performance, and to counts of failures.

A *block* is one cell x method x estimand, held as matrices (replicate, group); blocks of one cell and
estimand share their axes, so that methods are paired by replicate. Python loops run over blocks, numpy over
replicates and groups.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hiermodels.inference.draws import STATUS
from hiermodels.studies.montecarlo import Z95, Errors, Measure, mean_over, undefined

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["POLICIES", "REGIMES", "count_failures", "known", "tabulate"]

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
_MATRICES = ("estimate", "true", "se", "lower", "upper", "rank", "max_rank")
_POSITIVE = ("sd_", "sigma", "kappa_", "shape_")


def known(what: str, name: str, menu: Collection[str]) -> str:
    """`name` itself if the menu has it.

    Raises
    ------
    ValueError
        With the nearest right name, or the whole menu, if it has not.

    Examples
    --------
    >>> known("measures", "bias", ["bias", "mse"])
    'bias'
    """
    if name in menu:
        return name
    near = difflib.get_close_matches(str(name), list(menu), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(menu)}"
    raise ValueError(f"{what}: unknown name {name!r}; {hint}")


@dataclass(frozen=True)
class Axis:
    """Codes of a column, in order of first appearance, and what they stand for."""

    codes: NDArray[np.int64]
    labels: list[Any]

    def __len__(self) -> int:
        return len(self.labels)


def _axis(column: pd.Series, known: dict[Any, int] | None = None) -> Axis:
    """Codes of a column; those of `known` labels are kept, and new ones join them."""
    import pandas as pd

    codes, labels = pd.factorize(column, use_na_sentinel=False)
    codes = codes.astype(np.int64, copy=False)
    if known is None:
        return Axis(codes, list(labels))
    place = [known.setdefault(None if _missing(label) else label, len(known)) for label in labels]
    return Axis(codes if place == list(range(len(place))) else np.array(place, np.int64)[codes], list(known))


def _cells(frame: pd.DataFrame, factors: Sequence[str]) -> tuple[Axis, pd.DataFrame]:
    """Codes of the cells, and a row of factor values for each; NaN is a value (the cell lacks the factor)."""
    import pandas as pd

    joint = np.zeros(len(frame), np.int64)
    for factor in factors:
        axis = _axis(frame[factor])
        joint = pd.factorize(joint * len(axis) + axis.codes)[0].astype(np.int64, copy=False)
    first = np.sort(np.unique(joint, return_index=True)[1])
    values = frame[list(factors)].iloc[first].reset_index(drop=True)
    for name in values:
        if isinstance(values[name].dtype, pd.CategoricalDtype):
            values[name] = values[name].astype(values[name].cat.categories.dtype)
    return Axis(joint, list(range(len(first)))), values


@dataclass(frozen=True)
class Block:
    """One cell x method x estimand, as matrices (replicate, group) on axes shared by its methods."""

    cell: int
    method: int
    estimand: int
    groups: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]
    attempted: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    present: NDArray[np.bool_]


class _Names:
    """Codes of methods, estimands and groups, the same in every batch: in order of first appearance."""

    def __init__(self) -> None:
        self.methods: dict[Any, int] = {}
        self.estimands: dict[Any, int] = {}
        self.groups: dict[Any, int] = {}


class _Layout:
    """A batch of the long table sorted into blocks without being copied: an order of its rows and their keys."""

    def __init__(self, frame: pd.DataFrame, factors: Sequence[str], names: _Names) -> None:
        self.cells, self.cell_values = _cells(frame, factors)
        self.methods, self.estimands = _axis(frame["method"], names.methods), _axis(frame["estimand"], names.estimands)
        self.groups = _axis(frame["group"], names.groups)
        self.group_labels = np.array(["" if _missing(g) else str(g) for g in self.groups.labels], object)
        self.status = _severity(frame["status"])
        rep = frame["rep"].to_numpy(np.int64)
        self.reps, target = int(rep.max()) + 1, self.cells.codes.copy()
        for axis in (self.estimands, self.methods, self.groups):
            target *= len(axis)
            target += axis.codes
        target *= self.reps
        target += rep
        self.order = np.argsort(target, kind="stable")
        self.key = target[self.order]
        twice = np.flatnonzero(np.diff(self.key) == 0)
        if len(twice):
            row = frame.iloc[self.order[twice[0]]]
            where = ", ".join(f"{name} {row[name]!r}" for name in ("method", "estimand", "group"))
            raise ValueError(
                f"estimates: replicate {row['rep']} is there twice ({where}); expected one row each"
            )
        self.numbers = {
            name: frame[name].to_numpy(np.float64)
            for name in (*_MATRICES, "n_try", "ess_tail")
            if name in frame
        }

    def shared(self) -> Iterator[list[Block]]:
        """Blocks of one cell and estimand at a time, one a method."""
        pair = self.key // (self.reps * len(self.groups) * len(self.methods))
        bounds = np.flatnonzero(np.diff(pair, prepend=-1, append=-1))
        for start, stop in itertools.pairwise(bounds):
            yield self._blocks(slice(start, stop))

    def _blocks(self, rows: slice) -> list[Block]:
        rest, rep = np.divmod(self.key[rows], self.reps)
        rest, group = np.divmod(rest, len(self.groups))
        rest, method = np.divmod(rest, len(self.methods))
        cell, estimand = divmod(int(rest[0]), len(self.estimands))
        reps, groups = np.unique(rep), np.unique(group)
        place = np.searchsorted(groups, group) * len(reps) + np.searchsorted(reps, rep)
        blocks = []
        for code in np.unique(method):
            start, stop = np.searchsorted(method, [code, code + 1])
            here, at = self.order[rows][start:stop], place[start:stop]
            blocks.append(self._block((cell, int(code), estimand), groups, len(reps), here, at))
        return blocks

    def _block(self, who: tuple[int, int, int], groups: Any, n: int, rows: Any, place: Any) -> Block:
        whole = len(rows) == n * len(groups)

        def matrix(column: NDArray[Any], blank: Any) -> NDArray[Any]:
            if whole:  # rows are sorted by group, then replicate
                return column[rows].reshape(len(groups), n).T
            filled = np.full(len(groups) * n, blank, column.dtype)
            filled[place] = column[rows]
            return filled.reshape(len(groups), n).T

        status = matrix(self.status, -1)
        attempted, failed = status >= 0, status == STATUS.index("nonfinite")
        columns = {name: matrix(column, np.nan) for name, column in self.numbers.items()}
        columns["status"] = status
        return Block(*who, groups, columns, attempted, failed, attempted & ~failed)


def _missing(value: Any) -> bool:
    return value is None or value != value


def _severity(column: pd.Series) -> NDArray[np.int8]:
    axis = _axis(column)
    lookup = np.array([STATUS.index(known("status", word, STATUS)) for word in axis.labels], np.int8)
    return lookup[axis.codes]


def tabulate(
    estimates: pd.DataFrame | Iterable[pd.DataFrame],
    *,
    factors: list[str],
    functions: Mapping[str, Callable[[Errors], Measure]],
    over_groups: Set[str],
    paired: Set[str],
    failures: str,
    reference: str | None,
    regime: str,
    exclude_flagged: bool,
    decisions: Mapping[str, float],
    settings: Mapping[str, Any],
) -> tuple[pd.DataFrame, list[str]]:
    """The work behind `hiermodels.studies.measures.performance`, which describes the parameters.

    Estimates may come in batches of whole cells; one batch is in memory at a time.
    """
    import pandas as pd

    known("failures", failures, POLICIES)
    known("regime", regime, REGIMES)
    if not 0 < settings["interval"] < 1:
        raise ValueError(
            f"interval: expected a number between 0 and 1, such as 0.95, found {settings['interval']!r}"
        )
    scorer = _Scorer(factors, functions, over_groups, paired, failures, reference, regime, decisions, settings)
    for batch in [estimates] if isinstance(estimates, pd.DataFrame) else estimates:
        scorer.read(_checked(batch, factors), exclude_flagged)
    return scorer.table(), scorer.notes(exclude_flagged)


def _checked(estimates: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """A batch that has rows and every column that is needed."""
    absent = [name for name in (*_REQUIRED, *factors) if name not in estimates]
    if absent or not len(estimates):
        expected, found = ", ".join((*_REQUIRED, *factors)), ", ".join(absent) or "every row"
        raise ValueError(f"estimates: expected rows with the columns {expected}; missing: {found}")
    return estimates


def _kept(block: Block, exclude_flagged: bool) -> Block:
    if exclude_flagged:
        np.logical_and(block.present, block.columns["status"] == 0, out=block.present)
    return block


class _Scorer:
    """Applies measures to blocks and collects rows and reasons."""

    def __init__(
        self,
        factors: Sequence[str],
        functions: Mapping[str, Callable[[Errors], Measure]],
        over_groups: Set[str],
        paired: Set[str],
        failures: str,
        reference: str | None,
        regime: str,
        decisions: Mapping[str, float],
        settings: Mapping[str, Any],
    ) -> None:
        self.factors, self.names, self.reference_name = factors, _Names(), reference
        self.compares = any(name in paired for name in functions)
        self.functions, self.over_groups, self.paired = functions, over_groups, paired
        self.failures, self.regime, self.decisions, self.settings = failures, regime, decisions, settings
        self.rows: dict[tuple[int, int, int], dict[str, NDArray[Any]]] = {}
        self.reasons: dict[tuple[str, str], dict[str, set[int]]] = {}
        self.lost: dict[str, float] = {}
        self.fits = np.zeros(3, np.int64)
        self.cell_values: list[pd.DataFrame] = []
        self.cells = 0

    def read(self, estimates: pd.DataFrame, exclude_flagged: bool) -> None:
        """Score every block of a batch."""
        layout = self.layout = _Layout(estimates, self.factors, self.names)
        for blocks in layout.shared():
            self.add([_kept(b, exclude_flagged) for b in blocks])
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
        if self.failures == "paired-complete":
            together = np.logical_and.reduce([b.present | ~b.attempted.any(0) for b in blocks])
            for b in blocks:
                np.logical_and(b.present, together, out=b.present)
        other = next((b.columns["estimate"] for b in blocks if b.method == self.reference), None)
        if other is not None and self.compares:
            kept = next(b.present for b in blocks if b.method == self.reference)
            other = np.where(kept, other, np.nan)
        for block in blocks:
            self._add(_trimmed(block), None if other is None else other[:, block.attempted.any(0)])

    def _add(self, block: Block, other: NDArray[np.float64] | None) -> None:
        name = str(self.layout.estimands.labels[block.estimand])
        labels = self.layout.group_labels[block.groups]
        given = {key: block.columns[key] for key in _MATRICES if key in block.columns}
        shared = dict(
            **given,
            reference=other,
            present=block.present,
            failed=block.failed,
            worst=self.failures == "worst-case",
            positive=name.startswith(_POSITIVE),
            cut=self._cut(name, block) if "power" in self.functions else None,
            **self.settings,
        )
        versions = [(Errors(**shared), labels)]
        if any(labels != ""):
            versions.append((Errors(**shared, average=True), np.array([AVERAGE], object)))
        parts = [self._score(errors, names, block, name) for errors, names in versions]
        self.rows[self.cells + block.cell, block.method, block.estimand] = {
            key: np.concatenate([part[key] for part in parts]) for key in parts[0]
        }

    def _cut(self, estimand: str, block: Block) -> float | None:
        default = (1 + self.settings["interval"]) / 2
        if estimand in self.decisions:
            return float(self.decisions[estimand])
        if estimand.startswith("P("):
            return default
        ends = np.isfinite(block.columns["lower"]) | np.isfinite(block.columns["upper"])
        seen, true = block.columns["estimate"][block.present], block.columns["true"][block.present]
        probability = len(seen) and not ends.any() and bool(((seen >= 0) & (seen <= 1)).all())
        probability = probability and bool(((true == 0) | (true == 1) | np.isnan(true)).all())
        return default if probability else None

    def _score(
        self, errors: Errors, groups: NDArray[Any], block: Block, estimand: str
    ) -> dict[str, NDArray[Any]]:
        names = [name for name in self.functions if errors.average or name not in self.over_groups]
        results = {name: self._measured(name, errors, block) for name in names}
        for name, measure in results.items():
            for reason in filter(None, np.unique(measure.note).tolist()):
                self.reasons.setdefault((name, reason), {}).setdefault(estimand, set()).add(self.cells + block.cell)
        if "cover" in results:
            self._short_chains(errors, results["cover"], block, estimand)
        retried = block.columns["n_try"] > 1 if "n_try" in block.columns else np.zeros_like(block.failed)
        counts = [block.attempted, block.failed, retried]
        if errors.average:
            counts = [count.any(-1, keepdims=True) for count in counts]
        n_sim, n_failed, n_retried = (count.sum(0) for count in counts)
        if not errors.average:
            self.fits += [n_sim.sum(), n_failed.sum(), n_retried.sum()]
        columns = {
            "group": np.repeat(groups, len(names)),
            "measure": np.tile(np.array(names, object), len(groups)),
        }
        for place, key in enumerate(("value", "mcse", "lower", "upper")):
            numbers = [np.broadcast_to(np.asarray(m[place], float), len(groups)) for m in results.values()]
            columns[key] = np.stack(numbers, -1).ravel() if numbers else np.zeros(0)
        for key, count in (("n_sim", n_sim), ("n_failed", n_failed), ("n_retried", n_retried)):
            columns[key] = np.repeat(count.astype(np.int64), len(names))
        return columns

    def _measured(self, name: str, errors: Errors, block: Block) -> Measure:
        measure = self.functions[name](errors)
        if name in self.paired and block.method == self.reference:
            return undefined(measure, np.ones(np.shape(measure.value), bool), "this method is the reference")
        return measure

    def _short_chains(self, errors: Errors, cover: Measure, block: Block, estimand: str) -> None:
        """Remember estimands whose tail ESS biases quantile coverage by more than half its MCSE."""
        if "ess_tail" not in block.columns:
            return
        loss = np.atleast_1d(mean_over(2 * errors.interval / (block.columns["ess_tail"] + 1), errors).value)
        mcse = np.where(cover.mcse > 0, cover.mcse, (cover.upper - cover.lower) / (2 * Z95))
        if (short := loss > mcse / 2).any():
            who = f"{estimand} ({self.layout.methods.labels[block.method]})"
            self.lost[who] = max(self.lost.get(who, 0.0), float(loss[short].max()))

    def table(self) -> pd.DataFrame:
        """All rows, in order of cell, method, estimand, group, measure."""
        import pandas as pd

        known("reference", self.reference_name or self.methods[0], self.methods)
        order = sorted(self.rows)
        parts = [self.rows[who] for who in order]
        lengths = [len(part["value"]) for part in parts]
        cell, method, estimand = np.repeat(np.array(order, np.int64).reshape(-1, 3), lengths, axis=0).T
        table = pd.concat(self.cell_values, ignore_index=True).iloc[cell].reset_index(drop=True)
        table["method"] = pd.array(self.methods, dtype="str").take(method)
        table["estimand"] = pd.array([str(e) for e in self.names.estimands], dtype="str").take(estimand)
        for key in parts[0]:
            numbers = np.concatenate([part[key] for part in parts])
            table[key] = pd.array(numbers, dtype="str") if numbers.dtype == object else numbers
        return table

    def notes(self, exclude_flagged: bool) -> list[str]:
        """What the reader of the table must know."""
        n_sim, n_failed, n_retried = self.fits
        notes = [REGIMES[self.regime]]
        if n_failed or n_retried:
            counts = f"{n_failed} are missing (not finite) and {n_retried} were retried"
            policy = f"{self.failures}: {_POLICY_NOTES[self.failures]}"
            notes.append(f"Failures: of {n_sim} estimates attempted, {counts}. Policy {policy}")
        if exclude_flagged:
            notes.append(
                "Flagged fits are left out, which conditions on convergence: compare with the full table."
            )
        if self.compares:
            reference = self.methods[self.reference]
            notes.append(f"Comparisons are with method {reference!r}, paired by replicate.")
        for (measure, reason), estimands in self.reasons.items():
            places = "; ".join(name + self._where(cells) for name, cells in estimands.items())
            notes.append(f"{measure} is NA for {places}: {reason}.")
        for name in sorted(self.over_groups & self.functions.keys()):
            if not any((part["measure"] == name).any() for part in self.rows.values()):
                notes.append(
                    f"{name} has no row: it is an average over groups, and no estimand here has any."
                )
        return [*notes, *self._bias_note()]

    def _bias_note(self) -> list[str]:
        if not self.lost:
            return []
        worst, nominal = max(self.lost.values()), self.settings["interval"]
        ess = 2 * nominal / worst - 1
        return [
            f"Few draws bias cover of {', '.join(self.lost)}: at a tail ESS of {ess:.0f} an interval between "
            f"sample quantiles covers {nominal - worst:.3f} for {nominal:g}, more than half an MCSE less. "
            "Take more draws, or read rank_cover, which has no such bias."
        ]

    def _where(self, cells: set[int]) -> str:
        """In which cells, in words; empty if in all of them."""
        if len(cells) == self.cells:
            return ""
        import pandas as pd

        rows = pd.concat(self.cell_values, ignore_index=True).iloc[sorted(cells)[:3]]
        words = [
            " ".join(f"{k}={_plain(v)}" for k, v in zip(rows.columns, row, strict=True))
            for row in rows.itertuples(index=False)
        ]
        more = f" and {len(cells) - 3} more cells" if len(cells) > 3 else ""
        return f" at {', '.join(words)}{more}"


_POLICY_NOTES = {
    "complete-case": "Each method is judged on the replicates where it gave an estimate.",
    "paired-complete": "All methods are judged on the replicates where every one of them gave an estimate.",
    "worst-case": "In shares missing estimates count as not covering and not firing (in the upper limit, as "
    "covering and firing); the other measures have no such bound and use the replicates with an estimate.",
    "retry-with-escalation": "Each method is judged on the replicates where it gave an estimate in the end.",
}


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _trimmed(block: Block) -> Block:
    """Without groups that the method does not have, and replicates on which it was not tried."""
    columns, rows = block.attempted.any(0), block.attempted.any(1)
    if columns.all() and rows.all():
        return block

    def cut(matrix: NDArray[Any]) -> NDArray[Any]:
        return matrix[:, columns]

    matrices = {name: cut(matrix) for name, matrix in block.columns.items()}
    return Block(
        block.cell, block.method, block.estimand, block.groups[columns], matrices,
        cut(block.attempted), cut(block.failed), cut(block.present),
    )  # fmt: skip


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

    cells, values = _cells(estimates, factors)
    methods, rep = _axis(estimates["method"]), estimates["rep"].to_numpy(np.int64)
    both = cells.codes * len(methods) + methods.codes
    fit, first = pd.factorize(both * (rep.max() + 1) + rep)
    worst = np.zeros(len(first), np.int8)
    np.maximum.at(worst, fit, _severity(estimates["status"]))
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
