"""Recompute every target of the lectures on this machine and compare: ``hiermodels verify``."""

from __future__ import annotations

import importlib
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hiermodels.targets.table import Check, allowed, checks

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare", "compute", "verify"]

SECTIONS = {
    1: "one normal sample",
    2: "two levels, one known variance: baseball",
    3: "James-Stein and plug-in empirical Bayes",
    4: "two levels, unequal known variances: eight schools",
    5: "beta-binomial: rats",
    6: "three levels: scores",
    7: "varying intercepts and slopes: individuals",
    8: "gamma-Poisson: asthma, pumps, counties",
    9: "exchangeability",
    10: "propriety and moments",
}
"""What each section of the table is about."""


def verify(section: int | None = None, *, slow: bool = False, progress: bool = False) -> pd.DataFrame:
    """Compute the numbers that the models of the lectures must give, and compare each with its target.

    Parameters
    ----------
    section : int, optional
        One of the table's ten sections; all by default.
    slow : bool
        Chains and simulation studies too, which take minutes; without them, what is computed by closed forms and
        quadrature.
    progress : bool
        Say on standard error what is being computed.

    Returns
    -------
    DataFrame
        A row a target and route: ``section system quantity route tag target ours mcse difference ok seconds``.
        ``difference`` is in units of what is allowed (`hiermodels.targets.table.allowed`); ``mcse`` is the Monte Carlo
        standard error of our number, 0 without randomness; ``seconds`` is what its function took, for all its numbers
        together. A function that fails gives NaN, with the reason in ``note``.

    Raises
    ------
    ValueError
        For a section that does not exist.

    Examples
    --------
    >>> import hiermodels as hm
    >>> table = hm.verify(section=1)
    >>> bool(table["ok"].all()), len(table) > 20
    (True, True)
    """
    import pandas as pd

    if section is not None and section not in SECTIONS:
        raise ValueError(
            f"section: expected one of {', '.join(map(str, SECTIONS))}, found {section!r}; leave it out for all"
        )
    wanted, rows = checks(section, slow), []
    with _shown(len(wanted), progress) as step:
        for check in wanted:
            step(
                f"section {check.targets[0].section}: {check.targets[0].system}"
                + (f" by {check.route}" if check.route else "")
            )
            rows += compare(check)
    order = [
        "section",
        "system",
        "quantity",
        "route",
        "tag",
        "target",
        "ours",
        "mcse",
        "difference",
        "ok",
        "seconds",
        "note",
    ]
    return pd.DataFrame(rows, columns=order).sort_values("section", kind="stable", ignore_index=True)


def compute(check: Check) -> Mapping[str, Any]:
    """Numbers by name, from the function of `hiermodels.targets` that a check names."""
    module, name = check.how.split(".")
    function = getattr(importlib.import_module(f"hiermodels.targets.{module}"), name)
    return function(check.route) if check.route else function()


def compare(check: Check) -> list[dict[str, Any]]:
    """Every target of a check beside the library's number; a function that fails fails all of them."""
    found: Mapping[str, Any] = {}
    start, note = time.perf_counter(), ""
    try:
        found = compute(check)
    except Exception as error:  # the other targets are still to be computed
        note = f"{type(error).__name__}: {error}"
    seconds = time.perf_counter() - start
    rows = []
    for target in check.targets:
        number = found.get(target.quantity, math.nan)
        value, mcse = number if isinstance(number, tuple) else (float(number), 0.0)
        difference = abs(value - target.value) / allowed(target, mcse)
        missing = "" if note or target.quantity in found else "not computed"
        rows.append(
            {
                "section": target.section,
                "system": target.system,
                "quantity": target.quantity,
                "route": check.route,
                "tag": target.tag,
                "target": target.text,
                "ours": value,
                "mcse": mcse,
                "difference": difference,
                "ok": bool(difference <= 1),
                "seconds": seconds,
                "note": note or missing,
            }
        )
    return rows


@contextmanager
def _shown(total: int, progress: bool) -> Iterator[Any]:
    """A bar on standard error; without a terminal, a line a step."""
    if not progress:
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if not sys.stderr.isatty():
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        bar.advance(task, -1)

        def step(text: str) -> None:
            bar.advance(task)
            bar.update(task, description=text)

        yield step
