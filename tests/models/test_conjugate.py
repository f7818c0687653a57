"""Counts factorised: printed quadrature targets, scipy's marginals, explicit integration, extremes, propriety."""

from __future__ import annotations

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import scipy.stats as st
from plain_units import as_written
from routes import count_quadrature
from scipy import integrate, special
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from hiermodels.datasets import load_dataset
from hiermodels.families.rising import log_rising, tallied, tally
from hiermodels.models.conjugate import conjugate
from hiermodels.models.data import as_jax, bind, variable_names
from hiermodels.models.populations import new_group
from hiermodels.models.simulator import simulate
from hiermodels.models.spec import Model


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def meet(model, frame, pooling="partial", **kwargs):
    """Factorised model, its statistics and the problem."""
    problem = as_written(bind(model, frame, pooling, **kwargs))
    found = conjugate(problem.layout)
    return found, found.prepare(as_jax(problem.data)), problem


RATS = Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors={"experiment": "bda3()"})
PUMPS = Model("failures ~ 1 + (1 | pump)", family="poisson", exposure="hours", priors={"pump": "bda3()"})
COUNTIES = Model("deaths ~ 1 + (1 | state/county)", family="poisson", exposure="exposure")


def rats_with_predictor():
    return load_dataset("rats").assign(late=lambda d: (d.experiment > 35) * 1.0)


# posteriors on a grid of phi
# ---------------------------------------------------------------------------------------------


class Grid:
    """Posterior of a model with two hyperparameters on a fine grid: nodes u (n, 2) and weights (n,)."""

    def __init__(self, model, stats, first, second):
        self.model, self.stats = model, stats
        self.u = jnp.stack(jnp.meshgrid(first, second, indexing="ij"), -1).reshape(-1, 2)
        density = jax.jit(jax.vmap(model.log_density, (0, None)))(self.u, stats)
        weights = jnp.exp(density - density.max())
        self.weights = np.asarray(weights / weights.sum())
        self.phi = {k: np.asarray(v) for k, v in jax.vmap(model.constrain)(self.u).items()}
        self.shape = (len(first), len(second))

    def mean(self, value):
        return np.tensordot(self.weights, np.asarray(value), 1)

    def quantile(self, axis, p):
        """Of a coordinate of u: the spline through its marginal density, integrated and inverted."""
        mass = self.weights.reshape(self.shape).sum(1 - axis)
        u = np.unique(np.asarray(self.u[:, axis]))
        cdf = CubicSpline(u, mass / (u[1] - u[0])).antiderivative()
        return np.array([brentq(lambda x, q=q: cdf(x) - q, u[0], u[-1]) for q in p])

    def components(self, name):
        return jax.vmap(lambda u: self.model.components(u, self.stats, (name,))[name])(self.u)

    def mixture(self, name):
        """Mean and sd of a variable."""
        mean, variance = (np.asarray(m) for m in self.components(name).moments())
        centre = self.mean(mean)
        return centre, np.sqrt(self.mean(variance) + self.mean(mean**2) - centre**2)

    def cdf(self, name, index, x):
        law = self.components(name)
        a, b = (np.asarray(v) if index is None else np.asarray(v)[:, index] for v in (law.a, law.b))
        return self.mean(st.beta.cdf(x, a, b) if law.kind == "beta" else st.gamma.cdf(x, a, scale=1 / b))


@pytest.fixture(scope="module")
def rats():
    with jax.enable_x64(True):
        model, stats, problem = meet(RATS, load_dataset("rats"))
        yield Grid(model, stats, jnp.linspace(-2.75, -0.9, 75), jnp.linspace(0.8, 9.0, 165)), problem


def test_rats_hyperparameters(rats):
    grid, _ = rats
    m, kappa = grid.phi["mean_experiment"], grid.phi["kappa_experiment"]
    assert grid.mean(special.logit(m)) == pytest.approx(-1.78425, abs=1e-5)
    assert grid.mean(np.log(kappa)) == pytest.approx(2.75560, abs=2e-4)
    assert grid.mean(m) == pytest.approx(0.144297, abs=1e-6)
    assert np.sqrt(grid.mean(m**2) - grid.mean(m) ** 2) == pytest.approx(0.013426, abs=2e-6)
    np.testing.assert_allclose(
        special.expit(grid.quantile(0, [0.025, 0.5, 0.975])), [0.11922, 0.14385, 0.17196], atol=1e-5
    )
    np.testing.assert_allclose(np.exp(grid.quantile(1, [0.025, 0.5, 0.975])), [8.2968, 15.5305, 32.1230], rtol=1e-4)
    assert grid.mean(m * kappa) == pytest.approx(2.4027, abs=5e-4)  # truncated: the mean itself is infinite
    assert grid.mean((1 - m) * kappa) == pytest.approx(14.320, abs=3e-3)


@pytest.mark.parametrize(("column", "printed"), [(0, (1.2058, 2.2246, 4.6421)), (1, (7.0351, 13.3029, 27.5539))])
def test_rats_alpha_beta_quantiles(rats, column, printed):
    """P(alpha < x) by integrating the density of log kappa exactly up to the curve alpha = x on each line of constant
    m.
    """
    grid, _ = rats
    u = np.asarray(grid.u).reshape(*grid.shape, 2)
    share = special.expit(u[:, 0, 0] if column == 0 else -u[:, 0, 0])
    log_kappa = u[0, :, 1]
    below = CubicSpline(
        log_kappa, grid.weights.reshape(grid.shape) / (log_kappa[1] - log_kappa[0]), axis=1
    ).antiderivative()
    for p, x in zip((0.025, 0.5, 0.975), printed, strict=True):
        edges = np.log(x / share)
        assert sum(below(e)[i] for i, e in enumerate(edges)) == pytest.approx(p, abs=2e-5)


THETAS = {
    (0, 20): (0.06357, 0.04160, 0.00693, 0.05579, 0.16394),
    (0, 17): (0.06923, 0.04497, 0.00768, 0.06093, 0.17749),
    (1, 20): (0.09148, 0.04810, 0.01976, 0.08430, 0.20386),
    (1, 10): (0.12677, 0.06497, 0.02885, 0.11736, 0.27824),
    (2, 13): (0.14846, 0.06573, 0.04510, 0.14017, 0.29883),
    (5, 49): (0.11241, 0.03900, 0.04776, 0.10854, 0.19902),
    (4, 20): (0.17523, 0.06322, 0.07089, 0.16876, 0.31606),
    (10, 48): (0.19206, 0.04915, 0.10598, 0.18864, 0.29747),
    (6, 20): (0.23105, 0.07117, 0.10990, 0.22496, 0.38643),
    (16, 52): (0.26874, 0.05446, 0.17008, 0.26605, 0.38258),
    (15, 46): (0.27868, 0.05792, 0.17395, 0.27577, 0.39985),
    (9, 24): (0.28289, 0.07332, 0.15410, 0.27796, 0.43932),
    (4, 14): (0.21086, 0.07526, 0.08653, 0.20316, 0.37841),
}


@pytest.mark.slow
def test_rats_experiments(rats):
    grid, problem = rats
    mean, sd = grid.mixture("theta_experiment")
    frame = load_dataset("rats")
    at = problem.positions["experiment"]
    for (y, n), printed in THETAS.items():
        j = at[np.flatnonzero((frame.tumors == y) & (frame.rats == n))[0]]
        assert (mean[j], sd[j]) == pytest.approx(printed[:2], abs=1.1e-5)
        for p, q in zip((0.025, 0.5, 0.975), printed[2:], strict=True):
            assert grid.cdf("theta_experiment", j, q) == pytest.approx(p, abs=1e-4)


def test_rats_new_experiment(rats):
    grid, _ = rats
    assert grid.mixture("new(experiment)") == pytest.approx((0.14430, 0.08910), abs=1.1e-5)
    for p, q in ((0.025, 0.01944), (0.5, 0.12863), (0.975, 0.35948)):
        assert grid.cdf("new(experiment)", None, q) == pytest.approx(p, abs=1e-4)


def test_rats_predictive_counts(rats):
    grid, problem = rats
    new, current = grid.components("new(experiment)"), grid.components("theta_experiment")
    j = problem.positions["experiment"][70]
    count = np.arange(21)[:, None]
    p_new = grid.mean(st.betabinom.pmf(count, 20, np.asarray(new.a), np.asarray(new.b)).T)
    p_71 = grid.mean(st.betabinom.pmf(count, 20, np.asarray(current.a)[:, j], np.asarray(current.b)[:, j]).T)
    assert (p_new @ count[:, 0], p_new[0], p_new[10:].sum()) == pytest.approx((2.88595, 0.14040, 0.01343), abs=2e-5)
    assert (p_71 @ count[:, 0], p_71[0], p_71[10:].sum()) == pytest.approx((4.21714, 0.02841, 0.02279), abs=2e-5)


def test_pumps_target():
    """Exp(1) on a and Gamma(.1, 1) on b = a / m."""
    priors = {"mean_pump": "gamma_rate(0.1, 1)", "shape_pump": "exponential(1)"}
    model, stats, problem = meet(replace(PUMPS, priors=priors), load_dataset("pumps"))
    u = jnp.array(
        [0.2, -0.4]
    )  # log m, log a: densities of a and b, times their derivatives by (m, a) and (log m, log a)
    a, b = np.exp(-0.4), np.exp(-0.6)
    expected = st.expon.logpdf(a) + st.gamma.logpdf(b, 0.1) + np.log(b) + np.log(a)
    assert float(model.log_prior(u, stats)) == pytest.approx(expected, rel=1e-12)
    assert problem.missing_moments == {"mean_pump": "mean", "new(pump)": "mean"}
    grid = Grid(model, stats, jnp.linspace(-4.0, 7.0, 221), jnp.linspace(-4.5, 2.5, 141))
    a = grid.phi["shape_pump"]
    b = a / grid.phi["mean_pump"]
    for value, printed in ((a, (0.69717, 0.27078)), (b, (0.92681, 0.54282))):
        assert (grid.mean(value), np.sqrt(grid.mean(value**2) - grid.mean(value) ** 2)) == pytest.approx(
            printed, abs=2e-5
        )
    mean, sd = grid.mixture("theta_pump")
    printed = [0.05982, 0.10183, 0.08924, 0.11579, 0.60134, 0.60939, 0.89254, 0.89254, 1.58631, 1.98983]
    np.testing.assert_allclose(mean, printed, atol=1.1e-5)
    printed = [0.02520, 0.07945, 0.03758, 0.03026, 0.31601, 0.13753, 0.72442, 0.72442, 0.76952, 0.42499]
    np.testing.assert_allclose(sd, printed, atol=1.1e-5)


JOINT = {
    # family, data, columns, informative groups needed, log prior in (mean, concentration)
    "rats": (RATS, "experiment", "kappa", "tumors", "rats", lambda m, k: -np.log(m) - np.log1p(-m) - 2 * np.log(k)),
    "pumps": (PUMPS, "pump", "shape", "failures", "hours", lambda m, a: -np.log(m) - 2 * np.log(a)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", JOINT)
def test_rgbp(name):
    """Flat on the link of the mean and on one over the concentration: group means and sds against quadrature in
    SciPy.
    """
    model, group, stem, y, size, log_prior = JOINT[name]
    frame = load_dataset(name)
    model, stats, problem = meet(replace(model, priors={group: "rgbp()"}), frame)
    printed = {p.name: str(p.prior) for p in problem.layout.parameters}
    assert printed == {f"mean_{group}": "beta(0, 0)" if name == "rats" else "power(1)", f"{stem}_{group}": "power(2)"}
    first = jnp.linspace(-2.6, -1.0, 81) if name == "rats" else jnp.linspace(-4.0, 7.0, 221)
    grid = Grid(model, stats, first, jnp.linspace(-3.5, 9.0, 251) if name == "pumps" else jnp.linspace(-1.0, 12.0, 261))
    found = count_quadrature(
        frame[y], frame[size], model.layout.family, log_prior, (1.0, 15.0 if name == "rats" else 1.0), count=400
    )
    mean, sd = grid.mixture(f"theta_{group}")
    np.testing.assert_allclose(mean, found["theta"][0], atol=2e-4)
    np.testing.assert_allclose(sd, found["theta"][1], atol=2e-4)


@pytest.mark.parametrize(("y", "needed"), [([0, 3, 4, 0], None), ([0, 3, 0, 0], 2), ([0, 5, 5, 0], 2)])
def test_rgbp_needs_two_interior_groups(y, needed):
    frame = pd.DataFrame({"g": list("abcd"), "y": y, "n": 5})
    model = Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors={"g": "rgbp()"})
    if needed is None:
        bind(model, frame)
    else:
        with pytest.raises(ValueError, match=rf"at least {needed} group\(s\) with 0 < y < trials are needed"):
            bind(model, frame)


def test_flat_on_one_over_the_rate_is_improper_for_any_counts():
    """Why rgbp of a gamma population is flat on 1 / a: under a flat (log m, 1 / b) the mean runs off at small a."""
    model, stats, _ = meet(PUMPS, load_dataset("pumps"))

    def below(cut):
        log_m = jnp.linspace(-8.0, cut, 4001)
        u = jnp.stack([log_m, jnp.full_like(log_m, np.log(0.05))], 1)  # a = 0.05, ten pumps
        return integrate.trapezoid(np.exp(jax.vmap(lambda v: model.log_likelihood(v, stats))(u) + log_m), log_m)

    assert below(120.0) > 1e6 * below(80.0)
    with pytest.raises(ValueError, match="the mean can grow without bound"):
        bind(replace(PUMPS, priors={"mean_pump": "flat()", "shape_pump": "power(2)"}), load_dataset("pumps"))


@pytest.mark.slow
def test_ten_counties_target():
    """log m ~ N(0, 1.5^2), 1 / sqrt(a) ~ HN(1)."""
    frame = pd.DataFrame(
        {
            "county": [f"c{i}" for i in range(10)],
            "deaths": [0, 3, 1, 7, 2, 0, 12, 5, 1, 4],
            "exposure": [0.4, 1.0, 0.7, 2.5, 1.8, 0.3, 3.1, 2.2, 0.9, 1.2],
        }
    )
    priors = {"mean_county": "log_normal(0, 1.5)", "shape_county": "half_normal_cv(1)"}
    model, stats, _ = meet(
        Model("deaths ~ 1 + (1 | county)", family="poisson", exposure="exposure", priors=priors), frame
    )
    grid = Grid(model, stats, jnp.linspace(-1.2, 3.0, 106), jnp.linspace(-2.5, 22, 246))
    log_m, r = np.log(grid.phi["mean_county"]), grid.phi["shape_county"] ** -0.5
    for value, printed in ((log_m, (0.84089, 0.21753)), (r, (0.30589, 0.23241))):
        assert (grid.mean(value), np.sqrt(grid.mean(value**2) - grid.mean(value) ** 2)) == pytest.approx(
            printed, abs=1e-4
        )
    assert grid.mean(np.exp(log_m)) == pytest.approx(2.37306, abs=1e-4)
    mean, sd = grid.mixture("theta_county")
    printed = [2.13327, 2.48711, 2.22719, 2.50634, 2.03238, 2.18137, 2.89708, 2.34080, 2.14533, 2.57233]
    np.testing.assert_allclose(mean, printed, atol=2e-4)
    printed = [0.84416, 0.80795, 0.79431, 0.66539, 0.68888, 0.86799, 0.77464, 0.65313, 0.76347, 0.81139]
    np.testing.assert_allclose(sd, printed, atol=2e-4)
    a, b = (np.asarray(v) for v in (lambda law: (law.a, law.b))(grid.components("new(county)")))
    assert grid.mean((b / (b + 1)) ** a) == pytest.approx(0.13813, abs=2e-5)


def one_county(deaths, exposure, prior=None):
    frame = pd.DataFrame({"deaths": [deaths], "exposure": [exposure]})
    priors = {"Intercept": prior} if prior else {}
    model, stats, _ = meet(Model("deaths ~ 1", family="poisson", exposure="exposure", priors=priors), frame)
    assert model.dim == 0
    law = model.components(jnp.zeros(0), stats, ("Intercept",))["Intercept"]
    return st.gamma(float(law.a), scale=1 / float(law.b)), float(model.log_density(jnp.zeros(0), stats))


@pytest.mark.parametrize(
    ("deaths", "exposure", "prior", "mean", "lower", "upper", "above_one"),
    [
        (3, 1.0, "gamma(3, 5)", 1.0, 0.36698, 1.94472, 0.44568),
        (3, 2.0, "gamma(3, 5)", 0.857143, 0.31456, 1.66690, 0.30071),
        (30, 20.0, "gamma(3, 5)", 1.32, 0.90863, 1.80698, 0.92854),
        (3, 1.0, None, 3.5, 0.84493, 8.00638, None),
    ],
)
def test_one_county(deaths, exposure, prior, mean, lower, upper, above_one):
    law, _ = one_county(deaths, exposure, prior)
    assert law.mean() == pytest.approx(mean, abs=1e-6)
    assert law.ppf([0.025, 0.975]) == pytest.approx((lower, upper), abs=1.1e-5)
    if above_one is not None:
        assert law.sf(1) == pytest.approx(above_one, abs=1.1e-5)


@pytest.mark.parametrize(("deaths", "printed"), [(0, 0.57870), (1, 0.28935), (2, 0.09645), (3, 0.02679), (4, 0.00670)])
def test_evidence_of_one_county_is_the_prior_predictive(deaths, printed):
    assert np.exp(one_county(deaths, 1.0, "gamma(3, 5)")[1]) == pytest.approx(printed, abs=1.1e-5)


# likelihoods against other libraries
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0, 64])
@pytest.mark.parametrize(("m", "kappa"), [(0.14, 16.0), (0.5, 0.01), (0.9, 1e4)])
def test_log_marginal_equals_scipys_beta_binomial(bound, m, kappa):
    problem = bind(RATS, load_dataset("rats"))
    model = conjugate(replace(problem.layout, count_bound=bound))
    stats = model.prepare(as_jax(problem.data))
    u = jnp.array([special.logit(m), np.log(kappa)])
    frame = load_dataset("rats")
    expected = st.betabinom.logpmf(frame.tumors, frame.rats, m * kappa, (1 - m) * kappa).sum()
    assert float(model.log_likelihood(u, stats)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("m", "a"), [(0.8, 0.7), (3.0, 1e-3), (0.5, 1e4)])
def test_log_marginal_equals_scipys_negative_binomial(m, a):
    model, stats, _ = meet(PUMPS, load_dataset("pumps"))
    frame = load_dataset("pumps")
    b = a / m
    expected = st.nbinom.logpmf(frame.failures, a, b / (b + frame.hours)).sum()
    assert float(model.log_likelihood(jnp.log(jnp.array([m, a])), stats)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_rows_of_a_group_add_up():
    frame = load_dataset("rats")
    halves = pd.concat([frame.assign(rats=frame.tumors), frame.assign(tumors=0, rats=frame.rats - frame.tumors)])
    last = halves.iloc[[-1]]
    halves = pd.concat([halves.iloc[:-1], last.assign(rats=1), last.assign(rats=last.rats - 1)])
    halves = halves[halves.rats > 0]
    whole, stats, problem = meet(RATS, frame)
    split, split_stats, split_problem = meet(RATS, halves)
    assert split_problem.layout.obs > len(halves)  # unbalanced rows are padded
    u = jnp.array([[-1.5, 2.0], [-2.0, 4.0]])
    one, two = (jax.vmap(f.log_density, (0, None))(u, s) for f, s in ((whole, stats), (split, split_stats)))
    assert float(jnp.diff(one)[0]) == pytest.approx(float(jnp.diff(two)[0]), rel=1e-10)
    thetas = [
        f.components(u[0], s, ("theta_experiment",))["theta_experiment"].a
        for f, s in ((whole, stats), (split, split_stats))
    ]
    first = dict(zip(problem.labels["experiment"], thetas[0][problem.positions["experiment"]], strict=True))
    second = dict(
        zip(split_problem.labels["experiment"], thetas[1][split_problem.positions["experiment"]], strict=True)
    )
    assert {k: float(v) for k, v in first.items()} == pytest.approx({k: float(v) for k, v in second.items()})


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_predictors_move_each_groups_mean(family):
    frame = rats_with_predictor()
    role = {"trials": "rats"} if family == "binomial" else {"exposure": "rats"}
    model, stats, _ = meet(Model("tumors ~ 1 + late + (1 | experiment)", family=family, **role), frame)
    b0, b1, c = -2.0, 0.7, 12.0
    u = jnp.array([b0, b1, np.log(c)])
    eta = b0 + b1 * frame.late
    if family == "binomial":
        m = special.expit(eta)
        expected = st.betabinom.logpmf(frame.tumors, frame.rats, m * c, (1 - m) * c).sum()
    else:
        rate = c / np.exp(eta)
        expected = st.nbinom.logpmf(frame.tumors, c, rate / (rate + frame.rats)).sum()
    assert float(model.log_likelihood(u, stats)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("grouped", [True, False])
def test_common_rate_with_predictors_is_a_regression(grouped):
    frame = rats_with_predictor()
    formula = "tumors ~ 1 + late + (1 | experiment)" if grouped else "tumors ~ 1 + late"
    model, stats, _ = meet(Model(formula, family="binomial", trials="rats"), frame, "complete")
    assert [p.name for p in model.parameters] == ["Intercept", "late"]
    expected = st.binom.logpmf(frame.tumors, frame.rats, special.expit(-2.0 + 0.7 * frame.late)).sum()
    assert float(model.log_likelihood(jnp.array([-2.0, 0.7]), stats)) == pytest.approx(expected, rel=1e-10)


# deeper trees
# -------------------------------------------------------------------------------------------------------------

F_PRIORS = {
    "Intercept": "normal(0, 1.5)",
    "sd_state": "half_normal(1)",
    "log_shape": "normal(1, 1)",
    "sd_state_log_shape": "half_normal(0.5)",
}


@pytest.mark.slow
def test_three_levels_collapse_the_finest():
    """The density in u against the product of priors and negative binomials, written out."""
    model, stats, problem = meet(replace(COUNTIES, priors=F_PRIORS), load_dataset("counties"))
    assert model.dim == 4 + 4 + 4
    u = np.random.default_rng(0).normal(size=12) * 0.5
    mu, om, al, et = u[0], np.exp(u[1]), u[2], np.exp(u[3])
    log_m, log_a = mu + om * u[4:8], al + et * u[8:12]
    frame = load_dataset("counties")
    state = pd.factorize(frame.state)[0]
    a, m = np.exp(log_a)[state], np.exp(log_m)[state]
    p = a / m / (a / m + frame.exposure)
    expected = st.nbinom.logpmf(frame.deaths, a, p).sum()
    expected += st.norm.logpdf(mu, 0, 1.5) + st.norm.logpdf(al, 1, 1) + st.norm.logpdf(u[4:]).sum()
    expected += st.halfnorm.logpdf(om) + u[1] + st.halfnorm.logpdf(et, scale=0.5) + u[3]
    assert float(model.log_density(jnp.asarray(u), stats)) == pytest.approx(expected, rel=1e-10)
    names = ("theta_state", "theta_state_log_shape", "theta_state:county", "new(state)", "mean(theta_state)")
    found = model.components(jnp.asarray(u), stats, names)
    np.testing.assert_allclose(found["theta_state"].a, log_m)
    np.testing.assert_allclose(found["theta_state_log_shape"].a, log_a)
    at = problem.positions["state:county"]
    np.testing.assert_allclose(found["theta_state:county"].a[at], a + frame.deaths)
    np.testing.assert_allclose(found["theta_state:county"].b[at], a / m + frame.exposure)
    assert (float(found["new(state)"].a), float(found["new(state)"].b)) == pytest.approx((mu, om**2))
    assert float(found["mean(theta_state)"].a) == pytest.approx(log_m.mean())
    with pytest.raises(ValueError, match=r"new\(state:county\).*no closed law; use sampler='nuts'"):
        model.components(jnp.asarray(u), stats, ("new(state:county)",))


@pytest.mark.slow
def test_three_levels_target():
    """Target F by importance sampling around a fit of the mode, against printed means within the weights' error."""
    model, stats, problem = meet(replace(COUNTIES, priors=F_PRIORS), load_dataset("counties"))
    density = jax.jit(jax.vmap(model.log_density, (0, None)))
    mode = model.start(stats)
    for _ in range(200):
        mode = mode + 0.02 * jax.grad(model.log_density)(mode, stats)
    centre, scale = mode, 0.7 * jnp.eye(model.dim)
    key, n, df = jax.random.key(0), 300_000, 6
    for _ in range(8):  # a multivariate t, adapted to tempered weights, then to the weights themselves
        key, one, two = jax.random.split(key, 3)
        z = jax.random.normal(one, (n, model.dim)) / jnp.sqrt(jax.random.chisquare(two, df, (n, 1)) / df)
        draws = centre + z @ scale.T
        log_w = density(draws, stats) + (df + model.dim) / 2 * jnp.log1p(jnp.sum(z**2, 1) / df)
        log_w = jnp.where(jnp.isfinite(log_w), log_w, -jnp.inf)
        w = jnp.exp(log_w - log_w.max())
        w = w / w.sum()
        soft = jnp.exp(jnp.minimum(log_w, jnp.quantile(log_w, 0.999)) - log_w.max())
        soft = soft / soft.sum()
        centre = soft @ draws
        scale = jnp.linalg.cholesky((draws - centre).T @ (soft[:, None] * (draws - centre))) * 1.05
    size = 1 / float(jnp.sum(w**2))
    assert size > 5_000
    wanted = ("Intercept", "sd_state", "log_shape", "sd_state_log_shape", "theta_state", "theta_state:county")
    laws = jax.vmap(lambda v: model.components(v, stats, wanted))(draws)

    def check(value, printed, variance=0.0):
        value = np.asarray(value)
        mean = w @ value
        sd = np.sqrt(w @ (value**2 + variance) - mean**2)
        np.testing.assert_allclose(mean, printed[0], atol=4 * np.max(sd) / np.sqrt(size) + 1e-4)
        np.testing.assert_allclose(sd, printed[1], rtol=6 / np.sqrt(size))

    check(laws["Intercept"].a, (0.9020, 0.3334))
    check(laws["sd_state"].a, (0.3995, 0.3382))
    check(laws["log_shape"].a, (1.7241, 0.7674))
    check(laws["sd_state_log_shape"].a, (0.3781, 0.2871))
    means = w @ np.exp(np.minimum(laws["theta_state"].a, 20.0))
    np.testing.assert_allclose(means, [2.4200, 2.6332, 2.4357, 3.2921], rtol=0.01)
    at = problem.positions["state:county"]
    mean, variance = (np.asarray(v)[:, at] for v in laws["theta_state:county"].moments())
    printed = [1.9613, 2.5348, 2.1117, 2.6825, 1.9128, 2.2309, 3.2959, 2.2835, 1.9795, 3.2473, 4.4553, 2.9760]
    sds = [1.1154, 1.1096, 1.0584, 0.8204, 0.7903, 1.1659, 0.8865, 0.8262, 0.9624, 1.2194, 1.4537, 1.2896]
    check(mean, (printed, sds), variance)


# draws, components and their agreement
# -----------------------------------------------------------------------------------

MENU = {
    "beta": (RATS, "rats", "partial"),
    "beta, predictor": (
        Model("tumors ~ 1 + late + (1 | experiment)", family="binomial", trials="rats"),
        "late",
        "partial",
    ),
    "beta, complete": (RATS, "rats", "complete"),
    "beta, none": (RATS, "rats", "none"),
    "gamma": (PUMPS, "pumps", "partial"),
    "gamma, none": (PUMPS, "pumps", "none"),
    "gamma, complete": (PUMPS, "pumps", "complete"),
    "three levels": (COUNTIES, "counties", "partial"),
    "three levels, counties alone": (COUNTIES, "counties", {"state": "complete"}),
    "three levels, states alone": (COUNTIES, "counties", {"state:county": "complete"}),
    "three levels, none": (COUNTIES, "counties", "none"),
    "three levels, complete": (COUNTIES, "counties", "complete"),
    "no group": (Model("deaths ~ 1", family="poisson", exposure="exposure"), "counties", "partial"),
}


def of_menu(name):
    model, data, pooling = MENU[name]
    return meet(model, rats_with_predictor() if data == "late" else load_dataset(data), pooling)


@pytest.mark.slow_cases(
    "beta, none", "beta, predictor", "gamma, none", "three levels, none", "three levels, states alone", "three levels"
)
@pytest.mark.parametrize("name", MENU)
def test_draws_and_components_agree(name):
    model, stats, problem = of_menu(name)
    u = model.start(stats) + 0.1
    wanted = tuple(sorted(v for v in model.available() if v != "new(state:county)" or model.dim < 3))
    laws = model.components(u, stats, wanted)
    draws = jax.jit(jax.vmap(lambda k: model.draw(k, u, stats)))(jax.random.split(jax.random.key(1), 1500))
    assert set(draws) == set(variable_names(problem.layout))
    assert set(model.available()) >= {p.name for p in problem.layout.parameters}
    for variable, law in laws.items():
        mean, variance = law.moments()
        if variable.startswith("new("):
            continue
        if variable.startswith("mean("):
            theta = variable[5:-1]
            level = next(v for v in problem.positions if theta == f"theta_{v}")
            value = draws[theta][:, problem.positions[level]].mean(1)
        else:
            value = draws[variable]
            assert value.shape[1:] == law.a.shape
        sd = jnp.sqrt(variance)
        np.testing.assert_allclose(value.mean(0), mean, atol=5 * np.max(np.r_[0.0, sd.ravel()]) / np.sqrt(1500) + 1e-12)
        np.testing.assert_allclose(value.std(0), sd, rtol=0.25, atol=1e-12)


@pytest.mark.slow
def test_coarser_values_are_on_the_link_scale():
    model, stats, problem = of_menu("three levels, none")
    values = model.draw(jax.random.key(0), jnp.zeros(0), stats)
    rates = np.asarray(values["theta_state:county"])[problem.positions["state:county"]]
    states = pd.factorize(load_dataset("counties").state)[0]
    means = np.bincount(states, rates) / np.bincount(states)
    np.testing.assert_allclose(np.asarray(values["theta_state"]), np.log(means), rtol=1e-10)


def test_an_unknown_variable_is_named():
    model, stats, _ = of_menu("beta")
    with pytest.raises(ValueError, match="theta_rat: this model has no such variable"):
        model.components(model.start(stats), stats, ("theta_rat",))


def test_relabelling_groups_permutes_the_posterior():
    frame = load_dataset("pumps")
    turned = frame.iloc[::-1]
    one, stats, _ = meet(PUMPS, frame)
    two, turned_stats, _ = meet(PUMPS, turned)
    u = jnp.array([0.1, -0.3])
    assert float(one.log_density(u, stats)) == pytest.approx(float(two.log_density(u, turned_stats)), rel=1e-12)
    laws = [f.components(u, s, ("theta_pump",))["theta_pump"].a for f, s in ((one, stats), (two, turned_stats))]
    np.testing.assert_allclose(laws[0], laws[1][::-1])


# extremes and other properties
# ---------------------------------------------------------------------------------------------


@pytest.mark.slow_cases("-30.0--30.0-beta, predictor", "-30.0--30.0-beta", "-30.0--30.0-three levels")
@pytest.mark.parametrize("name", ["beta", "beta, predictor", "gamma", "three levels"])
@pytest.mark.parametrize("log_c", [-30.0, -14.0, 0.0, 10.0, 21.0, 40.0])
@pytest.mark.parametrize("centre", [-30.0, 0.0, 30.0])
def test_gradients_are_finite_far_out(name, log_c, centre):
    model, stats, _ = of_menu(name)
    u = jnp.zeros(model.dim).at[0].set(centre)
    at = [p.name for p in model.parameters].index({"three levels": "log_shape"}.get(name, model.parameters[-1].name))
    u = u.at[at].set(log_c)
    value, slope = jax.value_and_grad(model.log_density)(u, stats)
    assert np.isfinite(value) and np.isfinite(slope).all()


def test_complete_pooling_is_the_limit():
    model, stats, _ = of_menu("beta")
    frame = load_dataset("rats")
    expected = st.binom.logpmf(frame.tumors, frame.rats, 0.15).sum()
    u = jnp.array([special.logit(0.15), np.log(1e9)])
    assert float(model.log_likelihood(u, stats)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_tally_and_series_agree_with_gamma_functions():
    y = np.array([0.0, 0, 1, 4, 9, 22])
    counts = tally(jnp.asarray(y), 32)
    for a in (1e-3, 0.8, 7.9, 8.1, 300.0):
        expected = special.gammaln(a + y) - special.gammaln(a) - y * np.log(a)
        np.testing.assert_allclose(log_rising(jnp.full(6, a), y), expected, atol=2e-12 * (1 + a))
        assert float(tallied(jnp.asarray(a), counts)) == pytest.approx(expected.sum(), rel=1e-11)
        slope = special.digamma(a + y) - special.digamma(a) - y / a
        np.testing.assert_allclose(
            jax.vmap(jax.grad(log_rising))(jnp.full(6, a), jnp.asarray(y)), slope, rtol=1e-9, atol=1e-12
        )
        bend = special.polygamma(1, a + y) - special.polygamma(1, a) + y / a**2
        np.testing.assert_allclose(
            jax.vmap(jax.grad(jax.grad(log_rising)))(jnp.full(6, a), jnp.asarray(y)),
            bend,
            rtol=1e-7,
            atol=1e-9,
        )


def test_ratio_of_gamma_functions_keeps_its_digits_at_large_arguments():
    """R(a, y) -> y (y - 1) / (2 a), where differences of log-gamma have no digit left."""
    assert float(log_rising(1e9, 100.0)) == pytest.approx(100 * 99 / 2 / 1e9, rel=1e-6)


@pytest.mark.slow
def test_float32_is_close():
    problem = bind(PUMPS, load_dataset("pumps"))
    model = conjugate(problem.layout)
    u = [0.3, -0.2]
    exact = float(model.log_density(jnp.array(u), model.prepare(as_jax(problem.data))))
    with jax.enable_x64(False):
        stats = model.prepare(as_jax(problem.data))
        value = model.log_density(jnp.array(u, jnp.float32), stats)
        assert value.dtype == jnp.float32
    assert float(value) == pytest.approx(exact, rel=2e-5)


def test_one_program_serves_every_outcome_of_a_design():
    problem = bind(RATS, load_dataset("rats"), outcome=False)
    model = conjugate(problem.layout)
    traced = []

    @jax.jit
    def density(data, u):
        traced.append(1)
        return model.log_density(u, model.prepare(data))

    rng = np.random.default_rng(0)
    frame = load_dataset("rats")
    for _ in range(3):
        y = rng.binomial(frame.rats, 0.2)
        found = density(as_jax(problem.with_outcome(y)), jnp.array([-1.4, 2.0]))
        m, k = special.expit(-1.4), np.exp(2.0)
        prior = np.log(m * (1 - m)) - 0.5 * 2.0
        assert float(found) == pytest.approx(
            st.betabinom.logpmf(y, frame.rats, m * k, (1 - m) * k).sum() + prior, rel=1e-10
        )
    assert len(traced) == 1


@pytest.mark.parametrize("name", ["beta", "gamma", "three levels", "beta, predictor"])
def test_start_is_near_the_truth(name):
    model, stats, _ = of_menu(name)
    values = model.constrain(model.start(stats))
    assert np.isfinite(model.log_density(model.start(stats), stats))
    if name == "beta":
        assert float(values["mean_experiment"]) == pytest.approx(267 / 1739, rel=0.01)
        assert 8 < float(values["kappa_experiment"]) < 40


# simulation
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_simulated_counts_follow_the_collapsed_law():
    _, _, problem = of_menu("beta")
    known = {"mean_experiment": jnp.array(0.2), "kappa_experiment": jnp.array(5.0)}
    keys = jax.random.split(jax.random.key(0), 1000)
    y, true = jax.jit(jax.vmap(lambda k: simulate(problem.layout, k, as_jax(problem.data), known)))(keys)
    n = load_dataset("rats").rats.to_numpy()
    expected, variance = st.betabinom.stats(n, 1.0, 4.0)
    np.testing.assert_allclose(y.mean(0), expected, atol=5 * np.sqrt(variance.max() / 1000))
    np.testing.assert_allclose(y.var(0), variance, rtol=0.35)
    assert float(true["new(experiment)"].mean()) == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / 6 / 1000))
    assert set(variable_names(problem.layout)) <= set(true)


@pytest.mark.slow
def test_fixed_group_values_are_kept():
    _, _, problem = of_menu("gamma")
    rates = jnp.arange(1.0, 11.0)
    y, true = simulate(problem.layout, jax.random.key(0), as_jax(problem.data), {"theta_pump": rates})
    np.testing.assert_array_equal(true["theta_pump"], rates)
    assert np.isfinite(y).all() and np.isnan(true["mean_pump"]) and np.isnan(true["new(pump)"])


@pytest.mark.slow
def test_three_levels_simulate_down_the_tree():
    _, _, problem = of_menu("three levels")
    known = {"Intercept": 1.0, "sd_state": 0.0, "log_shape": np.log(4.0), "sd_state_log_shape": 0.0}
    known = {k: jnp.asarray(v) for k, v in known.items()}
    keys = jax.random.split(jax.random.key(0), 1500)
    y, true = jax.jit(jax.vmap(lambda k: simulate(problem.layout, k, as_jax(problem.data), known)))(keys)
    x, m = load_dataset("counties").exposure.to_numpy(), np.e
    rows = np.asarray(y)[:, : len(x)]
    np.testing.assert_allclose(rows.mean(0), m * x, rtol=0.12)
    np.testing.assert_allclose(rows.var(0), m * x + (m * x) ** 2 / 4, rtol=0.35)
    assert float(true["new(state:county)"].mean()) == pytest.approx(m, rel=0.08)
    given = jnp.array([0.0, 1.0, 2.0, 3.0])
    true = simulate(problem.layout, jax.random.key(0), as_jax(problem.data), known | {"theta_state": given})[1]
    np.testing.assert_array_equal(true["theta_state"], given)


def test_new_group_draws_match_their_component():
    model, stats, problem = of_menu("gamma")
    u = jnp.log(jnp.array([0.8, 2.0]))
    law = model.components(u, stats, ("new(pump)",))["new(pump)"]
    values = {k: jnp.broadcast_to(v, (4, 5000)) for k, v in model.constrain(u).items()}
    drawn = new_group(problem.layout, values, "pump", jax.random.key(0))
    assert st.kstest(np.asarray(drawn).ravel(), st.gamma(float(law.a), scale=1 / float(law.b)).cdf).pvalue > 1e-4


# what is refused
# ------------------------------------------------------------------------------------------------------------


def test_predictor_within_groups_is_refused():
    frame = pd.DataFrame({"g": ["a", "a", "b", "b"], "y": [1, 2, 0, 3], "n": 5, "x": [0.0, 1.0, 0.0, 1.0]})
    with pytest.raises(ValueError, match=r"predictor 'x' varies within g 'a'.*aggregate it to one value a g"):
        bind(Model("y ~ 1 + x + (1 | g)", family="binomial", trials="n"), frame)


def test_slopes_and_crossed_groups_are_refused():
    frame = pd.DataFrame({"g": list("aabb"), "h": list("cdcd"), "y": [1, 2, 0, 3], "x": [0.0, 1.0, 0.0, 1.0]})
    with pytest.raises(ValueError, match="g: x varies by group, but a beta or gamma population has no slopes"):
        bind(Model("y ~ 1 + (1 + x | g)", family="poisson"), frame)
    with pytest.raises(ValueError, match="h is crossed with g, not nested in it"):
        bind(Model("y ~ 1 + (1 | g) + (1 | h)", family="poisson"), frame)


def test_unpooled_parents_of_pooled_groups_are_refused():
    with pytest.raises(ValueError, match="state is none above state:county, which is partial"):
        bind(COUNTIES, load_dataset("counties"), {"state": "none"})


def test_a_prior_that_no_pooling_uses_is_refused():
    with pytest.raises(ValueError, match="'mean_state:county' does not reach the likelihood"):
        bind(replace(COUNTIES, priors={"mean_state:county": "gamma(1, 1)"}), load_dataset("counties"))
    for pooling in ("partial", "complete", "none"):  # one declaration serves every pooling
        bind(replace(RATS, priors={"experiment": "bda3()"}), load_dataset("rats"), pooling)


POISSON = Model("y ~ 1 + (1 | g)", family="poisson", priors={"g": "bda3()"})


@pytest.mark.parametrize(
    ("y", "priors", "message"),
    [
        ([0, 3, 0], {"g": "bda3()"}, "at least 2 group"),
        ([0, 3, 1], {"g": "bda3()"}, None),
        ([0, 3, 0], {"shape_g": "exponential(1)"}, None),
        ([0, 0, 0], {"shape_g": "exponential(1)", "mean_g": "power(1)"}, "at least 1 group"),
        ([0, 0, 0], {"shape_g": "exponential(1)", "mean_g": "gamma(1, 1)"}, None),
        ([1, 3, 2], {"shape_g": "flat()"}, "complete pooling has positive likelihood"),
        ([1, 3, 2], {"shape_g": "power(1)"}, "complete pooling has positive likelihood"),
        ([1, 3, 2], {"mean_g": "flat()"}, "the mean can grow without bound"),
        ([1, 3, 2], {"mean_g": "flat()", "shape_g": "fixed(2)"}, None),
        ([1, 3, 2], {"shape_g": "reference()"}, "known normal variances"),
    ],
)
def test_propriety_of_gamma_populations(y, priors, message):
    frame = pd.DataFrame({"g": ["a", "b", "c"], "y": y})
    if message is None:
        bind(replace(POISSON, priors=priors), frame)
    else:
        with pytest.raises(ValueError, match=message):
            bind(replace(POISSON, priors=priors), frame)


@pytest.mark.parametrize(
    ("y", "priors", "message"),
    [
        ([0, 0, 5], {"g": "bda3()"}, "at least 1 group"),
        ([0, 2, 5], {"g": "bda3()"}, None),
        ([0, 0, 0], {"kappa_g": "exponential(1)", "mean_g": "beta(0, 0)"}, "every count is zero"),
        ([5, 5, 5], {"kappa_g": "exponential(1)", "mean_g": "beta(0, 0)"}, "every trial succeeded"),
        ([0, 0, 0], {"kappa_g": "exponential(1)"}, None),
        ([0, 2, 5], {"kappa_g": "power(0)"}, "complete pooling has positive likelihood"),
    ],
)
def test_propriety_of_beta_populations(y, priors, message):
    frame = pd.DataFrame({"g": ["a", "b", "c"], "y": y, "n": 5})
    model = Model("y ~ 1 + (1 | g)", family="binomial", trials="n", priors=priors)
    if message is None:
        bind(model, frame)
    else:
        with pytest.raises(ValueError, match=message):
            bind(model, frame)


@pytest.mark.parametrize(
    ("y", "improper"),
    [([0, 0, 5, 5], True), ([0, 1, 5, 5], True), ([0, 1, 4, 5], False), ([5, 0, 0, 5], False)],
)
def test_separation_under_flat_coefficients(y, improper):
    frame = pd.DataFrame({"g": list("abcd"), "y": y, "n": 5, "x": [0.0, 0.0, 1.0, 1.0]})
    model = Model("y ~ 1 + x + (1 | g)", family="binomial", trials="n", priors={"kappa_g": "exponential(0.1)"})
    if improper:
        with pytest.raises(ValueError, match="flat priors of Intercept, x give an improper posterior"):
            bind(model, frame)
    else:
        bind(model, frame)
    bind(replace(model, priors=dict(model.priors) | {"x": "normal(0, 2)", "Intercept": "normal(0, 2)"}), frame)


@pytest.mark.parametrize("y", [[0, 3, 0], [0, 3, 1], [2, 3, 1]])
def test_posterior_near_shape_zero_is_a_power(y):
    """Under a^(-3/2) b^(-1), m integrated, the density of log a falls as a^(K - 3/2): one positive count is not
    enough.
    """
    frame = pd.DataFrame({"g": ["a", "b", "c"], "y": y})
    problem = bind(POISSON, frame, outcome=False)
    model = conjugate(problem.layout)
    stats = model.prepare(as_jax(problem.with_outcome(np.array(y, float))))

    def over_m(log_a):  # the tail in log m falls as exp(-3 a log m)
        log_m = np.r_[np.linspace(-20, 0, 2000, endpoint=False), np.linspace(0, 12, 8001) / np.exp(log_a)]
        u = jnp.stack([jnp.asarray(log_m), jnp.full_like(log_m, log_a)], 1)
        return integrate.trapezoid(jnp.exp(jax.vmap(lambda v: model.log_density(v, stats))(u)), log_m)

    exponent = np.log(over_m(-3.9) / over_m(-3.4)) / -0.5
    assert exponent == pytest.approx(sum(v > 0 for v in y) - 1.5, abs=0.2)


@pytest.mark.parametrize(
    ("model", "frame", "expected"),
    [
        (RATS, "rats", {"kappa_experiment": "mean"}),
        (replace(RATS, priors={"kappa_experiment": "half_normal(50)"}), "rats", {}),
        (replace(RATS, priors={"kappa_experiment": "half_t(2, 50)"}), "rats", {"kappa_experiment": "sd"}),
        (PUMPS, "pumps", {"shape_pump": "mean", "mean_pump": "mean", "new(pump)": "mean"}),
        (replace(PUMPS, priors={"shape_pump": "exponential(1)", "mean_pump": "gamma(1, 1)"}), "pumps", {}),
        (
            replace(PUMPS, priors={"shape_pump": "exponential(1)"}),
            "pumps",
            {"mean_pump": "mean", "new(pump)": "mean"},
        ),
        (replace(COUNTIES, priors=F_PRIORS), "counties", {"new(state:county)": "mean"}),
        (
            replace(COUNTIES, priors=F_PRIORS | {"sd_state": "half_normal(0.6)"}),
            "counties",
            {"new(state:county)": "sd"},
        ),
        (replace(COUNTIES, priors=F_PRIORS | {"sd_state": "uniform(0, 2)"}), "counties", {}),
    ],
)
def test_moments_that_do_not_exist(model, frame, expected):
    assert bind(model, load_dataset(frame)).missing_moments == expected


def test_mean_of_a_gamma_population_has_no_mean_under_one_over_m():
    """p(m | a, y) falls as m^(-aJ - 1): at a = 0.05 and ten pumps E[m] grows with the cut-off without end."""
    model, stats, _ = of_menu("gamma")

    def mean_below(cut):
        log_m = jnp.linspace(-10, cut, 20_001)
        u = jnp.stack([log_m, jnp.full_like(log_m, np.log(0.05))], 1)
        w = jax.vmap(lambda v: model.log_likelihood(v, stats))(u)
        w = jnp.exp(w - w.max())
        return integrate.trapezoid(np.exp(log_m) * w, log_m) / integrate.trapezoid(w, log_m)

    assert mean_below(60.0) > 1e3 * mean_below(30.0)


def test_design_without_outcome_keeps_its_bound():
    frame = load_dataset("rats").drop(columns="tumors")
    layout = bind(RATS, frame, outcome=False).layout
    assert layout == bind(RATS, load_dataset("rats")).layout
    assert layout.count_bound == 64


def test_padding_changes_nothing():
    frame = load_dataset("counties")
    found = []
    for pad in (True, False):
        model, stats, _ = meet(replace(COUNTIES, priors=F_PRIORS), frame, pad=pad)
        value, slope = jax.value_and_grad(model.log_density)(jnp.linspace(-0.5, 0.5, model.dim), stats)
        found.append((float(value), np.asarray(slope)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-9)


def test_statistics_are_arrays_only():
    _, stats, _ = of_menu("three levels")
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(stats))
    assert eqx.is_array(stats.total)
