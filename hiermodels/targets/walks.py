"""Section 7: the post's random walks, as it ran them: 10,000 joint Metropolis steps from the true population, a fifth
dropped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from hiermodels.inference.diagnostics import convergence
from hiermodels.inference.metropolis import MetropolisChains, MetropolisSettings, metropolis
from hiermodels.models.builder import build
from hiermodels.models.data import bind
from hiermodels.models.explicit import Explicit
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.sites import natural_log_density
from hiermodels.models.spec import Model
from hiermodels.targets.chains import MonteCarlo
from hiermodels.targets.individuals import FORMULA, PRIORS, TRUTH, WORDS
from hiermodels.targets.quadrature import posterior

__all__ = ["hierarchical", "unpooled"]

_REPLICATES = 24
_DROPPED, _KEPT = 2000, 8000


def unpooled() -> Mapping[str, MonteCarlo]:
    """151 parameters, steps of 0.125."""
    return _walks(Model(FORMULA, priors={"sigma": "uniform(0, 10)"}), "none", 0.125)


def hierarchical() -> Mapping[str, MonteCarlo]:
    """155 parameters, steps of 0.1."""
    return _walks(Model(FORMULA, priors=PRIORS), "partial", 0.1)


def _dataset(replicate: int) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """True intercepts and slopes, and a dataset."""
    rng = np.random.default_rng([20190808, replicate])
    truth = {"theta_id": rng.normal(2, 1, 75), "theta_id_x": rng.normal(-2, 1, 75)}
    x = rng.normal(size=(75, 5))
    y = truth["theta_id"][:, None] + truth["theta_id_x"][:, None] * x + 2 * rng.normal(size=(75, 5))
    return truth, pd.DataFrame({"id": np.repeat(np.arange(75), 5), "x": x.ravel(), "y": y.ravel()})


def _walks(model: Model, pooling: str, step: float) -> Mapping[str, MonteCarlo]:
    """Averages over datasets of how a walk did on each."""
    truths, frames = zip(*[_dataset(r) for r in range(_REPLICATES)], strict=True)
    problems = [bind(model, frame, pooling) for frame in frames]
    explicit = Explicit(problems[0].layout, centred=True)
    chains = _run(explicit, problems, step)
    position = np.asarray(chains.position)[:, 0]
    places = {site.name: slice(site.start, site.stop) for site in explicit.sites}
    with jax.enable_x64(True):
        sizes = np.stack([np.asarray(convergence(jnp.asarray(walk[None]))[1]) for walk in position])
    rows = []
    for walk, size, truth, frame in zip(position, sizes, truths, frames, strict=True):
        numbers = posterior(model, frame, pooling).numbers(tuple(WORDS))
        row: dict[str, float] = {}
        for name, word in WORDS.items():
            mean, exact = walk[:, places[name]].mean(0), np.array([numbers[f"mean {name}[{i}]"] for i in range(75)])
            row[f"rms distance from the exact means, {word}"] = _rms(mean - exact)
            row[f"RMSE, {word}"], row[f"RMSE of the exact means, {word}"] = (
                _rms(mean - truth[name]),
                _rms(exact - truth[name]),
            )
            row[f"effective sample size, {word}"] = float(size[places[name]].mean())
        rows.append(row)
    table = pd.DataFrame(rows).assign(acceptance=np.asarray(chains.stats["acceptance_rate"]).mean((1, 2)))
    return {name: MonteCarlo(float(x.mean()), float(x.std() / math.sqrt(len(x)))) for name, x in table.items()}  # type: ignore[misc]


def _rms(x: np.ndarray) -> float:
    return math.sqrt(np.mean(x**2))


def _run(explicit: Explicit, problems: list[Problem], step: float) -> MetropolisChains:
    """One walk a dataset, on every parameter's own scale; coefficients start anywhere in their population."""
    function, sites = build(explicit.layout, explicit.centred), explicit.sites
    rng = np.random.default_rng(5)
    starts = []
    for _ in problems:
        drawn = {"theta_id": rng.normal(2, 1, 75), "theta_id_x": rng.normal(-2, 1, 75)}
        starts.append(np.concatenate([np.ravel(drawn.get(site.name, TRUTH.get(site.name, 0.0))) for site in sites]))

    def walk(key: Any, start: Any, data: Any) -> MetropolisChains:
        settings = MetropolisSettings(draws=_KEPT, tune=_DROPPED, step_size=step)
        run = metropolis(lambda x: natural_log_density(function, sites, x, data, data.y)[0], settings)
        return run(key, start[None])

    with jax.enable_x64(True):
        data = jax.tree.map(lambda *parts: jnp.stack(parts), *[as_jax(p.data) for p in problems])
        keys = jax.random.split(jax.random.key(1, impl="threefry2x32"), len(problems))
        return jax.jit(jax.vmap(walk))(keys, jnp.asarray(np.stack(starts)), data)
