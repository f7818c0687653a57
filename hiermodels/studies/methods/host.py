"""A user's method outside compiled code: a Python function in processes of its own, one dataset at a time.

    function(seed: int, data: DataFrame) -> {estimand: number, or (estimate, se, lower, upper), or {group label: one of
    these}}

It may call anything: R, a fitted package, a simulation. ``data`` has the design's columns and the outcome; ``seed``
depends on the study's seed, the cell, the replicate and the method's name alone, so that results do not depend on the
number of workers. What goes wrong in it is a missing estimate (status ``nonfinite``) of that replicate, with the reason
in the column ``message`` of the estimates; a process that dies, or is ended with all that it began because a replicate
took longer than the method's ``timeout``, is started again for the next replicate.

Each thread of a run keeps one process, started afresh ("spawn"): the function is imported there by its module's name.
They end with the run, however it ends, and with all that they began: a thread left running, a copy (``fork``) or a
session of its own keeps neither the process nor the run.
"""

from __future__ import annotations

import contextlib
import ctypes
import difflib
import hashlib
import importlib
import multiprocessing
import multiprocessing.util
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.labels import match_labels
from hiermodels.studies.store.identity import edited
from hiermodels.studies.store.sources import describe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Keeper", "Wanted", "estimate_all", "keep", "portable"]

Wanted = tuple[tuple[str, tuple[str, ...]], ...]
"""Estimands that a function is to give, each with its group labels; ``("",)`` for a single number."""

PARTS = ("estimate", "se", "lower", "upper")
_MAIN = "a script must guard what it runs with `if __name__ == '__main__':`"


def portable(function: Callable[..., Any]) -> bytes:
    """The function as bytes for another process.

    A process that is only being made, and runs its parent's script for want of a guard, ends here.

    Raises
    ------
    ValueError
        For a function that another process cannot import: a lambda, one made inside another function or in a notebook.

    Examples
    --------
    >>> portable(lambda seed, data: {})
    Traceback (most recent call last):
    ValueError: function: '<lambda>' cannot be sent to another process; define it with def at the top of a module file
    and ...
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(1)
    name = getattr(function, "__qualname__", repr(function))
    todo = "define it with def at the top of a module file and import it"
    interactive = getattr(function, "__module__", "") == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    try:
        whole = pickle.dumps(function)
    except Exception:
        raise ValueError(f"function: {name!r} cannot be sent to another process; {todo}") from None
    if interactive:
        raise ValueError(f"function: {name!r} lives in a notebook or console, where no other process finds it; {todo}")
    return whole


def estimate_all(
    function: Callable[..., Any],
    wanted: Wanted,
    seeds: Sequence[int],
    frames: Sequence[pd.DataFrame],
    timeout: float | None = None,
) -> tuple[np.ndarray, list[list[str]]]:
    """Call a function on some datasets in this thread's process.

    Parameters
    ----------
    function : callable
    wanted : Wanted
    seeds : sequence of int
    frames : sequence of DataFrame
    timeout : float, optional
        Seconds that one dataset may take; starting a process is not counted.

    Returns
    -------
    numbers : ndarray, shape (dataset, target, 4)
        Estimate, se, lower, upper; NaN where there is none. Targets are all labels of all estimands.
    messages : list of list of str
        Why an estimate is missing, a text a dataset and target; empty where there is nothing to say.

    Raises
    ------
    ValueError
        If the function cannot be brought into another process at all.
    """
    whole, keeper = portable(function), _keeper()
    width = sum(len(labels) for _, labels in wanted)
    numbers, messages = [], []
    for seed, frame in zip(seeds, frames, strict=True):
        found, reason = np.full((width, 4), np.nan), ""
        try:
            found, reasons = keeper.process(function, whole).submit(_call, seed, frame, wanted).result(timeout)
        except BrokenProcessPool:
            reason = "the process died; memory, a crash or an exit in the function"
        except TimeoutError:
            reason = f"no result within {timeout:g} s (timeout); the process was ended"
        if reason:
            keeper.forget(whole)
            reasons = [reason] * width
        numbers.append(found)
        messages.append(reasons)
    return np.stack(numbers), messages


class Stopped(Exception):
    """The run that a function was called for has ended: its answer is not wanted any more."""


class Keeper:
    """The processes that the threads of one run keep, one a thread and function; ended together."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[tuple[int, bytes], tuple[ProcessPoolExecutor, int]] = {}
        self._sources: dict[bytes, dict[str, str]] = {}
        self._ended = False

    def process(self, function: Callable[..., Any], whole: bytes) -> ProcessPoolExecutor:
        """The process that this thread keeps for a function, begun and tried out on first use.

        Raises
        ------
        ValueError
            The function cannot be brought into another process, or was edited since the run began.
        Stopped
            The run has ended.
        """
        key = self._key(whole)
        if key not in self._pools:
            with self._lock:
                source = self._sources.setdefault(whole, describe(function))
            pool, number = _begun(whole, source)
            with self._lock:
                self._pools[key] = pool, number
        if self._ended:
            self.forget(whole)
            raise Stopped
        return self._pools[key][0]

    def forget(self, whole: bytes) -> None:
        """Have done with this thread's process, which may be dead or at work, and with the processes that it began."""
        with self._lock:
            pool, number = self._pools.pop(self._key(whole), (None, 0))
        if pool is not None:
            _end(number)
            pool.shutdown(wait=False)

    def end(self) -> None:
        """Have done with all processes; threads that wait for one of them stop."""
        with self._lock:
            self._ended, pools = True, list(self._pools.values())
        for pool, number in pools:
            _end(number)
            pool.shutdown(wait=False)

    @staticmethod
    def _key(whole: bytes) -> tuple[int, bytes]:
        return threading.get_ident(), hashlib.blake2b(whole).digest()


_thread = threading.local()
_ALONE = Keeper()
"""Of threads that belong to no run, as a cluster's."""


def keep(keeper: Keeper) -> None:
    """Let a run keep the processes of this thread."""
    _thread.keeper = keeper


def _keeper() -> Keeper:
    return getattr(_thread, "keeper", _ALONE)


def _begun(whole: bytes, source: Mapping[str, str]) -> tuple[ProcessPoolExecutor, int]:
    """A new process that has the function, and its number."""
    if multiprocessing.current_process().daemon:  # a worker of Dask under its nanny, which may not begin processes
        multiprocessing.current_process().daemon = False  # those of `_begin` end with the one that began them
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(1, mp_context=spawn, initializer=_begin, initargs=(whole, dict(source)))
    try:
        problem, number = pool.submit(_ready).result()
    except BrokenProcessPool:
        number, problem = 0, f"the new process ended at once; {_MAIN}"
    if problem:
        pool.shutdown(wait=False)
        raise ValueError(f"function: it cannot be used in another process: {problem}")
    return pool, number


def _end(number: int) -> None:
    """End a process and all that it began."""
    family = [number, *_descendants(number)]
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(number, signal.SIGKILL)
        else:
            os.kill(number, signal.SIGTERM)
    for one in family[1:]:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)


def _descendants(number: int) -> list[int]:
    """Processes that a process began, and those that they began, also in sessions of their own; Linux tells."""
    parents: dict[int, int] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if name.isdigit():
                with open(f"/proc/{name}/stat") as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
    found = [number]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


# in the other process
# ---------------------------------------------------------------------------------------------------

_here: dict[str, Any] = {}


_SUBREAPER = 36
"""``PR_SET_CHILD_SUBREAPER`` of Linux: processes whose parent ended become this one's children, and are found."""


def _begin(whole: bytes, source: Mapping[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's to answer
    if os.name == "posix":
        os.setpgid(0, 0)  # a group of its own, so that what the function begins can be ended with it
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    multiprocessing.util.Finalize(
        None, _leave, exitpriority=1000
    )  # not to wait for threads and processes that the function left
    threading.Thread(target=_follow, daemon=True).start()
    importlib.import_module("pandas")  # now, so that no dataset's time goes into it
    try:
        _here["function"], _here["problem"] = pickle.loads(whole), ""
    except Exception as error:
        _here["problem"] = f"{_reason(error)}; its module must be importable there, and {_MAIN}"
        return
    if edited({"": source}, {"": describe(_here["function"])}):
        _here["problem"] = "it was edited since the run began; put it back, or take another folder with --out"


def _follow() -> None:
    """End with the process that began this one, however it ends."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        _leave()


def _leave() -> None:
    """End at once, with all that was begun here."""
    for one in _descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(one, signal.SIGKILL)
    if os.name == "posix":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _ready() -> tuple[str, int]:
    """What is wrong with this process, and its number."""
    return str(_here["problem"]), os.getpid()


def _call(seed: int, frame: pd.DataFrame, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    width, here = sum(len(labels) for _, labels in wanted), os.getpid()
    try:
        found = read_result(_here["function"](seed, frame), wanted)
    except BaseException as error:
        found = np.full((width, 4), np.nan), [_reason(error)] * width
    if os.getpid() != here:
        os._exit(0)  # a copy that the function made of this process: the answer is the first one's to give
    return found


def _reason(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:
        text = ""
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def read_result(result: Any, wanted: Wanted) -> tuple[np.ndarray, list[str]]:
    """Numbers (target, 4) of what a function returned, and what is wrong with them.

    Raises
    ------
    ValueError
        For a result that is no mapping, or names no estimand.

    Examples
    --------
    >>> read_result({"Intercept": (8.0, 1.0, 6.0, 10.0)}, (("Intercept", ("",)), ("sd_school", ("",))))
    (array([[ 8.,  1.,  6., 10.],
           [nan, nan, nan, nan]]), ['', "no value of 'sd_school'"])
    """
    names = [name for name, _ in wanted]
    if not isinstance(result, Mapping):
        raise ValueError(f"expected a mapping of estimand to numbers, found {type(result).__name__}")
    for name in result:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(names)}"
            raise ValueError(f"{name!r} is none of the estimands asked for; {hint}")
    numbers, messages = [], []
    for name, labels in wanted:
        value = result.get(name)
        values = {"": value} if labels == ("",) else _by_group(value, labels)
        for label in labels:
            row, message = _numbers(values.get(label))
            where = f"{name!r} of {label!r}" if label else repr(name)
            numbers.append(row)
            messages.append(f"{message} of {where}" if message else "")
    return np.array(numbers, float).reshape(-1, 4), messages


def _by_group(value: Any, labels: Sequence[str]) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) and hasattr(value, "to_dict"):
        value = value.to_dict()
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping of group label to numbers, found {type(value).__name__}")
    return match_labels(value, labels)[0]


def _numbers(value: Any) -> tuple[list[float], str]:
    """Estimate, se, lower and upper; why there is no estimate."""
    nan = float("nan")
    if isinstance(value, Mapping):
        value = [value.get(part) for part in PARTS]
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if value is None:
        return [nan] * 4, "no value"
    row = [value, None, None, None] if isinstance(value, int | float | np.number) else list(value)
    if len(row) != 4:
        raise ValueError(f"expected a number or (estimate, se, lower, upper), found {len(row)} of them")
    numbers = [nan if v is None else float(v) for v in row]
    return numbers, "" if np.isfinite(numbers[0]) else "no finite estimate"
