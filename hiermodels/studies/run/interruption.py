"""How a run ends early: by Ctrl-C, by SIGTERM, at a time limit; what is written stays, and the run can go on.

A batch system sends SIGTERM some time before it kills. It, and a time limit, end a run with exit code 75
(``EX_TEMPFAIL``: try again), so that a job script can tell "not finished yet" from a mistake.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["GRACE", "Deadline", "Interrupted", "TimeUp", "read_duration", "terminable"]

GRACE = 20.0
"""Seconds that running chunks are given to end once a run is asked to stop; Slurm kills 30 seconds after SIGTERM."""


class Interrupted(KeyboardInterrupt):
    """A run was stopped; what is written stays, and the same command goes on from there."""

    code = 130


class TimeUp(Interrupted):
    """A run was ended by SIGTERM or its time limit: it can go on, and is meant to."""

    code = 75


def read_duration(text: str | float) -> float:
    """Seconds of a time limit: a number of them, or ``HH:MM:SS``, or ``D-HH:MM:SS`` as Slurm writes days.

    Raises
    ------
    ValueError
        For anything else, and for limits that are not positive.

    Examples
    --------
    >>> read_duration("90"), read_duration("01:30:00"), read_duration("1-00:00:00")
    (90.0, 5400.0, 86400.0)
    """
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]?\d):([0-5]?\d)", str(text).strip())
    if clock:
        days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
        found = float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    else:
        try:
            found = float(text)
        except (TypeError, ValueError):
            found = -1.0
    if isinstance(text, bool) or not 0 < found < float("inf"):
        raise ValueError(
            f"time limit: expected seconds or HH:MM:SS, more than none, found {text!r}; write e.g. 3600 or 01:00:00"
        )
    return found


class Deadline:
    """A time limit, and how long chunks take: nothing is begun that would not be done in time.

    Parameters
    ----------
    seconds : float, optional
        None by default.
    since : float, optional
        Reading of ``time.monotonic()`` from which they count; now by default.

    Examples
    --------
    >>> limit = Deadline(100.0)
    >>> limit.took("partial", 200.0)
    >>> limit.allows("exact"), limit.allows("partial")
    (True, False)
    """

    def __init__(self, seconds: float | None = None, since: float | None = None) -> None:
        self._end = float("inf") if seconds is None else (time.monotonic() if since is None else since) + seconds
        self._latest: dict[str, float] = {}

    @property
    def left(self) -> float | None:
        """Seconds left, at least 0; None where there is no limit."""
        return None if self._end == float("inf") else max(0.0, self._end - time.monotonic())

    def took(self, method: str, seconds: float) -> None:
        """Remember how long a method's latest chunk took."""
        self._latest[method] = seconds

    def allows(self, method: str) -> bool:
        """Whether a chunk of this method, begun now, is likely to end in time."""
        return time.monotonic() + self._latest.get(method, 0.0) < self._end


@contextmanager
def terminable() -> Iterator[None]:
    """Within, SIGTERM raises `TimeUp` in the main thread; elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeUp("stopped by SIGTERM; type the same command again to go on")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
