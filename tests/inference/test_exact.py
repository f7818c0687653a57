"""The exact engine against SYSTEMS' tables, refined quadrature, its own draws and its own coarser setting."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.exact import MAX_DIM, POOR, ExactSettings, exact, sample_nodes, summarise_nodes
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise

FIELDS = ("mean", "sd", "median", "lower", "upper")


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def some(cases, *quick):
    """All cases; those that are not named are slow tests."""
    return [pytest.param(c, marks=[] if c in quick else pytest.mark.slow) for c in cases]


def solve(model, frame, wanted, accuracy="fit", **kwargs):
    problem = bind(model, frame)
    factorised = factorise(problem.layout)

    @jax.jit
    def run(data):
        stats = factorised.prepare(data)
        nodes = exact(factorised, ExactSettings(accuracy))(jax.random.key(0), stats)
        return stats, nodes, summarise_nodes(factorised, nodes, stats, wanted, **kwargs)

    stats, nodes, found = run(as_jax(problem.data))
    return factorised, stats, nodes, found


def schools(y=None, se=None, **priors):
    frame = hm.load_dataset("eight_schools")
    if y is not None:
        frame = pd.DataFrame({"school": [f"s{i}" for i in range(len(y))], "effect": y, "se": se})
    return hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors), frame


# E tau (sd), tau q2.5 q50 q97.5, mu (sd), P(mu > 0), theta A, theta sd H
EIGHT = {
    "flat()": (6.57548, 5.65038, 0.2427, 5.2385, 20.7525, 7.93238, 5.17839, 0.94444, 11.4003, 7.8882),
    "flat_variance()": (11.4309, 7.9137, 1.7982, 9.7682, 31.0203, 8.12501, 6.50129, 0.91404, 14.6446, 10.2543),
    "half_cauchy(5)": (3.63387, 3.26256, 0.1242, 2.7742, 12.0623, 7.80302, 4.46503, 0.96091, 9.3328, 5.9805),
    "half_cauchy(25)": (5.89774, 4.86399, 0.2219, 4.7837, 18.0326, 7.90549, 4.96204, 0.94886, 10.9408, 7.4835),
    "half_normal(5)": (3.31006, 2.50201, 0.1303, 2.8001, 9.3055, 7.78687, 4.36373, 0.96320, 9.0601, 5.6695),
    "uniform(0, 20)": (6.00244, 4.48414, 0.2357, 5.0614, 16.8713, 7.91431, 4.93544, 0.94861, 11.0632, 7.5669),
}


@pytest.mark.parametrize("prior", some(EIGHT, "flat()"))
def test_eight_schools_table(prior):
    model, frame = schools(sd_school=prior)
    wanted = ("sd_school", "Intercept", "theta_school")
    _, _, nodes, found = solve(model, frame, wanted, thresholds={"Intercept": [0.0]})
    tau, mu, theta = (found[name] for name in wanted)
    t_mean, t_sd, low, middle, high, m_mean, m_sd, positive, first, last_sd = EIGHT[prior]
    assert float(nodes.quality) < POOR
    np.testing.assert_allclose(
        [tau.mean, tau.sd, tau.lower, tau.median, tau.upper], [t_mean, t_sd, low, middle, high], atol=5e-4 * t_sd
    )
    np.testing.assert_allclose([mu.mean, mu.sd], [m_mean, m_sd], atol=2e-5 * m_sd + 5e-6)
    assert 1 - float(mu.cdf[0]) == pytest.approx(positive, abs=2e-5)
    assert float(theta.mean[0]) == pytest.approx(first, abs=1e-3)
    assert float(theta.sd[7]) == pytest.approx(last_sd, abs=1e-3)


@pytest.mark.slow
def test_eight_schools_with_a_prior_on_the_mean():
    model, frame = schools(sd_school="half_cauchy(5)", Intercept="normal(0, 5)")
    _, _, _, found = solve(model, frame, ("sd_school", "Intercept", "theta_school"))
    assert float(found["sd_school"].median) == pytest.approx(2.7487, abs=1e-3)
    assert float(found["Intercept"].mean) == pytest.approx(4.39682, abs=1e-4)
    means = [6.2119, 4.9402, 3.9270, 4.7571, 3.6155, 4.0426, 6.2967, 4.8543]
    np.testing.assert_allclose(found["theta_school"].mean, means, atol=1e-4)


def test_eight_schools_intervals_and_a_new_school():
    model, frame = schools(sd_school="flat()")
    wanted = ("theta_school", "Intercept", "new(school)", "mean(theta_school)")
    _, _, _, found = solve(
        model, frame, wanted, thresholds={"theta_school": [0.0, jnp.arange(8.0)], "new(school)": [0.0]}
    )
    theta, mu, new = (found[name] for name in wanted[:3])
    np.testing.assert_allclose([theta.lower[0], theta.median[0], theta.upper[0]], [-2.105, 10.241, 31.623], atol=1e-3)
    np.testing.assert_allclose([theta.lower[6], theta.median[6], theta.upper[6]], [-1.161, 10.044, 25.970], atol=1e-3)
    np.testing.assert_allclose([mu.lower, mu.median, mu.upper], [-2.090, 7.892, 18.218], atol=1e-3)
    np.testing.assert_allclose([new.lower, new.median, new.upper], [-12.413, 7.840, 28.860], atol=1e-3)
    above = [0.9505, 0.9057, 0.8229, 0.8914, 0.8074, 0.8389, 0.9611, 0.8880]
    np.testing.assert_allclose(1 - theta.cdf[0], above, atol=1e-4)
    assert float(theta.cdf[1][0]) == pytest.approx(float(theta.cdf[0][0]))
    assert 1 - float(new.cdf[0]) == pytest.approx(0.8531, abs=1e-4)


@pytest.mark.slow
def test_rats():
    frame = hm.load_dataset("rats")
    model = hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors={"experiment": "bda3()"})
    names = ("mean_experiment", "kappa_experiment", "theta_experiment", "new(experiment)")
    _, _, nodes, found = solve(model, frame, names)
    assert float(nodes.quality) < POOR
    m, kappa, theta, new = (found[n] for n in names)
    np.testing.assert_allclose(
        [m.mean, m.sd, m.lower, m.median, m.upper], [0.144297, 0.013426, 0.11922, 0.14385, 0.17196], atol=1e-5
    )
    np.testing.assert_allclose([kappa.lower, kappa.median, kappa.upper], [8.2968, 15.5305, 32.1230], atol=5e-3)
    for i, row in {
        0: (0.06357, 0.04160, 0.00693, 0.05579, 0.16394),
        70: (0.21086, 0.07526, 0.08653, 0.20316, 0.37841),
    }.items():
        got = [x[i] for x in (theta.mean, theta.sd, theta.lower, theta.median, theta.upper)]
        np.testing.assert_allclose(got, row, atol=2e-5)
    np.testing.assert_allclose(
        [new.mean, new.sd, new.lower, new.median, new.upper], [0.14430, 0.08910, 0.01944, 0.12863, 0.35948], atol=2e-5
    )


@pytest.fixture
def scores():
    return hm.load_dataset("scores")


THREE = "score ~ 1 + (1 | school/classroom)"


@pytest.mark.slow
def test_three_levels_unknown_scales(scores):
    priors = {name: "half_normal(10)" for name in ("sd_school", "sd_school:classroom", "sigma")}
    names = ("Intercept", *priors, "theta_school", "theta_school:classroom")
    _factorised, _, nodes, found = solve(hm.Model(THREE, priors=priors), scores, names)
    assert float(nodes.quality) < POOR
    targets = {
        "Intercept": (47.1940, 2.7634),
        "sd_school": (3.2487, 2.8877),
        "sd_school:classroom": (2.4286, 2.0239),
        "sigma": (5.1385, 1.0336),
    }
    for name, (mean, sd) in targets.items():
        np.testing.assert_allclose([found[name].mean, found[name].sd], [mean, sd], atol=1e-3 * sd)
    np.testing.assert_allclose(found["theta_school"].mean, [46.0751, 48.7217, 46.7468, 47.2325], atol=1e-3)
    np.testing.assert_allclose(found["theta_school"].sd, [2.5646, 2.3599, 2.8523, 2.4898], atol=1e-3)
    real = bind(hm.Model(THREE, priors=priors), scores).positions["school:classroom"]
    means = [45.6371, 45.3510, 50.8379, 48.4492, 48.5336, 46.3480, 47.8239, 46.5465]
    np.testing.assert_allclose(found["theta_school:classroom"].mean[real], means, atol=1e-3)


def test_three_levels_known_scales_are_closed_form(scores):
    priors = {"sd_school": "fixed(4)", "sd_school:classroom": "fixed(3)", "sigma": "fixed(5)"}
    factorised, stats, nodes, found = solve(
        hm.Model(THREE, priors=priors),
        scores,
        ("Intercept", "sd_school", "theta_school"),
        thresholds={"sd_school": [5.0]},
    )
    assert factorised.dim == 0 and float(nodes.quality) == 0
    assert float(nodes.log_evidence) == pytest.approx(-57.391981, abs=1e-6)
    mu = found["Intercept"]
    np.testing.assert_allclose([mu.mean, mu.sd], [47.151773, 2.583692], atol=1e-6)
    np.testing.assert_allclose([mu.lower, mu.upper], 47.151773 + 2.583692 * 1.959964 * np.array([-1, 1]), atol=1e-5)
    np.testing.assert_allclose(found["theta_school"].mean, [45.471926, 49.482580, 46.486922, 47.165666], atol=1e-6)
    assert (float(found["sd_school"].mean), float(found["sd_school"].sd), float(found["sd_school"].cdf[0])) == (
        4.0,
        0.0,
        1.0,
    )
    draws = sample_nodes(factorised, nodes, stats, jax.random.key(1), 2, 2000)
    assert draws["Intercept"].shape == (2, 2000)
    assert float(draws["Intercept"].mean()) == pytest.approx(47.151773, abs=4 * 2.583692 / np.sqrt(4000))


# a brute force of our own: sums over a dense grid of tau for two levels of known variances, flat mean


def cells(low, high, count):
    ends = np.exp(np.linspace(np.log(low), np.log(high), count + 1))
    return 0.5 * (ends[1:] + ends[:-1]), np.diff(ends)


def dense(y, se, log_prior, tau, step):
    v = se**2 + tau[:, None] ** 2
    w = (1 / v).sum(1)
    mean = (y / v).sum(1) / w
    log_p = log_prior(tau) - 0.5 * np.log(w) - 0.5 * np.log(v).sum(1) - 0.5 * ((y**2 / v).sum(1) - w * mean**2)
    weight = np.exp(log_p - log_p.max()) * step
    weight /= weight.sum()
    shrink = se**2 / v
    return weight, mean, 1 / w, shrink * mean[:, None] + (1 - shrink) * y, se**2 * (1 - shrink) + shrink**2 / w[:, None]


def prior_density(record, se):
    return lambda t: np.asarray(jax.vmap(lambda x: record.log_density(x, jnp.asarray(se**2)))(jnp.asarray(t)))


def dense_summary(weight, mean, variance):
    from scipy import optimize, stats

    m = weight @ mean
    sd = np.sqrt(weight @ (variance + (mean - m) ** 2))

    def cdf(x):
        return weight @ stats.norm.cdf((x - mean) / np.sqrt(variance))

    quantile = [
        optimize.brentq(lambda x, p=p: cdf(x) - p, m - 40 * sd, m + 40 * sd, xtol=1e-10 * sd)
        for p in (0.5, 0.025, 0.975)
    ]
    return np.array([m, sd, *quantile])


def dense_tau(weight, tau):
    m = weight @ tau
    below = np.cumsum(weight) - 0.5 * weight
    return np.array([m, np.sqrt(weight @ (tau - m) ** 2), *np.interp([0.5, 0.025, 0.975], below, tau)])


RNG = np.random.default_rng(5)
SE8 = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
CASES = {
    "no spread": (RNG.normal(8, SE8), SE8, "half_normal(20)"),
    "underdispersed": (8 + 0.2 * RNG.normal(0, SE8), SE8, "reference()"),
    "wide spread": (RNG.normal(0, 400, 8), SE8, "half_t(3, 50)"),
    "three groups": (np.array([1.0, 4.0, 2.5]), np.array([1.0, 0.5, 2.0]), "half_cauchy(2)"),
    "two groups": (np.array([1.0, 4.0]), np.array([1.0, 0.5]), "exponential(0.5)"),
    "tiny": (1e-6 * RNG.normal(8, np.hypot(SE8, 10)), 1e-6 * SE8, "half_normal(0.00002)"),
    "huge": (1e7 * RNG.normal(8, np.hypot(SE8, 10)), 1e7 * SE8, "half_normal(2e8)"),
    "many groups": (RNG.normal(0, np.hypot(1.0, 0.5), 1000), np.full(1000, 1.0), "half_normal(2)"),
    "at the bound": (RNG.normal(0, 60, 8), SE8, "uniform(0, 20)"),
}


@pytest.mark.parametrize("name", some(CASES, "two groups"))
def test_every_summary_within_a_thousandth_of_an_sd(name):
    y, se, prior = CASES[name]
    model, frame = schools(y, se, sd_school=prior, Intercept="flat()")
    _, _, nodes, found = solve(model, frame, ("sd_school", "Intercept", "theta_school"))
    assert float(nodes.quality) < POOR
    record = hm.priors.parse(prior)
    scale = float(np.median(se))
    top = min(record.support("positive")[1], 3e4 * scale)
    tau, step = cells(1e-7 * scale, top, 40_000 if len(y) < 100 else 8_000)
    log_prior = prior_density(record, se)
    weight, mean, variance, theta, theta_variance = dense(y, se, log_prior, tau, step)
    exact_rows = {
        "sd_school": dense_tau(weight, tau),
        "Intercept": dense_summary(weight, mean, np.broadcast_to(variance, mean.shape)),
    }
    for key, row in exact_rows.items():
        got = np.array([getattr(found[key], field) for field in FIELDS], float)
        np.testing.assert_allclose(got, row, rtol=0, atol=1e-3 * row[1], err_msg=key)
    for g in range(0, len(y), max(1, len(y) // 4)):
        row = dense_summary(weight, theta[:, g], theta_variance[:, g])
        got = np.array([getattr(found["theta_school"], field)[g] for field in FIELDS], float)
        np.testing.assert_allclose(got, row, rtol=0, atol=1e-3 * row[1], err_msg=f"theta {g}")


def test_few_groups_with_heavy_tails_keep_their_quantiles():
    y, se = np.array([1.0, 4.0]), np.array([1.0, 0.5])
    model, frame = schools(y, se)
    _, _, _nodes, found = solve(model, frame, ("sd_school", "Intercept"))
    tau, step = cells(1e-7, 1e9, 60_000)
    weight, *_ = dense(y, se, prior_density(hm.priors.reference(), se), tau, step)
    _, _, *quantiles = dense_tau(weight, tau)
    got = [getattr(found["sd_school"], field) for field in FIELDS[2:]]
    np.testing.assert_allclose(got, quantiles, rtol=2e-3)


def nested(schools, classrooms, students, kappa, tau, sigma=2.0, count=6, seed=3):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        list(itertools.product(range(schools), range(classrooms), range(students))),
        columns=["school", "classroom", "student"],
    )
    frame[["school", "classroom"]] = frame[["school", "classroom"]].astype(str)
    size = (count, schools, classrooms, students)
    y = (
        kappa * rng.normal(size=size[:2])[..., None, None]
        + tau * rng.normal(size=size[:3])[..., None]
        + sigma * rng.normal(size=size)
    )
    return frame.assign(score=y[0].ravel()), y.reshape(count, -1)


STUDIES = {
    "three levels": (THREE, (20, 4, 10), 1.0, 0.7),
    "nothing but noise": (THREE, (20, 4, 10), 0.0, 0.0),
    "few schools": (THREE, (4, 3, 3), 1.0, 0.5),
    "two levels": ("score ~ 1 + (1 | school)", (12, 1, 5), 0.0, 0.0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_a_study_is_as_good_as_400_draws(name):
    formula, size, kappa, tau = STUDIES[name]
    frame, outcomes = nested(*size, kappa, tau)
    names = ["sd_school", "sigma"] + (["sd_school:classroom"] if "/" in formula else [])
    problem = bind(hm.Model(formula, priors=dict.fromkeys(names, "half_normal(5)")), frame)
    factorised = factorise(problem.layout)
    wanted = (*names, "Intercept", "theta_school")
    data = as_jax(problem.data)

    def run(accuracy):
        def one(y):
            stats = factorised.prepare(eqx.tree_at(lambda d: d.y, data, y))
            nodes = exact(factorised, ExactSettings(accuracy))(None, stats)
            return nodes.quality, summarise_nodes(factorised, nodes, stats, wanted)

        return jax.jit(lambda y: jax.lax.map(one, y, batch_size=2))(jnp.asarray(outcomes))

    quality, coarse = run("study")
    _, fine = run("fit")
    ends = np.sqrt(0.025 * 0.975) / 0.0584
    error = {"mean": 1.0, "sd": np.sqrt(0.5), "median": 1.2533, "lower": ends, "upper": ends}
    trusted = np.asarray(quality) <= POOR
    assert trusted.any()
    for variable in wanted:
        for field, unit in error.items():
            a, b = (np.asarray(getattr(x[variable], field))[trusted] for x in (coarse, fine))
            off = np.abs(a - b) / np.asarray(fine[variable].sd)[trusted] / (unit / 20)
            assert off.max() < 2, (variable, field, off.max())
            assert np.sqrt(np.mean(off**2)) < 1, (variable, field)


@pytest.mark.parametrize("dim", some([1, 2, 3], 1))
def test_draws_agree_with_quadrature(dim):
    if dim == 1:
        model, frame = schools(sd_school="half_normal(5)")
        wanted = ("sd_school", "Intercept", "theta_school")
    else:
        frame, _ = nested(8, 3, 3, 0.0, 0.5)
        formula = {2: "score ~ 1 + (1 | school)", 3: THREE}[dim]
        sds = ["sd_school", "sigma"] + (["sd_school:classroom"] if dim == 3 else [])
        model, wanted = (
            hm.Model(formula, priors=dict.fromkeys(sds, "half_normal(3)")),
            (*sds, "Intercept", "theta_school"),
        )
    factorised, stats, nodes, found = solve(model, frame, wanted)
    draws = jax.jit(lambda s: sample_nodes(factorised, nodes, s, jax.random.key(4), 4, 1000))(stats)
    assert set(wanted) <= set(draws)
    for name in wanted:
        x = np.asarray(draws[name]).reshape(4000, -1)
        truth = found[name]
        sd = np.ravel(truth.sd)
        assert np.abs((x.mean(0) - np.ravel(truth.mean)) / sd * np.sqrt(4000)).max() < 4.2, name
        for field, p in (("lower", 0.025), ("median", 0.5), ("upper", 0.975)):
            share = (x <= np.ravel(getattr(truth, field))).mean(0)
            assert np.abs((share - p) / np.sqrt(p * (1 - p) / 4000)).max() < 4.2, (name, field)
    phi = np.asarray(draws["sd_school"])
    assert len(np.unique(phi)) > 0.995 * phi.size
    lagged = np.corrcoef(phi[:, 1:].ravel(), phi[:, :-1].ravel())[0, 1]
    assert abs(lagged) < 4 / np.sqrt(4000)


@pytest.mark.slow
def test_batched_equals_one_by_one():
    model, frame = schools(sd_school="half_normal(20)")
    problem = bind(model, frame)
    factorised = factorise(problem.layout)
    data = as_jax(problem.data)

    def one(y):
        stats = factorised.prepare(eqx.tree_at(lambda d: d.y, data, y))
        nodes = exact(factorised)(None, stats)
        return nodes.quality, summarise_nodes(factorised, nodes, stats, ("sd_school", "theta_school"))

    y = jnp.asarray(np.random.default_rng(0).normal(8, np.hypot(10, SE8), (5, 8)))
    together = jax.jit(jax.vmap(one))(y)
    for r in range(5):
        alone = jax.jit(one)(y[r])
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[r], b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accuracy", ["fit", "study"])
def test_missing_data_give_missing_numbers(accuracy):
    model, frame = schools(sd_school="half_normal(5)")
    problem = bind(model, frame)
    factorised = factorise(problem.layout)

    @jax.jit
    def run(data):
        stats = factorised.prepare(data)
        nodes = exact(factorised, ExactSettings(accuracy))(None, stats)
        draws = sample_nodes(factorised, nodes, stats, jax.random.key(0), 2, 5)
        return (
            nodes,
            summarise_nodes(
                factorised, nodes, stats, ("sd_school", "theta_school"), thresholds={"theta_school": [0.0]}
            ),
            draws,
        )

    nodes, found, draws = run(eqx.tree_at(lambda d: d.y, as_jax(problem.data), jnp.full(8, jnp.nan)))
    assert not float(nodes.quality) <= POOR
    assert np.isnan(found["theta_school"].mean).all() and np.isnan(found["sd_school"].mean)
    assert np.isnan(draws["theta_school"]).all()


@pytest.mark.slow
def test_location_and_scale_move_the_posterior_along():
    y = np.random.default_rng(1).normal(8, np.hypot(10, SE8))
    wanted = ("sd_school", "Intercept", "theta_school")
    a = solve(*schools(y, SE8, sd_school="half_normal(20)"), wanted)[3]
    b = solve(*schools(1e4 + 100 * y, 100 * SE8, sd_school="half_normal(2000)"), wanted)[3]
    for name, field in itertools.product(wanted, FIELDS):
        shift = 0.0 if field == "sd" or name == "sd_school" else 1e4
        x, moved = np.asarray(getattr(a[name], field)), np.asarray(getattr(b[name], field))
        np.testing.assert_allclose((moved - shift) / 100, x, atol=1e-6 * float(np.max(a[name].sd)) + 1e-8)


@pytest.mark.slow
def test_intervals_of_other_kinds():
    model, frame = schools(sd_school="half_normal(5)")
    names = ("sd_school", "theta_school")
    two = solve(model, frame, names, interval=0.9)[3]
    upper = solve(model, frame, names, interval=0.95, kind="upper")[3]
    np.testing.assert_allclose(upper["theta_school"].upper, two["theta_school"].upper, rtol=1e-5)
    assert np.isneginf(upper["theta_school"].lower).all()
    short = solve(model, frame, names, interval=0.9, kind="hdi")[3]
    assert (
        short["theta_school"].upper - short["theta_school"].lower
        <= two["theta_school"].upper - two["theta_school"].lower + 1e-6
    ).all()
    assert float(short["sd_school"].lower) < 0.02  # the density is highest at zero
    assert float(short["sd_school"].upper) < float(two["sd_school"].upper)


def test_messages():
    model, frame = schools(sd_school="half_normal(5)")
    factorised, stats, nodes, _ = solve(model, frame, ("Intercept",))
    with pytest.raises(ValueError, match="expected equal_tailed, hdi or upper, found 'eti'"):
        summarise_nodes(factorised, nodes, stats, ("Intercept",), kind="eti")
    with pytest.raises(ValueError, match=r"between 0 and 1, found 95"):
        summarise_nodes(factorised, nodes, stats, ("Intercept",), interval=95)
    with pytest.raises(ValueError, match="expected one of study, refined, fit, finest, found 'best'"):
        ExactSettings("best")

    class Wide:
        dim = MAX_DIM + 1

    with pytest.raises(
        ValueError, match=f"up to {MAX_DIM} hyperparameters, this model has {MAX_DIM + 1}; use sampler='nuts'"
    ):
        exact(Wide())


def test_a_quantile_that_is_not_found_makes_the_row_missing(monkeypatch):
    from hiermodels.inference.draws import STATUS
    from hiermodels.inference.mixtures import NormalMixture
    from hiermodels.inference.samplers import Settings, estimator
    from hiermodels.inference.summaries import Interval, Target

    found = NormalMixture.quantile_error

    def lost_one(law, p):
        x, error = found(law, p)
        return x.at[1, 0].set(jnp.nan), error  # the lower end of the first

    monkeypatch.setattr(NormalMixture, "quantile_error", lost_one)
    problem = bind(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"}),
        hm.load_dataset("eight_schools"),
    )
    run = jax.jit(
        estimator(
            problem.layout,
            Settings("exact", accuracy="study"),
            (Target("Intercept"), Target("theta_school")),
            Interval(),
        )
    )
    got = run(jax.random.key(0), as_jax(problem.data), jnp.full(9, jnp.nan))
    lost = np.arange(9) == 0
    np.testing.assert_array_equal(np.isnan(got.estimate), lost)
    np.testing.assert_array_equal(got.status == STATUS.index("nonfinite"), lost)


@pytest.mark.slow
def test_a_posterior_that_is_hard_for_a_fit_gets_a_finer_lattice(capsys):
    """Three counts that hardly differ: under a heavy tail of the shape the usual lattice is too coarse."""
    k, exposure = np.array([9, 11, 10]), 10.0
    frame = pd.DataFrame({"k": k, "unit": list("abc"), "e": exposure})
    model = hm.Model("k ~ 1 + (1 | unit)", "poisson", exposure="e", priors={"unit": "bda3()"})
    _, _, coarse, _ = solve(model, frame, ("mean_unit",))
    assert float(coarse.quality) > POOR
    fit = hm.fit(model, frame, sampler="exact")
    assert fit.draws.independent
    assert 0 < float(fit.draws.error) < 1e-3
    assert "a finer lattice" in capsys.readouterr().err
    assert "quadrature: off by about" in str(fit)
    # log mean and log shape on a fine grid: m^-1 a^-3/2 dm da, negative binomial counts
    m, a = np.meshgrid(np.exp(np.linspace(-6, 6, 1201)), np.exp(np.linspace(-5, 40, 2251)), indexing="ij")
    rate = exposure * m
    log_p = -0.5 * np.log(a)
    for one in k:
        log_p += log_rising(a, one) + one * np.log(rate / (a + rate)) + a * np.log1p(-rate / (a + rate))
    weight = np.exp(log_p - log_p.max())
    weight /= weight.sum()
    for g, one in enumerate(k):
        mean = np.sum(weight * (a + one) / (a / m + exposure))
        draws = fit.draws.values["theta_unit"][..., g]
        assert abs(draws.mean() - mean) < 4 * draws.std() / np.sqrt(draws.size)


def log_rising(a, k):
    """log Gamma(a + k) / Gamma(a), without cancellation."""
    return np.sum([np.log(a + i) for i in range(k)], 0)


@pytest.mark.slow
@pytest.mark.parametrize("levels", [4, 5])
def test_five_and_six_spreads_agree_with_nuts(levels):
    names, sizes = list("abcde")[:levels], [5, 2, 2, 2, 2][:levels]
    frame = pd.DataFrame(
        [row for row in itertools.product(*map(range, sizes)) for _ in range(3)], columns=names
    ).astype(str)
    rng = np.random.default_rng(3)
    y = rng.normal(size=len(frame))
    for depth, sd in zip(range(1, levels + 1), (0.7, 0.4, 0.5, 0.3, 0.3), strict=False):
        code = frame.groupby(names[:depth]).ngroup().to_numpy()
        y += sd * rng.normal(size=code.max() + 1)[code]
    model = hm.Model(f"y ~ 1 + (1 | {'/'.join(names)})")
    found, chains = hm.fit(model, frame.assign(y=y), sampler="exact"), hm.fit(model, frame.assign(y=y), draws=4000)
    assert found.draws.independent
    assert float(found.draws.error) < 1e-3
    ours, theirs = found.summary(), chains.summary()
    names = [n for n in ours.index if not n.startswith("theta")]
    assert len(names) == levels + 2
    for column in ("mean", "sd"):
        z = (ours[column] - theirs[column]) / np.hypot(ours[f"mcse_{column}"], theirs[f"mcse_{column}"])
        assert z[names].abs().max() < 4
        assert z.abs().max() < 5  # of some hundred group values
