"""One fit, front to back: published posteriors, labels, ArviZ, predictions, files, warnings, messages.

Targets are the quadratures of eight schools, baseball and school / classroom / score (deterministic to the digits
shown); a route is held to 4 of its own Monte Carlo standard errors.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import time

import arviz as az
import numpy as np
import numpyro
import numpyro.distributions as dist
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference import advice, compiled
from hiermodels.inference.draws import Draws
from hiermodels.models.data import bind

SCHOOLS = list("ABCDEFGH")
EIGHT = {
    "flat()": {
        "sd_school": (6.57548, 5.65038),
        "quantiles": {0.025: 0.2427, 0.25: 2.4672, 0.5: 5.2385, 0.75: 9.1249, 0.975: 20.7525},
        "Intercept": (7.93238, 5.17839),
        "mean": [11.4003, 7.8946, 6.1307, 7.6447, 5.1264, 6.1385, 10.6670, 8.4568],
        "sd": [8.3414, 6.2748, 7.7652, 6.5463, 6.3574, 6.7103, 6.7856, 7.8882],
    },
    "half_cauchy(5)": {
        "sd_school": (3.63387, 3.26256),
        "quantiles": {0.025: 0.1242, 0.25: 1.2738, 0.5: 2.7742, 0.75: 5.0379, 0.975: 12.0623},
        "Intercept": (7.80302, 4.46503),
        "mean": [9.3328, 7.8060, 7.0413, 7.6841, 6.3888, 6.9599, 9.1802, 8.0310],
        "sd": [6.2086, 5.2769, 5.9289, 5.4074, 5.3374, 5.4865, 5.5603, 5.9805],
    },
}


@pytest.fixture(scope="module")
def schools():
    return hm.load_dataset("eight_schools")


def eight(prior):
    return hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": prior})


@pytest.fixture(scope="module")
def flat(schools):
    return hm.fit(eight("flat()"), schools, draws=2000, progress=False)


@pytest.fixture(scope="module")
def classes():
    """Target B: half-normal(10) on every sd."""
    sds = ("sd_school", "sd_school:classroom", "sigma")
    model = hm.Model("score ~ 1 + (1 | school/classroom)", priors={n: "half_normal(10)" for n in sds})
    return hm.fit(model, hm.load_dataset("scores"), draws=2000, progress=False)


def assert_moments(summary, name, mean, sd):
    rows = summary.loc[[name]] if isinstance(name, str) else summary.loc[name]
    assert np.all(np.abs(rows["mean"] - mean) < 4 * rows["mcse_mean"] + 1e-4), rows
    assert np.all(np.abs(rows["sd"] - sd) < 4 * rows["mcse_sd"] + 1e-4), rows


def assert_quantiles(fit, name, expected):
    x = fit.draws.values[name]
    for prob, value in expected.items():
        error = float(az.mcse(x, method="quantile", prob=prob, chain_axis=0, draw_axis=1))
        assert abs(np.quantile(x, prob) - value) < 4 * error + 1e-4, (prob, np.quantile(x, prob), value)


# published posteriors
# ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prior", [pytest.param(p, marks=[] if p == "flat()" else pytest.mark.slow) for p in EIGHT])
def test_eight_schools(prior, schools, flat):
    fit = flat if prior == "flat()" else hm.fit(eight(prior), schools, draws=2000, progress=False)
    target, table = EIGHT[prior], fit.summary()
    assert fit.status == "ok"
    assert_moments(table, "Intercept", *target["Intercept"])
    if prior == "flat()":  # under a half-Cauchy the sd's own variance has an error that no 8,000 draws estimate well
        assert_moments(table, "sd_school", *target["sd_school"])
    assert_moments(table, [f"theta_school[{s}]" for s in SCHOOLS], target["mean"], target["sd"])
    assert_quantiles(fit, "sd_school", target["quantiles"])


def test_flat_tau_interval_of_a_school(flat):
    lower, upper = flat.summary("theta_school").loc["theta_school[A]", ["eti95_lb", "eti95_ub"]]
    assert abs(lower - -2.105) < 1.0
    assert abs(upper - 31.623) < 1.5
    a = flat.draws.values["theta_school"][..., 0]
    assert abs((a > 0).mean() - 0.9505) < 0.012


@pytest.mark.slow
def test_baseball_by_exact_draws():
    frame = hm.load_dataset("baseball").assign(se=0.066)
    model = hm.Model("avg ~ 1 + (1 | player)", known_se="se", priors={"sd_player": "flat_variance()"})
    fit = hm.fit(model, frame, sampler="exact", draws=2000, progress=False)
    table = fit.summary()
    ends = [f"theta_player[{fit.problem.labels['player'][i]}]" for i in (0, 17)]
    assert_moments(table, ends, [0.30911, 0.22977], [0.04671, 0.04450])
    assert abs(table.loc["Intercept", "sd"] - 0.019839) < 4 * table.loc["Intercept", "mcse_sd"]
    assert_quantiles(fit, "sd_player", {0.025: 0.00986, 0.5: 0.04500, 0.975: 0.09736})
    assert_quantiles(fit, "Intercept", {0.025: 0.22627, 0.975: 0.30459})
    assert fit.draws.independent and list(fit.draws.stats) == ["lp"]
    assert list(fit.to_datatree().children) == [
        "posterior",
        "sample_stats",
        "log_likelihood",
        "log_prior",
        "observed_data",
        "constant_data",
    ]


@pytest.mark.slow
def test_three_levels(classes):
    table = classes.summary()
    assert_moments(table, "Intercept", 47.1940, 2.7634)
    assert_moments(
        table,
        ["sd_school", "sd_school:classroom", "sigma"],
        [3.2487, 2.4286, 5.1385],
        [2.8877, 2.0239, 1.0336],
    )
    rooms = [
        f"theta_school:classroom[{r}]" for r in ("s1:c1", "s1:c2", "s2:c1", "s2:c2", "s2:c3", "s3:c1", "s4:c1", "s4:c2")
    ]
    mean = [45.6371, 45.3510, 50.8379, 48.4492, 48.5336, 46.3480, 47.8239, 46.5465]
    sd = [2.3334, 2.5961, 3.6740, 2.0818, 2.4585, 2.4396, 2.5940, 2.5757]
    assert_moments(table, rooms, mean, sd)
    schools = [f"theta_school[s{i}]" for i in (1, 2, 3, 4)]
    assert_moments(table, schools, [46.0751, 48.7217, 46.7468, 47.2325], [2.5646, 2.3599, 2.8523, 2.4898])


# tables, trees, files
# ---------------------------------------------------------------------------------------------------


def test_summary_agrees_with_arviz(flat):
    ours = flat.summary(prob=0.9)
    theirs = az.summary(flat.to_datatree(), ci_prob=0.9, ci_kind="eti", round_to="none")
    assert list(ours.columns) == [
        *(
            "mean",
            "sd",
            "median",
            "eti90_lb",
            "eti90_ub",
            "ess_bulk",
            "ess_tail",
            "r_hat",
            "mcse_mean",
            "mcse_sd",
        )
    ]
    assert list(ours.index) == list(theirs.index)
    for column in ("mean", "sd", "eti90_lb", "eti90_ub", "ess_bulk", "r_hat", "mcse_mean", "mcse_sd"):
        np.testing.assert_allclose(ours[column], theirs[column].astype(float), rtol=1e-6)


@pytest.mark.slow
def test_tree_has_labels_and_schema_names(flat, classes):
    tree = flat.to_datatree()
    assert tree.posterior["theta_school"].dims == ("chain", "draw", "school")
    assert tree.posterior["school"].to_numpy().tolist() == SCHOOLS
    assert {
        "diverging",
        "energy",
        "lp",
        "tree_depth",
        "n_steps",
        "acceptance_rate",
        "reached_max_treedepth",
    } <= set(tree.sample_stats.data_vars)
    assert tree.observed_data["effect"].to_numpy().tolist() == [28, 8, -3, 7, -1, 1, 18, 12]
    assert set(tree.constant_data.data_vars) == {"school", "se"}
    y, se, theta = (
        tree.observed_data["effect"].to_numpy(),
        tree.constant_data["se"].to_numpy(),
        flat.draws.values["theta_school"],
    )
    expected = -0.5 * ((y - theta) / se) ** 2 - np.log(se) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(tree.log_likelihood["effect"].to_numpy(), expected, atol=1e-10)
    nested = classes.to_datatree()
    assert nested.posterior["school:classroom"].to_numpy()[:2].tolist() == ["s1:c1", "s1:c2"]
    mean = classes.draws.values["theta_school:classroom"][..., [0, 0, 0, 1]]
    sigma = classes.draws.values["sigma"][..., None]
    expected = (
        -0.5 * ((np.array([41.6, 44.9, 48.5, 44.4]) - mean) / sigma) ** 2 - np.log(sigma) - 0.5 * np.log(2 * np.pi)
    )
    np.testing.assert_allclose(nested.log_likelihood["score"].to_numpy()[..., :4], expected, atol=1e-8)


def test_arviz_runs_unmodified(flat):
    tree = flat.to_datatree()
    assert float(az.rhat(tree)["Intercept"]) < 1.01
    assert float(az.ess(tree)["Intercept"]) > 400
    assert az.loo(tree).n_data_points == 8
    assert not az.diagnose(tree, show_diagnostics=False)
    az.plot_forest(tree, var_names=["theta_school"], backend="none")


def known(formula, frame, **arguments):
    """A fit that compiles in no time: standard errors and sds between groups are known, so no chain is run."""
    model = hm.Model(formula, known_se="se")
    sds = [f"sd_{g.name}" for g in model.parsed.groups]
    model = dataclasses.replace(model, priors=dict.fromkeys(sds, "fixed(1)"))
    return hm.fit(model, frame.assign(se=1.0), draws=50, progress=False, **arguments)


@pytest.mark.slow
def test_a_predictor_that_is_also_a_grouping():
    frame = pd.DataFrame({"year": [1, 1, 2, 2, 3, 3, 4, 4], "y": [1.0, 2.0, 2.0, 3.5, 3.0, 4.0, 5.5, 5.0]})
    fit = known("y ~ 1 + year + (1 | year)", frame)
    tree = fit.to_datatree()
    assert tree.posterior["theta_year"].dims == ("chain", "draw", "year_group")
    assert tree.posterior["year"].dims == ("chain", "draw")
    # the mean of a row is its year's value at predictor zero plus the slope
    first = fit.draws.values["theta_year"][..., 0] + fit.draws.values["year"]
    np.testing.assert_allclose(fit.predict().predictions["y"].to_numpy()[..., 0], first, atol=1e-10)


def test_file_round_trip(flat, tmp_path):
    flat.save(tmp_path / "fit.nc")
    back = hm.load_fit(tmp_path / "fit.nc")
    assert list(back.draws.values) == list(flat.draws.values)
    for name, x in flat.draws.values.items():
        np.testing.assert_array_equal(back.draws.values[name], x)
    for name, x in flat.draws.stats.items():
        np.testing.assert_array_equal(back.draws.stats[name], x)
        assert back.draws.stats[name].dtype == x.dtype
    pd.testing.assert_frame_equal(back.diagnostics, flat.diagnostics)
    pd.testing.assert_frame_equal(back.data, flat.data)
    pd.testing.assert_frame_equal(back.summary(), flat.summary())
    for name in ("model", "settings", "status", "warnings", "seconds"):
        assert getattr(back, name) == getattr(flat, name)
    assert back.to_datatree().identical(flat.to_datatree())
    assert str(back) == str(flat)
    assert "theta_school" in az.from_netcdf(tmp_path / "fit.nc").posterior


@pytest.mark.slow
def test_prior_numbers_survive_the_file(tmp_path, schools):
    fit = hm.fit(eight(f"half_normal({1 / 3!r})"), schools, sampler="exact", draws=50, chains=2, progress=False)
    fit.save(tmp_path / "fit.nc")
    assert hm.load_fit(tmp_path / "fit.nc").model == fit.model


def test_files_that_are_no_fits(tmp_path, flat):
    (tmp_path / "text.nc").write_text("hello")
    flat.to_datatree().to_netcdf(tmp_path / "tree.nc", engine="h5netcdf")
    for name, found in (
        ("none.nc", "found none"),
        ("text.nc", "found something else"),
        ("tree.nc", "found another netCDF"),
    ):
        with pytest.raises(ValueError, match=f"{name}.*{found}"):
            hm.load_fit(tmp_path / name)
    with pytest.raises(ValueError, match="expected a path that can be written"):
        flat.save(tmp_path / "nowhere" / "fit.nc")


# one program
# ------------------------------------------------------------------------------------------------------------


def test_second_fit_does_not_trace(flat, schools):
    before = compiled._program.cache_info()
    again = hm.fit(eight("flat()"), schools.assign(effect=schools["effect"] + 1.0), draws=2000, seed=1, progress=False)
    after = compiled._program.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (0, 1)
    assert again.seconds["compile"] < 0.1 < flat.seconds["compile"]
    assert not np.array_equal(again.draws.values["Intercept"], flat.draws.values["Intercept"])


def test_same_seed_same_draws_and_the_settings_repeat_a_fit(flat, schools):
    again = hm.fit(flat.model, schools, **dataclasses.asdict(flat.settings), progress=False)
    np.testing.assert_array_equal(again.draws.values["theta_school"], flat.draws.values["theta_school"])


@pytest.mark.slow
def test_precision(schools):
    fit = hm.fit(eight("fixed(10)"), schools, draws=100, precision="float32", progress=False)
    assert fit.draws.values["theta_school"].dtype == np.float32


# predictions
# ------------------------------------------------------------------------------------------------------------


def test_new_school_matches_quadrature(flat):
    frame = pd.DataFrame({"school": ["I", "J"], "se": [15.0, 15.0]})
    theta = flat.predict(frame, groups="new").predictions["effect"].to_numpy()[..., 0]
    for prob, value in {0.025: -12.413, 0.25: 3.124, 0.5: 7.840, 0.75: 12.625, 0.975: 28.860}.items():
        error = float(az.mcse(theta, method="quantile", prob=prob, chain_axis=0, draw_axis=1))
        assert abs(np.quantile(theta, prob) - value) < 4 * error
    assert abs((theta > 0).mean() - 0.8531) < 0.02
    y = flat.predict(frame, groups="new", kind="outcome").predictions["effect"].to_numpy()
    for prob, value in {0.025: -27.407, 0.5: 7.903, 0.975: 43.455}.items():
        error = float(az.mcse(y[..., 0], method="quantile", prob=prob, chain_axis=0, draw_axis=1))
        assert abs(np.quantile(y[..., 0], prob) - value) < 4 * error
    assert not np.array_equal(y[..., 0], y[..., 1])


def test_existing_school(flat, schools):
    mean = flat.predict(schools.iloc[[2, 0]]).predictions["effect"].to_numpy()
    np.testing.assert_allclose(mean, flat.draws.values["theta_school"][..., [2, 0]], atol=1e-10)
    replicate = flat.predict(kind="outcome", seed=3).predictions["effect"].to_numpy()[..., 0]
    assert abs((replicate >= 28).mean() - 0.1644) < 0.02
    again = flat.predict(kind="outcome", seed=3).predictions["effect"].to_numpy()[..., 0]
    np.testing.assert_array_equal(replicate, again)


def test_average_school(flat):
    frame = pd.DataFrame({"se": [10.0]})
    mean = flat.predict(frame, groups="average").predictions["effect"].to_numpy()[..., 0]
    theta = flat.draws.values["theta_school"]
    np.testing.assert_allclose(mean, theta.mean(-1), atol=1e-10)
    y = flat.predict(frame, groups="average", kind="outcome").predictions["effect"].to_numpy()
    within, between = 100, theta.var(axis=(0, 1)).mean() + theta.mean(axis=(0, 1)).var()
    assert abs(y.var() / (within + between) - 1) < 0.1


def test_new_class_in_a_known_school(classes):
    frame = pd.DataFrame({"school": ["s1", "s1", "s1", "s9"], "classroom": ["c1", "new", "new", "new"]})
    mean = classes.predict(frame, groups="new").predictions["score"].to_numpy()
    draws = classes.draws.values
    np.testing.assert_allclose(mean[..., 0], draws["theta_school:classroom"][..., 0], atol=1e-9)
    np.testing.assert_array_equal(mean[..., 1], mean[..., 2])
    deviation = mean[..., 1] - draws["theta_school"][..., 0]
    z = deviation / draws["sd_school:classroom"]
    assert abs(z.mean()) < 0.06
    assert abs(z.std() - 1) < 0.05
    spread = np.sqrt(draws["sd_school"] ** 2 + draws["sd_school:classroom"] ** 2)
    assert abs(((mean[..., 3] - draws["Intercept"]) / spread).std() - 1) < 0.05


@pytest.mark.slow
def test_predictors_of_new_rows_are_coded_as_the_fitted_ones():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 4), "x": rng.normal(5, 2, 24), "arm": ["t", "c"] * 12})
    frame["y"] = 2 + frame["x"] + (frame["arm"] == "t") + rng.normal(size=24)
    fit = known("y ~ 1 + standardise(x) + arm + (1 | g)", frame)
    whole = fit.predict().predictions["y"].to_numpy()
    part = fit.predict(frame.iloc[[3, 9]][["x", "arm", "g"]]).predictions["y"].to_numpy()
    np.testing.assert_allclose(part, whole[..., [3, 9]], atol=1e-9)
    with pytest.raises(ValueError, match="new_data: expected the categories of the data, found others"):
        fit.predict(pd.DataFrame({"g": ["a"], "x": [1.0], "arm": ["z"]}))


@pytest.mark.parametrize(
    ("frame", "arguments", "match"),
    [
        ({"school": ["Z"], "se": [1.0]}, {}, "row 0: expected a school of the data, found 'Z'.*groups='new'"),
        ({"se": [1.0]}, {}, "new_data: no column 'school'"),
        ({"school": ["A"]}, {"kind": "outcome"}, "no column 'se'"),
        ({"school": [None]}, {}, "column 'school', row 0: expected a group label"),
        ({"school": []}, {}, "expected at least one row"),
        (
            {"school": ["A"]},
            {"groups": "exist"},
            "groups: expected one of existing, new, average, found 'exist'; did you mean 'existing'",
        ),
        ({"school": ["A"]}, {"kind": "means"}, "kind: .* did you mean 'mean'"),
    ],
)
def test_predict_refuses(flat, frame, arguments, match):
    with pytest.raises(ValueError, match=match):
        flat.predict(pd.DataFrame(frame), **arguments)


@pytest.mark.slow
def test_a_class_stays_in_its_school():
    frame = pd.DataFrame({"s": list("aabbccdd") * 2, "c": list("ijklmnop") * 2, "y": np.arange(16.0)})
    priors = dict.fromkeys(("sd_s", "sd_c", "sigma"), "half_normal(5)")
    fit = hm.fit(
        hm.Model("y ~ 1 + (1 | s) + (1 | c)", priors=priors),
        frame,
        draws=50,
        tune=100,
        chains=2,
        progress=False,
    )
    with pytest.raises(ValueError, match="row 0: c 'i' is in s 'a', found 'b'"):
        fit.predict(pd.DataFrame({"s": ["b"], "c": ["i"]}))


def test_unpooled_groups_tell_nothing_about_new_ones(schools):
    fit = hm.fit(eight("flat()"), schools, pooling="none", sampler="exact", draws=50, progress=False)
    np.testing.assert_allclose(fit.predict().predictions["effect"], fit.draws.values["theta_school"], atol=1e-10)
    with pytest.raises(ValueError, match="school is not pooled"):
        fit.predict(pd.DataFrame({"school": ["Z"]}), groups="new")


@pytest.mark.slow
def test_correlated_slopes():
    rng = np.random.default_rng(1)
    g, x = np.repeat(np.arange(8), 5), rng.normal(size=40)
    b = rng.multivariate_normal([1, 2], [[1, 0.6], [0.6, 1]], size=8)
    frame = pd.DataFrame({"g": g, "x": x, "y": b[g, 0] + b[g, 1] * x + rng.normal(size=40)})
    priors = dict.fromkeys(("sd_g", "sd_g_x", "sigma"), "half_normal(2)")
    fit = hm.fit(hm.Model("y ~ 1 + x + (1 + x | g)", priors=priors), frame, tune=500, progress=False)
    draws = fit.draws.values
    assert fit.to_datatree().posterior["cor_g"].coords["effect"].to_numpy().tolist() == ["Intercept", "x"]
    assert (draws["cor_g"][..., 1, 1] == 1).all()
    assert str(fit).count("cor_g[") == 1
    rows = pd.DataFrame({"g": ["new", "new"], "x": [0.0, 1.0]})
    mean = fit.predict(rows, groups="new").predictions["y"].to_numpy()
    own = mean[..., 0] - draws["Intercept"], mean[..., 1] - mean[..., 0] - draws["x"]
    expected = (draws["cor_g"][..., 0, 1] * draws["sd_g"] * draws["sd_g_x"]).mean()
    error = (own[0] * own[1]).std() / np.sqrt(own[0].size)
    assert abs((own[0] * own[1]).mean() - expected) < 4 * error


def test_counts():
    rats = hm.load_dataset("rats")
    fit = hm.fit(hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats"), rats, progress=False)
    table = fit.summary()
    assert np.isnan(table.loc["kappa_experiment", "mean"])
    assert_moments(table, "mean_experiment", 0.144297, 0.013426)
    assert_moments(table, "theta_experiment[71]", 0.21086, 0.07526)
    new = fit.predict(pd.DataFrame({"rats": [20]}), groups="new", kind="outcome").predictions["tumors"].to_numpy()
    for share, value in (((new == 0), 0.14040), ((new >= 10), 0.01343)):
        assert abs(share.mean() - value) < 4 * np.sqrt(value * (1 - value) / 2000)
    old = fit.predict(rats.iloc[[70]].assign(rats=20), kind="outcome").predictions["tumors"].to_numpy()
    assert abs(old.mean() - 4.21714) < 4 * old.std() / np.sqrt(2000)
    theta = fit.draws.values["theta_experiment"]
    average = fit.predict(rats.iloc[[0]], groups="average").predictions["tumors"].to_numpy()[..., 0]
    np.testing.assert_allclose(average, theta.mean(-1))
    log_lik = fit.to_datatree().log_likelihood["tumors"].to_numpy()
    np.testing.assert_allclose(log_lik[..., 0], 20 * np.log1p(-theta[..., 0]))
    assert fit.plot_shrinkage().axes[0].get_xlabel() == "theta_experiment"


# a NumPyro function of one's own
# -----------------------------------------------------------------------------------------


def own(school, n_school, se, effect=None):
    mu = numpyro.sample("mu", dist.ImproperUniform(dist.constraints.real, (), ()))
    tau = numpyro.sample("tau", dist.HalfCauchy(5.0))
    with numpyro.plate("school", n_school):
        z = numpyro.sample("z", dist.Normal())
    theta = numpyro.deterministic("theta", mu + tau * z)
    numpyro.sample("effect", dist.Normal(theta[school], se), obs=effect)


@pytest.fixture(scope="module")
def users(schools):
    return hm.fit(own, schools, progress=False)


@pytest.mark.slow
def test_users_function(users, schools):
    target, table = EIGHT["half_cauchy(5)"], users.summary()
    assert_moments(table, "mu", *target["Intercept"])
    assert_moments(table, [f"theta[{i}]" for i in range(8)], target["mean"], target["sd"])
    tree = users.to_datatree()
    assert tree.posterior["z"].dims == ("chain", "draw", "school")
    assert tree.posterior["school"].to_numpy().tolist() == SCHOOLS
    assert tree.observed_data["effect"].to_numpy().tolist() == schools["effect"].tolist()
    assert set(tree.constant_data.data_vars) == {"school", "se"}
    assert float(az.rhat(tree)["mu"]) < 1.02
    assert "Fit('own'" in repr(users)
    before = compiled._user_program.cache_info().misses
    hm.fit(own, schools.assign(effect=0.0), progress=False)
    hm.fit(own, schools.assign(effect=1.0), progress=False)
    assert compiled._user_program.cache_info().misses <= before + 1  # integers once, floats once


def test_users_function_refuses(users, schools, tmp_path):
    with pytest.raises(ValueError, match="sampler: expected 'elliptical_slice' or 'nuts' for a NumPyro function"):
        hm.fit(own, schools, sampler="exact")
    with pytest.raises(ValueError, match="expected one parameter with default None that is a column"):
        hm.fit(lambda effect, se: None, schools)
    with pytest.raises(ValueError, match="a NumPyro function cannot be stored"):
        users.save(tmp_path / "own.nc")
    with pytest.raises(ValueError, match=r"predict: expected a fit of hm\.Model"):
        users.predict()
    with pytest.raises(ValueError, match=r"plot_shrinkage: expected a fit of hm\.Model"):
        users.plot_shrinkage()


# judgement
# --------------------------------------------------------------------------------------------------------------


def doctored(fit, **stats):
    values = {k: np.array(v) for k, v in fit.draws.values.items()}
    return Draws(values, {**fit.draws.stats, **stats})


def test_divergences_name_the_way_out(flat):
    diverging = np.zeros((4, 2000), bool)
    diverging[0, :3] = True
    settings = dataclasses.replace(flat.settings, marginalize=False, centred=True).sampling()
    status, warnings = advice.judge(doctored(flat, diverging=diverging), flat.diagnostics, flat.problem, settings)
    assert status == "divergent"
    assert warnings[0].startswith("3 of 8000 draws diverged")
    for way in ("marginalize=True", "centred=False", "target_accept, e.g. to 0.95"):
        assert way in warnings[0]
    marginal = advice.judge(
        doctored(flat, diverging=diverging), flat.diagnostics, flat.problem, flat.settings.sampling()
    )
    assert "marginalize" not in marginal[1][0]


def test_convergence_and_finiteness(flat):
    table = flat.diagnostics.copy()
    table.loc["Intercept", "r_hat"] = 1.2
    table.loc["theta_school[A]", "ess_tail"] = 50.0
    status, warnings = advice.judge(flat.draws, table, flat.problem, flat.settings.sampling())
    assert status == "rhat"
    assert "Intercept: R-hat up to 1.200" in warnings[0]
    assert "draws=4000" in warnings[0]
    assert "theta_school[A]: effective sample size down to 50" in warnings[1]
    assert "draws=16000" in warnings[1]
    broken = doctored(flat)
    broken.values["sd_school"][0, 0] = np.inf
    assert advice.judge(broken, flat.diagnostics, flat.problem, flat.settings.sampling())[0] == "nonfinite"


def test_moments_that_do_not_exist_are_not_reported(flat, schools):
    few = bind(eight("flat()"), schools.iloc[:3])
    fit = dataclasses.replace(flat, problem=dataclasses.replace(flat.problem, missing_moments=few.missing_moments))
    row = fit.summary().loc["sd_school"]
    assert np.isnan([row["mean"], row["sd"], row["mcse_mean"], row["mcse_sd"]]).all()
    assert np.isfinite([row["median"], row["eti95_lb"], row["eti95_ub"]]).all()
    status, warnings = advice.judge(fit.draws, fit.diagnostics, few, fit.settings.sampling())
    assert status == "ok"
    assert any("sd_school" in w and "mean and sd do not exist" in w for w in warnings)


# text and picture
# -------------------------------------------------------------------------------------------------------


def test_print_shows_the_model_and_the_population(flat):
    text = str(flat)
    assert "sd_school ~ flat()" in text
    assert "status: ok" in text
    assert "theta_school[A]" not in text
    assert repr(flat) == "Fit('effect ~ 1 + (1 | school)', sampler='nuts', chains=4, draws=2000, status='ok')"
    assert "\\mathrm{N}" in flat.latex()


def test_progress_goes_to_standard_error_where_it_takes_a_moment(capsys):
    with compiled.stage("compiling", progress=True):
        time.sleep(0.7)
    with compiled.stage("sampling", progress=True):
        pass
    with compiled.stage("waiting", progress=False):
        time.sleep(0.6)
    out = capsys.readouterr()
    assert out.out == ""
    assert re.fullmatch(r"compiling \.\.\. 0\.[7-9] s\n", out.err)


def test_shrinkage_plot_goes_from_the_data_to_the_posterior(flat, classes):
    import matplotlib

    matplotlib.use("Agg")
    figure = flat.plot_shrinkage()
    points = {round(float(x), 6) for line in figure.axes[0].lines for x in np.atleast_1d(line.get_xdata())}
    points |= {round(float(x), 6) for c in figure.axes[0].collections for x, _ in np.ma.getdata(c.get_offsets())}
    for raw in (28, 8, -3, 7, -1, 1, 18, 12):
        assert round(float(raw), 6) in points
    for shrunken in flat.draws.values["theta_school"].mean((0, 1)):
        assert round(float(shrunken), 6) in points
    assert classes.plot_shrinkage("school").axes[0].get_xlabel() == "theta_school"
    with pytest.raises(ValueError, match="level: expected one of school"):
        flat.plot_shrinkage("scool")


# bad arguments
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"sampler": "nutz"}, "sampler: unknown sampler 'nutz'; did you mean 'nuts'"),
        ({"draws": 0}, "draws: expected a whole number"),
        ({"draws": 10.0}, "draws: expected a whole number"),
        ({"tune": -1}, "tune: expected a whole number"),
        ({"chains": 0}, "chains: expected a whole number"),
        ({"chains": 1, "sampler": "exact"}, "chains: expected at least 2"),
        ({"target_accept": 1.0}, "target_accept: expected a number"),
        ({"seed": -1}, "seed: expected a whole number"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"precision": "float46"}, "precision: .*did you mean 'float64'"),
        ({"marginalize": "yes"}, "marginalize: expected True or False"),
        ({"pooling": "partly"}, "pooling: school: expected complete, none or partial, found 'partly'"),
        ({"pooling": {"scool": "none"}}, "pooling: no group term 'scool'"),
        ({"progress": "no"}, "progress: expected True or False"),
    ],
)
def test_arguments_are_checked(schools, arguments, match):
    with pytest.raises(ValueError, match=match):
        hm.fit(eight("flat()"), schools, **arguments)


def test_data_and_model_are_checked(schools):
    with pytest.raises(
        ValueError,
        match=r"data: expected a DataFrame, found text; use hm.load_dataset\('eight_schools'\)",
    ):
        hm.fit(eight("flat()"), "eight_schools")
    with pytest.raises(ValueError, match="data: expected a DataFrame, found a dict"):
        hm.fit(eight("flat()"), {"effect": [1]})
    with pytest.raises(ValueError, match=r"model: expected hm\.Model or a NumPyro function, found str"):
        hm.fit("effect ~ 1", schools)
    with pytest.raises(ValueError, match=r"priors: sd_school: power.*improper"):
        hm.fit(eight("power(2)"), schools)


def test_summary_arguments(flat):
    with pytest.raises(ValueError, match=r"var_names: no variable 'theta_scool'; did you mean 'theta_school'"):
        flat.summary("theta_scool")
    with pytest.raises(ValueError, match="prob: expected a number between 0 and 1"):
        flat.summary(prob=95)


def test_modules_are_reached_by_their_names():
    assert sys.modules["hiermodels.fit"].fit is hm.fit
