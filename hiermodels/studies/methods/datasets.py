"""The datasets of a chunk: simulated in blocks, the same for all methods, and as a method's program takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.models.canonical import canonical
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.streams import word, words
from hiermodels.studies.config import Study
from hiermodels.studies.mechanisms.predictors import draw, redesign
from hiermodels.studies.mechanisms.rows import Rows
from hiermodels.studies.mechanisms.simulate import data_key
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.programs import compiled, simulation

__all__ = ["redrawn_columns", "rows_of", "simulate_chunk", "simulation_call"]


def simulate_chunk(
    study: Study, mechanism: Mechanism, reps: np.ndarray, announce: Callable[[str], None] | None = None
) -> tuple[Any, dict[str, np.ndarray]]:
    """Outcomes (replicate, obs), or `Rows` of that shape, and the true value of every variable (replicate, ...), in
    float64.

    Blocks of one size, whatever is asked for: all methods share one program, and a dataset has the same bits in every
    chunk.
    """
    size, parts = _block(mechanism.problem.layout.obs), []
    with jax.enable_x64(True):
        for start in range(0, len(reps), size):
            some = np.minimum(
                np.arange(start, start + size), len(reps) - 1
            )  # the last block is filled up with the last replicate
            program, args = simulation_call(study, mechanism, reps[some])
            parts.append(
                jax.tree.map(np.asarray, compiled(program, args, "the simulation", announce, small=True)(*args))
            )
    outcomes, true = jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(reps)], *parts)
    problem = mechanism.problem
    return outcomes, canonical(problem.layout).restored(true) if isinstance(problem, Problem) else true


def redrawn_columns(study: Study, mechanism: Mechanism, reps: np.ndarray) -> dict[str, np.ndarray]:
    """Predictors that are redrawn with each dataset, (replicate, row) by name: the draws that `simulate_chunk` uses."""
    size = _block(mechanism.problem.layout.obs)
    blocks = [
        np.minimum(np.arange(s, s + size), len(reps) - 1) for s in range(0, len(reps) if mechanism.redrawn else 0, size)
    ]
    parts = [_redrawn(study, mechanism, reps[some]) for some in blocks]
    return {law.name: np.concatenate([part[law.name] for part in parts])[: len(reps)] for law in mechanism.redrawn}


def _redrawn(study: Study, mechanism: Mechanism, reps: np.ndarray) -> dict[str, np.ndarray]:
    if not mechanism.redrawn:
        return {}
    with jax.enable_x64(True):
        return draw(mechanism.redrawn, data_key(study.seed, mechanism.key, jnp.asarray(reps, jnp.uint32)))


def rows_of(mechanism: Mechanism, problem: Any, outcomes: Any, columns: Mapping[str, np.ndarray]) -> Any:
    """Simulated outcomes as a program of a method takes them: on its padded rows, with the design of each dataset
    where it differs.
    """
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
    """The program that simulates, and the true values that are its arguments: in canonical names where there is a
    formula.
    """
    problem, truth, deviation, values = mechanism.problem, mechanism.truth, mechanism.deviation, mechanism.values
    if not isinstance(problem, Problem):
        return simulation(problem.layout, truth, deviation), values
    names = canonical(problem.layout)
    deviation = None if deviation is None else deviation.renamed(names.group)
    return simulation(names.layout, truth.renamed(names.name), deviation), names.names(values)


def simulation_call(study: Study, mechanism: Mechanism, reps: np.ndarray) -> tuple[Any, tuple[Any, ...]]:
    """The program that simulates these replicates, and its arguments."""
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
    """Words of the streams of a mechanism with a formula, of the user's names under the canonical ones that its
    program knows.
    """
    if not isinstance(mechanism.problem, Problem):
        return {}
    names = canonical(mechanism.problem.layout)
    return {name: word(names.restore(name)) for name in words(names.layout)}


def _fit_rows(outcomes: np.ndarray, obs: int) -> np.ndarray:
    """The mechanism's padded rows as the method pads them; real rows come first in both."""
    have = outcomes.shape[1]
    return outcomes[:, :obs] if have >= obs else np.pad(outcomes, ((0, 0), (0, obs - have)))
