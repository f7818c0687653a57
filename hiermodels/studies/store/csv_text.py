"""Tables as CSV, as every file of a run is written: a text that a spreadsheet would run as a formula begins with an
apostrophe.
"""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from hiermodels.models.columns import number_of

__all__ = ["csv_text", "guarded", "unguarded"]

_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guarded(text: str) -> str:
    """A text of a cell that no spreadsheet takes for a formula; numbers stay as they are.

    Examples
    --------
    >>> guarded("=1+1"), guarded("-1"), guarded("'=a"), guarded("plain")
    ("'=1+1", '-1', "''=a", 'plain')
    """
    return f"'{text}" if _FORMULA.match(text) and number_of(text) is None else text


def unguarded(text: str) -> str:
    """The text that `guarded` made this of.

    Examples
    --------
    >>> [unguarded(guarded(text)) for text in ("=1+1", "-1", "'=a", "'a")]
    ['=1+1', '-1', "'=a", "'a"]
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def csv_text(table: pd.DataFrame, *, header: bool = True) -> str:
    r"""A table as CSV with lines that end in a newline, missing values as ``NA``.

    Examples
    --------
    >>> import pandas as pd
    >>> csv_text(pd.DataFrame({"group": ["=a", None], "value": [-1.5, 2.0]}))
    "group,value\n'=a,-1.5\nNA,2.0\n"
    """

    def guard(cell: Any) -> Any:
        return guarded(cell) if isinstance(cell, str) else cell

    texts = [
        c
        for c in table.columns
        if not (pd.api.types.is_numeric_dtype(table[c].dtype) or pd.api.types.is_datetime64_any_dtype(table[c].dtype))
    ]
    table = table.assign(**{c: table[c].astype(object).map(guard) for c in texts}).rename(columns=guard)
    return table.to_csv(index=False, header=header, lineterminator="\n", na_rep="NA")
