"""The command line: ``hiermodels run CONFIG`` and its sisters.

Exit codes: 0 done, 1 a defect of the library, 2 bad input (one line says what to mend), 75 stopped by a time limit and
resumable, 130 interrupted and resumable. Nothing heavy is imported before it is known what is asked for, and the
compilation cache is set before jax is.

A command is a function with ``@app.command`` in one of the modules named below; a new one takes a module of its own, or
stands beside its like, and its docstring is its help.

- ``studies``: run, report, check, new
- ``folders``: merge, replicate, compare
- ``exchange``: datasets, import
- ``fitting``: fit
- ``menus``: list, doctor
- ``planning``: plan
- ``verifying``: verify
"""

from __future__ import annotations

from hiermodels.cli import (  # each adds its commands to `app`
    exchange,
    fitting,
    folders,
    menus,
    planning,
    studies,
    verifying,
)
from hiermodels.cli._app import app
from hiermodels.cli._main import _code, main

__all__ = ["app", "main"]
