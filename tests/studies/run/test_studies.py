"""Whole studies judge this library: calibration under proper priors, the two faces of shrinkage, honest failures."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.studies.config import read_config
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.methods.tasks import run_chunk, simulate_chunk

EIGHT = {"formula": "effect ~ 1 + (1 | school)", "known_se": "se", "design": "eight_schools"}
NUTS = {"sampler": "nuts", "draws": 250, "tune": 250}
EXACT = {"sampler": "exact"}

PRIOR_STUDIES = {
    "two levels, known variances": (
        EIGHT, {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}, ["Intercept", "sd_school", "theta_school", "mean(theta_school)", "new(school)"],
        {"nuts": NUTS, "exact": EXACT},
    ),
    "two levels, unknown variance": (
        {"formula": "y ~ 1 + (1 | g)", "design": {"g": 8, "obs": 5}},
        {"Intercept": "normal(0, 5)", "sd_g": "half_normal(2)", "sigma": "half_normal(3)"},
        ["Intercept", "sd_g", "sigma", "theta_g", "new(g)"], {"nuts": NUTS, "exact": EXACT},
    ),
    "three levels, unbalanced, with a treatment": (
        {"formula": "score ~ 1 + treated + (1 | school/classroom)", "design": {"school": 6, "classroom": 3, "obs": "integers(2, 6)", "predictors": {"treated": "half(school)"}}},
        {"Intercept": "normal(0, 5)", "treated": "normal(0, 2)", "sd_school": "half_normal(2)", "sd_school:classroom": "half_normal(1)", "sigma": "half_normal(3)"},
        ["Intercept", "treated", "sd_school", "sd_school:classroom", "sigma", "theta_school", "theta_school:classroom", "new(school:classroom)"],
        {"nuts": NUTS, "exact": EXACT},
    ),
    "varying slopes": (
        {"formula": "y ~ 1 + x + (1 + x || id)", "design": {"id": 12, "obs": 5, "predictors": {"x": "normal(0, 1)"}}},
        {"Intercept": "normal(0, 3)", "x": "normal(0, 3)", "sd_id": "half_normal(1)", "sd_id_x": "half_normal(1)", "sigma": "half_normal(2)"},
        ["Intercept", "x", "sd_id", "sd_id_x", "sigma", "theta_id", "theta_id_x"], {"nuts": NUTS},
    ),
    "beta-binomial": (
        {"formula": "tumors ~ 1 + (1 | experiment)", "family": "binomial", "trials": "rats", "design": "rats"},
        {"mean_experiment": "beta(2, 8)", "kappa_experiment": "gamma(4, 0.25)"},
        ["mean_experiment", "kappa_experiment", "theta_experiment"], {"nuts": NUTS, "exact": EXACT},
    ),
    "gamma-Poisson": (
        {"formula": "failures ~ 1 + (1 | pump)", "family": "poisson", "exposure": "hours", "design": "pumps"},
        {"mean_pump": "gamma(4, 8)", "shape_pump": "gamma(3, 2)"},
        ["mean_pump", "shape_pump", "theta_pump"], {"nuts": NUTS, "exact": EXACT},
    ),
}  # fmt: skip


def prior_study(name: str, replications: int) -> dict:
    mechanism, priors, estimands, samplers = PRIOR_STUDIES[name]
    return {
        "mechanisms": {**mechanism, "truth": priors},
        "estimands": estimands,
        "methods": {m: {**settings, "priors": priors} for m, settings in samplers.items()},
        "performance": ["cover"],
        "replications": replications,
        "failures": "complete-case",
        "seed": 20261121,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIOR_STUDIES)
def test_intervals_cover_under_the_prior(name, tmp_path):
    """Truths from the priors: every 95% interval covers 95%, at a joint failure rate of 1 in 1,000 over all models.

    The unit is the replicate: coverage averaged over groups is judged with its own Monte Carlo standard error.
    """
    run = hm.run(prior_study(name, 1000), tmp_path / "run", progress=False)
    assert run.manifest["regime"] == ["prior"]
    table = run.performance
    tests = 100  # rows over all parametrisations, rounded up
    for row in table.itertuples():
        assert row.n_failed == 0
        if row.group == "[mean]":
            z = abs(row.value - 0.95) / max(row.mcse, 1e-9)
            p = 2 * stats.norm.sf(z)
        elif row.group == "":
            p = stats.binomtest(round(row.value * row.n_sim), row.n_sim, 0.95).pvalue
        else:
            continue
        # 1,000 draws' quantiles cover a little less than 95%: within 0.2 points, far below what 1,000 replicates see
        assert p > 0.001 / tests, (row.method, row.estimand, row.group, row.value)


@pytest.mark.slow
def test_two_samplers_give_the_same_estimates_dataset_by_dataset(tmp_path):
    run = hm.run(prior_study("three levels, unbalanced, with a treatment", 200), tmp_path / "run", progress=False)
    wide = run.estimates.pivot_table(
        index=["rep", "estimand", "group"], columns="method", values=["estimate", "se"], observed=True
    )
    difference = (wide["estimate"]["nuts"] - wide["estimate"]["exact"]) / wide["se"]["exact"]
    # 1,000 draws of NUTS, effective sizes of several hundred
    assert difference.abs().mean() < 0.08
    assert abs(difference.mean()) < 0.01


@pytest.mark.slow
def test_shrinkage_is_biased_and_better_for_fixed_effects(tmp_path):
    run = hm.run("eight_schools_fixed", tmp_path / "run", progress=False)
    table = run.performance.query("estimand == 'theta_school' and group == '[mean]'").set_index(["method", "measure"])
    assert run.manifest["regime"] == ["fixed"]
    partial, none = table.loc[("partial", "rms_bias")], table.loc[("none", "rms_bias")]
    assert partial["value"] == pytest.approx(5.1, abs=0.4)
    assert none["value"] < 4 * none["mcse"] or none["value"] < 0.5
    ratio = table.loc[("partial", "rmse"), "value"] / table.loc[("none", "rmse"), "value"]
    assert ratio == pytest.approx(8.9 / 12.9, abs=0.03)


@pytest.mark.slow
def test_datasets_that_are_not_finite_are_exactly_the_failed_ones(tmp_path):
    # a variance from an inverse gamma law with shape 0.001 overflows in about half of the replicates
    study = {
        "mechanisms": {**EIGHT, "truth": {"Intercept": 8, "sd_school": "inverse_gamma_variance(0.001, 1)"}},
        "estimands": ["theta_school"],
        "methods": {
            "none": {"pooling": "none", "sampler": "exact"},
            "complete": {"pooling": "complete", "sampler": "exact"},
            "partial": {"sampler": "nuts", "draws": 50, "tune": 50, "priors": {"sd_school": "flat()"}},
        },
        "performance": ["bias", "cover"],
        "replications": 60,
        "failures": "complete-case",
        "seed": 5,
    }
    run = hm.run(study, tmp_path / "run", progress=False)
    config = read_config(study)
    cell = config.cells()[0]
    y, _ = simulate_chunk(config, mechanism_of(config, cell), np.arange(60))
    with np.errstate(over="ignore"):
        broken = {int(r) for r in np.flatnonzero(~np.isfinite((np.asarray(y) ** 2).sum(1)))}
    # outcomes beyond 1e60 are finite, but curvatures of their likelihood are not: either answer is honest there
    fine = {int(r) for r in np.flatnonzero(np.abs(np.nan_to_num(np.asarray(y), nan=np.inf)).max(1) < 1e60)}
    assert len(broken) > 10
    assert len(fine) > 10
    found = run.estimates
    for method in ("none", "complete", "partial"):
        rows = found[found["method"] == method]
        failed = set(rows.loc[rows["status"] == "nonfinite", "rep"])
        assert broken <= failed, method
        assert not failed & fine, method
        table = run.performance.query("measure == 'cover' and group == '[mean]' and method == @method")
        assert (table["n_sim"] == 60).all()
        assert (table["n_failed"] == len(failed)).all()


def test_the_same_data_key_gives_the_same_dataset_in_any_chunk():
    study = read_config(prior_study("two levels, known variances", 4))
    mechanism = mechanism_of(study, study.cells()[0])
    one, _ = simulate_chunk(study, mechanism, np.arange(3, 5))
    many, _ = simulate_chunk(study, mechanism, np.arange(64))
    assert (one == many[3:5]).all()
    assert one.dtype == np.float64
    beyond, _ = simulate_chunk(study, mechanism, np.arange(300))
    assert (beyond[:64] == many).all()
    assert (beyond[-2:] == simulate_chunk(study, mechanism, np.arange(298, 300))[0]).all()


def test_methods_with_other_chunks_share_one_simulation_and_nuts_is_compiled_before_there_are_data():
    partial = {"pooling": "partial", "sampler": "nuts", "draws": 10, "tune": 10, "chains": 1}
    study = read_config(
        {
            "mechanisms": {
                "formula": "y ~ 1 + (1 | g)",
                "design": {"g": 19, "obs": 2},
                "truth": {"Intercept": 0, "sd_g": 1, "sigma": 1},
            },
            "estimands": ["Intercept"],
            "methods": {"partial": partial, "complete": {"pooling": "complete", "sampler": "exact"}},
            "performance": ["bias"],
            "replications": 10,
            "failures": "complete-case",
            "seed": 1,
        }
    )
    told: list[str] = []
    for method in study.methods:
        run_chunk(study, study.cells()[0].hash, method, 0, announce=told.append)
    assert told == ["compiling partial (nuts)", "compiling the simulation", "compiling complete (exact)"]


@pytest.mark.slow
def test_float32_studies_run_and_agree_roughly(tmp_path):
    wide = {}
    for precision in ("float64", "float32"):
        study = {**prior_study("two levels, known variances", 8), "precision": precision}
        study["methods"] = {"nuts": {**study["methods"]["nuts"], "draws": 400}}
        run = hm.run(study, tmp_path / precision, progress=False)
        wide[precision] = run.estimates.query("estimand == 'theta_school'")
    a, b = wide["float64"], wide["float32"]
    assert np.allclose(a["true"], b["true"], rtol=1e-5)
    assert np.nanmean(np.abs(a["estimate"].to_numpy() - b["estimate"].to_numpy()) / a["se"].to_numpy()) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["retry-with-escalation"])
def test_retries_are_made_and_counted(tmp_path, policy):
    study = prior_study("two levels, known variances", 16)
    study["methods"] = {"nuts": {**study["methods"]["nuts"], "draws": 20, "tune": 20}}  # too short: flagged for low ESS
    study["failures"] = policy
    run = hm.run(study, tmp_path / "run", progress=False)
    tries = run.estimates.groupby("rep")["n_try"].first()
    assert tries.max() > 1
    assert (run.performance["n_retried"] == int((tries > 1).sum())).all()
    assert isinstance(run.failures, pd.DataFrame)


def test_threads_that_trace_models_do_not_meet_one_another_s_sites():
    """NumPyro's handlers stand in one stack a process; without turns a trace finds the sites of both."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    import numpyro
    import numpyro.distributions as dist
    from numpyro import handlers

    from hiermodels.studies.methods.programs import compiled

    def traced(seconds):
        def model():
            numpyro.sample("x", dist.Normal(0.0, 1.0))
            time.sleep(seconds)
            numpyro.sample("z", dist.Normal(0.0, 1.0))

        def run(value):
            assert list(handlers.trace(handlers.seed(model, 0)).get_trace()) == ["x", "z"]
            return value + 1

        return jax.jit(run)

    with ThreadPoolExecutor(2) as pool:
        programs = list(pool.map(lambda seconds: compiled(traced(seconds), (jnp.ones(3),), "a model"), (0.2, 0.3)))
    assert [float(p(jnp.ones(3))[0]) for p in programs] == [2.0, 2.0]


def test_old_programs_go_before_their_memory_maps_are_too_many(monkeypatch):
    from hiermodels.studies.methods import programs

    monkeypatch.setattr(programs, "_programs", {})
    monkeypatch.setattr(programs, "LEAST_PROGRAMS", 1)
    for size in (2, 3, 4):
        programs.compiled(jax.jit(lambda x: x + 1), (jnp.ones(size),), "a program")
    assert len(programs._programs) == 3
    monkeypatch.setattr(programs, "memory_maps", lambda: programs.MOST_MAPS + 1)
    last = programs.compiled(jax.jit(lambda x: x + 2), (jnp.ones(5),), "another")
    assert list(programs._programs.values()) == [last]
