"""Published and recomputed targets: eight schools under seven hyperpriors, baseball, the three-level data.

Numbers are quadrature refined until the printed digits stood still. The tolerances of the exact engine stand beside each assertion
(means and sds of group effects to 0.005, about 1e-3 posterior sd; tau to 2e-3 of its sd); NUTS must be within four of its own Monte
Carlo standard errors. `test_exact.py` holds the engine to 1e-3 posterior sd against dense sums.
"""

from __future__ import annotations

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.samplers import Settings, estimator
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import as_jax, bind

# prior: (E tau, sd), (q2.5, q50, q97.5 of tau), (mean, sd of mu), theta means A..H, theta sds A..H
EIGHT_SCHOOLS = {
    "flat()": ((6.57548, 5.65038), (0.2427, 5.2385, 20.7525), (7.93238, 5.17839),
               (11.4003, 7.8946, 6.1307, 7.6447, 5.1264, 6.1385, 10.6670, 8.4568), (8.3414, 6.2748, 7.7652, 6.5463, 6.3574, 6.7103, 6.7856, 7.8882)),
    "flat_variance()": ((11.4309, 7.9137), (1.7982, 9.7682, 31.0203), (8.12501, 6.50129),
                        (14.6446, 8.0013, 4.6311, 7.5644, 3.3454, 4.9111, 12.7776, 9.1247), (10.4508, 7.4785, 9.9416, 7.9250, 7.3273, 8.0898, 7.9236, 10.2543)),
    "half_cauchy(5)": ((3.63387, 3.26256), (0.1242, 2.7742, 12.0623), (7.80302, 4.46503),
                       (9.3328, 7.8060, 7.0413, 7.6841, 6.3888, 6.9599, 9.1802, 8.0310), (6.2086, 5.2769, 5.9289, 5.4074, 5.3374, 5.4865, 5.5603, 5.9805)),
    "half_cauchy(25)": ((5.89774, 4.86399), (0.2219, 4.7837, 18.0326), (7.90549, 4.96204),
                        (10.9408, 7.8807, 6.3456, 7.6568, 5.3708, 6.3102, 10.3767, 8.3623), (7.8730, 6.0898, 7.3753, 6.3308, 6.1652, 6.4737, 6.5504, 7.4835)),
    "half_normal(5)": ((3.31006, 2.50201), (0.1303, 2.8001, 9.3055), (7.78687, 4.36373),
                       (9.0601, 7.7977, 7.1660, 7.6914, 6.5362, 7.0641, 9.0041, 7.9754), (5.7739, 5.1435, 5.6212, 5.2495, 5.1596, 5.2974, 5.3337, 5.6695)),
    "uniform(0, 20)": ((6.00244, 4.48414), (0.2357, 5.0614, 16.8713), (7.91431, 4.93544),
                       (11.0632, 7.8892, 6.3009, 7.6562, 5.2747, 6.2537, 10.4894, 8.3871), (7.9097, 6.1594, 7.4469, 6.4070, 6.2204, 6.5445, 6.6114, 7.5669)),
    "half_cauchy(5), Intercept normal(0, 5)": ((3.59771, 3.21996), (0.1231, 2.7487, 11.932), (4.39682, 3.31770),
                       (6.2119, 4.9402, 3.9270, 4.7571, 3.6155, 4.0426, 6.2967, 4.8543), (5.5931, 4.6743, 5.2626, 4.7803, 4.6575, 4.8269, 5.0778, 5.2908)),
}  # fmt: skip

# sigma = 0.066, flat prior on tau^2: player by order, (mean, sd, q2.5, q50, q97.5)
BASEBALL = {
    0: (0.30911, 0.04671, 0.23214, 0.30358, 0.41342),
    7: (0.26583, 0.03971, 0.18552, 0.26577, 0.34644),
    17: (0.22977, 0.04450, 0.13079, 0.23466, 0.30521),
}

SCORES_B = {  # kappa, tau, sigma ~ half-normal(10), flat lambda: (mean, sd)
    "Intercept": (47.1940, 2.7634),
    "sd_school": (3.2487, 2.8877),
    "sd_school:classroom": (2.4286, 2.0239),
    "sigma": (5.1385, 1.0336),
    "theta_school": ((46.0751, 48.7217, 46.7468, 47.2325), (2.5646, 2.3599, 2.8523, 2.4898)),
    "theta_school:classroom": (
        (45.6371, 45.3510, 50.8379, 48.4492, 48.5336, 46.3480, 47.8239, 46.5465),
        (2.3334, 2.5961, 3.6740, 2.0818, 2.4585, 2.4396, 2.5940, 2.5757),
    ),
}


def estimates(model: hm.Model, frame: pd.DataFrame, names: list[str], **settings) -> dict[str, dict[str, np.ndarray]]:
    """Mean, sd, quantiles and effective sizes of some variables, real groups only."""
    problem = bind(model, frame)
    targets = tuple(Target(name) for name in names)
    with jax.enable_x64(True):
        run = jax.jit(estimator(problem.layout, Settings(**settings), targets, Interval()))
        size = sum(next((v.size for v in problem.layout.levels if n in problem.layout.effect_names(v)), 1) for n in names)
        found = run(jax.random.key(20261121), as_jax(problem.data), jnp.full(size, jnp.nan))
    out, start = {}, 0
    for name in names:
        level = next((v for v in problem.layout.levels if name in problem.layout.effect_names(v)), None)
        take = start + (problem.positions[level.name] if level else np.zeros(1, int))
        start += level.size if level else 1
        out[name] = {k: np.asarray(getattr(found, k))[take] for k in ("estimate", "median", "se", "lower", "upper", "ess_bulk", "ess_tail")}
    return out


@lru_cache
def eight_schools(prior: str, sampler: str) -> dict[str, dict[str, np.ndarray]]:
    on_sd, _, on_mean = prior.partition(", Intercept ")
    priors = {"sd_school": on_sd} | ({"Intercept": on_mean} if on_mean else {})
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors=priors)
    names = ["sd_school", "Intercept", "theta_school"]
    return estimates(model, hm.load_dataset("eight_schools"), names, sampler=sampler, draws=2500)


def digits(value: float, decimals: int) -> float:
    """One unit in the last printed digit, or 5e-4 relative, whichever is larger."""
    return max(10.0**-decimals, 5e-4 * abs(value))


@pytest.mark.parametrize("prior", EIGHT_SCHOOLS)
def test_exact_eight_schools(prior):
    (mean, sd), tau, mu, thetas, spreads = EIGHT_SCHOOLS[prior]
    found = eight_schools(prior, "exact")
    got = found["sd_school"]
    # heavy tails: the sd of tau itself is the hardest number
    assert got["estimate"][0] == pytest.approx(mean, abs=2e-3 * sd)
    assert got["se"][0] == pytest.approx(sd, rel=5e-3)
    for name, value in zip(("lower", "median", "upper"), tau, strict=True):
        assert got[name][0] == pytest.approx(value, abs=2e-3 * sd), name
    assert found["Intercept"]["estimate"][0] == pytest.approx(mu[0], abs=digits(mu[0], 4))
    assert found["Intercept"]["se"][0] == pytest.approx(mu[1], abs=digits(mu[1], 3))
    assert found["theta_school"]["estimate"] == pytest.approx(np.array(thetas), abs=5e-3)
    assert found["theta_school"]["se"] == pytest.approx(np.array(spreads), abs=5e-3)


@pytest.mark.parametrize("prior", ["flat()", "flat_variance()", "half_cauchy(5)", "half_normal(5)", "uniform(0, 20)"])
def test_nuts_eight_schools(prior):
    (mean, sd), _, mu, thetas, spreads = EIGHT_SCHOOLS[prior]
    found = eight_schools(prior, "nuts")
    for name, centre, spread in (("sd_school", mean, sd), ("Intercept", *mu), ("theta_school", thetas, spreads)):
        mcse = np.array(spread) / np.sqrt(found[name]["ess_bulk"])
        assert (np.abs(found[name]["estimate"] - np.array(centre)) < 4 * mcse).all(), name


@pytest.mark.parametrize("sampler", ["exact", "nuts"])
def test_baseball(sampler):
    frame = hm.load_dataset("baseball").assign(error=0.066)
    model = hm.Model("avg ~ 1 + (1 | player)", known_se="error", priors={"sd_player": "flat_variance()"})
    found = estimates(model, frame, ["theta_player"], sampler=sampler, draws=2500)["theta_player"]
    for player, (mean, sd, low, middle, high) in BASEBALL.items():
        got = {k: v[player] for k, v in found.items()}
        near = 2e-3 * sd + 5e-6 if sampler == "exact" else 4 * sd / np.sqrt(got["ess_bulk"])
        wide = 3e-3 * sd + 5e-6 if sampler == "exact" else 4 * 2.7 * sd / np.sqrt(got["ess_tail"])
        assert got["estimate"] == pytest.approx(mean, abs=near)
        assert got["median"] == pytest.approx(middle, abs=1.3 * near)
        assert got["lower"] == pytest.approx(low, abs=wide)
        assert got["upper"] == pytest.approx(high, abs=wide)


@pytest.mark.parametrize("sampler", ["exact", "nuts"])
def test_three_levels_with_unknown_variances(sampler):
    priors = {"sd_school": "half_normal(10)", "sd_school:classroom": "half_normal(10)", "sigma": "half_normal(10)"}
    model = hm.Model("score ~ 1 + (1 | school/classroom)", priors=priors)
    found = estimates(model, hm.load_dataset("scores"), list(SCORES_B), sampler=sampler, draws=2500)
    for name, (mean, sd) in SCORES_B.items():
        mean, sd = np.atleast_1d(mean), np.atleast_1d(sd)
        tolerance = 3e-3 * sd if sampler == "exact" else 4 * sd / np.sqrt(found[name]["ess_bulk"])
        assert (np.abs(found[name]["estimate"] - mean) < tolerance).all(), name
        assert found[name]["se"] == pytest.approx(sd, rel=5e-3 if sampler == "exact" else 0.1), name
