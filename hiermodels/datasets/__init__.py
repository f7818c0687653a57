"""Datasets that come with the library, and the reader of a user's own table.

Each CSV file names its source in its first lines; README.md beside them has the table of columns.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

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
    frame = _read_csv(_HERE / f"{name}.csv")
    return _with_averages(frame) if name == "baseball" else frame


def is_file(value: str | Path) -> bool:
    """Whether a value of ``--data`` or ``design`` names a file: it has a dot or a slash.

    Examples
    --------
    >>> is_file("baseball"), is_file("my.csv"), is_file("data/mine")
    (False, True, True)
    """
    return isinstance(value, Path) or any(mark in value for mark in "./\\")


def read_table(name_or_path: str | Path) -> pd.DataFrame:
    """A dataset of the library by name, or a table from a file.

    Parameters
    ----------
    name_or_path : str or Path
        A value with a dot or a slash is a file: Parquet where it ends so, else CSV with a header line (UTF-8;
        lines that begin with ``#`` above the header are skipped).

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        For a file that is missing, empty, binary, without rows, or with a column name twice.

    Examples
    --------
    >>> len(read_table("rats"))
    71
    """
    if not is_file(name_or_path):
        return load_dataset(str(name_or_path))
    path = Path(name_or_path)
    _require_file(path)
    frame = _read_parquet(path) if path.suffix.lower() in _PARQUET else _read_csv(path)
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
    except Exception as error:  # pandas and pyarrow raise many kinds for a damaged file, KeyError among them
        found = _first(error)
        raise ValueError(f"{path}: expected Parquet, found something else ({found}); rewrite it") from None


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    comments = _comment_lines(path)
    try:
        head = pd.read_csv(path, skiprows=comments, header=None, nrows=1, dtype=str, encoding="utf-8-sig")
        frame = pd.read_csv(path, skiprows=comments, encoding="utf-8-sig")
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path}: expected a header line with column names, found none; write one") from None
    except UnicodeDecodeError as error:
        raise _not_text(path, f"byte {error.object[error.start]:#04x}") from None
    except (pd.errors.ParserError, ValueError) as error:
        found = _first(error)
        raise ValueError(f"{path}: expected CSV, found a line that does not fit ({found}); mend it") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    names = [str(n).strip() for n in head.iloc[0]]
    twice = next((n for i, n in enumerate(names) if n in names[:i]), None)
    if twice is not None:
        raise ValueError(f"{path}: expected every column name once, found {twice!r} twice; rename one")
    return frame.rename(columns=lambda c: str(c).strip())


def _comment_lines(path: Path) -> int:
    """Lines above the header that begin with ``#``; refuses a file that is not text."""
    try:
        with path.open("rb") as file:
            if b"\0" in file.read(65536):
                raise _not_text(path, "a NUL byte")
            file.seek(0)
            count = 0
            while file.readline().lstrip(b"\xef\xbb\xbf").startswith(b"#"):
                count += 1
            return count
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError) -> ValueError:
    return ValueError(f"{path}: expected a readable file, found {error.strerror}; check its permissions")


def _not_text(path: Path, found: str) -> ValueError:
    return ValueError(f"{path}: expected CSV in UTF-8 text, found {found}; save it so (or name it .parquet)")


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].removeprefix("Error tokenizing data. ").removeprefix("C error: ")
