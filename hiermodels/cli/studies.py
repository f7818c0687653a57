"""Studies: ``run``, ``report``, ``check``, ``new``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hiermodels.cli._app import BEGAN, Device, app, check_device, prepare_jax, show

__all__ = ["check", "new", "report", "run"]


@app.command
def run(
    config: str,
    /,
    *,
    out: Path | None = None,
    replications: int | None = None,
    workers: int | None = None,
    extend: bool = False,
    shard: str = "auto",
    time_limit: str | None = None,
    scheduler: str | None = None,
    quiet: bool = False,
    device: Device = "auto",
) -> None:
    """Run a simulation study, or go on with one that was stopped.

    Parameters
    ----------
    config
        A YAML file, the name of a shipped config such as eight_schools, or a run folder, to finish it.
    out
        Run folder; by default runs/<name of the config>.
    replications
        Datasets a cell, instead of the config's.
    workers
        Threads; by default one a core that the process may use.
    extend
        Allow more replications, cells or methods than the folder's study has.
    shard
        I/N: compute one N-th of the study's chunks, on any machine; I counts from 0 or from 1. By default the numbers
        of a Slurm job array, where there is one, else everything. Shards may share a run folder, or `merge` joins
        theirs.
    time_limit
        Seconds or HH:MM:SS, start-up counted; the run ends by then with exit code 75, and the same command goes on.
    scheduler
        Dask scheduler, tcp://host:port, whose workers compute in the place of this process's threads.
    quiet
        Print nothing but errors.
    """
    prepare_jax(device)
    from hiermodels.studies.run.interruption import Deadline, read_duration
    from hiermodels.studies.run.runner import run as run_study

    limit = None if time_limit is None else Deadline(read_duration(time_limit), since=BEGAN)

    check_device(device)
    done = run_study(
        config, out, replications=replications, workers=workers, extend=extend, progress=not quiet,
        shard=shard, time_limit=limit, scheduler=scheduler,
    )  # fmt: skip
    if quiet:
        return
    if done.finished:
        print_run(done)
    else:
        print(
            f"{done.path}: not finished; when all shards are: hiermodels merge OUT RUN... joins folders, report "
            f"shows one"
        )


def print_run(done: Any) -> None:
    """Print a run's table of performance and where its files are."""
    from hiermodels.reporting.report import terminal_table

    show(terminal_table(done.performance, regime=done.manifest["regime"], notes=done.notes, failures=done.failures))
    print(f"\ntables and figures: {done.path}\nreport: {done.path / 'report.html'}")


@app.command
def report(run: Path, /, *, performance: list[str] | None = None, check: bool = False) -> None:
    """Summarise a run folder again, without fitting anything, and print its table.

    Parameters
    ----------
    run
        A run folder, such as runs/eight_schools.
    performance
        Measures in the place of the study's, e.g. bias,rmse,cover; see hiermodels list measures.
    check
        Write nothing: name every file of the folder that is not what was written there, or not what the estimates give.
    """
    prepare_jax()
    if check:
        _check_files(run, performance)
        return
    from hiermodels.studies.run.summary import summarise
    from hiermodels.studies.store.disk import locked
    from hiermodels.studies.store.results import load_run

    load_run(run)  # before anything is made of a mistyped name
    words = [word.strip() for text in performance for word in text.split(",")] if performance else None
    with locked(run):
        print_run(summarise(run, words))


def _check_files(run: Path, performance: list[str] | None) -> None:
    from hiermodels.studies.run.checking import check_files

    if performance:
        raise ValueError("report: --check looks at what is there; leave out --performance")
    found = check_files(run)
    print("\n".join(found or [f"{run}: every file is what was written"]))
    if found:
        raise ValueError(f"{run}: {len(found)} of its files or parts differ from what was written; each is named above")


@app.command
def check(config: str, /) -> None:
    """Validate a config and dry-run the shapes of every cell and method, without computing anything.

    Parameters
    ----------
    config
        A YAML file, or the name of a shipped config.
    """
    prepare_jax()
    from hiermodels.studies.config import read_config
    from hiermodels.studies.run.binding import dry_run

    for line in dry_run(read_config(config)):
        print(line)


@app.command
def new(
    file: Path,
    /,
    *,
    formula: str | None = None,
    data: str | None = None,
    family: str = "normal",
    trials: str | None = None,
    exposure: str | None = None,
) -> None:
    """Write a commented, valid config to start from; or, where FILE ends in .sbatch, a Slurm job array for a study.

    Parameters
    ----------
    file
        Where to write it; an existing file is kept.
    formula
        Model of the study, e.g. "score ~ 1 + (1 | school)".
    data
        Dataset or file whose groups the study takes.
    family
        One of those that `hiermodels list families` prints.
    trials
        Column of binomial trials; by default guessed from the data's columns.
    exposure
        Column of Poisson exposures, likewise.
    """
    if file.suffix == ".sbatch":
        _write_new(file, (Path(__file__).parent / "slurm.sbatch").read_text(), f"submit it with: sbatch {file} CONFIG")
        return
    prepare_jax()
    from hiermodels.studies.plan.template import template

    text = template(formula, data, family, trials=trials, exposure=exposure)
    _write_new(file, text, f"run it with: hiermodels run {file}")


def _write_new(file: Path, text: str, hint: str) -> None:
    if file.exists():
        raise ValueError(f"{file}: exists already; choose another name or remove it")
    try:
        file.write_text(text)
    except OSError as error:
        raise ValueError(
            f"{file}: cannot be written ({error.strerror}); choose a folder that exists and is writable"
        ) from None
    print(f"wrote {file}; {hint}")
