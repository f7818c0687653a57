"""The laboratory's own costs: importing, the first row, storing chunks, a power curve, a summary of millions of rows,
divergences.

Every job runs in a process of its own (``python -m benchmarks.laboratory JOB``).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.mapped import forget_peak, peak_memory
from benchmarks.tables import show, table
from hiermodels.inference.samplers import dimension
from hiermodels.studies.config import Study, config_names, read_config
from hiermodels.studies.methods.ready import fit_of
from hiermodels.studies.methods.tasks import run_chunk

ROOT = Path(__file__).resolve().parent.parent
ROWS = 10_000_000
TRIAL = {
    "mechanisms": {
        "formula": "score ~ 1 + treated + (1 | school/classroom)",
        "design": {"school": 20, "classroom": 3, "obs": 10, "predictors": {"treated": "half(school)"}},
        "truth": {"Intercept": 0, "treated": 0.4, "sd_school": 0.3, "sd_school:classroom": 0.2, "sigma": 1},
    },
    "estimands": ["treated"],
    "decisions": {"benefit": {"estimand": "treated", "excludes": 0}},
    "methods": {
        "partial": {
            "sampler": "exact",
            "priors": {
                "Intercept": "flat()",
                "treated": "flat()",
                "sd_school": "half_normal(1)",
                "sd_school:classroom": "half_normal(1)",
                "sigma": "half_normal(3)",
            },
        }
    },
    "performance": ["bias"],
    "replications": 2000,
    "failures": "complete-case",
    "seed": 1,
}
SCHOOLS = (6, 8, 10, 12, 16, 20, 24, 28, 32, 40)


def _python(code: str, **environment: str) -> float:
    """Seconds that a Python process takes."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code], check=True, cwd=ROOT, env=os.environ | environment, capture_output=True
    )
    return time.perf_counter() - start


def imports() -> dict[str, Any]:
    """Seconds to import this library and JAX, in turns, each beyond a bare interpreter; medians of nine."""
    rounds = [[_python(code) for code in ("pass", "import jax", "import hiermodels")] for _ in range(9)]
    bare, jax, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {"jax": jax - bare, "hiermodels": ours - bare, "ratio": (ours - bare) / (jax - bare)}


def first() -> dict[str, Any]:
    """Seconds from the start of the process to the first stored chunk of a NUTS method of ``quick``: empty cache, then
    warm.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for word in ("cold", "warm"):
            out = Path(name) / word
            command = [sys.executable, "-m", "hiermodels.cli", "run", "quick", "--out", str(out), "--quiet"]
            start = time.perf_counter()
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(Path(name) / "cache")}
            process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            while process.poll() is None and not any(out.glob("estimates/*/partial/*.parquet")):
                time.sleep(0.01)
            found[word] = time.perf_counter() - start
            process.wait()
    return found


def storing() -> dict[str, Any]:
    """Share of a study's time that goes into storing chunks: ten cells x 2,000 replicates by the exact engine, one
    worker.
    """
    import hiermodels as hm
    from hiermodels.studies.store import results

    spent, write = [0.0], results.write_chunk

    def timed(*arguments: Any, **named: Any) -> Path:
        start = time.perf_counter()
        try:
            return write(*arguments, **named)
        finally:
            spent[0] += time.perf_counter() - start

    results.write_chunk = timed
    results.Run.report = lambda run: run.path / "report.html"  # type: ignore[method-assign]
    study = {
        **TRIAL,
        "mechanisms": {**TRIAL["mechanisms"], "grid": {"treated": [0.1 * i for i in range(10)]}},  # type: ignore[dict-item]
    }
    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        run = hm.run(study, Path(name) / "run", workers=1, progress=False)
        seconds = time.perf_counter() - start
        chunks = len(list(run.path.rglob("estimates/**/*.parquet")))
    assert spent[0] > 0
    return {"seconds": seconds, "storing": spent[0], "chunks": chunks, "share": spent[0] / seconds}


def power() -> dict[str, Any]:
    """Ten numbers of schools x 2,000 replicates of a three-level trial with treated schools, compilation included."""
    from hiermodels.studies.plan.power_curves import power_curve

    start = time.perf_counter()
    curve = power_curve(TRIAL, "benefit", vary={"school": SCHOOLS}, replications=2000)
    seconds = time.perf_counter() - start
    rows = curve.table
    return {
        "seconds": seconds,
        "memory": peak_memory(),
        "least": float(rows["power"].min()),
        "most": float(rows["power"].max()),
        "fits": int(rows["n_sim"].sum()),
    }


def summary() -> dict[str, Any]:
    """Seconds and peak memory to read and summarise ten million rows of estimates: 20 cells x 2 methods x 5,000 x 50
    groups.
    """
    import pyarrow as pa

    from hiermodels.studies.score.scoring import performance
    from hiermodels.studies.store import results

    cells, reps, groups, size = 20, 5000, 50, 1000
    study = read_config(
        {
            **TRIAL,
            "mechanisms": {
                "formula": "y ~ 1 + (1 | g)",
                "design": {"g": groups, "obs": 3},
                "truth": {"Intercept": 0, "sd_g": 1, "sigma": 1},
                "grid": {"sd_g": [float(i) for i in range(cells)]},
            },
            "estimands": ["theta_g"],
            "decisions": {},
            "methods": {m: {"sampler": "exact", "pooling": m} for m in ("none", "complete")},
            "replications": reps,
        }
    )
    places = [{"hash": c.hash, "factors": c.factors} for c in study.cells()]
    stored = results.make_manifest(study.resolved(), cells=places, lanes=8, chunk=size, device="cpu")
    rng, labels = np.random.default_rng(0), pa.array([f"g{i}" for i in range(groups)] * size)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for cell in places:
            for method in study.methods:
                for index in range(reps // size):
                    n = size * groups
                    columns = {
                        "rep": np.repeat(np.arange(index * size, (index + 1) * size), groups),
                        "sd_g": np.full(n, cell["factors"]["sd_g"]),
                        "method": pa.array([method] * n),
                        "estimand": pa.array(["theta_g"] * n),
                        "group": labels,
                        "true": np.zeros(n),
                        "estimate": rng.normal(size=n),
                        "lower": np.full(n, -2.0),
                        "upper": np.full(n, 2.0),
                        "status": pa.array(["ok"] * n),
                    }
                    results.write_chunk(folder, cell["hash"], method, index, pa.table(columns))
        forget_peak()
        start = time.perf_counter()
        frame = results.read_estimates(folder, manifest=stored)
        found, _ = performance(frame, factors=["sd_g"], measures=["bias", "mse", "cover"], regime="fixed")
        seconds = time.perf_counter() - start
    assert len(frame) == ROWS
    return {"rows": len(frame), "seconds": seconds, "memory": peak_memory(), "lines": len(found)}


def _by_nuts(name: str) -> Iterator[tuple[Study, str, int]]:
    """The partially pooled models of a shipped config as NUTS methods: the study, the method and the replicates a cell
    to count.
    """
    given = read_config(name)
    resolved = given.resolved()
    for method in resolved["methods"].values():
        if method.get("sampler") == "exact":
            method.update(sampler="nuts", draws=500, tune=500, chains=2)
    study = read_config(resolved)
    for method, settings in study.methods.items():
        if settings.kind == "posterior" and settings.sampler == "nuts" and settings.marginalize:
            own = given.methods[method].sampler == "nuts"
            yield study, method, study.replications if own else min(100, study.replications)


def _diverged(study: Study, method: str, replicates: int) -> dict[str, int]:
    """Fits of a method over all cells, and those with any divergent draw; none where NUTS has nothing to draw."""
    found = {"fits": 0, "divergent": 0}
    for cell in study.cells():
        fit, left, chunk = fit_of(study, cell, method), replicates, 0
        while left > 0 and dimension(fit.problem.layout, fit.settings):
            rows = run_chunk(study, cell.hash, method, chunk).to_pandas().drop_duplicates("rep")[:left]
            found["fits"] += len(rows)
            found["divergent"] += int((rows["divergences"] > 0).sum())
            left, chunk = left - len(rows), chunk + 1
    return found


def divergences() -> dict[str, Any]:
    """Replicates with any divergence at target_accept 0.8: every partially pooled model of every shipped config by
    marginalised NUTS.

    Methods that the config gives to NUTS make all of its replicates; those that it gives to the exact engine are drawn
    by NUTS instead (2 chains x (500 + 500)) in 100 replicates a cell.
    """
    found = {}
    for name in config_names():
        for study, method, replicates in _by_nuts(name):
            row = _diverged(study, method, replicates)
            if row["fits"]:
                found[f"{name}: {method}"] = row
                print(name, method, row, file=sys.stderr, flush=True)
    fits, bad = (sum(row[key] for row in found.values()) for key in ("fits", "divergent"))
    where = {key: row["divergent"] for key, row in found.items() if row["divergent"]}
    return {"fits": fits, "divergent": bad, "share": bad / max(fits, 1), "models": len(found), "where": str(where)}


JOBS: dict[str, Callable[[], dict[str, Any]]] = {
    "imports": imports,
    "first": first,
    "storing": storing,
    "power": power,
    "summary": summary,
    "divergences": divergences,
}


def laboratory(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """All jobs, one after the other."""
    found: dict[str, Any] = {}
    for job in JOBS:
        if options.quick and job == "divergences":
            continue
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.laboratory", job],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        found[job] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": "stopped"}
        print(job, found[job], file=sys.stderr, flush=True)
    rows = [
        [
            job,
            str(JOBS[job].__doc__).strip(),
            ", ".join(f"{k} {v if isinstance(v, str) else show(v)}" for k, v in row.items()),
        ]
        for job, row in found.items()
    ]
    parts = [
        f"## {date.today().isoformat()}: laboratory",
        "\n".join(machine.describe()),
        table(("job", "what", "found (seconds, GB)"), rows),
    ]
    return "\n\n".join(parts) + "\n", found


if __name__ == "__main__":
    print(json.dumps(JOBS[sys.argv[1]]()))
