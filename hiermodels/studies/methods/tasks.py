"""One chunk of a study: a pure function of a study, a cell, a method and a number.

`run_chunk` is the only thing that threads, a cluster, `replicate` and resume call. Inside, two programs are compiled per
mechanism and method, whatever the number of replicates: one simulates a chunk's datasets, one maps the whole fit over
them, a lane of datasets at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.inference import samplers
from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.inference.samplers import Settings, target_sizes
from hiermodels.models.canonical import canonical
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.streams import word, words
from hiermodels.studies.config import Cell, Study
from hiermodels.studies.mechanisms.frames import frames
from hiermodels.studies.mechanisms.predictors import draw, redesign, varying
from hiermodels.studies.mechanisms.rows import Rows
from hiermodels.studies.mechanisms.simulate import data_key, method_key
from hiermodels.studies.methods import host
from hiermodels.studies.methods.answers import faults, there
from hiermodels.studies.methods.emptied import without_empty
from hiermodels.studies.methods.programs import compiled, estimation, simulation
from hiermodels.studies.methods.ready import Fit, Mechanism, fit_of, lanes_of, mechanism_of, truth_of
from hiermodels.studies.methods.refusals import blanked, exactly_fitted, refusals, refused_counts, smaller_designs
from hiermodels.studies.methods.supports import supports_of_targets

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["estimates_from", "redrawn_columns", "rows_of", "run_chunk", "simulate_chunk", "table_of", "trace"]

_DOUBTFUL = ("nonfinite", "divergent", "heavy_weights")
"""Statuses of fits whose datasets are looked at once more: `hiermodels.fit` may refuse them."""


def trace(study: Study, cell: Cell, name: str) -> None:
    """Trace simulation and estimation of a method on shapes alone."""
    mechanism, fit = mechanism_of(study, cell), fit_of(study, cell, name)
    with jax.enable_x64(True):
        program, args = _simulation_call(study, mechanism, np.arange(1))
        jax.eval_shape(program, *args)
    if not fit.targets or study.methods[name].kind == "host":
        return
    with jax.enable_x64(study.precision == "float64"):
        jax.eval_shape(*_estimation_call(mechanism, fit, 1, 1))


def _estimation_call(mechanism: Mechanism, fit: Fit, rows: int, lanes: int) -> tuple[Any, ...]:
    """The program that estimates so many datasets, and its arguments: shapes stand for what is simulated."""
    dtype = jnp.result_type(float)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0, impl="threefry2x32"), rows))
    outcomes: Any = jax.ShapeDtypeStruct((rows, fit.problem.layout.obs), dtype)
    factor = outcomes if mechanism.deviation is not None and mechanism.deviation.changes_rows else None
    data = fit.problem.data
    design = {name: data[name] if isinstance(data, dict) else getattr(data, name) for name in varying(fit.problem, mechanism.redrawn)}
    if factor is not None or design:
        outcomes = Rows(outcomes, factor, factor, {name: jax.ShapeDtypeStruct((rows, *np.shape(a)), dtype) for name, a in design.items()})
    truth = jax.ShapeDtypeStruct((rows, sum(target_sizes(fit.problem.layout, fit.targets))), dtype)
    return _estimation(fit, lanes), keys, outcomes, truth, as_jax(fit.problem.data)


def _estimation(fit: Fit, lanes: int) -> Any:
    return estimation(fit.problem.layout, fit.settings, fit.targets, fit.interval, lanes, fit.function)


# a chunk ---------------------------------------------------------------------------------------------------------------


def simulate_chunk(
    study: Study, mechanism: Mechanism, reps: np.ndarray, announce: Callable[[str], None] | None = None
) -> tuple[Any, dict[str, np.ndarray]]:
    """Outcomes (replicate, obs), or `Rows` of that shape, and the true value of every variable (replicate, ...), in float64.

    Blocks of one size, whatever is asked for: all methods share one program, and a dataset has the same bits in every chunk.
    """
    size, parts = _block(mechanism.problem.layout.obs), []
    with jax.enable_x64(True):
        for start in range(0, len(reps), size):
            some = np.minimum(np.arange(start, start + size), len(reps) - 1)  # the last block is filled up with the last replicate
            program, args = _simulation_call(study, mechanism, reps[some])
            parts.append(jax.tree.map(np.asarray, compiled(program, args, "the simulation", announce, small=True)(*args)))
    outcomes, true = jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(reps)], *parts)
    problem = mechanism.problem
    return outcomes, canonical(problem.layout).restored(true) if isinstance(problem, Problem) else true


def redrawn_columns(study: Study, mechanism: Mechanism, reps: np.ndarray) -> dict[str, np.ndarray]:
    """Predictors that are redrawn with each dataset, (replicate, row) by name: the draws that `simulate_chunk` uses."""
    size = _block(mechanism.problem.layout.obs)
    blocks = [np.minimum(np.arange(s, s + size), len(reps) - 1) for s in range(0, len(reps) if mechanism.redrawn else 0, size)]
    parts = [_redrawn(study, mechanism, reps[some]) for some in blocks]
    return {law.name: np.concatenate([part[law.name] for part in parts])[: len(reps)] for law in mechanism.redrawn}


def _redrawn(study: Study, mechanism: Mechanism, reps: np.ndarray) -> dict[str, np.ndarray]:
    if not mechanism.redrawn:
        return {}
    with jax.enable_x64(True):
        return draw(mechanism.redrawn, data_key(study.seed, mechanism.key, jnp.asarray(reps, jnp.uint32)))


def rows_of(mechanism: Mechanism, problem: Any, outcomes: Any, columns: Mapping[str, np.ndarray]) -> Any:
    """Simulated outcomes as a program of a method takes them: on its padded rows, with the design of each dataset where it differs."""
    changes = redesign(problem, mechanism.frame, columns)
    outcomes = jax.tree.map(lambda a: _fit_rows(a, problem.layout.obs), outcomes)
    if not changes:
        return outcomes
    rows = outcomes if isinstance(outcomes, Rows) else Rows(outcomes)
    return replace(rows, design=changes)


def _block(obs: int) -> int:
    """Datasets that are simulated side by side: the largest power of two that keeps 2^22 rows, at most 256."""
    return 1 << min(8, max(0, ((1 << 22) // max(1, obs)).bit_length() - 1))


def _simulation(mechanism: Mechanism) -> tuple[Any, dict[str, np.ndarray]]:
    """The program that simulates, and the true values that are its arguments: in canonical names where there is a formula."""
    problem, truth, deviation, values = mechanism.problem, mechanism.truth, mechanism.deviation, mechanism.values
    if not isinstance(problem, Problem):
        return simulation(problem.layout, truth, deviation), values
    names = canonical(problem.layout)
    deviation = None if deviation is None else deviation.renamed(names.group)
    return simulation(names.layout, truth.renamed(names.name), deviation), names.names(values)


def _simulation_call(study: Study, mechanism: Mechanism, reps: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
    program, values = _simulation(mechanism)
    args = (
        jnp.asarray(study.seed, jnp.uint32),
        jnp.asarray(mechanism.key, jnp.uint32),
        jnp.asarray(reps, jnp.uint32),
        as_jax(mechanism.problem.data),
        {k: jnp.asarray(v) for k, v in values.items()},
        {k: jnp.asarray(v, jnp.uint32) for k, v in _words(mechanism).items()},
        redesign(mechanism.problem, mechanism.frame, _redrawn(study, mechanism, reps)),
    )
    return program, args


def _words(mechanism: Mechanism) -> dict[str, int]:
    """Words of the streams of a mechanism with a formula, of the user's names under the canonical ones that its program knows."""
    if not isinstance(mechanism.problem, Problem):
        return {}
    names = canonical(mechanism.problem.layout)
    return {name: word(names.restore(name)) for name in words(names.layout)}


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
    lanes, chunk = lanes_of(study, place, method)
    reps = np.arange(index * chunk, (index + 1) * chunk)
    if not fit.targets:
        return table_of(study, place, method, fit, reps, None, None)
    if samplers.of(fit.settings).slow_to_compile:  # the longest compilation does not wait for data: another thread compiles what makes them
        with jax.enable_x64(study.precision == "float64"):
            program, *args = _estimation_call(mechanism, fit, chunk, lanes)
            compiled(program, tuple(args), _what(method, fit), announce)
    outcomes, true = simulate_chunk(study, mechanism, reps, announce)
    truth = truth_of(fit, true)
    if study.methods[method].kind == "host":
        return _by_host(study, place, method, fit, reps, outcomes, truth)
    columns = redrawn_columns(study, mechanism, reps)
    rows = rows_of(mechanism, fit.problem, outcomes, columns)
    estimates = _estimate(study, fit, method, mechanism.key, reps, rows, truth, lanes, announce)
    found = jax.tree.map(np.asarray, estimates)
    declared, refused = study.methods[method].kind == "posterior" and isinstance(fit.problem, Problem), {}
    if declared:  # what cannot be fitted is not tried again
        refused = _refused(mechanism, fit, outcomes, columns, _unlikely(fit, outcomes, rows))
    found = _again(study, fit, method, mechanism.key, reps, rows, truth, found, announce, list(refused))
    if isinstance(rows, Rows) and not rows.complete:
        found = without_empty(fit.problem, fit.targets, np.asarray(rows.weight) > 0, found)
    if declared:
        failed = np.isin(found.status[:, fit.positions], [STATUS.index(word) for word in _DOUBTFUL]).any(1)
        failed[list(refused)] = False
        refused |= _refused(mechanism, fit, outcomes, columns, failed)
    if not refused:
        return table_of(study, place, method, fit, reps, found, truth)
    gone = np.isin(np.arange(len(reps)), list(refused))[:, None]
    messages = [[refused.get(i, "")] * len(fit.positions) for i in range(len(reps))]
    return table_of(study, place, method, fit, reps, blanked(found, gone), truth, messages)


def _unlikely(fit: Fit, outcomes: Any, rows: Any) -> np.ndarray:
    """Replicates whose counts are few, whose rows may be fitted exactly, or whose design spans less than most."""
    found = exactly_fitted(fit.problem, rows if isinstance(rows, Rows) else Rows(rows))
    if isinstance(rows, Rows) and "x" in rows.design:
        found |= smaller_designs(fit.problem, rows.design)
    if not isinstance(outcomes, Rows):
        found |= refused_counts(fit.problem, np.asarray(outcomes))
    return found


def _refused(
    mechanism: Mechanism, fit: Fit, outcomes: Any, columns: Mapping[str, np.ndarray], doubtful: np.ndarray
) -> dict[int, str]:
    """Those of the doubtful replicates to which the model cannot be fitted, and why."""
    places = np.flatnonzero(doubtful)
    some = jax.tree.map(lambda a: np.asarray(a)[places], outcomes)
    tables = frames(mechanism.problem, mechanism.frame, some, {name: values[places] for name, values in columns.items()})
    return refusals(fit.problem, dict(zip(places.tolist(), tables, strict=True)))


def _by_host(study: Study, cell: Cell, method: str, fit: Fit, reps: np.ndarray, outcomes: Any, truth: np.ndarray) -> pa.Table:
    """Estimates of a chunk by a user's function in another process."""
    mechanism, function = mechanism_of(study, cell), fit.function
    with jax.enable_x64(True):
        keys = method_key(study.seed, mechanism.key, method, jnp.asarray(reps, jnp.uint32))
        halves = np.asarray(jax.random.key_data(keys)).astype(object)
    seeds = [int(a) << 32 | int(b) for a, b in halves]
    tables = list(frames(mechanism.problem, mechanism.frame, outcomes, redrawn_columns(study, mechanism, reps)))
    assert function is not None
    try:
        numbers, messages = host.estimate_all(function, fit.names, seeds, tables, study.methods[method].timeout)
    except ValueError as error:
        raise ValueError(f"methods.{method}: {error}") from None
    _without_faults(fit, numbers, messages)
    return table_of(study, cell, method, fit, reps, estimates_from(fit, numbers), truth, messages)


def _without_faults(fit: Fit, numbers: np.ndarray, messages: list[list[str]]) -> None:
    """Take away answers that have no meaning, such as a negative standard error, and say why."""
    labels = [f"{name!r} of {label!r}" if label else repr(name) for name, block in fit.names for label in block]
    width = len(labels)
    for place, fault in faults(numbers.reshape(-1, 4), np.tile(supports_of_targets(fit), (len(numbers), 1))).items():
        row, at = divmod(place, width)
        numbers[row, at], messages[row][at] = np.nan, f"{labels[at]}: {fault}"


def estimates_from(fit: Fit, numbers: np.ndarray) -> Estimates:
    """Estimates from numbers (replicate, target, 4): estimate, se, lower, upper; missing where there is no estimate and no interval."""
    shape = (len(numbers), sum(target_sizes(fit.problem.layout, fit.targets)))
    wide: Any = np.full((*shape, 4), np.nan)
    wide[:, fit.positions] = numbers
    none: Any = np.full(shape, np.nan)
    one: Any = np.ones(len(numbers), np.int32)
    status: Any = np.where(there(wide), 0, STATUS.index("nonfinite")).astype(np.int32)
    estimate, se, lower, upper = (wide[..., i] for i in range(4))
    return Estimates(estimate, none, se, lower, upper, none, none, none, none, none, status, 0 * one, one)


def _estimate(
    study: Study,
    fit: Fit,
    method: str,
    cell_key: int,
    reps: np.ndarray,
    outcomes: Any,
    truth: np.ndarray,
    lanes: int,
    announce: Callable[[str], None] | None,
    attempt: int = 0,
) -> Estimates:
    with jax.enable_x64(True):
        keys = method_key(study.seed, cell_key, method, jnp.asarray(reps, jnp.uint32))
        if attempt:
            keys = jax.vmap(lambda k: jax.random.fold_in(k, attempt))(keys)
    with jax.enable_x64(study.precision == "float64"):
        dtype = jnp.result_type(float)
        args = (keys, jax.tree.map(lambda a: a.astype(dtype), outcomes), jnp.asarray(truth, dtype), as_jax(fit.problem.data))
        return compiled(_estimation(fit, lanes), args, _what(method, fit), announce)(*args)


def _what(method: str, fit: Fit) -> str:
    return f"{method} ({fit.settings.sampler})"


def _fit_rows(outcomes: np.ndarray, obs: int) -> np.ndarray:
    """The mechanism's padded rows as the method pads them; real rows come first in both."""
    have = outcomes.shape[1]
    return outcomes[:, :obs] if have >= obs else np.pad(outcomes, ((0, 0), (0, obs - have)))


def _again(
    study: Study,
    fit: Fit,
    method: str,
    cell_key: int,
    reps: np.ndarray,
    outcomes: Any,
    truth: np.ndarray,
    found: Estimates,
    announce: Callable[[str], None] | None,
    refused: Sequence[int] = (),
) -> Estimates:
    """Second tries: of fits that distrust themselves; under `retry-with-escalation` of every fit that is not ok.

    Replicates that are refused are not tried again. Datasets are retried in groups of eight, so that one program serves any number of them.
    """
    steps = _escalations(study, fit)
    for attempt, settings in enumerate(steps, 1):
        bad = found.status != 0 if study.failures == "retry-with-escalation" else found.status == STATUS.index("heavy_weights")
        bad[list(refused)] = False
        rows = np.flatnonzero(bad[:, fit.positions].any(1))
        # a quadrature judges each estimand alone: one that is right stays as it is, whatever else is asked for
        alone = bad if samplers.of(fit.settings).quadrature else np.ones_like(bad)
        harder = replace(fit, settings=settings)
        for start in range(0, len(rows), 8):
            some = rows[start : start + 8]
            eight = np.resize(some, 8)
            data = jax.tree.map(lambda a, eight=eight: a[eight], outcomes)
            new = _estimate(study, harder, method, cell_key, reps[eight], data, truth[eight], 8, announce, attempt)
            found = jax.tree.map(lambda old, fresh, some=some, alone=alone: _replaced(old, np.asarray(fresh), some, alone), found, new)
            found.n_try[some] = attempt + 1
    return found


def _replaced(old: np.ndarray, fresh: np.ndarray, rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Numbers of some replicates exchanged, of targets only where ``entries`` (replicate, target) says so."""
    old, fresh = np.array(old), fresh[: len(rows)]
    old[rows] = np.where(entries[rows], fresh, old[rows]) if old.ndim == 2 else fresh
    return old


def _escalations(study: Study, fit: Fit) -> list[Settings]:
    """Settings of each further try, as the sampler says."""
    if fit.function is not None:
        return []
    how = samplers.of(fit.settings)
    harder = how.harder() if study.failures == "retry-with-escalation" else ()
    return [*(retry.settings for retry in how.distrusted()), *harder]


def table_of(
    study: Study,
    cell: Cell,
    method: str,
    fit: Fit,
    reps: np.ndarray,
    found: Estimates | None,
    true: np.ndarray | None,
    messages: list[list[str]] | None = None,
) -> pa.Table:
    """The estimates table of some replicates; with a column ``message`` where there are messages."""
    import pyarrow as pa

    labels = [(name, label) for name, block in fit.names for label in block]
    rows, width = (len(reps), len(labels)) if found is not None else (0, 0)

    def coded(values: list[str], each: np.ndarray) -> pa.DictionaryArray:
        unique = list(dict.fromkeys(values))
        codes = np.array([unique.index(v) for v in values], np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(codes[each] if len(codes) else codes), pa.array(unique, pa.string()))

    within, ones = np.tile(np.arange(width), rows), np.zeros(rows * width, np.int32)
    columns: dict[str, Any] = {"rep": np.repeat(reps[:rows], width).astype(np.int64)}
    for name, value in cell.factors.items():
        text = isinstance(value, str)
        columns[name] = coded([str(value)], ones) if text else np.full(rows * width, float(value))
    columns["method"] = coded([method], ones)
    columns["estimand"] = coded([name for name, _ in labels], within)
    columns["group"] = coded([label for _, label in labels], within)

    def numbers(array: np.ndarray | None) -> np.ndarray:
        return np.zeros(0) if array is None else np.asarray(array[:, fit.positions], np.float64).reshape(-1)

    columns["true"] = numbers(true)
    for name in ("estimate", "median", "se", "lower", "upper", "rank", "max_rank"):
        columns[name] = numbers(None if found is None else getattr(found, name))
    status = np.zeros(0, np.int32) if found is None else found.status[:, fit.positions].reshape(-1).astype(np.int32)
    columns["status"] = pa.DictionaryArray.from_arrays(pa.array(status), pa.array(STATUS, pa.string()))
    columns["n_try"] = np.zeros(0, np.int64) if found is None else np.repeat(found.n_try.astype(np.int64), width)
    for name in ("rhat", "ess_bulk", "ess_tail"):
        columns[name] = numbers(None if found is None else getattr(found, name))
    columns["divergences"] = np.zeros(0, np.int64) if found is None else np.repeat(found.divergences.astype(np.int64), width)
    if messages is not None:
        told = [text for row in messages for text in row]
        columns["message"] = coded(told, np.arange(len(told)))
    return pa.table(columns)
