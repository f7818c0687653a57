"""Gamma and beta variates against their distribution functions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hiermodels import variates

N = 400_000


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 1.7, 8.0, 300.0])
def test_gamma_variates_follow_the_law(shape):
    with jax.enable_x64(True):
        x = np.asarray(jax.jit(variates.gamma)(jax.random.key(int(shape * 100)), jnp.full(N, shape)))
    # each of the 12 checks of this file fails by chance once in 10,000
    assert stats.kstest(x, stats.gamma(shape).cdf).pvalue > 1e-4
    assert abs(x.mean() - shape) < 4 * np.sqrt(shape / N)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.4), (2.0, 14.0), (60.0, 3.0)])
def test_beta_variates_follow_the_law(a, b):
    with jax.enable_x64(True):
        x = np.asarray(variates.beta(jax.random.key(7), jnp.full(N, a), jnp.full(N, b)))
    assert stats.kstest(x, stats.beta(a, b).cdf).pvalue > 1e-4


def test_mixed_shapes_stay_in_their_places_and_bad_ones_are_nan():
    shape = jnp.array([[0.5, 100.0], [jnp.nan, 3.0], [-1.0, jnp.inf]])
    draw = jax.jit(jax.vmap(lambda k: variates.gamma(k, shape)))
    x = np.asarray(draw(jax.random.split(jax.random.key(1), 4000)))
    assert x[:, 0].mean(0) == pytest.approx([0.5, 100], rel=0.05)
    assert np.isnan(x[:, 1, 0]).all()
    assert np.isnan(x[:, 2]).all()
