"""Exponents with a power of the logarithm: what is integrable at either end, and what follows for posteriors."""

import copy
import itertools
import math
import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import integrate

import hiermodels as hm
from hiermodels.models.data import bind
from hiermodels.models.propriety import has_moment
from hiermodels.priors.exponents import Exponent, integrable_at_infinity, integrable_at_zero


@pytest.mark.parametrize(("power", "log"), list(itertools.product((-2.0, -1.0, -0.5), (-3.0, -1.0, 0.0, 1.0))))
def test_integrable_is_what_the_integral_says(power, log):
    """With u = log x the integral of x^e (log x)^l from e on is that of exp((e + 1) u) u^l from 1 on."""
    mass = [
        integrate.quad(lambda u: math.exp((power + 1) * u) * u**log, 1, end, limit=500)[0]
        for end in (1e2, 1e4 if power == -1 else 2e2)
    ]
    assert integrable_at_infinity(Exponent(power, log)) == (mass[1] < 1.05 * mass[0])
    mirrored = Exponent(-power - 2, log)  # x to 1 / x
    assert integrable_at_zero(mirrored) == integrable_at_infinity(Exponent(power, log))


def test_an_exponent_is_a_number_that_keeps_its_logarithm():
    e = Exponent(-1, log=-5)
    assert e == -1 and float(e + 3) == 2
    for moved in (e + 1, 1 + e, e - 2, sum([e, 1.0]), copy.copy(e), pickle.loads(pickle.dumps(e))):
        assert moved.log == -5
    assert (e + e).log == -10 and (e + 0.5).log == -5
    assert integrable_at_infinity(-1.5) and not integrable_at_infinity(-1) and integrable_at_infinity(-math.inf)
    assert integrable_at_zero(0) and not integrable_at_zero(-1) and integrable_at_zero(math.inf)


SCHOOLS = hm.load_dataset("eight_schools")


@pytest.mark.parametrize(("groups", "lost"), [(2, "sd"), (3, "")])
def test_moments_of_an_sd_under_a_tail_of_logarithms(groups, lost):
    """p(sd | y) ~ sd^-1 (log sd)^-(df + 1) sd^-(J - 1): E[sd^r] exists for r <= J - 1, the edge included, which
    without the logarithm is not integrable.
    """
    model = hm.Model(
        "effect ~ 1 + (1 | school)",
        known_se="se",
        priors={"sd_school": "log_student_t(4, 1, 1)", "Intercept": "flat()"},
    )
    problem = bind(model, SCHOOLS.iloc[:groups])
    assert problem.missing_moments.get("sd_school", "") == lost
    assert [has_moment(problem.layout, problem.data, "sd_school", r) for r in (groups - 1, groups - 0.9)] == [
        True,
        False,
    ]


def test_one_group_and_a_proper_prior_are_a_proper_posterior():
    """The posterior of sd is then its prior, whose integral converges by its logarithm alone."""
    model = hm.Model("y ~ 1 + (1 | g)", known_se="se", priors={"sd_g": "log_student_t(4, 1, 1)", "Intercept": "flat()"})
    problem = bind(model, pd.DataFrame({"y": [1.0], "se": [1.0], "g": ["a"]}))
    assert problem.missing_moments["sd_g"] == "mean"


def posterior_of_sd(frame, prior):
    """Grid over log sd of p(sd | y) with a flat mean, by the marginal likelihood written out."""
    u = np.linspace(-40, 30, 700_001)
    y, v = frame["effect"].to_numpy(float), frame["se"].to_numpy(float) ** 2
    log = np.empty_like(u)
    for block in np.array_split(np.arange(len(u)), 50):
        w = 1 / (v + np.exp(2 * u[block])[:, None])
        mean = (w * y).sum(1) / w.sum(1)
        log[block] = 0.5 * np.log(w).sum(1) - 0.5 * np.log(w.sum(1)) - 0.5 * (w * (y - mean[:, None]) ** 2).sum(1)
    df, loc, scale = prior
    log -= (df + 1) / 2 * np.log1p(((u - loc) / scale) ** 2 / df)
    weight = np.exp(log - log.max())
    return u, np.cumsum(weight) / weight.sum()


@pytest.mark.parametrize("sampler", ["exact", pytest.param("nuts", marks=pytest.mark.slow)])
def test_eight_schools_against_quadrature(sampler):
    prior = (4, 1.5, 0.7)
    model = hm.Model(
        "effect ~ 1 + (1 | school)",
        known_se="se",
        priors={"sd_school": "log_student_t(4, 1.5, 0.7)", "Intercept": "flat()"},
    )
    fit = hm.fit(model, SCHOOLS, sampler=sampler, draws=5000, progress=False)
    assert fit.status == "ok" and fit.draws.independent == (sampler == "exact")
    assert (
        "log_student_t(4, 1.5, 0.7)" in str(fit)
        and r"\mathrm{log\mbox{-}t}" in fit.latex()
        and "ExpTransform()" in fit.code()
    )
    u, cdf = posterior_of_sd(SCHOOLS, prior)
    draws = np.log(fit.draws.values["sd_school"])
    size = draws.size if sampler == "exact" else float(fit.summary("sd_school")["ess_tail"].iloc[0])
    for p in (0.01, 0.1, 0.5, 0.9, 0.99):
        share = float((draws <= np.interp(p, cdf, u)).mean())
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / size), (p, share)
