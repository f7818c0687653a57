"""Chunks on the workers of a Dask cluster, through its `concurrent.futures` executor.

A chunk is a pure function of the resolved configuration, a cell, a method and a number: a worker needs the library and
nothing else, any worker gives the same table, and what a lost worker had in hand is computed by another one. Tables come
back to this process, which alone writes; a run on a cluster is stopped, resumed and extended as any other.
"""

from __future__ import annotations

import concurrent.futures
import pickle
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from hiermodels.studies.execution import Computed, Future
from hiermodels.studies.interruption import Interrupted
from hiermodels.studies.schedule import Task

__all__ = ["Cluster", "cluster", "remote_chunk"]

RETRIES = 3
"""How often a chunk is tried again when it fails on a worker."""
_PATIENCE = 30.0
"""Seconds in which a scheduler must answer."""


class LostCluster(Interrupted):
    """The scheduler or all workers went away; what is written stays."""

    code = 75


class Cluster:
    """The workers behind a scheduler.

    Parameters
    ----------
    client : distributed.Client
    resolved : mapping
        `Study.resolved`.
    functions : mapping
        Python functions of the study, by place.
    sizes : callable
        Task to (lanes, chunk) as this process would have them.
    """

    def __init__(
        self,
        client: Any,
        resolved: Mapping[str, Any],
        functions: Mapping[str, Callable[..., Any]],
        sizes: Callable[[Task], tuple[int, int]],
    ) -> None:
        import cloudpickle

        self._client, self._sizes = client, sizes
        self._study = (dict(resolved), cloudpickle.dumps(dict(functions)))
        self._executor = client.get_executor(pure=False, retries=RETRIES)

    def submit(self, task: Task) -> Future:
        """Compute a chunk on some worker."""
        return self._executor.submit(remote_chunk, *self._study, task.cell, task.method, task.index, self._sizes(task))

    def width(self) -> int:
        """Two a thread of the workers that are there now."""
        return max(2, 2 * sum(self._client.ncores().values()))

    def close(self) -> None:
        """Cancel what is queued or running."""
        self._executor.shutdown(wait=False)


def remote_chunk(
    resolved: Mapping[str, Any],
    functions: bytes,
    cell: str,
    method: str,
    index: int,
    sizes: tuple[int, int],
) -> Computed:
    """One chunk, on a worker; see `hiermodels.studies.tasks.run_chunk`.

    The study's functions come pickled, so that the scheduler need not know their modules.

    Raises
    ------
    ValueError
        Where the worker finds no module of the study's functions, or would cut the study otherwise than the process that asks, as on another kind of device.
    """
    from hiermodels.studies.ready import lanes_of, study_of
    from hiermodels.studies.tasks import run_chunk

    known = _functions(functions)
    study = study_of(resolved, known)
    place = next(c for c in study.cells() if c.hash == cell)
    if lanes_of(study, place, method) != tuple(sizes):
        import jax

        raise ValueError(
            f"--scheduler: expected lanes and chunk {tuple(sizes)} for {method}, found {lanes_of(study, place, method)} on a worker "
            f"with {jax.devices()[0].platform}; start this command on the same kind of device, or write lanes and chunk in the config"
        )
    started = time.perf_counter()
    table = run_chunk(resolved, cell, method, index, functions=known)
    return Computed(table, time.perf_counter() - started)


@lru_cache(maxsize=16)
def _functions(whole: bytes) -> Mapping[str, Callable[..., Any]]:
    """Functions by place; of the same bytes the same ones, so that nothing is compiled twice."""
    try:
        return pickle.loads(whole)
    except (ImportError, AttributeError) as error:
        todo = "put their module where workers find it, say by PYTHONPATH"
        raise ValueError(f"--scheduler: a worker cannot import the functions of this study ({error}); {todo}") from None


@contextmanager
def cluster(
    address: str,
    resolved: Mapping[str, Any],
    functions: Mapping[str, Callable[..., Any]],
    sizes: Callable[[Task], tuple[int, int]],
    say: Callable[[str], None],
) -> Iterator[Cluster]:
    """Connect to a scheduler for the length of a run.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``.
    resolved, functions, sizes
        As `Cluster`.
    say : callable
        Told what was found.

    Raises
    ------
    ValueError
        ``distributed`` is not installed, no scheduler answers, or workers lack the library or have other versions of it.
    LostCluster
        The scheduler went away during the run.
    """
    try:
        from distributed import Client
        from distributed.client import FutureCancelledError
        from distributed.comm import CommClosedError
        from distributed.scheduler import KilledWorker
    except ImportError:
        raise ValueError("--scheduler: expected the package distributed, found none; pip install 'hiermodels[cluster]'") from None
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"--scheduler {address}: expected a Dask scheduler that answers, found: {found}; start one with `dask scheduler`"
        ) from None
    try:
        _wait_for_workers(client, address)
        _check_versions(client)
        say(f"{len(client.ncores())} worker(s), {sum(client.ncores().values())} thread(s) behind {address}")
        yield Cluster(client, resolved, functions, sizes)
    except KilledWorker as error:
        raise ValueError(
            f"--scheduler {address}: a chunk ended the last of {error.allowed_failures + 1} workers that tried it; "
            "give workers more memory, or write fewer lanes or a smaller chunk"
        ) from None
    except (concurrent.futures.CancelledError, FutureCancelledError, CommClosedError) as error:
        raise LostCluster(f"the scheduler at {address} went away ({error}); type the same command again to go on") from None
    finally:
        client.close(timeout=5)


def _wait_for_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise ValueError(f"--scheduler {address}: expected workers, found none; start some with `dask worker {address}`") from None


def versions() -> dict[str, str]:
    """Versions of what determines the numbers, on the machine that this runs on."""
    from importlib import metadata

    return {name: metadata.version(name) for name in ("hiermodels", "jax", "jaxlib", "numpyro", "numpy")}


def _check_versions(client: Any) -> None:
    try:
        found = client.run(versions)
    except ImportError as error:
        raise ValueError(f"--scheduler: a worker lacks the library ({error}); install hiermodels where workers run") from None
    here = versions()
    for worker, there in found.items():
        differ = [f"{name} {here[name]} here, {there[name]} there" for name in here if here[name] != there[name]]
        if differ:
            raise ValueError(f"--scheduler: worker {worker} has other versions ({', '.join(differ)}); install the same on both")
