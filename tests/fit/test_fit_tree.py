"""The tree of a fit: groups and names from every sampler, log prior and log likelihood against SciPy, ArviZ
unmodified.
"""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from arviz_stats import psense_summary
from same_fit import assert_same
from scipy import stats

import hiermodels as hm
from hiermodels.inference.datatree import to_datatree
from hiermodels.inference.draws import Draws
from hiermodels.inference.log_priors import log_prior
from hiermodels.models.data import bind
from hiermodels.models.user import user_model

PROPER = {"Intercept": "normal(5, 20)", "sd_school": "half_normal(10)"}
SCHEMA = {"lp", "acceptance_rate", "step_size", "tree_depth", "n_steps", "diverging", "energy", "reached_max_treedepth"}
OWN = {"metropolis": {"acceptance_rate", "step_size"}}
QUICK = {"draws": 60, "tune": 60, "chains": 2, "progress": False}


def schools(**priors):
    return hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=PROPER | priors)


def fit_schools(**settings):
    return hm.fit(schools(), hm.load_dataset("eight_schools"), **{**QUICK, **settings})


def fit_rats(**settings):
    priors = {"mean_experiment": "beta(2, 8)", "kappa_experiment": "gamma(2, 0.1)"}
    model = hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors=priors)
    return hm.fit(model, hm.load_dataset("rats"), **{**QUICK, **settings})


def fit_pumps(**settings):
    priors = {"mean_pump": "gamma(2, 1)", "shape_pump": "half_normal_cv(1)"}
    model = hm.Model("failures ~ 1 + (1 | pump)", family="poisson", exposure="hours", priors=priors)
    return hm.fit(model, hm.load_dataset("pumps"), **{**QUICK, **settings})


def fit_t(**settings):
    model = hm.Model(
        "effect ~ 1 + (1 | school)", family="student_t", known_se="se", priors=PROPER | {"nu": "gamma(2, 0.1)"}
    )
    return hm.fit(model, hm.load_dataset("eight_schools"), **{**QUICK, **settings})


CASES = {
    "normal exact": (fit_schools, {"sampler": "exact"}),
    "binomial exact": (fit_rats, {"sampler": "exact"}),
    "poisson exact": (fit_pumps, {"sampler": "exact"}),
    "normal gibbs": (fit_schools, {"sampler": "gibbs"}),
    "normal metropolis": (fit_schools, {"sampler": "metropolis"}),
    "normal nuts": (fit_schools, {"sampler": "nuts"}),
}
SLOW = {
    "normal explicit": (fit_schools, {"marginalize": False}),
    "normal centred": (fit_schools, {"marginalize": False, "centred": True}),
    "student t": (fit_t, {}),
    "binomial explicit": (fit_rats, {"marginalize": False}),
    "poisson gibbs": (fit_pumps, {"sampler": "gibbs"}),
}


@pytest.fixture(scope="module", params=[*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def case(request):
    make, settings = (CASES | SLOW)[request.param]
    return make(**settings)


@pytest.fixture(scope="module")
def exact():
    """The program is the first case's."""
    return fit_schools(sampler="exact")


@pytest.mark.slow_cases("binomial exact", "normal gibbs", "normal nuts", "poisson exact")
def test_groups_and_schema_names(case):
    tree = case.to_datatree(predictive=True, seed=3)
    wanted = {
        "posterior",
        "sample_stats",
        "log_likelihood",
        "log_prior",
        "posterior_predictive",
        "observed_data",
        "constant_data",
    }
    assert set(tree.children) == wanted
    recorded, sampler = tree.sample_stats, case.settings.sampler
    assert set(recorded.data_vars) == (SCHEMA if sampler == "nuts" else {"lp"} | OWN.get(sampler, set()))
    assert np.isfinite(recorded["lp"]).all() and recorded["lp"].dims == ("chain", "draw")
    assert recorded.attrs["independent"] == (sampler == "exact")
    assert ("quadrature_error" in recorded.attrs) == (sampler == "exact") and 0 <= recorded.attrs.get(
        "quadrature_error", 0
    ) < 1e-3
    grouping = next(iter(case.problem.labels))
    assert tree.posterior[grouping].to_numpy().tolist() == case.problem.labels[grouping]
    shape = case.draws.values[f"theta_{grouping}"].shape[:2]
    outcome = case.model.outcome
    assert tree.posterior_predictive[outcome].shape == (*shape, len(case.data))
    np.testing.assert_array_equal(
        tree.posterior_predictive[outcome], case.predict(kind="outcome", seed=3).predictions[outcome]
    )
    assert set(tree.log_prior.data_vars) == {p.name for p in case.problem.layout.parameters}
    assert all(
        np.isfinite(tree.log_prior[name]).all() and tree.log_prior[name].attrs["improper"] == 0
        for name in tree.log_prior.data_vars
    )


@pytest.mark.slow_cases("binomial exact", "normal gibbs", "normal nuts", "poisson exact")
def test_arviz_runs_unmodified(case, capsys):
    tree = case.to_datatree(predictive=True)
    outcome = case.model.outcome
    names = [p.name for p in case.problem.layout.parameters]
    assert list(az.summary(tree, var_names=names).index) == names
    assert az.loo(tree).n_data_points == len(case.data)
    table = psense_summary(tree, var_names=names)
    assert list(table.index) == names
    assert np.isfinite(table[["prior", "likelihood"]]).all(axis=None)
    az.plot_forest(tree, var_names=names, backend="none")
    az.plot_dist(tree, var_names=names, backend="none")
    az.plot_rank(tree, var_names=names, backend="none")
    az.plot_ppc_dist(tree, num_samples=5, backend="none")
    for plot in (az.plot_trace, az.plot_trace_dist, az.plot_parallel, az.plot_pair):  # these look for divergences
        plot(tree, var_names=names, backend="none")
    assert az.loo(tree, pointwise=True).elpd_i.shape == (len(tree.observed_data[outcome]),)
    az.diagnose(tree)
    assert "No sample_stats group" not in capsys.readouterr().out


def test_file_round_trip_is_identical(case, tmp_path):
    case.save(tmp_path / "fit.nc")
    assert_same(case, hm.load_fit(tmp_path / "fit.nc"), tmp_path / "fit.nc")


def test_lp_is_the_log_density_of_the_hyperparameters(exact):
    frame, tau = exact.data, exact.draws.values["sd_school"]
    covariance = np.diag(frame["se"] ** 2.0) + 20**2
    each = [
        stats.multivariate_normal(np.full(8, 5.0), covariance + t**2 * np.eye(8)).logpdf(frame["effect"])
        for t in tau.ravel()
    ]
    expected = np.reshape(each, tau.shape) + stats.halfnorm(scale=10).logpdf(tau) + np.log(tau)
    assert np.ptp(exact.draws.stats["lp"] - expected) < 1e-8


def test_log_prior_of_normal_and_half_normal(exact):
    tree = exact.to_datatree()
    np.testing.assert_allclose(
        tree.log_prior["Intercept"], stats.norm(5, 20).logpdf(exact.draws.values["Intercept"]), atol=1e-12
    )
    np.testing.assert_allclose(
        tree.log_prior["sd_school"], stats.halfnorm(scale=10).logpdf(exact.draws.values["sd_school"]), atol=1e-12
    )
    assert tree.log_prior["sd_school"].attrs["prior"] == "half_normal(10)"


def test_log_prior_of_populations():
    rats, pumps = fit_rats(sampler="exact"), fit_pumps(sampler="exact")
    x, tree = rats.draws.values, rats.to_datatree()
    np.testing.assert_allclose(
        tree.log_prior["mean_experiment"], stats.beta(2, 8).logpdf(x["mean_experiment"]), atol=1e-10
    )
    np.testing.assert_allclose(
        tree.log_prior["kappa_experiment"], stats.gamma(2, scale=10).logpdf(x["kappa_experiment"]), atol=1e-10
    )
    # lp is of logit mean and log kappa
    m, k = x["mean_experiment"], x["kappa_experiment"]
    rows = stats.betabinom.logpmf(rats.data["tumors"], rats.data["rats"], *(v[..., None] for v in (m * k, (1 - m) * k)))
    jacobian = np.log(m) + np.log1p(-m) + np.log(k)
    total = (
        rows.sum(-1)
        + tree.log_prior["mean_experiment"].to_numpy()
        + tree.log_prior["kappa_experiment"].to_numpy()
        + jacobian
    )
    assert np.ptp(tree.sample_stats["lp"].to_numpy() - total) < 1e-8
    x, tree = pumps.draws.values, pumps.to_datatree()
    # 1 / sqrt(shape) is half normal: its density times the derivative shape^(-3/2) / 2
    expected = stats.halfnorm.logpdf(x["shape_pump"] ** -0.5) - 1.5 * np.log(x["shape_pump"]) - np.log(2)
    np.testing.assert_allclose(tree.log_prior["shape_pump"], expected, atol=1e-10)


@pytest.mark.slow
def test_improper_priors_are_zero_or_up_to_a_constant():
    frame = hm.load_dataset("eight_schools")
    problem = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), frame)
    tau, se = np.array([[0.1, 1.0, 30.0]]), frame["se"].to_numpy()
    values = {"Intercept": np.array([[1.0, 2.0, 3.0]]), "sd_school": tau, "theta_school": np.ones((1, 3, 8))}
    found = to_datatree(Draws(values, {}), problem, frame).log_prior
    assert (found["Intercept"] == 0).all()
    assert found["Intercept"].attrs["improper"] == found["sd_school"].attrs["improper"] == 1
    # reference(): tau sqrt(sum 1 / (se^2 + tau^2)^2), written out
    expected = np.log(tau) + 0.5 * np.log((1 / (se**2 + tau[..., None] ** 2) ** 2).sum(-1))
    np.testing.assert_allclose(found["sd_school"], expected, atol=1e-10)


def test_log_prior_of_a_correlation():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 4), "x": np.tile(np.arange(4.0), 6), "y": rng.normal(size=24)})
    problem = bind(hm.Model("y ~ 1 + x + (1 + x | g)", priors={"cor_g": "lkj(3)", "sigma": "fixed(1)"}), frame)
    r = rng.uniform(-0.9, 0.9, (2, 5))
    matrices = np.stack([np.stack([np.ones_like(r), r], -1), np.stack([r, np.ones_like(r)], -1)], -1)
    found = log_prior({"cor_g": matrices}, problem)["cor_g"]
    # two effects: (r + 1) / 2 ~ Beta(eta, eta)
    np.testing.assert_allclose(found, stats.beta(3, 3).logpdf((r + 1) / 2) - np.log(2), atol=1e-10)
    assert "sigma" not in log_prior({"sigma": r, "cor_g": matrices}, problem)


def test_log_likelihood_of_counts():
    rats, pumps = fit_rats(sampler="exact"), fit_pumps(sampler="exact")
    y, n = rats.data["tumors"].to_numpy(), rats.data["rats"].to_numpy()
    expected = stats.binom.logpmf(y, n, rats.draws.values["theta_experiment"])
    np.testing.assert_allclose(rats.to_datatree().log_likelihood["tumors"], expected, atol=1e-9)
    expected = stats.poisson.logpmf(
        pumps.data["failures"], pumps.data["hours"].to_numpy() * pumps.draws.values["theta_pump"]
    )
    np.testing.assert_allclose(pumps.to_datatree().log_likelihood["failures"], expected, atol=1e-9)


def test_pointwise_can_be_left_out(exact):
    assert "log_likelihood" not in exact.to_datatree(pointwise=False).children


def test_a_function_has_densities_but_no_replicates():
    import numpyro
    import numpyro.distributions as dist

    def own(se, effect=None):
        mu = numpyro.sample("mu", dist.Normal(0, 20))
        numpyro.factor("nothing", 0.0)
        numpyro.sample("effect", dist.Normal(mu, se), obs=effect)

    frame, mu = hm.load_dataset("eight_schools"), np.random.default_rng(0).normal(8, 4, (2, 100))
    model, draws = user_model(own, frame, "effect"), Draws({"mu": mu}, {})
    tree = to_datatree(draws, model, frame)
    expected = stats.norm.logpdf(frame["effect"], mu[..., None], frame["se"])
    np.testing.assert_allclose(tree.log_likelihood["effect"], expected, atol=1e-9)
    assert list(tree.log_likelihood.data_vars) == ["effect"]
    np.testing.assert_allclose(tree.log_prior["mu"], stats.norm(0, 20).logpdf(mu), atol=1e-9)
    assert az.loo(tree).n_data_points == 8
    with pytest.raises(ValueError, match=r"expected a fit of hm\.Model"):
        to_datatree(draws, model, frame, predictive=True)
