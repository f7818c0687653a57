"""Run a study: chunks on an executor, each written whole; stop it anywhere and the same command finishes it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from hiermodels._forks import refuse_fork
from hiermodels.datasets import is_file
from hiermodels.studies.config import Study, config_names, read_config
from hiermodels.studies.machine import cores
from hiermodels.studies.methods.programs import compile_seconds
from hiermodels.studies.methods.tasks import run_chunk
from hiermodels.studies.run.binding import bind_all, dry_run, manifest_of, truth_regime
from hiermodels.studies.run.cluster import cluster
from hiermodels.studies.run.execution import Pool, Threads, Timings, execute
from hiermodels.studies.run.interruption import Deadline, Interrupted, TimeUp, read_duration, terminable
from hiermodels.studies.run.progress import Progress
from hiermodels.studies.run.rounds import by_rounds, check_shard, kept_stops
from hiermodels.studies.run.schedule import WHOLE, Schedule, Shard, read_shard, shard_of_array
from hiermodels.studies.run.summary import summarise
from hiermodels.studies.store import results
from hiermodels.studies.store.identity import check_current, check_identity, check_sizes
from hiermodels.studies.store.results import Run, load_run

if TYPE_CHECKING:
    from hiermodels.studies.store.disk import Hold

__all__ = ["Interrupted", "TimeUp", "bind_all", "cores", "dry_run", "read_study", "run", "truth_regime"]


def default_workers() -> int:
    """One thread a core on CPU, one a device on accelerators."""
    return cores() if jax.devices()[0].platform == "cpu" else len(jax.devices())


def read_study(
    config: str | os.PathLike[str] | Mapping[str, Any],
    replications: int | None = None,
    functions: Mapping[str, Any] | None = None,
) -> tuple[Study, Path]:
    """A study and where it is run by default: of a config, or of a run folder as it was written there.

    Parameters
    ----------
    config : path, name or mapping
        A YAML file, the name of a shipped one, its content, or a run folder.
    replications : int, optional
        Instead of the config's.
    functions : mapping, optional
        Python functions by method's name or by place, as in `hiermodels.studies.config.read_config`.
    """
    source = Path(config) if isinstance(config, os.PathLike) else config
    if not isinstance(source, Mapping) and (is_file(source) or source not in config_names()):
        folder = Path(source)
        manifest = results.read_manifest(folder) if folder.is_dir() else None
        if manifest is not None:
            resolved = (
                manifest["config"] if replications is None else {**manifest["config"], "replications": replications}
            )
            file = folder / "config.yaml"
            text = file.read_bytes() if file.is_file() else b""
            name = str(manifest.get("name", folder.name))
            return Study.from_resolved(resolved, source=text, name=name, functions=functions), folder
    study = read_config(source, functions=functions, replications=replications)
    return study, Path("runs") / study.name


def run(
    config: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    *,
    replications: int | None = None,
    workers: int | None = None,
    extend: bool = False,
    progress: bool = True,
    functions: Mapping[str, Any] | None = None,
    shard: str | Shard | None = None,
    time_limit: float | str | Deadline | None = None,
    scheduler: str | None = None,
) -> Run:
    """Run a simulation study to its end, or go on with one that was stopped.

    Parameters
    ----------
    config : path, name or mapping
        A YAML file, the name of a shipped one (``"eight_schools"``), its content, or a run folder, to go on with what
        was begun there.
    out : path, optional
        Run folder; by default ``runs/<config's stem>``, or the run folder that was given.
    replications : int, optional
        Instead of the config's.
    workers : int, optional
        Threads; by default one a core that the process may use. Results do not depend on it.
    extend : bool
        Allow more replications, cells or methods than the folder's study has; nothing is computed twice.
    progress : bool
        Say on standard error what is compiled, how far the run is, and how long it will take.
    functions : mapping, optional
        Python functions that a file or a run folder cannot hold, by the name of their method or by place
        (``mechanisms.formula``, ``methods.mine.formula``).
    shard : str, optional
        ``"I/N"``: compute one N-th of the chunks; I counts from 0 or from 1. ``"auto"`` takes the numbers of a Slurm
        job array, where there is one. Shards may share a run folder, on any number of machines, and the last to finish
        summarises; or have folders of their own, which `hiermodels.studies.run.merge.merge` joins.
    time_limit : float or str, optional
        Seconds, or ``"HH:MM:SS"``, after which the run ends: no chunk is begun that would not be done by then.
    scheduler : str, optional
        Address of a Dask scheduler, ``"tcp://host:port"``, whose workers compute in the place of threads. It is
        trusted: see `hiermodels.studies.run.cluster`.

    Returns
    -------
    Run
        Of a shard: without a table of performance while others are not finished.

    Notes
    -----
    In a mapping, never in a file, Python functions stand in three places.

    - ``mechanisms.formula``: a NumPyro function, called with keywords named as its parameters (numeric column -> array,
      other -> integer codes, ``n_<column>`` -> count). Its one parameter with default None is the outcome; called with
      None it simulates. ``truth`` and ``grid`` name its latent sites: a number or a law for every entry, or label ->
      number; what is not named comes from its priors. True values go by site name, ``mean(<site>)`` included. Numbers
      of a generated design are floats: write ``trials.astype(int)`` where NumPyro wants whole numbers.
    - A method's ``formula``: the same kind of function, fitted by NUTS on all its sites. Estimands are its site names;
      a plate with the name of a column gives its site that column's group labels.
    - A method itself: ``(key, data) -> Estimates``, compiled and mapped over datasets. ``data`` is the
      `hiermodels.models.data.Data` of the mechanism's formula (of a NumPyro function its arguments, by name), outcome
      filled in. Fields of `hiermodels.inference.draws.Estimates` have shape (target,): all estimands in the study's
      order, a scalar as one entry, group values as one entry a group on the padded axis of ``data.real`` (what stands
      at padding is ignored). Entries that do not apply are NaN.
    - The function of a method with ``host: true``: ``(seed, DataFrame) -> mapping``, any Python, in processes of its
      own; see `hiermodels.studies.methods.host`. A file may say ``mine: {host: true}`` and get its function through
      ``functions={"mine": f}``.

    The manifest has a digest of each function: of its source without comments, of the values that it closes over or
    takes from its module, and of the functions beside it that it calls. A folder whose functions were edited since is
    refused.

    Raises
    ------
    ValueError
        For a config that cannot be run, a folder that holds another study or is in use.
    Interrupted
        At Ctrl-C; chunks that end within 20 seconds are kept, as those before. `TimeUp` at SIGTERM or the time limit.

    Examples
    --------
    >>> import hiermodels as hm
    >>> run = hm.run("quick", "runs/example", progress=False)  # doctest: +SKIP
    >>> run.performance.query("measure == 'cover'")  # doctest: +SKIP
    """
    refuse_fork("run")
    deadline = (
        time_limit
        if isinstance(time_limit, Deadline)
        else Deadline(None if time_limit is None else read_duration(time_limit))
    )
    part = _shard(shard)
    _check_workers(workers)
    with terminable():
        study, folder = read_study(config, replications, functions)
        folder = folder if out is None else Path(out)
        bind_all(study)
        check_shard(study, part)
        manifest = kept_stops(manifest_of(study), results.read_manifest(folder))
        schedule = Schedule.of(manifest, part)
        with results.locked(folder, part.name) as hold:
            with hold.alone():
                _enter(study, folder, manifest, schedule, extend)
            chunks, fits = _left(schedule, folder)
            with Progress(fits, progress) as bar:
                if 0 < chunks < schedule.count():
                    bar.say(
                        f"{schedule.count() - chunks} of {schedule.count()} chunks are there; going on with {chunks}"
                    )
                began = time.perf_counter()
                timings = Timings()

                def compute(some: Schedule) -> None:
                    with _pool(study, some, workers, deadline, scheduler, bar) as pool:
                        timings.add(execute(some.todo(folder), folder, pool, deadline, bar))

                if study.stop:
                    manifest = by_rounds(study, manifest, schedule, folder, compute)
                else:
                    compute(schedule)
                _write_timings(folder, part, time.perf_counter() - began, timings)
                return _finish(hold, manifest, bar)


def _shard(shard: str | Shard | None) -> Shard:
    if shard == "auto":
        return shard_of_array() or WHOLE
    return read_shard(shard) if isinstance(shard, str) else shard or WHOLE


def _check_workers(workers: int | None) -> None:
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(
            f"workers: expected a whole number of at least 1, found {workers!r}; leave it out for one a core"
        )


@contextmanager
def _pool(
    study: Study, schedule: Schedule, workers: int | None, deadline: Deadline, scheduler: str | None, bar: Progress
) -> Iterator[Pool]:
    """What computes: threads here, or the workers of a cluster."""
    if scheduler is None:
        yield Threads(
            lambda task: run_chunk(study, task.cell, task.method, task.index, announce=bar.say),
            workers or default_workers(),
            deadline,
        )
        return

    with cluster(scheduler, study, schedule.sizes(), bar.say) as pool:
        yield pool


def _enter(study: Study, folder: Path, manifest: dict[str, Any], schedule: Schedule, extend: bool) -> None:
    """Check that the folder is this study's, and write down what it is about to hold.

    A table of a smaller study goes; machines that have nothing to add leave no trace.
    """
    old = results.read_manifest(folder)
    if old is not None:
        check_current(old, folder)
        check_identity(
            old, study.resolved(), extend, cells=manifest["cells"], functions=manifest["functions"], where=str(folder)
        )
        check_sizes(old, manifest, str(folder))
    if next(Schedule.of(manifest).missing(folder), None):
        results.drop_performance(folder)
    busy = next(schedule.missing(folder), None) is not None
    results.write_bytes(folder / "config.yaml", study.source)
    whole = results.with_files(manifest, {"config.yaml": study.source})
    results.write_manifest(folder, results.with_machine(whole, old, busy))


def _left(schedule: Schedule, folder: Path) -> tuple[int, int]:
    """Chunks and fits that are still to be made."""
    chunks = fits = 0
    for combination, indices in schedule.missing(folder):
        chunks += len(indices)
        fits += sum(combination.task(i, schedule.replications).fits for i in indices)
    return chunks, fits


def _finish(hold: Hold, manifest: dict[str, Any], bar: Progress) -> Run:
    """Summarise, unless other shards are still to come or one of them is at it."""
    everything = Schedule.of(manifest)
    lacking = sum(len(indices) for _, indices in everything.missing(hold.folder))
    if lacking:
        chunks = everything.count()
        bar.say(f"shard {hold.shard}: done; {chunks - lacking} of the study's {chunks} chunks are in {hold.folder}")
        return load_run(hold.folder)
    with hold.summarising() as mine:
        if mine and hold.shard:
            results.join_timings(hold.folder, [hold.folder])
        return summarise(hold.folder) if mine else load_run(hold.folder)


def _write_timings(folder: Path, part: Shard, wall: float, timings: Timings) -> None:
    if not timings.chunks:
        return
    results.write_json(
        folder / (f"timings-{part.name}.json" if part.name else "timings.json"),
        {
            "wall_seconds": wall,
            "compile_seconds": dict(compile_seconds),
            "chunk_seconds": timings.chunks,
            "writing_seconds": timings.writing,
            "fits": timings.fits,
            "fits_per_second": timings.fits / wall,
        },
    )
