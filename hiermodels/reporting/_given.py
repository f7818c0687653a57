"""What a figure is given: one place that reads it, and one sentence for anything else.

Nothing here needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hiermodels._messages import shortened

__all__ = ["by_name", "numbers_given", "study_table", "table_columns", "thing"]

_TABLES = {
    "performance": ("performance", "run.performance", "method estimand measure value lower upper"),
    "estimates": ("estimates", "run.estimates", "estimand estimate"),
    "ranks": ("estimates", "run.estimates", "rep estimand rank max_rank"),
    "failures": ("table", "run.failures", "method n_sim"),
}
"""Tables of a study: the argument, where to get it, and the columns that every figure of it reads."""
_TEXT = ("method", "estimand", "group", "measure", "level", "parent", "status")
_MOST = 12
"""Columns that a message lists."""


def thing(found: Any) -> str:
    """What something is, in words: ``a Fit``, ``a table with columns a, b``.

    Examples
    --------
    >>> thing(3), thing(None), thing(pd.DataFrame({"a": [1], "b": [2]}))
    ('a number', 'nothing', 'a table with columns a, b')
    """
    if isinstance(found, pd.DataFrame):
        names = [str(c) for c in found.columns]
        more = f", ... ({len(names)} in all)" if len(names) > _MOST else ""
        return f"a table with columns {', '.join(names[:_MOST])}{more}" if names else "a table without columns"
    if found is None:
        return "nothing"
    if isinstance(found, str):
        return "a text"
    if isinstance(found, (bool, int, float, complex, np.generic)):
        return "a number"
    if isinstance(found, (Mapping, list, tuple, set, frozenset, range)):
        return "a mapping" if isinstance(found, Mapping) else "a list"
    if isinstance(found, (np.ndarray, pd.Series, pd.Index)):
        return "an array"
    if isinstance(found, type):
        return f"the class {found.__name__}"
    name = type(found).__name__
    return (
        f"a {name}"
        if name not in ("function", "method", "builtin_function_or_method")
        else f"the function {found.__name__}"
    )


def study_table(source: Any, kind: str, more: str = "") -> pd.DataFrame:
    """A table of a study, if this is one.

    Parameters
    ----------
    source
        What the figure was given.
    kind : str
        ``performance``, ``estimates``, ``ranks`` (of the truths, among the estimates) or ``failures``.
    more : str
        Further columns that the figure reads, with blanks between them.

    Raises
    ------
    ValueError
        For anything else (a fit, a run, another table), with what the figure takes and where to get it.
    """
    what, home, columns = _TABLES[kind]
    needed = [*columns.split(), *more.split()]
    take = f"{what}: expected the table {home}, with columns {', '.join(needed)}"
    if not isinstance(source, pd.DataFrame):
        raise ValueError(f"{take}; found {thing(source)}; give `{home}` of run = hm.run(config) or hm.load_run(path)")
    return _checked(source, needed, take, f"give `{home}`")


def table_columns(source: pd.DataFrame, columns: str, what: str = "source") -> pd.DataFrame:
    """A table from elsewhere, if it has these columns.

    Parameters
    ----------
    source : DataFrame
    columns : str
        Names with blanks between them.
    what : str
        Argument that the table was given as.

    Raises
    ------
    ValueError
        Where a column is missing or stands twice, or has words where numbers belong.
    """
    needed = columns.split()
    missing = next((c for c in needed if c not in source), None)
    take = f"{what}: expected a fit, or a table with columns {', '.join(needed)}"
    return _checked(source, needed, take, f"rename or add {missing!r}" if missing else "mend the table")


def _checked(source: pd.DataFrame, needed: Sequence[str], take: str, way: str) -> pd.DataFrame:
    """A table that has rows and the columns, once each, with numbers (NaN where missing) where numbers belong."""
    if any(c not in source for c in needed) or not source.columns.is_unique:
        raise ValueError(shortened(f"{take}, once each; found {thing(source)}; {way}"))
    if source.empty:
        raise ValueError(shortened(f"{take}; found it without rows; {way}"))
    for column in needed:
        if column not in _TEXT and not _numeric(source[column]):
            odd = next(v for v in source[column] if not _numeric(pd.Series([v], dtype=object)))
            raise ValueError(shortened(f"{take}; found {str(odd)[:40]!r} in {column}, which takes numbers; {way}"))
    numeric = [c for c in needed if c not in _TEXT and source[c].dtype.kind not in "iufb"]
    return source.assign(**{c: source[c].to_numpy(float, na_value=np.nan) for c in numeric}) if numeric else source


def _numeric(column: pd.Series) -> bool:
    """Whether a column's values are numbers or missing."""
    if column.dtype != object:
        return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column)
    return all(v is None or v is pd.NA or isinstance(v, (int, float, np.integer, np.floating)) for v in column)


def by_name(sources: Any, what: str) -> Mapping[str, Any]:
    """Fits by name, if these are.

    Raises
    ------
    ValueError
        For anything but a mapping with an entry.
    """
    if not isinstance(sources, Mapping) or not sources:
        found = "an empty mapping" if isinstance(sources, Mapping) else thing(sources)
        raise ValueError(f"{what}: expected at least one fit by name, found {found}; give {{'centred': fit}}")
    return sources


def numbers_given(values: Any, what: str) -> np.ndarray:
    """Numbers as an array, shape (n,).

    Raises
    ------
    ValueError
        For anything that is not a sequence of numbers.
    """
    try:
        found = np.asarray(values, float)
    except (TypeError, ValueError):
        found = np.empty(())
    if found.ndim != 1:
        raise ValueError(
            f"{what}: expected numbers, one per group, found {thing(values)}; give a list of numbers, or "
            f"Fit.plot_shrinkage() of a fit"
        )
    return found
