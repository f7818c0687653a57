"""Run folders, afterwards: ``merge``, ``replicate``, ``compare``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hiermodels.cli._app import app, prepare_jax
from hiermodels.cli.studies import print_run

__all__ = ["compare", "merge", "replicate"]


@app.command
def merge(out: Path, /, *runs: Path, quiet: bool = False) -> None:
    """Join runs of one study that were made apart: shards in folders of their own, or other cells, methods,
    replications.

    Parameters
    ----------
    out
        Folder of the joined run; what it has of the study already stays.
    runs
        Run folders, finished or not. If chunks are missing in all of them they are named, with the command that makes
        them; what is there is joined all the same.
    quiet
        Print nothing but errors.
    """
    prepare_jax()
    from hiermodels.studies.run.merge import merge as merge_runs

    done = merge_runs(out, runs)
    if not quiet:
        print_run(done)


@app.command
def replicate(
    run: Path,
    /,
    *,
    rep: int,
    cell: str | None = None,
    method: str | None = None,
    out: Path | None = None,
    quiet: bool = False,
) -> None:
    """Compute one replicate of a run again: print its truth, estimates and diagnostics, save its data and draws.

    Parameters
    ----------
    run
        A run folder, such as runs/eight_schools.
    rep
        Number of the replicate, from 0.
    cell
        FACTOR=VALUE,... as many as name one cell.
    method
        One method; by default all.
    out
        Folder for data.csv, truth.csv, estimates.csv and each method's draws (netCDF); by default inside the run
        folder.
    quiet
        Print the folder only.
    """
    prepare_jax()
    from hiermodels.studies.run.export import read_cell
    from hiermodels.studies.run.replicate import replicate as compute

    found = compute(run, rep, None if cell is None else read_cell(cell), method)
    place = ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in found.cell.factors.items())
    folder = found.save(out or run / "replicates" / re.sub(r"[^\w=,.()-]", "_", f"{place},rep={rep}".lstrip(",")))
    if not quiet:
        _print_replicate(found, place)
    print(f"saved {folder}")


def _print_replicate(found: Any, place: str) -> None:
    """Truth, estimates beside it, and whether they are the stored ones."""
    print(f"{place or 'the only cell'}, replicate {found.rep}: {len(found.data)} rows of data")
    truth = found.truth[(found.truth["group"] == "") & found.truth["true"].notna()]
    print(
        "truth: "
        + ", ".join(f"{name} = {value:.6g}" for name, value in zip(truth["variable"], truth["true"], strict=True))
    )
    columns = [
        "estimand",
        "group",
        "true",
        "estimate",
        "se",
        "lower",
        "upper",
        "status",
        "n_try",
        "rhat",
        "ess_bulk",
        "ess_tail",
        "divergences",
    ]
    for method, rows in found.estimates.groupby("method", sort=False):
        shown = rows[[c for c in (*columns, "message") if c in rows and not rows[c].isna().all()]]
        print(f"\n{method}\n{shown.to_string(index=False, float_format=lambda x: f'{x:.5g}')}")
        differ = found.differences[method]
        if differ is None:
            print("this replicate is not stored in the run")
        elif differ:
            print(
                f"NOT the stored rows: {', '.join(differ)} differ; other versions or another kind of machine made them"
            )
        else:
            print("the stored rows, to the last bit")
        print(f"{method}.nc: {found.notes[method]}" if method in found.draws else f"{method} {found.notes[method]}")


@app.command
def compare(one: Path, two: Path, /, *, out: Path | None = None, rows: int = 20) -> None:
    """Compare two runs: identity, versions, and performance with combined Monte Carlo errors.

    Parameters
    ----------
    one
        A finished run folder.
    two
        Another.
    out
        Write the whole comparison here (CSV).
    rows
        How many rows to print, the largest abs(z) first.
    """
    prepare_jax()
    from hiermodels.studies.run.compare import compare as compare_runs
    from hiermodels.studies.store.csv_text import csv_text
    from hiermodels.studies.store.disk import write_bytes

    found = compare_runs(one, two)
    for word, lines in (("identity", found.identity), ("summary", found.summary), ("versions", found.versions)):
        print(f"{word}: " + ("the same" if not lines else "\n  " + "\n  ".join(lines)))
    print("\n".join(found.words))
    largest = found.table.loc[found.table["z"].abs().sort_values(ascending=False, kind="stable").index].query(
        "z != 0 and z == z"
    )
    if len(largest) and rows > 0:
        print("\n" + largest.head(rows).to_string(index=False, float_format=lambda x: f"{x:.4g}"))
    if out is not None:
        write_bytes(out, csv_text(found.table).encode())
        print(f"saved {out}")
