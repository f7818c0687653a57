"""Compiled programs are kept between test processes: the workers of a run, and the commands that tests start."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

_CACHE = Path(__file__).parent.parent / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_CACHE))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_MAPS = Path("/proc/self/maps")
_MOST = 15_000
"""A process may hold 65,530 memory maps on Linux; each compiled program takes several, and past the limit XLA crashes.
"""


def pytest_configure(config: pytest.Config) -> None:
    """Write down the errors that tests provoke, where ``HIERMODELS_MESSAGES`` names a file
    (`tests.golden.messages`).
    """
    if "HIERMODELS_MESSAGES" in os.environ:
        from golden.messages import Recorder

        config.pluginmanager.register(Recorder(Path(os.environ["HIERMODELS_MESSAGES"]).absolute()))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark those cases of a parametrised test ``slow`` that its ``slow_cases`` names by their ids; a name without a
    case is an error, where all cases are collected.
    """
    without: dict[str, set[str]] = {}
    for item in items:
        if mark := item.get_closest_marker("slow_cases"):
            test, _, case = item.nodeid.removesuffix("]").partition("[")
            without.setdefault(test, set(mark.args)).discard(case)
            if case in mark.args:
                item.add_marker(pytest.mark.slow)
    some = config.getoption("lf", False) or any("[" in argument for argument in config.args)
    wrong = [
        f"{test}: slow_cases names no case: {', '.join(sorted(names))}" for test, names in without.items() if names
    ]
    if wrong and not some:
        raise pytest.UsageError("; ".join(wrong))


@pytest.fixture(autouse=True, scope="module")
def _programs_are_dropped() -> Iterator[None]:
    """A worker compiles thousands of small programs: forget them between modules before there are too many."""
    yield
    if _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MOST:
        import jax

        from hiermodels.inference import compiled
        from hiermodels.studies.methods import programs

        programs._programs.clear()
        compiled._program.cache_clear()
        jax.clear_caches()
        gc.collect()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many numbers of the table of targets were checked; with workers, counted from what they report."""
    reports = [r for word in ("passed", "failed") for r in terminalreporter.stats.get(word, [])]
    counts = [value for r in reports for name, value in r.user_properties if name == "targets"]
    if counts:
        terminalreporter.write_line(
            f"targets: {sum(counts)} comparisons with numbers of the lectures in {len(counts)} tests"
        )


@pytest.fixture(autouse=True, scope="module")
def _without_reports(request: pytest.FixtureRequest) -> Iterator[None]:
    """Figures and the page of a run take seconds; modules that look at them say ``REPORTS = True``."""
    if getattr(request.module, "REPORTS", False):
        yield
        return
    from hiermodels.studies.store import results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results.Run, "report", lambda run: run.path / "report.html")
        yield
