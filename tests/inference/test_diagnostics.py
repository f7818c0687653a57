"""Diagnostics against arviz-stats, an independent implementation in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats

from hiermodels.inference import diagnostics, order_statistics


def _random(rng, shape):
    return rng.normal(size=shape)


def _autocorrelated(rng, shape, coefficient=0.9):
    x = rng.normal(size=shape)
    for i in range(1, shape[1]):
        x[:, i] += coefficient * x[:, i - 1]
    return x


def _antithetic(rng, shape):
    return _autocorrelated(rng, shape, -0.7)


def _tied(rng, shape):
    return np.round(_autocorrelated(rng, shape, 0.5) * 2) / 2


def _binary(rng, shape):
    return (_autocorrelated(rng, shape, 0.5) > 1.0).astype(float)


def _disagreeing(rng, shape):
    return rng.normal(size=shape) + 2.0 * np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))


def _heavy(rng, shape):
    return rng.standard_cauchy(size=shape)


def _far_from_zero(rng, shape):
    return 1e6 + 1e-7 * rng.normal(size=shape)


ARRAYS = {
    f.__name__.strip("_"): f
    for f in (_random, _autocorrelated, _antithetic, _tied, _binary, _disagreeing, _heavy, _far_from_zero)
}
AXES = {"chain_axis": 0, "draw_axis": 1}
FUNCTIONS = {
    "rhat": (diagnostics.rhat, lambda x: array_stats.rhat(x, **AXES)),
    "ess_bulk": (diagnostics.ess_bulk, lambda x: array_stats.ess(x, **AXES, method="bulk")),
    "ess_tail": (
        diagnostics.ess_tail,
        lambda x: array_stats.ess(x, **AXES, method="tail", prob=(0.05, 0.95)),
    ),
    "ess_mean": (diagnostics.ess_mean, lambda x: array_stats.ess(x, **AXES, method="mean")),
    "ess_quantile": (
        lambda x: diagnostics.ess_quantile(x, 0.3),
        lambda x: array_stats.ess(x, **AXES, method="quantile", prob=0.3),
    ),
    "mcse_mean": (diagnostics.mcse_mean, lambda x: array_stats.mcse(x, **AXES, method="mean")),
    "quantile": (
        lambda x: order_statistics.quantile(x, jnp.asarray([0.025, 0.5, 0.975])),
        lambda x: array_stats.quantile(x, [0.025, 0.5, 0.975], axis=(0, 1)),
    ),
    "hdi": (
        lambda x: order_statistics.hdi(x, 0.9),
        lambda x: array_stats.hdi(x, prob=0.9, axis=(0, 1)),
    ),
}
SHAPES = [(4, 500, 3), (4, 101, 2), (2, 8, 2, 2), (3, 1001), (1, 200), (4, 4)]


def _compare(name, x, rtol=1e-7):
    ours, theirs = FUNCTIONS[name]
    with jax.enable_x64(True), np.errstate(all="ignore"):
        np.testing.assert_allclose(np.asarray(jax.jit(ours)(jnp.asarray(x))), theirs(x), rtol=rtol)


@pytest.mark.slow_cases("autocorrelated-rhat", "random-ess_bulk", "random-ess_tail", "random-rhat")
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("kind", ARRAYS)
def test_equal_to_arviz(name, kind):
    rng = np.random.default_rng(7)
    ill_conditioned = kind == "far_from_zero" and name in ("ess_mean", "mcse_mean")
    for shape in SHAPES:
        _compare(name, ARRAYS[kind](rng, shape), rtol=1e-2 if ill_conditioned else 1e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_constant_draws_as_in_arviz(name):
    _compare(name, np.full((4, 100), 3.0))


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nonfinite_draw_gives_nan_for_its_scalar_alone(name, bad):
    x = np.random.default_rng(0).normal(size=(4, 100, 2))
    x[1, 7, 0] = bad
    with jax.enable_x64(True):
        value = np.asarray(jax.jit(FUNCTIONS[name][0])(jnp.asarray(x)))
    assert np.isnan(value[0]).all()
    assert np.isfinite(value[1]).all()


def test_stuck_chain_is_seen():
    x = np.random.default_rng(0).normal(size=(4, 100))
    x[2] = 0.3
    for name in ("rhat", "ess_bulk", "ess_tail"):
        _compare(name, x)


@pytest.mark.slow
def test_convergence_is_the_three_and_vmaps():
    x = np.random.default_rng(0).normal(size=(5, 4, 60, 2))
    with jax.enable_x64(True):
        x = jnp.asarray(x).at[2].set(jnp.round(x[2]))
        together = jax.jit(jax.vmap(diagnostics.convergence))(x)
        for one, function in zip(together, (diagnostics.rhat, diagnostics.ess_bulk, diagnostics.ess_tail), strict=True):
            assert one.shape == (5, 2)
            for i in range(5):
                np.testing.assert_allclose(one[i], function(x[i]), rtol=1e-12)


@pytest.mark.slow
def test_single_precision():
    x = np.random.default_rng(0).normal(size=(4, 400)).astype(np.float32)
    for name in ("rhat", "ess_bulk", "ess_tail", "quantile"):
        ours, theirs = FUNCTIONS[name]
        value = ours(jnp.asarray(x))
        assert value.dtype == jnp.float32
        np.testing.assert_allclose(np.asarray(value), theirs(x.astype(float)), rtol=2e-3)
