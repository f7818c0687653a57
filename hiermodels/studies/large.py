"""Cells with more replicates than are held in memory as a table: their blocks are filled chunk by chunk.

Of a cell, one estimand is in memory at a time, and of its rows only the columns that measures read: 8 bytes a number. The blocks
are those that `hiermodels.studies.blocks.Layout` cuts from a table, so every number has the same bits.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hiermodels.inference.draws import STATUS
from hiermodels.studies.blocks import Axis, Block, Names, cells_of, group_text, known
from hiermodels.studies.chunks import cut, encoded, read_chunk, stream_estimates, wanted_files
from hiermodels.studies.machine import cores

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["LARGE", "Filled", "LargeCell", "stream_cells"]

LARGE = 200_000
"""Rows of a batch; a cell with more is summarised chunk by chunk."""
_AHEAD = 16
"""Chunks that are read ahead."""


@dataclass(frozen=True)
class LargeCell:
    """The stored estimates of a cell, read chunk by chunk, as often as it takes.

    Attributes
    ----------
    files : tuple
        Arguments of `hiermodels.studies.chunks.read_chunk`, a file each, methods one after the other.
    reps : int
        Replicates 0, ..., reps - 1 are wanted.
    """

    files: tuple[tuple[Path, Collection[str], str | None, str], ...]
    reps: int

    def tables(self) -> Iterator[pa.Table]:
        """Tables of the chunks in order, a few in memory at a time; texts as codes."""
        with concurrent.futures.ThreadPoolExecutor(min(8, cores())) as pool:
            for some in itertools.batched(self.files, _AHEAD):
                for table in pool.map(lambda one: encoded(cut(read_chunk(*one), self.reps)), some):
                    if table.num_rows:
                        yield table


def stream_cells(
    folder: Path, manifest: Mapping[str, Any], replications: int | None = None, spare: Collection[str] = (), large: int = LARGE
) -> Iterator[pd.DataFrame | LargeCell]:
    """Stored estimates as batches of whole cells with about ``large`` rows, and cells with more as a `LargeCell`.

    Parameters
    ----------
    folder, manifest, replications, spare
        As in `hiermodels.studies.chunks.stream_estimates`.
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
        yield LargeCell(tuple(files), most)
    yield from small()


def _rows(files: Sequence[tuple[Any, ...]]) -> int:
    """Rows of some files, by their footers; a damaged one counts as none, and is refused when it is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = 0
    for file, *_ in files:
        with contextlib.suppress(pa.ArrowException, OSError):
            count += pq.read_metadata(file).num_rows
    return count


class Filled:
    """A large cell as blocks, with the attributes of `hiermodels.studies.blocks.Layout`, and its fits by status.

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

    def _note(self, table: pa.Table, counts: dict[int, NDArray[np.int64]]) -> None:
        """Take note of a chunk's targets, and count its fits by their worst status."""
        method, estimand, group = (_codes(table[name], known) for name, known in self._axes())
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

    def _axes(self) -> tuple[tuple[str, dict[Any, int]], ...]:
        return (("method", self.names.methods), ("estimand", self.names.estimands), ("group", self.names.groups))

    def _failures(self, counts: Mapping[int, NDArray[np.int64]]) -> pd.DataFrame:
        """As `hiermodels.studies.tables.count_failures`."""
        import pandas as pd

        methods = list(self.names.methods)
        rows = [(str(methods[m]), int(found[:-1].sum()), *map(int, found)) for m, found in sorted(counts.items())]
        names = ("method", "n_sim", *STATUS, "n_retried")
        table = pd.DataFrame({name: [row[i] for row in rows] for i, name in enumerate(names)}).astype({"method": "str"})
        values = self.cell_values.iloc[np.zeros(len(table), int)].reset_index(drop=True)
        return pd.concat([values, table], axis=1)

    def shared(self) -> Iterator[list[Block]]:
        """Blocks of one estimand at a time, one a method."""
        for estimand in sorted(self.targets):
            yield self._blocks(estimand, self.targets[estimand])

    def _blocks(self, estimand: int, of: Mapping[int, list[int]]) -> list[Block]:
        """Read the cell again, and keep what one estimand needs."""
        groups = np.unique(np.concatenate([np.array(some) for some in of.values()]))
        shape, word = (len(groups), self.cell.reps), list(self.names.estimands)[estimand]
        first: dict[str, NDArray[Any]] = {}
        last: dict[str, NDArray[Any]] = {}
        kept: dict[int, dict[str, NDArray[Any]]] = {m: {"status": np.full(shape, -1, np.int8)} for m in sorted(of)}
        for table in self.cell.tables():
            place = _labels(table["estimand"]).index(word) if word in _labels(table["estimand"]) else -1
            rows = np.flatnonzero(_indices(table["estimand"]) == place)
            if not len(rows):
                continue
            method, group = (_codes(table[name], known)[rows] for name, known in self._axes()[::2])
            columns, rep, at = kept[int(method[0])], table["rep"].to_numpy()[rows], np.searchsorted(groups, group)
            if columns is not last:  # files come method by method
                _share_truths(first, last)
                first, last = first or columns, columns
            if (columns["status"][at, rep] >= 0).any() or len({*zip(at.tolist(), rep.tolist(), strict=True)}) < len(rows):
                twice = int(rep[np.argmax(columns["status"][at, rep] >= 0)])
                raise ValueError(f"estimates: replicate {twice} is there twice (estimand {word!r}); expected one row each")
            columns["status"][at, rep] = _status(table)[rows]
            for name in self.columns:
                if name in table.column_names:
                    numbers = table[name].to_numpy()[rows]
                    if name not in columns:
                        columns[name] = np.zeros(shape, np.int8) if name == "n_try" else np.full(shape, np.nan)
                    columns[name][at, rep] = np.minimum(numbers, 2) if name == "n_try" else numbers
        _share_truths(first, last)
        tried = np.logical_or.reduce([(c["status"] >= 0).any(0) for c in kept.values()])
        if not tried.all():
            kept = {m: {name: c[:, tried] for name, c in columns.items()} for m, columns in kept.items()}
        return [_block(0, m, estimand, groups, columns) for m, columns in kept.items()]


def _share_truths(one: Mapping[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
    """Hold the truths of two methods once, where they are the same."""
    if one is not other and "true" in one and "true" in other and np.array_equal(one["true"], other["true"], equal_nan=True):
        other["true"] = one["true"]


def _block(cell: int, method: int, estimand: int, groups: NDArray[np.int64], columns: Mapping[str, NDArray[Any]]) -> Block:
    matrices = {name: column.T for name, column in columns.items()}
    status = matrices["status"]
    attempted, failed = status >= 0, status == STATUS.index("nonfinite")
    return Block(cell, method, estimand, groups, matrices, attempted, failed, attempted & ~failed)


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
    return np.array([STATUS.index(known("status", word, STATUS)) for word in labels], np.int8)[_indices(table["status"])]
