"""Families with normal groups whose outcome is not normal: densities, predictions, refusals, and posteriors by
quadrature.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.infer.util import log_density
from plain_units import as_written
from scipy import special, stats

import hiermodels as hm
from hiermodels import families
from hiermodels.inference.datatree import log_likelihood
from hiermodels.inference.predict import predict
from hiermodels.models.builder import build
from hiermodels.models.centring import centring
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise
from hiermodels.models.sites import find_sites
from hiermodels.models.spec import Model
from hiermodels.studies.mechanisms.simulate import simulate_given

OWN = {"student_t": {"sigma": 1.3, "nu": 4.5}, "negative_binomial": {"shape": 2.2}}
ROLES = {
    "binomial_logit": {"trials": "n"},
    "poisson_log": {"exposure": "hours"},
    "negative_binomial": {"exposure": "hours"},
}
NORMAL_GROUPS = ("student_t", "binomial_logit", "bernoulli_logit", "poisson_log", "negative_binomial")

TOLERANCE = {"negative_binomial": 1e-6}
"""Relative: jax's betaln has an error of about 1e-6 where its arguments reach 8."""


def frame_for(family):
    """Twenty rows in five groups with an outcome that the family allows."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({
        "g": np.repeat(list("abcde"), 4), "x": rng.normal(size=20), "n": rng.integers(2, 9, 20), "hours": rng.uniform(1, 4, 20),
        "w": rng.uniform(0.5, 2, 20), "day": np.tile(["mo", "tu"], 10),
    })  # fmt: skip
    y = {
        "student_t": rng.standard_t(4, 20), "binomial_logit": rng.binomial(frame.n, 0.3), "bernoulli_logit": rng.integers(0, 2, 20),
        "poisson_log": rng.poisson(2, 20), "negative_binomial": rng.negative_binomial(2, 0.4, 20),
    }  # fmt: skip
    return frame.assign(y=y[family])


def model_for(family, formula="y ~ 1 + x + (1 + x || g)", **settings):
    roles = dict(ROLES.get(family, {}))
    if family == "student_t":
        roles["weights"] = "w"
    return Model(formula, family, **roles, **settings)


def log_prob(family, y, eta, values, frame):
    """Log density of every row, written out."""
    if family == "student_t":
        nu, scale = values["nu"], values["sigma"] / np.sqrt(frame.w.to_numpy())
        z = (y - eta) / scale
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi)
        return constant - np.log(scale) - (nu + 1) / 2 * np.log1p(z**2 / nu)
    if family in ("binomial_logit", "bernoulli_logit"):
        n = frame.n.to_numpy() if family == "binomial_logit" else 1
        return np.log(special.comb(n, y)) + y * eta - n * np.log1p(np.exp(eta))
    mu = frame.hours.to_numpy() * np.exp(eta)
    if family == "poisson_log":
        return y * np.log(mu) - mu - special.gammaln(y + 1)
    k = values["shape"]
    binomial = special.gammaln(y + k) - special.gammaln(k) - special.gammaln(y + 1)
    return binomial + k * np.log(k / (k + mu)) + y * np.log(mu / (k + mu))


def own_prior(values):
    """Log prior densities of the outcome's own parameters, named below; nu's law is cut at one, its constant left
    out.
    """
    total = stats.halfnorm(0, 3).logpdf(values["sigma"]) if "sigma" in values else 0.0
    total += stats.gamma(2, scale=10).logpdf(values["nu"]) if "nu" in values else 0.0
    if "shape" in values:  # the default: 1 / sqrt(shape) is half normal
        total += stats.halfnorm.logpdf(values["shape"] ** -0.5) + np.log(0.5 * values["shape"] ** -1.5)
    return total


# densities
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", NORMAL_GROUPS)
def test_log_density_of_slopes_is_scipys(family):
    frame = frame_for(family)
    priors = {"Intercept": "normal(0, 10)", "x": "normal(0, 10)", "sd_g": "half_normal(1)", "sd_g_x": "half_normal(1)"}
    if family == "student_t":
        priors["sigma"] = "half_normal(3)"
    code = np.repeat(np.arange(5), 4)
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        problem = as_written(bind(model_for(family, priors=priors), frame))
        data = as_jax(problem.data)
        for _ in range(3):
            eta_g, eta_x = rng.normal(size=5), rng.normal(size=5)
            values = {
                "Intercept": rng.normal(),
                "x": rng.normal(),
                "sd_g": 0.7,
                "sd_g_x": rng.uniform(0.1, 1),
                **OWN.get(family, {}),
            }
            sites = values | {"eta_g": eta_g, "eta_g_x": eta_x}
            sites = {k: jnp.asarray(v) for k, v in sites.items()}
            found, _ = log_density(build(problem.layout), (data, data.y), {}, sites)
            theta = values["Intercept"] + values["sd_g"] * eta_g[code]
            eta = theta + (values["x"] + values["sd_g_x"] * eta_x[code]) * frame.x.to_numpy()
            wanted = log_prob(family, frame.y.to_numpy(), eta, values, frame).sum() + own_prior(values)
            wanted += stats.norm(0, 10).logpdf([values["Intercept"], values["x"]]).sum()
            wanted += (
                stats.halfnorm.logpdf([values["sd_g"], values["sd_g_x"]]).sum()
                + stats.norm.logpdf([*eta_g, *eta_x]).sum()
            )
            assert float(found) == pytest.approx(wanted, rel=TOLERANCE.get(family, 1e-10))


@pytest.mark.parametrize("pooling", ["complete", "none"])
@pytest.mark.parametrize("family", NORMAL_GROUPS)
def test_log_density_without_partial_pooling(family, pooling):
    """One intercept with its prior, or one for each group: flat for t, N(0, 10^2) on a link scale."""
    frame = frame_for(family)
    prior = {"sigma": "half_normal(3)"} if family == "student_t" else None
    with jax.enable_x64(True):
        problem = bind(model_for(family, "y ~ 1 + (1 | g)", priors=prior), frame, pooling)
        data, theta = as_jax(problem.data), np.linspace(-1, 1, 5)
        values = dict(OWN.get(family, {})) | ({"Intercept": 0.4} if pooling == "complete" else {"theta_g": theta})
        found, _ = log_density(
            build(problem.layout), (data, data.y), {}, {k: jnp.asarray(v) for k, v in values.items()}
        )
    eta = np.full(20, 0.4) if pooling == "complete" else np.repeat(theta, 4)
    eta = eta - (
        np.log(frame.hours.mean()) if problem.layout.link.name == "log" else 0.0
    )  # the default stands at the mean exposure
    wanted = log_prob(family, frame.y.to_numpy(), eta, values, frame).sum() + own_prior(values)
    if family != "student_t":
        wanted += stats.norm(0, 10).logpdf(0.4 if pooling == "complete" else theta).sum()
    assert float(found) == pytest.approx(wanted, rel=TOLERANCE.get(family, 1e-10))


def test_a_predictor_may_be_called_y():
    frame = frame_for("student_t").rename(columns={"y": "z", "x": "y"})
    problem = bind(Model("z ~ 1 + y + (1 | g)", "student_t", priors={"sd_g": "half_normal(1)"}), frame)
    with jax.enable_x64(True):
        data = as_jax(problem.data)
        assert {"y", "eta_g"} <= {site.name for site in find_sites(build(problem.layout), data, data.y)}


def test_bernoulli_is_binomial_with_one_trial():
    frame = frame_for("bernoulli_logit").assign(one=1)
    pairs = (("bernoulli", "binomial"), ("bernoulli_logit", "binomial_logit"))
    for one, many in pairs:
        a = bind(Model("y ~ 1 + (1 | g)", one), frame)
        b = bind(Model("y ~ 1 + (1 | g)", many, trials="one"), frame)
        assert a.layout == b.layout
        jax.tree.map(np.testing.assert_array_equal, a.data, b.data)
    true_false = bind(Model("y ~ 1 + (1 | g)", "bernoulli"), frame.assign(y=frame.y == 1))
    np.testing.assert_array_equal(true_false.data.y, frame.y)
    assert factorise(true_false.layout).dim == 2  # conjugate: mean and kappa are all that is left


# predictions from draws that are made up
# -------------------------------------------------------------------------------------


def made_up(family, draws=4000):
    """A problem with crossed groups, and draws of every variable that do not vary."""
    frame = frame_for(family)
    problem = bind(model_for(family, "y ~ 1 + x + (1 | g) + (1 | day)"), frame)
    theta, day = np.array([-0.5, 0.0, 0.3, 0.8, 1.0]), np.array([0.1, 0.5])
    values = {"Intercept": 0.2, "x": -0.4, "sd_g": 0.8, "sd_day": 0.3, **OWN.get(family, {})}
    found = {k: np.full((1, draws), v) for k, v in values.items()}
    found |= {"theta_g": np.broadcast_to(theta, (1, draws, 5)), "theta_day": np.broadcast_to(day, (1, draws, 2))}
    return problem, frame, values, found, theta, day


def linear(frame, values, theta, day):
    """Population, and both groups' deviations from it."""
    return (
        theta[np.repeat(np.arange(5), 4)]
        + day[np.tile([0, 1], 10)]
        - values["Intercept"]
        + values["x"] * frame.x.to_numpy()
    )


def inverse(family, eta):
    return eta if family == "student_t" else special.expit(eta) if "logit" in family else np.exp(eta)


@pytest.mark.parametrize("family", NORMAL_GROUPS)
def test_predictions_and_log_likelihood(family):
    problem, frame, values, found, theta, day = made_up(family)
    eta = linear(frame, values, theta, day)
    mean = predict(found, problem, frame, None)
    np.testing.assert_allclose(mean[0, 0], inverse(family, eta), rtol=1e-12)
    # every combination of a group and a day is in the data, four rows each but for x
    grid = theta[:, None] + day[None] - values["Intercept"]
    average = predict(found, problem, frame, None, groups="average")
    wanted = inverse(family, grid.ravel()[:, None] + values["x"] * frame.x.to_numpy()).mean(0)
    np.testing.assert_allclose(average[0, 0], wanted, rtol=1e-12)
    pointwise = log_likelihood(found, problem, frame)
    np.testing.assert_allclose(pointwise[0, 0], log_prob(family, frame.y.to_numpy(), eta, values, frame), rtol=1e-9)


@pytest.mark.parametrize("family", NORMAL_GROUPS)
def test_outcomes_have_the_familys_moments(family):
    """Mean and variance of 4,000 predicted outcomes a row, summed over rows; five standard errors allow for 5 x 2
    comparisons.
    """
    problem, frame, values, found, theta, day = made_up(family)
    eta = linear(frame, values, theta, day)
    mean = inverse(family, eta)
    if family == "student_t":
        scale, nu = values["sigma"] / np.sqrt(frame.w.to_numpy()), values["nu"]
        variance = scale**2 * nu / (nu - 2)
    elif "logit" in family:
        size = frame.n.to_numpy() if family == "binomial_logit" else 1
        mean, variance = size * mean, size * mean * (1 - mean)
    else:
        mean = frame.hours.to_numpy() * mean
        variance = mean + (mean**2 / values["shape"] if family == "negative_binomial" else 0)
    drawn = predict(found, problem, frame, None, kind="outcome", seed=4)[0]
    error = np.sqrt(variance.sum() / len(drawn))
    assert abs((drawn.mean(0) - mean).sum()) < 5 * error
    square = ((drawn - mean) ** 2).sum(1)
    assert abs(square.mean() - variance.sum()) < 5 * square.std() / np.sqrt(len(drawn))
    again = predict(found, problem, frame, None, kind="outcome", seed=4)[0]
    np.testing.assert_array_equal(drawn, again)
    if family not in ("binomial_logit", "negative_binomial"):  # compiling takes seconds
        return
    with jax.enable_x64(True):  # the simulator of studies draws from the same law
        data = as_jax(problem.data)
        keys = jax.random.split(jax.random.key(1), 4000)
        one = {k: jnp.asarray(v[0, 0]) for k, v in found.items()}
        simulated = np.asarray(jax.jit(jax.vmap(lambda k: simulate_given(problem.layout, k, data, one)))(keys))
    assert abs((simulated.mean(0) - mean).sum()) < 5 * error


@pytest.mark.parametrize("family", ["poisson_log", "binomial_logit"])
def test_new_groups_are_drawn_on_the_link_scale(family):
    """Mean of a new group on a known day against Gauss-Hermite quadrature."""
    problem, frame, values, found, _, day = made_up(family, draws=20_000)
    new = pd.DataFrame({"g": ["z"], "day": ["tu"], "x": [0.5]})
    drawn = predict(found, problem, frame, new, groups="new")[0, :, 0]
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    wanted = weights @ inverse(family, day[1] + values["x"] * 0.5 + values["sd_g"] * nodes) / weights.sum()
    assert abs(drawn.mean() - wanted) < 5 * drawn.std() / np.sqrt(len(drawn))


# what is shown and what is refused
# -------------------------------------------------------------------------------------------

SHOWN = {
    "student_t": "y_i ~ t(nu, theta_g[i], sigma^2 / w_i)",
    "binomial_logit": "y_i ~ Binomial(n_i, logistic(theta_g[i]))",
    "bernoulli_logit": "y_i ~ Bernoulli(logistic(theta_g[i]))",
    "poisson_log": "y_i ~ Poisson(hours_i * exp(theta_g[i]))",
    "negative_binomial": "y_i ~ NegBinomial(hours_i * exp(theta_g[i]), shape)",
}


@pytest.mark.parametrize("family", NORMAL_GROUPS)
def test_models_are_shown_as_mathematics(family):
    model = model_for(family, "y ~ 1 + (1 | g)")
    lines = str(model).splitlines()
    assert lines[0] == SHOWN[family]
    assert lines[1] == "theta_g_j ~ N(Intercept, sd_g^2)"
    assert {"student_t": "nu ~ gamma(2, 0.1)", "negative_binomial": "shape ~ half_normal_cv(1)"}.get(
        family, lines[-1]
    ) in lines
    assert model.latex().startswith("\\begin{aligned}\n")


def test_bernoulli_is_shown_without_trials():
    assert str(Model("y ~ 1 + (1 | g)", "bernoulli")).splitlines()[0] == "y_i ~ Bernoulli(theta_g[i])"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gaussian", "it is called 'normal' here"), ("lognormal", "take logarithms"), ("weibull", "'exponential_log' and 'gamma' are nearest"), ("ordinal", "bernoulli_logit"),
        ("Beta-Binomial", "it is called 'binomial' here"), ("poison", "did you mean 'poisson'?"), ("zzz", "use one of bernoulli, "),
    ],
)  # fmt: skip
def test_absent_families_are_refused_with_a_way_on(name, hint):
    with pytest.raises(ValueError, match=r"family: unknown family") as caught:
        Model("y ~ 1", name)
    assert hint in str(caught.value)


REFUSED = {
    "bernoulli": ({"y": 2}, r"column 'y', row 3: expected 0 or 1, found 2; family bernoulli has one trial a row"),
    "bernoulli_logit": ({"y": 0.5}, r"column 'y', row 3: expected 0 or 1, found 0.5"),
    "negative_binomial": ({"y": -1}, r"column 'y', row 3: expected a count"),
    "poisson_log": ({"hours": 0.0}, r"column 'hours', row 3: expected a positive, finite exposure, found 0"),
    "binomial_logit": ({"y": 99}, r"column 'y', row 3: expected at most the row's trials"),
    "student_t": ({"w": 0.0}, r"column 'w', row 3: expected a positive, finite weight"),
}


@pytest.mark.parametrize("family", REFUSED)
def test_bad_data_are_refused(family):
    change, message = REFUSED[family]
    frame = frame_for(family if family in NORMAL_GROUPS else "bernoulli_logit")
    for column, value in change.items():
        frame[column] = frame[column].astype(float)
        frame.loc[3, column] = value
    with pytest.raises(ValueError, match=message):
        bind(model_for(family, "y ~ 1 + (1 | g)"), frame)


PRIORS = {
    "a flat sd": (
        "poisson_log",
        {"sd_g": "flat()"},
        r"priors: sd_g: flat\(\) may give an improper posterior under family poisson_log",
    ),
    "a flat coefficient": (
        "bernoulli_logit",
        {"Intercept": "flat()"},
        r"priors: Intercept: flat\(\) may give an improper.*normal\(0, 10\)",
    ),
    "a reference prior": ("student_t", {"sd_g": "reference()"}, r"priors: sd_g: reference\(\) may give an improper"),
    "few degrees of freedom": ("student_t", {"nu": 0.5}, r"priors: nu: fixed\(0.5\): expected a value >= 1"),
    "nu's kind": (
        "student_t",
        {"nu": "normal(5, 1)"},
        r"priors: nu: normal\(5, 1\) does not fit a greater than one parameter",
    ),
    "a conjugate parameter": (
        "binomial_logit",
        {"kappa_g": "exponential(1)"},
        r"'kappa_g' does not reach the likelihood",
    ),
    "a joint prior": ("poisson_log", {"g": "bda3()"}, r"bda3\(\) is a joint prior of a beta or gamma population"),
}


@pytest.mark.parametrize("case", PRIORS)
def test_priors_that_do_not_fit_are_refused(case):
    family, priors, message = PRIORS[case]
    with pytest.raises(ValueError, match=message):
        bind(model_for(family, "y ~ 1 + (1 | g)", priors=priors), frame_for(family))


def test_t_outcomes_that_repeat_are_refused():
    """11 of 20 equal: with nu = 1 the density at sigma -> 0 is sigma^(9 - 10 - 1), which has no integral; 10 of 20 are
    fine.
    """
    for equal, proper in ((11, False), (10, True)):
        frame = pd.DataFrame({"y": np.r_[np.full(equal, 2.0), 100 + np.arange(20.0 - equal)]})
        if proper:
            bind(Model("y ~ 1", "student_t"), frame)
        else:
            with pytest.raises(
                ValueError, match=r"priors: sigma: power\(1\) gives an improper posterior: 11 of 20 outcomes"
            ):
                bind(Model("y ~ 1", "student_t"), frame)


@pytest.mark.parametrize("sampler", ["exact", "gibbs", "closed_form"])
@pytest.mark.parametrize("family", NORMAL_GROUPS)
def test_samplers_that_need_a_factorised_model_are_refused(family, sampler):
    x_by_group = model_for(family, "y ~ 1 + x + (1 + x | g)")
    with pytest.raises(
        ValueError,
        match=rf"family {family.replace('bernoulli', 'binomial')}: normal groups of g do not integrate out.*use sampler='nuts'",
    ):
        hm.fit(x_by_group, frame_for(family), sampler=sampler, progress=False)


@pytest.mark.parametrize(
    ("sampler", "why"),
    [("gibbs", "have no law in closed form given the hyperparameters"), ("closed_form", "has no closed form")],
)
def test_samplers_that_need_a_closed_form_are_refused_where_groups_are_summed_over(sampler, why):
    with pytest.raises(ValueError, match=rf"family poisson_log.*{why}.*use sampler="):
        hm.fit(model_for("poisson_log", "y ~ 1 + (1 | g)"), frame_for("poisson_log"), sampler=sampler, progress=False)


def test_moments_that_do_not_exist():
    """As shape grows the likelihood tends to the Poisson one: its posterior mean exists only where its prior's does."""
    frame = frame_for("negative_binomial")
    lost = bind(model_for("negative_binomial", "y ~ 1 + (1 | g)"), frame).missing_moments
    assert lost == {"shape": "mean"}
    assert not bind(
        model_for("negative_binomial", "y ~ 1 + (1 | g)", priors={"shape": "exponential(1)"}), frame
    ).missing_moments
    # a half-Cauchy sd of five groups of which none is all or nothing: tail -2 - 5
    assert not bind(
        model_for("binomial_logit", "y ~ 1 + (1 | g)", priors={"sd_g": "half_cauchy(1)"}), frame_for("binomial_logit")
    ).missing_moments
    none = frame_for("poisson_log").assign(y=0)
    assert bind(
        model_for("poisson_log", "y ~ 1 + (1 | g)", priors={"sd_g": "half_cauchy(1)"}), none
    ).missing_moments == {"sd_g": "mean"}


def test_menus_name_every_family():
    from hiermodels.cli.menus import _menu

    listed = dict(_menu("families"))
    assert set(listed) == set(families.__all__)
    assert listed["poisson_log"] == "link log, groups normal, one grouping by quadrature, else explicit NUTS"


# centring
# --------------------------------------------------------------------------------------------------------------------


def test_centring_follows_the_information_in_a_group():
    """Many exact rows a group: as they are; one vague row a group: standardised deviations."""
    rng = np.random.default_rng(2)
    theta = rng.normal(0, 1, 12)
    sharp = pd.DataFrame(
        {"g": np.repeat(np.arange(12), 30).astype(str), "y": np.repeat(theta, 30) + rng.normal(0, 0.5, 360)}
    )
    vague = pd.DataFrame(
        {"g": np.repeat(np.arange(12), 3).astype(str), "y": np.repeat(theta, 3) + rng.normal(0, 5, 36)}
    )
    model = Model("y ~ 1 + (1 | g)")
    chosen = {
        name: centring(p.layout, p.data) for name, p in (("sharp", bind(model, sharp)), ("vague", bind(model, vague)))
    }
    assert chosen == {"sharp": ("theta_g",), "vague": ()}
    counts = Model("y ~ 1 + (1 | g)", "poisson_log")
    many, few = (
        pd.DataFrame({"g": np.arange(12).astype(str), "y": rng.poisson(m * np.exp(theta))}) for m in (100, 0.3)
    )
    assert [centring(p.layout, p.data) for p in (bind(counts, many), bind(counts, few))] == [("theta_g",), ()]


def test_centring_is_a_word_a_term():
    """Both forms of a mixed choice have the density that their sites say."""
    frame = frame_for("student_t")
    with jax.enable_x64(True):
        problem = bind(
            Model(
                "y ~ 1 + (1 | g) + (1 | day)",
                priors={"sd_g": "half_normal(1)", "sd_day": "half_normal(1)", "sigma": 1.0},
            ),
            frame,
        )
        data = as_jax(problem.data)
        values = {
            "Intercept": 0.3,
            "sd_g": 0.7,
            "sd_day": 0.4,
            "theta_g": np.linspace(-1, 1, 5),
            "eta_day": np.array([0.2, -1.0]),
        }
        sites = {k: jnp.asarray(v) for k, v in values.items()}
        found, _ = log_density(build(problem.layout, ("theta_g",)), (data, data.y), {}, sites)
    eta = np.repeat(values["theta_g"], 4) + 0.4 * np.tile(values["eta_day"], 10)
    wanted = stats.norm(eta, 1).logpdf(frame.y).sum() + stats.norm(0.3, 0.7).logpdf(values["theta_g"]).sum()
    wanted += stats.norm.logpdf(values["eta_day"]).sum() + stats.halfnorm.logpdf([0.7, 0.4]).sum()
    assert float(found) == pytest.approx(wanted, rel=1e-12)


def test_centring_is_refused_by_word():
    with pytest.raises(ValueError, match=r"centred: expected True, False or 'auto', found 'yes'"):
        hm.fit(Model("y ~ 1 + (1 | g)"), frame_for("student_t"), centred="yes", progress=False)


# posteriors
# ------------------------------------------------------------------------------------------------------------------


def quadrature(log_rows, groups, prior_sd=10.0, points=41):
    """Posterior moments of one grouping by nodes: mu and log sd on a grid, each group's deviation by Gauss-Hermite.

    ``log_rows(eta)`` is the log likelihood of the groups at eta, shape (groups, nodes) to (groups, nodes).
    """
    z, w = np.polynomial.hermite_e.hermegauss(points)
    w = w / w.sum()
    mu, sd = np.linspace(-4.5, -0.5, 61), np.exp(np.linspace(-4, 1, 60))
    log_p, first = np.empty((61, 60)), np.empty((61, 60, groups))
    for a, m in enumerate(mu):
        for b, s in enumerate(sd):
            eta = m + s * z
            ll = log_rows(np.broadcast_to(eta, (groups, points)))
            top = ll.max(1, keepdims=True)
            like = np.exp(ll - top) * w
            log_p[a, b] = (
                (np.log(like.sum(1)) + top[:, 0]).sum()
                + stats.norm(0, prior_sd).logpdf(m)
                + stats.halfnorm.logpdf(s)
                + np.log(s)
            )
            first[a, b] = (like * eta).sum(1) / like.sum(1)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    return {
        "Intercept": (p.sum(1) * mu).sum(), "sd": (p.sum(0) * sd).sum(), "theta": np.einsum("ab,abg->g", p, first),
        "new rate": sum(p[a, b] * (w @ special.expit(m + s * z)) for a, m in enumerate(mu) for b, s in enumerate(sd)),
    }  # fmt: skip


def within(found, wanted, mcse, multiple=4.0):
    """Means within so many Monte Carlo standard errors; four allow for some dozens of comparisons."""
    z = np.abs(np.asarray(found) - np.asarray(wanted)) / np.asarray(mcse)
    assert (z < multiple).all(), z


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"marginalize": False}, {}, {"sampler": "exact"}])
def test_a_fit_of_hospitals_is_the_posterior_by_quadrature(how):
    """NUTS on everything, NUTS with hospitals integrated out, the exact engine: means against dense quadrature, and
    what a fit can do.
    """
    frame = hm.load_dataset("hospitals")
    model = Model("deaths ~ 1 + (1 | hospital)", "binomial_logit", trials="operations")
    fit = hm.fit(model, frame, draws=1000, tune=500, chains=4, seed=2, centred="auto", progress=False, **how)
    y, n = frame.deaths.to_numpy()[:, None], frame.operations.to_numpy()[:, None]
    exact = quadrature(lambda eta: y * eta - n * np.log1p(np.exp(eta)), 12)
    table = fit.summary()
    within(table.loc["Intercept", "mean"], exact["Intercept"], table.loc["Intercept", "mcse_mean"])
    within(table.loc["sd_hospital", "mean"], exact["sd"], table.loc["sd_hospital", "mcse_mean"])
    theta = table.loc[[i for i in table.index if i.startswith("theta_")]]
    within(theta["mean"], exact["theta"], theta["mcse_mean"])
    new = fit.predict(pd.DataFrame({"hospital": ["M"]}), groups="new").predictions["deaths"].to_numpy()
    assert abs(new.mean() - exact["new rate"]) < 5 * new.std() / np.sqrt(
        200
    )  # a few hundred independent draws at the least
    explicit = "marginalize" in how
    assert (
        "sampled: eta_hospital as standardised deviations" in str(fit)
    ) == explicit  # 12 hospitals leave room for a small sd
    tree = fit.to_datatree()
    assert tree.log_likelihood["deaths"].shape == (4, 1000, 12)
    assert fit.status == "ok" and "sampled" not in str(replace(fit, settings=replace(fit.settings, centred=False)))


@pytest.mark.slow
@pytest.mark.parametrize("family", NORMAL_GROUPS)
@pytest.mark.parametrize("pooling", ["partial", "none", "complete"])
def test_long_fits_are_numpyros_own(family, pooling):
    """NUTS of the library against NUTS of NumPyro on a model written by hand, both long; means within four combined
    errors.
    """
    import numpyro
    import numpyro.distributions as dist
    from numpyro.diagnostics import effective_sample_size
    from numpyro.infer import MCMC, NUTS

    frame = frame_for(family)
    priors = {"Intercept": "normal(0, 10)", "sd_g": "half_normal(1)"} | (
        {"sigma": "half_normal(3)"} if family == "student_t" else {}
    )
    priors = {
        k: v
        for k, v in priors.items()
        if pooling == "partial" or k == "sigma" or (pooling == "complete" and k == "Intercept")
    }
    if family == "negative_binomial":
        priors["shape"] = "gamma(2, 0.5)"
    fit = hm.fit(
        model_for(family, "y ~ 1 + (1 | g)", priors=priors),
        frame,
        pooling=pooling,
        draws=4000,
        chains=2,
        progress=False,
    )
    code, y = np.repeat(np.arange(5), 4), jnp.asarray(frame.y.to_numpy())

    def model():
        if pooling == "none":
            law = (
                dist.ImproperUniform(dist.constraints.real, (5,), ())
                if family == "student_t"
                else dist.Normal(jnp.zeros(5), 10.0)
            )
            eta = numpyro.sample("theta_g", law)[code]
        else:
            mu = numpyro.sample("Intercept", dist.Normal(0, 10))
            eta = mu * jnp.ones(20)
            if pooling == "partial":
                sd = numpyro.sample("sd_g", dist.HalfNormal(1))
                eta = eta + (sd * numpyro.sample("z", dist.Normal(jnp.zeros(5), 1)))[code]
        if family == "student_t":
            nu = numpyro.sample("nu", dist.ImproperUniform(dist.constraints.greater_than(1.0), (), ()))
            numpyro.factor("p", dist.Gamma(2, 0.1).log_prob(nu))
            law = dist.StudentT(nu, eta, numpyro.sample("sigma", dist.HalfNormal(3)) / jnp.sqrt(frame.w.to_numpy()))
        elif "logit" in family:
            law = dist.Binomial(frame.n.to_numpy() if family == "binomial_logit" else 1, logits=eta)
        else:
            mean = frame.hours.to_numpy() * jnp.exp(eta)
            negative = family == "negative_binomial"
            law = (
                dist.GammaPoisson(k := numpyro.sample("shape", dist.Gamma(2, 0.5)), k / mean)
                if negative
                else dist.Poisson(mean)
            )
        numpyro.sample("y", law, obs=y)

    with jax.enable_x64(True):
        run = MCMC(NUTS(model), num_warmup=1000, num_samples=4000, num_chains=2, progress_bar=False)
        run.run(jax.random.key(3))
        other = {k: np.asarray(v) for k, v in run.get_samples(group_by_chain=True).items() if k != "z"}
    table = fit.summary()
    for name, x in other.items():
        size = np.asarray(effective_sample_size(x))
        rows = [i for i in table.index if i == name or i.startswith(f"{name}[")]
        error = np.hypot(table.loc[rows, "sd"] / np.sqrt(table.loc[rows, "ess_bulk"]), x.std((0, 1)) / np.sqrt(size))
        within(table.loc[rows, "mean"], np.ravel(x.mean((0, 1))), error)
