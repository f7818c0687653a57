"""From how many datasets on is a GPU faster than the CPU beside it?

Runs what a study runs (`hiermodels.inference.samplers.estimator`: draws are summarised on the device). On the
GPU all datasets go in one call; on the CPU in calls of ``auto`` lanes, a thread a core. Needs jax, numpyro,
equinox, pandas and numpy, nothing else; without a GPU it measures the CPU and says so.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.mapped import CHAINS, DRAWS, TUNE, cores
from benchmarks.tables import show, table
from benchmarks.workloads import WORKLOADS, Workload

SIZES = (1, 16, 256, 4096)
SAMPLERS = ("nuts", "exact")
LONG = 20.0
"""Seconds: a series stops after a point that took longer."""


class Program:
    """The fit of a study on one device."""

    def __init__(self, workload: Workload, sampler: str, device: Any) -> None:
        import equinox as eqx
        import jax

        from hiermodels.inference.samplers import Settings, auto_lanes, dimension, estimator, target_sizes
        from hiermodels.inference.summaries import Interval, Target
        from hiermodels.models.problem import as_jax

        problem, self.device = workload.problem(), device
        settings = Settings(sampler=sampler, draws=DRAWS, tune=TUNE, chains=CHAINS, accuracy="study")
        targets = tuple(Target(v) for v in workload.variables)
        size = sum(target_sizes(problem.layout, targets))
        estimate = estimator(problem.layout, settings, targets, Interval())
        self.lanes = auto_lanes(
            sampler, device.platform, dimension(problem.layout, settings), size + problem.layout.obs
        )
        with jax.enable_x64(True), jax.default_device(device):
            design = as_jax(problem.data)

        def many(seed: Any, ys: Any) -> Any:
            def one(key: Any, y: Any) -> Any:
                return estimate(key, eqx.tree_at(lambda d: d.y, design, y), np.full(size, np.nan))

            found = jax.vmap(one)(jax.random.split(jax.random.key(seed), ys.shape[0]), ys)
            return found.estimate, found.se, found.lower, found.upper

        self.jit = jax.jit(many)

    def call(self, seed: int, ys: np.ndarray) -> None:
        """Fit datasets in one call, results on the host."""
        import jax

        with jax.enable_x64(True), jax.default_device(self.device):
            jax.tree.map(np.asarray, self.jit(np.uint32(seed), ys))

    def seconds(self, ys: np.ndarray) -> tuple[float, float]:
        """Seconds for all datasets once compiled, and seconds of the first call."""
        if self.device.platform == "cpu":
            threads = cores()
            width = min(self.lanes, -(-len(ys) // threads))
            calls = [np.resize(ys[i : i + width], (width, ys.shape[1])) for i in range(0, len(ys), width)]
        else:
            threads, calls = 1, [ys]
        start = time.perf_counter()
        self.call(0, calls[0])
        first, times = time.perf_counter() - start, []
        for repeat in range(3):
            start = time.perf_counter()
            with ThreadPoolExecutor(threads) as executor:
                list(executor.map(self.call, range(len(calls)), calls))
            times.append(time.perf_counter() - start)
            if sum(times) > 2 and repeat:
                break
        return float(np.median(times)), first


def devices() -> list[Any]:
    """The CPU, and a GPU where there is one."""
    import jax

    found = [jax.devices("cpu")[0]]
    try:
        return [*found, jax.devices("gpu")[0]]
    except RuntimeError:
        return found


def crossing(cpu: dict[int, float], gpu: dict[int, float]) -> str:
    """Number of datasets at which the lines (log seconds on log datasets) cross; the CPU's is carried on."""
    if not cpu or not gpu:
        return ""
    last = max(cpu)
    carried = cpu | {n: cpu[last] * n / last for n in gpu if n > last}
    both = sorted(set(carried) & set(gpu))
    gap = [np.log(carried[n] / gpu[n]) for n in both]
    if gap[0] > 0:
        return f"{both[0]} or fewer"
    for (a, x), (b, y) in itertools.pairwise(zip(both, gap, strict=True)):
        if y > 0:
            return f"about {show(float(np.exp(np.interp(0.0, [x, y], np.log([a, b])))), 2)}"
    return f"above {both[-1]:,}"


def crossover(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """Sweep the number of datasets on both devices."""
    started, found = time.perf_counter(), {}
    both = devices()
    gpu = both[1].device_kind if len(both) > 1 else None
    head = machine.describe(gpu or "no GPU here: the CPU's column only")
    sizes = SIZES[:2] if options.quick else tuple(n for n in SIZES if not options.largest or n <= options.largest)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.workloads.split(","):
        y = WORKLOADS[name].outcomes(max(sizes))
        for sampler in [s for s in SAMPLERS if not options.contenders or s in options.contenders]:
            for device in both:
                here = found.setdefault((name, sampler, device.platform), {})
                program = Program(WORKLOADS[name], sampler, device)
                for n in sizes:
                    if time.perf_counter() - started > options.limit:
                        break
                    try:
                        here[n], first = program.seconds(y[:n])
                    except Exception as error:  # out of memory: what is measured stays
                        print(
                            name,
                            sampler,
                            device.platform,
                            n,
                            f"{type(error).__name__}: {error}"[:300],
                            flush=True,
                        )
                        break
                    print(
                        name,
                        sampler,
                        device.platform,
                        n,
                        f"{here[n]:.4f} s, first {first:.1f} s",
                        file=sys.stderr,
                        flush=True,
                    )
                    (options.out / "results.md").write_text(_section(head, found))
                    if here[n] > LONG:
                        break
    plain = {" ".join(k): v for k, v in found.items()}
    (options.out / "results.json").write_text(json.dumps(plain, indent=1))
    return _section(head, found), plain


def _section(head: list[str], found: dict[tuple[str, str, str], dict[int, float]]) -> str:
    rows, kinds = [], sorted({k[2] for k in found})
    other = next((k for k in kinds if k != "cpu"), None)
    for name, sampler in dict.fromkeys(k[:2] for k in found):
        cpu, gpu = found.get((name, sampler, "cpu"), {}), found.get((name, sampler, other or ""), {})
        for n in sorted({*cpu, *gpu}):
            cells = [show(n / t) if (t := times.get(n)) else "" for times in (cpu, gpu)]
            ratio = show(cpu[n] / gpu[n]) if n in cpu and n in gpu else ""
            rows.append([name, sampler, f"{n:,}", *cells, ratio])
        if gpu:
            rows.append([name, sampler, "**GPU overtakes at**", "", "", f"**{crossing(cpu, gpu)}**"])
    title = f"## {date.today().isoformat()}: datasets at which a GPU overtakes the CPU"
    heads = ("workload", "sampler", "datasets", "CPU, datasets/s", "GPU, datasets/s", "GPU over CPU")
    return "\n\n".join([title, "\n".join(head), table(heads, rows)]) + "\n"
