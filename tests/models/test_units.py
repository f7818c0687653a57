"""Units and origins change nothing but units: over families, samplers and priors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

import hiermodels as hm
from hiermodels.inference.describe import real_groups
from hiermodels.inference.log_priors import log_prior
from hiermodels.inference.pooling_metrics import level_shares
from hiermodels.inference.predict import expected, fitted_rows
from hiermodels.models import hyper
from hiermodels.models.data import as_jax, bind
from hiermodels.models.display import latex, text
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise
from hiermodels.models.scales import read_scales
from hiermodels.models.units import at_means, from_means, inner_design, shown
from hiermodels.studies.config import read_config
from hiermodels.studies.mechanisms.simulate import Truth, simulator

RNG = np.random.default_rng(11)
N = 48
FRAME = pd.DataFrame(
    {
        "g": np.repeat(list("abcdef"), 8),
        "h": np.tile(list("uvwx"), 12),
        "x": RNG.normal(3, 2, N),
        "z": RNG.normal(0, 1, N),
    }
)
FRAME["big"] = FRAME.g.map(dict(zip("abcdef", "AABBCC", strict=True)))
FRAME["arm"] = np.where(RNG.random(N) < 0.4, "b", "a")
FRAME["w"], FRAME["se"], FRAME["e"] = RNG.uniform(1, 9, N), RNG.uniform(0.5, 2, N), RNG.uniform(1, 20, N)
FRAME["y"] = (
    5 + 0.7 * FRAME.x + FRAME.g.map(dict(zip("abcdef", RNG.normal(0, 1, 6), strict=True))) + RNG.normal(0, 1, N)
)
FRAME["n"] = 12
FRAME["r"] = RNG.binomial(12, special.expit(0.3 * (FRAME.x - 3)))
FRAME["c"] = RNG.poisson(FRAME.e * np.exp(0.1 * FRAME.x - 1))
FRAME["level"] = FRAME.g.map(dict(zip("abcdef", RNG.normal(10, 3, 6), strict=True)))

FACTORISED = {
    "one predictor": hm.Model("y ~ x + (1 | g)"),
    "weights": hm.Model("y ~ x + z + (1 | g)", weights="w"),
    "known variances": hm.Model("y ~ x + (1 | big/g)", known_se="se"),
    "slopes": hm.Model("y ~ x + (1 + x | g)"),
    "slopes at one level": hm.Model("y ~ x * z + (1 + x | big) + (1 | big:g)"),
    "product": hm.Model("y ~ x * z + (1 | g)"),
    "square": hm.Model("y ~ x + I(x**2) + (1 | g)"),
    "indicators": hm.Model("y ~ 0 + arm + x + (1 | g)"),
    "named slope": hm.Model("y ~ x + (1 | g)", priors={"x": "normal(0.5, 0.3)"}),
    "slope in phi": hm.Model("y ~ x + (1 | g)", priors={"x": "student_t(4, 0.5, 0.3)"}),
    "counts, binomial": hm.Model("r ~ level + (1 | g)", "binomial", trials="n"),
    "counts, poisson": hm.Model("c ~ level + (1 | g)", "poisson", exposure="e"),
    "counts, two levels": hm.Model("c ~ level + (1 | big/g)", "poisson", exposure="e"),
}
EXPLICIT = {
    "student_t": hm.Model("y ~ x + (1 | g)", "student_t"),
    "crossed": hm.Model("y ~ x + (1 + x | g) + (1 | h)"),
    "binomial_logit": hm.Model("r ~ x * z + (1 + x | g)", "binomial_logit", trials="n"),
    "poisson_log": hm.Model("c ~ x + (1 | g)", "poisson_log", exposure="e"),
    "negative_binomial": hm.Model("c ~ x + arm + (1 | g)", "negative_binomial", exposure="e"),
}


def in_other_units(frame, times=1.0, plus=0.0):
    """The predictors in other units, with another origin."""
    return frame.assign(x=times * (frame.x + plus), level=times * (frame.level + plus))


def priors_in_other_units(model, times):
    """The same model, its written priors in the new units."""
    named = {n: p.times(1 / times) if n == "x" else p for n, p in model.priors}
    return hm.Model(
        model.formula,
        model.family,
        known_se=model.known_se,
        trials=model.trials,
        exposure=model.exposure,
        weights=model.weights,
        priors=named,
    )


def programs(model, frame, centred=False):
    """Log density and draws of a model on a frame."""
    problem = bind(model, frame)
    try:
        made = factorise(problem.layout)
    except ValueError:
        made = Explicit(problem.layout, centred)
    return problem, made, made.prepare(as_jax(problem.data))


# the density does not depend on units
# -----------------------------------------------------------------------------------


QUICK = {"weights", "poisson_log"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in [*FACTORISED, *EXPLICIT]]
)
def test_the_program_is_the_same_in_any_units(name):
    """What chains and lattices move on has the same density, and every group's mean of a row is the same; one program
    serves all.
    """
    model, far = (FACTORISED | EXPLICIT)[name], 2e3 if name == "square" else 2e6  # the square of 2e6 + x has lost x
    with jax.enable_x64(True):
        problem, made, stats_ = programs(model, FRAME)
        slope, draw = jax.jit(jax.grad(made.log_density)), jax.jit(made.draw)
        u = made.start(stats_) + 0.3 * jnp.asarray(np.random.default_rng(1).normal(size=made.dim))
        wanted = slope(u, stats_)
        rows = _means(problem, draw(jax.random.key(3), u, stats_), FRAME)
        for times, plus in ((1e9, 0.0), (1e-9, 0.0), (1.0, far), (3.7, 280.0)):
            frame = in_other_units(FRAME, times, plus)
            other, again, there = programs(priors_in_other_units(model, times), frame)
            assert other.layout.moves == problem.layout.moves
            if model.priors:  # numbers of written priors stand in programs
                slope, draw = jax.jit(jax.grad(again.log_density)), jax.jit(again.draw)
            at, tolerance = _in_units(made, u, times), 1e-5 if plus > 1e5 else 1e-7
            np.testing.assert_allclose(
                slope(at, there), wanted, rtol=tolerance, atol=tolerance * max(1.0, float(jnp.abs(wanted).max()))
            )
            np.testing.assert_allclose(
                _means(other, draw(jax.random.key(3), at, there), frame), rows, rtol=1e-5, atol=1e-6
            )
        assert slope._cache_size() == 1


def _in_units(made, u, times):
    """The same point: logarithms of the sds of slopes have moved."""
    if isinstance(made, Explicit):
        places = {site.name: (site.start, site.stop) for site in made.sites}
    else:
        places = {p.name: (low, high) for p, low, high in hyper.slices(made.parameters)}
    for p in made.parameters:
        if p.role == "group sd" and p.effect == "x":
            u = u.at[places[p.name][0]].add(-np.log(times))
    return u


def _means(problem, values, frame):
    """Linear predictor of every row from what is shown, or the finest groups' rates of counts."""
    values = real_groups({k: np.asarray(v)[None, None] for k, v in values.items()}, problem)
    if not problem.layout.normal_groups:
        return values["theta_" + problem.layout.levels[-1].name][0, 0]
    return expected(values, problem, fitted_rows(problem, len(frame)))[0, 0]


@pytest.mark.parametrize(("column", "model"), [
    ("w", FACTORISED["weights"]), pytest.param("y", FACTORISED["slopes"], marks=pytest.mark.slow), ("e", EXPLICIT["poisson_log"]), ("e", FACTORISED["counts, poisson"]),
])  # fmt: skip
def test_other_columns_in_other_units(column, model):
    """Weights, outcome and exposure: the posterior is the same at the same place."""
    with jax.enable_x64(True):
        _, made, stats_ = programs(model, FRAME)
        u = made.start(stats_) + 0.2
        slope = jax.jit(jax.grad(made.log_density))
        wanted = slope(u, stats_)
        for times in (1e9, 1e-9, 1 / 480):
            _, again, there = programs(model, FRAME.assign(**{column: times * FRAME[column]}))
            shift = again.start(there) - made.start(stats_)  # logarithms of sds and rates have moved
            np.testing.assert_allclose(
                slope(u + shift, there), wanted, rtol=1e-6, atol=1e-6 * max(1.0, float(jnp.abs(wanted).max()))
            )


# where priors stand
# -----------------------------------------------------------------------------------------------------


def test_default_priors_stand_per_sd_and_at_the_means():
    problem = bind(EXPLICIT["poisson_log"], FRAME)
    intercept, slope, _ = problem.layout.parameters
    assert str(intercept.prior) == "normal(0, 10)" and slope.prior.args[1] == pytest.approx(10 / FRAME.x.std(ddof=0))
    u, values = problem.data.units, {"Intercept": np.array([0.3]), "x": np.array([0.2])}
    there = at_means(problem.layout, u, values)
    assert there["Intercept"] == pytest.approx(0.3 + 0.2 * FRAME.x.mean() + np.log(FRAME.e.mean()))
    back = from_means(problem.layout, u, {k: jnp.asarray(v) for k, v in there.items()})
    assert float(back["Intercept"][0]) == pytest.approx(0.3, rel=1e-5)
    density = log_prior({k: v[None] for k, v in values.items()} | {"sd_g": np.ones((1, 1))}, problem)
    assert density["Intercept"].item() == pytest.approx(stats.norm.logpdf(there["Intercept"], 0, 10).item())


def test_sds_of_groups_are_per_sd_of_the_slope_and_of_a_typical_row():
    weighted = bind(FACTORISED["weights"], FRAME).layout.parameter("sd_g")
    assert weighted.prior.args == pytest.approx((3, 2.5 / np.sqrt(FRAME.w.mean())))
    slope = bind(FACTORISED["slopes"], FRAME).layout.parameter("sd_g_x")
    assert slope.prior.args == pytest.approx((3, 2.5 / FRAME.x.std(ddof=0)))
    known = bind(FACTORISED["known variances"], FRAME).layout.parameter("sd_big")
    assert known.prior.args == pytest.approx((3, 2.5 * np.mean(FRAME.se**-2.0) ** -0.5))


def test_a_written_prior_stands_on_what_is_shown():
    """A written intercept keeps the user's origin; a written slope is per unit of the predictor, and leaves the
    default where it was.
    """
    at_zero = bind(
        hm.Model("r ~ x + (1 | g)", "binomial_logit", trials="n", priors={"Intercept": "normal(0, 2)"}), FRAME
    )
    assert at_zero.layout.moves == () and str(at_zero.layout.parameter("Intercept").prior) == "normal(0, 2)"
    per_unit = bind(hm.Model("r ~ x + (1 | g)", "binomial_logit", trials="n", priors={"x": "normal(0, 1)"}), FRAME)
    assert per_unit.layout.moves and str(per_unit.layout.parameter("x").prior) == "normal(0, 1)"
    assert bind(hm.Model("y ~ x + (1 + x | g)", priors={"sd_g": "half_normal(1)"}), FRAME).layout.moves == ()
    assert bind(hm.Model("y ~ x + (1 + x | g)", priors={"sd_g_x": "half_normal(1)"}), FRAME).layout.moves
    assert bind(hm.Model("y ~ x + (1 | g)", priors={"Intercept": "flat()"}), FRAME).layout.moves


@pytest.mark.parametrize(("formula", "moved"), [
    ("y ~ x + (1 + x || g)", False), ("y ~ x + (1 | g) + (0 + x | g)", False), ("y ~ 0 + x + (1 | g)", False), ("y ~ x + (0 + x | g)", False),
    ("y ~ 0 + arm + x + (1 | g)", True), ("y ~ x + (1 + x | g)", True), ("y ~ x + (1 + x | g) + (1 + x || h)", False), ("y ~ x", True),
])  # fmt: skip
def test_an_origin_that_is_part_of_the_model_is_left_alone(formula, moved):
    model = hm.Model(formula)
    problem = bind(model, FRAME)
    x = inner_design(problem.layout, problem.data)[:, problem.layout.columns.index("x")]
    scale = FRAME.x.std(ddof=0)
    np.testing.assert_allclose(x, (FRAME.x - (FRAME.x.mean() if moved else 0.0)) / scale, rtol=1e-12, atol=1e-14)
    word = "the zero of x is part of this model"
    assert (word in text(model, problem.layout)) == (not moved) == (word in latex(model, problem.layout))
    assert moved or word in str(model)


def test_words_say_where_a_default_stands():
    model = hm.Model("c ~ x + (1 + x | g)", "poisson_log", exposure="e")
    assert "Intercept ~ normal(0, 10) at the predictors' means and at the mean e" in str(model)
    assert "x ~ normal(0, 10 / sd(x))" in str(model) and "sd_g_x ~ half_normal(1 / sd(x))" in str(model)
    problem = bind(model, FRAME)
    said = text(model, problem.layout, problem.scales)
    assert f"at the predictors' means (x = {FRAME.x.mean():.6g}) and at the mean e ({FRAME.e.mean():.6g})" in said
    assert (
        f"x ~ normal(0, {10 / FRAME.x.std(ddof=0):.6g})" in said and "cor_g ~ lkj(1) at the predictors' means" in said
    )
    assert r"\text{ at the predictors' means" in latex(model, problem.layout, problem.scales)
    assert "log_prob(Intercept + " in model.code(FRAME)


@pytest.mark.parametrize("times", [1.0, 1e9, 1e-9])
def test_written_ends_of_a_slope_are_in_the_users_units(times):
    """A uniform prior of a slope: chains start inside it, and its density is flat up to its ends."""
    model = hm.Model("y ~ x + (1 | g)", "student_t", priors={"x": f"uniform({0.2 / times}, {3 / times})"})
    with jax.enable_x64(True):
        _, made, data = programs(model, FRAME.assign(x=times * FRAME.x))
        start = made.start(data)
        assert np.isfinite(made.log_density(start, data))
        for shift in (-30.0, 0.0, 30.0):
            found = made.draw(jax.random.key(0), start.at[1].add(shift), data)
            assert 0.2 / times * (1 - 1e-9) <= float(found["x"]) <= 3 / times * (1 + 1e-9)


@pytest.mark.slow
def test_calibration_draws_truths_where_priors_stand():
    """Truths of a logistic model: at the predictors' mean the intercept has its prior, at zero it follows."""
    model, frame = hm.Model("r ~ x + (1 | g)", "binomial_logit", trials="n"), FRAME.assign(x=FRAME.x + 280)
    problem = bind(model, frame, outcome=False)
    truth = Truth(tuple((p.name, p.prior) for p in problem.layout.parameters), (), (), at_means=True)
    with jax.enable_x64(True):
        simulate = simulator(problem.layout, truth)
        data = as_jax(problem.data)
        true = jax.jit(jax.vmap(lambda key: simulate(key, data, {})[1]))(jax.random.split(jax.random.key(1), 4000))
        at = np.asarray(true["Intercept"] + true["x"] * frame.x.mean())
        assert stats.kstest(at, stats.norm(0, 10).cdf).pvalue > 1e-3
        assert stats.kstest(np.asarray(true["x"]) * frame.x.std(ddof=0), stats.norm(0, 10).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(at, true["x"])[0, 1]) < 0.06


# against routes of its own
# ----------------------------------------------------------------------------------------------


def test_shown_values_are_those_of_the_linear_model():
    """Correlated slopes: covariances between groups where x is zero, from those at its mean, by hand."""
    problem = bind(FACTORISED["slopes"], FRAME)
    m, s = FRAME.x.mean(), FRAME.x.std(ddof=0)
    sds, r = np.array([1.3, 0.4]), 0.3
    values = {"Intercept": jnp.array(2.0), "x": jnp.array(0.5 * s), "sd_g": jnp.array(sds[0]), "sd_g_x": jnp.array(sds[1]),
              "cor_g": jnp.array([[1.0, r], [r, 1.0]]), "sigma": jnp.array(1.0),
              "theta_g": jnp.arange(6.0), "theta_g_x": jnp.arange(6.0) * s}  # fmt: skip
    with jax.enable_x64(True):
        found = shown(
            problem.layout, as_jax(problem.data), {k: jnp.asarray(np.asarray(v), float) for k, v in values.items()}
        )
    assert float(found["x"]) == pytest.approx(0.5) and float(found["Intercept"]) == pytest.approx(
        2.0 - 0.5 * m, rel=1e-6
    )
    np.testing.assert_allclose(found["theta_g"], np.arange(6.0) * (1 - m), rtol=1e-6)
    turn = np.array([[1.0, -m], [0.0, 1.0]])
    cov = turn @ (np.outer(sds, sds) * np.array([[1, r], [r, 1]])) @ turn.T
    assert float(found["sd_g"]) == pytest.approx(np.sqrt(cov[0, 0]), rel=1e-6)
    assert float(found["cor_g"][0, 1]) == pytest.approx(cov[0, 1] / np.sqrt(cov[0, 0] * cov[1, 1]), rel=1e-6)


def test_slopes_in_large_units_are_those_of_generalised_least_squares():
    """v times 1e8 gave NaN: the posterior mode of the sds by SciPy, and the slope there."""
    d = pd.DataFrame({"v": np.linspace(0, 5, 24), "g": np.repeat(list("abcd"), 6)})
    d["y"] = 10 + 3 * d.v + np.repeat([0, 1.0, -1, 0.5], 6) + np.random.default_rng(1).normal(0, 0.3, 24)
    fits = [
        hm.fit(hm.Model("y ~ v + (1 | g)"), d.assign(v=f * d.v + p), sampler="exact", draws=100, progress=False)
        for f, p in ((1, 0), (1e8, 0), (1, 5e6))
    ]
    tables = [f.summary() for f in fits]
    for f, table in zip((1, 1e8, 1), tables, strict=True):
        assert table.loc["v", "mean"] * f == pytest.approx(3.167, abs=0.03)
        assert table.loc["v", "sd"] * f == pytest.approx(tables[0].loc["v", "sd"], rel=1e-6)
        for row in ("sd_g", "sigma"):
            assert table.loc[row, "mean"] == pytest.approx(tables[0].loc[row, "mean"], rel=1e-6)
    for f in fits[1:]:
        assert f.status == "ok"
        np.testing.assert_allclose(f.fitted()["mean"], fits[0].fitted()["mean"], atol=1e-6)
    x, y, z = np.column_stack([np.ones(24), d.v]), d.y.to_numpy(), np.kron(np.eye(4), np.ones((6, 1)))

    def negative(u):
        cov = np.exp(2 * u[1]) * np.eye(24) + np.exp(2 * u[0]) * z @ z.T
        inverse = np.linalg.inv(cov)
        information = x.T @ inverse @ x
        best = np.linalg.solve(information, x.T @ inverse @ y)
        rest = y - x @ best
        prior = stats.t.logpdf(np.exp(u[0] - u[1]) / 2.5, 3) + u[0] - u[1]
        return 0.5 * (np.linalg.slogdet(cov)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest) - prior

    u = optimize.minimize(negative, np.log([1.0, 0.3]), method="Nelder-Mead").x
    inverse = np.linalg.inv(np.exp(2 * u[1]) * np.eye(24) + np.exp(2 * u[0]) * z @ z.T)
    slope = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)[1]
    assert tables[1].loc["v", "mean"] * 1e8 == pytest.approx(slope, abs=0.01)


def test_scales_belong_to_the_fit(tmp_path):
    """Kept by refit and by the file, also where the rows are others."""
    model = hm.Model("y ~ x", weights="w")
    fit = hm.fit(model, FRAME, sampler="closed_form", draws=50, progress=False)
    other = fit.refit(data=FRAME.assign(x=2 * FRAME.x + 1, w=5 * FRAME.w))
    assert other.problem.scales == fit.problem.scales and other.model == fit.model
    other.save(tmp_path / "fit.nc")
    again = hm.load_fit(tmp_path / "fit.nc")
    assert again.problem.scales == fit.problem.scales == read_scales(fit.problem.scales.plain())
    np.testing.assert_array_equal(again.predict(FRAME).predictions["y"], other.predict(FRAME).predictions["y"])


def test_two_predictors_that_are_nearly_the_same_are_said():
    frame = FRAME.assign(z=FRAME.x + 1e-9 * FRAME.z)
    with pytest.raises(
        ValueError, match=r"the predictors x, z are nearly the same .* drop one, or give one a normal prior"
    ):
        bind(hm.Model("y ~ x + z + (1 | g)"), frame)
    assert bind(hm.Model("y ~ x + (1 | g)"), frame).layout.moves
    advised = hm.Model("y ~ x + z", priors={"z": "normal(0, 10)"})
    assert hm.fit(advised, frame, sampler="exact", draws=50, progress=False).status == "ok"


# chains
# -----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPLICIT)
def test_chains_agree_in_any_units(name):
    model, rows = EXPLICIT[name], ["x"]
    role = {"e": 1e9} if model.exposure else {"y": 1e9} if model.family == "student_t" else {}
    settings = {"draws": 1500, "tune": 1000, "target_accept": 0.95, "progress": False}
    first = hm.fit(model, FRAME, **settings)
    for times, plus in ((1e9, 0.0), (1.0, 2e6)):
        frame = in_other_units(FRAME, times, plus).assign(**{k: v * FRAME[k] for k, v in role.items()})
        by = times / role.get("y", 1.0)
        other = hm.fit(model, frame, seed=1, **settings)
        for row in rows:
            a, b = first.summary().loc[row], other.summary().loc[row]
            assert abs(a["mean"] - b["mean"] * by) < 4 * np.hypot(a["mcse_mean"], b["mcse_mean"] * by)
            assert abs(a["sd"] - b["sd"] * by) < 4 * np.hypot(a["mcse_sd"], b["mcse_sd"] * by)


@pytest.mark.slow
def test_kelvin_does_not_change_a_logistic_slope():
    """The default prior of the intercept at 0 K gave .132; lme4's glmer .1545 for the field's data; here celsius
    against kelvin.
    """
    model = hm.Model("r ~ x + (1 | g)", "binomial_logit", trials="n")
    settings = {"draws": 2000, "target_accept": 0.95, "progress": False}
    celsius, kelvin = (hm.fit(model, FRAME.assign(x=FRAME.x + k), **settings).summary().loc["x"] for k in (0.0, 273.15))
    assert abs(celsius["mean"] - kelvin["mean"]) < 4 * np.hypot(celsius["mcse_mean"], kelvin["mcse_mean"])


# shares of variance under weights
# ---------------------------------------------------------------------------------------


def test_shares_of_variance_are_those_of_an_average_row():
    """ICC of weights w, w / mean and w / sum: the same number, between variance over itself plus sigma^2 / mean
    weight.
    """
    values = {"sd_g": np.full(3, 1.0), "sigma": np.full(3, 2.0), "Intercept": np.zeros(3), "theta_g": np.zeros((3, 6))}
    for by in (1.0, 1 / FRAME.w.mean(), 1 / FRAME.w.sum()):
        problem = bind(hm.Model("y ~ 1 + (1 | g)", weights="w"), FRAME.assign(w=by * FRAME.w))
        found = level_shares(values | {"sigma": values["sigma"] * np.sqrt(by)}, problem, 0)
        np.testing.assert_allclose(found["icc"], 1 / (1 + 4 / FRAME.w.mean()), rtol=1e-12)
        np.testing.assert_allclose(found["vpc"], found["icc"], rtol=1e-12)


def test_a_true_icc_is_that_of_an_average_row():
    """``icc_g: .2`` with weights of 100 simulated .961."""
    sizes = {"g": 6, "obs": 5, "predictors": {"w": 100}}
    table = {"table": {"g": list("aabb"), "w": [50, 150, 80, 120]}}
    for design in (sizes, table, {**sizes, "predictors": {"w": "integers(50, 150)"}}):
        mechanisms = {
            "formula": "y ~ 1 + (1 | g)",
            "weights": "w",
            "design": design,
            "truth": {"Intercept": 0, "sigma": 10, "icc_g": 0.2},
        }
        config = {"mechanisms": mechanisms, "estimands": ["sd_g"], "methods": {"p": {"sampler": "exact"}}, "performance": ["bias"],
                  "replications": 4, "failures": "complete-case", "seed": 1}  # fmt: skip
        assert read_config(config).cells()[0].truth["sd_g"] == pytest.approx(0.5)
