"""Coordinates of chains: their Jacobian, their tails, and what they are for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.chain_coordinates import bent
from hiermodels.models.data import as_jax, bind
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise

DYESTUFF2 = pd.DataFrame({
    "y": [7.298, 3.846, 2.434, 9.566, 7.990, 5.220, 6.556, 0.608, 11.788, -0.892, 0.110, 10.386, 13.434, 5.510, 8.166,
          2.212, 4.852, 7.092, 9.288, 4.980, 0.282, 9.014, 4.458, 9.446, 7.198, 1.722, 4.782, 8.106, 0.758, 3.758],
    "batch": np.repeat(list("ABCDEF"), 5), "half": np.tile(list("ab"), 15), "x": np.tile([1.0, -2, 3, 0, 5], 6), "se": np.tile([1.0, 2, 4], 10),
})  # fmt: skip
"""Box and Tiao (1973), simulated: hardly any variance between batches."""
COUNTS = pd.DataFrame(
    {"k": [3, 0, 7, 4, 1, 12], "n": 20, "e": [1.0, 2, 3, 4, 5, 6], "g": list("abcdef"), "s": list("xxxyyy")}
)
STATES = pd.DataFrame({
    "k": np.repeat(np.geomspace(2, 900, 8).astype(int), 2), "e": 5.0, "g": np.arange(16).astype(str), "s": np.repeat(list("abcdefgh"), 2),
})  # fmt: skip
NORMAL = pd.DataFrame({"y": [1.0, 4, 2, 8, -3, 5, 0, 2], "g": list("aabbccdd")})
CASES = {
    "sigma": (hm.Model("y ~ 1"), NORMAL),
    "sigma and a group sd": (hm.Model("y ~ 1 + (1 | g)"), NORMAL),
    "sigma of single rows": (
        hm.Model("y ~ 1 + (1 | g)", priors={"Intercept": "normal(0, 5)", "sigma": "half_normal(3)", "sd_g": "half_normal(3)"}),
        NORMAL.iloc[::2],
    ),
    "light mean and shape": (
        hm.Model("k ~ 1 + (1 | g)", "poisson", exposure="e", priors={"mean_g": "gamma(2, 1)", "shape_g": "exponential(0.1)"}), COUNTS,
    ),
    "coefficient of variation": (hm.Model("k ~ 1 + (1 | g)", "binomial", trials="n"), COUNTS),
    "groups of rates": (hm.Model("k ~ 1 + (1 | s/g)", "poisson", exposure="e", priors={"Intercept": "normal(0, 2)"}), COUNTS),
    "groups with a fixed spread": (
        hm.Model("k ~ 1 + (1 | s/g)", "poisson", exposure="e", priors={
            "Intercept": "normal(0, 2)", "log_shape": "fixed(1)", "sd_s_log_shape": "fixed(0.5)", "sd_s": "fixed(0.8)",
        }), STATES,
    ),
    "groups of rates that differ": (hm.Model("k ~ 1 + (1 | s/g)", "poisson", exposure="e", priors={"Intercept": "normal(0, 2)"}), STATES),
    "groups around a fixed mean": (
        hm.Model("k ~ 1 + (1 | s/g)", "poisson", exposure="e", priors={"Intercept": "fixed(0.5)"}), STATES,
    ),
    "groups of probabilities": (hm.Model("k ~ 1 + (1 | s/g)", "binomial", trials="n", priors={"Intercept": "normal(0, 2)"}), COUNTS),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def met(case):
    model, frame = CASES[case]
    problem = bind(model, frame)
    factorised = factorise(problem.layout)
    return factorised, factorised.prepare(as_jax(problem.data))


@pytest.mark.parametrize("case", CASES)
def test_the_log_jacobian_is_that_of_the_map(case):
    model, stats = met(case)
    unbend, start = bent(model, stats)
    assert start.shape == (model.dim,)
    assert np.isfinite(unbend(start)[0]).all()
    rng = np.random.default_rng(0)
    jacobian = jax.jit(jax.jacfwd(lambda q: unbend(q)[0]))
    assert np.linalg.matrix_rank(jacobian(start)) == model.dim
    near = [start + jnp.asarray(scale * rng.normal(size=model.dim)) for scale in (0.5, 3.0)]
    for q in [*near, start - 20.0, start + 20.0]:
        np.testing.assert_allclose(unbend(q)[1], np.linalg.slogdet(jacobian(q))[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", [c for c in CASES if not c.startswith("groups")])
def test_no_coordinate_runs_into_a_cliff(case):
    """Twenty units out in any coordinate the log density has fallen by hundreds at most, not by powers of e."""
    model, stats = met(case)
    unbend, start = bent(model, stats)

    @jax.jit
    def density(q):
        u, log_jacobian = unbend(q)
        return model.log_density(u, stats) + log_jacobian

    for i in range(model.dim):
        for far in (-20.0, 20.0):
            fall = density(start) - density(start.at[i].add(far))
            assert fall < 800, (case, i, far)


def test_one_level_above_counts_is_centred_as_far_as_the_counts_tell():
    """The last unknown keeps its prior; states with many events and a large spread are nearly on their own scale."""
    events = np.repeat(np.geomspace(50, 20000, 12).astype(int), 5)
    frame = pd.DataFrame(
        {"k": events, "e": 100.0, "c": np.arange(60).astype(str), "s": np.repeat(list("abcdefghijkl"), 5)}
    )
    problem = bind(hm.Model("k ~ 1 + (1 | s/c)", "poisson", exposure="e", priors={"Intercept": "normal(0, 5)"}), frame)
    model = factorise(problem.layout)
    stats = model.prepare(as_jax(problem.data))
    unbend, start = bent(model, stats)
    place = [p.name for p in model.parameters].index("sd_s")

    def sd_and_deviation(q):
        u, _ = unbend(q)
        return np.array([jnp.exp(u[place]), jnp.exp(u[place]) * u[len(model.parameters)]])

    q = start.at[len(model.parameters)].set(1.0)
    (sd, before), (wider, after) = sd_and_deviation(q), sd_and_deviation(q.at[place].add(2.0))
    assert wider > 2 * sd
    assert 1 <= after / before < (wider / sd) ** 0.25  # the group's deviation hardly moves with the spread
    alike = frame.assign(k=np.tile([95, 100, 105, 98, 102], 12))
    stats = model.prepare(
        as_jax(
            bind(
                hm.Model("k ~ 1 + (1 | s/c)", "poisson", exposure="e", priors={"Intercept": "normal(0, 5)"}), alike
            ).data
        )
    )
    unbend, start = bent(model, stats)
    q = start.at[len(model.parameters)].set(1.0)
    np.testing.assert_allclose(unbend(q)[0][len(model.parameters)], 1.0)  # no spread to see: standardised as before


EXPLICIT = {
    "rows in batches": hm.Model("y ~ 1 + (1 | batch)", priors={"sd_batch": "half_cauchy(5)"}),
    "bounded sds": hm.Model("y ~ 1 + (1 | batch)", priors={"sd_batch": "uniform(0, 30)", "sigma": "uniform(0, 50)"}),
    "nested, with slopes": hm.Model("y ~ x + (1 + x || batch) + (1 | batch:half)"),
    "crossed, known errors": hm.Model("y ~ 1 + (1 | batch) + (1 | half)", known_se="se"),
    "t errors": hm.Model("y ~ 1 + (1 | batch)", "student_t", priors={"sd_batch": "half_normal(5)"}),
    "a fixed sd": hm.Model("y ~ 1 + (1 | batch/half)", priors={"sd_batch": "fixed(2)"}),
}  # fmt: skip


@pytest.mark.parametrize(
    "case",
    [
        c if c in ("rows in batches", "crossed, known errors") else pytest.param(c, marks=pytest.mark.slow)
        for c in EXPLICIT
    ],
)
def test_explicit_groups_are_as_wide_at_a_large_spread_as_at_a_small_one(case):
    """The Jacobian is that of the map, and along a group's coordinate the log density has a curvature of about one,
    whatever the sds.
    """
    problem = bind(EXPLICIT[case], DYESTUFF2)
    model = Explicit(problem.layout)
    stats = model.prepare(as_jax(problem.data))
    unbend, start = bent(model, stats)
    near = start + 0.3 * np.random.default_rng(0).normal(size=model.dim)
    jacobian = jax.jit(jax.jacfwd(lambda q: unbend(q)[0]))
    np.testing.assert_allclose(unbend(near)[1], np.linalg.slogdet(jacobian(near))[1], rtol=1e-9, atol=1e-9)
    hessian = jax.jit(jax.hessian(lambda q: model.log_density(unbend(q)[0], stats) + unbend(q)[1]))
    sds = [site.start for site in model.sites if site.name.startswith("sd_")]
    groups = np.concatenate([np.arange(site.start, site.stop) for site in model.sites if site.name.startswith("eta_")])
    for far in (-4.0, 20.0):
        curvature = -np.diagonal(hessian(start.at[jnp.array(sds)].add(far)))[groups]
        if case == "t errors":  # redescending: at most that of normal errors
            assert (curvature < 1.5).all(), (far, curvature)
        else:
            np.testing.assert_allclose(curvature, 1.0, rtol=1e-6)


@pytest.mark.parametrize("events", [0, 20])
def test_chains_start_within_reach_of_a_spread_where_outcomes_are_all_alike(events):
    """No event, or nothing else: the prior decides about sd_g, and softplus steps from a start of 1e-16 never come
    near its scale.
    """
    problem = bind(hm.Model("k ~ 1 + (1 | g)", "binomial_logit", trials="n"), COUNTS.assign(k=events))
    model = Explicit(problem.layout)
    start = model.start(model.prepare(as_jax(problem.data)))
    assert 0.05 < np.exp(start[next(site.start for site in model.sites if site.name == "sd_g")]) < 1


@pytest.mark.slow
def test_explicit_chains_reach_the_tail_of_a_spread_that_may_be_zero():
    model = hm.Model(
        "y ~ 1 + (1 | batch)",
        priors={"Intercept": "normal(0, 20)", "sd_batch": "half_cauchy(5)", "sigma": "half_normal(10)"},
    )
    exact = hm.fit(model, DYESTUFF2, sampler="exact", draws=50_000, progress=False).draws.values
    right = np.array([np.std(exact["Intercept"]), np.std(exact["sd_batch"]), np.mean(exact["sd_batch"] > 5)])
    found = []
    for seed in range(8):
        draws = hm.fit(
            model, DYESTUFF2, sampler="nuts", marginalize=False, draws=2500, progress=False, seed=seed
        ).draws.values
        found.append([np.std(draws["Intercept"]), np.std(draws["sd_batch"]), np.mean(draws["sd_batch"] > 5)])
    error = np.std(found, axis=0, ddof=1)
    assert (np.abs(np.mean(found, axis=0) - right) < 4 * error / np.sqrt(8)).all()
    assert (error / right < [0.04, 0.04, 0.3]).all()  # standardised deviations alone: .04, .06, .66


@pytest.mark.slow
def test_chains_of_small_normal_samples_do_not_diverge():
    rng = np.random.default_rng(1)
    model = hm.Model("y ~ 1", priors={"Intercept": "flat()", "sigma": "flat()"})
    divergent = 0
    for _ in range(40):
        fit = hm.fit(model, pd.DataFrame({"y": rng.normal(size=6)}), draws=500, tune=500, progress=False)
        divergent += bool(fit.draws.stats["diverging"].any())
    assert divergent <= 1
