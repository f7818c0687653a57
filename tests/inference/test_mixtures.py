import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from hiermodels.families.component import Component
from hiermodels.inference.count_laws import count_law
from hiermodels.inference.lattice import lattice
from hiermodels.inference.law_tables import point_table
from hiermodels.inference.mixtures import NormalMixture, hdi

PROBABILITIES = np.array([0.025, 0.5, 0.975])


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def held(weight, a, b, kind="normal"):
    halves = 0.5 * jnp.stack([jnp.asarray(weight), jnp.asarray(weight)])
    law = Component(kind, jnp.asarray(a), jnp.asarray(b))
    return lambda f: f(halves, law)


def table(kind, sweep, groups, points=160, reach=16.0, precision="float64"):
    return count_law(kind, sweep, groups, points, reach, 0.0, precision, None)


def normal_mixture(weight, mean, variance, tolerance=3e-3):
    best = int(np.argmax(weight))
    return NormalMixture.build(
        held(weight, mean, variance), jnp.asarray(mean[best]), jnp.asarray(variance[best]), tolerance
    )


def root(cdf, p, low, high):
    return optimize.brentq(lambda x: cdf(x) - p, low, high, xtol=1e-12, rtol=1e-14)


@pytest.mark.parametrize("spread", [0.1, 3.0, 300.0])
def test_normal_mixture_meets_root_finding(spread):
    rng = np.random.default_rng(1)
    weight, mean = rng.dirichlet(np.ones(30)), rng.normal(5, spread, (30, 4))
    sd = np.exp(rng.normal(0, 1, (30, 4)))
    law = normal_mixture(weight, mean, sd**2)
    found = law.quantile(jnp.broadcast_to(PROBABILITIES[:, None], (3, 4)))
    for g in range(4):

        def cdf(x, g=g):
            return weight @ stats.norm.cdf(x, mean[:, g], sd[:, g])

        exact = [root(cdf, p, -1e5, 1e5) for p in PROBABILITIES]
        np.testing.assert_allclose(found[:, g], exact, atol=1e-4 * float(law.sd[g]))
        assert float(law.cdf(jnp.full((1, 4), 5.0))[0, g]) == pytest.approx(cdf(5.0), abs=1e-12)
        m = weight @ mean[:, g]
        assert float(law.mean[g]) == pytest.approx(m, rel=1e-12)
        assert float(law.sd[g]) == pytest.approx(np.sqrt(weight @ (sd[:, g] ** 2 + (mean[:, g] - m) ** 2)), rel=1e-10)


def test_normal_mixture_with_tails_too_heavy_for_moments():
    scale = np.exp(np.linspace(-2, 18, 200))[:, None]
    weight = 1 / (1 + scale[:, 0])
    weight /= weight.sum()
    law = normal_mixture(weight, np.zeros((200, 1)), scale**2)
    found = law.quantile(jnp.array([[0.01], [0.25], [0.999]]))[:, 0]
    for p, x in zip([0.01, 0.25, 0.999], found, strict=True):
        assert weight @ stats.norm.cdf(float(x) / scale[:, 0]) == pytest.approx(p, rel=1e-4)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("reach", [12, 20, 60])
def test_tails_that_carry_little_mass_and_the_whole_variance(precision, reach):
    """A start from the moments lies where F rounds to 0 or 1: the search must come back."""
    scale = np.exp(np.linspace(0, reach, 80))
    weight = scale**-1.2 / np.sum(scale**-1.2)
    a, b = np.linspace(0, 1, 80)[:, None] * np.array([1.0, 50.0]), scale[:, None] ** 2 * np.array([1.0, 4.0])
    law = NormalMixture.build(held(weight, a, b), jnp.asarray(a[0]), jnp.asarray(b[0]), 0.05, precision)
    found = np.asarray(law.quantile(jnp.broadcast_to(PROBABILITIES[:, None], (3, 2))))
    assert np.all(np.diff(found, axis=0) > 0)
    for g in range(2):
        below = [weight @ stats.norm.cdf((x - a[:, g]) / np.sqrt(b[:, g])) for x in found[:, g]]
        np.testing.assert_allclose(stats.norm.ppf(below), stats.norm.ppf(PROBABILITIES), atol=0.01)


def test_quantiles_of_a_law_that_is_not_a_number_are_not_numbers():
    law = normal_mixture(np.ones(2) / 2, np.array([[1.0, 1.0], [2.0, np.nan]]), np.ones((2, 2)))
    found = np.asarray(law.quantile(jnp.broadcast_to(PROBABILITIES[:, None], (3, 2))))
    assert np.isfinite(found[:, 0]).all() and np.isnan(found[:, 1]).all()


def test_one_component_and_a_variable_that_is_known():
    law = normal_mixture(np.ones(1), np.array([[3.0, 3.0]]), np.array([[4.0, 0.0]]))
    found = law.quantile(jnp.broadcast_to(PROBABILITIES[:, None], (3, 2)))
    np.testing.assert_allclose(found[:, 0], 3 + 2 * stats.norm.ppf(PROBABILITIES), rtol=1e-9)
    np.testing.assert_allclose(found[:, 1], 3.0, rtol=1e-9)


LAWS = {
    "beta": (lambda a, b: stats.beta(a, b), 1.0, [(0.5, 20.0), (1.5, 6.0), (8.0, 3.0), (300.0, 900.0)]),
    "gamma": (lambda a, b: stats.gamma(a, scale=1 / b), 50.0, [(0.6, 3.0), (2.0, 0.5), (40.0, 7.0), (900.0, 100.0)]),
}


@pytest.mark.parametrize("kind", LAWS)
@pytest.mark.parametrize(
    ("points", "reach", "precision", "tolerance"), [(160, 16.0, "float64", 7e-4), (64, 9.0, "float32", 1e-2)]
)
def test_tables_meet_root_finding(kind, points, reach, precision, tolerance):
    make, top, cases = LAWS[kind]
    rng = np.random.default_rng(2)
    weight = rng.dirichlet(np.ones(20))
    size = np.array(cases).T  # counts dominate where there are many, so components differ by less there

    def vary(x):
        return x * np.exp(0.3 * rng.normal(size=(20, 1)) / np.sqrt(np.maximum(x / 3, 1)))

    a, b = vary(size[0]), vary(size[1])
    law, mean, sd, _ = table(kind, held(weight, a, b, kind), 4, points, reach, precision)
    found = law.quantile(jnp.broadcast_to(PROBABILITIES[:, None], (3, 4)))
    for g in range(4):
        parts = make(a[:, g], b[:, g])

        def cdf(x, parts=parts):
            return weight @ parts.cdf(x)

        exact = [root(cdf, p, 1e-12, top) for p in PROBABILITIES]
        np.testing.assert_allclose(found[:, g], exact, atol=tolerance * float(sd[g]))
        m = weight @ parts.mean()
        assert float(mean[g]) == pytest.approx(m, rel=1e-10)
        assert float(sd[g]) == pytest.approx(np.sqrt(weight @ (parts.var() + (parts.mean() - m) ** 2)), rel=1e-9)
        at = exact[0] + 0.3 * float(sd[g])
        assert float(law.cdf(jnp.full((1, 4), at))[0, g]) == pytest.approx(cdf(at), abs=tolerance)
    assert np.asarray(law.cdf(jnp.zeros((1, 4)))).max() < 1e-3
    assert np.isnan(law.cdf(jnp.full((1, 4), jnp.nan))).all()


def test_shortest_interval_has_equal_densities():
    one = held(np.ones(1), np.array([[3.0]]), np.array([[2.0]]), "gamma")
    law = table("gamma", one, 1, 300)[0]
    low, high = hdi(law, 0.9, 1)
    exact = stats.gamma(3, scale=0.5)
    best = optimize.minimize_scalar(
        lambda p: exact.ppf(p + 0.9) - exact.ppf(p), bounds=(1e-6, 0.0999), method="bounded"
    ).x
    np.testing.assert_allclose([low[0], high[0]], exact.ppf([best, best + 0.9]), atol=2e-3)
    falling = held(np.ones(1), np.array([[1.0]]), np.array([[2.0]]), "gamma")
    low, high = hdi(table("gamma", falling, 1, 300)[0], 0.9, 1)
    np.testing.assert_allclose([low[0], high[0]], [0.0, np.log(10) / 2], atol=3e-3)


def test_shortest_interval_of_a_normal_mixture():
    law = normal_mixture(np.array([0.5, 0.5]), np.array([[0.0], [1.0]]), np.array([[1.0], [9.0]]))
    low, high = hdi(law, 0.95, 1)
    both = jnp.stack([low, high])
    density = law.density(both)
    assert float(law.cdf(both)[1, 0] - law.cdf(both)[0, 0]) == pytest.approx(0.95, abs=1e-5)
    assert float(density[0, 0] / density[1, 0]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_marginals_of_a_lattice_are_smooth(dim):
    grid = lattice(dim, {1: 33, 2: 300, 3: 1200}[dim], 5.5)
    direction = np.ones(dim) / np.sqrt(dim)
    at, weight = grid.z @ direction, np.exp(-0.5 * np.sum(grid.z**2, 1))

    def same(x):
        return x

    law = point_table(
        0.5 * jnp.stack([jnp.asarray(weight / weight.sum())] * 2),
        jnp.asarray(at)[:, None],
        jnp.array([6.0 / grid.alias]),
        jnp.array([-5.5]),
        jnp.array([5.5]),
        64,
        "float64",
        same,
        same,
        jnp.zeros_like,
    )
    found = law.quantile(jnp.asarray(PROBABILITIES)[:, None])[:, 0]
    np.testing.assert_allclose(found, stats.norm.ppf(PROBABILITIES), atol=2e-3)


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_lattice_integrates_a_normal_law(dim):
    grid = lattice(dim, {1: 21, 2: 64, 3: 200, 4: 600}[dim], 4.7)
    density = np.exp(-0.5 * np.sum(grid.z**2, 1)) / (2 * np.pi) ** (dim / 2)
    assert density.sum() * grid.cell == pytest.approx(1.0, abs=5e-3)
    halves = [density[grid.odd].sum(), density[~grid.odd].sum()]
    assert 2 * halves[0] * grid.cell == pytest.approx(2 * halves[1] * grid.cell, abs=0.15)
