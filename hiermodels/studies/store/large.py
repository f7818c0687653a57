"""Cells with more replicates than are held in memory as a table: their blocks are filled window by window.

A window is a run of replicates of all methods, as long as keeps its rows at about `LARGE`: it depends on the number of rows of a
replicate, and not on how they are stored. Its blocks are those that `hiermodels.studies.store.blocks.Layout` cuts from a table.
"""  # noqa: E501

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from hiermodels.inference.draws import STATUS
from hiermodels.studies.machine import cores
from hiermodels.studies.store.blocks import Axis, Block, Names, cells_of, group_text, known
from hiermodels.studies.store.chunks import cut, encoded, read_chunk, stream_estimates, wanted_files

__all__ = ["LARGE", "Filled", "LargeCell", "stream_cells"]

LARGE = 200_000
"""Rows of a batch; a cell with more is summarised window by window."""
_AHEAD = 16
"""Chunks that are read ahead, at most."""


@dataclass(frozen=True)
class LargeCell:
    """The stored estimates of a cell, read chunk by chunk, as often as it takes.

    Attributes
    ----------
    files : tuple
        Arguments of `hiermodels.studies.store.chunks.read_chunk`, a file each, methods one after the other.
    reps : int
        Replicates 0, ..., reps - 1 are wanted.
    rows : int
        Rows of a window, at most, and of the chunks that are read ahead.
    made : callable, optional
        Makes another table of each, of the same replicates.
    wanted : collection of str
        Columns that it is made of.
    """

    files: tuple[tuple[Path, Collection[str], str | None, str], ...]
    reps: int
    rows: int = LARGE
    made: Callable[[pa.Table], pa.Table] | None = None
    wanted: Collection[str] = ()

    def mapped(self, made: Callable[[pa.Table], pa.Table], wanted: Collection[str]) -> LargeCell:
        """A cell with other tables in the place of its own, made of some columns."""
        return replace(self, made=made, wanted=wanted)

    def methods(self) -> list[LargeCell]:
        """The cell, method by method."""
        return [
            replace(self, files=tuple(files)) for _, files in itertools.groupby(self.files, lambda one: one[0].parent)
        ]

    def tables(self, columns: Collection[str] | None = None) -> Iterator[pa.Table]:
        """Tables of the chunks in order, few in memory at a time (one that is made may be larger); texts as codes.

        ``columns``: no others are wanted.
        """
        ahead = (
            max(1, min(_AHEAD, self.rows // max(map(_rows_of, self.files[:1]), default=1))) if self.made is None else 0
        )
        with concurrent.futures.ThreadPoolExecutor(min(8, cores())) as pool:
            waiting: deque[concurrent.futures.Future[pa.Table]] = deque()
            for file in self.files:
                if len(waiting) > ahead:
                    yield from _some(waiting.popleft().result())
                waiting.append(pool.submit(self._table, file, columns))
            while waiting:
                yield from _some(waiting.popleft().result())

    def _table(self, file: tuple[Path, Collection[str], str | None, str], columns: Collection[str] | None) -> pa.Table:
        path, spare, maker, todo = file
        columns = columns if self.made is None else self.wanted
        if columns is not None:
            with contextlib.suppress(Exception):  # a damaged file is refused when it is read
                spare = [name for name in pq.read_schema(path).names if name not in columns]
        table = encoded(cut(read_chunk(path, spare, maker, todo), self.reps))
        return table if self.made is None or not table.num_rows else encoded(self.made(table))


def _some(table: pa.Table) -> Iterator[pa.Table]:
    """A table that has rows, in order of replicates."""
    rep = table["rep"].to_numpy()
    if len(rep) and (np.diff(rep) < 0).any():
        table = table.take(np.argsort(rep, kind="stable"))
    if len(rep):
        yield table


def stream_cells(
    folder: Path,
    manifest: Mapping[str, Any],
    replications: int | None = None,
    spare: Collection[str] = (),
    large: int = LARGE,
) -> Iterator[pd.DataFrame | LargeCell]:
    """Stored estimates as batches of whole cells with about ``large`` rows, and cells with more as a `LargeCell`.

    Parameters
    ----------
    folder, manifest, replications, spare
        As in `hiermodels.studies.store.chunks.stream_estimates`.
    large : int
    """
    waiting: list[Any] = []

    def small() -> Iterator[pd.DataFrame]:
        if waiting:
            yield from stream_estimates(folder, {**manifest, "cells": waiting}, replications, rows=large, spare=spare)

    for cell in manifest["cells"]:
        files, most = wanted_files(folder, manifest, cell["hash"], replications, spare)
        if most is None or _rows(files) <= large:
            waiting.append(cell)
            continue
        yield from small()
        waiting = []
        yield LargeCell(tuple(files), most, large)
    yield from small()


def _rows(files: Sequence[tuple[Any, ...]]) -> int:
    """Rows of some files."""
    return sum(map(_rows_of, files))


def _rows_of(file: tuple[Any, ...]) -> int:
    """Rows of a file, by its footer; a damaged one counts as one, and is refused when it is read."""
    with contextlib.suppress(pa.ArrowException, OSError):
        return int(pq.read_metadata(file[0]).num_rows)
    return 1


class Filled:
    """A large cell as blocks, with the attributes of `hiermodels.studies.store.blocks.Layout`, and its fits by status.

    Parameters
    ----------
    cell : LargeCell
    factors : sequence of str
    names : Names
        Codes of methods, estimands and groups; new ones join them.
    columns : collection of str
        Numbers that are read.
    """

    def __init__(self, cell: LargeCell, factors: Sequence[str], names: Names, columns: Collection[str]) -> None:
        self.cell, self.names, self.columns = cell, names, columns
        self.targets: dict[int, dict[int, list[int]]] = {}  # estimand -> method -> groups, in order of first appearance
        counts: dict[int, NDArray[np.int64]] = {}
        values = None
        for table in cell.tables():
            if values is None:
                values = cells_of(table.slice(0, 1).to_pandas(), factors)[1]
            self._note(table, counts)
        if values is None:
            raise ValueError("estimates: expected rows, found none; type the command that made the run again")
        self.cells, self.cell_values = Axis(np.zeros(1, np.int64), [0]), values
        self.estimands = Axis(np.zeros(0, np.int64), list(names.estimands))
        self.group_labels = group_text(names.groups)
        self.failures = self._failures(counts)
        self._axes_of = {
            e: np.unique(np.concatenate([np.array(some) for some in of.values()]))
            for e, of in sorted(self.targets.items())
        }

    def _note(self, table: pa.Table, counts: dict[int, NDArray[np.int64]]) -> None:
        """Take note of a chunk's targets, and count its fits by their worst status."""
        method, estimand, group = (_codes(table[name], known) for name, known in self._names())
        for m, e, g in dict.fromkeys(zip(method.tolist(), estimand.tolist(), group.tolist(), strict=True)):
            groups = self.targets.setdefault(e, {}).setdefault(m, [])
            if g not in groups:
                groups.append(g)
        rep, fit = np.unique(table["rep"].to_numpy(), return_inverse=True)
        worst, tries = np.zeros(len(rep), np.int64), np.zeros(len(rep), np.int64)
        np.maximum.at(worst, fit, _status(table))
        if "n_try" in table.column_names:
            np.maximum.at(tries, fit, table["n_try"].to_numpy())
        found = np.append(np.bincount(worst, minlength=len(STATUS)), (tries > 1).sum())
        counts[int(method[0])] = counts.get(int(method[0]), 0) + found

    def _names(self) -> tuple[tuple[str, dict[Any, int]], ...]:
        return (("method", self.names.methods), ("estimand", self.names.estimands), ("group", self.names.groups))

    def _failures(self, counts: Mapping[int, NDArray[np.int64]]) -> pd.DataFrame:
        """As `hiermodels.studies.store.failures.count_failures`."""
        methods = list(self.names.methods)
        rows = [(str(methods[m]), int(found[:-1].sum()), *map(int, found)) for m, found in sorted(counts.items())]
        names = ("method", "n_sim", *STATUS, "n_retried")
        table = pd.DataFrame({name: [row[i] for row in rows] for i, name in enumerate(names)}).astype({"method": "str"})
        values = self.cell_values.iloc[np.zeros(len(table), int)].reset_index(drop=True)
        return pd.concat([values, table], axis=1)

    def parts(self) -> Iterator[Callable[[], Iterator[list[list[Block]]]]]:
        """What makes the windows of all estimands together; see `hiermodels.studies.store.blocks.Layout.parts`."""
        yield self._windows

    def _windows(self) -> Iterator[list[list[Block]]]:
        """Blocks of every estimand, one a method, window by window."""
        width = self.cell.rows // sum(len(groups) for of in self.targets.values() for groups in of.values())
        width = 1 << max(width, 1).bit_length() - 1
        methods = [
            _Method(self, part.tables({"rep", "estimand", "group", "method", "status", *self.columns}))
            for part in self.cell.methods()
        ]
        for start in range(0, self.cell.reps, width):
            reps = range(start, min(start + width, self.cell.reps))
            filled = {code: matrices for method in methods for code, matrices in method.fill(reps).items()}
            yield [self._blocks(e, of, filled) for e, of in sorted(self.targets.items())]

    def rows_of(self) -> tuple[NDArray[np.int64], int]:
        """The row of the matrices of a window for each estimand and group, and their number."""
        place = np.full((len(self.names.estimands), len(self.names.groups)), -1)
        count = 0
        for e, groups in self._axes_of.items():
            place[e, groups] = np.arange(count, count + len(groups))
            count += len(groups)
        return place, count

    def _blocks(
        self, estimand: int, of: Mapping[int, list[int]], filled: Mapping[int, Mapping[str, NDArray[Any]]]
    ) -> list[Block]:
        groups = self._axes_of[estimand]
        first = self.rows_of()[0][estimand, groups[0]]
        blocks = []
        for method, own in sorted(of.items()):
            matrices = {name: matrix[first : first + len(groups)].T for name, matrix in filled[method].items()}
            status = matrices["status"]
            attempted, failed = status >= 0, status == STATUS.index("nonfinite")
            blocks.append(
                Block(
                    0, method, estimand, groups, matrices, np.isin(groups, own), attempted, failed, attempted & ~failed
                )
            )
        return blocks


class _Method:
    """Rows of one method in order of replicates, as matrices (estimand and group, replicate) of a window at a time."""

    def __init__(self, cell: Filled, tables: Iterator[pa.Table]) -> None:
        self.cell, self.tables = cell, tables
        self.place, self.count = cell.rows_of()
        self.left: pa.Table | None = next(tables, None)
        self.code = -1

    def fill(self, reps: range) -> dict[int, dict[str, NDArray[Any]]]:
        """Matrices of some replicates, by the code of the method; nothing of a method without rows."""
        shape = (self.count, len(reps))
        matrices: dict[str, NDArray[Any]] = {"status": np.full(shape, -1, np.int8), "n_try": np.zeros(shape, np.int8)}
        matrices |= {name: np.full(shape, np.nan) for name in self.cell.columns if name != "n_try"}
        count = 0
        while self.left is not None:
            table = self.left
            self.code = int(_codes(table["method"].slice(0, 1), self.cell.names.methods)[0])
            rep = table["rep"].to_numpy()
            stop = int(np.searchsorted(rep, reps.stop))
            count += stop
            self._put(table.slice(0, stop), reps, matrices)
            if stop < len(rep):
                self.left = table.slice(stop)
                break
            self.left = next(self.tables, None)
        if (matrices["status"] >= 0).sum() < count:
            raise ValueError(f"estimates: a replicate from {reps.start} to {reps.stop - 1} is there twice (method "
                             f"{list(self.cell.names.methods)[self.code]!r}); "
                             "expected one row each")  # fmt: skip
        return {self.code: matrices} if self.code >= 0 else {}

    def _put(self, table: pa.Table, reps: range, matrices: Mapping[str, NDArray[Any]]) -> None:
        if not table.num_rows:
            return
        estimand, group = (
            _codes(table[name], known)
            for name, known in (("estimand", self.cell.names.estimands), ("group", self.cell.names.groups))
        )
        at = self.place[estimand, group] * len(reps) + (table["rep"].to_numpy() - reps.start)
        matrices["status"].reshape(-1)[at] = _status(table)
        for name in self.cell.columns:
            if name in table.column_names:
                numbers = table[name].to_numpy()
                matrices[name].reshape(-1)[at] = np.minimum(numbers, 2) if name == "n_try" else numbers


def _labels(column: Any) -> list[Any]:
    return list(column.combine_chunks().dictionary.to_pylist())


def _indices(column: Any) -> NDArray[np.int64]:
    return np.asarray(column.combine_chunks().indices.to_numpy(zero_copy_only=False), np.int64)


def _codes(column: Any, known: dict[Any, int]) -> NDArray[np.int64]:
    """Codes of a column of texts; new ones join those that are known, in order of first appearance."""
    labels, indices = _labels(column), _indices(column)
    place = np.zeros(len(labels), np.int64)
    for i in dict.fromkeys(indices.tolist()):
        place[i] = known.setdefault(labels[i], len(known))
    return place[indices]


def _status(table: pa.Table) -> NDArray[np.int8]:
    labels = _labels(table["status"])
    return np.array([STATUS.index(known("status", word, STATUS)) for word in labels], np.int8)[
        _indices(table["status"])
    ]
