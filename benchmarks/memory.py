"""Peak memory and CPU time of joining and reporting a run, by replicates: estimates are made up, nothing is fitted.

Every measurement runs in a process of its own (``python -m benchmarks.memory one FOLDER OUT``). All of them:
``python -m benchmarks.memory --replications 10000,1000000 --shapes 1x1,8x4,decisions,prior``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mapped import peak_memory
from benchmarks.tables import table

ROOT = Path(__file__).resolve().parent.parent
CHUNK = 10_000
SHAPES = ("1x1", "1x3", "8x1", "8x4", "50x2", "decisions", "calibrated", "prior")
"""Groups x methods; decisions on eight groups of two methods, by a threshold that is given or
calibrated on a second cell; truths from the prior with ranks, eight groups of two methods."""


def config(shape: str, replications: int) -> dict[str, Any]:
    """A study with so many groups and methods."""
    groups, methods = (int(n) for n in (shape if "x" in shape else "8x2").split("x"))
    prior, decided = (
        shape == "prior",
        {"decisions": {"excludes": 0}, "calibrated": {"type1": 0.05, "null": {"sd_g": 0}}}.get(shape),
    )
    truth = (
        {"Intercept": "normal(0, 1)", "sd_g": "half_normal(1)", "sigma": "half_normal(1)"}
        if prior
        else {"Intercept": 0, "sd_g": 1, "sigma": 1}
    )
    name = "theta_g" if groups > 1 else "Intercept"
    return {
        "mechanisms": {
            "formula": "y ~ 1 + (1 | g)",
            "design": {"g": max(groups, 4), "obs": 3},
            "truth": truth,
            **({"grid": {"sd_g": [0, 1]}} if shape == "calibrated" else {}),
        },
        "estimands": [{"p": f"P({name} > 0)"} if shape == "calibrated" else name],
        "methods": {f"m{i}": {"sampler": "exact", "pooling": "complete"} for i in range(methods)},
        "performance": ["bias", "mse", "cover", "empse"],
        **(
            {"decisions": {"differs": {"estimand": "p" if shape == "calibrated" else name, **decided}}}
            if decided
            else {}
        ),
        "replications": replications,
        "seed": 5,
    }


def make(folder: Path, shape: str, replications: int) -> None:
    """Write the folder of a run with estimates that are made up."""
    import pyarrow as pa

    from hiermodels.studies.config import read_config
    from hiermodels.studies.store import results
    from hiermodels.studies.store.identity import Makers

    study = read_config(config(shape, replications))
    cells = [
        {"hash": cell.hash, "factors": cell.factors, "regime": "prior" if shape == "prior" else "population"}
        for cell in study.cells()
    ]
    sizes = {cell["hash"]: dict.fromkeys(study.methods, CHUNK) for cell in cells}
    manifest = results.make_manifest(
        study.resolved(), cells=cells, lanes=sizes, chunk=sizes, device="none", regime=[cells[0]["regime"]], name=shape
    )
    results.write_manifest(folder, manifest)
    (folder / "config.yaml").write_text(json.dumps(study.resolved()))
    name = study.estimands[0].name
    groups = int(study.mechanisms.design["g"]) if name != "Intercept" else 1
    rng, makers = np.random.default_rng(0), Makers(manifest)
    rep, ones = np.repeat(np.arange(CHUNK), groups), np.ones(CHUNK * groups)
    coded = {
        "estimand": pa.array([name]).dictionary_encode().take(pa.array(np.zeros(len(rep), int))),
        "group": pa.array([f"g{i}" for i in range(groups)] if groups > 1 else [""])
        .dictionary_encode()
        .take(pa.array(np.tile(np.arange(groups), CHUNK))),
    }
    status = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rep), np.int32)), pa.array(["ok"]))
    for cell, method in itertools.product(cells, study.methods):
        word = pa.array([method]).dictionary_encode().take(pa.array(np.zeros(len(rep), int)))
        for index in range(-(-replications // CHUNK)):
            true = rng.normal(size=len(rep))
            estimate = true + rng.normal(size=len(rep))
            if shape == "calibrated":
                true, estimate = (true > 0) * 1.0, 1 / (1 + np.exp(-estimate))
            columns = {"rep": rep + index * CHUNK, "method": word, **coded, "true": true, "estimate": estimate, "median": estimate, "se": ones,  # noqa: E501
                       "lower": estimate - 1.96, "upper": estimate + 1.96, "rank": rng.integers(0, 401, len(rep)).astype(float), "max_rank": 400 * ones,  # noqa: E501
                       "status": status, "n_try": np.ones(len(rep), int), "rhat": ones, "ess_bulk": 900 * ones, "ess_tail": 800 * ones,  # noqa: E501
                       "divergences": np.zeros(len(rep), int)}  # fmt: skip
            columns = {
                "rep": columns.pop("rep"),
                **{name: value * ones for name, value in cell["factors"].items()},
                **columns,
            }
            results.write_chunk(folder, cell["hash"], method, index, pa.table(columns), makers.of(cell["hash"], method))


def one(folder: Path, out: Path) -> dict[str, Any]:
    """Join a run to a new folder, with its report: CPU seconds and peak memory in MiB."""
    from hiermodels.studies.run.merge import merge

    start = time.process_time()
    merge(out, [folder])
    return {"cpu": round(time.process_time() - start, 1), "mib": round(peak_memory() * 1024)}


def main() -> None:
    """Measure every shape at every number of replicates, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--replications", default="10000,1000000")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--folder", type=Path, help="where runs are made, and kept for another time")
    given = parser.parse_args()
    if given.paths:
        print(json.dumps(one(*given.paths)))
        return
    counts, rows = [int(n) for n in given.replications.split(",")], []
    with tempfile.TemporaryDirectory() as name:
        for shape in given.shapes.split(","):
            found = []
            for count in counts:
                folder = Path(given.folder or name) / f"{shape}-{count}"
                if not (folder / "manifest.json").is_file():
                    make(folder, shape, count)
                with tempfile.TemporaryDirectory() as out:
                    command = [sys.executable, "-m", "benchmarks.memory", str(folder), f"{out}/joined"]
                    done = subprocess.run(
                        command,
                        check=True,
                        capture_output=True,
                        text=True,
                        cwd=ROOT,
                        env=os.environ | {"PYTHONPATH": str(ROOT)},
                    )
                found.append(json.loads(done.stdout.splitlines()[-1]))
            row = [
                shape,
                *(f"{f['mib']} MiB, {f['cpu']} s" for f in found),
                f"{found[-1]['mib'] - found[0]['mib']} MiB",
            ]
            rows.append(row)
            print(*row, sep=" | ", flush=True)
    print(table(("shape", *(f"{n:,}" for n in counts), "growth"), rows))


if __name__ == "__main__":
    main()
