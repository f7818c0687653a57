"""A user's own Python in a study: NumPyro functions as mechanism and as model of a method, a function as method."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.draws import Estimates
from hiermodels.models.sites import TRACING
from hiermodels.studies.config import read_config
from hiermodels.studies.mechanisms import own
from hiermodels.studies.methods.ready import fit_of
from hiermodels.studies.run.runner import bind_all, dry_run

LIBRARY = {"priors": {"Intercept": "normal(0, 20)", "sd_school": "half_normal(10)"}, "sampler": "exact"}
FORMULA = "effect ~ 1 + (1 | school)"
MECHANISM = {
    "formula": FORMULA,
    "known_se": "se",
    "design": "eight_schools",
    "truth": {"Intercept": 8, "sd_school": 10},
}


def schools(school, n_school, se, effect=None):
    centre = numpyro.sample("Intercept", dist.Normal(0, 20))
    spread = numpyro.sample("sd_school", dist.HalfNormal(10))
    with numpyro.plate("school", n_school):
        z = numpyro.sample("z", dist.Normal(0, 1))
        theta = numpyro.deterministic("theta_school", centre + spread * z)
    numpyro.sample("observed", dist.Normal(theta[school], se), obs=effect)


def weighted(key, data):
    """No pooling and complete pooling by hand: the study's estimands are Intercept and theta_school."""
    w = data.weight
    mean = jnp.concatenate([jnp.sum(w * data.y, keepdims=True) / jnp.sum(w), data.y])
    se = jnp.concatenate([1 / jnp.sqrt(jnp.sum(w, keepdims=True)), 1 / jnp.sqrt(w)])
    none, one = jnp.full_like(mean, jnp.nan), jnp.ones((), int)
    ends = (mean - 1.959963984540054 * se, mean + 1.959963984540054 * se)
    return Estimates(mean, mean, se, *ends, none, none, none, none, none, jnp.zeros(mean.shape, int), 0 * one, one)


def study(**changes) -> dict:
    return {
        "mechanisms": MECHANISM,
        "estimands": ["Intercept", "theta_school"],
        "methods": {"partial": LIBRARY},
        "performance": ["bias", "cover"],
        "replications": 8,
        "failures": "complete-case",
        "seed": 5,
        "lanes": 8,
        "chunk": 8,
    } | changes


def mechanism(formula=schools, **truth) -> dict:
    return {"formula": formula, "design": "eight_schools", "truth": truth}


def side_by_side(run, column: str) -> pd.DataFrame:
    keys = [*run.factors, "rep", "estimand", "group"]
    return run.estimates.pivot_table(index=keys, columns="method", values=column, observed=True)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The library's simulation, fitted by the library's exact method and by a NumPyro function."""
    own = {"formula": schools, "draws": 500, "tune": 500, "chains": 2}
    config = study(
        estimands=["Intercept", "sd_school", "theta_school", "mean(theta_school)", {"benefit": "P(Intercept > 0)"}],
        methods={"partial": LIBRARY, "own": own},
    )
    folder = tmp_path_factory.mktemp("own") / "run"
    return config, folder, hm.run(config, folder, workers=1, progress=False)


@pytest.mark.slow
def test_function_as_model_agrees_with_the_library(both):
    run = both[2]
    assert set(run.estimates["status"]) <= {"ok", "divergent"}
    estimate = side_by_side(run, "estimate")
    assert len(estimate) == 8 * 12 and estimate.notna().all().all()
    means = [
        e in ("Intercept", "theta_school", "mean(theta_school)") for e in estimate.index.get_level_values("estimand")
    ]
    estimates = estimate[means]
    se, ess = (side_by_side(run, column).loc[estimates.index] for column in ("se", "ess_bulk"))
    z = (estimates["own"] - estimates["partial"]) / (se["partial"] / np.sqrt(ess["own"]))
    assert np.abs(z).max() < 5
    assert np.abs(se["own"] / se["partial"] - 1).max() < 0.2
    benefit = estimate.xs("benefit", level="estimand")
    assert np.abs(benefit["own"] - benefit["partial"]).max() < 0.05


def test_function_as_model_meets_the_same_truth(both):
    true = side_by_side(both[2], "true")
    assert (true["own"] == true["partial"]).all()
    labels = both[2].estimates.query("method == 'own' and estimand == 'theta_school'")["group"].unique()
    assert list(labels) == list("ABCDEFGH")


def test_function_is_named_in_the_manifest_and_traced_once(both, caplog):
    config, folder, run = both
    assert run.manifest["models"]["own"] == {"text": "Python function schools", "latex": ""}
    assert json.loads((folder / "manifest.json").read_text())["regime"] == ["population"]
    with caplog.at_level(logging.DEBUG, "hiermodels.studies"):
        longer = hm.run(config | {"replications": 16}, folder, extend=True, workers=1, progress=False)
    assert longer.estimates["rep"].nunique() == 16
    assert not [r for r in caplog.records if "tracing" in r.getMessage()]


@pytest.mark.slow
def test_function_as_method_is_the_library_s(tmp_path):
    flat = {"sampler": "exact", "priors": {"Intercept": "flat()"}}
    methods = {
        "mine": weighted,
        "complete": {"pooling": "complete"} | flat,
        "none": {"pooling": "none", "sampler": "exact"},
    }
    run = hm.run(study(methods=methods), tmp_path / "run", workers=1, progress=False)
    for column in ("estimate", "se", "lower", "upper", "true"):
        found = side_by_side(run, column)
        theirs = found["complete"].where(found.index.get_level_values("estimand") == "Intercept", found["none"])
        np.testing.assert_allclose(found["mine"], theirs, rtol=1e-6, atol=1e-9)
    assert (run.estimates.query("method == 'mine'")["status"] == "ok").all()


@pytest.mark.slow
def test_function_as_mechanism(tmp_path):
    config = study(
        mechanisms=mechanism(Intercept=8, sd_school=10) | {"grid": {"sd_school": [0, 10]}},
        methods={"library": {"formula": FORMULA, "known_se": "se"} | LIBRARY},
        estimands=["Intercept", "sd_school", "theta_school", "mean(theta_school)"],
        replications=128,
        chunk=128,
    )
    run = hm.run(config, tmp_path / "run", workers=1, progress=False)
    assert run.manifest["regime"] == ["population"]
    found = run.estimates
    assert (found.query("estimand == 'Intercept'")["true"] == 8).all()
    theta = found.query("estimand == 'theta_school'").pivot_table(
        index=["sd_school", "rep"], columns="group", values="true", observed=True
    )
    assert (theta.loc[0.0] == 8).all().all()
    assert theta.loc[10.0].to_numpy().std() == pytest.approx(10, rel=0.09)  # 1024 draws: a standard error of 2.2%
    average = found.query("estimand == 'mean(theta_school)'").set_index(["sd_school", "rep"])["true"]
    np.testing.assert_allclose(average, theta.mean(axis=1).loc[average.index])
    cover = run.performance.query(
        "measure == 'cover' and estimand == 'theta_school' and sd_school == 10 and group == '[mean]'"
    )
    assert cover["value"].astype(float).between(0.92, 0.98).all()


def test_truth_of_a_function_laws_labels_and_its_own_priors(tmp_path):
    given = {label: float(i) for i, label in enumerate("ABCDEFGH")}
    drawn = {"Intercept": "normal(100, 1)", "z": given}
    config = study(
        mechanisms=mechanism(**drawn), methods={"own": {"function": nothing}}, estimands=["Intercept", "sd_school", "z"]
    )
    run = hm.run(config | {"replications": 200, "chunk": 200}, tmp_path / "run", workers=1, progress=False)
    assert run.manifest["regime"] == ["prior"]
    true = {name: rows["true"] for name, rows in run.estimates.groupby("estimand", observed=True)}
    assert true["Intercept"].mean() == pytest.approx(100, abs=0.35) and true["Intercept"].std() == pytest.approx(
        1, rel=0.25
    )
    assert (true["sd_school"] ** 2).mean() == pytest.approx(100, rel=0.5)  # half normal of scale 10
    z = run.estimates.query("estimand == 'z'")
    assert (z["true"] == z["group"].astype(str).map(given)).all()


def nothing(key, data):
    """Ten targets: two scalars and eight entries of z; the data of a NumPyro function are its arguments."""
    row, one = jnp.full(10, jnp.mean(data["effect"])), jnp.ones((), int)
    return Estimates(*(row,) * 10, jnp.zeros(10, int), 0 * one, one)


SEEN: set[str] = set()


def counted(unit, n_unit, y=None):
    rate = numpyro.sample("rate", dist.Beta(2, 2))
    SEEN.update(() if y is None else (str(y.dtype),))
    numpyro.sample("y", dist.Bernoulli(jnp.full(n_unit, rate)[unit]), obs=y)


def test_counts_reach_the_function_as_whole_numbers():
    config = study(
        mechanisms={"formula": counted, "design": {"unit": 12, "obs": 40}, "truth": {"rate": 0.3}},
        methods={"own": {}},
        estimands=["rate", "mean(rate)"],
    )
    with pytest.raises(ValueError, match=r"estimands.*unknown estimand 'mean\(rate\)'"):
        dry_run(read_config(config))
    SEEN.clear()
    lines = dry_run(read_config(config | {"estimands": ["rate"]}))
    assert "fixed truths; own: 1 numbers (rate)" in lines[1]
    assert {"int64"} <= SEEN <= {"int32", "int64"}


def unnamed(se, effect=None, extra=None):
    numpyro.sample("effect", dist.Normal(0, se), obs=effect)


def improper(se, effect=None):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    numpyro.sample("effect", dist.Normal(mu, se), obs=effect)


def deaf(se, effect=None):
    mu = numpyro.sample("mu", dist.Normal(0, 1))
    numpyro.sample("effect", dist.Normal(mu, 1.0), obs=effect)


def elsewhere(se, effect=None):
    with numpyro.plate("anything", 8):
        theta = numpyro.sample("theta_school", dist.Normal(0, 1))
    numpyro.sample("effect", dist.Normal(theta, se), obs=effect)


def short(key, data):
    return jax.tree.map(lambda x: x[:3] if x.ndim else x, weighted(key, data))


def impure(key, data):
    return weighted(key, data) if float(data.y[0]) > 0 else None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mechanisms": mechanism(sd_schol=3)}, r"mechanisms.*'sd_schol' is no latent site.*did you mean 'sd_school'"),
        ({"mechanisms": mechanism(theta_school=3)}, r"'theta_school' is no latent site"),
        ({"mechanisms": mechanism(z={"A": 1})}, r"z: expected a number for each of A, B"),
        ({"mechanisms": mechanism(unnamed)}, r"one parameter with default None, the outcome, found effect, extra"),
        ({"mechanisms": mechanism(improper)}, r"cannot be drawn from; name that site"),
        ({"mechanisms": mechanism(deaf)}, r"expected one outcome a row, shape \(8,\), found \(\)"),
        (
            {"methods": {"m": {"formula": schools, "sampler": "exact"}}},
            r"methods\.m\.?.*sampler: expected 'elliptical_slice' or 'nuts'",
        ),
        (
            {"methods": {"m": {"formula": schools, "priors": {"z": "normal(0, 1)"}}}},
            r"methods\.m.*a NumPyro function has its own",
        ),
        ({"methods": {"m": {"formula": elsewhere}}}, r"methods\.m.*group '0' has no true value.*plate"),
        ({"methods": {"m": {"formula": counted}}}, r"methods\.m.*'effect' is no parameter"),
        ({"methods": {"m": short}}, r"methods\.m.*estimate: expected shape \(9,\), found \(3,\)"),
        ({"methods": {"m": lambda key, data: 3}}, r"methods\.m.*expected .*Estimates, found int"),
        ({"methods": {"m": impure}}, r"methods\.m.*write it with jax\.numpy"),
        ({"methods": {"m": {"formula": schools}}, "estimands": ["spread"]}, r"unknown estimand 'spread'"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        bind_all(read_config(study(**changes)))


def test_models_are_bound_while_no_other_thread_traces_one(monkeypatch):
    found = read_config(
        study(
            mechanisms=mechanism(Intercept=8, sd_school=10),
            methods={"own": {"formula": schools, "draws": 8, "tune": 8}},
        )
    )
    entered, leave, begun = threading.Event(), threading.Event(), threading.Event()
    bind_own = own.bind_own

    def spy(*arguments):
        begun.set()
        return bind_own(*arguments)

    monkeypatch.setattr(own, "bind_own", spy)

    def trace():
        with TRACING:
            entered.set()
            leave.wait(30)

    with ThreadPoolExecutor(2) as pool:
        tracing = pool.submit(trace)
        entered.wait(30)
        bound = pool.submit(fit_of, found, found.cells()[0], "own")
        early = begun.wait(1.0)
        leave.set()
        tracing.result()
        fit = bound.result(60)
    assert not early and begun.is_set()
    with ThreadPoolExecutor(1) as pool, TRACING:
        assert pool.submit(fit_of, found, found.cells()[0], "own").result(5) is fit  # what is bound waits for nobody
