"""One chunk of a study: a pure function of the resolved configuration, a cell, a method and a number.

`run_chunk` is the only thing that threads, a cluster, `replicate` and resume call. Inside, two programs are compiled per
mechanism and method, whatever the number of replicates: one simulates a chunk's datasets, one maps the whole fit over
them, a lane of datasets at a time.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.inference.direct import available_directly, check_design, direct_estimator
from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.inference.nuts import auto_lanes
from hiermodels.inference.samplers import Settings, available, check_data, dimension, estimation_steps, target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import Problem, as_jax, bind
from hiermodels.models.spec import Model
from hiermodels.studies import host, own
from hiermodels.studies.config import Cell, Estimand, Method, Study, data_key_material
from hiermodels.studies.config.deviating import read_deviations
from hiermodels.studies.deviant import Deviation, Rows, any_rows, read_deviation, without_empty
from hiermodels.studies.frames import frames
from hiermodels.studies.own import OwnLayout
from hiermodels.studies.simulate import Truth, bind_design, data_key, design_frame, method_key, read_truth, simulator
from hiermodels.studies.widened import sizes_vary, widened

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Fit", "Mechanism", "compiled", "estimates_from", "fit_of", "lanes_of", "mechanism_of", "plain_fit", "run_chunk", "simulate_chunk"]

log = logging.getLogger("hiermodels.studies")

AnyProblem = Any
"""`Problem`, or `OwnProblem` of a NumPyro function, which has the same attributes."""
AnyLayout = Any
"""`Layout` or `OwnLayout`."""

_ESCALATIONS = 2
"""How often `retry-with-escalation` tries again."""


@dataclass(frozen=True)
class Mechanism:
    """A cell ready to simulate from."""

    cell: Cell
    frame: pd.DataFrame
    problem: AnyProblem
    truth: Truth
    values: dict[str, np.ndarray]
    key: int
    deviation: Deviation | None = None


@dataclass(frozen=True)
class Fit:
    """A method ready to be mapped over a cell's datasets.

    Attributes
    ----------
    problem : Problem
        The method's model on the cell's design.
    targets : tuple of Target
        What it estimates; estimands that it has not are left out.
    names : tuple of (estimand, labels)
        Rows of one replicate, a block a target.
    positions : ndarray
        Places of the real targets among the padded ones.
    sources : tuple
        Where each target's truth is found: (variable of the mechanism or None, padded positions).
    """

    problem: AnyProblem
    settings: Settings
    targets: tuple[Target, ...]
    interval: Interval
    names: tuple[tuple[str, tuple[str, ...]], ...]
    positions: np.ndarray
    sources: tuple[tuple[str | None, np.ndarray], ...]
    function: Callable[..., Estimates] | None


_AUTO_CHUNK = {"nuts": 50, "exact": 256, "host": 16}
"""Replicates a file, before rounding up to whole lanes: a few seconds of work, so that a killed run loses little."""

_NUMBERS = 1 << 20
"""Draws of all targets that are sorted and summarised side by side."""

_studies: dict[str, Study] = {}


def study_of(resolved: Mapping[str, Any], functions: Mapping[str, Callable[..., Any]] | None = None) -> Study:
    """The study of a resolved configuration, read once a process."""
    key = json.dumps(resolved) + repr(sorted((k, id(v)) for k, v in (functions or {}).items()))
    if key not in _studies:
        _studies[key] = Study.from_resolved(resolved, functions=functions)
    return _studies[key]


def _cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Cache by the identity of the study (kept alive) and the other arguments; safe among threads."""
    store: dict[Any, Any] = {}
    lock = threading.RLock()

    def wrapper(study: Study, *rest: Any) -> Any:
        key = (id(study), *(r.hash if isinstance(r, Cell) else r for r in rest))
        with lock:
            if key not in store:
                if len(store) > 4096:
                    store.clear()
                store[key] = (study, function(study, *rest))
            return store[key][1]

    return wrapper


@_cached
def mechanism_of(study: Study, cell: Cell) -> Mechanism:
    """Bind the mechanism of a cell to its design and truth.

    Raises
    ------
    ValueError
        Where design, formula and truth do not fit one another.
    """
    m, material = study.mechanisms, data_key_material(cell)
    frame = design_frame(cell.design, study.seed, material)
    if callable(m.formula):
        own_problem = own.bind_own(m.formula, frame, own.outcome_of(m.formula))
        truth, values = own.own_truth(cell.truth, own_problem)
        return Mechanism(cell, frame, own_problem, truth, values, material)
    model = Model(m.formula, m.family, known_se=m.known_se, trials=m.trials, exposure=m.exposure, weights=m.weights)
    problem = bind_design(model, frame)
    truth, values = read_truth(cell.truth, problem)
    deviation = read_deviation(read_deviations(cell.deviation), problem, cell.truth)
    return Mechanism(cell, frame, problem, truth, values, material, deviation)


@_cached
def fit_of(study: Study, cell: Cell, name: str) -> Fit:
    """Bind a method to a cell's design and sort out which estimands it has.

    Raises
    ------
    ValueError
        Starting with ``methods.<name>``.
    """
    mechanism, method = mechanism_of(study, cell), study.methods[name]
    if method.kind == "host":
        if method.function is None:
            raise ValueError(f"methods.{name}: host: expected a Python function; run it with hiermodels.run(..., functions={{{name!r}: f}})")
        host.portable(method.function)
        return plain_fit(study, mechanism, method.estimands, method.function)
    try:
        problem = _meet(study, mechanism, method)
        if isinstance(problem, Problem) and method.kind == "posterior":
            check_data(problem.layout, problem.data, _settings(method))
    except ValueError as error:
        raise ValueError(f"methods.{name}: {error}") from None
    settings = _settings(method)
    known = _available(method, problem, settings)
    targets, names, sources = [], [], []
    for estimand in study.estimands:
        target = _target(estimand, problem)
        if known is not None and (target.variable not in known or (method.estimator and target.threshold is not None)):
            continue
        targets.append(target)
        names.append((estimand.name, _labels(target.variable, problem)))
        sources.append(_source(target.variable, problem, mechanism.problem))
    interval = Interval(study.interval.level, study.interval.kind)
    positions = _real_positions(problem, tuple(targets))
    if method.function is not None:
        with jax.enable_x64(study.precision == "float64"):
            own.check_estimates(method.function, sum(target_sizes(problem.layout, tuple(targets))), as_jax(problem.data))
    function = method.function
    if method.estimator is not None:
        function = direct_estimator(method.estimator, _frozen(method), problem.layout, tuple(targets), interval)
    return Fit(problem, settings, tuple(targets), interval, tuple(names), positions, tuple(sources), function)


def plain_fit(
    study: Study, mechanism: Mechanism, names: tuple[str, ...] | None = None, function: Callable[..., Any] | None = None
) -> Fit:
    """Estimands as they stand in the mechanism, for estimates that are made elsewhere; all of the study's without ``names``."""
    problem = mechanism.problem
    wanted = [e for e in study.estimands if names is None or e.name in names]
    targets = tuple(_target(e, problem) for e in wanted)
    labels = tuple((e.name, _labels(t.variable, problem)) for e, t in zip(wanted, targets, strict=True))
    sources = tuple(_source(t.variable, problem, problem) for t in targets)
    interval = Interval(study.interval.level, study.interval.kind)
    return Fit(problem, Settings(sampler="host"), targets, interval, labels, _real_positions(problem, targets), sources, function)


def _meet(study: Study, mechanism: Mechanism, method: Method) -> AnyProblem:
    """A method's model on the design: a formula, a NumPyro function, or for a method in Python its mechanism's."""
    frame, outcome = mechanism.frame, own.outcome_of(study.mechanisms.formula)
    if callable(method.formula) and method.estimator is not None:
        raise ValueError(f"formula: {method.estimator} needs a formula, found a NumPyro function; write e.g. y ~ 1 + (1 | group)")
    if callable(method.formula):
        if mechanism.deviation is not None and mechanism.deviation.changes_rows:
            raise ValueError("formula: a NumPyro function cannot be told which groups are missing or small; write a formula")
        if method.function is None:
            own.check_method(method)
        return own.bind_own(method.formula, frame, outcome)
    model = method.model()
    if model.parsed.outcome != outcome:
        raise ValueError(f"formula: expected the outcome that is simulated, {outcome!r}, found {model.parsed.outcome!r}; mend it")
    problem = bind(model, frame, method.pooling, outcome=False, priors=method.kind == "posterior")
    if method.kind == "posterior" and mechanism.deviation is None and sizes_vary(mechanism.cell):
        problem = widened(problem)
    if mechanism.deviation is not None and mechanism.deviation.changes_rows:
        problem = any_rows(problem)
        for level, share in mechanism.deviation.missing:
            _check_remaining(model, mechanism, method, level, share)
    if method.estimator is not None:
        check_design(method.estimator, problem)
    return problem


def _check_remaining(model: Model, mechanism: Mechanism, method: Method, level: str, share: float) -> None:
    """Whether the model can still be fitted without the groups that are missing from each dataset."""
    code = mechanism.frame.groupby(level.split(":"), sort=False, observed=True).ngroup()
    count = int(code.max()) + 1
    gone = round(share * count)
    try:
        if gone >= count:
            raise ValueError(f"no {level} is left; lower missing")
        rest = mechanism.frame[code >= gone]
        problem = bind(model, rest, method.pooling, outcome=False, priors=method.kind == "posterior")
        if method.estimator is not None:
            check_design(method.estimator, problem)
    except ValueError as error:
        raise ValueError(f"with {gone} of {count} {level} missing: {error}") from None


def _available(method: Method, problem: AnyProblem, settings: Settings) -> set[str] | None:
    """Variables that a method has; None where only its function knows."""
    if method.kind in ("function", "host"):
        return None
    if method.estimator is not None:
        return available_directly(method.estimator, _frozen(method), problem)
    return problem.layout.available() if isinstance(problem.layout, OwnLayout) else available(problem.layout, settings)


def _frozen(method: Method) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(method.settings.items()))


def _settings(method: Method) -> Settings:
    given = method.fit_settings()
    given.pop("pooling")
    if method.kind in ("estimator", "host"):
        given["sampler"] = method.estimator or "host"
    return Settings(**given, accuracy="study")


def _target(estimand: Estimand, problem: AnyProblem) -> Target:
    variable = estimand.variable if estimand.kind in ("value", "probability") else f"{estimand.kind}({estimand.variable})"
    moment = problem.missing_moments.get(variable, "")
    return Target(variable, estimand.point, estimand.threshold, estimand.direction != "<", moment)


def _level_index(variable: str, layout: AnyLayout) -> int | None:
    return next((i for i, level in enumerate(layout.levels) if variable in layout.effect_names(level)), None)


def _labels(variable: str, problem: AnyProblem) -> tuple[str, ...]:
    i = _level_index(variable, problem.layout)
    return ("",) if i is None else tuple(problem.labels[problem.layout.levels[i].name])


def _real_positions(problem: AnyProblem, targets: tuple[Target, ...]) -> np.ndarray:
    found, start = [], 0
    for target, size in zip(targets, target_sizes(problem.layout, targets), strict=True):
        i = _level_index(target.variable, problem.layout)
        real = np.zeros(1, int) if i is None else problem.positions[problem.layout.levels[i].name]
        found.append(start + real)
        start += size
    return np.concatenate(found) if found else np.zeros(0, int)


def _source(variable: str, fit: AnyProblem, mechanism: AnyProblem) -> tuple[str | None, np.ndarray]:
    """Where the truth of a variable stands: the mechanism's padded positions, in the fit's padded order."""
    here = _level_index(variable, fit.layout)
    there = _level_index(variable, mechanism.layout)
    scalars = {p.name for p in mechanism.layout.parameters}
    scalars |= {f"new({v.name})" for v in mechanism.layout.levels}
    scalars |= {f"mean({t})" for v in mechanism.layout.levels for t in mechanism.layout.effect_names(v)}
    if here is None:
        return (variable if variable in scalars else None), np.zeros(1, int)
    level = fit.layout.levels[here]
    take = np.zeros(level.size, int)
    if there is None:
        return None, take
    name = mechanism.layout.levels[there].name
    where = dict(zip(mechanism.labels[name], mechanism.positions[name], strict=True))
    strange = [x for x in fit.labels[level.name] if x not in where]
    if strange:
        raise ValueError(
            f"{variable}: group {strange[0]!r} has no true value, the mechanism's groups are {', '.join(list(where)[:10])}; "
            "name the plate around the site as the column of the groups"
        )
    take[fit.positions[level.name]] = [where[x] for x in fit.labels[level.name]]
    return variable, take


# programs --------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def _simulation(layout: AnyLayout, truth: Truth, deviation: Deviation | None) -> Any:
    """Program: datasets of a chunk and the true value of every variable; the same for all methods."""
    simulate = own.own_simulator(layout, truth) if isinstance(layout, OwnLayout) else simulator(layout, truth, deviation)

    def chunk(seed: Array, cell: Array, reps: Array, design: Any, values: dict[str, Array]) -> tuple[Any, dict[str, Array]]:
        log.debug("tracing simulation")
        return jax.vmap(simulate, in_axes=(0, None, None))(data_key(seed, cell, reps), design, values)

    return jax.jit(chunk)


@lru_cache(maxsize=256)
def _estimation(
    layout: AnyLayout,
    settings: Settings,
    targets: tuple[Target, ...],
    interval: Interval,
    lanes: int,
    function: Any,
) -> Any:
    """Program: estimates of a chunk, ``lanes`` datasets in one vectorised step.

    Summaries of draws sort, which wants fewer datasets side by side than chains do: a few million numbers at a time.
    """
    if function is not None:
        steps = own.method_steps(function, sum(target_sizes(layout, targets)))
    elif isinstance(layout, OwnLayout):
        steps = own.own_steps(layout, settings, targets, interval)
    else:
        steps = estimation_steps(layout, settings, targets, interval)
    numbers = settings.chains * settings.draws * max(1, sum(target_sizes(layout, targets)))
    few = max(1, min(lanes, _NUMBERS // numbers))

    def chunk(keys: Array, outcomes: Any, truth: Array, design: Any) -> Estimates:
        log.debug("tracing estimation with %s", settings.sampler)

        def data(y: Any) -> Any:
            if isinstance(y, Rows):
                return y.onto(layout, design)
            return layout.with_outcome(design, y) if isinstance(layout, OwnLayout) else eqx.tree_at(lambda d: d.y, design, y)

        rows = (keys, outcomes, truth)
        state = jax.lax.map(lambda r: steps.first(r[0], data(r[1]), r[2]), rows, batch_size=min(lanes, len(keys)))
        if steps.second is None:
            return state
        finish = steps.second
        return jax.lax.map(lambda r: finish(r[0], r[1], data(r[2]), r[3]), (state, *rows), batch_size=min(few, len(keys)))

    return jax.jit(chunk)


MOST_PROGRAMS = 256
"""Compiled programs that are kept: each holds memory maps, of which a process may have 65,530 on Linux."""
_programs: dict[Any, Any] = {}
_locks: dict[Any, threading.Lock] = {}
_guard = threading.Lock()
compile_seconds: dict[str, float] = {}
"""Seconds spent tracing and compiling, by description; what `timings.json` reports."""


def compiled(function: Any, args: tuple[Any, ...], what: str, announce: Callable[[str], None] | None = None) -> Any:
    """The compiled program of a jitted function for arguments of these shapes; compiled once, announced, timed."""
    shapes = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(args))
    key = (function, jax.tree.structure(args), shapes, jax.config.jax_enable_x64)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        program = _programs.get(key)
        if program is None:
            if announce:
                announce(f"compiling {what}")
            started = time.perf_counter()
            program = function.lower(*args).compile()
            compile_seconds[what] = compile_seconds.get(what, 0.0) + time.perf_counter() - started
            with _guard:
                _programs[key] = program
                if len(_programs) > MOST_PROGRAMS:
                    del _programs[next(iter(_programs))]
    return program


def lanes_of(study: Study, cell: Cell, name: str) -> tuple[int, int]:
    """Datasets in one vectorised step, and replicates a file, of a method on a cell.

    ``auto`` is a pure function of the sampler, the device kind and the model's size.
    """
    fit = fit_of(study, cell, name)
    layout = fit.problem.layout
    size = sum(target_sizes(layout, fit.targets)) + layout.obs
    if study.methods[name].kind in ("estimator", "host"):
        dim = 1
    else:
        dim = layout.model.dim if isinstance(layout, OwnLayout) else dimension(layout, fit.settings)
    kind = jax.devices()[0].platform
    auto = 1 if study.methods[name].kind == "host" else auto_lanes(fit.settings.sampler, kind, dim, size)
    lanes = auto if study.lanes == "auto" else int(study.lanes)
    kind_of_work = "exact" if study.methods[name].estimator is not None else fit.settings.sampler
    chunk = _AUTO_CHUNK.get(kind_of_work, 64) if study.chunk == "auto" else int(study.chunk)
    return lanes, -(-chunk // lanes) * lanes


def trace(study: Study, cell: Cell, name: str) -> None:
    """Trace simulation and estimation of a method on shapes alone."""
    mechanism, fit = mechanism_of(study, cell), fit_of(study, cell, name)
    with jax.enable_x64(True):
        program, args = _simulation_call(study, mechanism, np.arange(1))
        jax.eval_shape(program, *args)
    if not fit.targets or study.methods[name].kind == "host":
        return
    with jax.enable_x64(study.precision == "float64"):
        dtype = jnp.result_type(float)
        keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
        rows: Any = jax.ShapeDtypeStruct((1, fit.problem.layout.obs), dtype)
        rows = Rows(rows, rows, rows) if mechanism.deviation is not None and mechanism.deviation.changes_rows else rows
        truth = jax.ShapeDtypeStruct((1, sum(target_sizes(fit.problem.layout, fit.targets))), dtype)
        program = _estimation(fit.problem.layout, fit.settings, fit.targets, fit.interval, 1, fit.function)
        jax.eval_shape(program, keys, rows, truth, as_jax(fit.problem.data))


# a chunk ---------------------------------------------------------------------------------------------------------------


def simulate_chunk(
    study: Study, mechanism: Mechanism, reps: np.ndarray, announce: Callable[[str], None] | None = None
) -> tuple[Any, dict[str, np.ndarray]]:
    """Outcomes (replicate, obs), or `Rows` of that shape, and the true value of every variable (replicate, ...), in float64."""
    with jax.enable_x64(True):
        program, args = _simulation_call(study, mechanism, reps)
        outcomes, true = compiled(program, args, "the simulation", announce)(*args)
    return outcomes, {name: np.asarray(value) for name, value in true.items()}


def _simulation_call(study: Study, mechanism: Mechanism, reps: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
    program = _simulation(mechanism.problem.layout, mechanism.truth, mechanism.deviation)
    args = (
        jnp.asarray(study.seed, jnp.uint32),
        jnp.asarray(mechanism.key, jnp.uint32),
        jnp.asarray(reps, jnp.uint32),
        as_jax(mechanism.problem.data),
        {k: jnp.asarray(v) for k, v in mechanism.values.items()},
    )
    return program, args


def truth_of(fit: Fit, true: Mapping[str, np.ndarray]) -> np.ndarray:
    """True value of every (padded) target, shape (replicate, target); NaN where the mechanism has none."""
    rows = len(next(iter(true.values())))
    parts = []
    for target, (source, take) in zip(fit.targets, fit.sources, strict=True):
        if source is None or source not in true:
            parts.append(np.full((rows, len(take)), np.nan))
            continue
        value = true[source].reshape(rows, -1)[:, take]
        if target.threshold is not None:
            passed = value > target.threshold if target.above else value < target.threshold
            value = np.where(np.isnan(value), np.nan, passed.astype(float))
        parts.append(value)
    return np.concatenate(parts, 1)


def run_chunk(
    resolved: Mapping[str, Any],
    cell: str,
    method: str,
    index: int,
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    announce: Callable[[str], None] | None = None,
) -> pa.Table:
    """Estimates of one chunk of replicates of a cell by a method.

    Parameters
    ----------
    resolved : mapping
        `Study.resolved`.
    cell : str
        The cell's hash.
    method : str
    index : int
        Replicates ``index * chunk`` up to the next boundary; always computed full, whatever the number of replications.
    functions : mapping, optional
        Python functions of the study.
    announce : callable, optional
        Told what is being compiled.

    Returns
    -------
    pyarrow.Table
        The columns of the estimates table, replicate by replicate.
    """
    study = study_of(resolved, functions)
    place = next(c for c in study.cells() if c.hash == cell)
    mechanism, fit = mechanism_of(study, place), fit_of(study, place, method)
    lanes, chunk = lanes_of(study, place, method)
    reps = np.arange(index * chunk, (index + 1) * chunk)
    if not fit.targets:
        return table_of(study, place, method, fit, reps, None, None)
    outcomes, true = simulate_chunk(study, mechanism, reps, announce)
    truth = truth_of(fit, true)
    if study.methods[method].kind == "host":
        return _by_host(study, place, method, fit, reps, outcomes, truth)
    estimates = _estimate(study, fit, method, mechanism.key, reps, outcomes, truth, lanes, announce)
    found = jax.tree.map(np.asarray, estimates)
    found = _again(study, fit, method, mechanism.key, reps, outcomes, truth, found, announce)
    if isinstance(outcomes, Rows) and isinstance(fit.problem, Problem):
        found = without_empty(fit.problem, fit.targets, np.asarray(outcomes.weight) > 0, found)
    return table_of(study, place, method, fit, reps, found, truth)


def _by_host(study: Study, cell: Cell, method: str, fit: Fit, reps: np.ndarray, outcomes: Any, truth: np.ndarray) -> pa.Table:
    """Estimates of a chunk by a user's function in another process."""
    mechanism, function = mechanism_of(study, cell), fit.function
    with jax.enable_x64(True):
        keys = method_key(study.seed, mechanism.key, method, jnp.asarray(reps, jnp.uint32))
        words = np.asarray(jax.random.key_data(keys)).astype(object)
    seeds = [int(a) << 32 | int(b) for a, b in words]
    tables = list(frames(mechanism.problem, mechanism.frame, outcomes))
    assert function is not None
    try:
        numbers, messages = host.estimate_all(function, fit.names, seeds, tables)
    except ValueError as error:
        raise ValueError(f"methods.{method}: {error}") from None
    return table_of(study, cell, method, fit, reps, estimates_from(fit, numbers), truth, messages)


def estimates_from(fit: Fit, numbers: np.ndarray) -> Estimates:
    """Estimates from numbers (replicate, target, 4): estimate, se, lower, upper; missing where there is no finite estimate."""
    shape = (len(numbers), sum(target_sizes(fit.problem.layout, fit.targets)))
    wide: Any = np.full((*shape, 4), np.nan)
    wide[:, fit.positions] = numbers
    none: Any = np.full(shape, np.nan)
    one: Any = np.ones(len(numbers), np.int32)
    status: Any = np.where(np.isfinite(wide[..., 0]), 0, STATUS.index("nonfinite")).astype(np.int32)
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
        outcomes = jax.tree.map(lambda a: _fit_rows(a, fit.problem.layout.obs), outcomes)
    with jax.enable_x64(study.precision == "float64"):
        dtype = jnp.result_type(float)
        program = _estimation(fit.problem.layout, fit.settings, fit.targets, fit.interval, lanes, fit.function)
        args = (keys, jax.tree.map(lambda a: a.astype(dtype), outcomes), jnp.asarray(truth, dtype), as_jax(fit.problem.data))
        return compiled(program, args, f"{method} ({fit.settings.sampler})", announce)(*args)


def _fit_rows(outcomes: Array, obs: int) -> Array:
    """The mechanism's padded rows as the method pads them; real rows come first in both."""
    have = outcomes.shape[1]
    return outcomes[:, :obs] if have >= obs else jnp.pad(outcomes, ((0, 0), (0, obs - have)))


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
) -> Estimates:
    """Second tries: exact fits with heavy weights are refined, then go to NUTS; under `retry-with-escalation` every fit that is not ok.

    Datasets are retried in groups of eight, so that one program serves any number of them.
    """
    steps = _escalations(study, fit)
    for attempt, settings in enumerate(steps, 1):
        status = found.status[:, fit.positions]
        bad = status != 0 if study.failures == "retry-with-escalation" else status == STATUS.index("heavy_weights")
        rows = np.flatnonzero(bad.any(1))
        harder = replace(fit, settings=settings)
        for start in range(0, len(rows), 8):
            some = rows[start : start + 8]
            eight = np.resize(some, 8)
            data = jax.tree.map(lambda a, eight=eight: a[eight], outcomes)
            new = _estimate(study, harder, method, cell_key, reps[eight], data, truth[eight], 8, announce, attempt)
            found = jax.tree.map(lambda old, fresh, some=some: _replaced(old, np.asarray(fresh), some), found, new)
            found.n_try[some] = attempt + 1
    return found


def _replaced(old: np.ndarray, fresh: np.ndarray, rows: np.ndarray) -> np.ndarray:
    old = np.array(old)
    old[rows] = fresh[: len(rows)]
    return old


def _escalations(study: Study, fit: Fit) -> list[Settings]:
    """Settings of each further try: more nodes, another engine, then more warm-up and a higher target acceptance."""
    if fit.function is not None:
        return []
    chains = replace(fit.settings, sampler="nuts")
    harder = [
        replace(chains, tune=chains.tune * 2**k, draws=chains.draws * 2, target_accept=max(chains.target_accept, a))
        for k, a in ((1, 0.95), (2, 0.99))
    ][:_ESCALATIONS]
    if fit.settings.sampler == "exact":
        finer = replace(fit.settings, accuracy="refined")
        return [finer, chains, *harder] if study.failures == "retry-with-escalation" else [finer, chains]
    return harder if study.failures == "retry-with-escalation" else []


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

    def words(values: list[str], each: np.ndarray) -> pa.DictionaryArray:
        unique = list(dict.fromkeys(values))
        codes = np.array([unique.index(v) for v in values], np.int32)
        return pa.DictionaryArray.from_arrays(pa.array(codes[each] if len(codes) else codes), pa.array(unique, pa.string()))

    within, ones = np.tile(np.arange(width), rows), np.zeros(rows * width, np.int32)
    columns: dict[str, Any] = {"rep": np.repeat(reps[:rows], width).astype(np.int64)}
    for name, value in cell.factors.items():
        text = isinstance(value, str)
        columns[name] = words([str(value)], ones) if text else np.full(rows * width, float(value))
    columns["method"] = words([method], ones)
    columns["estimand"] = words([name for name, _ in labels], within)
    columns["group"] = words([label for _, label in labels], within)

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
        columns["message"] = words(told, np.arange(len(told)))
    return pa.table(columns)
