"""Closed forms: printed numbers, brute-force integration, and draws that follow the laws they claim."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, special, stats

import hiermodels as hm
from hiermodels import priors
from hiermodels.inference import closed_form as laws
from hiermodels.inference.closed_form import TruncatedInverseGamma, closed_form
from hiermodels.inference.samplers import Settings, estimator
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise

Y = np.array([9.2, 10.1, 8.7, 11.4, 10.6, 9.9])
FRAME = pd.DataFrame({"y": Y})
CONJUGATE = {"Intercept": "scaled_normal(8, 1.5)", "sigma": "inverse_gamma_variance(3, 2)"}
ONE = hm.Model("y ~ 1", priors=CONJUGATE)


def close(value, printed, decimals):
    """One unit in the last printed digit, or 2e-4 relative, whichever is larger."""
    np.testing.assert_allclose(value, printed, rtol=2e-4 if decimals < 5 else 2e-6, atol=1.01 * 10.0**-decimals)


# one level
# ------------------------------------------------------------------------------------------------------------------


def test_one_level_printed_numbers():
    found = laws.normal_inverse_gamma(Y, 8, 1.5, 3, 2)
    close([found.centre, found.count, found.shape, found.scale], [9.846552, 6.444444, 6, 5.148017], 6)
    close([found.variance.mean(), found.variance.median()], [1.029603, 0.907914], 6)
    close(found.theta.ppf([0.025, 0.975]), [9.051544, 10.641560], 6)
    close(found.theta.std() * math.sqrt(10 / 12), 0.364881, 6)
    close(found.outcome.ppf([0.025, 0.975]), [7.677411, 12.015692], 6)
    close(found.outcome.std() * math.sqrt(10 / 12), 0.995561, 6)
    close(found.log_evidence, -10.508589, 6)


def test_one_level_against_brute_force():
    """Density, evidence and variance by two-dimensional integration over (theta, log s2)."""
    found = laws.normal_inverse_gamma(Y, 8, 1.5, 3, 2)

    def joint(theta, log_v):
        v = np.exp(log_v)
        return np.exp(
            stats.norm.logpdf(Y[:, None, None], theta, np.sqrt(v)).sum(0)
            + stats.norm.logpdf(theta, 8, 1.5 * np.sqrt(v))
            + stats.invgamma.logpdf(v, 3, scale=2)
            + log_v
        )

    theta, log_v = np.linspace(4, 15, 1500), np.linspace(-4, 5, 1500)
    density = joint(theta[:, None], log_v[None])
    total = integrate.trapezoid(integrate.trapezoid(density, log_v, axis=1), theta)
    assert math.log(total) == pytest.approx(found.log_evidence, abs=1e-7)
    marginal = integrate.trapezoid(density, log_v, axis=1) / total
    np.testing.assert_allclose(marginal, found.theta.pdf(theta), atol=1e-5)
    of_variance = integrate.trapezoid(density, theta, axis=0) / total
    np.testing.assert_allclose(of_variance, found.variance.pdf(np.exp(log_v)) * np.exp(log_v), atol=1e-5)


@pytest.mark.slow
def test_declared_model_agrees_with_the_closed_form():
    """The factorised density, exact engine and closed-form draws of the declared model, against the Student t."""
    law = laws.normal_inverse_gamma(Y, 8, 1.5, 3, 2)
    with jax.enable_x64(True):
        problem = bind(ONE, FRAME)
        model = factorise(problem.layout)
        data = as_jax(problem.data)
        s = model.prepare(data)
        v = np.array([0.3, 0.9, 2.5, 10.0])
        log = jax.vmap(lambda u: model.log_density(u, s))(jnp.asarray(0.5 * np.log(v))[:, None])
        # density of log sigma: IG density of the variance times 2 v, times the evidence
        np.testing.assert_allclose(log, law.variance.logpdf(v) + np.log(2 * v) + law.log_evidence, rtol=1e-11)
        for sampler in ("exact", "closed_form"):
            targets = tuple(Target(n) for n in ("Intercept", "sigma"))
            run = jax.jit(estimator(problem.layout, Settings(sampler, draws=25_000), targets, Interval()))
            got = run(jax.random.key(1), data, jnp.full(2, jnp.nan))
            ends = [*law.theta.ppf([0.025, 0.5, 0.975]), *np.sqrt(law.variance.ppf([0.025, 0.5, 0.975]))]
            found = np.stack([got.lower, got.median, got.upper], 1).ravel()
            # the standard error of a 2.5% quantile of 1e5 draws is below 0.01 sd
            tolerance = 1e-3 if sampler == "exact" else 0.03
            np.testing.assert_allclose(found, ends, atol=tolerance * 0.4)
            assert (np.asarray(got.status) == 0).all()


@pytest.mark.slow
def test_nuts_on_everything_agrees_with_the_student_t():
    law = laws.normal_inverse_gamma(Y, 8, 1.5, 3, 2)
    fit = hm.fit(ONE, FRAME, marginalize=False, draws=2000, seed=3, progress=False)
    table = fit.summary()
    for name, mean in (
        ("Intercept", law.theta.mean()),
        ("sigma", np.sqrt(law.scale) * math.exp(special.gammaln(5.5) - special.gammaln(6))),
    ):
        assert abs(table.loc[name, "mean"] - mean) < 4 * table.loc[name, "mcse_mean"]


def test_display_and_refusals_of_the_scaled_prior():
    assert str(ONE).splitlines()[1] == "Intercept ~ scaled_normal(8, 1.5)"
    assert r"\beta_{\mathrm{Intercept}} &\sim \mathrm{N}(8,\, (1.5\, \sigma)^{2})" in ONE.latex()
    schools = hm.load_dataset("eight_schools")
    known = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"Intercept": "scaled_normal(8, 1.5)"})
    with pytest.raises(
        ValueError,
        match=r"Intercept: scaled_normal\(8, 1.5\) is in units of the residual sd, which this model has not; use normal",
    ):
        bind(known, schools)
    counts = hm.Model(
        "deaths ~ 1", family="poisson", exposure="exposure", priors={"Intercept": "scaled_normal(8, 1.5)"}
    )
    with pytest.raises(ValueError, match=r"scaled_normal\(8, 1.5\) (does not fit|is in units of the residual sd)"):
        bind(counts, hm.load_dataset("counties"))
    with pytest.raises(ValueError, match="ratio > 0"):
        priors.scaled_normal(8, 0)
    with pytest.raises(ValueError, match=r"sd_school: scaled_normal\(0, 1\) does not fit a positive parameter"):
        bind(hm.Model("effect ~ 1 + (1 | school)", priors={"sd_school": "scaled_normal(0, 1)"}), schools)


def test_scaled_prior_in_deeper_models_is_the_normal_one_at_that_sigma():
    scores = hm.load_dataset("scores")
    formula, scale = (
        "score ~ 1 + (1 | school/classroom)",
        {"sd_school": "half_normal(9)", "sd_school:classroom": "half_normal(9)"},
    )
    with jax.enable_x64(True):
        found = []
        for prior in ("scaled_normal(50, 2)", "normal(50, 6)"):
            problem = bind(hm.Model(formula, priors=scale | {"sigma": 3, "Intercept": prior}), scores)
            model = factorise(problem.layout)
            found.append(model.log_density(jnp.array([0.4, -0.3]), model.prepare(as_jax(problem.data))))
    assert float(found[0]) == pytest.approx(float(found[1]), rel=1e-13)


def test_prior_simulation_keeps_the_units():
    from hiermodels.studies.mechanisms.simulate import bind_design, read_truth, simulator

    problem = bind_design(hm.Model("y ~ 1"), FRAME)
    truth, values = read_truth({"Intercept": "scaled_normal(8, 1.5)", "sigma": "inverse_gamma_variance(3, 2)"}, problem)
    with jax.enable_x64(True):
        data, keys = as_jax(problem.data), jax.random.split(jax.random.key(0), 20_000)
        _, true = jax.jit(jax.vmap(lambda k: simulator(problem.layout, truth)(k, data, values)))(keys)
    true = {k: np.asarray(v) for k, v in true.items()}
    z = (true["Intercept"] - 8) / true["sigma"] / 1.5
    assert stats.kstest(z, "norm").pvalue > 1e-3
    assert stats.kstest(true["sigma"] ** 2, stats.invgamma(3, scale=2).cdf).pvalue > 1e-3
    with pytest.raises(
        ValueError, match="is in units of the residual sd, which the mechanism has not; use another law"
    ):
        read_truth(
            {"Intercept": "scaled_normal(8, 1.5)"}, bind_design(hm.Model("y ~ 1", known_se="s"), FRAME.assign(s=1.0))
        )


def test_sequential_draws_follow_the_laws():
    found = laws.normal_inverse_gamma(Y, 8, 1.5, 3, 2)
    theta, variance = found.draw(20_000, seed=1)
    assert stats.kstest(theta, found.theta.cdf).pvalue > 1e-3
    assert stats.kstest(variance, found.variance.cdf).pvalue > 1e-3


# truncated inverse gamma
# ----------------------------------------------------------------------------------------------------

TRUNCATED = {
    "not at all": (3.0, 2.0, 0.0, math.inf),
    "below": (7.5, 0.041, 0.066**2, math.inf),
    "below, few groups": (0.5, 2.0, 1.0, math.inf),
    "above": (112.0, 440.0, 0.0, 100.0),
    "above, hard": (20.0, 100.0, 0.0, 1.0),
    "both": (3.0, 2.0, 0.5, 1.5),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_inverse_gamma_against_quadrature(name):
    shape, scale, low, high = TRUNCATED[name]
    law = TruncatedInverseGamma(shape, scale, low, high)

    def kernel(v, r=0.0):
        return v ** (r - shape - 1) * np.exp(-scale / v + scale / peak + (shape + 1) * np.log(peak))

    peak = min(max(scale / (shape + 1), low), high)
    points = [peak, 3 * peak] if high > 3 * peak else None

    def integral(r=0.0, top=high):
        if math.isinf(top):
            return (
                integrate.quad(kernel, low, 50 * peak, args=(r,), points=points, limit=400)[0]
                + integrate.quad(kernel, 50 * peak, np.inf, args=(r,), limit=400)[0]
            )
        return integrate.quad(kernel, low, top, args=(r,), limit=400)[0]

    for r in (-2, -1, 0.25, 0.5, 1, 2):
        if r < shape or math.isfinite(high):
            assert law.moment(r) == pytest.approx(integral(r) / integral(), rel=2e-6), r
        else:
            assert math.isinf(law.moment(r))
    p = np.array([0.01, 0.3, 0.9])
    for q, v in zip(p, law.ppf(p), strict=True):
        assert integral(top=float(v)) / integral() == pytest.approx(q, rel=1e-6)
    np.testing.assert_allclose(law.cdf(law.ppf(p)), p, rtol=1e-10)


def test_truncated_inverse_gamma_refuses():
    with pytest.raises(ValueError, match="expected 0 <= low < high"):
        TruncatedInverseGamma(3, 2, 2, 1)
    with pytest.raises(ValueError, match=r"has no mass in .* use sampler='exact'"):
        TruncatedInverseGamma(500, 1e-4, 1.0)
    with pytest.raises(ValueError, match="shape: expected a positive, finite number, found 0"):
        TruncatedInverseGamma(0, 1)


# baseball
# -------------------------------------------------------------------------------------------------------------------

# mean, sd, q2.5, q50, q97.5; quantiles of the clipped draws with se 0.06
PLAYERS = {
    0: ((0.30911, 0.04671, 0.23214, 0.30358, 0.41342), (0.2396, 0.3084, 0.4168)),
    1: ((0.30189, 0.04470, 0.22635, 0.29693, 0.40139), (0.2342, 0.3003, 0.4037)),
    2: ((0.29468, 0.04299, 0.21972, 0.29044, 0.38966), (0.2272, 0.2926, 0.3908)),
    3: ((0.28747, 0.04161, 0.21225, 0.28409, 0.37825), (0.2190, 0.2852, 0.3783)),
    4: ((0.28026, 0.04058, 0.20401, 0.27789, 0.36721), (0.2097, 0.2784, 0.3661)),
    6: ((0.27305, 0.03994, 0.19508, 0.27180, 0.35659), (0.1997, 0.2719, 0.3544)),
    7: ((0.26583, 0.03971, 0.18552, 0.26577, 0.34644), (0.1890, 0.2658, 0.3431)),
    8: ((0.25862, 0.03990, 0.17543, 0.25974, 0.33682), (0.1778, 0.2596, 0.3323)),
    10: ((0.25141, 0.04049, 0.16485, 0.25365, 0.32781), (0.1660, 0.2532, 0.3222)),
    15: ((0.24420, 0.04147, 0.15386, 0.24747, 0.31949), (0.1539, 0.2464, 0.3129)),
    16: ((0.23698, 0.04282, 0.14249, 0.24114, 0.31193), (0.1414, 0.2392, 0.3045)),
    17: ((0.22977, 0.04450, 0.13079, 0.23466, 0.30521), (0.1286, 0.2314, 0.2974)),
}

# P(v < s), E[B], E[tau^2], sd, tau quantiles, sd(mu), mu ends, new theta ends, new y ends, first and last mean, SSE and
# wins (mean, median)
BASEBALL = {
    0.066: (0.217106, 0.675442, 0.002728, 0.002594, (0.00986, 0.04500, 0.09736), 0.019839, (0.22627, 0.30459), (0.14975, 0.38111),
            (0.09473, 0.43613), 0.30911, 0.22977, (0.02276, 16), (0.02174, 16)),
    (0.265 * 0.735 / 45) ** 0.5: (0.211613, 0.673422, 0.002737, 0.002595, (0.00993, 0.04512, 0.09740), 0.019812, (0.22632, 0.30454),
            (0.14963, 0.38124), (0.09495, 0.43591), 0.30938, 0.22955, (0.02280, 16), (0.02177, 16)),
    0.06: (0.086276, 0.607522, 0.003043, 0.002634, (0.01248, 0.04886, 0.09905), 0.019211, (0.22743, 0.30343), (0.14502, 0.38584),
           (0.09979, 0.43107), 0.31825, 0.22231, (0.02464, 16), (0.02322, 16)),
}  # fmt: skip
ENDS = [0.025, 0.5, 0.975]


@pytest.mark.parametrize("se", BASEBALL)
def test_baseball_printed_numbers(se):
    frame = hm.load_dataset("baseball")
    found = laws.two_level_normal(frame["avg"], se)
    below, b, tau2, tau2_sd, tau, mu_sd, mu, new, new_y, first, last, by_mean, by_median = BASEBALL[se]
    near = 6e-6 if se == 0.066 else 1.1e-5
    np.testing.assert_allclose([found.untruncated_below, found.shrinkage()], [below, b], atol=2e-6)
    np.testing.assert_allclose([found.tau2_mean, found.tau2_sd], [tau2, tau2_sd], atol=1e-6)
    np.testing.assert_allclose(found.tau_quantile(ENDS), tau, atol=near)
    assert found.mu_sd == pytest.approx(mu_sd, abs=1e-6)
    for quantile, printed in (
        (found.mu_quantile, mu),
        (found.new_theta_quantile, new),
        (found.new_outcome_quantile, new_y),
    ):
        np.testing.assert_allclose(quantile([0.025, 0.975]), printed, atol=near)
    np.testing.assert_allclose(found.theta_mean[[0, 17]], [first, last], atol=near)
    truth = frame["rem_avg"].round(3).to_numpy()  # the printed sums are against averages of three decimals
    raw = np.abs(frame["avg"].to_numpy() - truth)
    for estimate, (sse, wins) in ((found.theta_mean, by_mean), (found.theta_quantile(0.5), by_median)):
        assert np.sum((estimate - truth) ** 2) == pytest.approx(sse, abs=1.1e-5)
        assert np.sum(np.abs(estimate - truth) < raw) == wins


def test_baseball_players():
    found = laws.two_level_normal(hm.load_dataset("baseball")["avg"], 0.066)
    low, middle, high = found.theta_quantile(ENDS)
    clipped = laws.clipped_quantiles(hm.load_dataset("baseball")["avg"], 0.06, ENDS)
    for i, (printed, clip) in PLAYERS.items():
        got = [found.theta_mean[i], found.theta_sd[i], low[i], middle[i], high[i]]
        np.testing.assert_allclose(got, printed, atol=6e-6)
        np.testing.assert_allclose(clipped[:, i], clip, atol=6e-5)
    np.testing.assert_allclose(found.outcome_quantile(ENDS)[:, 0], [0.1548, 0.3076, 0.4724], atol=5e-4)
    truth = hm.load_dataset("baseball")["rem_avg"].to_numpy()
    assert np.sum((low < truth) & (truth < high)) == 17


def test_the_lecture_prints_clipped_draws():
    """The table's own 2.5, 50 and 97.5% columns are within 0.0025 of the clipped law at 0.06 and not of the
    posterior.
    """
    table = np.array([
        [0.239, 0.309, 0.418], [0.234, 0.299, 0.403], [0.227, 0.294, 0.391], [0.219, 0.286, 0.380], [0.209, 0.279, 0.365],
        [0.211, 0.279, 0.367], [0.200, 0.272, 0.355], [0.190, 0.266, 0.343], [0.178, 0.259, 0.332], [0.177, 0.259, 0.330],
        [0.166, 0.253, 0.322], [0.164, 0.253, 0.321], [0.165, 0.252, 0.321], [0.165, 0.253, 0.322], [0.166, 0.253, 0.323],
        [0.152, 0.246, 0.313], [0.143, 0.240, 0.304], [0.130, 0.231, 0.298],
    ])  # fmt: skip
    y = hm.load_dataset("baseball")["avg"]
    assert np.abs(laws.clipped_quantiles(y, 0.06, ENDS).T - table).max() < 0.0025
    for se in (0.06, 0.066):
        assert np.abs(laws.two_level_normal(y, se).theta_quantile(ENDS).T - table).max() > 0.005


def test_two_level_draws_follow_the_quantiles():
    found = laws.two_level_normal(hm.load_dataset("baseball")["avg"], 0.066)
    draws = found.draw(20_000, seed=2)
    for p in (0.1, 0.5, 0.9):  # 4 standard errors of a share
        near = 4 * math.sqrt(p * (1 - p) / 20_000)
        assert np.mean(draws["tau"] < found.tau_quantile(p)) == pytest.approx(p, abs=near)
        assert np.mean(draws["mu"] < found.mu_quantile(p)) == pytest.approx(p, abs=near)
        np.testing.assert_allclose(np.mean(draws["theta"] < found.theta_quantile(p), 0), p, atol=near)


@pytest.mark.slow
def test_two_level_against_the_exact_engine_on_random_data():
    rng = np.random.default_rng(11)
    for k in (4, 6, 40):
        y = rng.normal(3, math.hypot(2.0, 1.5), k)
        found = laws.two_level_normal(y, 2.0)
        frame = pd.DataFrame({"g": np.arange(k).astype(str), "y": y, "se": 2.0})
        model = hm.Model("y ~ 1 + (1 | g)", known_se="se", priors={"sd_g": "flat_variance()"})
        with jax.enable_x64(True):
            problem = bind(model, frame)
            targets = tuple(Target(n) for n in ("sd_g", "Intercept", "theta_g"))
            run = jax.jit(estimator(problem.layout, Settings("exact"), targets, Interval()))
            got = run(jax.random.key(0), as_jax(problem.data), jnp.full(2 + k, jnp.nan))
        lower, middle, upper = (
            np.r_[found.tau_quantile(p), found.mu_quantile(p), found.theta_quantile(p)] for p in ENDS
        )
        spread = (upper - lower) / 4
        for value, printed in ((got.lower, lower), (got.median, middle), (got.upper, upper)):
            # four groups have tails so heavy that the engine's own bound is wider
            assert np.max(np.abs(np.asarray(value) - printed) / spread) < (0.02 if k == 4 else 5e-3)


def test_two_level_refuses():
    with pytest.raises(ValueError, match="needs at least 4 groups, found 3: the posterior is improper"):
        laws.two_level_normal([1, 2, 3], 1)
    with pytest.raises(ValueError, match="se: expected a positive, finite number, found 0"):
        laws.two_level_normal([1, 2, 3, 4], 0)
    with pytest.raises(ValueError, match="every group has the same value"):
        laws.two_level_normal([1, 1, 1, 1], 1)
    with pytest.raises(ValueError, match="y: expected at least 1 finite numbers"):
        laws.two_level_normal([1, math.nan, 1, 1], 1)
    assert math.isinf(laws.two_level_normal([1, 2, 4, 9], 1).mu_sd)


# one mean, one rate, one probability
# ------------------------------------------------------------------------------------------


def test_common_effect_of_eight_schools():
    frame = hm.load_dataset("eight_schools")
    law = laws.common_effect(frame["effect"], frame["se"])
    close([law.mean(), law.std()], [7.685617, 4.071919], 6)
    normal = laws.common_effect([1.0], [2.0], mean=5, sd=2.0)
    assert (normal.mean(), normal.std()) == (3.0, pytest.approx(math.sqrt(2)))
    with pytest.raises(ValueError, match="se: expected a positive standard error for each of 2 rows"):
        laws.common_effect([1.0, 2.0], [1.0, 0.0])


# prior, y, exposure; mean, sd, ends, P(> 1); predictive mean, variance, P(0)
COUNTY = {
    "one year": ((3, 5), 3, 1.0, (1.0, 0.408248, 0.36698, 1.94472, 0.44568), (1.0, 7 / 6, 0.39657)),
    "two hundred thousand": (
        (3, 5),
        3,
        2.0,
        (0.857143, 0.349927, 0.31456, 1.66690, 0.30071),
        (1.714286, 2.204082, 0.22138),
    ),
    "ten years": ((3, 5), 30, 20.0, (1.32, math.sqrt(33) / 25, 0.90863, 1.80698, 0.92854), None),
    "Jeffreys": ((0.5, 0), 3, 1.0, (3.5, math.sqrt(3.5), 0.84493, 8.00638, stats.gamma(3.5).sf(1)), None),
}


@pytest.mark.parametrize("name", COUNTY)
def test_one_county(name):
    (a, b), y, x, printed, counts = COUNTY[name]
    law = laws.gamma_poisson(y, x, a, b)
    close([law.rate.mean(), law.rate.std(), *law.rate.ppf([0.025, 0.975]), law.rate.sf(1)], printed, 5)
    if counts:
        new = law.count(x)
        close([new.mean(), new.var(), new.pmf(0)], counts, 5)
    assert math.isnan(law.log_evidence) == (b == 0)


def test_prior_predictive_of_one_county():
    printed = [0.57870, 0.28935, 0.09645, 0.02679, 0.00670]
    close([math.exp(laws.gamma_poisson(y, 1.0, 3, 5).log_evidence) for y in range(5)], printed, 5)


def test_bad_counts_are_refused():
    for y, what in ((-1, "-1"), (2.5, "2.5"), (math.nan, "nan")):
        with pytest.raises(ValueError, match=rf"y: expected a count \(0, 1, 2, ...\), found {what}"):
            laws.gamma_poisson(y, 1.0, 3, 5)
    with pytest.raises(ValueError, match="exposure: expected a positive"):
        laws.gamma_poisson(1, 0.0, 3, 5)
    with pytest.raises(ValueError, match="y: expected at most 4 successes, found 5"):
        laws.beta_binomial(5, 4, 1, 1)


# the sampler
# -------------------------------------------------------------------------------------------------------------------

ROWS = pd.DataFrame(
    {
        "g": list("aabbbcccc"),
        "y": [1.2, 2.5, 0.3, 1.9, 2.2, 4.1, 3.3, 2.0, 5.0],
        "x": [0.1, 1.0, 0.4, 2.0, 1.1, 0.5, 0.9, 1.7, 0.2],
    }
)
BALANCED = hm.load_dataset("baseball").assign(se=0.066)
CLOSED = {
    "normal-inverse-gamma": (ONE, FRAME, "partial"),
    "flat regression": (hm.Model("y ~ 1 + x"), ROWS, "partial"),
    "bounded sigma": (hm.Model("y ~ 1 + x", priors={"sigma": "uniform(0, 2)"}), ROWS, "partial"),
    "bounded sigma, hard": (hm.Model("y ~ 1", priors={"sigma": "uniform(0.5, 1)"}), ROWS, "partial"),
    "flat variance, unpooled": (hm.Model("y ~ 1 + (1 | g)", priors={"sigma": "flat_variance()"}), ROWS, "none"),
    "pooled": (hm.Model("y ~ 1 + (1 | g)", priors={"sigma": "flat()", "Intercept": "scaled_normal(2, 3)"}), ROWS, "complete"),
    "baseball": (hm.Model("avg ~ 1 + (1 | player)", known_se="se", priors={"sd_player": "flat_variance()"}), BALANCED, "partial"),
    "known spread": (
        hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": 20}), hm.load_dataset("eight_schools"), "partial"
    ),
    "one rate": (
        hm.Model("deaths ~ 1", family="poisson", exposure="exposure", priors={"Intercept": "gamma(3, 5)"}),
        hm.load_dataset("counties"), "partial",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CLOSED)
def test_closed_form_draws_match_the_exact_engine(name):
    """Mean, sd and three quantiles of every variable, within four standard errors of 40,000 independent draws."""
    model, frame, pooling = CLOSED[name]
    with jax.enable_x64(True):
        problem = bind(model, frame, pooling)
        names = [p.name for p in problem.layout.parameters] + [
            t for v in problem.layout.levels for t in problem.layout.effect_names(v)
        ]
        targets = tuple(Target(n) for n in names)
        size = sum(
            next((v.size for v in problem.layout.levels if n in problem.layout.effect_names(v)), 1) for n in names
        )
        data, none = as_jax(problem.data), jnp.full(size, jnp.nan)
        both = [
            jax.jit(estimator(problem.layout, Settings(s, draws=10_000), targets, Interval()))(
                jax.random.key(4), data, none
            )
            for s in ("exact", "closed_form")
        ]
    exact, drawn = (
        {k: np.asarray(getattr(e, k)) for k in ("estimate", "se", "lower", "median", "upper")} for e in both
    )
    real = np.isfinite(exact["se"])
    sd = exact["se"][real]
    assert np.isfinite(drawn["estimate"]).all()
    assert (np.abs(drawn["estimate"] - exact["estimate"])[real] <= 4 * sd / 200 + 1e-12).all()
    np.testing.assert_allclose(drawn["se"][real], sd, rtol=0.06)
    assert (np.abs(drawn["median"] - exact["median"])[real] <= 4 * 1.26 * sd / 200 + 2e-3 * sd).all()
    for end in (
        "lower",
        "upper",
    ):  # a 2.5% point of a normal law has 2.7 times the mean's standard error, of a skewed one more
        assert (np.abs(drawn[end] - exact[end])[real] <= 4 * 4.5 * sd / 200).all()


def test_fit_by_the_closed_form():
    fit = hm.fit(ONE, FRAME, sampler="closed_form", progress=False)
    assert fit.status == "ok" and fit.draws.independent
    assert fit.draws.values["Intercept"].shape == (4, 1000)
    law = laws.normal_inverse_gamma(Y, 8, 1.5, 3, 2)
    assert stats.kstest(fit.draws.values["Intercept"].ravel(), law.theta.cdf).pvalue > 1e-3
    assert stats.kstest(fit.draws.values["sigma"].ravel() ** 2, law.variance.cdf).pvalue > 1e-3
    # lp is of log sigma: the variance's density times its derivative, 2 sigma^2
    sigma = fit.draws.values["sigma"]
    off = fit.draws.stats["lp"] - law.variance.logpdf(sigma**2) - 2 * np.log(sigma)
    assert np.ptp(off) < 1e-8


SCHOOLS = hm.load_dataset("eight_schools")


@pytest.mark.parametrize(
    ("model", "frame", "message"),
    [
        (hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"}), SCHOOLS,
         r"sd_school ~ half_normal\(5\) has no closed form; use sd_school ~ flat_variance\(\)"),
        (hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat_variance()"}), SCHOOLS,
         r"needs the same standard error in every school, found 9 to 18; use sampler='exact'"),
        (hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat_variance()", "Intercept": "normal(0, 5)"}),
         SCHOOLS, r"use sd_school ~ flat_variance\(\) with Intercept ~ flat\(\)"),
        (hm.Model("y ~ 1", priors={"sigma": "half_normal(5)"}), ROWS, r"sigma ~ half_normal\(5\) has no closed form; use inverse_gamma"),
        (hm.Model("y ~ 1", priors={"Intercept": "normal(0, 5)"}), ROWS, r"Intercept ~ normal\(0, 5\) is not in units of sigma"),
        (hm.Model("y ~ 1", priors={"Intercept": "student_t(3, 0, 5)"}), ROWS, r"Intercept ~ student_t\(3, 0, 5\) has no closed form"),
        (hm.Model("y ~ 1 + (1 | g)", priors={"sd_g": "half_normal(5)"}), ROWS, r"sd_g has a closed form only as the one sd between"),
        (hm.Model("y ~ 1 + (1 | g)", priors={"sd_g": 2}), ROWS, r"sigma has no closed form beside partially pooled g groups"),
        (hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats"), hm.load_dataset("rats"),
         r"the population of groups of family binomial \(mean_experiment, kappa_experiment\) has no closed form"),
    ],
)  # fmt: skip
def test_what_has_no_closed_form_says_why(model, frame, message):
    with pytest.raises(ValueError, match=f"sampler: 'closed_form'.*{message}"):
        hm.fit(model, frame, sampler="closed_form", progress=False)


def test_unequal_variances_inside_a_program_are_missing_numbers():
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "flat_variance()"})
    with jax.enable_x64(True):
        problem = bind(model, SCHOOLS)
        pair = factorise(problem.layout)
        u = closed_form(pair)(jax.random.key(0), pair.prepare(as_jax(problem.data)), (2, 5))
    assert np.isnan(u).all()


def test_kernels_are_the_priors():
    """(e, scale) against the log density of each prior that has one, and None for every other of the menu."""
    x = np.array([0.3, 1.7])
    arguments = {"inverse_gamma_variance": (3, 4), "power": (0.5,), "uniform": (0, 4)}
    with jax.enable_x64(True):
        for name in ("flat", "flat_variance", "power", "inverse_gamma_variance", "uniform"):
            prior = getattr(priors, name)(*arguments.get(name, ()))
            power, scale = prior.inverse_gamma()
            expected = -power * np.log(x) - scale / x**2
            np.testing.assert_allclose(
                np.diff(prior.log_density(jnp.asarray(x))), np.diff(expected), rtol=1e-12, atol=1e-15
            )
    assert priors.half_normal(2).inverse_gamma() is None and priors.reference().inverse_gamma() is None
