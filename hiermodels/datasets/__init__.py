"""Datasets that come with the library, and the reader of a user's own table.

Each CSV file names its source in its first lines; README.md beside them has the table of columns.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from hiermodels.datasets.cells import read_cells
from hiermodels.datasets.roles import as_table

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["dataset_names", "is_file", "load_dataset", "read_table"]

_HERE = Path(__file__).parent
_PARQUET = (".parquet", ".pq")
_SPREADSHEETS = (".xlsx", ".xls", ".ods")


def dataset_names() -> tuple[str, ...]:
    """Names of the datasets that come with the library, in alphabetical order.

    Examples
    --------
    >>> "eight_schools" in dataset_names()
    True
    """
    return tuple(sorted(path.stem for path in _HERE.glob("*.csv")))


def load_dataset(name: str) -> pd.DataFrame:
    """A dataset of the library, ratios derived.

    Parameters
    ----------
    name : str
        One of `dataset_names`.

    Returns
    -------
    DataFrame
        A fresh copy at each call. Counts are integers; ``baseball`` also has ``avg = hits / at_bats``,
        ``rem_avg = rem_hits / rem_at_bats`` and ``se = sqrt(p (1 - p) / at_bats)``, p the pooled average.

    Raises
    ------
    ValueError
        For an unknown name; the nearest right one is offered.

    Examples
    --------
    >>> load_dataset("eight_schools").columns.tolist()
    ['school', 'effect', 'se']
    """
    names = dataset_names()
    if name not in names:
        near = difflib.get_close_matches(str(name), names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(names)}"
        raise ValueError(f"dataset: unknown name {name!r}; {hint} (a file has a dot or slash: ./{name}.csv)")
    frame = as_table(read_cells(_HERE / f"{name}.csv"), None, None, "")
    return _with_averages(frame) if name == "baseball" else frame


def is_file(value: str | Path) -> bool:
    """Whether a value of ``--data`` or ``design`` names a file: it has a dot or a slash.

    Examples
    --------
    >>> is_file("baseball"), is_file("my.csv"), is_file("data/mine")
    (False, True, True)
    """
    return isinstance(value, Path) or any(mark in value for mark in "./\\")


def read_table(
    name_or_path: str | Path,
    labels: Collection[str] | None = None,
    *,
    missing: str | Collection[str] | None = None,
    way: str = 'missing=""',
) -> pd.DataFrame:
    """A dataset of the library by name, or a table from a file.

    Parameters
    ----------
    name_or_path : str or Path
        A value with a dot or a slash is a file: Parquet where it ends so, else CSV with a header line (UTF-8; fields
        separated by commas, semicolons, tabs or bars; lines that begin with ``#`` above the header are skipped). Where
        another mark than a comma separates fields, a decimal comma is read as one, unless every number with a comma is
        written like 1,234.
    labels : collection of str, optional
        Columns whose values are labels of groups: they stay text as written in a CSV (``1``, ``01`` and ``001`` are
        three groups). Other columns are numbers where every cell is one; one with a cell such as ``01`` stays text,
        which is read as numbers where it is used as numbers.
    missing : str or collection of str, optional
        Texts that stand for a missing value, beside an empty cell; ``""`` for empty cells alone, so that ``NA`` is a
        label. By default ``NA``, ``NaN``, ``NULL``, ``None`` and what pandas takes for missing.
    way : str
        How a user says so, for the message about a label that reads as missing.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        For a file that is missing, empty, binary or without rows, with a column name twice, with a row of more or fewer
        fields than the header, or with a label that reads as missing.

    Examples
    --------
    >>> len(read_table("rats"))
    71
    """
    if not is_file(name_or_path):
        return load_dataset(str(name_or_path))
    path = Path(name_or_path)
    _require_file(path)
    told = (missing,) if isinstance(missing, str) else missing
    frame = _read_parquet(path) if path.suffix.lower() in _PARQUET else as_table(read_cells(path), labels, told, way)
    if frame.empty:
        raise ValueError(f"{path}: expected at least one row below the header, found none; add the data")
    return frame


def _with_averages(frame: pd.DataFrame) -> pd.DataFrame:
    pooled = frame["hits"].sum() / frame["at_bats"].sum()
    return frame.assign(
        avg=frame["hits"] / frame["at_bats"],
        rem_avg=frame["rem_hits"] / frame["rem_at_bats"],
        se=(pooled * (1 - pooled) / frame["at_bats"]) ** 0.5,
    )


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ValueError(f"{path}: expected a table, found a folder; name a CSV or Parquet file in it")
    if not path.exists():
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, beside, 1)
        hint = f"did you mean {str(path.parent / near[0])!r}?" if near else f"paths start from {Path.cwd()}"
        raise ValueError(f"{path}: no such file; {hint}")
    if path.suffix.lower() in _SPREADSHEETS:
        raise ValueError(f"{path}: expected CSV or Parquet, found a spreadsheet; save the sheet as CSV")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: expected a table, found an empty file; write a header line and rows")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception:  # pandas and pyarrow raise many kinds for a damaged file, KeyError among them
        raise ValueError(f"{path}: expected Parquet, found a damaged file or something else; write it anew") from None
