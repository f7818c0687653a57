"""Whether this machine gives the numbers that the models of the lectures must give: ``verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiermodels.cli._app import Device, app, check_device, prepare_jax, show

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["verify"]


@app.command
def verify(*, section: int | None = None, slow: bool = False, quiet: bool = False, device: Device = "auto") -> None:
    """Recompute the numbers that the models of the lectures must give, and compare; exit code 1 if any disagrees.

    Parameters
    ----------
    section
        One of the ten sections of the table; all by default.
    slow
        Chains and simulation studies too, which take some ten minutes.
    quiet
        Print only what disagrees, and the count.
    """
    prepare_jax(device)
    from hiermodels.verify import verify as compare_all

    check_device(device)
    table = compare_all(section, slow=slow, progress=not quiet)
    shown = table[~table["ok"]] if quiet else table
    if len(shown):
        show(_printed(shown))
    for row in table[table["note"] != ""].drop_duplicates(["system", "route", "note"]).to_dict("records"):
        print(f"{row['system']}{' by ' + row['route'] if row['route'] else ''}: {row['note']}")
    print(_count(table))
    if not table["ok"].all():
        raise SystemExit(1)


def _count(table: pd.DataFrame) -> str:
    """The last line: how many targets, how many agree, how many of them by Monte Carlo."""
    targets = len(table.drop_duplicates(["section", "system", "quantity", "target", "tag"]))
    wrong, random = int((~table["ok"]).sum()), int((table["mcse"] > 0).sum())
    verdict = "all agree" if wrong == 0 else f"{wrong} disagree"
    return (
        f"{targets} targets, {len(table)} comparisons, {random} of them by Monte Carlo with 4 standard errors "
        f"allowed: {verdict}"
    )


def _printed(table: pd.DataFrame) -> Any:
    """The comparison as a table for the terminal: a heading a system and route, a line a target."""
    from rich.table import Table

    found = Table(box=None, header_style="bold")
    for name in ("section", "quantity", "tag", "target", "ours", "difference", "ok"):
        found.add_column(name, justify="right" if name in ("target", "ours", "difference") else "left")
    before = None
    for row in table.to_dict("records"):
        here = (row["section"], row["system"], row["route"])
        if here != before:
            found.add_row(
                str(row["section"]), row["system"] + (f" ({row['route']})" if row["route"] else ""), style="bold"
            )
        ours, difference = _as_precise(row["ours"], row["target"]), f"{row['difference']:.2f}"
        verdict, style = ("ok", None) if row["ok"] else ("NO", "bold red")
        found.add_row("", "  " + row["quantity"], row["tag"], row["target"], ours, difference, verdict, style=style)
        before = here
    return found


def _as_precise(value: float, text: str) -> str:
    """Our number with one digit more than the target has."""
    digits, _, exponent = text.lower().partition("e")
    return f"{value:.{max(len(digits.partition('.')[2]) + 1 - int(exponent or 0), 0)}f}"
