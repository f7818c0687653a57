"""Datasets and estimates to and from other programs: ``datasets``, ``import``."""

from __future__ import annotations

from pathlib import Path

from hiermodels.cli._app import app, prepare_jax

__all__ = ["datasets", "import_"]


@app.command
def datasets(run: Path, /, *, cell: str | None = None, out: Path | None = None) -> None:
    """Write the datasets of a run to a file: one row an observation, with its replicate and the cell's factors.

    Parameters
    ----------
    run
        A run folder, such as runs/eight_schools.
    cell
        Only cells with these values: FACTOR=VALUE,...
    out
        File, .csv or .parquet; by default datasets.parquet in the run folder.
    """
    prepare_jax()
    from hiermodels.studies.run.export import export_datasets, read_cell

    print(f"wrote {export_datasets(run, out, None if cell is None else read_cell(cell))}")


@app.command(name="import")
def import_(run: Path, file: Path, /, *, method: str, replace: bool = False) -> None:
    """Take estimates made elsewhere into a run, and score them beside its methods.

    Parameters
    ----------
    run
        A run folder.
    file
        CSV or Parquet with the columns rep, the factors, estimand, group, estimate, and optionally se, lower, upper.
    method
        Its name in the tables.
    replace
        Put it in the place of what was imported under this name.
    """
    prepare_jax()
    from hiermodels.studies.run.export import import_estimates

    print("\n".join(import_estimates(run, file, method, replace=replace)))
