"""NUTS and the Laplace fit against closed forms and quadrature."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hiermodels.inference.diagnostics import convergence, mcse_mean
from hiermodels.inference.nuts import STATS, NutsSettings, laplace, nuts
from hiermodels.inference.samplers import auto_lanes

FAST = NutsSettings(draws=250, tune=250)
COVARIANCES = {
    1: np.array([[4.0]]),
    2: np.array([[1.0, 0.9], [0.9, 1.0]]),
    5: np.diag([1e-4, 1e-2, 1.0, 1e2, 1e4]),
}
QUICK = ((2, True),)
Y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
SE = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def eight_schools(y):
    """Log tau alone, tau ~ half-normal(20), mu ~ N(0, 20); all else integrated out."""

    def log_density(q):
        tau = jnp.exp(q[0])
        w = 1 / (SE**2 + tau**2)
        precision = w.sum() + 1 / 400
        mean = (w * y).sum() / precision
        fit = 0.5 * jnp.log(w).sum() - 0.5 * jnp.log(precision) - 0.5 * ((w * y**2).sum() - precision * mean**2)
        return fit - 0.5 * (tau / 20) ** 2 + q[0]

    return log_density


def many(log_density, dim, settings, n=64, inverse_mass=None, spread=1.0):
    """Draws of n independent runs, end to end in the chain axis."""
    run = nuts(log_density, settings)

    def one(key):
        start = spread * jax.random.normal(jax.random.fold_in(key, 1), (settings.chains, dim))
        return run(key, start, inverse_mass)

    chains = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(5), n))
    return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), chains)


def assert_means(x, truth, z=4.5):
    """Means over (chain, draw) within z Monte Carlo standard errors."""
    gap = np.abs(np.asarray(x.mean((0, 1))) - truth) / np.asarray(mcse_mean(x))
    assert (gap < z).all(), gap


@pytest.mark.parametrize(
    ("dim", "dense"),
    [
        pytest.param(d, dense, marks=[] if (d, dense) in QUICK else pytest.mark.slow)
        for d in COVARIANCES
        for dense in (False, True)
    ],
)
def test_normal(dim, dense):
    covariance = COVARIANCES[dim]
    precision = np.linalg.inv(covariance)
    sd = np.sqrt(np.diag(covariance))
    settings = NutsSettings(draws=250, tune=400, dense_mass=dense)
    chains = many(lambda x: -0.5 * (x - 1) @ precision @ (x - 1), dim, settings, n=48)
    z = (chains.position - 1) / sd
    assert_means(z, 0.0)
    assert_means(z[..., :, None] * z[..., None, :], covariance / np.outer(sd, sd))
    assert float(convergence(chains.position)[0].max()) < 1.02
    assert 0.7 < float(chains.stats["acceptance_rate"].mean()) < 0.93  # not monotone in the step size if dim = 1
    assert not chains.stats["diverging"].any()


@pytest.mark.slow
def test_heavy_tail():
    chains = many(lambda x: -2.0 * jnp.log1p(x[0] ** 2 / 3), 1, FAST)
    for p in (0.01, 0.1, 0.5, 0.8, 0.99):
        assert_means((chains.position[..., 0] < stats.t(3).ppf(p)).astype(float), p)


@pytest.mark.slow
def test_eight_schools_against_quadrature():
    grid = np.linspace(-12, 6, 20001)
    log_density = jax.jit(jax.vmap(eight_schools(Y)))(jnp.asarray(grid)[:, None])
    weight = np.exp(log_density - log_density.max())
    cdf = np.cumsum(weight) / weight.sum()
    fit = laplace(eight_schools(Y), jnp.zeros(1))
    chains = many(eight_schools(Y), 1, FAST, inverse_mass=fit.covariance)
    for p in (0.025, 0.25, 0.5, 0.75, 0.975):
        assert_means((chains.position[..., 0] < np.interp(p, cdf, grid)).astype(float), p)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 10])
def test_short_trajectories_keep_the_target(depth):
    """A tree cut off early is slower, not wrong."""
    settings = NutsSettings(draws=250, tune=250, max_tree_depth=depth)
    chains = many(lambda x: -jnp.sum(jnp.cosh(x)), 2, settings, n=96)
    grid = np.linspace(-8, 8, 4001)
    density = np.exp(-np.cosh(grid))
    assert_means(chains.position**2, (grid**2 * density).sum() / density.sum())
    reached = chains.stats["reached_max_treedepth"]
    assert (chains.stats["tree_depth"] <= depth).all()
    assert bool(reached.all()) if depth == 1 else not bool(reached.all())


@pytest.mark.slow
def test_funnel_diverges():
    def funnel(x):
        return -0.5 * (x[0] / 3) ** 2 - 0.5 * jnp.exp(-x[0]) * jnp.sum(x[1:] ** 2) - 0.5 * 9 * x[0]

    chains = many(funnel, 10, FAST, n=8)
    assert int(chains.stats["diverging"].sum()) > 5


@pytest.mark.slow
def test_scales_are_found_from_bad_starts():
    sd = np.array([1e-3, 1.0, 1e3])
    chains = many(lambda x: -0.5 * jnp.sum((x / sd) ** 2), 3, NutsSettings(draws=250, tune=600), n=8, spread=10.0)
    assert float(convergence(chains.position)[1].min()) > 0.3 * chains.position[..., 0].size
    assert float(chains.stats["n_steps"].mean()) < 15


def test_the_step_size_is_found_with_few_tuning_draws():
    """No covariance is given: the mass matrix changes four times, and the step size goes on from what it was."""
    scale = jnp.logspace(-1, 1, 300)
    run = nuts(lambda x: -0.5 * jnp.sum((x / scale) ** 2), NutsSettings(draws=100, tune=400, chains=2))
    chains = jax.jit(run)(jax.random.key(3), jnp.zeros((2, 300)))
    assert 0.75 < float(chains.stats["acceptance_rate"].mean()) < 0.87


def test_stats():
    run = jax.jit(nuts(lambda x: -0.5 * jnp.sum(x**2), FAST))
    chains = run(jax.random.key(0), jnp.zeros((4, 2)))
    assert set(chains.stats) == set(STATS)
    for name, value in chains.stats.items():
        assert value.shape == (4, 250), name
    s = chains.stats
    assert s["diverging"].dtype == s["reached_max_treedepth"].dtype == bool
    np.testing.assert_allclose(s["lp"], -0.5 * (chains.position**2).sum(-1), atol=1e-12)
    assert (s["n_steps"] < 2 ** s["tree_depth"]).all()
    assert (s["n_steps"] >= 2 ** (s["tree_depth"] - 1)).all()
    assert (s["energy"][:, 1:] > -s["lp"][:, :-1]).all()  # kinetic energy is positive
    assert (s["step_size"] == s["step_size"][0, 0]).all()
    few = nuts(lambda x: -0.5 * jnp.sum(x**2), FAST, fields=("diverging",))(jax.random.key(0), jnp.zeros((4, 2)))
    assert list(few.stats) == ["diverging"]


@pytest.mark.slow
def test_mapped_in_every_way_alike():
    y = jnp.asarray(Y + np.random.default_rng(0).normal(size=(6, 8)))
    keys = jax.random.split(jax.random.key(1), 6)
    mass = jnp.linspace(0.5, 1.0, 6)[:, None]

    def one(key, y, mass):
        return nuts(eight_schools(y), NutsSettings(draws=40, tune=60))(key, jnp.full((4, 1), 2.0), mass)

    wide = jax.jit(jax.vmap(one))(keys, y, mass)
    narrow = jax.jit(lambda *a: jax.lax.map(lambda x: one(*x), a, batch_size=3))(keys, y, mass)
    pairs = jax.jit(jax.vmap(jax.vmap(one)))(keys.reshape(2, 3), y.reshape(2, 3, 8), mass.reshape(2, 3, 1))
    crossed = jax.jit(jax.vmap(jax.vmap(one, (0, None, 0)), (None, 0, None)))(keys[:2], y[:3], mass[:2])
    alone = jax.jit(one)(keys[1], y[1], mass[1])
    np.testing.assert_allclose(wide.position[:, :, :20], narrow.position[:, :, :20], rtol=1e-6)
    np.testing.assert_allclose(wide.position[:, :, :20], pairs.position.reshape(6, 4, 40, 1)[:, :, :20], rtol=1e-6)
    np.testing.assert_allclose(wide.position[1][:, :20], crossed.position[1, 1][:, :20], rtol=1e-6)
    np.testing.assert_allclose(wide.position[1][:, :20], alone.position[:, :20], rtol=1e-6)


@pytest.mark.slow
def test_old_and_new_keys():
    run = jax.jit(nuts(lambda x: -0.5 * jnp.sum(x**2), NutsSettings(draws=10, tune=10)))
    new, old = (run(key, jnp.zeros((4, 2))).position for key in (jax.random.key(3), jax.random.PRNGKey(3)))
    np.testing.assert_array_equal(new, old)


def test_nonfinite_is_a_value():
    def log_density(scale):
        return lambda x: -0.5 * jnp.sum(x**2) + jnp.where(x[0] < -1, jnp.nan, 0.0) + scale

    def one(key, scale):
        return nuts(log_density(scale), FAST)(key, jnp.array([[-3.0, 0], [0, 0], [0, 0], [jnp.inf, 0]]))

    scale = jnp.array([0.0, jnp.nan, 0.0])
    chains = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 3), scale)
    missing = np.isnan(chains.position).all(axis=(2, 3))
    assert missing.tolist() == [[True, False, False, True], [True] * 4, [True, False, False, True]]
    kept = np.asarray(chains.position[jnp.array([0, 2]), 1:3])
    assert np.isfinite(kept).all()
    assert (kept[..., 0] >= -1).all()
    assert abs(kept[..., 0].mean() - stats.truncnorm(-1, np.inf).mean()) < 0.1


@pytest.mark.slow
def test_infinite_density_is_never_entered():
    def log_density(x):
        return -0.5 * jnp.sum(x**2) + jnp.where(x[0] > 1, jnp.inf, 0.0)

    chains = many(log_density, 1, FAST, n=4, spread=0.1)
    assert np.isfinite(chains.position).all()
    assert (chains.position <= 1).all()


def test_traced_once_for_any_number_of_replicates():
    def count(n):
        calls = []

        def log_density(y):
            def f(q):
                calls.append(1)
                return eight_schools(y)(q)

            return f

        def one(args):
            return nuts(log_density(args[1]), NutsSettings(draws=5, tune=5))(args[0], jnp.zeros((4, 1)))

        data = (jax.random.split(jax.random.key(0), n), jnp.zeros((n, 8)))
        jax.jit(lambda data: jax.lax.map(one, data, batch_size=4)).lower(data)
        return len(calls)

    assert count(8) == count(80) == 1


def test_single_precision():
    with jax.enable_x64(False):
        run = jax.jit(nuts(lambda x: -0.5 * jnp.sum(x**2), FAST))
        chains = run(jax.random.key(0), jnp.zeros((4, 2)))
    assert chains.position.dtype == jnp.float32
    assert abs(float(chains.position.std()) - 1) < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NutsSettings(draws=0), "NutsSettings(draws=...): expected an integer >= 1, found 0."),
        (lambda: NutsSettings(tune=2.5), "expected an integer >= 1, found 2.5."),
        (
            lambda: NutsSettings(target_accept=1.2),
            "expected a number between 0 and 1, found 1.2; 0.8 is usual",
        ),
        (lambda: NutsSettings(max_tree_depth=40), "expected at most 20, found 40."),
        (lambda: nuts(jnp.sum, fields=("energi",)), "'energi' is no statistic; known are lp,"),
        (
            lambda: nuts(jnp.sum, FAST)(jax.random.key(0), jnp.zeros((3, 2))),
            "expected shape (chain, dim) with 4 chains, found (3, 2)",
        ),
        (
            lambda: nuts(jnp.sum, FAST)(jax.random.key(0), jnp.zeros((4, 2)), jnp.ones(3)),
            "expected shape (2,) or (2, 2), found (3,)",
        ),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_laplace_of_a_normal_is_exact():
    covariance = np.array([[2.0, 0.6], [0.6, 0.5]])
    precision = np.linalg.inv(covariance)
    fit = laplace(lambda x: -0.5 * (x - 3) @ precision @ (x - 3), jnp.array([-20.0, 30.0]))
    assert bool(fit.ok)
    np.testing.assert_allclose(fit.mode, 3.0, rtol=1e-8)
    np.testing.assert_allclose(fit.covariance, covariance, rtol=1e-8)


def test_laplace_of_log_gamma():
    """Log of a gamma(a, b) variable: mode log(a / b), variance 1 / a."""
    a, b = jnp.array([0.5, 3.0, 50.0]), jnp.array([10.0, 2.0, 0.1])
    fit = jax.jit(jax.vmap(lambda a, b: laplace(lambda q: jnp.sum(a * q - b * jnp.exp(q)), jnp.zeros(1))))(a, b)
    assert fit.ok.all()
    np.testing.assert_allclose(fit.mode[:, 0], jnp.log(a / b), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(fit.covariance[:, 0, 0], 1 / a, rtol=1e-3)


@pytest.mark.parametrize(
    ("log_density", "start", "ok"),
    [
        (lambda q: -jnp.sum((q**2 - 1) ** 2), [0.01, 0.02], True),  # begins where the curvature is negative
        (lambda q: -0.5 * q[0] ** 2 - jnp.exp(q[1]), [5.0, 0.0], None),  # rises for ever as q[1] falls
        (lambda q: jnp.sum(q), [0.0, 0.0], False),  # has no mode
        (lambda q: jnp.sum(jnp.log(q)) - jnp.sum(q), [0.1, 30.0], True),  # is not defined everywhere
        (lambda q: jnp.sum(jnp.sqrt(q)), [-1.0, -1.0], False),  # not finite at the start
        (lambda q: -jnp.sum(jnp.abs(q) ** 4), [3.0, 1.0], None),  # no curvature at the mode
    ],
)
def test_laplace_always_comes_back(log_density, start, ok):
    fit = jax.jit(lambda s: laplace(log_density, s))(jnp.asarray(start))
    assert np.isfinite(fit.mode).all()
    values = np.linalg.eigvalsh(fit.covariance)
    assert (values > 0).all()
    assert (values <= 9 + 1e-9).all()
    if ok is not None:
        assert bool(fit.ok) == ok


def test_auto_lanes_is_pure_and_falls_with_size():
    for device in ("cpu", "NVIDIA H200"):
        lanes = [auto_lanes("nuts", device, 2, size) for size in (1, 10, 100, 1000, 10_000, 1_000_000)]
        assert lanes == sorted(lanes, reverse=True)
        assert all(n & (n - 1) == 0 for n in lanes)
    assert auto_lanes("nuts", "NVIDIA H200", 2, 10) > auto_lanes("nuts", "cpu", 2, 10)


@pytest.mark.parametrize(
    ("sampler", "dim", "size", "best"),
    [
        ("nuts", 1, 18, {32, 64}), ("nuts", 3, 905, {8, 16}), ("nuts", 2, 144, {16, 32}),
        ("nuts", 10, 18, {16, 32}), ("nuts", 104, 905, {1}), ("nuts", 73, 144, {1}),
        ("exact", 1, 18, {128, 256, 512}), ("exact", 3, 905, {8, 16, 32}), ("exact", 2, 144, {8, 16, 32}),
    ],
)  # fmt: skip
def test_auto_lanes_are_among_the_best_of_the_sweep(sampler, dim, size, best):
    """Eight schools, 20 x 4 x 10 scores, 71 rat experiments: widths within 10% of the best of the sweep in
    benchmarks/RESULTS.md.
    """
    assert auto_lanes(sampler, "cpu", dim, size) in best
