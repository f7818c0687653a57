"""Formulas: ``score ~ 1 + treated + (1 | school/classroom)`` into an outcome, predictors and group terms.

The parenthesised group terms are read here; the population-level part goes to the library ``formulae``, which never
sees a name or a call that this module has not allowed. A formula can therefore not run code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hiermodels.models.columns import require_column

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FUNCTIONS", "Formula", "GroupTerm", "columns", "parse_formula", "variables"]


def _standardise(x: np.ndarray, fitted: int | None = None) -> np.ndarray:
    return (x - np.mean(x[:fitted])) / np.std(x[:fitted])


FUNCTIONS = {
    "log": np.log,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "standardise": _standardise,
}
"""The only functions that a formula may call; ``C(x)`` (categorical) is known as well."""

_NAME = r"[^\W\d]\w*"
_TOKEN = re.compile(rf"\s*(?:({_NAME})(\s*\()?|(\d+(?:\.\d+)?)|(\*\*|[-+*:/()^])|(\S))")


@dataclass(frozen=True)
class GroupTerm:
    """One ``(effects | factors)`` term.

    Attributes
    ----------
    effects : str
        Left of the bar, e.g. ``1`` or ``1 + x``.
    factors : tuple of str
        Columns whose combinations are the groups, coarse to fine; ``("school", "classroom")``.
    correlated : bool
        False for ``||``.
    """

    effects: str
    factors: tuple[str, ...]
    correlated: bool = True

    @property
    def name(self) -> str:
        """The group's name, e.g. ``school:classroom``."""
        return ":".join(self.factors)


@dataclass(frozen=True)
class Formula:
    """A parsed formula: outcome, population-level text, group terms in the order written."""

    text: str
    outcome: str
    population: str
    groups: tuple[GroupTerm, ...]


def _error(text: str, found: str, hint: str) -> ValueError:
    return ValueError(f"formula {text!r}: {found}; {hint}")


def _allowed(text: str, part: str) -> None:
    """Refuse every token outside names, numbers, operators and the whitelisted calls."""
    depth = 0
    for match in _TOKEN.finditer(part):
        name, call, _, operator, other = match.groups()
        if other and other.strip():
            raise _error(text, f"unexpected {other!r}", "only names, numbers, + - * : / ( ) and log exp sqrt standardise C are read")
        if name and call and name not in FUNCTIONS and name != "C":
            known = ", ".join([*FUNCTIONS, "C"])
            raise _error(text, f"function {name!r} is not allowed", f"use one of {known}, or compute the column first")
        depth += (1 if call else 0) + (operator == "(") - (operator == ")")
        if depth < 0:
            raise _error(text, "unbalanced bracket", "close every ( once")
    if depth:
        raise _error(text, "unbalanced bracket", "close every ( once")


def _terms(text: str, part: str) -> list[str]:
    """Split at the + signs outside brackets."""
    pieces, depth, last = [], 0, 0
    for i, c in enumerate(part):
        depth += (c == "(") - (c == ")")
        if c == "+" and depth == 0:
            pieces.append(part[last:i])
            last = i + 1
    pieces.append(part[last:])
    if any(not p.strip() for p in pieces):
        raise _error(text, "an empty term beside a +", "write e.g. y ~ 1 + x + (1 | group)")
    return [p.strip() for p in pieces]


def _group_term(text: str, term: str) -> list[GroupTerm]:
    inner = term[1:-1].strip()
    bar = "||" if "||" in inner else "|"
    if inner.count(bar) != 1 or (bar == "||" and inner.count("|") != 2):
        raise _error(text, f"group term {term!r} has more than one bar", "write (1 | school) or (1 + x || school)")
    effects, grouping = (side.strip() for side in inner.split(bar))
    if not effects or not grouping:
        raise _error(text, f"group term {term!r} is incomplete", "write (1 | school)")
    _allowed(text, effects)
    path = [p.strip() for p in grouping.split("/")]
    factors = [tuple(f.strip() for f in p.split(":")) for p in path]
    for factor in (f for group in factors for f in group):
        if not re.fullmatch(_NAME, factor):
            raise _error(text, f"grouping {grouping!r} is not a name", "write (1 | school), (1 | school/classroom) or (1 | a:b)")
    nested = [tuple(f for group in factors[: i + 1] for f in group) for i in range(len(factors))]
    return [GroupTerm(" ".join(effects.split()), n, bar == "|") for n in nested]


def parse_formula(text: str) -> Formula:
    """Read a formula without looking at data.

    Parameters
    ----------
    text : str
        ``outcome ~ population terms + (effects | group) + ...``; ``a/b`` means nesting: groups a and a:b.

    Raises
    ------
    ValueError
        Naming the formula, what was found and what to write.

    Examples
    --------
    >>> [g.name for g in parse_formula("score ~ 1 + (1 | school/classroom)").groups]
    ['school', 'school:classroom']
    """
    if not isinstance(text, str) or text.count("~") != 1:
        raise ValueError(f"formula {text!r}: expected one ~ between outcome and terms; write e.g. effect ~ 1 + (1 | school)")
    left, right = (side.strip() for side in text.split("~"))
    if not re.fullmatch(_NAME, left):
        raise _error(text, f"outcome {left!r} is not a column name", "write one column name left of ~")
    if not right:
        raise _error(text, "nothing right of ~", "write e.g. y ~ 1 + (1 | group)")
    groups: list[GroupTerm] = []
    population = []
    for term in _terms(text, right):
        if "|" in term:
            if not (term.startswith("(") and term.endswith(")")):
                raise _error(text, f"group term {term!r} stands without brackets", "write (1 | school)")
            groups += _group_term(text, term)
        else:
            _allowed(text, term)
            population.append(term)
    names = [(g.name, g.effects) for g in groups]
    if len(set(names)) < len(names):
        raise _error(text, "a group term stands twice", "write each group term once")
    return Formula(text, left, " + ".join(population) or "1", tuple(groups))


def variables(expression: str) -> list[str]:
    """Names of the columns that a population-level expression uses, in alphabetical order.

    Examples
    --------
    >>> variables("1 + treated * log(x)")
    ['treated', 'x']
    """
    return sorted({m.group(1) for m in _TOKEN.finditer(expression) if m.group(1) and not m.group(2)})


def columns(
    expression: str, frame: pd.DataFrame, formula: str, fitted: int | None = None
) -> tuple[list[str], np.ndarray]:
    """Design-matrix columns of a population-level expression.

    Parameters
    ----------
    expression : str
        Already checked by `parse_formula`, e.g. ``1 + treated * x``.
    frame : DataFrame
        The data; missing values are refused.
    formula : str
        Whole formula, for messages.
    fitted : int, optional
        Rows from the first on whose mean and sd ``standardise`` uses: predictions put new rows below the fitted ones.

    Returns
    -------
    names : list of str
        Column names, ``Intercept`` first where there is one.
    matrix : ndarray, shape (obs, column)

    Raises
    ------
    ValueError
        For an unknown column or missing values.
    """
    used = variables(expression)
    for name in used:
        require_column(frame, name, f"formula {formula!r}")
    if expression.replace(" ", "") in ("1", "+1"):
        return ["Intercept"], np.ones((len(frame), 1))
    if expression.replace(" ", "") in ("0", "-1"):
        return [], np.zeros((len(frame), 0))
    from formulae import design_matrices
    from formulae.environment import Environment

    for name in used:
        bad = frame[name].isna()
        if bad.any():
            raise ValueError(
                f"column {name!r}, row {int(np.argmax(bad.to_numpy()))}: expected a value, found a missing one; "
                "drop or fill the row"
            )
    functions = {**FUNCTIONS, "standardise": lambda x: _standardise(x, fitted)}
    try:
        with np.errstate(all="ignore"):  # what is not finite is said below, with its row
            design = design_matrices(
                expression, frame[used].reset_index(drop=True), na_action="error", env=Environment([functions])
            )
        table = design.common.as_dataframe()
    except Exception as error:  # formulae raises many kinds; all of them mean that the expression is not usable
        raise ValueError(
            f"formula {formula!r}: the terms {expression!r} could not be built ({str(error).splitlines()[0]}); simplify them"
        ) from None
    matrix = table.to_numpy(dtype=float)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(
            f"formula {formula!r}: term {table.columns[column]!r} is not finite at row {row}; check that column's values"
        )
    return [str(c) for c in table.columns], matrix
