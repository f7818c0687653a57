"""Chunks on an executor: a few at a time in flight, each written as it comes, until the last, a limit or a signal.

Whatever computes (threads here, a Dask cluster in `hiermodels.studies.run.cluster`) is a `Pool`: it takes a task and
gives a `concurrent.futures.Future` of its table. Only this process writes, beside the computing; what is queued or in
flight is bounded, so that a study of a million chunks needs no more memory than one of ten.
"""

from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from hiermodels.inference.draws import FLAGGED
from hiermodels.studies.methods.host import Keeper, keep
from hiermodels.studies.run.interruption import GRACE, Deadline, Interrupted, TimeUp
from hiermodels.studies.run.progress import Progress
from hiermodels.studies.run.schedule import Task
from hiermodels.studies.store import results

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["THREADS", "Computed", "Future", "Pool", "Threads", "Timings", "execute"]

THREADS = "hiermodels-chunk"
"""Names of threads that compute begin so; the command line does not wait for those of a run that was stopped."""


class Computed(NamedTuple):
    """A chunk's rows, and how long they took in seconds."""

    table: pa.Table
    seconds: float


Future = concurrent.futures.Future["Computed | None"]


class Pool(Protocol):
    """What computes chunks."""

    def submit(self, task: Task) -> Future:
        """Compute a chunk; the future's result is None where the time left does not allow to begin it."""

    def width(self) -> int:
        """How many chunks are in flight at most; enough that none of the computing waits for the writing."""

    def close(self) -> None:
        """Drop what has not begun, and do not wait."""


class Threads:
    """Threads of this process.

    Parameters
    ----------
    compute : callable
        Task to table.
    workers : int
    deadline : Deadline
    """

    def __init__(self, compute: Callable[[Task], pa.Table], workers: int, deadline: Deadline) -> None:
        self._compute, self._workers, self._deadline = compute, workers, deadline
        self._keeper = Keeper()
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, THREADS, initializer=keep, initargs=(self._keeper,))

    def submit(self, task: Task) -> Future:
        """Compute a chunk on a thread."""
        return self._pool.submit(self._begin, task)

    def _begin(self, task: Task) -> Computed | None:
        if not self._deadline.allows(task.method):
            return None
        started = time.perf_counter()
        table = self._compute(task)
        return Computed(table, time.perf_counter() - started)

    def width(self) -> int:
        """Two a thread: one at work, one waiting."""
        return 2 * self._workers

    def close(self) -> None:
        """Drop what has not begun, and end the processes of functions that are called outside."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._keeper.end()


@dataclass
class Timings:
    """Where the time of a run went, in seconds.

    Attributes
    ----------
    chunks : list of float
        Computing, chunk by chunk.
    writing : float
        Making and writing files, beside the computing.
    fits : int
    """

    chunks: list[float] = field(default_factory=list)
    writing: float = 0.0
    fits: int = 0

    def add(self, other: Timings) -> None:
        """Count what another part of the run took."""
        self.chunks += other.chunks
        self.writing += other.writing
        self.fits += other.fits


def execute(tasks: Iterator[Task], folder: Path, pool: Pool, deadline: Deadline, bar: Progress) -> Timings:
    """Compute and store chunks.

    Parameters
    ----------
    tasks : iterator of Task
        Drawn as places become free.
    folder : Path
        Run folder.
    pool : Pool
    deadline : Deadline
    bar : Progress

    Returns
    -------
    Timings

    Raises
    ------
    Interrupted
        At Ctrl-C, or, as `TimeUp`, at SIGTERM or when the time is up; chunks that were being computed are given
        `hiermodels.studies.run.interruption.GRACE` seconds to end.
    """
    run = _Execution(folder, pool, deadline, bar)
    try:
        whole = run.feed(tasks)
    except KeyboardInterrupt as asked:
        if run.flying:
            bar.say(f"stopping: chunks that end within {GRACE:.0f} s are kept; Ctrl-C again stops at once")
        run.drain(GRACE)
        kind = TimeUp if isinstance(asked, TimeUp) else Interrupted
        word = "stopped by SIGTERM" if kind is TimeUp else "stopped"
        raise kind(f"{word}; type the same command again to go on from {folder}") from None
    finally:
        pool.close()
    if not whole:
        raise TimeUp(f"stopped at the time limit; type the same command again to go on from {folder}")
    return run.timings


class _Execution:
    """Futures in flight and what is done with their results."""

    def __init__(self, folder: Path, pool: Pool, deadline: Deadline, bar: Progress) -> None:
        self.folder, self.pool, self.deadline, self.bar = folder, pool, deadline, bar
        self.flying: dict[Future, Task] = {}
        self.timings = Timings()
        self.whole = True

    def feed(self, tasks: Iterator[Task]) -> bool:
        """Keep the pool busy until nothing is left, or no time; whether every chunk was computed."""
        while True:
            while self.whole and len(self.flying) < self.pool.width():
                if (task := next(tasks, None)) is None:
                    break
                if not self.deadline.allows(task.method):
                    self.whole = False
                else:
                    self.flying[self.pool.submit(task)] = task
            if not self.flying:
                return self.whole
            if not self._collect(self.deadline.left):
                return False

    def _collect(self, timeout: float | None) -> bool:
        """Wait for a chunk and store it; False if none came in time."""
        done, _ = concurrent.futures.wait(self.flying, timeout, concurrent.futures.FIRST_COMPLETED)
        for future in done:
            self._store(self.flying.pop(future), future.result())
        return bool(done)

    def drain(self, seconds: float) -> None:
        """Store what ends within some seconds; drop what has not begun."""
        for future in [f for f in self.flying if f.cancel()]:
            del self.flying[future]
        end = time.monotonic() + seconds
        while self.flying and (left := end - time.monotonic()) > 0:
            if not self._collect(left):
                break

    def _store(self, task: Task, found: Computed | None) -> None:
        if found is None:
            self.whole = False
            return
        table, seconds = found
        self.deadline.took(task.method, seconds)
        started = time.perf_counter()
        results.write_chunk(self.folder, task.cell, task.method, task.index, table, task.maker)
        self.timings.writing += time.perf_counter() - started
        self.timings.chunks.append(seconds)
        self.timings.fits += task.fits
        self.bar.advance(task.fits, _troubled(table, task))


def _troubled(table: Any, task: Task) -> int:
    """Fits of a chunk that are missing or flagged, among the replicates that count."""
    if table.num_rows == 0:
        return 0
    rep = table["rep"].to_numpy()
    codes = np.concatenate([c.indices.to_numpy(zero_copy_only=False) for c in table["status"].chunks])
    bad = rep[codes >= FLAGGED]
    return int(np.sum(np.unique(bad) < rep.min() + task.fits))
