"""Normal groups under outcomes that are not normal integrate out by quadrature: densities, laws, posteriors against
plain sums.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from link_quadrature import Posterior, log_groups, log_likelihood
from scipy import stats

import hiermodels as hm
from hiermodels.inference.exact import ExactSettings, exact, summarise_nodes
from hiermodels.inference.inner_error import ALLOWED, inner_error
from hiermodels.models.data import as_jax, bind
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise
from hiermodels.models.line_rules import RULES, gauss_hermite
from hiermodels.models.quadrature import Quadrature
from hiermodels.models.units import own_factor, shown

FAMILIES = ["bernoulli_logit", "binomial_logit", "poisson_log", "negative_binomial"]
COLUMNS = {
    "binomial_logit": {"trials": "size"},
    "poisson_log": {"exposure": "size"},
    "negative_binomial": {"exposure": "size"},
}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def ragged(family, seed=3):
    """Groups of 1, 1, 2, 3, 7, 12 rows with a predictor of rows and one of groups; one group without any event."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(6), [1, 1, 2, 3, 7, 12])
    x, arm = rng.normal(size=len(group)).round(1), (group % 2).astype(float)
    size = {
        "bernoulli_logit": np.ones(len(group)),
        "binomial_logit": rng.integers(1, 15, len(group)).astype(float),
    }.get(family, rng.uniform(0.5, 3, len(group)).round(2))
    eta = -0.3 + 0.5 * x + 0.4 * arm + rng.normal(0, 1, 6)[group]
    if "logit" in family:
        y = rng.binomial(size.astype(int), 1 / (1 + np.exp(-eta)))
    else:
        y = rng.poisson(size * np.exp(eta))
    y[group == 3] = 0
    order = rng.permutation(len(group))  # rows need not come group by group
    return (
        pd.DataFrame({"y": y, "x": x, "arm": arm, "size": size, "g": np.array(list("abcdef"))[group]})
        .iloc[order]
        .reset_index(drop=True)
    )


def bound(family, frame=None):
    model = hm.Model("y ~ 1 + x + arm + (1 | g)", family=family, **COLUMNS.get(family, {}))
    problem = bind(model, ragged(family) if frame is None else frame)
    pair = factorise(problem.layout, "finest")
    return problem, pair, pair.prepare(as_jax(problem.data))


def places_of(problem, frame):
    """Place of each row's group among the labels of the problem."""
    return np.array([problem.labels["g"].index(label) for label in frame["g"]])


def on_the_scale_shown(problem, pair, stats_, u):
    """Coefficients, sd and shape as they are shown, from an unconstrained vector."""
    size = problem.layout.levels[0].size
    return {
        k: np.asarray(v)
        for k, v in shown(problem.layout, stats_, pair.constrain(u, stats_) | {"theta_g": jnp.zeros(size)}).items()
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_the_likelihood_is_that_of_a_plain_sum_and_its_gradient_is_its_slope(family):
    problem, pair, stats_ = bound(family)
    frame, rng = ragged(family), np.random.default_rng(5)
    density, off, gradient = jax.jit(pair.log_density), jax.jit(pair.off), jax.jit(jax.grad(pair.log_density))
    likelihood = jax.jit(pair.log_likelihood)
    group = places_of(problem, frame)
    for _ in range(3):
        u = jnp.asarray(rng.normal(0, 0.7, pair.dim))
        phi = on_the_scale_shown(problem, pair, stats_, u)
        base = phi["Intercept"] + phi["x"] * frame["x"] + phi["arm"] * frame["arm"]
        y, size = frame["y"].to_numpy(float), frame["size"].to_numpy(float)
        expected = log_likelihood(family, y, size, base.to_numpy(), group, phi["sd_g"], phi.get("shape"))
        assert float(likelihood(u, stats_)) == pytest.approx(expected, abs=2e-6)
        assert abs(float(off(u, stats_))) < 2e-6
        found = gradient(u, stats_)
        for i in range(pair.dim):
            step = 1e-4 * jnp.eye(pair.dim)[i]
            slope = (density(u + step, stats_) - density(u - step, stats_)) / 2e-4
            assert float(found[i]) == pytest.approx(float(slope), abs=2e-4)


def test_shares_near_their_ends_whose_density_is_not_concave():
    """Rows of a beta law far from their coefficient: the search for a group's mode takes its steps where the logarithm
    of the density is convex.
    """
    rng, group = np.random.default_rng(8), np.repeat(np.arange(120), 3)
    x = rng.normal(0, 1.5, len(group))
    mean = 1 / (1 + np.exp(-x - 3 * rng.normal(size=120)[group]))
    frame = pd.DataFrame({"y": np.clip(rng.beta(2 * mean, 2 * (1 - mean)), 1e-9, 1 - 1e-9), "x": x})
    frame["g"] = [f"g{j:03d}" for j in group]
    problem = bind(hm.Model("y ~ 0 + x + (1 | g)", family="beta"), frame)
    pair = factorise(problem.layout)
    stats_ = pair.prepare(as_jax(problem.data))
    scale = own_factor(problem.layout, problem.data.units, "x")
    phi = {"x": jnp.asarray(1 / scale), "sd_g": jnp.asarray(3.0), "precision": jnp.asarray(2.0)}
    z = np.linspace(-9, 9, 3001)
    mean = 1 / (1 + np.exp(-(frame["x"].to_numpy()[:, None] + 3 * z)))
    rows = stats.beta(2 * mean, 2 * (1 - mean)).logpdf(frame["y"].to_numpy()[:, None])
    terms = rows.reshape(120, 3, -1).sum(1) + stats.norm.logpdf(z)
    expected = np.logaddexp.reduce(terms, axis=1).sum() + 120 * np.log(z[1] - z[0])
    assert float(jax.jit(pair.log_marginal)(phi, stats_)) == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_the_prior_it_is_the_density_over_everything_integrated(family):
    """log p(y, phi) against the explicit model's density at group values, times their law, at one phi: the ratio is
    p(theta | phi, y).
    """
    problem, pair, stats_ = bound(family)
    explicit = Explicit(problem.layout)
    u = jnp.asarray(np.random.default_rng(2).normal(0, 0.5, pair.dim))
    groups = problem.layout.levels[0].size
    z = jnp.asarray(np.random.default_rng(3).normal(0, 0.4, groups)) * problem.data.real[0]
    flat = np.zeros(explicit.dim)
    for site in explicit.sites:
        if site.name == "eta_g":
            flat[site.start : site.stop] = np.asarray(z)
        else:
            at = [p.name for p in problem.layout.parameters].index(site.name)
            flat[site.start] = float(u[at])
    joint = float(jax.jit(explicit.log_density)(jnp.asarray(flat), explicit.prepare(as_jax(problem.data))))
    frame = ragged(family)
    group = places_of(problem, frame)
    phi = on_the_scale_shown(problem, pair, stats_, u)
    base = (phi["Intercept"] + phi["x"] * frame["x"] + phi["arm"] * frame["arm"]).to_numpy()
    y, size = frame["y"].to_numpy(float), frame["size"].to_numpy(float)
    places = problem.positions["g"]
    here = np.concatenate(
        [
            log_groups(
                family,
                y[group == j],
                size[group == j],
                base[group == j],
                np.zeros((group == j).sum(), int),
                phi["sd_g"],
                phi.get("shape"),
                np.asarray(z)[[places[j]]],
            )
            for j in range(6)
        ]
    )
    given = float(here.sum()) - log_likelihood(family, y, size, base, group, phi["sd_g"], phi.get("shape"))
    assert float(jax.jit(pair.log_density)(u, stats_)) == pytest.approx(joint - given, abs=1e-5)


@pytest.mark.parametrize("family", ["bernoulli_logit", "poisson_log"])
def test_the_law_of_a_group_given_hyperparameters(family):
    problem, pair, stats_ = bound(family)
    u = jnp.asarray(np.random.default_rng(7).normal(0, 0.5, pair.dim)).at[-1].set(0.7)
    frame = ragged(family)
    group = places_of(problem, frame)
    phi = on_the_scale_shown(problem, pair, stats_, u)
    base = (phi["Intercept"] + phi["x"] * frame["x"] + phi["arm"] * frame["arm"]).to_numpy()
    z = np.linspace(-10, 10, 8001)
    terms = log_groups(
        family, frame["y"].to_numpy(float), frame["size"].to_numpy(float), base, group, phi["sd_g"], None, z
    )
    share = np.exp(terms - terms.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    value = phi["Intercept"] + phi["sd_g"] * z
    mean = share @ value
    sd = np.sqrt(share @ value**2 - mean**2)
    law = jax.jit(lambda v: pair.components(v, stats_, ("theta_g", "mean(theta_g)", "new(g)")))(u)
    places = problem.positions["g"]
    assert np.asarray(law["theta_g"].a)[places] == pytest.approx(mean, abs=1e-6)
    assert np.sqrt(np.asarray(law["theta_g"].b))[places] == pytest.approx(sd, rel=1e-6)
    assert float(law["mean(theta_g)"].a) == pytest.approx(mean.mean(), abs=1e-6)
    assert float(law["mean(theta_g)"].b) == pytest.approx(np.mean(sd**2) / 6, rel=1e-6)
    assert (float(law["new(g)"].a), float(law["new(g)"].b)) == pytest.approx(
        (float(phi["Intercept"]), float(phi["sd_g"]) ** 2)
    )
    from hiermodels.families.component import KINDS

    below = np.cumsum(share, 1) - 0.5 * share
    for p in (0.025, 0.5, 0.975):
        at = np.array([np.interp(p, row, value) for row in below])
        found = KINDS["bent"].cdf(at, np.zeros(6), np.ones(6), np.asarray(law["theta_g"].more)[:, places])
        assert found == pytest.approx(p, abs=1e-3)
    keys = jax.random.split(jax.random.key(1), 20_000)
    draws = np.asarray(jax.jit(jax.vmap(lambda k: pair.draw(k, u, stats_)["theta_g"]))(keys))[:, places]
    for j in range(6):
        assert stats.kstest(draws[:, j], lambda x, j=j: np.interp(x, value, below[j])).pvalue > 1e-3


def test_other_rules():
    """Gauss-Hermite of many terms, and Laplace's approximation as its first term."""
    _, pair, stats_ = bound("binomial_logit")
    u = jnp.zeros(pair.dim)
    phi = pair.constrain(u, stats_)
    best = float(jax.jit(pair.log_marginal)(phi, stats_))
    assert float(jax.jit(lambda v: pair.log_marginal(v, stats_, gauss_hermite(31)))(phi)) == pytest.approx(
        best, abs=1e-6
    )
    laplace = float(jax.jit(lambda v: pair.log_marginal(v, stats_, gauss_hermite(1)))(phi))
    assert 1e-3 < abs(laplace - best) < 0.5


def test_rows_of_equal_predictors_are_one_cell():
    frame = pd.DataFrame({"y": [1, 0, 1, 1, 0, 1], "x": [0.0, 0.0, 1.0, 1.0, 0.0, 1.0], "g": list("aaabbb")})
    problem = bind(hm.Model("y ~ 1 + x + (1 | g)", family="bernoulli_logit"), frame)
    assert problem.layout.sheets == ((2, 2),)
    stats_ = factorise(problem.layout).prepare(as_jax(problem.data))
    sheet = stats_.sheets[0]
    counts = sorted(zip(np.asarray(sheet.y).ravel().tolist(), np.asarray(sheet.size).ravel().tolist(), strict=True))
    assert counts == [(0, 1), (1, 1), (1, 2), (2, 2)]
    negative = bind(hm.Model("y ~ 1 + x + (1 | g)", family="negative_binomial"), frame)
    assert negative.layout.sheets == ((3, 2),)


# posteriors ---------------------------------------------------------------------------------------------------

DESIGNS = {"binomial_logit": np.array([3.0, 8, 8, 15, 30, 1]), "poisson_log": np.array([0.4, 1, 1, 3, 8, 0.1])}
PRIORS = {"Intercept": "normal(0, 2)", "sd_g": "half_normal(1)"}


def program(family, accuracy="fit"):
    """A compiled exact posterior of one design: counts to summaries."""
    size = DESIGNS[family]
    frame = pd.DataFrame({"y": 0, "size": size, "g": [f"g{j}" for j in range(len(size))]})
    model = hm.Model("y ~ 1 + (1 | g)", family=family, priors=PRIORS, **COLUMNS[family])
    problem = bind(model, frame, outcome=False)
    pair = factorise(problem.layout, accuracy)
    data = as_jax(problem.data)

    def found(y):
        import dataclasses

        stats_ = pair.prepare(dataclasses.replace(data, y=y))
        nodes = exact(pair, ExactSettings(accuracy))(jax.random.key(0), stats_)
        return nodes.quality, summarise_nodes(pair, nodes, stats_, ("Intercept", "sd_g", "theta_g"))

    run = jax.jit(found)
    places = problem.positions["g"]

    def summary(y):
        quality, laws = run(jnp.asarray(problem.with_outcome(np.asarray(y, float)).y))
        return float(quality), jax.tree.map(lambda x: np.asarray(x)[places] if np.ndim(x) else np.asarray(x), laws)

    return summary


def datasets(family, count, seed):
    """Counts at truths that are drawn anew: no spread, much spread, all or none, separation of groups."""
    rng, size = np.random.default_rng(seed), DESIGNS[family]
    for i in range(count):
        sd, centre = [0.0, 0.3, 1.0, 2.5][i % 4], rng.normal(0, 1.5)
        eta = centre + sd * rng.normal(size=len(size))
        y = (
            rng.binomial(size.astype(int), 1 / (1 + np.exp(-eta)))
            if family == "binomial_logit"
            else rng.poisson(size * np.exp(np.minimum(eta, 4)))
        )
        if i % 10 == 5:
            y = np.zeros(len(size)) if family == "poisson_log" or i % 20 == 5 else size.copy()
        if i % 10 == 7 and family == "binomial_logit":
            y = np.where(np.arange(len(size)) < 3, 0.0, size)
        yield y


def held(family, count, seed, retry=False):
    """Largest errors of unflagged summaries in posterior sds, and the share that is flagged; with ``retry`` after the
    finer lattice, as in a fit.
    """
    rungs = [program(family), program(family, "finest")] if retry else [program(family)]
    worst, flagged = 0.0, 0
    for y in datasets(family, count, seed):
        truth = Posterior(family, y, DESIGNS[family])
        checks = [
            ("Intercept", None, truth.intercept(), truth.below_intercept),
            ("sd_g", None, truth.sd(), truth.below_sd),
        ]
        checks += [("theta_g", j, truth.theta(j), lambda c, j=j, t=truth: t.below(j, c)) for j in (0, 4)]
        for summary in rungs:
            quality, laws = summary(y)
            if quality <= 1:
                break
        for name, j, (mean, sd), below in checks:
            law, pick = laws[name], (lambda x, j=j: float(x if j is None else x[j]))
            if max(quality, pick(law.error), pick(law.moment_error)) > 1:
                flagged += 1
                continue
            off = [abs(pick(law.mean) - mean) / sd, abs(pick(law.sd) - sd) / sd]
            off += [abs(below(pick(at)) - p) for at, p in ((law.lower, 0.025), (law.median, 0.5), (law.upper, 0.975))]
            worst = max(worst, *off)
    return worst, flagged / (4 * count)


@pytest.mark.parametrize("family", list(DESIGNS))
def test_ten_posteriors_of_each_design(family):
    worst, flagged = held(family, 10, 11)
    assert worst < 5e-3 and flagged <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize("family", list(DESIGNS))
def test_a_hundred_posteriors_of_each_design(family):
    worst, flagged = held(family, 100, 12, retry=True)
    assert worst < 5e-3 and flagged <= 0.05


def test_a_rule_that_is_too_coarse_is_noticed():
    """The shift of a mean is at most the sd of what the log density is off by; pairs of Bernoulli trials are what
    Laplace is worst at.
    """
    problem = bind(hm.Model("y ~ 1 + treated + (1 | cluster)", family="bernoulli_logit"), cluster_trial(members=2))
    stats_ = factorise(problem.layout).prepare(as_jax(problem.data))
    draws = 0.7 * jax.random.normal(jax.random.key(1), (64, 3))
    for rule, bad in ((gauss_hermite(1), True), (RULES["study"], False)):
        pair = Quadrature(problem.layout, rule)
        found = float(jax.jit(lambda u, pair=pair: inner_error(pair, u, stats_))(draws))
        assert (found > ALLOWED) == bad, (rule, found)


# whole fits
# -------------------------------------------------------------------------------------------------------------


def cluster_trial(seed=8, clusters=14, members=12):
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(clusters), members)
    treated = (cluster % 2).astype(float)
    eta = -0.6 + 0.7 * treated + rng.normal(0, 0.8, clusters)[cluster]
    return pd.DataFrame(
        {"y": rng.binomial(1, 1 / (1 + np.exp(-eta))), "treated": treated, "cluster": [f"c{k:02d}" for k in cluster]}
    )


@pytest.mark.slow
def test_exact_nuts_and_explicit_nuts_of_a_cluster_trial_agree_and_every_door_opens():
    frame = cluster_trial()
    model = hm.Model("y ~ 1 + treated + (1 | cluster)", family="bernoulli_logit")
    exactly = hm.fit(model, frame, sampler="exact", progress=False)
    nuts = hm.fit(model, frame, draws=4000, progress=False, seed=1)
    explicit = hm.fit(model, frame, draws=4000, progress=False, seed=2, marginalize=False)
    assert exactly.status == nuts.status == explicit.status == "ok"
    for one, other in ((exactly, explicit), (nuts, explicit), (exactly, nuts)):
        a, b = one.summary(), other.summary()
        assert (np.abs(a["mean"] - b["mean"]) < 4 * np.hypot(a["mcse_mean"], b["mcse_mean"])).all()
        assert (np.abs(a["sd"] - b["sd"]) < 4 * np.hypot(a["mcse_sd"], b["mcse_sd"])).all()
    new = pd.DataFrame({"cluster": ["other"], "treated": [1.0]})
    predicted = [f.predict(new, groups="new").predictions["y"].to_numpy() for f in (exactly, explicit)]
    assert abs(predicted[0].mean() - predicted[1].mean()) < 0.01
    loo = [f.loo().elpd for f in (exactly, explicit)]
    assert loo[0] == pytest.approx(loo[1], abs=0.2)
    left = [f.leave_one_group_out(refit=False).elpd for f in (exactly, explicit)]
    assert left[0] == pytest.approx(left[1], abs=0.3)


@pytest.mark.slow
def test_a_fit_that_distrusts_its_quadrature_ends_on_every_parameter_and_says_so(monkeypatch):
    from hiermodels.models import factorise as module

    monkeypatch.setattr(module, "RULES", dict.fromkeys(RULES, gauss_hermite(1)))
    fit = hm.fit(
        hm.Model("y ~ 1 + (1 | cluster)", family="bernoulli_logit"),
        cluster_trial(members=2),
        draws=300,
        tune=300,
        progress=False,
    )
    assert any("these draws move on every parameter instead" in line for line in fit.warnings)
    assert "eta" not in fit.draws.values and fit.draws.values["theta_cluster"].shape[-1] == 14
