"""Families of measurements under a link: truth by quadrature and closed forms, refusals, units, predictions."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpyro.infer.util import log_density
from scipy import integrate, optimize, special, stats

import hiermodels as hm
from hiermodels import families
from hiermodels.models.builder import build
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise
from hiermodels.quantities import support

GROUPED = np.repeat(list("abcd"), [5, 3, 5, 4])
LAWS = {
    "exponential_log": lambda mean, own: stats.expon(scale=mean),
    "gamma": lambda mean, own: stats.gamma(own["shape"], scale=mean / own["shape"]),
    "beta": lambda mean, own: stats.beta(mean * own["precision"], (1 - mean) * own["precision"]),
    "exponential": lambda rate, own: stats.expon(scale=1 / rate),
}
"""SciPy's law of an outcome at its mean, or at its rate where the population is conjugate: the tests' own."""
MEASURED = list(LAWS)
NORMAL = [n for n in MEASURED if families.MENU[n].population.normal]


def frame_for(name, seed=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=len(GROUPED))
    eta = 0.4 * x + rng.normal(scale=0.6, size=4)[np.unique(GROUPED, return_inverse=True)[1]]
    mean = np.asarray(families.MENU[name].link.host_inverse(eta))
    own = {q.name: q.planned for q in families.MENU[name].own}
    return pd.DataFrame({"g": GROUPED, "x": x, "y": LAWS[name](mean, own).rvs(random_state=rng)})


@pytest.mark.parametrize("name", NORMAL)
def test_log_density_is_scipys(name):
    """Rows are padded: four groups of 5, 3, 5 and 4; the gradient is finite there too."""
    frame, law = frame_for(name), families.MENU[name]
    priors = {"Intercept": "normal(0, 3)", "sd_g": "half_normal(1)"} | {q.name: "exponential(0.5)" for q in law.own}
    rng, code = np.random.default_rng(4), np.unique(GROUPED, return_inverse=True)[1]
    with jax.enable_x64(True):
        problem = bind(hm.Model("y ~ 1 + (1 | g)", name, priors=priors), frame)
        data, model = as_jax(problem.data), build(problem.layout)
        for _ in range(2):
            own = {q.name: float(rng.uniform(1, 9)) for q in law.own}
            eta_g, sd = rng.normal(size=4), float(rng.uniform(0.2, 1))
            sites = {"Intercept": 0.3, "sd_g": sd, "eta_g": eta_g, **own}
            sites = {k: jnp.asarray(v) for k, v in sites.items()}
            found, slope = jax.value_and_grad(lambda s: log_density(model, (data, data.y), {}, s)[0])(sites)
            assert all(np.isfinite(v).all() for v in slope.values())
            mean = np.asarray(law.link.host_inverse(0.3 + sd * eta_g[code]))
            wanted = (
                LAWS[name](mean, own).logpdf(frame.y).sum() + stats.halfnorm.logpdf(sd) + stats.norm.logpdf(eta_g).sum()
            )
            wanted += stats.norm(0, 3).logpdf(0.3) + sum(math.log(0.5) - 0.5 * v for v in own.values())
            assert float(found) == pytest.approx(wanted, abs=1e-8)


@pytest.mark.parametrize("name", MEASURED)
def test_outcomes_are_refused_by_row(name):
    frame, (low, high) = frame_for(name), support(families.MENU[name].link.kind)
    for value, words in (
        (low, f"expected a number above {low:g}"),
        (high, f"expected a number below {high:g}"),
        (np.nan, "expected a finite outcome"),
    ):
        if np.isinf(value):
            continue
        frame.loc[7, "y"] = value
        with pytest.raises(ValueError, match=f"column 'y', row 7: {words}, found {value:g}; .*row"):
            bind(hm.Model("y ~ 1 + (1 | g)", name), frame)
    with pytest.raises(ValueError, match="exposure"):
        hm.Model("y ~ 1 + (1 | g)", name, exposure="x")


@pytest.mark.parametrize("name", [n for n in NORMAL if families.MENU[n].sharpens])
def test_rows_that_are_fitted_exactly_leave_nothing_to_their_spread(name):
    """Equal outcomes in every group: the likelihood grows with the parameter as its power (n - J) / 2."""
    (own,), frame = families.MENU[name].own, frame_for(name)
    equal = frame.assign(y=frame.groupby("g")["y"].transform("mean"))
    with pytest.raises(
        ValueError, match=f"priors: {own.name}: half_normal_cv.* improper .*fit every row exactly.*exponential"
    ):
        bind(hm.Model("y ~ 1 + (1 | g)", name), equal)
    bind(hm.Model("y ~ 1 + (1 | g)", name, priors={own.name: "exponential(1)"}), equal)
    assert not bind(hm.Model("y ~ 1 + (1 | g)", name), frame).missing_moments
    alone = frame.drop_duplicates("g").reset_index(drop=True)
    assert bind(hm.Model("y ~ 1 + (1 | g)", name), alone).missing_moments == {own.name: "mean"}


@pytest.mark.parametrize("name", [n for n in MEASURED if families.MENU[n].link.kind == "positive"])
def test_another_unit_of_the_outcome_moves_the_intercept_alone(name):
    frame, unit = frame_for(name), 86_400.0
    conjugate = families.MENU[name].conjugate
    with jax.enable_x64(True):
        ends = []
        for times in (1.0, unit):
            problem = bind(hm.Model("y ~ 1 + (1 | g)", name), frame.assign(y=times * frame.y))
            data = as_jax(problem.data)
            totals = []
            for shift in (0.2, 0.9):
                sites = {"sd_g": 0.5, "eta_g": np.linspace(-1, 1, 4)} | {
                    q.name: q.planned + shift for q in families.MENU[name].own
                }
                sites |= (
                    {"mean_g": math.exp(shift) / times, "shape_g": 2.0, "theta_g": np.array([0.5, 1, 2, 3]) / times}
                    if conjugate
                    else {}
                )
                sites |= {} if conjugate else {"Intercept": shift + math.log(times)}
                model = build(problem.layout)
                totals.append(
                    float(
                        log_density(
                            model,
                            (data, data.y),
                            {},
                            {k: jnp.asarray(v) for k, v in sites.items() if k in _sites(model, data)},
                        )[0]
                    )
                )
            ends.append(
                totals[1] - totals[0] + (0.7 if conjugate else 0.0)
            )  # of the density of mean_g against its logarithm
        assert ends[0] == pytest.approx(ends[1], abs=1e-8)


def _sites(model, data):
    from hiermodels.models.sites import find_sites

    return {site.name for site in find_sites(model, data, data.y)}


# waiting times, gamma population of rates
# ---------------------------------------------------------------------------------


def waits():
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {"g": GROUPED, "y": rng.exponential(1 / rng.gamma(3, 0.5, 4)[np.unique(GROUPED, return_inverse=True)[1]])}
    )


def test_gamma_exponential_closed_forms():
    """Unpooled groups are Gamma(n, sum of times) under 1 / theta; one common rate with a gamma prior adds its
    numbers.
    """
    frame = waits()
    sums = frame.groupby("g")["y"].agg(["count", "sum"])
    with jax.enable_x64(True):
        problem = bind(hm.Model("y ~ 1 + (1 | g)", "exponential"), frame, "none")
        made = factorise(problem.layout)
        law = made.components(jnp.zeros(0), made.prepare(as_jax(problem.data)), ("theta_g",))["theta_g"]
        place = problem.positions["g"]
        np.testing.assert_allclose(np.asarray(law.a)[place], sums["count"], rtol=1e-12)
        np.testing.assert_allclose(np.asarray(law.b)[place], sums["sum"], rtol=1e-12)
        problem = bind(hm.Model("y ~ 1", "exponential", priors={"Intercept": "gamma(2, 3)"}), frame)
        made = factorise(problem.layout)
        stats_ = made.prepare(as_jax(problem.data))
        law = made.components(jnp.zeros(0), stats_, ("Intercept",))["Intercept"]
        assert (float(law.a), float(law.b)) == pytest.approx((2 + len(frame), 3 + frame.y.sum()), rel=1e-12)

        def density(t):
            return math.exp(stats.gamma(2, scale=1 / 3).logpdf(t) + stats.expon(scale=1 / t).logpdf(frame.y).sum())

        evidence = math.log(integrate.quad(density, 0, 20, epsabs=0, epsrel=1e-11)[0])
        assert float(made.log_likelihood(jnp.zeros(0), stats_)) == pytest.approx(evidence, abs=1e-9)


def test_mean_times_of_few_rows_without_pooling_are_not_reported():
    """1 / theta has no mean under Gamma(1, .) and no variance under Gamma(2, .)."""
    frame = pd.DataFrame({"g": list("abbccc"), "y": [1.0, 2, 3, 4, 5, 6]})
    fit = hm.fit(
        hm.Model("y ~ 1 + (1 | g)", "exponential"), frame, pooling="none", sampler="exact", draws=50, progress=False
    )
    for table in (fit.fitted(), fit.residuals()):
        assert (
            table["mean"].isna().tolist() == [True] + [False] * 5
            and table["sd"].isna().tolist() == [True] * 3 + [False] * 3
        )
        assert table["median"].notna().all()
    assert fit.residuals(kind="standardised")["sd"].notna().all()


def quadrature(frame):
    """Mean and sd of log mean_g and of each rate under mean_g ~ 1 / m, shape_g ~ exponential(0.5), by sums over a grid
    of their logarithms.
    """
    sums = frame.groupby("g")["y"].agg(["count", "sum"]).to_numpy(float)
    log_m, log_a = np.meshgrid(np.linspace(-8, 9, 801), np.linspace(-8, 6, 801), indexing="ij")
    m, a = np.exp(log_m)[..., None], np.exp(log_a)[..., None]
    n, total = sums.T
    each = special.gammaln(a + n) - special.gammaln(a) + a * np.log(a / m) - (a + n) * np.log(a / m + total)
    log_weight = each.sum(-1) - 0.5 * np.exp(log_a) + log_a
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = (weight[..., None] * (a + n) / (a / m + total)).sum((0, 1))
    square = (weight[..., None] * (a + n) * (a + n + 1) / (a / m + total) ** 2).sum((0, 1))
    cdf = np.cumsum(weight.sum(1))
    return mean, np.sqrt(square - mean**2), np.exp(np.interp(0.5, cdf, np.linspace(-8, 9, 801) + 0.5 * 17 / 800))


def test_exact_is_the_posterior_by_quadrature():
    frame = waits()
    mean, sd, median = quadrature(frame)
    model = hm.Model("y ~ 1 + (1 | g)", "exponential", priors={"shape_g": "exponential(0.5)"})
    fit = hm.fit(model, frame, sampler="exact", draws=5_000, progress=False, seed=1)
    table = fit.summary()
    theta = table.loc[[f"theta_g[{g}]" for g in "abcd"]]
    assert np.all(np.abs(theta["mean"] - mean) < 4 * sd / np.sqrt(20_000)) and np.allclose(theta["sd"], sd, rtol=0.04)
    assert table.loc["mean_g", "median"] == pytest.approx(median, rel=0.02)
    draws = fit.draws.values["theta_g"]
    found = fit.predict()["predictions"]["y"].to_numpy()
    np.testing.assert_allclose(found[..., 0], 1 / draws[..., 0])  # predictions are waiting times
    left = fit.residuals()["mean"].to_numpy()
    np.testing.assert_allclose(left[0], frame.y[0] - (1 / draws[..., 0]).mean())
    new = fit.predict(groups="new", kind="outcome")["predictions"]["y"].to_numpy()
    assert np.all(new > 0)
    shares = np.asarray(fit.pooling()["pooling"])
    assert np.all((shares > 0) & (shares < 1))
    assert fit.leave_one_group_out("g", refit=False).table["elpd"].notna().all() and np.isfinite(fit.loo().elpd)
    assert 0 < fit.check("max").p_value < 1


@pytest.mark.parametrize("name", NORMAL)
def test_without_groups_the_posterior_is_that_of_quadrature(name):
    """A flat intercept is proper where outcomes are measurements: the program's density on a grid against SciPy's."""
    frame, law = frame_for(name), families.MENU[name]
    priors = {q.name: "exponential(0.2)" for q in law.own}
    grids = [np.linspace(-3, 3, 61), *(np.exp(np.linspace(-3, 5, 41)) for _ in law.own)]
    with jax.enable_x64(True):
        problem = bind(hm.Model("y ~ 1", name, priors=priors), frame)
        assert str(problem.layout.intercept.prior) == "flat()"
        data, names = as_jax(problem.data), ["Intercept", *(q.name for q in law.own)]
        places = np.stack([z.ravel() for z in np.meshgrid(*grids, indexing="ij")], -1)
        found = jax.jit(
            jax.vmap(
                lambda p: log_density(build(problem.layout), (data, data.y), {}, dict(zip(names, p, strict=True)))[0]
            )
        )(jnp.asarray(places))
    own = dict(zip(names[1:], places[:, 1:, None].transpose(1, 0, 2), strict=True))
    wanted = LAWS[name](np.asarray(law.link.host_inverse(places[:, :1])), own).logpdf(frame.y.to_numpy()).sum(1)
    wanted = wanted - 0.2 * places[:, 1:].sum(1) + len(law.own) * math.log(0.2)
    inside = wanted > wanted.max() - 60
    np.testing.assert_allclose(np.asarray(found)[inside], wanted[inside], rtol=1e-7, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMAL)
def test_chains_have_the_moments_of_quadrature(name):
    frame, law = frame_for(name).query("g == 'a' or g == 'b'").reset_index(drop=True), families.MENU[name]
    fixed = {q.name: f"fixed({q.planned:g})" for q in law.own}
    priors = {"Intercept": "normal(0, 1)", "sd_g": "half_normal(0.5)"} | fixed
    fit = hm.fit(
        hm.Model("y ~ 1 + (1 | g)", name, priors=priors), frame, draws=4_000, target_accept=0.95, progress=False, seed=3
    )
    own, nodes = {q.name: q.planned for q in law.own}, np.linspace(-8, 8, 161)
    sds, centres = np.linspace(0.0, 3, 241)[1:], np.linspace(-4, 4, 161)
    s, c = np.meshgrid(sds, centres, indexing="ij")
    log_weight = stats.halfnorm(scale=0.5).logpdf(s) + stats.norm.logpdf(c)
    for _, rows in frame.groupby("g"):
        eta = c[..., None] + s[..., None] * nodes
        each = sum(LAWS[name](np.asarray(law.link.host_inverse(eta)), own).logpdf(y) for y in rows.y)
        log_weight = log_weight + special.logsumexp(each + stats.norm.logpdf(nodes), axis=-1)
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    table = fit.summary()
    for variable, value in (("Intercept", c), ("sd_g", s)):
        mean = float((weight * value).sum())
        sd = math.sqrt(float((weight * value**2).sum()) - mean**2)
        assert table.loc[variable, "mean"] == pytest.approx(mean, abs=4.5 * table.loc[variable, "mcse_mean"])
        assert table.loc[variable, "sd"] == pytest.approx(sd, rel=0.06)


@pytest.mark.parametrize("name", MEASURED)
def test_a_study_may_take_rows_away(name):
    """Where a family has no trials and no exposures, smaller groups have fewer rows."""
    from hiermodels.studies.mechanisms.deviant import read_deviation, simulate_deviant

    frame = pd.DataFrame({"g": np.repeat(list("abcdef"), 8), "y": 0.5})
    law = families.MENU[name]
    truth = {"Intercept": 0.0, "sd_g": 1.0, "mean_g": 1.0, f"{law.precision}_g": 2.0} | {
        q.name: q.planned for q in law.own
    }
    with jax.enable_x64(True):
        problem = bind(hm.Model("y ~ 1 + (1 | g)", name), frame, priors=False, outcome=False)
        deviation = read_deviation({"missing": {"g": 0.3}, "sizes": {"g": ("informative", (0.9,))}}, problem, {})
        known = {p.name: jnp.asarray(truth[p.name]) for p in problem.layout.parameters}
        rows, _ = simulate_deviant(problem.layout, deviation, jax.random.key(1), as_jax(problem.data), known)
    low, high = support(law.link.kind)
    there = np.asarray(rows.weight if law.population.normal else rows.size) > 0
    y = np.asarray(rows.y)
    assert set(np.unique(np.asarray(rows.size))) <= {0.0, 1.0} and 0 < there.sum() < 48
    assert np.all((y[there] > low) & (y[there] < high))


def test_mode_of_waiting_times_without_groups_is_the_mean():
    """With one mean and flat log mean the posterior of exp(Intercept) is inverse gamma: its mode on the log scale is
    the mean time.
    """
    frame = waits()
    with jax.enable_x64(True):
        problem = bind(hm.Model("y ~ 1", "exponential_log"), frame)
        data = as_jax(problem.data)
        best = optimize.minimize_scalar(
            lambda b: -float(log_density(build(problem.layout), (data, data.y), {}, {"Intercept": jnp.asarray(b)})[0]),
            (-1, 1),
        )
    assert best.x == pytest.approx(math.log(frame.y.mean()), abs=1e-6)
