"""Diagnosis, predictive checks and cross-validation against closed forms and quadrature."""

from __future__ import annotations

import arviz as az
import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import hiermodels as hm
from hiermodels.inference.diagnosis import diagnose, energy_fractions
from hiermodels.inference.draws import Draws
from hiermodels.models.data import bind

DRAWS = {"sampler": "exact", "draws": 1000, "chains": 4, "progress": False}
SCHOOLS = hm.load_dataset("eight_schools")


@pytest.fixture(scope="module")
def fit():
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(10)"})
    return hm.fit(model, SCHOOLS, **DRAWS)


# diagnosis
# ---------------------------------------------------------------------------------------------------------------


def test_energy_fraction_of_an_autoregression():
    """E_t = rho E_(t-1) + noise: E(E_t - E_(t-1))^2 = 2 (1 - rho) var E."""
    rng, rho = np.random.default_rng(0), 0.9
    noise = rng.normal(size=(2, 60_000))
    energy = np.zeros_like(noise)
    for t in range(1, noise.shape[1]):
        energy[:, t] = rho * energy[:, t - 1] + noise[:, t]
    np.testing.assert_allclose(energy_fractions(energy), 2 * (1 - rho), rtol=0.05)
    tree = az.from_dict({"sample_stats": {"energy": energy[:, :500]}, "posterior": {"x": energy[:, :500]}})
    np.testing.assert_allclose(energy_fractions(energy[:, :500]), az.bfmi(tree)["energy"], rtol=1e-10)


@pytest.mark.slow
def test_diagnosis_names_what_is_wrong(fit):
    rng = np.random.default_rng(0)
    energy = np.cumsum(rng.normal(size=(4, 1000)), axis=1)
    stuck = np.zeros((4, 1000), bool)
    stuck[:, ::10] = True
    table = fit.diagnostics.copy()
    table.loc["theta_school[C]", "r_hat"] = 1.3
    draws = Draws(fit.draws.values, {"energy": energy, "diverging": stuck, "reached_max_treedepth": stuck})
    found = diagnose(draws, table, "rhat", ("divergences: ...",), 0.8)
    assert not found.ok
    assert found.table.loc["R-hat", ["value", "where", "ok"]].tolist() == [1.3, "theta_school[C]", False]
    assert found.table.loc["divergences", "value"] == 400
    assert found.table.loc["longest trajectories", "value"] == pytest.approx(0.1)
    assert not found.table.loc["E-BFMI", "ok"]
    assert found.advice[0] == "divergences: ..."
    assert any("E-BFMI down to 0.0" in line and "marginalize=True" in line for line in found.advice)
    assert any("10% were stopped" in line for line in found.advice)
    assert "theta_school[C]" in str(found)


def test_diagnosis_of_independent_draws(fit):
    found = fit.diagnose()
    assert found.ok
    assert list(found.table.index) == ["variables with draws that are not finite"]
    assert "nothing to complain about" in str(found)


# predictive checks
# -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", ["max", "min"])
def test_predictive_check_of_an_extreme(statistic):
    """Complete pooling: y_rep is multivariate normal around the weighted mean, its covariance v 11' + diag(se^2)."""
    pooled = hm.fit(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS, pooling="complete", **DRAWS)
    w = 1 / SCHOOLS["se"].to_numpy() ** 2
    law = stats.multivariate_normal(np.full(8, (w * SCHOOLS["effect"]).sum() / w.sum()), 1 / w.sum() + np.diag(1 / w))
    edge = float(getattr(SCHOOLS["effect"], statistic)())
    if statistic == "max":
        expected = 1 - law.cdf(np.full(8, edge))
    else:
        expected = stats.multivariate_normal(-law.mean, law.cov_object.covariance).cdf(np.full(8, -edge))
    found = pooled.check(statistic, seed=2)
    assert found.observed == edge
    assert abs(found.p_value - expected) < 4.5 * found.mcse
    assert found.replicated.shape == (4, 1000)
    assert f"observed {edge:.4g}" in str(found)


def test_predictive_check_takes_a_function(fit):
    by_name = fit.check("sd", seed=1)
    by_function = fit.check(lambda y: np.std(y, ddof=1), seed=1)
    np.testing.assert_allclose(by_name.replicated, by_function.replicated)
    assert by_name.p_value == by_function.p_value
    replicated = fit.predict(kind="outcome", seed=1).predictions["effect"].to_numpy()
    assert by_name.p_value == (replicated.std(-1, ddof=1) > SCHOOLS["effect"].std()).mean()
    with pytest.raises(ValueError, match=r"statistic: expected one of max, .*found 'maxx'; did you mean 'max'"):
        fit.check("maxx")
    with pytest.raises(ValueError, match="expected <lambda> to give a finite number"):
        fit.check(lambda y: None)


def test_ties_count_half():
    frame = pd.DataFrame({"y": [0, 0, 1, 0], "n": [1, 1, 1, 1]})
    fit = hm.fit(hm.Model("y ~ 1", family="binomial", trials="n", priors={"Intercept": "beta(1, 1)"}), frame, **DRAWS)
    found = fit.check("max")
    # P(no success at all) under Beta(2, 4) is E(1 - p)^4; otherwise the maximum agrees
    none = special.beta(2, 8) / special.beta(2, 4)
    assert found.p_value == pytest.approx((1 - none) / 2, abs=4 * np.sqrt(none / 4000) / 2)


# leaving out rows and groups
# ---------------------------------------------------------------------------------------------


def test_leave_one_out_is_arvizs(fit):
    found = fit.loo(pointwise=True)
    assert found.elpd == az.loo(fit.to_datatree()).elpd
    assert list(found.elpd_i.coords["obs"].to_numpy()) == list(range(8))


def quadrature(log_likelihoods, log_prior, log_weights):
    """log p(y_j | y_-j) of independent groups given phi, by sums over nodes; (node, group) in."""
    log_p = log_likelihoods.sum(1) + log_prior + log_weights
    whole = special.logsumexp(log_p)
    return np.array([whole - special.logsumexp(log_p - ll) for ll in log_likelihoods.T])


def school_densities(y, se):
    """Nodes of (mu, tau): a wide rectangle, Gauss-Legendre; half normal prior of tau with scale 10, flat mu."""
    x, w = np.polynomial.legendre.leggauss(160)
    mu, log_mu = 8 + 90 * x, np.log(90 * w)
    tau, log_tau = 40 * (x + 1), np.log(40 * w)
    m, t = (g.ravel() for g in np.meshgrid(mu, tau, indexing="ij"))
    weights = (log_mu[:, None] + log_tau[None]).ravel()
    ll = stats.norm.logpdf(y, m[:, None], np.sqrt(se**2 + t[:, None] ** 2))
    return quadrature(ll, stats.halfnorm(scale=10).logpdf(t), weights)


def test_leave_one_school_out_against_quadrature(fit):
    found = fit.leave_one_group_out()
    expected = school_densities(SCHOOLS["effect"].to_numpy(float), SCHOOLS["se"].to_numpy(float))
    assert np.all(np.abs(found.table["elpd"] - expected) < 4 * found.table["mcse"] + 1e-3)
    assert np.all(found.table["mcse"] < 0.05)
    assert abs(found.elpd - expected.sum()) < 4 * np.sqrt((found.table["mcse"] ** 2).sum())
    assert found.se == pytest.approx(np.sqrt(8 * np.var(found.table["elpd"], ddof=1)))
    # the groups' densities given all data, by the same nodes, less those: between none and three parameters
    assert 0 < found.p < 3
    assert not found.table["refitted"].any()
    assert "leave-one-school-out" in str(found)


@pytest.mark.slow
def test_refitting_three_schools(fit):
    frame = SCHOOLS.iloc[[0, 2, 7]].reset_index(drop=True)
    three = fit.refit(data=frame)
    weighed, again = three.leave_one_group_out(refit=False), three.leave_one_group_out(refit=True)
    error = np.hypot(weighed.table["mcse"], again.table["mcse"])
    assert np.all(np.abs(weighed.table["elpd"] - again.table["elpd"]) < 2 * error)
    expected = school_densities(frame["effect"].to_numpy(float), frame["se"].to_numpy(float))
    assert np.all(np.abs(again.table["elpd"] - expected) < 4 * again.table["mcse"] + 1e-3)
    assert again.table["refitted"].all()


def node_draws(log_p, nodes, count=4000):
    """Independent draws from a posterior on quadrature nodes, as (chain, draw)."""
    weight = np.exp(log_p - special.logsumexp(log_p))
    at = np.random.default_rng(1).choice(len(weight), count, p=weight)
    return {name: x[at].reshape(4, -1) for name, x in nodes.items()}


def left_out(problem, frame, values):
    """Without any sampler: the draws are the nodes'."""
    from hiermodels.inference.leave_out import leave_one_group_out

    level = problem.layout.levels[-1]
    return leave_one_group_out(values, problem, frame, level, None, force=False, independent=True)


@pytest.mark.slow
def test_a_prior_that_knows_the_groups_loses_the_group_as_well():
    """reference() is tau sqrt(sum w_j^2) over the groups there are: leaving one out changes the prior, as a fit
    without it does.
    """
    frame = SCHOOLS.iloc[:5].assign(se=[15.0, 10.0, 16.0, 11.0, 3.0])  # the last group has the most say in the prior
    y, se = frame["effect"].to_numpy(float), frame["se"].to_numpy(float)
    x, w = np.polynomial.legendre.leggauss(160)
    mu, log_mu = 8 + 120 * x, np.log(120 * w)
    u = (x + 1) / 2
    tau, log_tau = 15 * u / (1 - u), np.log(w / 2) + np.log(15) - 2 * np.log1p(-u)
    m, t = (g.ravel() for g in np.meshgrid(mu, tau, indexing="ij"))
    weights = (log_mu[:, None] + log_tau[None]).ravel()
    ll = stats.norm.logpdf(y, m[:, None], np.sqrt(se**2 + t[:, None] ** 2))
    square = (se**2 + t[:, None] ** 2) ** -2.0

    def prior(keep):
        return np.log(t) + 0.5 * np.log(square[:, keep].sum(1))

    every = np.ones(5, bool)
    values = node_draws(ll.sum(1) + prior(every) + weights, {"Intercept": m, "sd_school": t}, 20_000)
    problem = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), frame)
    found = left_out(problem, frame, values)
    for j in range(5):
        keep = np.arange(5) != j
        log_p = ll[:, keep].sum(1) + prior(keep) + weights
        expected = special.logsumexp(log_p + ll[:, j]) - special.logsumexp(log_p)
        near = 4 * found.table["mcse"].iloc[j] + 1e-3
        assert abs(found.table["elpd"].iloc[j] - expected) < near
        other = ll[:, keep].sum(1) + prior(every) + weights  # the prior of all five is told from it
        if j == 4:
            assert abs(special.logsumexp(other + ll[:, j]) - special.logsumexp(other) - expected) > near


def count_nodes(family, count=120):
    x, w = np.polynomial.legendre.leggauss(count)
    m, log_m = ((x + 1) / 2, np.log(w / 2)) if family == "binomial" else (5 * (x + 1), np.log(5 * w))
    u = (x + 1) / 2
    c, log_c = 20 * u / (1 - u), np.log(w / 2) + np.log(20) - 2 * np.log1p(-u)
    mm, cc = (g.ravel() for g in np.meshgrid(m, c, indexing="ij"))
    return mm[:, None], cc[:, None], (log_m[:, None] + log_c[None]).ravel()


def experiments():
    """Three experiments: model, rows, and what SciPy says of each at nodes of (mean, kappa)."""
    rats = hm.load_dataset("rats").iloc[[0, 30, 70]].reset_index(drop=True)
    priors = {"mean_experiment": "uniform(0, 1)", "kappa_experiment": "gamma(2, 0.1)"}
    model = hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors=priors)
    m, k, weights = count_nodes("binomial")
    ll = stats.betabinom.logpmf(rats["tumors"].to_numpy(), rats["rats"].to_numpy(), k * m, k * (1 - m))
    return (
        model,
        rats,
        ll,
        stats.gamma(2, scale=10).logpdf(k[:, 0]) + weights,
        {"mean_experiment": m[:, 0], "kappa_experiment": k[:, 0]},
    )


def pumps():
    """Rows of a pump together: two rows of one pump, one of each other."""
    frame = hm.load_dataset("pumps").iloc[[0, 1, 4]].reset_index(drop=True)
    frame = pd.concat([frame, frame.iloc[[0]].assign(failures=2, hours=10.0)], ignore_index=True)
    model = hm.Model(
        "failures ~ 1 + (1 | pump)",
        family="poisson",
        exposure="hours",
        priors={"mean_pump": "gamma(2, 1)", "shape_pump": "gamma(2, 1)"},
    )
    m, a, weights = count_nodes("poisson")
    y, x, code = frame["failures"].to_numpy(float), frame["hours"].to_numpy(), frame["pump"].astype(str).to_numpy()
    parts = []
    for label in dict.fromkeys(code):
        here = code == label
        total = stats.nbinom.logpmf(y[here].sum(), a, (a / m) / (a / m + x[here].sum()))  # the sum of the rows
        parts.append(total[:, 0] + stats.multinomial.logpmf(y[here], y[here].sum(), x[here] / x[here].sum()))
    prior = stats.gamma(2).logpdf(m[:, 0]) + stats.gamma(2).logpdf(a[:, 0])
    return model, frame, np.array(parts).T, prior + weights, {"mean_pump": m[:, 0], "shape_pump": a[:, 0]}


@pytest.mark.parametrize("case", [experiments, pumps])
def test_leave_one_count_group_out_against_quadrature(case):
    model, frame, ll, log_p, nodes = case()
    expected = quadrature(ll, log_p, 0.0)
    found = left_out(bind(model, frame), frame, node_draws(ll.sum(1) + log_p, nodes))
    assert np.all(np.abs(found.table["elpd"] - expected) < 4 * found.table["mcse"] + 1e-3)
    assert found.table["rows"].tolist() == ([1, 1, 1] if case is experiments else [2, 1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("case", [experiments, pumps])
def test_refitting_three_groups_of_counts(case):
    model, frame, ll, log_p, _ = case()
    fit = hm.fit(model, frame, **DRAWS)
    weighed, again = fit.leave_one_group_out(refit=False), fit.leave_one_group_out(refit=True)
    expected = quadrature(ll, log_p, 0.0)
    for found in (weighed, again):
        assert np.all(np.abs(found.table["elpd"] - expected) < 4 * found.table["mcse"] + 2e-3)
    assert np.all(
        np.abs(weighed.table["elpd"] - again.table["elpd"]) < 2 * np.hypot(weighed.table["mcse"], again.table["mcse"])
    )


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["eight_schools", "rats", "pumps"])
def test_all_groups_refitted(dataset):
    """Every group in turn, by weights and by fits without it: differences within two standard errors, as often as
    normal ones are.
    """
    models = {
        "eight_schools": hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(10)"}),
        "rats": hm.Model(
            "tumors ~ 1 + (1 | experiment)",
            family="binomial",
            trials="rats",
            priors={"kappa_experiment": "gamma(2, 0.1)"},
        ),
        "pumps": hm.Model(
            "failures ~ 1 + (1 | pump)", family="poisson", exposure="hours", priors={"shape_pump": "gamma(2, 1)"}
        ),
    }
    frame = hm.load_dataset(dataset)
    fit = hm.fit(models[dataset], frame.iloc[::6] if dataset == "rats" else frame, **(DRAWS | {"draws": 4000}))
    weighed, again = fit.leave_one_group_out(), fit.leave_one_group_out(refit=True)
    z = (weighed.table["elpd"] - again.table["elpd"]) / np.hypot(weighed.table["mcse"], again.table["mcse"])
    assert (z.abs() < 2).mean() >= 0.75
    assert (z.abs() < 4).all()
    total = np.hypot(*(np.sqrt((t["mcse"] ** 2).sum()) for t in (weighed.table, again.table)))
    assert abs(weighed.elpd - again.elpd) < 2 * total


@pytest.mark.slow
def test_leave_one_class_out():
    """A class given its school's draws: weights against fits without the class, one of them a school's only class."""
    rng = np.random.default_rng(3)
    school = np.repeat(list("aabbcdd"), 4)
    room = np.repeat(list("1234567"), 4)
    frame = pd.DataFrame(
        {"school": school, "room": room, "y": rng.normal(0, 1, 28) + np.repeat(rng.normal(0, 2, 7), 4)}
    )
    priors = {"sd_school": "fixed(1)", "sd_school:room": "fixed(2)", "sigma": "fixed(1)", "Intercept": "normal(0, 5)"}
    fit = hm.fit(hm.Model("y ~ 1 + (1 | school/room)", priors=priors), frame, **(DRAWS | {"draws": 4000}))
    found = fit.leave_one_group_out(refit=False)
    # everything is normal: the dense covariance of all rows conditions in one step
    same = [c[:, None] == c[None] for c in (school, room)]
    cov = 25.0 + 1.0 * same[0] + 4.0 * same[1] + np.eye(28)
    for label, row in found.table.iterrows():
        out = (frame["school"] + ":" + frame["room"]).to_numpy() == label
        gain = np.linalg.solve(cov[np.ix_(~out, ~out)], cov[np.ix_(~out, out)])
        law = stats.multivariate_normal(
            frame["y"].to_numpy()[~out] @ gain, cov[np.ix_(out, out)] - cov[np.ix_(out, ~out)] @ gain
        )
        expected = law.logpdf(frame["y"].to_numpy()[out])
        if row["pareto_k"] < found.good_k:
            assert abs(row["elpd"] - expected) < 4 * row["mcse"] + 0.01, label
    again = fit.leave_one_group_out("school")
    for label, row in again.table.iterrows():
        out = school == label
        gain = np.linalg.solve(cov[np.ix_(~out, ~out)], cov[np.ix_(~out, out)])
        law = stats.multivariate_normal(
            frame["y"].to_numpy()[~out] @ gain, cov[np.ix_(out, out)] - cov[np.ix_(out, ~out)] @ gain
        )
        assert abs(row["elpd"] - law.logpdf(frame["y"].to_numpy()[out])) < 4 * row["mcse"] + 0.01, label


@pytest.mark.slow
def test_compare(fit):
    pooled = fit.refit(pooling="complete")
    found = hm.compare({"partial": fit, "complete": pooled})
    assert set(found.index) == {"partial", "complete"}
    scores = {"partial": fit.loo().elpd, "complete": pooled.loo().elpd}
    assert found.index[0] == max(scores, key=scores.get)
    groups = hm.compare({"a": fit, "b": fit.refit(priors={"sd_school": "half_normal(3)"})}, "groups", round_to="none")
    assert groups.loc["a", "elpd"] == pytest.approx(fit.leave_one_group_out().elpd)
    other = fit.refit(data=SCHOOLS.assign(effect=SCHOOLS["effect"] + 1))
    for fits, match in (
        ({"a": fit}, "expected a mapping of name to fit with at least two"),
        ({"a": fit, "b": other}, "b and a have different outcomes"),
        ({"a": fit, "b": 3}, "b: expected a fit, found int"),
    ):
        with pytest.raises(ValueError, match=match):
            hm.compare(fits)
    with pytest.raises(ValueError, match="criterion: expected rows or groups, found 'waic'"):
        hm.compare({"a": fit, "b": fit}, "waic")


def test_what_cannot_be_left_out(fit):
    with pytest.raises(ValueError, match="school is not pooled, so the others tell nothing"):
        fit.refit(pooling="none").leave_one_group_out()
    with pytest.raises(ValueError, match="level: expected one of school, found 'class'"):
        fit.leave_one_group_out("class")
    from hiermodels.inference.leave_out import leave_one_group_out

    rows = pd.DataFrame({"a": list("ppqqrr") * 2, "y": [0, 1] * 6, "x": np.arange(12.0)})
    problem = bind(hm.Model("y ~ 1 + x + (1 + x | a)", family="bernoulli_logit"), rows)
    with pytest.raises(ValueError, match="but 2 coefficients vary by a"):
        leave_one_group_out({}, problem, rows, problem.layout.levels[0], None)
    standard = hm.Model("y ~ 1 + standardise(x) + (1 | g)", priors={"sd_g": "fixed(1)", "sigma": "fixed(1)"})
    frame = pd.DataFrame({"g": list("aabbcc"), "x": np.arange(6.0), "y": np.arange(6.0)})
    with pytest.raises(ValueError, match="changes with the rows"):
        hm.fit(standard, frame, **(DRAWS | {"draws": 50})).leave_one_group_out(refit=True)
    with pytest.raises(ValueError, match="refit: expected True, False or None, found 'yes'"):
        fit.leave_one_group_out(refit="yes")


# deviations that have no closed form
# ---------------------------------------------------------------------------------------


def drawn(formula, family, frame, values, **columns):
    """A problem and flat draws of its parameters."""
    return bind(hm.Model(formula, family=family, **columns), frame), {
        k: np.asarray(v, float) for k, v in values.items()
    }


INTEGRALS = {
    "bernoulli_logit": (lambda y, eta, v, s: stats.bernoulli.logpmf(y, special.expit(eta)), [1, 0, 1, 1, 0, 1], {}),
    "binomial_logit": (lambda y, eta, v, s: stats.binom.logpmf(y, 9, special.expit(eta)), [8, 3, 9, 0, 0, 1], {"trials": "n"}),
    "poisson_log": (lambda y, eta, v, s: stats.poisson.logpmf(y, 2 * np.exp(eta)), [40, 3, 0, 0, 7, 90], {"exposure": "h"}),
    "negative_binomial": (
        lambda y, eta, v, s: stats.nbinom.logpmf(y, v["shape"][s], v["shape"][s] / (v["shape"][s] + 2 * np.exp(eta))), [40, 3, 0, 0, 7, 90], {"exposure": "h"},
    ),
    "student_t": (lambda y, eta, v, s: stats.t.logpdf(y, v["nu"][s], eta, v["sigma"][s]), [1.0, 2.5, -30.0, 0.0, 7.0, 9.0], {}),
}  # fmt: skip


@pytest.mark.slow_cases("binomial_logit")
@pytest.mark.parametrize("family", INTEGRALS)
def test_deviations_are_integrated(family):
    """Against SciPy's densities on a grid of 20,001 places, group by group; a predictor, small and large scales."""
    from hiermodels.inference.group_integral import integrated_log_likelihood

    density, y, columns = INTEGRALS[family]
    frame = pd.DataFrame({"g": list("aabbbc"), "x": [0.0, 1.0, 0.5, -1.0, 2.0, 0.3], "n": 9, "h": 2.0, "y": y})
    values = {
        "Intercept": [0.3, 1.0],
        "x": [0.5, -0.2],
        "sd_g": [0.4, 2.5],
        "shape": [1.5, 6.0],
        "nu": [3.0, 9.0],
        "sigma": [1.0, 0.5],
    }
    problem, v = drawn("y ~ 1 + x + (1 | g)", family, frame, values, **columns)
    v["theta_g"] = np.full((2, 3), np.nan)  # the group's own value is not read
    found, grid = integrated_log_likelihood(v, problem, 0), np.linspace(-15, 15, 20_001)
    for s in range(2):
        for j, label in enumerate("abc"):
            part = frame[frame["g"] == label]
            eta = v["Intercept"][s] + v["x"][s] * part["x"].to_numpy()

            each = density(part["y"].to_numpy(), eta + v["sd_g"][s] * grid[:, None], v, s).sum(1)
            expected = special.logsumexp(each + stats.norm.logpdf(grid)) + np.log(grid[1] - grid[0])
            assert found[s, j] == pytest.approx(expected, abs=1e-6)  # skew tails end at eight sds


def test_crossed_groups_are_integrated():
    """Given the other grouping's values, the rows of a group are jointly normal."""
    from hiermodels.inference.leave_out import log_predictive

    frame = pd.DataFrame({"a": list("ppqqrr") * 2, "b": list("uvuvuv") * 2, "y": np.arange(12.0)})
    rng = np.random.default_rng(0)
    values = {
        "Intercept": [4.0, 5.0],
        "sd_a": [1.0, 2.0],
        "sd_b": [0.5, 1.0],
        "sigma": [1.0, 3.0],
        "theta_a": rng.normal(4, 1, (2, 3)),
        "theta_b": rng.normal(4, 1, (2, 2)),
    }
    problem, v = drawn("y ~ 1 + (1 | a) + (1 | b)", "normal", frame, values)
    i = [level.name for level in problem.layout.levels].index("a")
    found = log_predictive({k: x[None] for k, x in v.items()}, problem, i)[0]
    for s in range(2):
        for j, label in enumerate("pqr"):
            part = frame[frame["a"] == label]
            other = np.where(part["b"] == "u", v["theta_b"][s, 0], v["theta_b"][s, 1])
            law = stats.multivariate_normal(other, v["sd_a"][s] ** 2 + v["sigma"][s] ** 2 * np.eye(len(part)))
            assert found[s, j] == pytest.approx(law.logpdf(part["y"]), abs=1e-8)
