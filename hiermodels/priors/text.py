"""The text form of a prior: one name of the menu and numeric literals, never evaluated."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from hiermodels.priors.law import Prior, number

__all__ = ["read"]


def read(text: Any, where: str, menu: Mapping[str, type[Prior]]) -> Prior:
    """A prior from its text, see `hiermodels.priors.parse`."""
    if not isinstance(text, str):
        raise ValueError(f"{where}: expected text like half_normal(5), found {text!r}; write a name of the menu")
    try:
        call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"{where}: expected one prior like half_normal(5), found {text[:80]!r}; see `hiermodels list priors`"
        ) from None
    if isinstance(call, ast.Name):
        raise ValueError(f"{where}: expected {call.id}(...) with brackets, found {text!r}; write e.g. half_normal(5)")
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.keywords):
        raise ValueError(
            f"{where}: expected a name of the menu with plain numbers, found {text[:80]!r}; see `hiermodels list "
            f"priors`"
        )
    name = call.func.id
    if name not in menu:
        near = difflib.get_close_matches(name, sorted(menu), 1)
        hint = f"did you mean {near[0]}?" if near else "see `hiermodels list priors`"
        raise ValueError(f"{where}: unknown prior {name!r}; {hint}")
    try:
        return menu[name](*[_number(a) for a in call.args])
    except TypeError:
        wanted = ", ".join(inspect.signature(menu[name]).parameters)
        raise ValueError(f"{where}: expected {name}({wanted}), found {text!r}; give exactly these numbers") from None
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _number(node: ast.expr) -> float:
    sign = 1.0
    while isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        sign, node = (-sign if isinstance(node.op, ast.USub) else sign), node.operand
    if not (
        isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    ):
        raise ValueError("expected plain numbers between the brackets; nothing else is read")
    return sign * number(node.value)
