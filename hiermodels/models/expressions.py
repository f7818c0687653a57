"""What a formula computes from columns: ``log(x + 1)``, ``I(x ** 2)``, ``standardise(x)``; and the labels ``C(x)``.

An expression is a tree of frozen records. It prints itself in one way only, whatever blanks and brackets it was written
with, so that one quantity has one name, and it is evaluated on arrays: no text is ever run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["CALLS", "FUNCTIONS", "Arithmetic", "Column", "Computed", "Factor", "Labels", "plain", "quoted"]

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"log": np.log, "exp": np.exp, "sqrt": np.sqrt}
"""Functions of one row; ``standardise(x)`` uses the mean and sd of the fitted rows, ``I(...)`` is its argument."""
CALLS = (*FUNCTIONS, "standardise", "I")
"""Names of what may be called, beside ``C(x)``."""

_BINARY = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "**": np.power}
_RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "negative": 3, "**": 4}
_NAME = re.compile(r"[^\W\d][\w.]*")


def quoted(name: str) -> str:
    """A column's name as a formula writes it: in backticks where it is no plain name.

    Examples
    --------
    >>> quoted("x"), quoted("my group")
    ('x', '`my group`')
    """
    return name if _NAME.fullmatch(name) else f"`{name}`"


def plain(name: str) -> str:
    """A name without the backticks in which it may have been written: the name of a column or of a parameter.

    Examples
    --------
    >>> plain("`my group`"), plain("sd_`my group`")
    ('my group', 'sd_my group')
    """
    return name.replace("`", "")


@dataclass(frozen=True)
class Arithmetic:
    """A number, a column, or an operation on these.

    Attributes
    ----------
    operation : str
        ``number``, ``column``, ``negative``, one of + - * / **, or a function's name.
    value : str
        Text of a number, name of a column, else empty.
    arguments : tuple of Arithmetic
    """

    operation: str
    value: str = ""
    arguments: tuple[Arithmetic, ...] = ()

    def __str__(self) -> str:
        if self.operation == "number":
            return self.value
        if self.operation == "column":
            return quoted(self.value)
        if self.operation == "negative":
            return "-" + self.arguments[0]._inside(_RANK["negative"])
        if self.operation not in _BINARY:
            return f"{self.operation}({self.arguments[0]})"
        rank, right = _RANK[self.operation], self.operation == "**"
        left = self.arguments[0]._inside(rank + right)
        return f"{left} {self.operation} {self.arguments[1]._inside(rank + (not right))}"

    def _inside(self, rank: int) -> str:
        """Itself as an operand, in brackets where it binds less than what stands around it."""
        return f"({self})" if _RANK.get(self.operation, 9) < rank else str(self)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it uses, in the order written."""
        own = (self.value,) if self.operation == "column" else ()
        return tuple(dict.fromkeys([*own, *(c for a in self.arguments for c in a.columns)]))

    def uses(self, operation: str) -> bool:
        """Whether an operation or function stands in it."""
        return self.operation == operation or any(a.uses(operation) for a in self.arguments)

    def evaluate(self, here: Mapping[str, np.ndarray], fitted: Mapping[str, np.ndarray]) -> np.ndarray:
        """Its value in each row.

        Parameters
        ----------
        here : mapping of str to ndarray, each (row,)
        fitted : mapping of str to ndarray
            The fitted rows, whose mean and sd ``standardise`` uses.
        """
        if self.operation == "number":
            return np.float64(self.value)  # type: ignore[return-value]
        if self.operation == "column":
            return here[self.value]
        values = [a.evaluate(here, fitted) for a in self.arguments]
        if self.operation == "standardise":
            then = np.atleast_1d(self.arguments[0].evaluate(fitted, fitted))
            return (values[0] - np.mean(then)) / np.std(then)
        if self.operation == "I":
            return values[0]
        if self.operation == "negative":
            return -values[0]
        function: Callable[..., np.ndarray] = {**_BINARY, **FUNCTIONS}[self.operation]  # type: ignore[assignment]
        return function(*values)


@dataclass(frozen=True)
class Column:
    """A column as it is: numbers, or labels of which each but the reference gets a coefficient."""

    column: str

    def __str__(self) -> str:
        return quoted(self.column)

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)


@dataclass(frozen=True)
class Labels:
    """``C(column)`` or ``C(column, 'reference')``: a column's values taken as labels.

    Attributes
    ----------
    column : str
    reference : str or None
        Label whose coefficient is zero; None for the first.
    """

    column: str
    reference: str | None = None

    def __str__(self) -> str:
        return (
            f"C({quoted(self.column)})" if self.reference is None else f"C({quoted(self.column)}, {self.reference!r})"
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)


@dataclass(frozen=True)
class Computed:
    """A predictor computed from columns of numbers: ``log(x)``, ``I(x ** 2)``."""

    expression: Arithmetic

    def __str__(self) -> str:
        return str(self.expression)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that it uses."""
        return self.expression.columns


Factor = Column | Labels | Computed
"""What a term is a product of."""
