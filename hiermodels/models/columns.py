"""Columns of a table in the role of numbers: cells that mean a number are one, however they are stored.

A column may hold numbers as text (a file is read without guessing), as objects (`decimal.Decimal`, Python's integers of
any size) or in a type of their own. Where a column is used as numbers every cell must be one; what is none is named
with its row.
"""

from __future__ import annotations

import decimal
import difflib
import numbers as abstract
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.datasets.roles import THOUSANDS
from hiermodels.models.expressions import quoted
from hiermodels.models.tokens import shortened

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DECIMAL_COMMA",
    "as_numbers",
    "decimal_point",
    "harmless",
    "kind_of",
    "missing",
    "number_of",
    "numbers",
    "require_column",
    "shown_cell",
]

_NUMBER = re.compile(
    r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*|\s*[+-]?inf(?:inity)?\s*", re.ASCII | re.IGNORECASE
)
DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*", re.ASCII)
_KINDS = {
    "ndarray": "array",
    "bool": "truth value",
    "bool_": "truth value",
    "complex": "complex number",
    "complex128": "complex number",
    "complex64": "complex number",
    "builtin_function_or_method": "function",
    "type": "class",
}


def require_column(frame: pd.DataFrame, name: str, where: str) -> None:
    """Raise a `ValueError` where ``name`` is no column (the nearest is offered), or stands for several."""
    found = sum(c == name for c in frame.columns)
    if found == 1:
        return
    if found:
        raise ValueError(
            f"{where}: expected one column {name!r} in the data, found {found} of that name; rename or drop the others"
        )
    where, shown = (where if len(where) <= 200 else f"{where[:196]}...'"), shortened(name, 80)
    names = [str(c) for c in frame.columns]
    near = difflib.get_close_matches(str(name), names, 1)
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    hint = _offer(near[0]) if near else f"the columns are {', '.join(names[:20])}{more}"
    raise ValueError(f"{where}: no column {shown} in the data; {hint}")


def _offer(name: str) -> str:
    """A column's name as a way out; one that is no plain word with its backticks."""
    written = quoted(name)
    return (
        f"did you mean {name!r}?" if written == name else f"did you mean {name!r}? In a formula it is written {written}"
    )


def number_of(cell: Any) -> float | None:
    """The number that a cell stands for: NaN where it is missing, None where it is no number.

    Truth values are no numbers, and neither are complex ones. An integer too large for a float is infinite.

    Examples
    --------
    >>> number_of("10.1"), number_of(" 1e3"), number_of("ten"), number_of(True)
    (10.1, 1000.0, None, None)
    """
    import pandas as pd

    if isinstance(cell, str):
        return float(cell) if _NUMBER.fullmatch(cell) else None
    if isinstance(cell, bool | np.bool_):
        return None
    if isinstance(cell, abstract.Real | decimal.Decimal):
        try:
            return float(cell)
        except OverflowError:
            return np.inf if cell > 0 else -np.inf  # type: ignore[operator]
        except ValueError:  # a signalling NaN
            return np.nan
    return np.nan if cell is None or cell is pd.NA or cell is pd.NaT else None


def as_numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column as floats, and which of its cells are no numbers.

    Parameters
    ----------
    column : Series
        Of any type.

    Returns
    -------
    values : ndarray, shape (row,)
        NaN where a cell is missing or no number.
    bad : ndarray of bool, shape (row,)
        Cells that are there and are no numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> values, bad = as_numbers(pd.Series(["1.5", None, "x"], dtype=object))
    >>> values.tolist(), bad.tolist()
    ([1.5, nan, nan], [False, False, True])
    """
    import pandas as pd

    kind = column.dtype
    if pd.api.types.is_numeric_dtype(kind) and not (
        pd.api.types.is_bool_dtype(kind) or pd.api.types.is_complex_dtype(kind)
    ):
        return column.to_numpy(dtype=float, na_value=np.nan), np.zeros(len(column), bool)
    cells = [number_of(cell) for cell in column.tolist()]
    return np.array([np.nan if c is None else c for c in cells], float), np.array([c is None for c in cells], bool)


def numbers(frame: pd.DataFrame, name: str, role: str) -> np.ndarray:
    """A column of a table that must hold numbers, as floats; missing ones are NaN.

    Parameters
    ----------
    frame : DataFrame
    name : str
        Column.
    role : str
        What the column is, for the message: ``outcome``.

    Raises
    ------
    ValueError
        For a column that is not there or stands twice, and for a cell that is no number: naming the row, the cell and
        the ways out.

    Examples
    --------
    >>> import pandas as pd
    >>> numbers(pd.DataFrame({"y": ["1", "2.5"]}), "y", "outcome").tolist()
    [1.0, 2.5]
    """
    require_column(frame, name, role)
    values, bad = as_numbers(frame[name])
    if bad.any():
        row = int(np.argmax(bad))
        cell = frame[name].iloc[row]
        if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell):
            way = decimal_point(cell)
        else:
            way = "convert the column" if bad.all() else "convert the column, mend that cell or drop the row"
        count = f" ({bad.sum()} of {len(bad)} rows are no numbers)" if 1 < bad.sum() < len(bad) else ""
        raise ValueError(
            f"column {name!r}, row {row}: expected numbers ({role}), found {shown_cell(cell)}{count}; {way}"
        )
    return values


def missing(column: pd.Series) -> np.ndarray:
    """Which cells of a column are missing, shape (row,)."""
    if column.dtype == object:
        return np.array([(n := number_of(cell)) is not None and n != n for cell in column.tolist()], bool)
    return column.isna().to_numpy()


def decimal_point(cell: str) -> str:
    """What to do about a number with a comma: the same with a point, or without it where it may stand for thousands.

    Examples
    --------
    >>> decimal_point("1,5"), decimal_point("1,234")
    ('write a decimal point: 1.5', 'write 1234 or 1.234, whichever is meant')
    """
    point, plain = cell.strip().replace(",", "."), cell.strip().replace(",", "")
    return (
        f"write {plain} or {point}, whichever is meant"
        if THOUSANDS.fullmatch(cell)
        else f"write a decimal point: {point}"
    )


def kind_of(cell: Any) -> str:
    """What a cell is that is neither a number nor a text: ``a list``.

    Examples
    --------
    >>> kind_of([1]), kind_of(np.zeros(2)), kind_of(object)
    ('a list', 'an array', 'a class')
    """
    kind = _KINDS.get(type(cell).__name__, type(cell).__name__)
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def shown_cell(cell: Any) -> str:
    """A cell as a message shows it: on one line, cut after 60 characters; what has no print of its own by its kind.

    Examples
    --------
    >>> shown_cell("a" * 80).endswith("...'"), shown_cell(print)
    (True, 'a function')
    """
    if not isinstance(cell, str) and re.match("<.*(?: at 0x|<class|built-in)|<class", str(cell), re.DOTALL):
        return kind_of(cell)
    text = cell if isinstance(cell, str) else str(cell.item() if isinstance(cell, np.generic) else cell)
    text = f"{text[:57]}..." if len(text) > 60 else text
    return harmless(repr(text)) if isinstance(cell, str) else harmless(" ".join(text.split()))


def harmless(text: str) -> str:
    """Text with escapes in the place of characters that steer a terminal."""
    return "".join(c if c.isprintable() or c == " " else ascii(c)[1:-1] for c in text)
