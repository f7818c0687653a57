"""Factors of terms, read from the tokens of a formula: columns, ``C(arm, 'placebo')``, ``log(x + 1)``."""

from __future__ import annotations

from hiermodels.models.expressions import CALLS, Arithmetic, Column, Computed, Factor, Labels
from hiermodels.models.tokens import Tokens, shortened

__all__ = ["read_factor"]

_LONGEST = 200
"""Tokens that an expression may have."""


def read_factor(tokens: Tokens) -> Factor:
    """The factor that begins at the next token, a name."""
    if not tokens.calls:
        return Column(tokens.name("a column"))
    if tokens.next.text != "C":
        start = tokens.place
        expression = _call(tokens)
        if tokens.place - start > _LONGEST:
            tokens.refuse(
                f"an expression of more than {_LONGEST} signs and names",
                "compute the column first",
                tokens.tokens[start],
            )
        return Computed(expression)
    tokens.place += 2
    column, reference = tokens.name("a column in C(...)"), None
    if tokens.take(","):
        reference = _reference(tokens)
    if tokens.take(")") is None:
        tokens.refuse(f"unexpected {shortened(tokens.next.text, 40)} in C(...)", "write C(arm) or C(arm, 'placebo')")
    return Labels(column, reference)


def _reference(tokens: Tokens) -> str:
    """``'placebo'``, or ``Treatment('placebo')`` as other libraries write it."""
    treatment = tokens.calls and tokens.next.text == "Treatment"
    tokens.place += 2 if treatment else 0
    tokens.place += 2 if [t.text for t in tokens.tokens[tokens.place : tokens.place + 2]] == ["reference", "="] else 0
    minus = "-" if tokens.take("-") else ""
    token = tokens.next
    if token.kind not in ("text", "number") or (minus and token.kind == "text"):
        tokens.refuse(
            f"expected the reference label of C(...), found {shortened(token.text, 40)}", "write C(arm, 'placebo')"
        )
    tokens.place += 1
    if treatment and tokens.take(")") is None:
        tokens.refuse("unbalanced bracket", "close every ( once")
    return token.text[1:-1] if token.kind == "text" else minus + token.text


def _call(tokens: Tokens) -> Arithmetic:
    name = tokens.next
    if name.text not in CALLS:
        known = ", ".join([*CALLS, "C"])
        tokens.refuse(
            f"function {shortened(name.text, 40)} is not allowed", f"use one of {known}, or compute the column first"
        )
    tokens.place += 2
    with tokens:
        argument = _arithmetic(tokens, 0)
    if tokens.take(")") is None:
        if tokens.next.text == ":":
            tokens.refuse(f"unexpected ':' in {name.text}(...)", "inside it + - * / ** are arithmetic")
        tokens.expect_operator(" or )")
    return Arithmetic(name.text, arguments=(argument,))


def _arithmetic(tokens: Tokens, rank: int) -> Arithmetic:
    """Sums (rank 0), products (1), signs (2), powers (3)."""
    if rank == 2:
        if tokens.take("-"):
            with tokens:
                return Arithmetic("negative", arguments=(_arithmetic(tokens, 2),))
        if tokens.take("+"):
            with tokens:
                return _arithmetic(tokens, 2)
        return _arithmetic(tokens, 3)
    if rank == 3:
        found = _operand(tokens)
        if tokens.take("**", "^"):
            with tokens:
                found = Arithmetic("**", arguments=(found, _arithmetic(tokens, 2)))
        return found
    found = _arithmetic(tokens, rank + 1)
    while (sign := tokens.take(*(("+", "-"), ("*", "/"))[rank])) is not None:
        found = Arithmetic(sign.text, arguments=(found, _arithmetic(tokens, rank + 1)))
    return found


def _operand(tokens: Tokens) -> Arithmetic:
    token = tokens.next
    if token.kind == "number":
        tokens.place += 1
        return Arithmetic("number", token.text)
    if tokens.calls:
        return _call(tokens)
    if token.kind in ("name", "quote"):
        return Arithmetic("column", tokens.name("a column"))
    if tokens.take("("):
        with tokens:
            found = _arithmetic(tokens, 0)
        if tokens.take(")") is None:
            tokens.expect_operator(" or )")
        return found
    tokens.no_term()
