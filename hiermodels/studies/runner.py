"""Run a study: chunks on an executor, each written whole; stop it anywhere and the same command finishes it."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hiermodels.studies import results
from hiermodels.studies.config import Cell, Study, read_config, regime
from hiermodels.studies.identity import check_identity
from hiermodels.studies.measures import performance
from hiermodels.studies.progress import Progress
from hiermodels.studies.results import Run, load_run

__all__ = ["Interrupted", "bind_all", "cores", "dry_run", "execute", "finish", "plan_tasks", "run"]


class Interrupted(KeyboardInterrupt):
    """A run was stopped; what is written stays, and the same command goes on from there."""


@dataclass(frozen=True)
class Task:
    """One chunk: a cell's hash, a method, a number, and how many of its replicates count."""

    cell: str
    method: str
    index: int
    fits: int


def cores() -> int:
    """Cores that this process may use: its CPU affinity, cut by the control group's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return count


def default_workers() -> int:
    """One thread a core on CPU, one a device on accelerators."""
    import jax

    return cores() if jax.devices()[0].platform == "cpu" else len(jax.devices())


def bind_all(study: Study) -> None:
    """Let every mechanism and method meet its design, before anything is written.

    Raises
    ------
    ValueError
        Naming the method, column, parameter or level.
    """
    from hiermodels.studies.tasks import fit_of, mechanism_of

    for cell in study.cells():
        with _placed(study, "mechanisms"):
            mechanism_of(study, cell)
        for method in study.methods:
            with _placed(study, "methods", method):
                fit_of(study, cell, method)
    for i, estimand in enumerate(study.estimands if study.functions() else ()):
        if not any(estimand.name in dict(fit_of(study, c, m).names) for c in study.cells() for m in study.methods):
            raise study.mistake(f"unknown estimand {estimand.text!r}: no method has it; name a site of a function", ("estimands", i))


def truth_regime(study: Study, cell: Cell) -> str:
    """Truth regime of a cell; of a mechanism in Python it shows only when the function meets its design."""
    from hiermodels.studies.own import OwnProblem, own_regime
    from hiermodels.studies.tasks import mechanism_of

    mechanism = mechanism_of(study, cell)
    return own_regime(mechanism.problem, mechanism.truth) if isinstance(mechanism.problem, OwnProblem) else regime(cell)


@contextmanager
def _placed(study: Study, *path: str) -> Iterator[None]:
    """Give what a model refuses its place in the config."""
    try:
        yield
    except ValueError as error:
        raise study.mistake(str(error).removeprefix(f"{'.'.join(path)}: "), path) from None


def dry_run(study: Study) -> list[str]:
    """Trace every program on shapes alone and say what would be computed.

    Returns
    -------
    list of str
        A line a cell, method and estimand count; nothing is compiled or run.

    Raises
    ------
    ValueError
        As `bind_all`.
    """
    from hiermodels.studies.tasks import fit_of, lanes_of, trace

    bind_all(study)
    lines = [f"{study.name}: {len(study.cells())} cell(s) x {study.replications} replications x {len(study.methods)} method(s)"]
    seen = set()
    for cell in study.cells():
        for name in study.methods:
            fit = fit_of(study, cell, name)
            lanes, chunk = lanes_of(study, cell, name)
            known = ""
            if (fit.problem.layout, name) not in seen:
                seen.add((fit.problem.layout, name))
                trace(study, cell, name)
                known = f" ({', '.join(n for n, _ in fit.names) or 'none of the estimands'})"
            place = ", ".join(f"{k}={v}" for k, v in cell.factors.items()) or "the only cell"
            lines.append(
                f"  {place}: {truth_regime(study, cell)} truths; {name}: {len(fit.positions)} numbers{known}; lanes {lanes}, chunk {chunk}"
            )
    return [*lines, "ok"]


def plan_tasks(study: Study, folder: Path) -> tuple[list[Task], list[Task]]:
    """All chunks of a study, and those still to be computed; every method's first chunks come first."""
    from hiermodels.studies.tasks import lanes_of

    todo, everything = [], []
    for cell in study.cells():
        for method in study.methods:
            _, chunk = lanes_of(study, cell, method)
            have = results.complete_chunks(folder, cell.hash, method) if folder.is_dir() else set()
            for index in range(-(-study.replications // chunk)):
                task = Task(cell.hash, method, index, min(chunk, study.replications - index * chunk))
                everything.append(task)
                if index not in have:
                    todo.append(task)
    order = {c.hash: n for n, c in enumerate(study.cells())}
    return everything, sorted(todo, key=lambda t: (t.index, order[t.cell]))


def run(
    config: str | os.PathLike[str] | Mapping[str, Any],
    out: str | os.PathLike[str] | None = None,
    *,
    replications: int | None = None,
    workers: int | None = None,
    extend: bool = False,
    progress: bool = True,
    functions: Mapping[str, Any] | None = None,
) -> Run:
    """Run a simulation study to its end, or go on with one that was stopped.

    Parameters
    ----------
    config : path, name or mapping
        A YAML file, the name of a shipped one (``"eight_schools"``), or its content.
    out : path, optional
        Run folder; by default ``runs/<config's stem>``.
    replications : int, optional
        Instead of the config's.
    workers : int, optional
        Threads; by default one a core that the process may use. Results do not depend on it.
    extend : bool
        Allow more replications, cells or methods than the folder's study has; nothing is computed twice.
    progress : bool
        Say on standard error what is compiled, how far the run is, and how long it will take.
    functions : mapping, optional
        Python functions of a study, by place, as `Study.functions` gives them.

    Returns
    -------
    Run

    Notes
    -----
    In a mapping, never in a file, Python functions stand in three places.

    - ``mechanisms.formula``: a NumPyro function, called with keywords named as its parameters (numeric column -> array,
      other -> integer codes, ``n_<column>`` -> count). Its one parameter with default None is the outcome; called with
      None it simulates. ``truth`` and ``grid`` name its latent sites: a number or a law for every entry, or label ->
      number; what is not named comes from its priors. True values go by site name, ``mean(<site>)`` included. Numbers of
      a generated design are floats: write ``trials.astype(int)`` where NumPyro wants whole numbers.
    - A method's ``formula``: the same kind of function, fitted by NUTS on all its sites. Estimands are its site names; a
      plate with the name of a column gives its site that column's group labels.
    - A method itself: ``(key, data) -> Estimates``, compiled and mapped over datasets. ``data`` is the
      `hiermodels.models.data.Data` of the mechanism's formula (of a NumPyro function its arguments, by name), outcome
      filled in. Fields of `hiermodels.inference.draws.Estimates` have shape (target,): all estimands in the study's
      order, a scalar as one entry, group values as one entry a group on the padded axis of ``data.real`` (what stands at
      padding is ignored). Entries that do not apply are NaN.

    A function is known by its name alone: change one, and the run wants a new folder.

    Raises
    ------
    ValueError
        For a config that cannot be run, a folder that holds another study or is in use.
    Interrupted
        At Ctrl-C, after running chunks were dropped; finished ones are kept.

    Examples
    --------
    >>> import hiermodels as hm
    >>> run = hm.run("quick", "runs/example", progress=False)  # doctest: +SKIP
    >>> run.performance.query("measure == 'cover'")  # doctest: +SKIP
    """
    source = Path(config) if isinstance(config, os.PathLike) else config
    study = read_config(source) if replications is None else read_config(source, replications=replications)
    folder = Path(out) if out is not None else Path("runs") / study.name
    _check_workers(workers)
    bind_all(study)
    with results.locked(folder):
        old = results.read_manifest(folder)
        cells = [{"hash": c.hash, "factors": c.factors, "regime": truth_regime(study, c)} for c in study.cells()]
        if old is not None:
            check_identity(old, study.resolved(), extend, cells=cells, where=str(folder))
        everything, todo = plan_tasks(study, folder)
        _write_start(study, folder, cells)
        total = sum(t.fits for t in todo)
        with Progress(total, progress) as bar:
            if todo and len(todo) < len(everything):
                bar.say(f"{len(everything) - len(todo)} of {len(everything)} chunks are there; going on with {len(todo)}")
            started = time.perf_counter()
            chunk_seconds = execute(study, folder, todo, workers or default_workers(), bar)
            _write_timings(folder, time.perf_counter() - started, chunk_seconds, todo)
        return finish(study, folder)


def _check_workers(workers: int | None) -> None:
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers: expected a whole number of at least 1, found {workers!r}; leave it out for one a core")


def _write_start(study: Study, folder: Path, cells: list[dict[str, Any]]) -> None:
    import jax

    from hiermodels.models.display import latex, text
    from hiermodels.studies.tasks import fit_of, lanes_of

    lanes, chunks = {}, {}
    for cell in study.cells():
        both = {m: lanes_of(study, cell, m) for m in study.methods}
        lanes[cell.hash] = {m: v[0] for m, v in both.items()}
        chunks[cell.hash] = {m: v[1] for m, v in both.items()}
    first = study.cells()[0]
    models = {}
    for name, method in study.methods.items():
        written = method.function or method.formula
        if callable(written):
            models[name] = {"text": f"Python function {getattr(written, '__name__', 'of its own')}", "latex": ""}
            continue
        layout = fit_of(study, first, name).problem.layout
        models[name] = {"text": text(method.model(), layout), "latex": latex(method.model(), layout)}
    device = jax.devices()[0]
    manifest = results.make_manifest(
        study.resolved(),
        cells=cells,
        lanes=lanes,
        chunk=chunks,
        device=f"{device.platform}: {device.device_kind}, {cores()} core(s)",
        regime=sorted({c["regime"] for c in cells}),
        models=models,
        name=study.name,
    )
    results.write_bytes(folder / "config.yaml", study.source)
    results.write_manifest(folder, manifest)


def execute(study: Study, folder: Path, todo: list[Task], workers: int, bar: Progress) -> list[float]:
    """Compute and write chunks on threads; returns seconds a chunk."""
    from hiermodels.studies.tasks import run_chunk

    resolved, functions = study.resolved(), study.functions()
    stop = threading.Event()
    seconds: list[float] = []

    def work(task: Task) -> None:
        if stop.is_set():
            return
        started = time.perf_counter()
        table = run_chunk(resolved, task.cell, task.method, task.index, functions=functions, announce=bar.say)
        if stop.is_set():
            return
        results.write_chunk(folder, task.cell, task.method, task.index, table)
        seconds.append(time.perf_counter() - started)
        bar.advance(task.fits, _troubled(table, task))

    with _signals(), concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(work, task) for task in todo]
        try:
            for future in concurrent.futures.as_completed(futures):
                future.result()
        except KeyboardInterrupt:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise Interrupted(f"stopped; type the same command again to go on from {folder}") from None
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return seconds


@contextmanager
def _signals() -> Iterator[None]:
    """SIGTERM ends a run as cleanly as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _troubled(table: Any, task: Task) -> int:
    """Fits of a chunk with a status other than ok, among the replicates that count."""
    import numpy as np

    if table.num_rows == 0:
        return 0
    rep = table["rep"].to_numpy()
    codes = np.concatenate([c.indices.to_numpy(zero_copy_only=False) for c in table["status"].chunks])
    bad = rep[codes != 0]
    return int(np.sum(np.unique(bad) < rep.min() + task.fits))


def finish(study: Study, folder: Path) -> Run:
    """Summarise what is stored: tables, figures, report."""
    found = load_run(folder)
    regimes = found.manifest["regime"]
    table, notes = performance(
        found.estimates,
        factors=found.factors,
        measures=list(study.performance),
        interval=study.interval.level,
        failures=study.failures,
        regime=regimes[0] if len(regimes) == 1 else "mixed",
    )
    results.write_performance(folder, table, notes)
    found = load_run(folder)
    found.report()
    return found


def _write_timings(folder: Path, wall: float, chunk_seconds: list[float], todo: list[Task]) -> None:
    from hiermodels.studies.tasks import compile_seconds

    if not todo:
        return
    fits = sum(t.fits for t in todo)
    results.write_json(
        folder / "timings.json",
        {
            "wall_seconds": wall,
            "compile_seconds": dict(compile_seconds),
            "chunk_seconds": chunk_seconds,
            "fits": fits,
            "fits_per_second": fits / wall,
        },
    )
