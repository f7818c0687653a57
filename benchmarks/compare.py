"""This library and its peers on the same datasets, in one run, taking turns."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import tables
from benchmarks.quality import disagreement
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parent.parent
EXACT = ("ours exact, study", "ours exact, fit")
REFERENCES = ("ours exact, fit", "ours exact, study", "ours")


class Failed(Exception):
    """A contender stopped or answered with an error."""


class Worker:
    """The parent's end of `benchmarks.worker`."""

    def __init__(self, name: str, workload: str, pool: int, cache: Path) -> None:
        environment = os.environ | {
            "JAX_ENABLE_X64": "1" if not name.startswith("ours") else "0",
            "JAX_COMPILATION_CACHE_DIR": str(cache / "jax"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "PYTENSOR_FLAGS": f"base_compiledir={cache / 'pytensor'}",
            "NUMBA_CACHE_DIR": str(cache / "numba"),
        }
        start = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", name, workload, str(pool)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        # what libraries print is drained by a thread, or a full pipe would stop them
        self.said: list[str] = []
        import threading

        threading.Thread(target=lambda: self.said.extend(self.process.stderr or ()), daemon=True).start()
        self.chunk = self._hear()["chunk"]
        self.seconds = time.perf_counter() - start
        self._hear()

    def _hear(self) -> dict[str, Any]:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            self.process.wait(10)
            time.sleep(0.1)
            last = next(
                (s.strip() for s in reversed(self.said) if s.strip() and not s.startswith("---")),
                "no message",
            )
            raise Failed(f"stopped: {last[:300]}")
        found = json.loads(line)
        if found["event"] == "error":
            raise Failed(found["what"])
        return found

    def ask(self, **order: Any) -> dict[str, Any]:
        """Send an order, wait for its answer."""
        self.process.stdin.write(json.dumps(order) + "\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self._hear()

    def stop(self) -> None:
        """End the process."""
        try:
            self.process.stdin.write('{"do": "stop"}\n')  # type: ignore[union-attr]
            self.process.stdin.close()  # type: ignore[union-attr]
            self.process.wait(30)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()


class Comparison:
    """One workload: contenders are started, swept, measured in turns, judged.

    Parameters
    ----------
    workload : str
    names : sequence of str
        Contenders.
    pool, exact_pool : int
        Datasets that every chain-running contender fits in every round, and that the exact engine does.
    rounds : int
    seconds : float
        Aim for this long a contender and round; slower ones fit the pool once.
    sweep : bool
        Sweep datasets a call; else each contender's default.
    warm : bool
        Start each contender a second time, with a warm compile cache.
    """

    def __init__(
        self,
        workload: str,
        names: list[str],
        pool: int,
        exact_pool: int,
        rounds: int,
        seconds: float,
        sweep: bool,
        warm: bool,
    ) -> None:
        self.workload, self.names, self.rounds, self.seconds = workload, names, rounds, seconds
        self.sweep, self.warm = sweep, warm
        self.pools = {name: exact_pool if name in EXACT else pool for name in names}
        self.rows: dict[str, dict[str, Any]] = {name: {} for name in names}
        self.workers: dict[str, Worker] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="benchmark-"))

    def run(self) -> dict[str, dict[str, Any]]:
        """Measure; a contender that fails is reported and left out."""
        try:
            for what, step in (("start", self._start), ("sweep", self._sweep)):
                for name in self.names:
                    self._try(what, step, name)
            for r in range(self.rounds):
                for name in self.names:
                    self._try(f"round {r + 1}", lambda n, r=r: self._round(n, r), name)
            found: dict[str, Any] = {}
            for name in self.names:
                self._try("quality", lambda n: found.update({n: self._quality(n)}), name)
            self._compare(found)
        finally:
            for worker in self.workers.values():
                worker.stop()
            shutil.rmtree(self.folder, ignore_errors=True)
        return self.rows

    def _try(self, what: str, step: Any, name: str) -> None:
        if "error" in self.rows[name]:
            return
        start = time.perf_counter()
        try:
            step(name)
        except (Failed, OSError, ValueError) as error:
            self.rows[name] = {"error": str(error)}
            print(f"{self.workload} {name}: {error}", file=sys.stderr, flush=True)
            if name in self.workers:
                self.workers.pop(name).stop()
        took = time.perf_counter() - start
        print(f"{self.workload} {name}: {what} {took:.1f} s", file=sys.stderr, flush=True)

    def _start(self, name: str) -> None:
        row, cache = self.rows[name], self.folder / name.replace(" ", "-")
        worker = Worker(name, self.workload, self.pools[name], cache)
        row["cold"], row["warm"] = worker.seconds, float("nan")
        if self.warm:
            worker.stop()
            worker = Worker(name, self.workload, self.pools[name], cache)
            row["warm"] = worker.seconds
        self.workers[name], row["chunk"], row["rounds"] = worker, worker.chunk, []

    def _sweep(self, name: str) -> None:
        row, worker = self.rows[name], self.workers[name]
        twin = self.rows.get(name.replace("blackjax", "numpyro"), {})
        if self.sweep and name.startswith("blackjax") and "rates" in twin:
            row["chunk"] = worker.ask(do="use", chunk=twin["chunk"])["chunk"]
        if self.sweep and not name.startswith("nutpie") and "rates" not in twin:
            found = worker.ask(do="sweep", seconds=self.seconds / 2)
            row["rates"], row["chunk"], row["auto"] = found["rates"], found["best"], name.startswith("ours")
            row["expected"] = found["rates"][str(found["best"])]
        else:
            found = worker.ask(do="round", fits=0, seed=0, keep=False)
            row["expected"] = found["fits"] / found["seconds"]

    def _round(self, name: str, r: int) -> None:
        row = self.rows[name]
        fits = int(self.seconds * row["expected"])
        found = self.workers[name].ask(do="round", fits=fits, seed=r + 1, keep=r == 0)
        row["rounds"].append(found)
        if r == 0:  # before anything else is computed there
            row["memory"] = found["memory"]

    def _quality(self, name: str) -> dict[str, Any]:
        row, path = self.rows[name], self.folder / "quality.npz"
        row |= {k: v for k, v in self.workers[name].ask(do="quality", path=str(path)).items() if k != "event"}
        rates = [x["fits"] / x["seconds"] for x in row["rounds"]]
        row["rate"], row["low"], row["high"] = statistics.median(rates), min(rates), max(rates)
        with np.load(path) as arrays:
            found = dict(arrays)
        if "ess" in found:
            row["ess"] = float(np.median(found["ess"]))
            row["ess_rate"] = row["rate"] * row["ess"]
            row["low_ess"] = int((found["ess"] < 100).sum())
        return found

    def _compare(self, found: dict[str, Any]) -> None:
        """Posterior means against the most accurate contender's."""
        reference = next((n for n in REFERENCES if n in found), None)
        for name, here in found.items():
            self.rows[name]["reference"] = name == reference
            if reference is not None and name != reference:
                n = min(len(here["mean"]), len(found[reference]["mean"]))
                cut = [{k: v[:n] for k, v in f.items()} for f in (here, found[reference])]
                self.rows[name]["max"], self.rows[name]["rms"] = disagreement(*cut)


def section(measured: dict[str, Any], head: list[str], title: str) -> str:
    """The section of RESULTS.md for one run."""
    parts = [f"## {title}", "\n".join(head), tables.ratio_table(measured)]
    for workload, rows in measured.items():
        parts += [f"### {workload}: {WORKLOADS[workload].title}", tables.workload_table(rows)]
    if any(r.get("rates") for rows in measured.values() for r in rows.values()):
        parts += ["### Datasets a call", tables.sweep_table(measured)]
    return "\n\n".join(parts) + "\n"
