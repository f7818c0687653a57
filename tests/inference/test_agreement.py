"""Explicit NUTS, NUTS on the hyperparameters and the exact engine agree: every parameter of twenty datasets of three
models.

Compared are mean, sd and the ends of the 95% interval, in Monte Carlo standard errors of the chains (the exact engine's
own error is 1e-3 posterior sd). Among so many comparisons some are beyond 4 by chance; the bound is Bonferroni's for a
joint failure rate of 1 in 1,000 a model and pair, and the share beyond 4 is bounded too.
"""

from __future__ import annotations

import jax
import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats
from scipy import stats

import hiermodels as hm
from hiermodels.inference.samplers import Settings, estimator, sampler, target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import Problem, as_jax, bind

DATASETS = 20


def eight_schools(rng: np.random.Generator) -> pd.DataFrame:
    """Eight schools' standard errors, effects N(8, 10^2)."""
    frame = hm.load_dataset("eight_schools")
    return frame.assign(effect=rng.normal(rng.normal(8, 10, 8), frame.se))


def pupils(rng: np.random.Generator) -> pd.DataFrame:
    """20 schools x 4 classrooms x 10 students: sds 1, 0.7, 2."""
    school, classroom = np.repeat(np.arange(20), 40), np.repeat(np.arange(80), 10)
    mean = rng.normal(0, 1, 20)[school] + rng.normal(0, 0.7, 80)[classroom]
    return pd.DataFrame({"school": school, "classroom": classroom % 4, "y": rng.normal(mean, 2)})


def trials(rng: np.random.Generator) -> pd.DataFrame:
    """The rat experiments' sizes, rates Beta(0.14 x 16, 0.86 x 16)."""
    frame = hm.load_dataset("rats")
    return frame.assign(tumors=rng.binomial(frame.rats, rng.beta(0.14 * 16, 0.86 * 16, len(frame))))


HALF_NORMAL = {name: "half_normal(5)" for name in ("sd_school", "sd_school:classroom", "sigma")}
MODELS = {
    "eight schools": (
        hm.Model(
            "effect ~ 1 + (1 | school)",
            known_se="se",
            priors={"Intercept": "normal(0, 20)", "sd_school": "half_normal(20)"},
        ),
        eight_schools,
    ),
    "three levels": (
        hm.Model("y ~ 1 + (1 | school/classroom)", priors={"Intercept": "normal(0, 10)", **HALF_NORMAL}),
        pupils,
    ),
    "beta-binomial": (
        hm.Model(
            "tumors ~ 1 + (1 | experiment)",
            "binomial",
            trials="rats",
            priors={"mean_experiment": "uniform(0, 1)", "kappa_experiment": "half_normal(50)"},
        ),
        trials,
    ),
}


def draws(problem: Problem, frames: list[pd.DataFrame], model: hm.Model, settings: Settings) -> list[np.ndarray]:
    """Draws of every parameter, (chain, draw, parameter), of each dataset."""
    sample = sampler(problem.layout, settings)
    program = jax.jit(lambda key, data: sample(key, data).values)
    found = []
    for i, frame in enumerate(frames):
        values = program(jax.random.key(i), as_jax(bind(model, frame).data))
        found.append(
            np.concatenate(
                [np.asarray(v).reshape(settings.chains, settings.draws, -1) for _, v in sorted(values.items())], 2
            )
        )
    return found


def exact(
    problem: Problem, frames: list[pd.DataFrame], model: hm.Model, names: list[str]
) -> list[dict[str, np.ndarray]]:
    """Mean, sd, lower and upper of every parameter of each dataset."""
    targets = tuple(Target(name, "mean") for name in names)
    estimate = jax.jit(estimator(problem.layout, Settings(sampler="exact", accuracy="fit"), targets, Interval()))
    truth = np.full(sum(target_sizes(problem.layout, targets)), np.nan)
    found = []
    for frame in frames:
        here = estimate(jax.random.key(0), as_jax(bind(model, frame).data), truth)
        assert not np.any(here.status)
        found.append({"mean": here.estimate, "sd": here.se, "lower": here.lower, "upper": here.upper})
    return [{k: np.asarray(v) for k, v in row.items()} for row in found]


def scores(x: np.ndarray, truth: dict[str, np.ndarray]) -> np.ndarray:
    """Differences of the chains' mean and sd from the exact ones, of their shares below the exact quantiles from 2.5%
    and 97.5%.

    In MCSEs, shape (4, parameter). A quantile's own MCSE is a noisy spacing of order statistics; a share's is not.
    """
    mcse = {"chain_axis": 0, "draw_axis": 1}
    rows = [
        (x.mean((0, 1)) - truth["mean"]) / array_stats.mcse(x, method="mean", **mcse),
        (x.std((0, 1), ddof=1) - truth["sd"]) / array_stats.mcse(x, method="sd", **mcse),
    ]
    for prob, end in ((0.025, "lower"), (0.975, "upper")):
        below = (x <= truth[end]).astype(float)
        rows.append((below.mean((0, 1)) - prob) / array_stats.mcse(below, method="mean", **mcse))
    return np.stack(rows)


@pytest.mark.slow
@pytest.mark.parametrize("marginalize", [True, False], ids=["marginalised", "explicit"])
@pytest.mark.parametrize("name", MODELS)
def test_chains_agree_with_the_exact_posterior(name: str, marginalize: bool) -> None:
    model, simulate = MODELS[name]
    frames = [simulate(np.random.default_rng([20261121, i])) for i in range(DATASETS)]
    problem = bind(model, frames[0])
    with jax.enable_x64(True):
        chains = draws(problem, frames, model, Settings(marginalize=marginalize, target_accept=0.9))
        data = as_jax(problem.data)
        shapes = jax.eval_shape(lambda: sampler(problem.layout, Settings())(jax.random.key(0), data).values)
        truth = exact(problem, frames, model, sorted(shapes))
    z = np.stack([scores(x, t) for x, t in zip(chains, truth, strict=True)])
    bound = stats.norm.isf(0.5e-3 / z.size)
    beyond = np.mean(np.abs(z) > 4)
    print(
        f"{name}: {z.size:,} comparisons, largest {np.abs(z).max():.2f} (bound {bound:.2f}), beyond 4: {beyond:.1e}, "
        f"rms {z.std():.2f}"
    )
    assert np.abs(z).max() < bound
    assert beyond < 1e-3
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.2


@pytest.mark.slow
def test_more_nodes_serve_correlated_slopes() -> None:
    """Four hyperparameters: a study's nodes distrust themselves, the refined ones agree with NUTS."""
    frame = hm.load_dataset("individuals")
    priors = {"Intercept": "normal(0, 3)", "x": "normal(0, 3)", "cor_id": "lkj(2)", "sigma": "half_normal(5)"}
    model = hm.Model(
        "y ~ 1 + x + (1 + x | id)", priors={**priors, "sd_id": "half_normal(3)", "sd_id_x": "half_normal(3)"}
    )
    problem = bind(model, frame)
    targets = tuple(
        Target(name, "mean") for name in ("Intercept", "x", "sd_id", "sd_id_x", "sigma", "theta_id", "theta_id_x")
    )
    truth = np.full(sum(target_sizes(problem.layout, targets)), np.nan)
    with jax.enable_x64(True):
        data = as_jax(problem.data)

        def estimates(settings: Settings) -> object:
            return jax.jit(estimator(problem.layout, settings, targets, Interval()))(jax.random.key(1), data, truth)

        study, refined = (estimates(Settings(sampler="exact", accuracy=word)) for word in ("study", "refined"))
        chains = estimates(Settings(draws=4000, tune=1000))
    assert np.any(study.status) and not np.any(refined.status)
    mcse = chains.se / np.sqrt(chains.ess_bulk)
    assert np.max(np.abs(refined.estimate - chains.estimate) / mcse) < stats.norm.isf(0.5e-3 / len(truth))
    np.testing.assert_allclose(refined.se, chains.se, rtol=0.06)
