"""How cost grows: students a class, observations of a three-level model, replicates of eight schools.

Every point runs in a process of its own (``python -m benchmarks.growth JOB SIZE``), with its own peak memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.mapped import cores, peak_memory
from benchmarks.tables import show, table

ROOT = Path(__file__).resolve().parent.parent
STUDENTS = (10, 100, 1_000, 10_000)
OBSERVATIONS = (1_000, 10_000, 100_000, 1_000_000)
REPLICATES = (10_000, 100_000, 1_000_000)
PRIORS = {
    "Intercept": "normal(0, 10)",
    "sd_school": "half_normal(5)",
    "sd_school:classroom": "half_normal(5)",
    "sigma": "half_normal(5)",
}
MOST_MEMORY = 14.0
"""A point that takes more, GB, is stopped: the machine belongs to others too."""


def _pupils(schools: int, classrooms: int, students: int) -> Any:
    """A balanced three-level table."""
    import pandas as pd

    rng = np.random.default_rng(1)
    mean = rng.normal(rng.normal(0.0, 1.0, (schools, 1)), 0.7, (schools, classrooms))
    classroom = np.arange(schools * classrooms)
    return pd.DataFrame(
        {
            "school": np.repeat(classroom // classrooms, students),
            "classroom": np.repeat(classroom % classrooms, students),
            "y": rng.normal(np.repeat(mean.reshape(-1), students), 2.0),
        }
    )


def _pupils_model() -> Any:
    from hiermodels.models.spec import Model

    return Model("y ~ 1 + (1 | school/classroom)", priors=PRIORS)


def gradient(students: int) -> dict[str, float]:
    """Least microseconds a gradient of the marginal density, 20 x 4 classes, and seconds to prepare the data."""
    import jax
    import jax.numpy as jnp

    from hiermodels.models.data import bind
    from hiermodels.models.factorise import factorise
    from hiermodels.models.problem import as_jax

    problem = bind(_pupils_model(), _pupils(20, 4, students))
    model = factorise(problem.layout)
    with jax.enable_x64(True):
        data = as_jax(problem.data)
        prepare = jax.jit(model.prepare)
        jax.block_until_ready(prepare(data))
        start = time.perf_counter()
        stats = jax.block_until_ready(prepare(data))
        prepared = time.perf_counter() - start
        slope = jax.grad(model.log_density)

        @jax.jit
        def many(u: Any, stats: Any) -> Any:
            return jax.lax.fori_loop(0, 2_000, lambda i, u: u + 1e-12 * slope(u, stats), u)

        u = model.start(stats)
        jax.block_until_ready(many(u, stats))
        times = []
        for _ in range(9):
            start = time.perf_counter()
            jax.block_until_ready(many(u, stats))
            times.append((time.perf_counter() - start) / 2_000 * 1e6)
    assert u.dtype == jnp.float64
    return {"microseconds": min(times), "prepare": prepared, "memory": peak_memory()}


def fit(observations: int) -> dict[str, Any]:
    """One fit by `hiermodels.fit`: ten students a class, ten classes a school, group effects kept."""
    import hiermodels as hm

    frame = _pupils(observations // 100, 10, 10)
    start = time.perf_counter()
    found = hm.fit(_pupils_model(), frame, draws=500, tune=500, progress=False)
    return {
        "groups": observations // 10,
        "seconds": time.perf_counter() - start,
        "sample": found.seconds["sample"],
        "status": found.status,
        "memory": peak_memory(),
    }


def replicates(count: int) -> dict[str, float]:
    """Simulate and fit that many eight-schools datasets with the exact engine; only sums are kept."""
    import equinox as eqx
    import jax
    import jax.numpy as jnp

    from benchmarks.workloads import W1
    from hiermodels.inference.samplers import Settings, auto_lanes, dimension, estimator, target_sizes
    from hiermodels.inference.summaries import Interval, Target
    from hiermodels.models.problem import as_jax

    problem = W1.problem()
    settings = Settings(sampler="exact", accuracy="study")
    targets = tuple(Target(v) for v in W1.variables)
    estimate = estimator(problem.layout, settings, targets, Interval())
    size = sum(target_sizes(problem.layout, targets)) + problem.layout.obs
    lanes = auto_lanes("exact", jax.devices()[0].platform, dimension(problem.layout, settings), size)
    chunk = -(-2_000 // lanes) * lanes
    with jax.enable_x64(True):
        design = as_jax(problem.data)

    def one(key: Any) -> Any:
        theta_key, y_key, fit_key = jax.random.split(key, 3)
        theta = 8.0 + 10.0 * jax.random.normal(theta_key, (8,))
        y = theta + design.weight**-0.5 * jax.random.normal(y_key, (8,))
        truth = jnp.concatenate([jnp.array([8.0, 10.0]), theta])
        found = estimate(fit_key, eqx.tree_at(lambda d: d.y, design, y), truth)
        inside = (found.lower <= truth) & (truth <= found.upper)
        return jnp.stack([found.estimate - truth, inside, found.status > 0])

    @jax.jit
    def program(number: Any) -> Any:
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), number), chunk)
        return jax.lax.map(one, keys, batch_size=lanes).sum(0)

    def call(number: int) -> np.ndarray:
        with jax.enable_x64(True):
            return np.asarray(program(np.uint32(number)))

    start = time.perf_counter()
    call(0)
    compiled, calls = time.perf_counter() - start, -(-count // chunk)
    total = np.zeros((3, 10))
    start = time.perf_counter()
    with ThreadPoolExecutor(cores()) as executor:
        for sums in executor.map(call, range(calls)):
            total += sums
    seconds = time.perf_counter() - start
    mean = total / (calls * chunk)
    return {
        "seconds": seconds,
        "rate": calls * chunk / seconds,
        "compile": compiled,
        "coverage_mu": float(mean[1, 0]),
        "coverage_theta": float(mean[1, 2:].mean()),
        "flagged": float(mean[2].max()),
        "memory": peak_memory(),
    }


JOBS: dict[str, Callable[[int], dict[str, Any]]] = {
    "gradient": gradient,
    "fit": fit,
    "replicates": replicates,
}


def point(job: str, size: int, limit: float) -> dict[str, Any]:
    """Run one job in a process of its own; stopped past the limit in seconds or memory."""
    command = [sys.executable, "-m", "benchmarks.growth", job, str(size)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    start, why = time.perf_counter(), ""
    while process.poll() is None and not why:
        time.sleep(0.2)
        if time.perf_counter() - start > limit:
            why = f"stopped after {limit:.0f} s"
        if _resident(process.pid) > MOST_MEMORY:
            why = f"stopped above {MOST_MEMORY:.0f} GB"
    if why:
        process.kill()
    out, err = process.communicate()
    if not why and process.returncode == 0:
        return json.loads(out.splitlines()[-1])
    lines = [line.strip() for line in err.splitlines() if line.strip() and not line.startswith("---")]
    return {"error": (why or (lines or ["no message"])[-1])[:200]}


def _resident(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 2**20
    except (OSError, StopIteration):
        return 0.0


def growth(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """All three curves."""
    largest = options.largest or (100_000 if options.quick else 10**9)
    sizes = {"gradient": STUDENTS, "fit": OBSERVATIONS, "replicates": REPLICATES}
    head, found = machine.describe(), {}
    for job, all_sizes in sizes.items():
        for size in all_sizes:
            if size <= largest:
                found[job, size] = point(job, size, options.limit)
                print(job, size, found[job, size], file=sys.stderr, flush=True)
    return _section(head, found), {f"{job} {size}": v for (job, size), v in found.items()}


def _rows(found: dict[tuple[str, int], dict[str, Any]], job: str, keys: tuple[str, ...]) -> list[list[str]]:
    rows = []
    for (name, size), r in found.items():
        if name == job:
            cells = (
                [r["error"], *[""] * (len(keys) - 1)]
                if "error" in r
                else [r[k] if isinstance(r[k], str) else show(r[k]) for k in keys]
            )
            rows.append([f"{size:,}", *cells])
    return rows


def _section(head: list[str], found: dict[tuple[str, int], dict[str, Any]]) -> str:
    from datetime import date

    keys = {
        "gradient": ("microseconds", "prepare", "memory"),
        "fit": ("groups", "seconds", "sample", "memory", "status"),
        "replicates": ("seconds", "rate", "compile", "memory", "coverage_mu", "coverage_theta", "flagged"),
    }
    heads = {
        "gradient": (
            "students a class",
            "microseconds a gradient",
            "seconds to reduce the data",
            "peak memory, GB",
        ),
        "fit": ("observations", "finest groups", "seconds", "of which sampling", "peak memory, GB", "status"),
        "replicates": (
            "datasets",
            "seconds",
            "datasets/s",
            "seconds to compile",
            "peak memory, GB",
            "coverage of mu",
            "of theta",
            "share flagged",
        ),
    }
    titles = {
        "gradient": "Students a class: 20 schools x 4 classes, one thread",
        "fit": "Observations: `hm.fit`, three levels, 4 x (500 + 500), all group effects drawn and kept",
        "replicates": "Replicates: eight schools (W1) simulated and fitted exactly, `study` accuracy",
    }
    parts = [f"## {date.today().isoformat()}: growth", "\n".join(head)]
    for job in titles:
        parts += [f"### {titles[job]}", table(heads[job], _rows(found, job, keys[job]))]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]](int(sys.argv[2]))))
