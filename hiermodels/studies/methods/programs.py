"""Compiled programs of a study: one simulates a chunk's datasets, one maps a whole fit over them, a lane at a time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
from jax import Array

from hiermodels._forks import refuse_fork
from hiermodels.inference.draws import Estimates
from hiermodels.inference.naming import canonical_settings, canonical_targets
from hiermodels.inference.samplers import Settings, Steps, estimation_steps, target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.canonical import canonical
from hiermodels.models.sites import TRACING
from hiermodels.studies.machine import cores, memory_maps
from hiermodels.studies.mechanisms import own
from hiermodels.studies.mechanisms.deviant import Deviation
from hiermodels.studies.mechanisms.own import OwnLayout
from hiermodels.studies.mechanisms.rows import Rows, redesigned
from hiermodels.studies.mechanisms.simulate import Truth, data_key, simulator
from hiermodels.studies.methods import own_functions
from hiermodels.studies.methods.fits import AnyLayout

__all__ = ["compile_seconds", "compiled", "dataset", "estimation", "simulation", "steps_of"]

log = logging.getLogger("hiermodels.studies")

_NUMBERS = 1 << 20
"""Draws of all targets that are sorted and summarised side by side."""


@lru_cache(maxsize=256)
def simulation(layout: AnyLayout, truth: Truth, deviation: Deviation | None) -> Any:
    """Program: datasets of a chunk and the true value of every variable; the same for all methods."""
    simulate = (
        own.own_simulator(layout, truth) if isinstance(layout, OwnLayout) else simulator(layout, truth, deviation)
    )

    def chunk(
        seed: Array,
        cell: Array,
        reps: Array,
        design: Any,
        values: dict[str, Array],
        words: dict[str, Array],
        changes: dict[str, Array],
    ) -> tuple[Any, dict[str, Array]]:
        log.debug("tracing simulation")

        def one(key: Array, changed: dict[str, Array]) -> tuple[Any, dict[str, Array]]:
            return simulate(key, redesigned(design, changed), values, words)

        return jax.vmap(one)(data_key(seed, cell, reps), changes)

    return jax.jit(chunk)


def estimation(
    layout: AnyLayout,
    settings: Settings,
    targets: tuple[Target, ...],
    interval: Interval,
    lanes: int,
    function: Any,
) -> Any:
    """`_estimation` in canonical names: estimates are told apart by their places among the targets."""
    if isinstance(layout, OwnLayout):
        return _estimation(layout, settings, targets, interval, lanes, function)
    names = canonical(layout)
    settings, targets = canonical_settings(names, settings), canonical_targets(names, targets)
    return _estimation(names.layout, settings, targets, interval, lanes, function)


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
        steps = own_functions.method_steps(function, sum(target_sizes(layout, targets)))
    else:
        steps = steps_of(layout, settings, targets, interval)
    numbers = settings.chains * settings.draws * max(1, sum(target_sizes(layout, targets)))
    few = max(1, min(lanes, _NUMBERS // numbers))

    def chunk(keys: Array, outcomes: Any, truth: Array, design: Any) -> Estimates:
        log.debug("tracing estimation with %s", settings.sampler)

        def data(y: Any) -> Any:
            return dataset(layout, design, y)

        rows = (keys, outcomes, truth)
        state = jax.lax.map(lambda r: steps.first(r[0], data(r[1]), r[2]), rows, batch_size=min(lanes, len(keys)))
        if steps.second is None:
            return state
        finish = steps.second
        return jax.lax.map(
            lambda r: finish(r[0], r[1], data(r[2]), r[3]), (state, *rows), batch_size=min(few, len(keys))
        )

    return jax.jit(chunk)


def steps_of(layout: AnyLayout, settings: Settings, targets: tuple[Target, ...], interval: Interval) -> Steps:
    """Estimation of one dataset by a sampler, of a declared model or a NumPyro function."""
    make = own_functions.own_steps if isinstance(layout, OwnLayout) else estimation_steps
    return make(layout, settings, targets, interval)


def dataset(layout: AnyLayout, design: Any, y: Any) -> Any:
    """The arrays of a design with one simulated outcome, an array or `Rows`."""
    if isinstance(y, Rows):
        return y.onto(layout, design)
    return layout.with_outcome(design, y) if isinstance(layout, OwnLayout) else eqx.tree_at(lambda d: d.y, design, y)


MOST_PROGRAMS, MOST_MAPS, LEAST_PROGRAMS = 256, 32_000, 16
"""Compiled programs that are kept; memory maps of a process from which on fewer are: Linux allows 65,530, XLA crashes
beyond; how many
stay even then, so that a study does not compile again and again where something else holds the maps."""
_programs: dict[Any, Any] = {}
_locks: dict[Any, threading.Lock] = {}
_guard = threading.Lock()
_compilers = threading.BoundedSemaphore(max(1, cores() // 2))
"""XLA keeps about two cores busy with one program: more side by side would only delay the first."""
compile_seconds: dict[str, float] = {}
"""Seconds spent tracing and compiling, by description; what `timings.json` reports."""


def compiled(
    function: Any,
    args: tuple[Any, ...],
    what: str,
    announce: Callable[[str], None] | None = None,
    *,
    small: bool = False,
) -> Any:
    """The compiled program of a jitted function for arguments of these shapes; compiled once, announced, timed.

    Large programs take turns, ``small`` ones do not wait for them.
    """
    refuse_fork("run")
    shapes = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(args))
    key = (function, jax.tree.structure(args), shapes, jax.config.jax_enable_x64)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        with _guard:
            program = _programs.pop(key, None)
            if program is not None:
                _programs[key] = program  # last used, last dropped
        if program is None:
            if announce:
                announce(f"compiling {what}")
            started = time.perf_counter()
            with TRACING:
                lowered = function.lower(*args)
            with contextlib.nullcontext() if small else _compilers:
                program = lowered.compile()
            compile_seconds[what] = compile_seconds.get(what, 0.0) + time.perf_counter() - started
            with _guard:
                _programs[key] = program
                _forget()
    return program


def _forget() -> None:
    """Drop the programs that were used longest ago while there are too many; those that threads are running live until
    they end.
    """
    while len(_programs) > MOST_PROGRAMS or (len(_programs) > LEAST_PROGRAMS and memory_maps() > MOST_MAPS):
        del _programs[next(iter(_programs))]
