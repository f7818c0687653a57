"""The groups of a term: which row is in which, compared by value with those of another table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.columns import require_column, shown_cell
from hiermodels.models.labels import KINDS, Label, join, label_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Grouping", "grouping", "read_labels"]


@dataclass(frozen=True)
class Grouping:
    """The groups of one term: columns, and the labels in the order of every result.

    Attributes
    ----------
    columns : tuple of str
    keys : tuple of tuple of Label
        A label a column, for each group.
    """

    columns: tuple[str, ...]
    keys: tuple[tuple[Label, ...], ...]

    @cached_property
    def labels(self) -> list[str]:
        """Printed labels: ``s1:c2``; no two are alike."""
        return [join(map(str, key)) for key in self.keys]

    def match(self, frame: pd.DataFrame, where: str, *, absent: bool = False) -> tuple[np.ndarray, list[str]]:
        """The group of each row of another table, compared by value after the columns' kinds.

        Parameters
        ----------
        frame : DataFrame
        where : str
            Begins the messages.
        absent : bool
            Whether a column may be missing; each row then has a group of its own.

        Returns
        -------
        place : ndarray of int, shape (row,)
            Place among the labels; from their number on for groups that are not there, one a label.
        labels : list of str
            Printed label of each row.

        Raises
        ------
        ValueError
            For a missing label, one of mixed kinds, or one that differs from several labels in kind only.
        """
        parts = [self._column(frame, j, where, absent) for j in range(len(self.columns))]
        keys = list(zip(*parts, strict=True))
        place = {key: i for i, key in enumerate(self.keys)}
        for key in keys:
            place.setdefault(key, len(place))
        return np.array([place[key] for key in keys], int), [join(map(str, key)) for key in keys]

    def _column(self, frame: pd.DataFrame, j: int, where: str, absent: bool) -> list[Label]:
        name = self.columns[j]
        if absent and name not in frame.columns:
            return [Label("none", f"new {row}") for row in range(len(frame))]
        said = f"{where}, column {name!r}"
        codes, labels = read_labels(frame, name, where, said)
        found = {code: labels[code] for code in dict.fromkeys(codes.tolist())}
        meant = _by_value(list(found.values()), list(dict.fromkeys(key[j] for key in self.keys)), said)
        return [meant[found[code]] for code in codes.tolist()]


def _by_value(found: list[Label], known: list[Label], said: str) -> dict[Label, Label]:
    """For each label the known one of the same value; itself where there is none.

    Labels of the known ones' kind are compared as they are: the texts ``1`` and ``01`` are two.
    """
    kind, spelt = known[0].kind, defaultdict[Label, dict[Label, None]](dict)
    if any(label.kind != kind for label in found):
        for label in known:
            for meaning in label.meanings():
                spelt[meaning][label] = None
    meant: dict[Label, Label] = {}
    owner: dict[Label, Label] = {}
    for label in found:
        same = (
            [label]
            if label.kind == kind
            else list({other: None for meaning in label.meanings() for other in spelt[meaning]})
        )
        if len(same) > 1:
            several = ", ".join(other.shown() for other in same[:5])
            raise ValueError(f"{said}: {label.shown()} may be any of {several} in the data; give {KINDS[kind]}")
        meant[label] = same[0] if same else label
        first = owner.setdefault(meant[label], label)
        if first != label:
            raise ValueError(
                f"{said}: {first.shown()} and {label.shown()} are both {meant[label].shown()} of the data, whose "
                f"labels are {KINDS[kind]}; "
                "write it in one way"
            )
    return meant


def grouping(frame: pd.DataFrame, factors: tuple[str, ...], where: str) -> tuple[np.ndarray, Grouping]:
    r"""Number of each row's group, and the groups: in category order, else by first appearance; the first column counts
    most.

    Parameters
    ----------
    frame : DataFrame
    factors : tuple of str
        Columns whose combinations are the groups.
    where : str
        Begins the message about a column that is not there.

    Raises
    ------
    ValueError
        For a label that is missing or none, labels of mixed kinds, and a category without a row.

    Examples
    --------
    >>> import pandas as pd
    >>> code, found = grouping(pd.DataFrame({"s": ["a:b", "a"], "t": ["c", "b:c"]}), ("s", "t"), "data")
    >>> code.tolist(), found.labels == [r"a\:b:c", r"a:b\:c"]
    ([0, 1], True)
    """
    columns = []
    for name in factors:
        codes, labels = read_labels(frame, name, where)
        if len(set(codes.tolist())) < len(labels):
            unused = labels[min(set(range(len(labels))) - set(codes.tolist()))]
            raise ValueError(
                f"column {name!r}: category {shown_cell(str(unused))} has no row; "
                "call .cat.remove_unused_categories() or give it data"
            )
        columns.append((codes, labels))
    joint = np.zeros(len(frame), np.int64)
    for codes, labels in columns:
        joint = joint * len(labels) + codes
    _, first, code = np.unique(joint, return_index=True, return_inverse=True)
    return code, Grouping(factors, tuple(tuple(labels[codes[row]] for codes, labels in columns) for row in first))


def read_labels(frame: pd.DataFrame, name: str, where: str, said: str | None = None) -> tuple[np.ndarray, list[Label]]:
    """Number of each row's label, and the labels: in category order (unused ones too), else by first appearance.

    Messages about a cell begin with ``said``, by default the column's name.
    """
    import pandas as pd

    require_column(frame, name, where)
    column = frame[name]
    if isinstance(column.dtype, pd.CategoricalDtype):
        codes, cells = column.cat.codes.to_numpy().astype(np.int64), list(column.cat.categories.to_numpy())
    elif column.dtype == object:
        codes, cells = _distinct(column.tolist())
    else:
        codes, unique = pd.factorize(column)
        cells = list(pd.Index(unique).to_numpy())
    said = said or f"column {name!r}"
    if (codes < 0).any():
        row = int(np.argmax(codes < 0))
        raise ValueError(
            f"{said}, row {row}: expected a group label, found a missing value; drop or fill the row "
            '(where a file says NA and means it: keep_default_na=False of pd.read_csv, --missing "" in a shell)'
        )
    rows = dict(zip(codes.tolist()[::-1], range(len(codes) - 1, -1, -1), strict=True))
    labels = [_checked(cell, f"{said}, row {rows[i]}" if i in rows else said) for i, cell in enumerate(cells)]
    _refuse_mixed(labels, rows, said)
    merged: dict[Label, int] = {}
    again = np.array([merged.setdefault(label, len(merged)) for label in labels], np.int64)
    return again[codes] if len(labels) else codes, list(merged)


def _distinct(cells: list[Any]) -> tuple[np.ndarray, list[Any]]:
    """Codes by first appearance of cells of any type, -1 where one is missing; 1, "1" and True are three."""
    import pandas as pd

    seen: dict[Any, int] = {}
    codes = np.empty(len(cells), np.int64)
    found: list[Any] = []
    for row, cell in enumerate(cells):
        if cell is None or cell is pd.NA or cell is pd.NaT or (isinstance(cell, float | np.floating) and cell != cell):
            codes[row] = -1
            continue
        try:
            key = (type(cell), cell)
            place = seen.setdefault(key, len(found))
        except TypeError:  # unhashable: no label
            place = len(found)
        if place == len(found):
            found.append(cell)
        codes[row] = place
    return codes, found


def _checked(cell: Any, where: str) -> Label:
    try:
        label = label_of(cell)
    except TypeError as error:
        shown = shown_cell(cell)
        found = str(error) if shown == str(error) else f"{error}, {shown}"
        raise ValueError(
            f"{where}: expected a group label (text, a number, true or false, a date), found {found}; "
            "make a text of each with .map(str)"
        ) from None
    if label is None or label.value == "":
        found = "an empty text" if label else "a missing value"
        raise ValueError(f"{where}: expected a group label, found {found}; drop or fill the row")
    return label


def _refuse_mixed(labels: list[Label], rows: dict[int, int], said: str) -> None:
    other = next((i for i, label in enumerate(labels) if label.kind != labels[0].kind), None)
    if other is not None:
        shown = [f"{labels[i].shown()} in {f'row {rows[i]}' if i in rows else 'the categories'}" for i in (0, other)]
        raise ValueError(
            f"{said}: expected labels of one kind, found {shown[0]} and {shown[1]}; make them one with .map(str)"
        )
