"""Tables for people: performance with its Monte Carlo errors, and the accounting of failures.

The long tables are rearranged, never recomputed: a row a mechanism, estimand and method, a column a measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

UNDEFINED = "NA"
COUNT = "n"
"""Column of a wide table with the replicates behind a row's values; there where some have fewer than were attempted."""
FLAGS = ("divergent", "rhat", "low_ess", "heavy_weights")


@dataclass(frozen=True)
class Cell:
    """What is read (`text`) and what it is sorted by (`key`, empty where undefined)."""

    text: str
    key: float | str


@dataclass(frozen=True)
class Wide:
    """A performance table with one column a measure: `names` first, then `measures`."""

    names: tuple[str, ...]
    measures: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def number(value: object, mcse: object = None) -> str:
    """``value (mcse)``, the error to two digits and the value to the same place.

    Examples
    --------
    >>> number(0.94812, 0.0042)
    '0.9481 (0.0042)'
    >>> number(float("nan"))
    'NA'
    >>> number(250)
    '250'
    """
    if not _finite(value):
        return UNDEFINED
    found = float(value)  # type: ignore[arg-type]
    if not _finite(mcse):
        return f"{found:.0f}" if found == int(found) and abs(found) < 1e15 else f"{found:.4g}"
    error = float(mcse)  # type: ignore[arg-type]
    if error <= 1e-9 * abs(found):  # rounding, not sampling
        return f"{found:.4g} (0)"
    size = max(abs(found), error)
    if size >= 1e6 or size < 1e-4:
        return f"{found:.3g} ({error:.2g})"
    places = max(0, min(6, 1 - math.floor(math.log10(error))))
    return f"{found:.{places}f} ({error:.{places}f})"


def _finite(value: object) -> bool:
    try:
        return math.isfinite(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False


def widen(performance: pd.DataFrame, measures: Iterable[str] | None = None, *, groups: str = "mean") -> Wide:
    """One row a mechanism, estimand and method; one column a measure.

    Parameters
    ----------
    performance
        Long table.
    measures
        Which, in this order; by default all, in the table's order.
    groups
        ``"mean"``: scalars and averages over groups; ``"each"``: the single groups.
    """
    from hiermodels.reporting._rows import MEAN, TOGETHER, factors, groups_of, label, target

    group = groups_of(performance)
    averaged = set(performance.loc[group == MEAN, "estimand"])
    if groups == "each":
        keep = ~group.isin(["", *TOGETHER])
    else:
        keep = group.isin(["", *TOGETHER]) | ~performance["estimand"].isin(averaged)
    rows = performance.assign(group=group)[keep]
    columns = tuple(measures) if measures is not None else tuple(map(str, rows["measure"].unique()))
    rows = rows[rows["measure"].isin(columns)]
    counted = "n" in rows and bool((rows["n"] < rows["n_sim"])[rows["value"].notna()].any())
    if counted:
        columns = (*columns, COUNT)
    names = (*factors(performance), "estimand", "method")
    found: dict[tuple[Any, ...], dict[str, Cell]] = {}
    for row in rows.to_dict("records"):
        key = (*(label(row[c]) for c in names[:-2]), str(row["estimand"]), row["group"], str(row["method"]))
        key_cells = {c: Cell(label(row[c]), row[c] if _finite(row[c]) else label(row[c])) for c in names[:-2]}
        entry = found.setdefault(key, key_cells)
        shown = target(key[-3], key[-2])
        entry["estimand"], entry["method"] = Cell(shown, shown), Cell(key[-1], key[-1])
        value = row["value"] if _finite(row["value"]) else ""
        entry[str(row["measure"])] = Cell(number(row["value"], row["mcse"]), value)
        if counted and value != "":
            entry[COUNT] = _counts(entry.get(COUNT), int(row["n"]))
    order = _ranks(found)
    blank = Cell("", "")
    body = tuple(
        tuple(found[key].get(column, blank) for column in (*names, *columns)) for key in sorted(found, key=order)
    )
    return Wide(names, columns, body)


def _counts(cell: Cell | None, n: int) -> Cell:
    """Least and largest number of replicates behind the values of a row."""
    ends = [n] if cell is None else [n, *(int(word.replace(",", "")) for word in cell.text.split(" to "))]
    low, high = min(ends), max(ends)
    return Cell(f"{low:,}" if low == high else f"{low:,} to {high:,}", low)


def _ranks(keys: Mapping[tuple[Any, ...], Any]) -> Any:
    """Sort by each part's first appearance: mechanisms, then estimands, then methods."""
    seen: list[dict[Any, int]] = []
    for key in keys:
        for i, part in enumerate(key):
            if len(seen) <= i:
                seen.append({})
            seen[i].setdefault(part, len(seen[i]))
    return lambda key: [seen[i][part] for i, part in enumerate(key)]


def caption(
    performance: pd.DataFrame,
    regime: str | Sequence[str] | None = None,
    failures: pd.DataFrame | None = None,
) -> str:
    """Truth regime, replicates attempted, fits missing, flagged and retried, as one sentence.

    Parameters
    ----------
    performance
        Long table.
    regime
        One word, or several where mechanisms differ.
    failures
        Fits by status, as `Run.failures`; without it flagged fits are not counted.
    """
    from hiermodels.reporting._rows import factors, regime_of

    low, high = int(performance["n_sim"].min()), int(performance["n_sim"].max())
    attempted = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    words = [regime_of(performance, regime), f"{attempted} replicates attempted per mechanism and method"]
    if failures is not None and {"method", "nonfinite"} <= set(failures):
        flags = [c for c in FLAGS if c in failures]
        counts = failures.assign(flagged=failures[flags].sum(axis=1))
        columns = {"nonfinite": "missing", "flagged": "flagged and kept", "n_retried": "retried"}
    else:
        keys = [*factors(performance), "method"]
        numbers = [c for c in ("n_failed", "n_retried") if c in performance]
        counts = performance.groupby(keys, sort=False, dropna=False, observed=True)[numbers].max().reset_index()
        columns = {"n_failed": "missing", "n_retried": "retried"}
    return "; ".join([*words, *(f"{word}: {_by_method(counts, c)}" for c, word in columns.items() if c in counts)])


def _by_method(counts: pd.DataFrame, column: str) -> str:
    """``3 of partial``, or none."""
    totals = counts.groupby("method", sort=False, observed=True)[column].sum()
    return ", ".join(f"{int(n):,} of {method}" for method, n in totals.items() if n > 0) or "none"


def note_lines(notes: object) -> list[str]:
    """Notes as lines, whether they come as text, a list or a mapping."""
    if not notes:
        return []
    if isinstance(notes, str):
        return [notes]
    if isinstance(notes, Mapping):
        return [f"{key}: {'; '.join(note_lines(value))}" for key, value in notes.items()]
    return [line for note in notes for line in note_lines(note)] if isinstance(notes, Iterable) else [str(notes)]


def terminal_table(
    performance: pd.DataFrame,
    *,
    measures: Sequence[str] | None = None,
    regime: str | Sequence[str] | None = None,
    failures: pd.DataFrame | None = None,
    notes: object = (),
    plain: bool = False,
) -> Table | str:
    """Performance as a table for the terminal: rows mechanism, estimand, method; columns ``value (mcse)``.

    Parameters
    ----------
    performance
        Long table.
    measures
        Which, in this order; by default all.
    regime
        ``fixed``, ``population`` or ``prior``, or several; by default ``performance.attrs["regime"]``.
    failures
        Fits by status, as `Run.failures`, to count the flagged ones too.
    notes
        Lines for below the table, such as why a measure is undefined.
    plain
        Text with aligned columns, nothing cut or coloured, for files and pipes.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"method": "none", "estimand": "Intercept", "group": "", "measure": "bias", "value": 0.12}
    >>> more = {"mcse": 0.1, "lower": -0.1, "upper": 0.3, "n_sim": 100, "n_failed": 0, "n_retried": 0}
    >>> print(terminal_table(pd.DataFrame([row | more]), regime="fixed", plain=True))
    estimand   method         bias
    Intercept  none    0.12 (0.10)
    value (Monte Carlo standard error)
    truth regime: fixed; 100 replicates attempted per mechanism and method; missing: none; retried: none
    """
    wide = widen(performance, measures)
    below = ["value (Monte Carlo standard error)", caption(performance, regime, failures), *note_lines(notes)]
    return _as_text(wide, below) if plain else _as_rich(wide, below)


def _as_text(wide: Wide, below: Sequence[str]) -> str:
    lines = [[*wide.names, *wide.measures], *([cell.text for cell in row] for row in wide.rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    left = len(wide.names)
    text = [
        "  ".join(
            word.ljust(w) if i < left else word.rjust(w) for i, (word, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]
    return "\n".join([*(line.rstrip() for line in text), *below])


def _as_rich(wide: Wide, below: Sequence[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, caption=Text("\n".join(below)), caption_justify="left", padding=(0, 1, 0, 0))
    for name in wide.names:
        table.add_column(Text(name), overflow="fold")
    for measure in wide.measures:
        table.add_column(Text(measure), justify="right", overflow="fold")
    depth = len(wide.names) - 1  # all but the method
    words = [[cell.text for cell in row] for row in wide.rows]
    for i, row in enumerate(words):
        same = 0
        while i > 0 and same < depth and row[same] == words[i - 1][same]:
            same += 1
        last = i + 1 < len(words) and words[i + 1][: max(depth - 1, 1)] != row[: max(depth - 1, 1)]
        table.add_row(*map(Text, [""] * same + row[same:]), end_section=last)
    return table


def to_latex(wide: Wide, caption: str) -> str:
    """A performance table as LaTeX, for the package ``booktabs``."""
    head = " & ".join(_tex(name) for name in (*wide.names, *wide.measures)) + r" \\"
    body = [" & ".join(_tex(cell.text) for cell in row) + r" \\" for row in wide.rows]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(caption)}.}}",
            rf"\begin{{tabular}}{{{'l' * len(wide.names)}{'r' * len(wide.measures)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _tex(text: str) -> str:
    swaps = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "−": "$-$",
    }
    swaps |= {c: "\\" + c for c in "&%$#_{}"}
    return "".join(swaps.get(c, c) for c in text)
