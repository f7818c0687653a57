"""Compiled programs of single fits: one for each layout in canonical names, settings and shapes, kept in the
process.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from jax import Array

from hiermodels.inference import samplers
from hiermodels.inference.draws import Draws
from hiermodels.inference.naming import canonical_settings, in_own_words
from hiermodels.inference.samplers import Settings
from hiermodels.models.canonical import canonical
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.user import UserModel

__all__ = ["draw", "draw_user", "stage"]


def draw(layout: Layout, settings: Settings, key: Array, data: Data, progress: bool) -> tuple[Draws, dict[str, float]]:
    """Draws of one dataset, and the seconds that compiling and sampling took.

    Parameters
    ----------
    layout : Layout
    settings : Settings
    key : Array
        A typed key.
    data : Data
        JAX arrays, in the precision in force.
    progress : bool
        Say on standard error what takes more than a moment.

    Returns
    -------
    draws : Draws
        NumPy arrays, group axes padded.
    seconds : dict
        ``compile`` (next to nothing where the program was there already) and ``sample``.
    """
    names = canonical(layout)
    leaves, tree = jax.tree.flatten((key, data))
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    with stage("compiling", progress) as compiling, in_own_words(layout):
        program = _program(names.layout, canonical_settings(names, settings), _place(), shapes, tree)
    with stage("sampling", progress) as sampling:
        found = jax.block_until_ready(program(key, data))
    found = replace(found, values=names.restored(found.values))
    return jax.tree.map(np.asarray, found), {"compile": compiling[0], "sample": sampling[0]}


def draw_user(model: UserModel, settings: Settings, key: Array, progress: bool) -> tuple[Draws, dict[str, float]]:
    """As `draw`, of a NumPyro function that has met its data, on all its sites."""
    data = model.prepare(model.data)
    leaves, tree = jax.tree.flatten((key, data))
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    same = _Function((model.function, tuple(model.counts.items()), model.outcome), model)
    with stage("compiling", progress) as compiling:
        program = _user_program(same, settings, _place(), shapes, tree)
    with stage("sampling", progress) as sampling:
        found = jax.block_until_ready(program(key, data))
    return jax.tree.map(np.asarray, found), {"compile": compiling[0], "sample": sampling[0]}


@dataclass(frozen=True)
class _Function:
    """A user's model, equal to another where programs are: same function and counts, whatever the data."""

    key: tuple
    model: UserModel = field(compare=False)


@lru_cache(maxsize=16)
def _user_program(function: _Function, settings: Settings, place: str, shapes: tuple, tree: Any) -> Any:
    model = function.model

    def sample(key: Array, data: dict[str, Array]) -> Draws:
        return samplers.of(settings).draw(model, key, data)

    arguments = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes])
    return jax.jit(sample).lower(*arguments).compile()


def _place() -> str:
    return str(jax.config.jax_default_device or jax.default_backend())


@lru_cache(maxsize=64)
def _program(layout: Layout, settings: Settings, place: str, shapes: tuple, tree: Any) -> Any:
    """The compiled sampler of data of these shapes; ``place`` only tells devices apart."""
    arguments = jax.tree.unflatten(tree, [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes])
    return jax.jit(samplers.sampler(layout, settings)).lower(*arguments).compile()


@contextmanager
def stage(word: str, progress: bool) -> Iterator[list[float]]:
    """Time a stage; say what goes on where it takes more than half a second.

    Examples
    --------
    >>> with stage("waiting", progress=False) as seconds:
    ...     pass
    >>> seconds[0] < 0.5
    True
    """
    seconds = [0.0]
    said = threading.Event()

    def say() -> None:
        said.set()
        print(f"{word} ... ", end="", file=sys.stderr, flush=True)

    timer = threading.Timer(0.5, say)
    if progress:
        timer.start()
    start = time.perf_counter()
    try:
        yield seconds
    finally:
        timer.cancel()
        seconds[0] = time.perf_counter() - start
        if said.is_set():
            print(f"{seconds[0]:.1f} s", file=sys.stderr, flush=True)
