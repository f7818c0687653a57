"""Every prior of the menu: density, sampler, NumPyro law, printed source and exponents are those of one law."""

import itertools
import math
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import integrate, stats

from hiermodels import priors

UNIT = 1.7
VARIANCES = np.array([0.5, 2.0, 3.0])
RECORDS = {name: law(*law.example) for name, law in priors.MENU.items()} | {
    "beta(0, 0)": priors.beta(0, 0),
    "uniform(0, 1)": priors.uniform(0, 1),
}
MARGINAL = {n: p for n, p in RECORDS.items() if not p.joint and not p.known and "correlation" not in p.kinds}
CASES = [(n, kind) for n, p in MARGINAL.items() for kind in p.kinds if not p.misfit(kind)]
SOURCE = {"dist": dist, "jnp": jnp}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def context(prior):
    if prior.of_variances:
        return jnp.asarray(VARIANCES)
    return None if prior.unit is None else jnp.asarray(UNIT)


def density(prior, x):
    return np.asarray(
        jax.vmap(lambda one: prior.log_density(one, context(prior)))(jnp.atleast_1d(jnp.asarray(x, float)))
    )


def whole(prior, kind):
    """Where the law as it stands lives, before a parameter above one cuts it."""
    return prior.support("positive" if kind == "above_one" else kind)


def inside(prior, kind):
    low, high = whole(prior, kind)
    if math.isinf(low):
        return np.linspace(-8, 9, 23)
    return low + np.geomspace(1e-2, 30, 23) if math.isinf(high) else np.linspace(low, high, 25)[1:-1]


@pytest.mark.parametrize("name", RECORDS)
def test_record_is_its_text(name):
    prior = RECORDS[name]
    assert priors.parse(str(prior)) == prior == pickle.loads(pickle.dumps(prior)) and hash(prior) == hash(
        priors.parse(str(prior))
    )
    assert str(prior) == f"{prior.name}({', '.join(f'{a:g}' for a in prior.args)})"
    assert "(" in name or prior.args == tuple(map(float, prior.example))
    if prior.known:
        return
    assert all(f"{a:g}" in prior.latex() for a in prior.args)


@pytest.mark.parametrize("name", [n for n in priors.MENU if RECORDS[n].args])
def test_numbers_are_checked(name):
    law = priors.MENU[name]
    for place, bad in itertools.product(range(len(law.example)), (math.inf, math.nan, 10**400)):
        with pytest.raises(ValueError, match="finite numbers; mend the numbers"):
            law(*[bad if k == place else a for k, a in enumerate(law.example)])
    if RECORDS[name].proper and not RECORDS[name].known:
        scale = len(law.example) - 1
        with pytest.raises(ValueError, match=f"prior {name}.*: expected .*; mend the numbers"):
            law(*[-abs(a) if k == scale else a for k, a in enumerate(law.example)])


@pytest.mark.parametrize(("name", "kind"), [c for c in CASES if MARGINAL[c[0]].proper_on(c[1])])
class TestProper:
    def test_density_integrates_to_one(self, name, kind):
        prior = MARGINAL[name]
        low, high = whole(prior, kind)

        def f(x):
            return float(np.exp(density(prior, x)[0]))

        if math.isinf(high) and low == 0:  # on the log scale: heavy tails and steep origins
            total = integrate.quad(lambda u: f(math.exp(u)) * math.exp(u), -60, 60, limit=500, points=(-5, 0, 5))[0]
        elif math.isinf(high):
            total = integrate.quad(lambda u: f(math.sinh(u)) * math.cosh(u), -30, 30, limit=500, points=(-2, 0, 2))[0]
        else:
            total = integrate.quad(f, low, high, limit=200)[0]
        assert total == pytest.approx(1, abs=1e-6)

    def test_sampler_draws_from_the_density(self, name, kind):
        prior = MARGINAL[name]
        if prior.constant:  # the law of a probability without a prior is known by its kind only
            return
        draws = np.sort(
            np.asarray(jax.vmap(lambda k: prior.sample(k, context(prior)))(jax.random.split(jax.random.key(5), 20_000)))
        )
        low, high = whole(prior, kind)
        assert low <= draws[0] and draws[-1] <= high and prior.sample(jax.random.key(1), context(prior)).shape == ()
        u = np.log(draws) if low == 0 and math.isinf(high) else draws
        grid = np.linspace(u[0] - 1e-9, u[-1] + 1e-9, 40_001)
        p = (
            np.exp(density(prior, np.exp(grid)) + grid)
            if low == 0 and math.isinf(high)
            else np.exp(density(prior, grid))
        )
        cdf = integrate.cumulative_trapezoid(p, grid, initial=0)
        found = stats.kstest(np.interp(u, grid, cdf / cdf[-1]), "uniform")
        assert found.pvalue > 1e-4, found

    def test_numpyro_law_and_source_have_the_density(self, name, kind):
        prior, x = MARGINAL[name], inside(MARGINAL[name], kind)
        expected = density(prior, x)
        law = prior.law(kind, context(prior))
        np.testing.assert_allclose(law.log_prob(jnp.asarray(x)), expected, rtol=1e-9, atol=1e-9)
        source = eval(prior.source(kind, "unit"), SOURCE | {"unit": UNIT})
        np.testing.assert_allclose(source.log_prob(jnp.asarray(x)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "kind"), [c for c in CASES if not MARGINAL[c[0]].proper_on(c[1])])
def test_improper_law_and_source(name, kind):
    prior, x = MARGINAL[name], inside(MARGINAL[name], kind)
    assert prior.law(kind) is None and prior.source(kind) is None
    with pytest.raises(ValueError, match="cannot be drawn from; use a proper law"):
        prior.sample(jax.random.key(0))
    if kind == "unit":  # it gathers mass without end towards the ends
        total = [
            integrate.quad(
                lambda u: float(np.exp(density(prior, 1 / (1 + math.exp(-u)))[0])) / (2 + math.exp(u) + math.exp(-u)),
                -x,
                x,
            )[0]
            for x in (5, 50)
        ]
        assert total[1] > 2 * total[0]
    if prior.constant:
        assert np.all(density(prior, x) == 0)
    else:
        source = [float(eval(prior.density_source("x", "v"), SOURCE | {"x": one, "v": VARIANCES})) for one in x]
        np.testing.assert_allclose(source, density(prior, x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "name", [n for n, kind in CASES if kind == "positive" and math.isinf(MARGINAL[n].support("positive")[1])]
)
def test_exponents_are_those_of_the_density(name):
    prior = MARGINAL[name]

    def slope(x):
        a, b = density(prior, [x, x * 1.01])
        return (b - a) / math.log(1.01)

    def without_log(x, exponent):
        """The slope without what a power of the logarithm adds to it; far out, where its location no longer counts."""
        return (
            slope(x)
            if not (log := getattr(exponent, "log", 0.0))
            else slope(x ** (300 / 7)) - log / (300 / 7 * math.log(x))
        )

    tail = prior.moment_tail()
    far, near = without_log(1e7, tail), without_log(1e-7, prior.origin)
    assert far == pytest.approx(tail, abs=1e-3) if math.isfinite(tail) else far < -4
    assert near == pytest.approx(prior.origin, abs=1e-3) if math.isfinite(prior.origin) else near > 4
    if not prior.proper and math.isfinite(prior.tail):
        assert prior.tail == tail
    if math.isfinite(prior.bend()):  # there the density falls as 1 / x, and ever faster after it
        assert tail == -math.inf and slope(prior.bend() / math.sqrt(1.01)) == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize(
    "name", [n for n, kind in CASES if kind == "real" and math.isinf(MARGINAL[n].support("real")[1])]
)
def test_tail_of_a_coefficient(name):
    """The exponent that rules its moments, on both sides."""
    prior, tail = MARGINAL[name], MARGINAL[name].moment_tail()
    for side in (1.0, -1.0):
        a, b = density(prior, [side * 1e7, side * 1.01e7])
        slope = (b - a) / math.log(1.01)
        assert slope == pytest.approx(tail, abs=1e-3) if math.isfinite(tail) else slope < -4


@pytest.mark.parametrize("name", [n for n, kind in CASES if kind == "unit" and not MARGINAL[n].constant])
def test_exponents_at_zero_of_a_probability(name):
    prior = MARGINAL[name]
    if prior.support("unit")[0] == 0:
        a, b = density(prior, [1e-7, 1.01e-7])
        assert (b - a) / math.log(1.01) == pytest.approx(prior.origin, abs=1e-3)


@pytest.mark.parametrize("name", [n for n, p in RECORDS.items() if p.known])
def test_known_parameters(name):
    prior = RECORDS[name]
    assert float(prior.sample(jax.random.key(0))) == prior.args[0] and float(prior.log_density(jnp.asarray(2.0))) == 0
    assert prior.finite_exponential(5.0) and prior.proper and prior.law() is None


@pytest.mark.parametrize(("name", "kind"), CASES)
class TestWhatIntegralsKnow:
    def test_gaussian(self, name, kind):
        prior, x = MARGINAL[name], inside(MARGINAL[name], kind)
        if prior.gaussian is None or kind != "real":
            return
        mean, sd = prior.gaussian
        law = (
            np.zeros(len(x)) if math.isinf(sd) else stats.norm(mean, sd * (1 if prior.unit is None else UNIT)).logpdf(x)
        )
        np.testing.assert_allclose(density(prior, x), law, atol=1e-10)

    def test_conjugate(self, name, kind):
        prior, x = MARGINAL[name], inside(MARGINAL[name], kind)
        found = prior.conjugate(kind)
        if found is None or kind not in ("unit", "positive"):
            return
        a, b = found
        kernel = (a - 1) * np.log(x) + ((b - 1) * np.log1p(-x) if kind == "unit" else -b * x)
        np.testing.assert_allclose(np.diff(density(prior, x) - kernel), 0, atol=1e-10)

    def test_inverse_gamma(self, name, kind):
        prior, x = MARGINAL[name], inside(MARGINAL[name], kind)
        found = prior.inverse_gamma()
        if found is None or kind != "positive":
            return
        np.testing.assert_allclose(np.diff(density(prior, x) + found[0] * np.log(x) + found[1] / x**2), 0, atol=1e-8)

    def test_times(self, name, kind):
        """The density of ``by x`` at ``by x`` is that of x, less the logarithm of ``by``; a prior without units
        stays.
        """
        prior, x, by = MARGINAL[name], inside(MARGINAL[name], kind), 2.5
        moved = prior.times(by)
        if not prior.in_units:
            assert moved == prior
            return
        np.testing.assert_allclose(density(moved, by * x) + math.log(by), density(prior, x), atol=1e-9)

    def test_finite_exponential(self, name, kind):
        """E exp(r s z) = E exp(r^2 s^2 / 2) over the prior of s."""
        prior = MARGINAL[name]
        if kind != "positive":
            return
        for r in (0.1, 0.5, 3.0):
            high = prior.support(kind)[1]
            grows = math.isinf(high) and density(prior, 1e4)[0] + r**2 * 1e8 / 2 > 0
            assert prior.finite_exponential(r) == (not grows)


@pytest.mark.parametrize("name", [n for n, p in RECORDS.items() if p.unit is not None])
def test_priors_in_units_of_another_parameter(name):
    prior = RECORDS[name]
    with pytest.raises(ValueError, match="in units of another parameter"):
        prior.log_density(jnp.asarray(1.0))
    assert (
        prior.law(prior.kinds[0]) is None
        and priors.parse(
            prior.instead.replace("mean", "1")
            .replace("sd", "1")
            .replace("df", "3")
            .replace("scale", "1")
            .replace("shape", "1")
            .replace("rate", "1")
        ).unit
        is None
    )
    if prior.unit == "residual sd" and "positive" in prior.kinds:
        far = [float(prior.log_density(jnp.asarray(1e7), jnp.asarray(u))) for u in (1.0, 1.01)]
        assert (far[1] - far[0]) / math.log(1.01) == pytest.approx(prior.unit_power, abs=1e-3)


@pytest.mark.parametrize("name", [n for n, p in RECORDS.items() if p.of_variances])
def test_priors_of_variances(name):
    prior, x = RECORDS[name], np.array([0.3, 1.0, 4.0])
    weight = 1 / (VARIANCES + x[:, None] ** 2)
    expected = np.log(x) + sum(0.5 * np.log((weight**k).sum(-1)) for k in prior.variance_powers)
    np.testing.assert_allclose(density(prior, x), expected, rtol=1e-12)
    with pytest.raises(ValueError, match="defined for known variances"):
        prior.log_density(jnp.asarray(1.0))


@pytest.mark.parametrize("name", [n for n, p in RECORDS.items() if p.normal_power is not None])
def test_powers_of_normal_variates(name):
    """x^(1 / power) is half normal: its log density is a parabola in that coordinate, Jacobian included."""
    prior, z = RECORDS[name], np.linspace(0.2, 3, 15)
    x = z**prior.normal_power
    log_jacobian = (prior.normal_power - 1) * np.log(z)
    np.testing.assert_allclose(np.diff(density(prior, x) + log_jacobian, 3), 0, atol=1e-9)


@pytest.mark.parametrize("name", [n for n, p in RECORDS.items() if "correlation" in p.kinds])
def test_correlations(name):
    prior = RECORDS[name]
    matrix = prior.sample(jax.random.key(0), size=3)
    factor = jnp.linalg.cholesky(matrix)
    assert matrix.shape == (3, 3) and float(prior.log_density(factor)) == pytest.approx(
        float(prior.cholesky(3).log_prob(factor)), rel=1e-12
    )
    assert float(eval(prior.cholesky_source(3), SOURCE).log_prob(factor)) == pytest.approx(
        float(prior.log_density(factor)), rel=1e-12
    )

    draws = np.asarray(jax.vmap(lambda k: prior.sample(k, size=2))(jax.random.split(jax.random.key(3), 5_000)))
    np.testing.assert_allclose(draws[:, [0, 1], [0, 1]], 1, rtol=1e-9)
    law = np.cumsum(
        [
            float(jnp.exp(prior.log_density(jnp.array([[1.0, 0.0], [r, math.sqrt(1 - r**2)]]))))
            for r in np.linspace(-0.999, 0.999, 1_000)
        ]
    )
    assert (
        stats.kstest(np.interp(draws[:, 0, 1], np.linspace(-0.999, 0.999, 1_000), law / law[-1]), "uniform").pvalue
        > 1e-4
    )

    def f(r):  # of two effects the factor has one free coordinate, the correlation
        return float(jnp.exp(prior.log_density(jnp.array([[1.0, 0.0], [r, math.sqrt(1 - r**2)]]))))

    total = integrate.quad(f, -1, 1)[0]
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", [n for n, p in RECORDS.items() if p.joint])
@pytest.mark.parametrize("kind", ["unit", "positive"])
def test_joint_priors_are_split(name, kind):
    mean, concentration = RECORDS[name].split(kind)
    assert (
        kind in mean.kinds
        and "positive" in concentration.kinds
        and not concentration.proper
        and not RECORDS[name].proper
    )
    with pytest.raises(ValueError, match="no joint prior"):
        mean.split(kind)


def test_kinds_fit_their_numbers():
    assert "reaches outside the values of a positive parameter; move its ends inside" in priors.uniform(-1, 2).misfit(
        "positive"
    )
    assert "greater than one" in priors.uniform(0.5, 2).misfit("above_one") and priors.uniform(0.2, 3).misfit("unit")
    assert "expected a value >= 0" in priors.fixed(-1).misfit("positive") and not priors.fixed(-1).misfit("real")
    assert "between 0 and 1" in priors.fixed(1).misfit("unit") and ">= 1" in priors.fixed(0.5).misfit("above_one")


def test_the_old_path_says_where_it_went():
    import importlib
    import sys

    sys.modules.pop("hiermodels.models.priors", None)
    with pytest.warns(DeprecationWarning, match=r"hiermodels.models.priors is hiermodels.priors now"):
        assert importlib.import_module("hiermodels.models.priors") is priors
