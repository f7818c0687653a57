"""Chunks on the workers of a Dask cluster, through its `concurrent.futures` executor.

A chunk is a pure function of a study, a cell, a method and a number: a worker needs the library and nothing else, any
worker gives the same table, and what a lost worker had in hand is computed by another one. Tables come back to this
process, which alone writes; a run on a cluster is stopped, resumed and extended as any other.

Scheduler, workers and this process send one another pickles, which can run anything: an address is trusted. On a
network that others share, use ``tls://`` with certificates, which Dask takes from its configuration.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import logging
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from typing import Any

import jax

from hiermodels.studies.config import Study
from hiermodels.studies.methods.ready import lanes_of
from hiermodels.studies.methods.tasks import run_chunk
from hiermodels.studies.run.execution import Computed, Future
from hiermodels.studies.run.interruption import Interrupted
from hiermodels.studies.run.schedule import Task
from hiermodels.studies.store.identity import edited
from hiermodels.studies.store.sources import describe, importable

__all__ = ["Cluster", "cluster", "remote_chunk"]

RETRIES = 3
"""How often a chunk is tried again when it fails on a worker."""
_PATIENCE = 30.0
"""Seconds in which workers must be there."""
_ANSWER = 5.0
"""Seconds in which a machine must take a connection, and then a scheduler answer."""
_SCHEMES = ("tcp", "tls", "ucx", "ws", "wss", "inproc")


class LostCluster(Interrupted):
    """The scheduler or all workers went away; what is written stays."""

    code = 75


class Cluster:
    """The workers behind a scheduler.

    Parameters
    ----------
    client : distributed.Client
    study : Study
        It goes over the wire as its plain form, its Python functions pickled beside it.
    sizes : callable
        Task to (lanes, chunk) as this process would have them.
    """

    def __init__(
        self,
        client: Any,
        study: Study,
        sizes: Callable[[Task], tuple[int, int]],
    ) -> None:
        import cloudpickle

        self._client, self._sizes, functions = client, sizes, study.functions()
        sources = {place: describe(function) for place, function in functions.items() if importable(function)}
        self._study = (json.dumps(study.resolved()), cloudpickle.dumps((functions, sources)))
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
    resolved: str,
    functions: bytes,
    cell: str,
    method: str,
    index: int,
    sizes: tuple[int, int],
) -> Computed:
    """One chunk, on a worker; see `hiermodels.studies.methods.tasks.run_chunk`.

    The study's functions come pickled, so that the scheduler need not know their modules.

    Raises
    ------
    ValueError
        Where the worker finds no module of the study's functions, or would cut the study otherwise than the process
        that asks, as on another kind of device.
    """
    study = _study(resolved, functions)
    place = next(c for c in study.cells() if c.hash == cell)
    if lanes_of(study, place, method) != tuple(sizes):
        raise ValueError(
            f"--scheduler: expected lanes and chunk {tuple(sizes)} for {method}, found "
            f"{lanes_of(study, place, method)} on a worker "
            f"with {jax.devices()[0].platform}; start this command on the same kind of device, or write lanes and "
            f"chunk in the config"
        )
    started = time.perf_counter()
    table = run_chunk(study, cell, method, index)
    return Computed(table, time.perf_counter() - started)


@lru_cache(maxsize=16)
def _study(resolved: str, functions: bytes) -> Study:
    """The study of a message; of the same bytes the same one, so that nothing is bound twice."""
    return Study.from_resolved(json.loads(resolved), functions=_functions(functions))


@lru_cache(maxsize=16)
def _functions(whole: bytes) -> Mapping[str, Callable[..., Any]]:
    """Functions by place; of the same bytes the same ones, so that nothing is compiled twice."""
    try:
        functions, sources = pickle.loads(whole)
    except (ImportError, AttributeError) as error:
        todo = "put their module where workers find it, say by PYTHONPATH"
        raise ValueError(f"--scheduler: a worker cannot import the functions of this study ({error}); {todo}") from None
    if found := edited(sources, {place: describe(functions[place]) for place in sources}):
        raise ValueError(
            f"--scheduler: a worker has another version of a function ({found[0]}); put the same module on both"
        )
    return functions


@contextmanager
def cluster(
    address: str,
    study: Study,
    sizes: Callable[[Task], tuple[int, int]],
    say: Callable[[str], None],
) -> Iterator[Cluster]:
    """Connect to a scheduler for the length of a run.

    Parameters
    ----------
    address : str
        Such as ``tcp://10.0.0.1:8786``.
    study, sizes
        As `Cluster`.
    say : callable
        Told what was found.

    Raises
    ------
    ValueError
        ``distributed`` is not installed, no scheduler answers, or workers lack the library or have other versions of
        it.
    LostCluster
        The scheduler went away during the run.
    """
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise ValueError(
            "--scheduler: expected the package distributed, found none; pip install 'hiermodels[cluster]'"
        ) from None
    _check_address(address)
    with _without_log():
        yield from _connected(address, study, sizes, say)


@contextmanager
def _without_log() -> Iterator[None]:
    """Without the tracebacks that Dask prints when a connection is lost: the run says it in a sentence."""
    handlers = [(handler, handler.level) for handler in logging.getLogger("distributed").handlers]
    try:
        for handler, _ in handlers:
            handler.setLevel(logging.CRITICAL)
        yield
    finally:
        for handler, level in handlers:
            handler.setLevel(level)


def _connected(
    address: str,
    study: Study,
    sizes: Callable[[Task], tuple[int, int]],
    say: Callable[[str], None],
) -> Iterator[Cluster]:
    from distributed import Client
    from distributed.client import FutureCancelledError
    from distributed.scheduler import KilledWorker

    try:
        client = Client(address, timeout=_ANSWER, set_as_default=False)
    except Exception as error:  # whatever answers there, it is no scheduler of this version of Dask
        raise _no_scheduler(address, (str(error).splitlines() or [type(error).__name__])[0]) from None
    try:
        _wait_for_workers(client, address)
        _check_versions(client)
        say(f"{len(client.ncores())} worker(s), {sum(client.ncores().values())} thread(s) behind {address}")
        yield Cluster(client, study, sizes)
    except KilledWorker as error:
        raise ValueError(
            f"--scheduler {address}: a chunk ended the last of {error.allowed_failures + 1} workers that tried it; "
            "give workers more memory, or write fewer lanes or a smaller chunk"
        ) from None
    except ValueError:
        raise
    except Exception as error:  # of a scheduler that is gone Dask speaks in many kinds
        if (
            not isinstance(error, concurrent.futures.CancelledError | FutureCancelledError | OSError)
            and client.status == "running"
        ):
            raise
        found = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise LostCluster(
            f"interrupted: the scheduler at {address} went away ({found}); type the same command again to go on"
        ) from None
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=5)


def _check_address(address: str) -> None:
    """Refuse, within seconds, an address that is none or where nobody takes a connection; Dask itself tries for a
    minute.
    """
    found = re.fullmatch(r"(?:(\w+)://)?(.*)", address.strip())
    scheme, place = (found[1] or "tcp", found[2]) if found else ("", "")
    if scheme not in _SCHEMES or not place:
        raise ValueError(
            f"--scheduler {address!r}: expected an address such as tcp://10.0.0.1:8786, found none; see what `dask "
            f"scheduler` prints"
        )
    if scheme not in ("tcp", "tls"):
        return
    host, colon, port = place.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port[:6]) < 65536:
        raise ValueError(
            f"--scheduler {address}: expected tcp://HOST:PORT, found no port; see what `dask scheduler` prints"
        )
    problem = ["no connection within a few seconds"]

    def connect() -> None:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), _ANSWER) as there:
                problem[0] = "" if scheme == "tls" or _greets(there) else "something else"
        except (OSError, UnicodeError) as error:
            problem[0] = getattr(error, "strerror", None) or str(error)

    thread = threading.Thread(
        target=connect, daemon=True
    )  # looking up a name may take longer than any limit on connecting
    thread.start()
    thread.join(2 * _ANSWER)
    if problem[0]:
        raise _no_scheduler(address, problem[0])


def _greets(there: socket.socket) -> bool:
    """Whether what answers begins as Dask does: a scheduler speaks first, a message of a few frames, their number in
    eight bytes.
    """
    said = b""
    try:
        while len(said) < 8 and (more := there.recv(8 - len(said))):
            said += more
    except TimeoutError:
        return False
    return len(said) == 8 and int.from_bytes(said, "little") < 1000


def _no_scheduler(address: str, found: str) -> ValueError:
    return ValueError(
        f"--scheduler {address}: expected a Dask scheduler that answers, found: {found[:200]}; start one with `dask "
        f"scheduler`"
    )


def _wait_for_workers(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise ValueError(
            f"--scheduler {address}: expected workers, found none; start some with `dask worker {address}`"
        ) from None


def versions() -> dict[str, str]:
    """Versions of what determines the numbers, on the machine that this runs on."""
    return {name: metadata.version(name) for name in ("hiermodels", "jax", "jaxlib", "numpyro", "numpy")}


def _check_versions(client: Any) -> None:
    try:
        found = client.run(versions)
    except ImportError as error:
        raise ValueError(
            f"--scheduler: a worker lacks the library ({error}); install hiermodels where workers run"
        ) from None
    here = versions()
    for worker, there in found.items():
        differ = [f"{name} {here[name]} here, {there[name]} there" for name in here if here[name] != there[name]]
        if differ:
            raise ValueError(
                f"--scheduler: worker {worker} has other versions ({', '.join(differ)}); install the same on both"
            )
