"""The tokens of a formula, taken one by one; what does not fit is refused at its place."""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from hiermodels.models.expressions import CALLS, plain

__all__ = ["DEEPEST", "Token", "Tokens", "shortened"]

DEEPEST = 40
"""Brackets or signs within each other."""
_TOKEN = re.compile(
    r"\s*(?:(?P<quote>`[^`]*`)|(?P<text>'[^']*'|\"[^\"]*\")|(?P<name>[^\W\d][\w.]*)"
    r"|(?P<number>(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|(?P<sign>\*\*|\|\||[-+*/:^|()~,=])|(?P<other>\S))"
)
_ALPHABET = f"only names, numbers, + - * : / ^ ( ) | and {' '.join(CALLS)} C are read; put any other name in backticks"


def shortened(text: object, most: int = 120) -> str:
    """The print of a value for a message, cut where it is long."""
    shown = repr(text)
    return shown if len(shown) <= most else f"{shown[: most - 4]}...'"


class Token(NamedTuple):
    """A token: its kind (``name``, ``quote``, ``text``, ``number``, ``sign``, ``other`` or ``end``), text and place."""

    kind: str
    text: str
    at: int


class Tokens:
    """The tokens of one formula and the place of the next one."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.depth = text, 0, 0
        self.tokens = [
            Token(m.lastgroup or "", m[m.lastgroup or 0], m.start(m.lastgroup or 0)) for m in _TOKEN.finditer(text)
        ]
        self.tokens.append(Token("end", "", len(text)))

    @property
    def next(self) -> Token:
        """The token that is read next."""
        return self.tokens[self.place]

    @property
    def calls(self) -> bool:
        """Whether the next token is a name that a bracket follows: a function's."""
        after = self.tokens[min(self.place + 1, len(self.tokens) - 1)]
        return self.next.kind == "name" and after.kind == "sign" and after.text == "("

    def take(self, *texts: str) -> Token | None:
        """The next token if it is one of these signs."""
        token = self.next
        if token.kind != "sign" or token.text not in texts:
            return None
        self.place += 1
        return token

    def refuse(self, found: str, hint: str, token: Token | None = None) -> NoReturn:
        """Say what was found at a token."""
        token = self.next if token is None else token
        at = f"at character {token.at + 1}: " if token.kind != "end" else "at its end: "
        raise ValueError(f"formula {shortened(self.text)}, {at}{found}; {hint}")

    def expect_operator(self, closing: str) -> NoReturn:
        """What to say where an operator, or the end, ought to stand."""
        token = self.next
        shown = shortened(token.text, 40)
        if token.kind == "end":
            self.refuse("unbalanced bracket", "close every ( once")
        if token.kind == "other":
            self.refuse(f"unexpected {shown}", _ALPHABET)
        if token.text == ")":
            self.refuse("unbalanced bracket", "close every ( once")
        if token.text in ("|", "||"):
            self.refuse("a group term stands without brackets", "write (1 | school)")
        before = self.tokens[self.place - 1]
        if token.kind in ("name", "quote", "number", "text") or token.text == "(":
            way = "write + : or * between terms"
            if before.kind == "name" and token.kind in ("name", "number"):
                way += (
                    f", or a column's name with blanks in backticks, as in "
                    f"`{plain(f'{before.text} {token.text}')[:60]}`"
                )
            self.refuse(f"expected an operator{closing}, found {shown} after {shortened(before.text, 40)}", way)
        self.refuse(f"unexpected {shown}", f"expected an operator{closing} here")

    def no_term(self) -> NoReturn:
        """What to say where a term, or a number or column of an expression, ought to stand."""
        token = self.next
        if token.kind == "end":
            self.refuse("a term is missing", "write e.g. y ~ 1 + x + (1 | group)")
        if token.text == "." or token.text.startswith("."):
            self.refuse(
                "a dot", "it stands for no columns here: name the columns, those that begin with a dot in backticks"
            )
        if token.kind == "other":
            self.refuse(f"unexpected {shortened(token.text, 40)}", _ALPHABET)
        self.refuse(f"expected a term, found {shortened(token.text, 40)}", "write e.g. y ~ 1 + x + (1 | group)")

    def name(self, what: str) -> str:
        """The next token as a column's name."""
        token = self.next
        if token.kind not in ("name", "quote") or not plain(token.text).strip():
            self.refuse(
                f"expected {what}, found {shortened(token.text, 40)}",
                "write a column's name, in backticks where it is no plain word",
            )
        self.place += 1
        return plain(token.text)

    def __enter__(self) -> None:
        """Go one bracket or sign deeper."""
        self.depth += 1
        if self.depth > DEEPEST:
            self.refuse(f"more than {DEEPEST} brackets or signs within each other", "write it flatter")

    def __exit__(self, *_: object) -> None:
        self.depth -= 1
