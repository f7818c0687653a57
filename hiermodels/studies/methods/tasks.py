"""One chunk of a study: a pure function of a study, a cell, a method and a number.

`run_chunk` is the only thing that threads, a cluster, `replicate` and resume call. Inside, two programs are compiled
per mechanism and method, whatever the number of replicates: one simulates a chunk's datasets, one maps the whole fit
over them, a lane of datasets at a time.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pyarrow as pa

from hiermodels.studies.config import Cell, Study
from hiermodels.studies.methods.datasets import redrawn_columns, rows_of, simulate_chunk, simulation_call
from hiermodels.studies.methods.kinds import Chunk
from hiermodels.studies.methods.long_table import table_of
from hiermodels.studies.methods.ready import fit_of, lanes_of, mechanism_of, truth_of

__all__ = ["redrawn_columns", "rows_of", "run_chunk", "simulate_chunk", "trace"]


def trace(study: Study, cell: Cell, name: str) -> None:
    """Trace simulation and estimation of a method on shapes alone."""
    mechanism, fit = mechanism_of(study, cell), fit_of(study, cell, name)
    with jax.enable_x64(True):
        program, args = simulation_call(study, mechanism, np.arange(1))
        jax.eval_shape(program, *args)
    if fit.targets:
        fit.kind.trace(study, mechanism, fit)


def run_chunk(
    study: Study,
    cell: str,
    method: str,
    index: int,
    *,
    announce: Callable[[str], None] | None = None,
) -> pa.Table:
    """Estimates of one chunk of replicates of a cell by a method.

    Parameters
    ----------
    study : Study
    cell : str
        The cell's hash.
    method : str
    index : int
        Replicates ``index * chunk`` up to the next boundary; always computed full, whatever the number of replications.
    announce : callable, optional
        Told what is being compiled.

    Returns
    -------
    pyarrow.Table
        The columns of the estimates table, replicate by replicate.
    """
    place = next(c for c in study.cells() if c.hash == cell)
    mechanism, fit = mechanism_of(study, place), fit_of(study, place, method)
    lanes, size = lanes_of(study, place, method)
    reps = np.arange(index * size, (index + 1) * size)
    if not fit.targets:
        return table_of(place, method, fit, reps, None, None)
    chunk = Chunk(study, mechanism, fit, reps, lanes, announce)
    fit.kind.prepare(chunk)
    outcomes, true = simulate_chunk(study, mechanism, reps, announce)
    truth = truth_of(fit, true)
    found, messages = fit.kind.estimates(chunk, outcomes, truth)
    return table_of(place, method, fit, reps, found, truth, messages)
