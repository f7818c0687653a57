"""Gibbs sampling: its slice steps, its conditionals, and posteriors whose numbers are known."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from routes import Route
from scipy import stats

import hiermodels as hm
from hiermodels.inference.gibbs import _sums, _variances
from hiermodels.inference.slicing import slice_step
from hiermodels.models.data import as_jax, bind
from hiermodels.models.factorise import factorise

SCHOOLS = hm.load_dataset("eight_schools")


# slices
# -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("log_density", "law", "width"),
    [
        (lambda z: -0.5 * z**2, stats.norm(), 2.0),
        (lambda z: -0.5 * z**2, stats.norm(), 0.2),
        (lambda z: jnp.where(z > 0, -z, -jnp.inf), stats.expon(), 30.0),
        (lambda z: jnp.log(0.3 * jnp.exp(-0.5 * (z + 2) ** 2) + 0.7 * jnp.exp(-0.5 * (z - 2) ** 2)), None, 6.0),
    ],
)
def test_slice_steps_leave_the_density_as_it_is(log_density, law, width):
    """Started from the density itself, ten thousand coordinates side by side still follow it after five steps."""
    rng = np.random.default_rng(4)
    n = 10_000
    x = law.rvs(n, random_state=rng) if law else np.where(rng.random(n) < 0.3, -2, 2) + rng.normal(size=n)
    with jax.enable_x64(True):
        z = jnp.asarray(x)
        for key in jax.random.split(jax.random.key(7), 5):
            z = slice_step(key, z, log_density, jnp.asarray(width))
    assert np.mean(np.asarray(z) == x) < 0.01
    if law:
        assert stats.kstest(np.asarray(z), law.cdf).pvalue > 1e-3
    else:
        assert (
            stats.kstest(np.asarray(z), lambda t: 0.3 * stats.norm.cdf(t + 2) + 0.7 * stats.norm.cdf(t - 2)).pvalue
            > 1e-3
        )


def test_slice_steps_find_the_density_from_afar():
    with jax.enable_x64(True):
        z = jnp.full(4000, 40.0)
        step = jax.jit(lambda key, z: slice_step(key, z, lambda t: -0.5 * ((t - 3) / 0.1) ** 2, jnp.asarray(1.0)))
        for key in jax.random.split(jax.random.key(1), 60):
            z = step(key, z)
    assert stats.kstest(np.asarray(z), stats.norm(3, 0.1).cdf).pvalue > 1e-3


# conditionals
# -------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow_cases("flat()-0-0")
@pytest.mark.parametrize(
    ("prior", "power", "scale"),
    [("flat()", 0, 0), ("flat_variance()", -1, 0), ("power(0.5)", 0.5, 0), ("inverse_gamma_variance(3, 8)", 7, 8)],
)
def test_variances_given_groups_are_inverse_gamma(prior, power, scale):
    """Draws of both variances given one draw of the groups, against the laws worked out from that draw by hand."""
    frame = hm.load_dataset("scores")
    model = hm.Model(
        "score ~ 1 + (1 | school/classroom)",
        priors=dict.fromkeys(("sd_school:classroom", "sigma"), prior) | {"sd_school": 3},
    )
    with jax.enable_x64(True):
        problem = bind(model, frame)
        pair = factorise(problem.layout)
        stats_ = pair.prepare(as_jax(problem.data))
        u = jnp.log(jnp.array([2.0, 5.0]))
        _, values, deviations = pair.descend(jax.random.key(5), pair.constrain(u), stats_)
        sums = _sums(pair, jax.random.key(5), u, stats_)
        draw = jax.vmap(lambda k: _variances(pair, list(pair.parameters[-2:]), k, pair.constrain(u), sums, stats_))
        log_sd = np.asarray(draw(jax.random.split(jax.random.key(6), 8000)))
    real = np.asarray(problem.data.real[1])
    squares = np.sum(np.asarray(deviations[1])[0, real] ** 2)
    rows = np.asarray(problem.data.weight) > 0
    theta = np.asarray(values[1])[0][np.asarray(problem.data.group[1])[rows]] + float(stats_.shift)
    residual = np.sum((np.asarray(problem.data.y)[rows] - theta) ** 2)
    for column, n, total in ((0, real.sum(), squares), (1, rows.sum(), residual)):
        law = stats.invgamma((n + power - 1) / 2, scale=scale + total / 2)
        assert stats.kstest(np.exp(2 * log_sd[:, column]), law.cdf).pvalue > 1e-3


# known numbers
# -------------------------------------------------------------------------------------------------------------------

# prior: mean of tau, mean of mu, theta of A and H
EIGHT = {
    "flat()": (6.57548, 7.93238, 11.4003, 8.4568),
    "flat_variance()": (11.4309, 8.12501, 14.6446, 9.1247),
    "half_cauchy(5)": (3.63387, 7.80302, 9.3328, 8.0310),
    "uniform(0, 20)": (6.00244, 7.91431, 11.0632, 8.3871),
}


def within(found, targets):
    for name, printed in targets.items():
        got = found[name]
        near = 4 * got["se"] / np.sqrt(got["ess_bulk"])
        pick = np.isfinite(np.atleast_1d(printed))
        assert (got["ess_bulk"][pick] > 300).all(), (name, got["ess_bulk"])
        off = np.abs(got["estimate"] - np.atleast_1d(printed))
        assert (off[pick] <= near[pick]).all(), (name, off / near)


@pytest.mark.slow
@pytest.mark.parametrize("prior", EIGHT)
def test_eight_schools(prior):
    tau, mu, first, last = EIGHT[prior]
    problem = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": prior}), SCHOOLS)
    found = Route(problem, ["sd_school", "Intercept", "theta_school"], sampler="gibbs", draws=8000)(SCHOOLS["effect"])
    within(found, {"sd_school": tau, "Intercept": mu, "theta_school": [first, *[np.nan] * 6, last]})


@pytest.mark.slow
def test_three_levels():
    frame = hm.load_dataset("scores")
    priors = dict.fromkeys(("sd_school", "sd_school:classroom", "sigma"), "half_normal(10)")
    problem = bind(hm.Model("score ~ 1 + (1 | school/classroom)", priors=priors), frame)
    found = Route(problem, ["Intercept", *priors, "theta_school"], sampler="gibbs", draws=6000)(frame["score"])
    within(found, {
        "Intercept": 47.1940, "sd_school": 3.2487, "sd_school:classroom": 2.4286, "sigma": 5.1385,
        "theta_school": [46.0751, 48.7217, 46.7468, 47.2325],
    })  # fmt: skip


@pytest.mark.slow
def test_rats():
    """bda3: the mean of kappa does not exist, those of m and of every theta do."""
    frame = hm.load_dataset("rats")
    problem = bind(
        hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors={"experiment": "bda3()"}),
        frame,
    )
    found = Route(problem, ["mean_experiment", "kappa_experiment", "theta_experiment"], sampler="gibbs", draws=3000)(
        frame["tumors"]
    )
    printed = np.full(71, np.nan)
    printed[[0, 70]] = 0.06357, 0.21086
    within(found, {"mean_experiment": 0.144297, "theta_experiment": printed})
    kappa = found["kappa_experiment"]
    assert kappa["median"][0] == pytest.approx(15.5305, abs=4 * 6 * 1.3 / np.sqrt(kappa["ess_bulk"][0]))


BALANCED = """57 66 69 61 57 61 51 46 69 68 75 56 / 62 61 54 69 75 65 82 77 73 71 75 57 / 71 71 52 69 67 75 66 69 73 64 75 70 /
60 52 65 61 55 61 66 71 47 67 63 59 / 47 65 45 59 63 39 50 42 62 72 76 46 / 50 60 67 58 43 52 49 48 48 57 56 53 /
60 51 58 71 57 47 69 63 74 58 54 46 / 70 80 53 55 68 57 61 60 60 67 59 66"""


@pytest.mark.slow
def test_balanced_three_levels_with_flat_variances():
    """All three variances conjugate; targets by rejection from independent inverse gamma laws."""
    rows = [[float(v) for v in line.split()] for line in BALANCED.split("/")]
    frame = pd.DataFrame(
        [(f"s{i}", f"c{k // 4}", v) for i, row in enumerate(rows) for k, v in enumerate(row)], columns=["s", "c", "y"]
    )
    priors = dict.fromkeys(("sd_s", "sd_s:c", "sigma"), "flat_variance()")
    problem = bind(hm.Model("y ~ 1 + (1 | s/c)", priors=priors), frame)
    found = Route(problem, ["sigma", "sd_s:c", "sd_s", "theta_s"], sampler="gibbs", draws=30_000)(frame["y"])
    within(found, {"sigma": 8.1298, "sd_s:c": 3.7913, "sd_s": 6.7871,
                   "theta_s": [61.3036, 66.5500, 66.6118, 60.7481, 56.9830, 55.4400, 59.5754, 62.5381]})  # fmt: skip
    for name, median, (low, high) in (
        ("sigma", 65.407, (48.036, 91.596)),
        ("sd_s:c", 13.645, (1.034, 51.248)),
        ("sd_s", 37.07, (4.950, 239.0)),
    ):
        got = found[name]
        near = 4 * got["se"][0] / np.sqrt(got["ess_tail"][0])
        assert got["median"][0] == pytest.approx(np.sqrt(median), abs=1.3 * near)
        assert got["lower"][0] == pytest.approx(np.sqrt(low), abs=2.7 * near)
        assert got["upper"][0] == pytest.approx(np.sqrt(high), abs=6 * near)


@pytest.mark.slow
def test_seventy_five_individuals():
    frame = hm.load_dataset("individuals")
    priors = {
        "Intercept": "normal(0, 3)",
        "x": "normal(0, 3)",
        "sd_id": "uniform(0, 10)",
        "sd_id_x": "uniform(0, 10)",
        "sigma": "uniform(0, 10)",
    }
    problem = bind(hm.Model("y ~ 1 + x + (1 + x || id)", priors=priors), frame)
    names = [*priors, "theta_id", "theta_id_x"]
    found = Route(problem, names, sampler="gibbs", draws=4000)(frame["y"])
    alpha, beta = np.full(75, np.nan), np.full(75, np.nan)
    alpha[:3], beta[:3] = (0.95317, 2.64564, 3.01231), (-1.98956, -2.20722, -2.41073)
    within(
        found,
        {
            "Intercept": 2.01650,
            "x": -2.00769,
            "sd_id": 1.1710,
            "sd_id_x": 0.6537,
            "sigma": 2.0178,
            "theta_id": alpha,
            "theta_id_x": beta,
        },
    )


@pytest.mark.slow
def test_counties_in_states():
    priors = {
        "Intercept": "normal(0, 1.5)", "sd_state": "half_normal(1)", "log_shape": "normal(1, 1)", "sd_state_log_shape": "half_normal(0.5)",
    }  # fmt: skip
    frame = hm.load_dataset("counties")
    problem = bind(
        hm.Model("deaths ~ 1 + (1 | state/county)", family="poisson", exposure="exposure", priors=priors), frame
    )
    found = Route(problem, [*priors, "theta_state:county"], sampler="gibbs", draws=12_000)(frame["deaths"])
    rates = [1.9613, 2.5348, 2.1117, 2.6825, 1.9128, 2.2309, 3.2959, 2.2835, 1.9795, 3.2473, 4.4553, 2.9760]
    within(
        found,
        {
            "Intercept": 0.9020,
            "sd_state": 0.3995,
            "log_shape": 1.7241,
            "sd_state_log_shape": 0.3781,
            "theta_state:county": rates,
        },
    )


# everything that stays in phi: coefficients with a t prior, correlations, units of sigma, no groups at all
INDIVIDUALS = hm.load_dataset("individuals").query("id <= 8")
OTHERS = {
    "a t prior": (hm.Model("score ~ 1 + (1 | school)", priors={"Intercept": "student_t(4, 45, 3)", "sd_school": "half_normal(6)"}), hm.load_dataset("scores")),
    "correlated slopes": (
        hm.Model("y ~ 1 + x + (1 + x | id)", priors={"sd_id": "half_normal(2)", "sd_id_x": "half_normal(2)", "sigma": "half_normal(4)"}), INDIVIDUALS,
    ),
    "units of sigma": (
        hm.Model("score ~ 1 + (1 | school)", priors={"Intercept": "scaled_normal(50, 2)", "sd_school": "half_normal(6)", "sigma": "inverse_gamma_variance(3, 50)"}),
        hm.load_dataset("scores"),
    ),
    "a regression": (hm.Model("y ~ 1 + x", priors={"sigma": "half_normal(3)"}), INDIVIDUALS),
    "counts, one rate and a predictor": (
        hm.Model("failures ~ 1 + log(hours)", family="poisson", exposure="hours", priors={"Intercept": "normal(0, 3)", "log(hours)": "normal(0, 3)"}),
        hm.load_dataset("pumps"),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_against_the_exact_engine(name):
    model, frame = OTHERS[name]
    problem = bind(model, frame)
    names = [p.name for p in problem.layout.parameters if p.kind != "correlation"]
    names += [t for v in problem.layout.levels for t in problem.layout.effect_names(v)]
    y = frame[model.outcome].to_numpy(float)
    exact, found = Route(problem, names, sampler="exact")(y), Route(problem, names, sampler="gibbs", draws=6000)(y)
    within(found, {n: exact[n]["estimate"] for n in names})
    for n in names:
        np.testing.assert_allclose(found[n]["se"], exact[n]["se"], rtol=0.12)


# front doors
# -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_fit_reports_chains():
    fit = hm.fit(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS, sampler="gibbs", draws=500, progress=False
    )
    assert fit.draws.stats["lp"].shape == (4, 500)
    assert {"r_hat", "ess_bulk"} <= set(fit.summary().columns)
    assert fit.to_datatree().sample_stats["lp"].dims == ("chain", "draw")


def test_crossed_groups_are_refused_with_a_way_on():
    model = hm.Model(
        "y ~ 1 + (1 | a) + (1 | b)",
        priors={"sd_a": "half_normal(1)", "sd_b": "half_normal(1)", "sigma": "half_normal(1)"},
    )
    frame = pd.DataFrame({"a": list("ppqqrr"), "b": list("uvuvuv"), "y": [1.0, 2, 3, 4, 5, 9]})
    with pytest.raises(ValueError, match=r"crossed.*use sampler='nuts' with marginalize=False"):
        hm.fit(model, frame, sampler="gibbs", progress=False)


@pytest.mark.slow
def test_chains_do_not_depend_on_lanes():
    """One dataset gives the same draws alone and in a batch."""
    problem = bind(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_cauchy(5)"}), SCHOOLS
    )
    from hiermodels.inference.samplers import Settings, sampler

    with jax.enable_x64(True):
        data = as_jax(problem.data)
        run = sampler(problem.layout, Settings("gibbs", draws=20, tune=10))
        keys = jax.random.split(jax.random.key(0), 3)
        alone = jax.jit(run)(keys[1], data).values["sd_school"]
        together = jax.jit(jax.vmap(run, in_axes=(0, None)))(keys, data).values["sd_school"][1]
    np.testing.assert_allclose(alone, together, rtol=1e-9)
