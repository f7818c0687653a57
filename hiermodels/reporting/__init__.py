"""How results are shown: figures, tables and the report, from the long tables alone.

`plots` holds the figures, one function each; `tables` the performance table for terminal, page and LaTeX;
`report` the HTML page. Nothing is computed here that the tables do not hold, so tables from elsewhere can be
shown too. Matplotlib is imported when the first figure is asked for.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["plots", "report", "tables", "terminal_table", "write_figures", "write_report"]

_HOMES = {"terminal_table": "tables", "write_figures": "report", "write_report": "report"}


def __getattr__(name: str) -> Any:
    if name in ("plots", "report", "tables"):
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
