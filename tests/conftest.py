"""Compiled programs are kept between test processes: the workers of a run, and the commands that tests start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_CACHE = Path(__file__).parent.parent / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many numbers of the table of targets were checked; with workers, counted from what they report."""
    reports = [r for word in ("passed", "failed") for r in terminalreporter.stats.get(word, [])]
    counts = [value for r in reports for name, value in r.user_properties if name == "targets"]
    if counts:
        terminalreporter.write_line(f"targets: {sum(counts)} comparisons with numbers of the lectures in {len(counts)} tests")
