"""Exchangeability: what it means for a few variables, and as a property of every model in partial pooling."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.inference.exact import ExactSettings, exact, summarise_nodes
from hiermodels.models.data import as_jax, bind
from hiermodels.models.exchangeable import (
    equicorrelated,
    equicorrelation_limits,
    known_total,
    longest_extension,
    mixture_correlation,
)
from hiermodels.models.explicit import Explicit
from hiermodels.models.factorise import factorise

# a few variables
# -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "total"), [(5, 2), (4, 1), (6, 6), (3, 0)])
def test_flips_with_a_known_total_by_enumeration(n, total):
    """Every order equally likely: all means, variances and covariances of the ten orders of five flips with two
    heads.
    """
    orders = np.array([x for x in itertools.product((0, 1), repeat=n) if sum(x) == total], float)
    found = known_total(n, total)
    covariance = np.cov(orders.T, ddof=0)
    np.testing.assert_allclose(orders.mean(0), found.mean)
    np.testing.assert_allclose(
        covariance, found.covariance + (found.variance - found.covariance) * np.eye(n), atol=1e-15
    )
    if 0 < total < n:
        assert found.correlation == pytest.approx(equicorrelation_limits(n)[0])
        assert longest_extension(found.correlation) == n
    else:
        assert math.isnan(found.correlation)


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_equicorrelation_is_valid_down_to_its_limit(n):
    least, mixture = equicorrelation_limits(n)
    for rho in (least, 0.0, 0.3, 1.0):
        assert np.linalg.eigvalsh(equicorrelated(n, rho, 2.0)).min() > -1e-10
    below = (1 - 1.01 * least) * np.eye(n) + 1.01 * least * np.ones((n, n))
    assert np.linalg.eigvalsh(below).min() < 0
    with pytest.raises(ValueError, match=r"rho: expected a correlation from -.*to 1"):
        equicorrelated(n, 1.01 * least)
    assert mixture == 0 and longest_extension(1e-9) == math.inf


def test_a_mixture_of_independent_variables_has_no_negative_correlation():
    """theta_j = mu + e_j: correlation between / (between + within), down to zero and never below."""
    for within, between in ((3.0, 1.0), (1.0, 0.0), (0.0, 2.0)):
        whole = within * np.eye(4) + between
        rho = mixture_correlation(within, between)
        np.testing.assert_allclose(whole, equicorrelated(4, rho, within + between))
        assert rho >= equicorrelation_limits(4)[1]
    rng = np.random.default_rng(3)
    theta = rng.normal(0, 1, (200_000, 1)) + rng.normal(0, math.sqrt(3), (200_000, 2))
    assert np.corrcoef(theta.T)[0, 1] == pytest.approx(mixture_correlation(3.0, 1.0), abs=4 / math.sqrt(200_000))


def test_refusals():
    for call, message in (
        (lambda: equicorrelation_limits(1), "n: expected a whole number >= 2, found 1"),
        (lambda: known_total(5, 6), "total: expected a whole number from 0 to 5, found 6"),
        (lambda: mixture_correlation(-1, 2), "within, between: expected variances >= 0"),
        (lambda: longest_extension(-2), "rho: expected a correlation from -1 to 1"),
        (lambda: equicorrelated(3, 0.1, 0), "variance: expected a positive"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


# every model
# ------------------------------------------------------------------------------------------------------------------

SCHOOLS = hm.load_dataset("eight_schools")
SCORES = hm.load_dataset("scores")
INDIVIDUALS = hm.load_dataset("individuals").query("id <= 8")
HALF = "half_normal(6)"
SLOPES = {"sd_id": "half_normal(2)", "sd_id_x": "half_normal(2)"}


def crossed():
    frame = pd.DataFrame(list(itertools.product("abcd", "uvw")), columns=["a", "b"])
    return frame.assign(y=np.random.default_rng(8).normal(0, 2, len(frame)))


MODELS = {
    "two levels, known variances": (hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS),
    "two levels, closed form": (
        hm.Model("avg ~ 1 + (1 | player)", known_se="se", priors={"sd_player": "flat_variance()"}), hm.load_dataset("baseball"),
    ),
    "two levels, unknown variance": (hm.Model("score ~ 1 + (1 | school)", priors={"sd_school": HALF}), SCORES),
    "two levels, in units of sigma": (
        hm.Model("score ~ 1 + (1 | school)", priors={"sd_school": HALF, "Intercept": "scaled_normal(50, 2)", "sigma": HALF}), SCORES,
    ),
    "three levels": (
        hm.Model("score ~ 1 + (1 | school/classroom)", priors=dict.fromkeys(("sd_school", "sd_school:classroom", "sigma"), HALF)), SCORES,
    ),
    "varying slopes": (hm.Model("y ~ 1 + x + (1 + x || id)", priors=SLOPES), INDIVIDUALS),
    "varying slopes, correlated": (hm.Model("y ~ 1 + x + (1 + x | id)", priors=SLOPES), INDIVIDUALS),
    "beta-binomial": (
        hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats"), hm.load_dataset("rats").iloc[:40],
    ),
    "gamma-Poisson": (hm.Model("failures ~ 1 + (1 | pump)", family="poisson", exposure="hours"), hm.load_dataset("pumps")),
    "counts in three levels": (
        hm.Model("deaths ~ 1 + (1 | state/county)", family="poisson", exposure="exposure", priors={"Intercept": "normal(0, 1.5)"}),
        hm.load_dataset("counties"),
    ),
    "crossed": (hm.Model("y ~ 1 + (1 | a) + (1 | b)", priors={"sd_a": HALF, "sd_b": HALF, "sigma": HALF}), crossed()),
}  # fmt: skip


def relabelled(model, frame, seed):
    """Each grouping column's labels permuted, rows shuffled: where each old label went, and the new frame."""
    rng = np.random.default_rng(seed)
    factors = list(dict.fromkeys(f for g in model.parsed.groups for f in g.factors))
    moved = {}
    frame = frame.copy()
    for factor in factors:
        labels = list(dict.fromkeys(frame[factor]))
        moved[factor] = dict(zip(labels, rng.permutation(np.array(labels, dtype=object)), strict=True))
        frame[factor] = frame[factor].map(moved[factor])
    return moved, frame.sample(frac=1, random_state=seed)


def groups(problem, level, moved=None):
    """Position of each label of a level in padded arrays; the labels moved where asked."""
    factors = next(g.factors for g in problem.model.parsed.groups if g.name == level)
    found = {}
    for label, place in zip(problem.labels[level], problem.positions[level], strict=True):
        parts = label.split(":")
        if moved is not None:
            parts = [{str(k): str(v) for k, v in moved[f].items()}[p] for f, p in zip(factors, parts, strict=True)]
        found[":".join(parts)] = place
    return found


@lru_cache
def program(layout):
    """Log evidence, and mean and sd of every variable by quadrature: compiled once a layout."""
    model = factorise(layout)
    names = [p.name for p in layout.parameters if p.kind != "correlation"]
    names += [t for v in layout.levels for t in layout.effect_names(v)]

    def run(data):
        stats = model.prepare(data)
        nodes = exact(model, ExactSettings("study"))(jax.random.key(0), stats)
        return nodes.log_evidence, summarise_nodes(model, nodes, stats, tuple(names))

    return jax.jit(run)


def summaries(problem):
    evidence, found = program(problem.layout)(as_jax(problem.data))
    return float(evidence), {k: np.stack([v.mean, v.sd, v.median]) for k, v in found.items()}


QUICK = ("two levels, in units of sigma",)
BY_QUADRATURE = [n for n in MODELS if n not in ("counts in three levels", "crossed")]


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in BY_QUADRATURE])
def test_relabelling_groups_permutes_the_posterior(name):
    """Hyperparameters keep their summaries, group values go where their labels went."""
    model, frame = MODELS[name]
    moved, other = relabelled(model, frame, seed=len(name))
    with jax.enable_x64(True):
        one, two = bind(model, frame), bind(model, other)
        (evidence, before), (same, after) = summaries(one), summaries(two)
    assert same == pytest.approx(evidence, abs=1e-6)
    for p in one.layout.parameters:
        if p.kind != "correlation":
            np.testing.assert_allclose(after[p.name], before[p.name], rtol=1e-4)
    for level in one.layout.levels:
        here, there = groups(one, level.name, moved), groups(two, level.name)
        for theta in one.layout.effect_names(level):
            # one scale for all groups: a mean may be near zero
            spread = np.abs(before[theta][1]).max()
            for label, place in here.items():
                np.testing.assert_allclose(
                    after[theta][:, there[label]], before[theta][:, place], atol=1e-4 * spread, rtol=0
                )
        if len(here) > 1:  # and the permutation is not the identity
            assert [k for k in here] != [k for k in groups(one, level.name)]


def test_relabelling_counts_in_three_levels():
    """The joint density of hyperparameters and standardised state values is the same once these follow their states."""
    model, frame = MODELS["counts in three levels"]
    moved, other = relabelled(model, frame, seed=5)
    with jax.enable_x64(True):
        one, two = bind(model, frame), bind(model, other)
        pair, turned = factorise(one.layout), factorise(two.layout)
        here, there = groups(one, "state", moved), groups(two, "state")
        counties, others = groups(one, "state:county", moved), groups(two, "state:county")
        stats, turned_stats = pair.prepare(as_jax(one.data)), turned.prepare(as_jax(two.data))
        rng = np.random.default_rng(0)
        for _ in range(5):
            u = 0.5 * rng.normal(size=pair.dim)
            v = np.zeros(turned.dim)
            kept = pair.dim - sum(stop - start for _, start, stop in pair.blocks)
            v[:kept] = u[:kept]
            for (_, start, _), (_, begin, _) in zip(pair.blocks, turned.blocks, strict=True):
                for label, place in here.items():
                    v[begin + there[label]] = u[start + place]
            first, second = pair.log_density(jnp.asarray(u), stats), turned.log_density(jnp.asarray(v), turned_stats)
            assert float(first) == pytest.approx(float(second), rel=1e-12)
            name = "theta_state:county"
            law = pair.components(jnp.asarray(u), stats, (name,))[name]
            new = turned.components(jnp.asarray(v), turned_stats, (name,))[name]
            for label, place in counties.items():
                assert float(new.a[others[label]]) == pytest.approx(float(law.a[place]), rel=1e-12)
                assert float(new.b[others[label]]) == pytest.approx(float(law.b[place]), rel=1e-12)


def test_relabelling_crossed_groups():
    model, frame = MODELS["crossed"]
    moved, other = relabelled(model, frame, seed=2)
    with jax.enable_x64(True):
        one, two = bind(model, frame), bind(model, other)
        first, second = Explicit(one.layout), Explicit(two.layout)
        data, turned = as_jax(one.data), as_jax(two.data)
        u = np.random.default_rng(1).normal(size=first.dim)
        v = u.copy()
        for site in first.sites:
            if site.name.startswith("eta_"):
                here, there = groups(one, site.name[4:], moved), groups(two, site.name[4:])
                for label, place in here.items():
                    v[site.start + there[label]] = u[site.start + place]
        assert float(first.log_density(jnp.asarray(u), data)) == pytest.approx(
            float(second.log_density(jnp.asarray(v), turned)), rel=1e-12
        )


@pytest.mark.slow
def test_counties_are_exchangeable_within_their_state_only():
    """Two counties of one state may swap their counts; two of different states may not."""
    model, frame = MODELS["counts in three levels"]

    def hyper(a, b):
        swapped = frame.copy()
        counts = ["deaths", "exposure"]
        swapped.loc[[a, b], counts] = frame.loc[[b, a], counts].to_numpy()
        problem = bind(model, swapped)
        pair = factorise(problem.layout)
        stats = pair.prepare(as_jax(problem.data))
        u = jnp.asarray(0.4 * np.random.default_rng(2).normal(size=(6, pair.dim)))
        return np.asarray(jax.vmap(lambda v: pair.log_density(v, stats))(u))

    with jax.enable_x64(True):
        base = hyper(0, 0)
        np.testing.assert_allclose(hyper(0, 2), base, rtol=1e-12)
        assert np.abs(hyper(0, 6) - base).max() > 0.01
    assert frame["state"][0] == frame["state"][2] != frame["state"][6]


@pytest.mark.slow
def test_classrooms_are_exchangeable_within_their_school_only():
    model, frame = MODELS["three levels"]

    def evidence(school, one, other):
        """Exchange the school labels of two classrooms: within a school nothing moves."""
        turned = frame.copy()
        first = (frame["school"] == school) & (frame["classroom"] == one)
        second = (frame["school"] == other[0]) & (frame["classroom"] == other[1])
        turned.loc[first, ["school", "classroom"]] = list(other)
        turned.loc[second, ["school", "classroom"]] = [school, one]
        return summaries(bind(model, turned))[0]

    with jax.enable_x64(True):
        base = summaries(bind(model, frame))[0]
        assert evidence("s2", "c1", ("s2", "c3")) == pytest.approx(base, abs=1e-6)
        assert abs(evidence("s2", "c1", ("s1", "c1")) - base) > 1e-3
