"""Summaries of exact studies against quadrature of their own: distribution functions that follow each component, and their errors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from count_quadrature import CountPosterior, datasets

import hiermodels as hm
from hiermodels.inference.samplers import Settings, estimator
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import as_jax, bind

HYPER = {"binomial": "kappa_b", "poisson": "shape_b"}
ALLOWED = {"study": 0.01, "fit": 0.002}
GROUPS, CUT = 4, 0.2


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def bound(family):
    frame = pd.DataFrame({"b": list("ABCD"), "r": [1.0, 2.0, 0.0, 3.0], "n": 30.0})
    known = {"trials": "n"} if family == "binomial" else {"exposure": "n"}
    return bind(hm.Model("r ~ 1 + (1 | b)", family, **known), frame)


def estimates(family, accuracy, sets, targets):
    problem = bound(family)
    data = as_jax(problem.data)
    run = estimator(problem.layout, Settings("exact", accuracy=accuracy), targets, Interval())
    size = 4 * sum(t.variable == "theta_b" for t in targets) + sum(t.variable != "theta_b" for t in targets)

    def one(row):
        filled = [jnp.zeros_like(data.y).at[:GROUPS].set(x) for x in row]
        return run(jax.random.key(0), eqx.tree_at(lambda d: (d.y, d.size), data, tuple(filled)), jnp.full(size, jnp.nan))

    rows = tuple(jnp.asarray(np.stack(x)) for x in zip(*sets, strict=True))
    return jax.tree.map(np.asarray, jax.jit(lambda r: jax.lax.map(one, r, batch_size=4))(rows))


def wrong(family, accuracy, sets, again=None):
    """Errors of probabilities by quantity, and the share of datasets with a flag; flagged entries tried ``again`` as a study does."""
    targets = (Target("theta_b"), Target("theta_b", threshold=CUT, above=False), Target("mean_b", "median", no_moment="mean"))
    targets += (Target(HYPER[family], "median", no_moment="mean"),)
    found = estimates(family, accuracy, sets, targets)
    if again:
        finer, bad = estimates(family, again, sets, targets), found.status > 0
        found = jax.tree.map(lambda old, new: np.where(bad, new, old) if old.ndim == 2 else old, found, finer)
    errors = {"groups": [], "cut": [], "mean": [], "spread": []}
    for i, one in enumerate(sets):
        truth = CountPosterior(family, *one)
        asked = np.stack([found.lower[i], found.median[i], found.upper[i]])
        p = np.array([0.025, 0.5, 0.975])
        # a rate below the smallest number, or a probability within rounding of one, is a number no more
        seen = (asked[:, :4] > 1e-300) & ((asked[:, :4] < 1 - 1e-14) | (family == "poisson"))
        errors["groups"] += list(np.where(seen, p[:, None] - truth.cdf(asked[:, :4]), 0.0))
        errors["cut"] += list(found.estimate[i, 4:8] - truth.cdf(np.full((1, 4), CUT))[0])
        errors["mean"] += list(p - truth.hyper_cdf("mean", asked[:, 8]))
        errors["spread"] += list(p - truth.hyper_cdf("concentration", asked[:, 9]))
    return {k: np.asarray(v) for k, v in errors.items()}, (found.status > 0).any(1).mean()


@pytest.mark.parametrize(("family", "accuracy"), [("binomial", "study"), ("binomial", "fit"), ("poisson", "study")])
def test_counts_meet_quadrature(family, accuracy):
    errors, _ = wrong(family, accuracy, datasets(family, GROUPS, 12, 1))
    for name, error in errors.items():
        assert np.abs(error).max() < ALLOWED[accuracy], name


@pytest.mark.slow
@pytest.mark.parametrize("ordinary", [True, False])
@pytest.mark.parametrize("accuracy", ["study", "fit"])
@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_500_datasets_of_counts_meet_quadrature(family, accuracy, ordinary):
    errors, flagged = wrong(family, accuracy, datasets(family, GROUPS, 500, 2, ordinary), {"study": "refined", "fit": "finest"}[accuracy])
    assert flagged <= (0.01 if ordinary else 0.05)
    for name, error in errors.items():
        assert np.abs(error).max() < ALLOWED[accuracy], name
        assert np.abs(np.reshape(error, (-1, error.shape[-1] if name == "groups" else 1)).mean()) < 1e-3, name


def test_baskets_without_a_response(tmp_path):
    """P(theta > .2) came out as .339, beside an interval from 0 to 1; 5, 1, 1, 1, 1 of 20 as .385."""
    table = {"b": list("ABCD"), "n": [10] * 4, "rate": [0] * 4}
    mechanisms = {"formula": "r ~ 1 + (1 | b)", "family": "binomial", "trials": "n", "design": {"table": table}, "truth": {"theta_b": "rate"}}
    methods = {"plain": {"sampler": "exact"}}
    config = {"mechanisms": mechanisms, "estimands": ["theta_b", {"act": f"P(theta_b > {CUT})"}], "methods": methods}
    config |= {"performance": ["ciwidth"], "replications": 1, "failures": "complete-case", "seed": 1}
    found = hm.run(config, tmp_path / "run", progress=False).estimates
    act = found[found.estimand == "act"].estimate
    np.testing.assert_allclose(act, 0.0016, atol=2e-4)
    assert (found[found.estimand == "theta_b"].upper < 0.1).all()
    assert (found.status == "ok").all()


def test_an_estimand_is_a_function_of_it_alone():
    sets = datasets("binomial", GROUPS, 4, 3)
    alone = estimates("binomial", "study", sets, (Target("theta_b"),))
    beside = estimates("binomial", "study", sets, (Target("kappa_b", "median"), Target("theta_b"), Target("new(b)")))
    for name in ("estimate", "se", "lower", "median", "upper"):
        np.testing.assert_allclose(getattr(beside, name)[:, 1:5], getattr(alone, name), rtol=1e-5)


def test_counts_that_fit_refuses_are_refused_in_a_study(tmp_path):
    table = {"b": list("ABCDE"), "n": [1.0] * 5, "rate": [1e-9] * 5}
    mechanisms = {"formula": "r ~ 1 + (1 | b)", "family": "poisson", "exposure": "n", "design": {"table": table}, "truth": {"theta_b": "rate"}}
    config = {"mechanisms": mechanisms, "estimands": ["theta_b"], "methods": {"plain": {"sampler": "exact"}}}
    config |= {"performance": ["ciwidth"], "replications": 2, "failures": "complete-case", "seed": 1}
    run = hm.run(config, tmp_path / "run", progress=False)
    assert (run.estimates.status == "nonfinite").all() and run.estimates.estimate.isna().all()
    frame = pd.DataFrame({"b": list("ABCDE"), "n": 1.0, "r": 0.0})
    with pytest.raises(ValueError, match="every count is zero"):
        bind(hm.Model("r ~ 1 + (1 | b)", "poisson", exposure="n"), frame)


def test_accuracy_is_a_word_of_exact_methods(tmp_path):
    from hiermodels.studies.config import ConfigError, read_config

    config = {"mechanisms": {"formula": "y ~ 1 + (1 | g)", "design": {"g": 4, "obs": 3}, "truth": {"Intercept": 0, "sd_g": 1, "sigma": 1}}}
    config |= {"estimands": ["Intercept"], "replications": 2, "seed": 1, "methods": {"m": {"sampler": "exact", "accuracy": "fit"}}}
    study = read_config(config)
    assert study.resolved()["methods"]["m"]["accuracy"] == "fit"
    for method, words in (({"sampler": "exact", "accuracy": "best"}, "one of study, fit"), ({"accuracy": "fit"}, "write sampler: exact")):
        with pytest.raises(ConfigError, match=words):
            read_config({**config, "methods": {"m": method}})
