"""Contenders that run in JAX: one dataset's fit under ``vmap``, a chunk a call, a thread a core."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workloads import Workload

CHAINS, TUNE, DRAWS = 4, 500, 500
CLEARLY, LONG = 0.75, 10
"""A size is clearly slower with less than this share of the best rate, too long where one call takes so many times the
seconds asked for.
"""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Mapped:
    """One dataset's fit, mapped over datasets.

    Subclasses define ``build()``, which returns ``one(key, y) -> dict of arrays``, and ``finish(results)``,
    which turns the stacked results of the pool into ``draws`` (dataset, chain, draw, parameter) and
    ``divergences`` (dataset,), or into ``mean``, ``sd`` and ``flagged`` where there are no chains.

    Attributes
    ----------
    chunks : tuple of int
        Datasets a call that a sweep tries, ascending.
    chunk : int
        The size in use.
    """

    chunks: tuple[int, ...] = (4, 10, 20)
    chunk: int = 10
    swept = True

    def __init__(self, workload: Workload, pool: int) -> None:
        self.workload, self.y, self.threads = workload, workload.outcomes(pool), cores()
        self.kept: dict[int, dict[str, np.ndarray]] = {}

    def build(self) -> Any:
        raise NotImplementedError

    def finish(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def first(self) -> None:
        """Build, compile and fit the first chunk."""
        import jax

        with jax.enable_x64(True):
            one = self.build()

        def program(seed: Any, number: Any, ys: Any) -> Any:
            key = jax.random.fold_in(jax.random.key(seed), number)
            return jax.vmap(one)(jax.random.split(key, ys.shape[0]), ys)

        self.program = jax.jit(program)
        self._call(0, 0, keep=False)

    def _call(self, seed: int, number: int, keep: bool) -> None:
        import jax

        index = (number * self.chunk + np.arange(self.chunk)) % len(self.y)
        with jax.enable_x64(True):
            out = {k: np.asarray(v) for k, v in self.program(np.uint32(seed), np.uint32(number), self.y[index]).items()}
        if keep:
            for place, i in enumerate(index):
                self.kept.setdefault(int(i), {k: v[place] for k, v in out.items()})

    def sweep(self, seconds: float, chunks: tuple[int, ...] | None = None) -> dict[int, float]:
        """Fits a second at each size, ascending till clearly slower or long; those not clearly slower twice more, in
        turns: medians.

        The best stays in use.
        """
        passes: dict[int, list[float]] = {}
        for chunk in sorted(chunks or self.chunks):
            best = max((p[0] for p in passes.values()), default=math.inf)
            if chunk * self.threads / best > LONG * seconds:
                break
            self.chunk = chunk
            self._call(0, 0, keep=False)
            start = time.perf_counter()
            self._call(1, 0, keep=False)
            passes[chunk] = [self._rate(chunk, chunk * self.threads / (time.perf_counter() - start) * seconds)]
            if passes[chunk][0] < CLEARLY * max(p[0] for p in passes.values()):
                break
        best = max(p[0] for p in passes.values())
        for chunk in [c for c, p in passes.items() if p[0] >= CLEARLY * best] * 2:
            passes[chunk].append(self._rate(chunk, passes[chunk][0] * seconds))
        rates = {chunk: statistics.median(p) for chunk, p in passes.items()}
        self.chunk = max(rates, key=lambda c: rates[c])
        forget_peak()
        return rates

    def _rate(self, chunk: int, fits: float) -> float:
        """Fits a second at a size that has been compiled."""
        self.chunk = chunk
        done, took = self.timed(int(fits), 2, keep=False, whole=False)
        return done / took

    def timed(self, fits: int, seed: int, keep: bool, whole: bool = True) -> tuple[int, float]:
        """Fit at least ``fits`` datasets, and the whole pool unless told otherwise, on all cores."""
        fits = max(fits, len(self.y) if whole else 1)
        count = -(-fits // (self.chunk * self.threads)) * self.threads
        once = -(-len(self.y) // self.chunk)
        start = time.perf_counter()
        with ThreadPoolExecutor(self.threads) as executor:
            list(executor.map(lambda k: self._call(seed, k, keep and k < once), range(count)))
        return count * self.chunk, time.perf_counter() - start

    def results(self) -> dict[str, np.ndarray]:
        """What was kept, in the order of the pool, in parameters that can be compared."""
        rows = [self.kept[i] for i in range(len(self.y))]
        return self.finish({k: np.stack([r[k] for r in rows]) for k in rows[0]})

    def memory(self) -> float:
        """Peak resident memory so far, GB."""
        return peak_memory()

    def close(self) -> None:
        """Nothing to stop."""


def peak_memory() -> float:
    """Peak resident memory of this process since `forget_peak`, GB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def forget_peak() -> None:
    """Count the peak from now on (Linux), so that a sweep's widest call is not charged to the size in use."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def recovered(workload: Workload, y: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Exact draws of everything beside draws of the hyperparameters: (dataset, chain, draw, parameter)."""
    import equinox as eqx
    import jax

    from hiermodels.models.factorise import factorise
    from hiermodels.models.problem import as_jax

    problem = workload.problem()
    model = factorise(problem.layout)
    with jax.enable_x64(True):
        design = as_jax(problem.data)

        @jax.jit
        def one(key: Any, y: Any, u: Any) -> Any:
            stats = model.prepare(eqx.tree_at(lambda d: d.y, design, y))
            keys = jax.random.split(key, u.shape[:2])
            return jax.vmap(jax.vmap(lambda k, x: model.draw(k, x, stats)))(keys, u)

        rows = [workload.parameters(one(jax.random.key(i), *row)) for i, row in enumerate(zip(y, u, strict=True))]
    return np.stack(rows)
