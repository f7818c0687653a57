"""From stored estimates to the table of performance, the figures and the report; nothing is fitted again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiermodels.studies.config.texts import cuts_of_tests, read_estimands
from hiermodels.studies.methods.supports import supports_of_run
from hiermodels.studies.run.further import Further
from hiermodels.studies.run.schedule import say_missing
from hiermodels.studies.score.scoring import score
from hiermodels.studies.store import results
from hiermodels.studies.store.large import stream_cells
from hiermodels.studies.store.results import Run, load_run

if TYPE_CHECKING:
    from hiermodels.studies.score.power import Batch

__all__ = ["summarise", "table_files"]

_SPARE = ("median", "rhat", "divergences")
"""Columns of the estimates that no measure reads."""


def summarise(folder: str | Path, measures: Sequence[str] | None = None, *, report: bool = True) -> Run:
    """Compute the table of performance of a finished run again, and write its report.

    Estimates are read a few cells at a time, so that a run may be larger than memory.

    Parameters
    ----------
    folder : str or Path
        Run folder.
    measures : sequence of str, optional
        Codes of `hiermodels.studies.score.measures`, in the place of the study's; the run remembers them.
    report : bool
        Figures and report too.

    Returns
    -------
    Run

    Raises
    ------
    ValueError
        If chunks are missing (each is named, with the command that makes it) or damaged, or a measure is unknown.
    """
    run = load_run(folder)
    if text := say_missing(run.manifest, run.path):
        raise ValueError(text)
    config = run.config if measures is None else {**run.config, "performance": list(measures)}
    made = table_files(run, config)
    if measures is not None:
        results.write_manifest(run.path, {**run.manifest, "config": config})
    results.write_tables(run.path, made)
    found = load_run(run.path)
    if report:
        found.report()
    return found


def table_files(run: Run, config: Mapping[str, Any]) -> dict[str, bytes]:
    """The tables that a run's estimates give, as files by name; every chunk is read and checked.

    Raises
    ------
    ValueError
        A chunk is damaged or another study's, or a measure is unknown.
    """
    further = Further(run)

    def batches() -> Iterator[Batch]:
        for batch in stream_cells(run.path, run.manifest, config["replications"], spare=_SPARE):
            further.read(batch)
            yield batch

    regimes = run.manifest["regime"]
    interval = config["interval"]
    level = interval["level"] if isinstance(interval, Mapping) else interval
    scored = score(
        batches(),
        factors=run.factors,
        measures=config["performance"],
        interval=level,
        failures=config["failures"],
        regime=regimes[0] if len(regimes) == 1 else "mixed",
        decisions=cuts_of_tests(read_estimands(config["estimands"]), level),
        supports=supports_of_run(run),
    )
    table, notes = further.decisions(scored.table, scored.notes)
    common, _ = further.decisions(scored.common, [], common=True)
    tests = further.calibration()
    found = results.performance_files(
        table, notes, common=common, failures=scored.failures, stamp=results.stamp_of(config)
    )
    return found if tests is None else {"calibration.csv": tests, **found}
