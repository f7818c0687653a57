"""The long table of estimates cut into blocks: one cell x method x estimand, as matrices (replicate, group).

Blocks of one cell and estimand share their axes, so that methods are paired by replicate.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hiermodels.inference.draws import STATUS

__all__ = ["MATRICES", "Axis", "Block", "Layout", "Names", "axis_of", "cells_of", "group_text", "known", "severity"]

MATRICES = ("estimate", "true", "se", "lower", "upper", "rank", "max_rank")
"""Columns of the estimates that measures read."""


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


def axis_of(column: pd.Series, known: dict[Any, int] | None = None) -> Axis:
    """Codes of a column; those of `known` labels are kept, and new ones join them."""
    codes, labels = pd.factorize(column, use_na_sentinel=False)
    codes = codes.astype(np.int64, copy=False)
    if known is None:
        return Axis(codes, list(labels))
    place = [known.setdefault(None if _missing(label) else label, len(known)) for label in labels]
    return Axis(codes if place == list(range(len(place))) else np.array(place, np.int64)[codes], list(known))


def cells_of(frame: pd.DataFrame, factors: Sequence[str]) -> tuple[Axis, pd.DataFrame]:
    """Codes of the cells, and a row of factor values for each; NaN is a value (the cell lacks the factor)."""
    joint = np.zeros(len(frame), np.int64)
    for factor in factors:
        axis = axis_of(frame[factor])
        joint = pd.factorize(joint * len(axis) + axis.codes)[0].astype(np.int64, copy=False)
    first = np.sort(np.unique(joint, return_index=True)[1])
    values = frame[list(factors)].iloc[first].reset_index(drop=True)
    for name in values:
        if isinstance(values[name].dtype, pd.CategoricalDtype):
            values[name] = values[name].astype(values[name].cat.categories.dtype)
    return Axis(joint, list(range(len(first)))), values


@dataclass(frozen=True)
class Block:
    """One cell x method x estimand, as matrices (replicate, group) on axes shared by its methods; ``here``: groups
    that the method has.
    """

    cell: int
    method: int
    estimand: int
    groups: NDArray[np.int64]
    columns: dict[str, NDArray[np.float64]]
    here: NDArray[np.bool_]
    attempted: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    present: NDArray[np.bool_]


class Names:
    """Codes of methods, estimands and groups, the same in every batch: in order of first appearance."""

    def __init__(self) -> None:
        self.methods: dict[Any, int] = {}
        self.estimands: dict[Any, int] = {}
        self.groups: dict[Any, int] = {}


class Layout:
    """A batch of the long table sorted into blocks without being copied: an order of its rows and their keys."""

    def __init__(self, frame: pd.DataFrame, factors: Sequence[str], names: Names, columns: Collection[str]) -> None:
        self.cells, self.cell_values = cells_of(frame, factors)
        self.methods, self.estimands = (
            axis_of(frame["method"], names.methods),
            axis_of(frame["estimand"], names.estimands),
        )
        self.groups = axis_of(frame["group"], names.groups)
        self.group_labels = group_text(self.groups.labels)
        self.status = severity(frame["status"])
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
            raise ValueError(f"estimates: replicate {row['rep']} is there twice ({where}); expected one row each")
        self.numbers = {name: frame[name].to_numpy(np.float64) for name in columns if name in frame}

    def parts(self) -> Iterator[Callable[[], Iterator[list[list[Block]]]]]:
        """What makes the windows of a part: of each, blocks of some cells and estimands, one a method. Here one window
        of one cell and estimand.
        """
        for blocks in self.shared():
            yield lambda blocks=blocks: iter([[blocks]])  # type: ignore[misc]

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
        return Block(*who, groups, columns, attempted.any(0), attempted, failed, attempted & ~failed)


def group_text(labels: Iterable[Any]) -> NDArray[Any]:
    """Labels of groups as texts, empty for scalars."""
    return np.array(["" if _missing(g) else str(g) for g in labels], object)


def _missing(value: Any) -> bool:
    return value is None or value != value


def severity(column: pd.Series) -> NDArray[np.int8]:
    """Places of statuses in the order from best to worst."""
    axis = axis_of(column)
    lookup = np.array([STATUS.index(known("status", word, STATUS)) for word in axis.labels], np.int8)
    return lookup[axis.codes]
