"""Measures of performance with their Monte Carlo errors, decisions, and the tables of both.

- `measures`: the menu, one class a measure; `measure`, what such a class says of itself.
- `scoring.performance`: the long table of estimates in, the long table of performance out.
- `errors.Errors`, `montecarlo.Measure`: what a measure reads and what it returns; `functions`: what measures are made
  of.
- `power`: decisions and how often they are right; `rules`: when a decision fires.
- `tables`, `scores`, `folds`, `order`, `told`: blocks of the long table, each scored once, in as few passes as it
  takes.

Nothing is imported here before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_FROM = {"performance": "scoring", "score": "scoring", "Errors": "errors", "Measure": "montecarlo"}


def __getattr__(name: str) -> Any:
    if name in _FROM:
        return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)
    menu = {} if name.startswith("_") else import_module(f"{__name__}.measures").MENU
    if name not in menu:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return menu[name]
