"""Progress of a run: a bar on a terminal, plain lines elsewhere, nothing where it is not wanted."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import Any

__all__ = ["Progress"]

_EVERY = 5.0
"""Seconds between plain lines."""


class Progress:
    """Counts datasets and failures, and says so on standard error.

    Parameters
    ----------
    total : int
        Fits (replicate x cell x method) to make.
    enabled : bool

    Examples
    --------
    >>> with Progress(10, enabled=False) as progress:
    ...     progress.advance(10, failures=0)
    """

    def __init__(self, total: int, enabled: bool = True) -> None:
        self.total, self.done, self.failures = total, 0, 0
        self.enabled = enabled
        self.started = time.perf_counter()
        self._last, self._lock = 0.0, threading.Lock()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self.enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task("datasets fitted", total=self.total, rate="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line now, e.g. that something is being compiled."""
        if not self.enabled:
            return
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more: the run goes on
            if self._bar is not None:
                self._bar.console.print(text, highlight=False)
            else:
                print(text, file=sys.stderr, flush=True)

    def advance(self, fits: int, failures: int) -> None:
        """Add finished fits; failures are missing or flagged fits."""
        with self._lock:
            self.done += fits
            self.total = max(self.total, self.done)
            self.failures += failures
            seconds = time.perf_counter() - self.started
            rate = self.done / max(seconds, 1e-9)
            if self._bar is not None:
                self._bar.update(
                    self._task, completed=self.done, rate=f"{rate:,.0f}/s, {self.failures} failed or flagged,"
                )
            elif self.enabled and (seconds - self._last > _EVERY or self.done >= self.total):
                self._last = seconds
                left = (self.total - self.done) / max(rate, 1e-9)
                self.say(
                    f"{self.done:,} of {self.total:,} fits, {rate:,.0f} a second, {self.failures} failed or flagged, "
                    f"about {left:,.0f} s left"
                )
