"""Datasets of a run, for another program."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hiermodels.models.columns import number_of
from hiermodels.studies.config import Cell, Study
from hiermodels.studies.config.errors import nearest
from hiermodels.studies.config.stand_ins import stand_ins
from hiermodels.studies.mechanisms.frames import frames
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.methods.tasks import redrawn_columns, simulate_chunk
from hiermodels.studies.store.csv_text import csv_text, unguarded
from hiermodels.studies.store.disk import whole
from hiermodels.studies.store.identity import check_current
from hiermodels.studies.store.results import Run, load_run

__all__ = ["datasets", "export_datasets", "matching", "read_cell"]

_ROWS = 1_000_000
"""Rows that are simulated and written at a time."""
BATCH = 64
"""Datasets that are simulated at a time, at most."""

Functions = Mapping[str, Callable[..., Any]]


def datasets(
    run: Run | str | Path, cell: Mapping[str, Any] | None = None, *, functions: Functions | None = None
) -> Iterator[pd.DataFrame]:
    """Datasets of a run, some replicates of a cell at a time: simulated again, they are those that its methods met.

    Parameters
    ----------
    run : Run or path
    cell : mapping, optional
        Factor to value; cells that have these. By default all.
    functions : mapping, optional
        The study's Python functions, as for `hiermodels.run`.

    Yields
    ------
    DataFrame
        One row an observation: ``rep``, the cell's factors, the design's columns with the outcome. A factor that has
        the name of a column of the design (a level's size) is called ``cell_<factor>``.

    Raises
    ------
    ValueError
        For a folder without a run, a factor or cell that there is not.
    """
    run = run if isinstance(run, Run) else load_run(run)
    check_current(run.manifest, run.path)
    study = study_of_run(run, functions)
    cells = matching(study, cell or {})
    return _simulated(study, cells)


def study_of_run(run: Run, functions: Functions | None) -> Study:
    """A run's study, to simulate from: functions of its methods are not needed, one of its mechanisms is.

    Raises
    ------
    ValueError
        For mechanisms in Python whose function is not given.
    """
    given = dict(functions or {})
    absent = {
        place: f
        for place, f in stand_ins(run.config).items()
        if place not in given and place.split(".")[1] not in given
    }
    if "mechanisms.formula" in absent:
        name = run.config["mechanisms"]["formula"]
        raise ValueError(
            f"functions: the mechanisms are the Python function {name!r}, which a run folder only names; "
            'give functions={"mechanisms.formula": f} in Python'
        )
    return Study.from_resolved(run.config, functions={**absent, **given})


def _simulated(study: Study, cells: Sequence[Cell]) -> Iterator[pd.DataFrame]:

    for cell in cells:
        mechanism = mechanism_of(study, cell)
        if "rep" in mechanism.frame.columns:
            raise ValueError("design: expected no column 'rep', which names replicates; rename it")
        batch = max(1, min(BATCH, _ROWS // len(mechanism.frame)))
        factors = {_factor_column(name, mechanism.frame.columns): value for name, value in cell.factors.items()}
        for start in range(0, study.replications, batch):
            some = np.arange(start, start + batch)
            outcomes, _ = simulate_chunk(study, mechanism, some)
            reps = range(start, min(start + batch, study.replications))
            tables = list(
                zip(
                    reps,
                    frames(mechanism.problem, mechanism.frame, outcomes, redrawn_columns(study, mechanism, some)),
                    strict=False,
                )
            )
            whole = pd.concat([table for _, table in tables], ignore_index=True)
            whole.insert(0, "rep", np.repeat([r for r, _ in tables], [len(table) for _, table in tables]))
            for place, (name, value) in enumerate(factors.items(), 1):
                whole.insert(place, name, value)
            yield whole


def _factor_column(name: str, columns: Sequence[str] | pd.Index) -> str:
    return f"cell_{name}" if name in columns else name


def matching(study: Study, wanted: Mapping[str, Any]) -> list[Cell]:
    """Cells whose factors have the wanted values."""
    for name in wanted:
        if name not in study.factors:
            hint = nearest(name, study.factors) if study.factors else "the study has one cell; leave it out"
            raise ValueError(f"cell: unknown factor {name!r}; {hint}")
    found = [c for c in study.cells() if all(same_value(c.factors[k], v) for k, v in wanted.items())]
    if not found:
        values = {k: ", ".join(dict.fromkeys(str(c.factors[k]) for c in study.cells())) for k in wanted}
        text = "; ".join(f"{k} is one of {v}" for k, v in values.items())
        raise ValueError(f"cell: no cell has {', '.join(f'{k}={v}' for k, v in wanted.items())}; {text}")
    return found


def same_value(value: float | str, wanted: Any) -> bool:
    """Whether a factor's value is the one that is asked for."""
    if isinstance(value, str):
        return value in (str(wanted), unguarded(str(wanted)))
    number = number_of(wanted)
    return number is not None and math.isclose(value, number, rel_tol=1e-12)


def read_cell(text: str) -> dict[str, str]:
    """``K=V,...`` as a mapping; commas in brackets belong to the value.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> read_cell("sd_school=5,deviation.errors=outliers(0.05, 5)")
    {'sd_school': '5', 'deviation.errors': 'outliers(0.05, 5)'}
    """
    found = {}
    for part in re.split(r",(?![^()]*\))", text):
        name, separator, value = part.partition("=")
        if not separator or not name.strip() or not value.strip():
            raise ValueError(f"cell: expected FACTOR=VALUE,..., found {text!r}; write e.g. sd_school=5")
        found[name.strip()] = value.strip()
    return found


def export_datasets(
    run: Run | str | Path,
    out: str | Path | None = None,
    cell: Mapping[str, Any] | None = None,
    *,
    functions: Functions | None = None,
) -> Path:
    """Write the datasets of a run to one file, for other programs.

    Parameters
    ----------
    run : Run or path
    out : path, optional
        ``.csv`` gives CSV, ``.parquet`` or ``.pq`` Parquet; by default ``datasets.parquet`` in the run folder.
    cell, functions
        As in `datasets`.

    Returns
    -------
    Path
        The file: written whole or not at all.

    Raises
    ------
    ValueError
        As `datasets`; for a name that ends otherwise, or a file that cannot be written.

    Examples
    --------
    >>> export_datasets("runs/eight_schools", "schools.csv", {"sd_school": 5})  # doctest: +SKIP
    """
    run = run if isinstance(run, Run) else load_run(run)
    path = run.path / "datasets.parquet" if out is None else Path(out)
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet", ".pq"):
        raise ValueError(f"{path}: expected a name that ends in .csv or .parquet; rename it")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"{path}: cannot be written: expected a file in a folder that exists; name another")
    tables = datasets(run, cell, functions=functions)
    with whole(path) as temporary:
        (_write_csv if kind == ".csv" else _write_parquet)(temporary, tables)
    return path


def _write_csv(path: Path, tables: Iterator[pd.DataFrame]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for n, table in enumerate(tables):
            file.write(csv_text(table, header=n == 0))


def _write_parquet(path: Path, tables: Iterator[pd.DataFrame]) -> None:
    first = pa.Table.from_pandas(next(tables), preserve_index=False).replace_schema_metadata(None)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(
                pa.Table.from_pandas(table, first.schema, preserve_index=False).replace_schema_metadata(None)
            )
