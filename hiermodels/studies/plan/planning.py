"""How many replications, how long, how much memory: a pilot answers before the study is run.

    n_sim for a target MCSE m:   means and what follows from them   n_0 (MCSE_0 / m)^2
                                 shares                              n_0 (w_0 / m)^2, w_0 = half of Wilson's width / 1.96

with MCSE_0 and w_0 those of a pilot of n_0 replicates. Wilson's width in place of the binomial MCSE keeps a coverage of
100% in the pilot from asking for no replicates at all. The largest n over methods, estimands and groups counts; it is
itself an estimate, good to about ``1 / sqrt(n_0)`` of itself for a share near its truth.

`plan` runs the pilot; `required` does the arithmetic on any table of performance.
"""  # noqa: E501

from __future__ import annotations

import concurrent.futures
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from hiermodels.studies.config import Cell, Study, read_config
from hiermodels.studies.config.targets import read_targets
from hiermodels.studies.config.texts import cuts_of_tests
from hiermodels.studies.machine import cores
from hiermodels.studies.methods import programs, ready
from hiermodels.studies.methods.ready import lanes_of
from hiermodels.studies.methods.supports import supports_of
from hiermodels.studies.methods.tasks import run_chunk
from hiermodels.studies.run.binding import bind_all, truth_regime
from hiermodels.studies.score.measures import about
from hiermodels.studies.score.montecarlo import Z95
from hiermodels.studies.score.scoring import performance

__all__ = ["Cost", "Plan", "pilot", "plan", "read_targets", "required"]

PILOT = 100
"""Replicates of a pilot."""


@dataclass(frozen=True)
class Cost:
    """What one method costs on one cell.

    Attributes
    ----------
    seconds : float
        Of one thread for one replicate, compilation not counted, with all threads at work.
    compile_seconds : float
        First chunk minus a later one: tracing and compiling.
    program_bytes : int
        Working memory of one thread's compiled programs; 0 where the backend does not tell.
    row_bytes : int
        Of the table of estimates, for one replicate, in memory.
    """

    seconds: float
    compile_seconds: float
    program_bytes: int
    row_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a study would take.

    Attributes
    ----------
    table : DataFrame
        A row a cell: ``<factors>, n_sim, because, hours, memory_mb, table_mb``. ``because`` names the measure, method
        and estimand that need the most replicates; hours are wall clock with ``workers`` threads; ``memory_mb`` is the
        working memory of the compiled programs of all threads, ``table_mb`` the cell's estimates when they are
        summarised.
    performance : DataFrame
        The pilot's.
    workers : int
    notes : tuple of str
    """

    table: pd.DataFrame
    performance: pd.DataFrame
    workers: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        shown = self.table.to_string(index=False, float_format="{:.3g}".format)
        total = (
            f"in all {self.table['n_sim'].sum():,} replicates, {duration(3600 * self.table['hours'].sum())} on "
            f"{self.workers} thread(s)"
        )
        return "\n".join([shown, "", total, *(f"- {n}" for n in self.notes)])


def duration(seconds: float) -> str:
    """Seconds in words.

    Examples
    --------
    >>> duration(75), duration(9000)
    ('1.2 minutes', '2.5 hours')
    """
    for limit, size, word in ((90, 1, "seconds"), (5400, 60, "minutes"), (math.inf, 3600, "hours")):
        if seconds < limit and not (word == "seconds" and seconds >= 60):
            return f"{seconds / size:.2g} {word}"
    raise AssertionError


def required(performance: pd.DataFrame, targets: Mapping[str, float], factors: Sequence[str] = ()) -> pd.DataFrame:
    """Replications that bring every MCSE of a pilot down to its target.

    Parameters
    ----------
    performance : DataFrame
        Table of performance of the pilot.
    targets : mapping of str to float
        Measure to target MCSE.
    factors : sequence of str

    Returns
    -------
    DataFrame
        A row a cell: ``<factors>, n_sim, because``.

    Raises
    ------
    ValueError
        For a measure that the table has not, or that is undefined everywhere.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"method": "m", "estimand": "mu", "group": "", "measure": "bias", "value": 0.1, "mcse": 0.02, "lower": 0.06,
    ...        "upper": 0.14, "n_sim": 100}
    >>> required(pd.DataFrame([row]), {"bias": 0.01})["n_sim"].tolist()
    [400]
    """  # noqa: E501
    rows = performance[performance["measure"].isin(list(targets))].copy()
    for name in targets:
        if not np.isfinite(rows.loc[rows["measure"] == name, "value"]).any():
            raise ValueError(
                f"mcse: {name}: expected a measure with a value in the pilot, found none; take another measure or "
                f"other estimands"
            )
    width = (rows["upper"] - rows["lower"]) / (2 * Z95)
    shares = rows["measure"].map(lambda name: about(name).share).astype(bool)
    error = np.where(shares, np.fmax(rows["mcse"], width), rows["mcse"])
    rows["needed"] = np.ceil(rows["n_sim"] * (error / rows["measure"].map(targets)) ** 2 - 1e-9)
    rows = rows[np.isfinite(rows["needed"])]
    found = []
    groups = rows.groupby(list(factors), sort=False, observed=True, dropna=False) if factors else [((), rows)]
    for key, part in groups:
        worst = part.loc[part["needed"].idxmax()]
        group = f"[{worst['group']}]" if worst["group"] and not str(worst["group"]).startswith("[") else worst["group"]
        who = f"{worst['measure']} of {worst['estimand']}{group} ({worst['method']})"
        found.append({**dict(zip(factors, key, strict=True)), "n_sim": max(2, int(worst["needed"])), "because": who})
    return pd.DataFrame(found)


def plan(
    config: Any, targets: Mapping[str, float] | Sequence[str], *, replications: int = PILOT, workers: int | None = None
) -> Plan:
    """Run a pilot of every cell and method, and say what the study would take.

    Parameters
    ----------
    config : path, name or mapping
        As for `hiermodels.run`. Nothing is written.
    targets : mapping or sequence of str
        Measure to target MCSE: ``{"cover": 0.005}`` or ``["cover=0.005"]``.
    replications : int
        Of the pilot. Whole chunks are computed and timed; the first so many replicates are judged.
    workers : int, optional
        Threads; by default one a core.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        For a config that cannot be run, or a target that cannot be read.

    Examples
    --------
    >>> found = plan("quick", {"cover": 0.01}, replications=20)  # doctest: +SKIP
    >>> print(found)  # doctest: +SKIP
    """
    wanted = read_targets(targets)
    if isinstance(replications, bool) or not isinstance(replications, int) or not 20 <= replications < 2**31:
        found = repr(replications)[:40]
        raise ValueError(
            f"replications: expected a whole number of at least 20, below 2^31, for a pilot, found {found}; e.g. "
            f"{PILOT}"
        )
    study = read_config(config, performance=list(wanted))
    bind_all(study)
    threads = workers or cores()
    estimates, costs = pilot(study, replications, threads)
    factors = list(study.factors)
    regimes = {truth_regime(study, cell) for cell in study.cells()}
    table, _ = performance(
        estimates, factors=factors, measures=list(wanted), interval=study.interval.level, failures=study.failures,
        decisions=cuts_of_tests(study.estimands, study.interval.level), supports=supports_of(study),
        regime=regimes.pop() if len(regimes) == 1 else "mixed",
    )  # fmt: skip
    needed = required(table, wanted, factors)
    counts = needed["n_sim"].to_numpy()
    price = [[costs[cell.hash, method] for method in study.methods] for cell in study.cells()]
    each = np.array([sum(c.seconds for c in row) for row in price])
    start = np.array([sum(c.compile_seconds for c in row) for row in price])
    needed["hours"] = (each * counts + start) / threads / 3600
    needed["memory_mb"] = [threads * max(c.program_bytes for c in row) / 1e6 for row in price]
    needed["table_mb"] = [n * sum(c.row_bytes for c in row) / 1e6 for n, row in zip(counts, price, strict=True)]
    notes = [
        f"pilot: {estimates['rep'].nunique()} replicates a cell; n_sim is an estimate, and so are times.",
        f"memory_mb comes on top of what Python and the compiler take: {_resident() / 1e6:.0f} MB at most so far.",
    ]
    missing = int((estimates["status"].astype(str) == "nonfinite").sum())
    if missing:
        notes.append(
            f"{missing} of {len(estimates)} pilot estimates are missing (not finite); n_sim counts replicates "
            f"attempted."
        )
    return Plan(needed, table, threads, tuple(notes))


def pilot(study: Study, replications: int, workers: int) -> tuple[pd.DataFrame, dict[tuple[str, str], Cost]]:
    """Estimates of the first replicates of every cell and method, in memory, and what they cost.

    Parameters
    ----------
    study : Study
    replications : int
        Whole chunks are computed; the table is cut to the first so many.
    workers : int
        Threads.

    Returns
    -------
    estimates : DataFrame
        Long table of estimates.
    costs : dict
        (cell hash, method) to `Cost`.
    """
    jobs = [(cell, method) for cell in study.cells() for method in study.methods]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        found = list(pool.map(lambda job: _measured(study, job[0], job[1], replications), jobs))
    tables = [table for tables, _ in found for table in tables]
    whole = pa.concat_tables(tables, promote_options="permissive").unify_dictionaries().to_pandas()
    return whole[whole["rep"] < replications], {
        (cell.hash, method): cost for (cell, method), (_, cost) in zip(jobs, found, strict=True)
    }


def _measured(study: Study, cell: Cell, method: str, replications: int) -> tuple[list[pa.Table], Cost]:
    """Chunks of one cell and method; the first is computed twice where it is the only one, to tell compiling from
    computing.
    """
    _, chunk = lanes_of(study, cell, method)
    count = -(-replications // chunk)
    tables, seconds = [], []
    for index in [*range(count), *([0] if count == 1 else [])]:
        started = time.perf_counter()
        tables.append(run_chunk(study, cell.hash, method, index))
        seconds.append(time.perf_counter() - started)
    later = float(np.median(seconds[1:]))
    size = int(tables[0].nbytes)
    return tables[:count], Cost(
        later / chunk, max(0.0, seconds[0] - later), program_bytes(study, cell, method), size // chunk
    )


def _resident() -> float:
    """Most bytes that this process has held in memory; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:
        return math.nan
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def program_bytes(study: Study, cell: Cell, method: str) -> int:
    """Working memory of the compiled program that fits a method on a cell, as its compiler states it; 0 where it does
    not.
    """
    fit = ready.fit_of(study, cell, method)
    if not fit.kind.compiled:
        return 0
    lanes, _ = ready.lanes_of(study, cell, method)
    function = programs.estimation(fit.problem.layout, fit.settings, fit.targets, fit.interval, lanes, fit.function)
    sizes = [0]
    for key, program in list(programs._programs.items()):
        try:
            found = program.memory_analysis() if key[0] is function else None
        except (AttributeError, NotImplementedError, TypeError, RuntimeError):
            continue
        if found is not None:
            sizes.append(int(found.temp_size_in_bytes + found.output_size_in_bytes + found.argument_size_in_bytes))
    return max(sizes)
