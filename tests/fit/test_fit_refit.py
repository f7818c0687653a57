"""Fits again and draws from the prior: what is kept, what is replaced, what is compiled, and prior moments in closed
form.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.inference import compiled
from hiermodels.models.data import bind
from hiermodels.models.merging import refitted_model

FRAME = pd.DataFrame({"g": np.repeat(list("abcde"), 3), "y": np.random.default_rng(2).normal(3, 2, 15)})


@pytest.fixture(scope="module")
def fit():
    return hm.fit(
        hm.Model("y ~ 1 + (1 | g)", priors={"sigma": "fixed(2)"}),
        FRAME,
        sampler="exact",
        draws=40,
        chains=2,
        progress=False,
    )


@pytest.mark.slow
def test_nothing_changed_gives_the_same_draws(fit):
    again = fit.refit()
    assert again.model == fit.model
    np.testing.assert_array_equal(again.draws.values["theta_g"], fit.draws.values["theta_g"])


def test_data_of_the_same_shape_run_the_same_program(fit):
    misses = compiled._program.cache_info().misses
    other = FRAME.assign(y=2 * FRAME["y"] + 1)
    again = fit.refit(data=other, seed=1)
    assert compiled._program.cache_info().misses == misses
    assert again.seconds["compile"] < 0.1
    assert again.model == fit.model


def test_a_default_that_was_scaled_to_known_variances_is_kept():
    model = hm.Model("y ~ 1 + (1 | g) + (1 | h)", known_se="se")
    frame = FRAME.assign(se=2.0, h=list("vwxyz") * 3)
    first = bind(model, frame)
    prior = first.layout.parameter("sd_g").prior
    assert str(prior) == "half_t(3, 5)" and bind(model, frame.assign(se=1.0)).layout.parameter("sd_g").prior != prior
    assert bind(model, frame.assign(se=1.0), scales=first.scales).layout.parameter("sd_g").prior == prior


def test_priors_are_merged(fit):
    model = hm.Model("y ~ 1 + (1 | g)", priors={"sd_g": "half_normal(5)", "sigma": "half_normal(2)"})
    again = refitted_model(model, {"sd_g": "exponential(1)"})
    assert {k: str(v) for k, v in again.priors} == {"sd_g": "exponential(1)", "sigma": "half_normal(2)"}
    fixed = fit.refit(priors={"sd_g": "fixed(1)"})
    assert {k: str(v) for k, v in fixed.model.priors} == {"sd_g": "fixed(1)", "sigma": "fixed(2)"}
    assert (fixed.draws.values["sd_g"] == 1).all()
    assert list(fit.model.prior) == ["sigma"]


def test_a_joint_prior_makes_room():
    model = hm.Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors={"g": "bda3()"})
    part = refitted_model(model, {"kappa_g": "gamma(2, 0.1)"})
    assert {k: str(v) for k, v in part.priors} == {"kappa_g": "gamma(2, 0.1)", "mean_g": "uniform(0, 1)"}
    back = refitted_model(part, {"g": "rgbp()"})
    assert {k: str(v) for k, v in back.priors} == {"g": "rgbp()"}


def test_settings_are_named_rightly(fit):
    assert fit.refit(seed=5).settings.seed == 5
    with pytest.raises(ValueError, match="refit: no setting 'draw'; did you mean 'draws'"):
        fit.refit(draw=10)
    with pytest.raises(ValueError, match=r"priors: .*does not reach the likelihood"):
        fit.refit(priors={"sd_h": "half_normal(1)"})


# draws from the prior
# ----------------------------------------------------------------------------------------------------


def test_prior_predictive_moments():
    """y = mu + tau z + se e: mean 5, variance 20^2 + E tau^2 + se^2 with E tau^2 = 10^2 for a half normal."""
    schools = hm.load_dataset("eight_schools")
    model = hm.Model(
        "effect ~ 1 + (1 | school)",
        known_se="se",
        priors={"Intercept": "normal(5, 20)", "sd_school": "half_normal(10)"},
    )
    draws = 4000
    tree = hm.prior_predictive(model, schools, draws=draws, seed=1)
    y = tree.prior_predictive["effect"].to_numpy()[0]
    variance = 400 + 100 + schools["se"].to_numpy() ** 2
    assert np.all(np.abs(y.mean(0) - 5) < 4.5 * np.sqrt(variance / draws))
    assert np.all(np.abs(y.var(0) / variance - 1) < 4.5 * np.sqrt(3 / draws))  # kurtosis of y is below 4
    assert stats.kstest(tree.prior["sd_school"].to_numpy()[0], stats.halfnorm(scale=10).cdf).pvalue > 1e-3
    assert tree.prior["theta_school"].dims == ("chain", "draw", "school")
    assert set(tree.children) == {"prior", "prior_predictive", "observed_data", "constant_data"}
    again = hm.prior_predictive(model, schools.drop(columns="effect"), draws=draws, seed=1)
    np.testing.assert_array_equal(again.prior_predictive["effect"].to_numpy()[0], y)
    assert "observed_data" not in again.children


def test_prior_predictive_of_counts():
    """theta ~ Beta(kappa m, kappa (1 - m)), m ~ Beta(2, 8): the mean count is 0.2 n, and the thetas of a draw scatter
    as kappa = 4 says.
    """
    priors = {"mean_experiment": "beta(2, 8)", "kappa_experiment": "fixed(4)"}
    model = hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors=priors)
    rats = hm.load_dataset("rats").iloc[:6]
    tree = hm.prior_predictive(model, rats, draws=3000)
    y = tree.prior_predictive["tumors"].to_numpy()[0]
    assert y.shape == (3000, 6)
    share = y / rats["rats"].to_numpy()
    assert abs(share.mean() - 0.2) < 4 * share.mean(1).std() / np.sqrt(3000)
    m, theta = tree.prior["mean_experiment"].to_numpy()[0], tree.prior["theta_experiment"].to_numpy()[0]
    ratio = ((theta - m[:, None]) ** 2).mean() / (m * (1 - m) / 5).mean()
    assert abs(ratio - 1) < 0.1


def test_a_prior_that_is_cut():
    priors = {"Intercept": "normal(0, 1)", "sd_school": "half_normal(1)", "nu": "gamma(2, 0.5)"}
    model = hm.Model("effect ~ 1 + (1 | school)", family="student_t", known_se="se", priors=priors)
    nu = hm.prior_predictive(model, hm.load_dataset("eight_schools"), draws=2000).prior["nu"].to_numpy()[0]
    law = stats.gamma(2, scale=2)
    assert stats.kstest(nu, lambda x: (law.cdf(x) - law.cdf(1)) / law.sf(1)).pvalue > 1e-3


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (
            {"priors": None},
            r"improper Intercept ~ flat\(\), sd_school ~ reference\(\); name proper ones, e.g. priors=\{'Intercept': 'normal\(0, 10\)'\}",
        ),
        ({"pooling": "none"}, "found school without pooling"),
        ({"draws": 0}, "draws: expected a whole number >= 1, found 0"),
    ],
)
def test_prior_predictive_refuses(arguments, match):
    priors = arguments.pop("priors", {"Intercept": "normal(0, 1)", "sd_school": "half_normal(1)"})
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)
    with pytest.raises(ValueError, match=match):
        hm.prior_predictive(model, hm.load_dataset("eight_schools"), **arguments)
