"""Estimates that another program made on the datasets of a run, scored beside its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.datasets import read_table
from hiermodels.datasets.roles import MISSING
from hiermodels.models.columns import as_numbers, shown_cell
from hiermodels.models.labels import find_label, label_text
from hiermodels.studies.config import Cell, Study
from hiermodels.studies.config.errors import nearest, shown
from hiermodels.studies.methods.answers import NUMBERS, faults, there
from hiermodels.studies.methods.fits import estimates_from, supports_of_targets
from hiermodels.studies.methods.long_table import table_of
from hiermodels.studies.methods.ready import mechanism_of, plain_fit, truth_of
from hiermodels.studies.methods.tasks import simulate_chunk
from hiermodels.studies.run.exporting import BATCH, Functions, same_value, study_of_run
from hiermodels.studies.run.summary import summarise
from hiermodels.studies.store import results
from hiermodels.studies.store.chunks import chunk_path, write_chunk
from hiermodels.studies.store.csv_text import unguarded
from hiermodels.studies.store.disk import remove
from hiermodels.studies.store.identity import Makers, check_current
from hiermodels.studies.store.imported import imported_methods, note_imported
from hiermodels.studies.store.results import Run, load_run

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.studies.methods.ready import Fit

__all__ = ["import_estimates"]

_NAME = re.compile(r"[^\W_][\w.+-]{0,63}")


def import_estimates(
    run: Run | str | Path,
    table: pd.DataFrame | str | Path,
    method: str,
    *,
    replace: bool = False,
    functions: Functions | None = None,
) -> list[str]:
    """Take estimates made elsewhere into a run, as a method that is scored beside its own.

    Parameters
    ----------
    run : Run or path
    table : DataFrame or path
        Columns ``rep, <factors>, estimand, group, estimate`` and, where there are such, ``se, lower, upper`` (CSV or
        Parquet; no ``group`` where no estimand has groups). ``rep`` counts from 0 and groups are named as in the run's
        own estimates; a label that another program has read as a number is found (1 for ``01``) where no other label is
        this number, and factors to a relative 1e-12. A missing estimate is empty or NA. Rows that are absent, in a cell
        and of an estimand that has others, count as missing.
    method : str
        Its name in every table.
    replace : bool
        Put it in the place of what was imported under this name.
    functions : mapping, optional
        The study's Python functions, as for `hiermodels.run`.

    Returns
    -------
    list of str
        What was taken, a line each.

    Raises
    ------
    ValueError
        For a column, factor value, replicate, estimand or group that the run has not, a row twice, text where a number
        belongs, or numbers without meaning (ends of an interval exchanged, or one of them alone; a negative standard
        error; an infinite estimate, or one that the estimand cannot have): naming the row (from 0, below the header).

    Notes
    -----
    Truths are filled in from the run's own simulation. Intervals are taken to be of the study's level.

    Examples
    --------
    >>> import_estimates("runs/eight_schools", "lme4.csv", "lme4")  # doctest: +SKIP
    """
    run = run if isinstance(run, Run) else load_run(run)
    check_current(run.manifest, run.path)
    study = study_of_run(run, functions)
    _check_name(run, method, replace)
    rows, where = _read(table, study)
    rows = _checked_columns(study, rows, where)
    said, chunks = [f"{where}: {len(rows):,} rows as method {method!r}"], {}
    for cell in study.cells():
        here = rows[_of_cell(cell, rows)]
        rows = rows.drop(here.index)
        if len(here):
            chunks[cell.hash], line = _scored(study, cell, method, here, where)
            said.append(line)
    if len(rows):
        raise ValueError(_strange_cell(study, rows, where))
    makers = Makers(run.manifest)
    with results.locked(run.path):
        for cell in study.cells():
            remove(chunk_path(run.path, cell.hash, method, 0))
            if cell.hash in chunks:
                write_chunk(run.path, cell.hash, method, 0, chunks[cell.hash], makers.of(cell.hash, method))
        note_imported(run.path, method, {"from": Path(where).name, "replications": study.replications})
    return said + _summarised(run)


def _summarised(run: Run) -> list[str]:
    try:
        summarise(run.path)
    except ValueError as error:
        return [f"not scored yet: {error}"]
    return [f"tables and report: {run.path}"]


def _check_name(run: Run, method: str, replace: bool) -> None:
    if not isinstance(method, str) or not _NAME.fullmatch(method):
        raise ValueError(f"method: expected letters, digits and . _ + - in a name, found {method!r}; rename it")
    if method in run.config["methods"]:
        raise ValueError(f"method: {method!r} is a method of the study itself; choose another name")
    if method in imported_methods(run.path) and not replace:
        raise ValueError(
            f"method: {method!r} was imported already; choose another name, or replace it with --replace (replace=True)"
        )


def _read(table: pd.DataFrame | str | Path, study: Study) -> tuple[pd.DataFrame, str]:
    if isinstance(table, str | Path):
        texts = [*(name for name, kind in study.factors.items() if kind == "string"), "estimand", "group"]
        return read_table(Path(table), texts, missing="").reset_index(drop=True), str(table)
    return table.reset_index(drop=True), "table"


def _checked_columns(study: Study, rows: pd.DataFrame, where: str) -> pd.DataFrame:
    """The table with factors under their own names and all optional columns, numbers checked."""
    renamed = {f"cell_{f}": f for f in study.factors if f not in rows.columns and f"cell_{f}" in rows.columns}
    rows = rows.rename(columns=renamed)
    needed = ("rep", *study.factors, "estimand", "estimate")
    known = (*needed, "group", "se", "lower", "upper")
    for name in needed:
        if name not in rows.columns:
            raise ValueError(f"{where}: expected a column {name!r}, found {', '.join(map(str, rows.columns))}; add it")
    for name in rows.columns:
        if name not in known:
            raise ValueError(f"{where}: unknown column {str(name)!r}; {nearest(str(name), known)} or drop it")
    if not len(rows):
        raise ValueError(f"{where}: expected at least one row, found none; check the file")
    rows = rows.assign(**{name: np.nan for name in NUMBERS if name not in rows})
    rows["group"] = (
        ["" if g is None else label_text(g) for g in _present(rows["group"], blanks=True)] if "group" in rows else ""
    )
    rows["estimand"] = [unguarded(str(e)) for e in rows["estimand"]]
    for name in NUMBERS:
        numbers, bad = as_numbers(_present(rows[name]))
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"{where}: row {row}: expected a number as {name}, found {shown_cell(rows[name].iloc[row])}; mend it"
            )
        rows[name] = numbers
    reps, _ = as_numbers(rows["rep"])
    bad = ~((reps >= 0) & (reps < study.replications) & (reps % 1 == 0))
    if bad.any():
        row = int(bad.argmax())
        wanted = f"a whole number from 0 to {study.replications - 1}"
        raise ValueError(
            f"{where}: row {row}: expected {wanted} as rep, found {shown_cell(rows['rep'].iloc[row])}; replicates "
            f"count from 0"
        )
    return rows.assign(rep=reps.astype(np.int64))


def _present(column: pd.Series, blanks: bool = False) -> pd.Series:
    """The column as objects, None where a cell is missing or says so; a label may be blanks alone, or have them around
    it.
    """
    cells = column.astype(object)
    return cells.where(
        column.notna()
        & ~cells.map(lambda cell: isinstance(cell, str) and (cell if blanks else cell.strip()) in MISSING),
        None,
    )


def _of_cell(cell: Cell, rows: pd.DataFrame) -> np.ndarray:
    found = np.ones(len(rows), bool)
    for name, value in cell.factors.items():
        column = rows[name]
        found &= np.array([same_value(value, v) for v in column.tolist()], bool)
    return found


def _strange_cell(study: Study, rows: pd.DataFrame, where: str) -> str:
    row = rows.iloc[0]
    has = ", ".join(f"{name}={row[name]}" for name in study.factors)
    cells = "; ".join(", ".join(f"{k}={v}" for k, v in c.factors.items()) for c in study.cells()[:6])
    return f"{where}: row {rows.index[0]}: no cell of the run has {has}; its cells are {cells}"


def _scored(study: Study, cell: Cell, method: str, rows: pd.DataFrame, where: str) -> tuple[Any, str]:
    """A cell's rows as stored estimates with true values, and a line about them."""
    mechanism, reps = mechanism_of(study, cell), study.replications
    names = [e.name for e in study.estimands]
    unknown = next((i for i, name in enumerate(rows["estimand"]) if name not in names), None)
    if unknown is not None:
        found = rows["estimand"].iloc[unknown]
        raise ValueError(
            f"{where}: row {rows.index[unknown]}: unknown estimand {shown(found)}; {nearest(str(found), names)}"
        )
    fit = plain_fit(study, mechanism, tuple(n for n in names if n in set(rows["estimand"])))
    place = _places(fit, rows, where)
    numbers = np.full((reps, len(fit.positions), len(NUMBERS)), np.nan)
    seen = np.zeros(numbers.shape[:2], bool)
    for row, rep, at in zip(rows.index, rows["rep"], place, strict=True):
        if seen[rep, at]:
            raise ValueError(f"{where}: row {row}: replicate {rep} of this estimand and group stands twice; drop one")
        seen[rep, at] = True
    given = rows[list(NUMBERS)].to_numpy(float)
    for wrong, fault in faults(given, supports_of_targets(fit)[place]).items():
        raise ValueError(f"{where}: row {rows.index[wrong]}: {rows['estimand'].iloc[wrong]}: {fault}")
    numbers[rows["rep"], place] = given
    blocks = [simulate_chunk(study, mechanism, np.arange(s, s + BATCH))[1] for s in range(0, reps, BATCH)]
    true = {name: np.concatenate([block[name] for block in blocks])[:reps] for name in blocks[0]}
    table = table_of(cell, method, fit, np.arange(reps), estimates_from(fit, numbers), truth_of(fit, true))
    missing = int((~there(numbers)).sum())
    factors = ", ".join(f"{k}={v}" for k, v in cell.factors.items()) or "the only cell"
    count = f"{', '.join(name for name, _ in fit.names)}; {reps} replicates"
    return table, f"  {factors}: {count}" + (f"; {missing} missing, counted as failed" if missing else "")


def _places(fit: Fit, rows: pd.DataFrame, where: str) -> np.ndarray:
    """Place of each row among the real targets: a group's label as it is printed, or what it has become in another
    program.
    """
    blocks: dict[str, tuple[int, tuple[str, ...]]] = {}
    start = 0
    for name, block in fit.names:
        blocks[name] = (start, tuple(block))
        start += len(block)
    seen: dict[tuple[str, str], int] = {}
    found = np.empty(len(rows), int)
    for i, pair in enumerate(zip(rows["estimand"], rows["group"], strict=True)):
        if pair not in seen:
            name, group = pair
            start, own = blocks[name]
            place = _place(group, own)
            if place is None:
                wanted = nearest(group, own) if own != ("",) else "it has no groups; leave group empty"
                raise ValueError(f"{where}: row {rows.index[i]}: unknown group {group!r} of {name!r}; {wanted}")
            seen[pair] = start + place
        found[i] = seen[pair]
    return found


def _place(group: str, own: tuple[str, ...]) -> int | None:
    """Place of a label among those of an estimand; a missing one stands for the label that reads as missing (NA)."""
    if group or own == ("",):
        place = find_label(group, own)
        return find_label(unguarded(group), own) if place is None else place
    gone = [i for i, label in enumerate(own) if label in MISSING]
    return gone[0] if len(gone) == 1 else None
