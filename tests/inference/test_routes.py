"""Three routes to one posterior agree: NUTS on everything, the exact engine or Gibbs sampling, and quadrature of our
own.

For every model of the table: shipped data and three random outcomes on the same design. The reference (`routes`) is
dense quadrature, or importance sampling with its standard error, and shares no code with the library. Chains must be
within four of their Monte Carlo standard errors (and the reference's, where it has any), the exact engine within 5e-3
posterior sds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from routes import Route, count_quadrature, importance, normal_quadrature
from scipy import special, stats

import hiermodels as hm
from hiermodels.inference.draws import STATUS
from hiermodels.models.data import bind

SCHOOLS, SCORES = hm.load_dataset("eight_schools"), hm.load_dataset("scores")
INDIVIDUALS = hm.load_dataset("individuals").query("id <= 8").reset_index(drop=True)
BASEBALL = hm.load_dataset("baseball").assign(error=0.066)
CROSSED = pd.DataFrame(list(itertools.product("abcde", "uvwx")), columns=["a", "b"]).assign(
    y=np.random.default_rng(8).normal(0, 2, 20)
)


def half_normal(scale):
    return lambda x: stats.halfnorm.logpdf(x, scale=scale)


def half_cauchy(scale):
    return lambda x: stats.halfcauchy.logpdf(x, scale=scale)


@dataclass(frozen=True)
class Normal:
    """A normal hierarchy: the declaration, and the same in the words of `routes.normal_quadrature`."""

    model: hm.Model
    frame: pd.DataFrame
    scales: dict
    terms: list
    settings: dict = field(default_factory=dict)
    truth: dict = field(default_factory=dict)
    routes: tuple = ("explicit", "exact", "gibbs")

    def names(self):
        found = [n for n in self.scales if not n.startswith("cor_")]
        thetas = [f"theta_{g}" + ("" if c == "Intercept" else f"_{c}") for g, _, columns in self.terms for c in columns]
        return [*found, *self.settings.get("population", ("Intercept",)), *thetas]

    def reference(self, y):
        return {
            n: v
            for n, v in normal_quadrature(self.frame, y, self.scales, self.terms, **self.settings).items()
            if n in self.names()
        }

    def simulate(self, rng):
        frame, y = self.frame, np.zeros(len(self.frame))
        column = lambda c: np.ones(len(frame)) if c == "Intercept" else frame[c].to_numpy()  # noqa: E731
        for c in self.settings.get("population", ("Intercept",)):
            y += self.truth[c] * column(c)
        for label, factors, columns in self.terms:
            codes, groups = pd.factorize(frame[list(factors)].astype(str).agg(":".join, axis=1))
            for c in columns:
                sd = self.truth["sd_" + label + ("" if c == "Intercept" else f"_{c}")]
                y += sd * rng.normal(size=len(groups))[codes] * column(c)
        se = self.settings.get("se")
        return y + (frame[se].to_numpy() if se else self.truth["sigma"]) * rng.normal(size=len(frame))


SLOPES = {"sd_id": (half_normal(2), 1.0), "sd_id_x": (half_normal(2), 1.0), "sigma": (half_normal(4), 2.0)}
SLOPE_TRUTH = {"Intercept": 2, "x": -2, "sd_id": 1, "sd_id_x": 1, "sigma": 2}
OF_ID = {"sd_id": "half_normal(2)", "sd_id_x": "half_normal(2)", "sigma": "half_normal(4)"}

NORMAL = {
    "two levels, known variances": Normal(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_cauchy(5)"}), SCHOOLS,
        {"sd_school": (half_cauchy(5), 5.0)}, [("school", ["school"], ["Intercept"])], {"se": "se", "count": 400},
        {"Intercept": 8, "sd_school": 10},
    ),
    "two levels, one known variance": Normal(
        hm.Model("avg ~ 1 + (1 | player)", known_se="error", priors={"sd_player": "flat_variance()"}), BASEBALL,
        {"sd_player": (np.log, 0.05)}, [("player", ["player"], ["Intercept"])], {"se": "error", "count": 400},
        {"Intercept": 0.27, "sd_player": 0.04}, ("explicit", "exact", "gibbs", "closed_form"),
    ),
    "two levels, unknown variance": Normal(
        hm.Model("score ~ 1 + (1 | school)", priors={"sd_school": "half_normal(6)", "sigma": "half_normal(9)"}), SCORES,
        {"sd_school": (half_normal(6), 3.0), "sigma": (half_normal(9), 5.0)}, [("school", ["school"], ["Intercept"])], {"count": 80},
        {"Intercept": 47, "sd_school": 3, "sigma": 5},
    ),
    "three levels": Normal(
        hm.Model("score ~ 1 + (1 | school/classroom)", priors=dict.fromkeys(("sd_school", "sd_school:classroom", "sigma"), "half_normal(10)")),
        SCORES, {n: (half_normal(10), s) for n, s in (("sd_school", 3.0), ("sd_school:classroom", 3.0), ("sigma", 5.0))},
        [("school", ["school"], ["Intercept"]), ("school:classroom", ["school", "classroom"], ["Intercept"])], {"count": 36},
        {"Intercept": 47, "sd_school": 3, "sd_school:classroom": 2.5, "sigma": 5},
    ),
    "varying slopes": Normal(
        hm.Model("y ~ 1 + x + (1 + x || id)", priors={**OF_ID, "Intercept": "normal(0, 3)", "x": "normal(0, 3)"}), INDIVIDUALS, SLOPES,
        [("id", ["id"], ["Intercept", "x"])], {"population": ("Intercept", "x"), "normal": {"Intercept": (0, 3), "x": (0, 3)}, "count": 32},
        SLOPE_TRUTH,
    ),
    "varying slopes, correlated": Normal(
        hm.Model("y ~ 1 + x + (1 + x | id)", priors=OF_ID), INDIVIDUALS, {**SLOPES, "cor_id": (lambda r: np.zeros_like(r), None)},
        [("id", ["id"], ["Intercept", "x"])], {"population": ("Intercept", "x"), "count": {"sd_id": 24, "sd_id_x": 24, "sigma": 32, "cor_id": 10}}, SLOPE_TRUTH,
    ),
    "crossed": Normal(
        hm.Model("y ~ 1 + (1 | a) + (1 | b)", priors={"sd_a": "half_normal(3)", "sd_b": "half_normal(3)", "sigma": "half_normal(4)"}), CROSSED,
        {"sd_b": (half_normal(3), 1.5), "sd_a": (half_normal(3), 1.5), "sigma": (half_normal(4), 2.0)},
        [("b", ["b"], ["Intercept"]), ("a", ["a"], ["Intercept"])], {"count": 36},
        {"Intercept": 1, "sd_a": 1.5, "sd_b": 1, "sigma": 1}, ("explicit",),
    ),
}  # fmt: skip

ROUTES = {
    # short steps: at the default acceptance the explicit chains miss small sds, as their divergences say
    "explicit": {"sampler": "nuts", "marginalize": False, "draws": 5000, "tune": 2000, "target_accept": 0.99},
    "marginalised": {"sampler": "nuts", "draws": 2500},
    "exact": {"sampler": "exact"},
    "gibbs": {"sampler": "gibbs", "draws": 6000},
    "closed_form": {"sampler": "closed_form", "draws": 2500},
}


def agree(found, reference, route, where, error=None):
    """Means within four standard errors; sds, where the reference has them, within six relative ones."""
    for name, (mean, sd) in reference.items():
        got = found[name]
        mean, spread = np.atleast_1d(mean), got["se"]
        own = 0.0 if error is None else error[name]
        size = np.where(np.isnan(got["ess_bulk"]), 10_000.0, got["ess_bulk"])
        assert (size > 350).all(), (where, name, size.min())
        near = 5e-3 * spread if route == "exact" else 4 * np.sqrt(spread**2 / size + own**2)
        off = np.abs(got["estimate"] - mean)
        assert (off <= near).all(), (where, name, float(np.max(off / near)))
        if sd is not None:
            tolerance = 0.01 if route == "exact" else 8 / math.sqrt(2 * size.min())
            np.testing.assert_allclose(spread, np.atleast_1d(sd), rtol=tolerance, err_msg=f"{where} {name}")


def settled(run, y, seed):
    """A run that says of itself that draws diverged (a chain stuck in a corner, say) is drawn once more; the second
    one counts.
    """
    found = run(y, seed)
    diverged = any((v["status"] == STATUS.index("divergent")).any() for v in found.values())
    return run(y, seed + 100) if diverged else found


def outcomes(case, name):
    """Shipped data first, then three random ones."""
    yield "shipped", case.frame[case.model.outcome].to_numpy(float)
    for seed in (1, 2, 3):
        yield f"random {seed}", case.simulate(np.random.default_rng([seed, len(name)]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMAL)
def test_normal_hierarchies(name):
    case = NORMAL[name]
    problem = bind(case.model, case.frame)
    routes = {r: Route(problem, case.names(), **ROUTES[r]) for r in case.routes}
    for seed, (where, y) in enumerate(outcomes(case, name)):
        reference = case.reference(y)
        for route, run in routes.items():
            agree(settled(run, y, seed), reference, route, f"{route}, {where}")


def test_quadrature_has_converged():
    """The reference itself: a coarser grid says the same within 1e-3 sds."""
    case = NORMAL["two levels, unknown variance"]
    y = case.frame["score"].to_numpy()
    fine = case.reference(y)
    coarse = normal_quadrature(case.frame, y, case.scales, case.terms, count=56)
    for n, (mean, sd) in fine.items():
        np.testing.assert_allclose(coarse[n][0], mean, atol=1e-3 * (sd or 2.0))


@pytest.mark.slow
def test_gibbs_and_quadrature_on_eight_schools():
    """The quick one of the table: Gibbs against dense sums."""
    case = NORMAL["two levels, known variances"]
    run = Route(bind(case.model, case.frame), case.names(), **ROUTES["gibbs"])
    y = case.frame["effect"].to_numpy()
    agree(run(y), case.reference(y), "gibbs", "shipped")


# one level
# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_level():
    from hiermodels.inference import closed_form as laws

    y = np.array([9.2, 10.1, 8.7, 11.4, 10.6, 9.9])
    model = hm.Model("y ~ 1", priors={"Intercept": "scaled_normal(8, 1.5)", "sigma": "inverse_gamma_variance(3, 2)"})
    problem = bind(model, pd.DataFrame({"y": y}))
    routes = {
        r: Route(problem, ["Intercept", "sigma"], **ROUTES[r])
        for r in ("explicit", "marginalised", "exact", "gibbs", "closed_form")
    }
    rng = np.random.default_rng(0)
    for seed, data in enumerate([y, *(rng.normal(9, 1.5, 6) for _ in range(3))]):
        law = laws.normal_inverse_gamma(data, 8, 1.5, 3, 2)
        mean = math.sqrt(law.scale) * math.exp(special.gammaln(law.shape - 0.5) - special.gammaln(law.shape))
        reference = {
            "Intercept": (law.theta.mean(), law.theta.std()),
            "sigma": (mean, math.sqrt(law.variance.mean() - mean**2)),
        }
        for route, run in routes.items():
            agree(settled(run, data, seed), reference, route, f"{route}, {seed}")


# counts
# -----------------------------------------------------------------------------------------------------------------------

COUNTS = {
    "beta-binomial": (
        hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors={"kappa_experiment": "gamma(2, 0.1)"}),
        hm.load_dataset("rats"), "rats", (1.0, 15.0), lambda m, c: stats.gamma.logpdf(c, 2, scale=10),
    ),
    "gamma-Poisson": (
        hm.Model("failures ~ 1 + (1 | pump)", family="poisson", exposure="hours",
                 priors={"shape_pump": "exponential(1)", "mean_pump": "gamma(1, 1)"}),
        hm.load_dataset("pumps"), "hours", (1.0, 1.0), lambda m, c: -c - m,
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    model, frame, size, scale, log_prior = COUNTS[name]
    problem = bind(model, frame)
    names = [*(p.name for p in problem.layout.parameters), *problem.layout.effect_names(problem.layout.levels[0])]
    routes = {r: Route(problem, names, **ROUTES[r]) for r in ("explicit", "exact", "gibbs")}
    n, rng = frame[size].to_numpy(float), np.random.default_rng(5)
    if model.family == "binomial":
        random = [rng.binomial(n.astype(int), rng.beta(2, 10, len(n))) for _ in range(3)]
    else:
        random = [rng.poisson(n * rng.gamma(1.2, 0.6, len(n))) for _ in range(3)]
    for seed, y in enumerate([frame[model.outcome].to_numpy(), *random]):
        found = count_quadrature(y, n, model.family, log_prior, scale)
        reference = dict(zip(names, (found["mean"], found["concentration"], found["theta"]), strict=True))
        for route, run in routes.items():
            agree(settled(run, y, seed), reference, route, f"{route}, {seed}")


def county_density(y, x, state, priors):
    """Log joint density of counties in states with the county rates summed out, NumPy only; columns mu, log om, al,
    log et, z, w.
    """
    om_scale, mu_sd, al_law, et_scale = priors
    states = state.max() + 1

    @np.errstate(all="ignore")
    def log_density(v):
        mu, om, al, et = v[:, 0], np.exp(v[:, 1]), v[:, 2], np.exp(v[:, 3])
        z, w = v[:, 4 : 4 + states], v[:, 4 + states :]
        m, a = np.exp(mu[:, None] + om[:, None] * z)[:, state], np.exp(al[:, None] + et[:, None] * w)[:, state]
        # a difference of log-gammas is noise where a is huge, and one such draw would carry the whole weight
        rising = sum(np.where(k < y, np.log((a + k) / (a + m * x)), 0.0) for k in range(int(y.max())))
        log_p = rising - a * np.log1p(m * x / a) + y * np.log(m)
        log_p = np.where(np.isfinite(log_p), log_p, -np.inf)
        out = (
            log_p.sum(1)
            - 0.5 * (z**2).sum(1)
            - 0.5 * (w**2).sum(1)
            - 0.5 * (mu / mu_sd) ** 2
            - 0.5 * ((al - al_law[0]) / al_law[1]) ** 2
        )
        return out - 0.5 * (om / om_scale) ** 2 + v[:, 1] - 0.5 * (et / et_scale) ** 2 + v[:, 3]

    return log_density


@pytest.mark.slow
def test_counties_in_states():
    """Twelve unknowns: the reference is importance sampling, whose standard error joins the chains'."""
    priors = {
        "Intercept": "normal(0, 1.5)", "sd_state": "half_normal(1)", "log_shape": "normal(1, 1)", "sd_state_log_shape": "half_normal(0.5)",
    }  # fmt: skip
    frame = hm.load_dataset("counties")
    model = hm.Model("deaths ~ 1 + (1 | state/county)", family="poisson", exposure="exposure", priors=priors)
    problem = bind(model, frame)
    names = ["Intercept", "sd_state", "log_shape", "sd_state_log_shape", "theta_state", "theta_state:county"]
    routes = {r: Route(problem, names, **ROUTES[r]) for r in ("explicit", "marginalised", "gibbs")}
    x, state = frame["exposure"].to_numpy(), pd.factorize(frame["state"])[0]
    rng = np.random.default_rng(9)
    random = [rng.poisson(x * rng.gamma(4, np.exp(rng.normal(0.9, 0.4, 4))[state] / 4)) for _ in range(3)]
    for seed, y in enumerate([frame["deaths"].to_numpy(), *random]):
        start = np.r_[math.log(max(y.sum(), 1) / x.sum()), -1.0, 1.5, -1.2, np.zeros(8)]
        density = county_density(y, x, state, (1.0, 1.5, (1.0, 1.0), 0.5))
        v, w = importance(density, start, np.r_[0.4, 0.9, 0.8, 0.9, np.full(8, 0.9)], draws=400_000, seed=seed)
        v, w = v[w > 0], w[w > 0]  # where a is not a number any more the weight is zero
        mu, om, al, et = v[:, 0], np.exp(v[:, 1]), v[:, 2], np.exp(v[:, 3])
        log_m, a = mu[:, None] + om[:, None] * v[:, 4:8], np.exp(al[:, None] + et[:, None] * v[:, 8:])
        county = (a[:, state] + y) / (a[:, state] * np.exp(-log_m[:, state]) + x)
        of = dict(zip(names, (mu, om, al, et, log_m, county), strict=True))
        reference = {n: (w @ value, None) for n, value in of.items()}
        # standard error of a self-normalised average
        error = {n: np.sqrt(np.square(w) @ (value - reference[n][0]) ** 2) for n, value in of.items()}
        for route, run in routes.items():
            agree(settled(run, y, seed), reference, route, f"{route}, {seed}", error)
