"""Comparisons in words, ``theta_school[A] > theta_school[B] + 5``: read by the names that a posterior has, never
evaluated as code.

    comparison :  sum (> | >= | < | <=) sum [ (> | >= | < | <=) sum ]
    sum        :  [-] term { (+ | -) term }
    term       :  number | number% | name | name[label]

A name stands for all its groups, and is compared group by group.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Comparison", "read_comparison"]

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(\s*%)?", re.ASCII)
_SIGN = re.compile(r">=|<=|>|<")
_SIGNS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
_REST_OF_NAME = re.compile(r"[\w.:]")

Term = tuple[float, str | float]
"""Sign, and a name or a number."""


@dataclass(frozen=True)
class Comparison:
    """Sums with signs between them.

    Attributes
    ----------
    sums : tuple of tuple of (float, str or float)
        Two or three sums; each of its terms has a sign of plus or minus one.
    signs : tuple of str
        Between them.
    """

    sums: tuple[tuple[Term, ...], ...]
    signs: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names that are compared, in order of appearance."""
        return tuple(dict.fromkeys(name for terms in self.sums for _, name in terms if isinstance(name, str)))

    def threshold(self) -> tuple[str, bool, float]:
        """A name, whether it is to be below, and the value, of a comparison of one name with one number.

        Raises
        ------
        ValueError
            For any other comparison.
        """
        plain = [terms[0] for terms in self.sums if len(terms) == 1]
        numbers = [sign * term for sign, term in plain if not isinstance(term, str)]
        if (
            len(self.sums) != 2
            or len(numbers) != 1
            or len(self.names) != 1
            or len(plain) != 2
            or plain[isinstance(plain[1][1], str)][0] < 0
        ):
            raise ValueError(
                f"probability: expected one quantity and one number, e.g. '{self.names[0]} > 0', found more; count "
                f"draws: .fit.probability(...)"
            )
        first = isinstance(plain[0][1], str)
        return self.names[0], (self.signs[0][0] == "<") == first, float(numbers[0])

    def holds(self, values: Mapping[str, Any]) -> np.ndarray:
        """Where the comparison holds, draw by draw; values of one name broadcast against those of another."""
        found = [
            sum((sign * (values[term] if isinstance(term, str) else term) for sign, term in terms), 0.0)
            for terms in self.sums
        ]
        parts = [_SIGNS[sign](a, b) for sign, a, b in zip(self.signs, found, found[1:], strict=False)]
        return np.logical_and.reduce(np.broadcast_arrays(*parts))


def read_comparison(text: str, names: Sequence[str]) -> Comparison:
    """Read a comparison.

    Parameters
    ----------
    text : str
    names : sequence of str
        What may be compared: ``treated``, ``theta_school``, ``theta_school[A]``.

    Raises
    ------
    ValueError
        Where the text cannot be read, or names nothing.

    Examples
    --------
    >>> read_comparison("theta_school[A] > 15% + x", ["x", "theta_school", "theta_school[A]"])
    Comparison(sums=(((1.0, 'theta_school[A]'),), ((1.0, 0.15), (1.0, 'x'))), signs=('>',))
    """
    if not isinstance(text, str):
        raise ValueError(
            f"probability: expected a comparison in words, found {type(text).__name__}; write e.g. {_example(names)}"
        )
    longest = sorted(names, key=len, reverse=True)
    sums: list[tuple[Term, ...]] = []
    signs: list[str] = []
    at = 0
    while True:
        terms, at = _sum(text, at, longest)
        sums.append(terms)
        if at == len(text):
            break
        sign = _SIGN.match(text, at)
        if sign is None:
            raise ValueError(
                f"probability: {text!r}: expected > or <, found {text[at:][:30]!r}; write e.g. {_example(names)}"
            )
        signs.append(sign.group())
        at = sign.end()
    found = Comparison(tuple(sums), tuple(signs))
    if not 1 <= len(signs) <= 2 or not found.names:
        raise ValueError(
            f"probability: {text!r}: expected one comparison of a quantity of the model; write e.g. {_example(names)}"
        )
    return found


def _sum(text: str, at: int, names: list[str]) -> tuple[tuple[Term, ...], int]:
    """Terms from a place on, and the place where they end."""
    terms: list[Term] = []
    at = _blank(text, at)
    while True:
        sign = 1.0
        if text[at : at + 1] in ("+", "-") and (terms or text[at] == "-"):
            sign, at = (1.0 if text[at] == "+" else -1.0), _blank(text, at + 1)
        elif terms:
            return tuple(terms), at
        term, at = _term(text, at, names)
        terms.append((sign, term))
        at = _blank(text, at)


def _term(text: str, at: int, names: list[str]) -> tuple[str | float, int]:
    for name in names:
        for written in (name, f"`{name}`"):
            end = at + len(written)
            if (
                text.startswith(written, at)
                and (written[-1] in "])`" or not _REST_OF_NAME.match(text, end))
                and text[end : end + 1] != "["
            ):
                return name, end
    number = _NUMBER.match(text, at)
    if number is not None and not _REST_OF_NAME.match(text, number.end()):
        return float(number.group(1) + (number.group(2) or "")) / (100 if number.group(3) else 1), number.end()
    word = re.split(r"[<>]", text[at:])[0].strip() or text[at:].strip()
    if not word:
        raise ValueError(
            f"probability: {text!r}: expected a quantity or a number, found the end; write e.g. {_example(names)}"
        )
    near = difflib.get_close_matches(word, names, 1, 0.6)
    shown = sorted(n for n in names if "[" not in n)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"the quantities are {', '.join(shown[:12])}{' and more' * (len(shown) > 12)}"
    )
    raise ValueError(f"probability: no quantity {word[:60]!r}; {hint}")


def _blank(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _example(names: Sequence[str]) -> str:
    return f"'{min(names, key=len, default='x')} > 0'"
