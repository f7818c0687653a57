"""PyMC + nutpie: the model compiled once a process, a process a core, data swapped with ``with_data``.

Chains of one dataset run one after another in a process (``cores=1``): with thousands of datasets that is the
fastest use of the cores. The raw trace is kept and turned into arrays outside the timed part.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import time
from typing import Any

import numpy as np

from benchmarks.mapped import CHAINS, DRAWS, TUNE, cores, peak_memory, recovered
from benchmarks.workloads import CLASSROOMS, SCHOOLS, STUDENTS, WORKLOADS, Workload


def explicit_model(workload: Workload) -> Any:
    """The model over everything, non-centred where it applies, as a PyMC user writes it."""
    import pymc as pm

    design, rows = workload.design(), workload.outcomes(1)[0]
    with pm.Model() as model:
        y = pm.Data("data", rows)
        if workload.name == "W1":
            mu, tau = pm.Normal("mu", 0, 20), pm.HalfNormal("tau", 20)
            pm.Normal("y", mu + tau * pm.Normal("eta", 0, 1, shape=8), design["se"], observed=y)
        elif workload.name == "W2":
            lam = pm.Normal("lam", 0, 10)
            kappa, tau, sigma = (pm.HalfNormal(name, 5) for name in ("kappa", "tau", "sigma"))
            school = lam + kappa * pm.Normal("eta_school", 0, 1, shape=SCHOOLS)
            classroom = school[:, None] + tau * pm.Normal("eta_classroom", 0, 1, shape=(SCHOOLS, CLASSROOMS))
            pm.Normal("y", classroom[..., None], sigma, observed=y.reshape((SCHOOLS, CLASSROOMS, STUDENTS)))
        elif workload.name == "W4":
            a, b, sd = pm.Normal("a", 0, 2.5), pm.Normal("b", 0, 2.5), pm.HalfNormal("sd", 1)
            eta = a + b * design["treated"] + sd * pm.Normal("eta", 0, 1, shape=len(design["n"]))
            pm.Binomial("y", design["n"], logit_p=eta, observed=y)
        elif workload.name == "W6":
            a, sd = pm.Normal("a", 0, 2.5), pm.HalfNormal("sd", 1)
            pm.Poisson(
                "y",
                design["exposure"] * pm.math.exp(a + sd * pm.Normal("eta", 0, 1, shape=len(design["exposure"]))),
                observed=y,
            )
        else:
            mu, kappa = pm.Uniform("mu", 0, 1), pm.HalfNormal("kappa", 50)
            theta = pm.Beta("theta", mu * kappa, (1 - mu) * kappa, shape=len(design["n"]))
            pm.Binomial("y", design["n"], theta, observed=y)
    return model


def statistics(workload: Workload, y: np.ndarray) -> np.ndarray:
    """What the marginal density needs: the outcomes; the mean and three sums of squares; tallies."""
    if workload.name == "W1":
        return y
    if workload.name == "W2":
        y = y.reshape(SCHOOLS, CLASSROOMS, STUDENTS)
        classroom, school = y.mean(2), y.mean((1, 2))
        between = (
            (STUDENTS * (classroom - school[:, None]) ** 2).sum(),
            (STUDENTS * CLASSROOMS * (school - y.mean()) ** 2).sum(),
        )
        return np.array([y.mean(), ((y - classroom[..., None]) ** 2).sum(), *between])
    n = workload.design()["n"]
    above = np.arange(n.max())
    return np.stack([(c[:, None] > above).sum(0) for c in (y, n - y, n)]).astype(float)


def marginal_model(workload: Workload) -> Any:
    """This library's marginal density, written out in PyTensor: the same algebra, the same work."""
    import pymc as pm
    import pytensor.tensor as pt

    if workload.name not in HYPERPARAMETERS:
        raise NotImplementedError(f"{workload.name}: the groups' quadrature is not written out in PyTensor")
    with pm.Model() as model:
        data = pm.Data("data", statistics(workload, workload.outcomes(1)[0]))
        if workload.name == "W1":
            tau = pm.HalfNormal("tau", 20)
            weight = 1 / (workload.design()["se"] ** 2 + tau**2)
            precision = weight.sum() + 1 / 20**2
            mean = (weight * data).sum() / precision
            fit = (weight * (data - mean) ** 2).sum() + mean**2 / 20**2
            pm.Potential("marginal", 0.5 * (pt.log(weight).sum() - fit - pt.log(precision)))
        elif workload.name == "W2":
            kappa, tau, sigma = (pm.HalfNormal(name, 5) for name in ("kappa", "tau", "sigma"))
            centre, within, classes, schools = (data[i] for i in range(4))
            one = sigma**2
            two = one + STUDENTS * tau**2
            three = two + STUDENTS * CLASSROOMS * kappa**2
            value = -0.5 * (SCHOOLS * CLASSROOMS * (STUDENTS - 1) * pt.log(one) + within / one)
            value -= 0.5 * (SCHOOLS * (CLASSROOMS - 1) * pt.log(two) + classes / two)
            value -= 0.5 * ((SCHOOLS - 1) * pt.log(three) + schools / three)
            spread = three / (SCHOOLS * CLASSROOMS * STUDENTS) + 10**2
            pm.Potential("marginal", value - 0.5 * (pt.log(spread) + centre**2 / spread))
        else:
            mu, kappa = pm.Uniform("mu", 0, 1), pm.HalfNormal("kappa", 50)
            i = np.arange(workload.design()["n"].max(), dtype=float)
            parts = [
                data[0] * pt.log(mu * kappa + i),
                data[1] * pt.log((1 - mu) * kappa + i),
                -data[2] * pt.log(kappa + i),
            ]
            pm.Potential("marginal", sum(part.sum() for part in parts))
    return model


HYPERPARAMETERS = {"W1": ("tau",), "W2": ("kappa", "tau", "sigma"), "W3": ("mu", "kappa")}
"""In the order of this library's unconstrained vector."""


def _unconstrained(name: str, x: np.ndarray) -> np.ndarray:
    return np.log(x) - np.log1p(-x) if name == "mu" else np.log(x)


def check_marginal(workload: Workload, points: int = 20) -> float:
    """Largest difference between the two log densities at random points, their constant removed.

    Examples
    --------
    >>> check_marginal(WORKLOADS["W1"]) < 1e-9
    True
    """
    import jax

    from benchmarks.peers.numpyro_peer import marginal_density

    theirs = marginal_model(workload).compile_logp()
    prepare, log_density, _ = marginal_density(workload)
    rng, names = np.random.default_rng(1), HYPERPARAMETERS[workload.name]
    suffix = {name: f"{name}_interval__" if name == "mu" else f"{name}_log__" for name in names}
    with jax.enable_x64(True):
        stats = prepare(jax.numpy.asarray(workload.outcomes(1)[0]))
        gaps = []
        for u in rng.normal(0.0, 0.7, (points, len(names))):
            their = theirs({suffix[name]: np.asarray(x) for name, x in zip(names, u, strict=True)})
            gaps.append(float(log_density(jax.numpy.asarray(u), stats)) - float(their))
    return float(np.ptp(gaps))


def _fit(compiled: Any, data: np.ndarray, seed: int) -> Any:
    import nutpie

    return nutpie.sample(
        compiled.with_data(data=data),
        draws=DRAWS,
        tune=TUNE,
        chains=CHAINS,
        cores=1,
        seed=seed,
        save_warmup=False,
        progress_bar=False,
        return_raw_trace=True,
    )


def _arrays(trace: Any) -> dict[str, np.ndarray]:
    """Kept draws by name, (chain, draw, *dims), and divergences."""
    import pyarrow as pa

    draws, stats = trace.get_arrow_trace()
    found: dict[str, list[np.ndarray]] = {}
    for batch, stat in zip(draws, stats, strict=True):
        kept = ~np.asarray(pa.array(stat.column("tuning")))
        for name in batch.column_names:
            column = pa.array(batch.column(name))
            flat = column.flatten() if hasattr(column, "flatten") else column
            found.setdefault(name, []).append(np.asarray(flat).reshape(len(kept), -1)[kept])
        found.setdefault("diverging", []).append(np.asarray(pa.array(stat.column("diverging")))[kept])
    out = {}
    for name, rows in found.items():
        value = np.stack(rows)
        out[name] = value[..., 0] if value.ndim == 3 and value.shape[-1] == 1 else value
    if "eta_classroom" in out:
        out["eta_classroom"] = out["eta_classroom"].reshape(*out["eta_classroom"].shape[:2], SCHOOLS, CLASSROOMS)
    return out


def _serve(pipe: Any, counter: Any, name: str, pool: int, marginal: bool) -> None:
    """A process: compile once, then fit what the shared counter hands out."""
    import nutpie

    workload = WORKLOADS[name]
    y = workload.outcomes(pool)
    data = [statistics(workload, row) if marginal else row for row in y]
    compiled = nutpie.compile_pymc_model(marginal_model(workload) if marginal else explicit_model(workload))
    _fit(compiled, data[0], 0)
    kept: dict[int, Any] = {}
    pipe.send("ready")
    while True:
        order = pipe.recv()
        if order[0] == "fit":
            _, limit, seed, keep = order
            while True:
                with counter.get_lock():
                    i = counter.value
                    counter.value += 1
                if i >= limit:
                    break
                trace = _fit(compiled, data[i % pool], seed * 1_000_003 + i)
                if keep and i < pool:
                    kept[i] = trace
            pipe.send("done")
        elif order[0] == "results":
            pipe.send({i: _arrays(trace) for i, trace in kept.items()})
        elif order[0] == "memory":
            pipe.send(peak_memory())
        else:
            return


class NutpieExplicit:
    """The explicit model."""

    marginal = False
    chunk, swept = 1, False
    chunks: tuple[int, ...] = ()

    def __init__(self, workload: Workload, pool: int) -> None:
        self.workload, self.y = workload, workload.outcomes(pool)

    def first(self) -> None:
        """Start the processes and wait for the first to have fitted a dataset."""
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        context = mp.get_context("spawn")
        self.counter = context.Value("l", 0)
        self.pipes, self.processes = [], []
        for _ in range(cores()):
            mine, theirs = context.Pipe()
            args = (theirs, self.counter, self.workload.name, len(self.y), self.marginal)
            process = context.Process(target=_serve, args=args, daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(mine)
            self.processes.append(process)
        mp.connection.wait(self.pipes)

    def ready(self) -> None:
        """Wait for all processes."""
        for pipe in self.pipes:
            pipe.recv()

    def _all(self, *order: Any) -> list[Any]:
        for pipe in self.pipes:
            pipe.send(order)
        return [pipe.recv() for pipe in self.pipes]

    def timed(self, fits: int, seed: int, keep: bool, whole: bool = True) -> tuple[int, float]:
        """As `Mapped.timed`."""
        fits = max(fits, len(self.y) if whole else 1)
        self.counter.value = 0
        start = time.perf_counter()
        self._all("fit", fits, seed, keep)
        return fits, time.perf_counter() - start

    def results(self) -> dict[str, np.ndarray]:
        """As `Mapped.results`."""
        kept = {i: values for part in self._all("results") for i, values in part.items()}
        rows = [kept[i] for i in range(len(self.y))]
        stacked = {k: np.stack([r[k] for r in rows]) for k in rows[0]}
        return {"draws": self._draws(stacked), "divergences": stacked["diverging"].sum((1, 2))}

    def _draws(self, stacked: dict[str, np.ndarray]) -> np.ndarray:
        return self.workload.explicit(stacked)

    def memory(self) -> float:
        """Peak resident memory of the processes together, GB."""
        return peak_memory() + sum(self._all("memory"))

    def close(self) -> None:
        """Stop the processes."""
        for pipe, process in zip(self.pipes, self.processes, strict=True):
            pipe.send(("stop",))
            process.join(10)


class NutpieMarginal(NutpieExplicit):
    """The marginal density, in PyTensor; group effects are drawn afterwards, outside the timed part."""

    marginal = True

    def _draws(self, stacked: dict[str, np.ndarray]) -> np.ndarray:
        names = HYPERPARAMETERS[self.workload.name]
        u = np.stack([_unconstrained(name, stacked[name]) for name in names], -1)
        return recovered(self.workload, self.y, u)
