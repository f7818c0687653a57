"""Estimators beside the posterior: published numbers, closed forms, the remainder of the season."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hiermodels as hm
from hiermodels.inference import estimators
from hiermodels.inference.heterogeneity import dersimonian_laird_variance, weighted_at

BATTERS = hm.load_dataset("baseball")
Y, REST = (BATTERS["hits"] / 45).to_numpy(), BATTERS["rem_avg"].round(3).to_numpy()  # the remainder as it was published
MEAN = Y.mean()
S2 = Y.var(ddof=1)
VARIANCE = MEAN * (1 - MEAN) / 45
X, TRUE = (np.sqrt(45) * np.arcsin(2 * p - 1) for p in (Y, BATTERS["rem_avg"].to_numpy()))
SCHOOLS = hm.load_dataset("eight_schools")
EFFECT, KNOWN = SCHOOLS["effect"].to_numpy(float), SCHOOLS["se"].to_numpy(float) ** 2


def score(theta, true, mle) -> tuple[float, int]:
    """Sum of squared errors, and for how many of the batters the estimate is closer than the MLE."""
    return float(((theta - true) ** 2).sum()), int((np.abs(theta - true) < np.abs(mle - true)).sum())


# baseball: Efron and Morris (1975)
# --------------------------------------------------------------------------------------


def test_james_stein_on_the_arcsine_scale():
    found = estimators.james_stein(X, 1.0)
    assert pytest.approx(-3.316563, abs=1e-6) == X.mean()
    assert float(found.mean) == pytest.approx(-3.316563, abs=1e-6)
    assert ((X - X.mean()) ** 2).sum() == pytest.approx(18.962720, rel=1e-6)
    assert 1 - found.shrinkage == pytest.approx(np.full(18, 0.208974), abs=1e-6)
    errors, wins = score(found.theta, TRUE, X)
    assert ((X - TRUE) ** 2).sum() == pytest.approx(17.56065, rel=1e-6)
    assert errors == pytest.approx(5.01334, rel=1e-5)
    assert ((X - TRUE) ** 2).sum() / errors == pytest.approx(3.503, abs=5e-4)
    assert wins == 15
    lost = np.flatnonzero(np.abs(found.theta - TRUE) >= np.abs(X - TRUE)) + 1
    assert lost.tolist() == [1, 10, 15]


def test_james_stein_of_the_printed_columns():
    # the published table has two decimals; its estimates follow from those alone
    found = estimators.james_stein(X.round(2), 1.0)
    assert ((X.round(2) - X.round(2).mean()) ** 2).sum() == pytest.approx(18.95496, abs=5e-6)
    assert 1 - found.shrinkage[0] == pytest.approx(0.208650, abs=5e-7)
    assert score(X.round(2), TRUE.round(2), X)[0] == pytest.approx(17.5577, abs=5e-5)
    assert score(found.theta, TRUE.round(2), X)[0] == pytest.approx(5.0161, abs=5e-5)


def test_arcsine_estimates_as_batting_averages():
    found = estimators.arcsine_james_stein(BATTERS["hits"], BATTERS["at_bats"])
    printed = (
        [0.290, 0.286, 0.281, 0.277, 0.273, 0.273, 0.268, 0.264, 0.259, 0.259] + [0.254] * 5 + [0.249, 0.244, 0.239]
    )
    assert found.theta.round(3).tolist() == printed
    errors, wins = score(found.theta, REST, Y)
    assert errors == pytest.approx(0.02152, abs=5e-6)
    assert wins == 15
    on_x = estimators.james_stein(X, 1.0)
    np.testing.assert_allclose(found.theta, (np.sin(on_x.theta / np.sqrt(45)) + 1) / 2, rtol=1e-12)
    np.testing.assert_allclose(found.shrinkage, on_x.shrinkage, rtol=1e-12)


@pytest.mark.parametrize(
    ("variance", "multiplier", "errors"), [(VARIANCE, 0.211653, 0.02131), (0.066**2, 0.20744, 0.02129)]
)
def test_james_stein_on_the_raw_scale(variance, multiplier, errors):
    found = estimators.james_stein(Y, variance)
    digits = 5e-7 if multiplier == 0.211653 else 5e-6
    assert 1 - found.shrinkage[0] == pytest.approx(multiplier, abs=digits)
    assert score(found.theta, REST, Y)[0] == pytest.approx(errors, abs=5e-6)
    if variance == VARIANCE:
        assert pytest.approx(0.00433284, rel=1e-5) == VARIANCE
        assert (found.theta[0], found.theta[-1]) == (pytest.approx(0.2939, abs=5e-5), pytest.approx(0.2422, abs=5e-5))
        assert score(found.theta, REST, Y)[1] == 16


def test_morris_and_naive_empirical_bayes_on_baseball():
    found = estimators.morris(Y, 0.066**2)
    np.testing.assert_allclose(found.shrinkage, 15 / 17 * 0.066**2 / max(0.066**2, S2), rtol=1e-9)
    assert score(found.theta, REST, Y)[0] == pytest.approx(0.0213, abs=5e-5)
    naive = estimators.naive_eb(Y, 0.06**2)
    np.testing.assert_allclose(naive.shrinkage, 0.06**2 / S2, rtol=1e-12)
    assert 0.742 <= naive.shrinkage[0] <= 0.750
    errors, wins = score(naive.theta, REST, Y)
    assert (errors, wins) == (pytest.approx(0.0216, abs=5e-5), 16)


def test_the_two_extremes_on_baseball():
    assert score(estimators.separate(Y, VARIANCE).theta, REST, Y)[0] == pytest.approx(0.07532, abs=5e-6)
    assert score(estimators.pooled(Y, VARIANCE).theta, REST, Y)[0] == pytest.approx(0.02425, abs=1e-5)
    oracle = MEAN + (1 - 0.8097) * (Y - MEAN)
    assert score(oracle, REST, Y)[0] == pytest.approx(0.02127, abs=5e-6)


# closed forms
# -----------------------------------------------------------------------------------------------------------


def test_morris_intervals_for_equal_variances_are_the_simple_form():
    found = estimators.morris(Y, VARIANCE)
    b = 15 / 17 * VARIANCE / S2
    se = np.sqrt(VARIANCE * (1 - 17 / 18 * b) + 2 / 15 * b**2 * (Y - MEAN) ** 2)
    np.testing.assert_allclose(found.theta_se, se, rtol=1e-9)
    lower, upper = found.interval()
    np.testing.assert_allclose(upper - lower, 2 * 1.959963984540054 * se, rtol=1e-9)


def test_any_plug_in_pools_eight_schools_completely():
    assert float(dersimonian_laird_variance(jnp.asarray(EFFECT), jnp.asarray(KNOWN))) == 0
    with jax.enable_x64(True):
        at = jax.tree.map(np.asarray, weighted_at(jnp.asarray(EFFECT), jnp.asarray(KNOWN)))
    raw = (at.q - 7) / (at.total - (at.weight**2).sum() / at.total)
    assert float(raw) == pytest.approx(-44.55, abs=0.01)
    for name in ("dersimonian_laird", "paule_mandel", "reml"):
        found = estimators.naive_eb(EFFECT, KNOWN, heterogeneity=name)
        assert float(found.sd) == 0 and (found.theta_se == 0).all()
        np.testing.assert_allclose(found.theta, 7.685617, atol=1e-6)
    complete = estimators.weighted(EFFECT, KNOWN)
    assert (float(complete.mean), float(complete.mean_se)) == (
        pytest.approx(7.685617, abs=1e-6),
        pytest.approx(4.071919, abs=1e-6),
    )


def test_plug_in_at_a_given_heterogeneity_is_the_conditional_posterior():
    # with se so spread out that S^2 - V is known in closed form, B and the estimates are those of the two-level model
    # at tau
    y = np.array([-6.0, -2.0, 2.0, 6.0])
    found = estimators.naive_eb(y, 4.0)
    tau2 = y.var(ddof=1) - 4
    assert float(found.sd) ** 2 == pytest.approx(tau2)
    np.testing.assert_allclose(found.theta, (1 - 4 / (4 + tau2)) * y)
    np.testing.assert_allclose(found.theta_se, np.sqrt(4 * tau2 / (4 + tau2)))
    constrained = estimators.constrained_eb(y, 4.0)
    assert constrained.theta.var(ddof=1) == pytest.approx(tau2)
    assert found.theta.var(ddof=1) == pytest.approx(
        tau2**2 / (4 + tau2)
    )  # posterior means vary less than the thetas do


def test_compromise_lies_between():
    found = estimators.compromise(EFFECT, KNOWN, weight=0.25)
    np.testing.assert_allclose(found.theta, 0.25 * EFFECT + 0.75 * 7.685617, atol=1e-6)
    for weight, other in ((0, estimators.weighted), (1, estimators.separate)):
        np.testing.assert_allclose(
            estimators.compromise(EFFECT, KNOWN, weight=weight).theta, other(EFFECT, KNOWN).theta
        )


def test_james_stein_dominates_for_errors_over_variances():
    # risk at fixed thetas, unequal variances: mean of sum (theta_hat - theta)^2 / V is below k, by five standard errors
    theta, variance = np.array([0.0, 1.0, -1.0, 3.0, 0.5, -2.0]), np.array([1.0, 4.0, 0.25, 2.0, 1.0, 9.0])
    y = theta + np.sqrt(variance) * np.random.default_rng(1).normal(size=(4000, 6))
    with jax.enable_x64(True):
        found = jax.vmap(lambda row: estimators.james_stein(row, jnp.asarray(variance)).theta)(jnp.asarray(y))
    loss = ((np.asarray(found) - theta) ** 2 / variance).sum(1)
    assert loss.mean() + 5 * loss.std() / np.sqrt(4000) < 6


# the menu
# ---------------------------------------------------------------------------------------------------------------

ON_Y = [name for name in estimators.__all__ if name != "arcsine_james_stein"]


def call(name, y, variance):
    if name == "arcsine_james_stein":
        return estimators.arcsine_james_stein(y, variance)
    return getattr(estimators, name)(y, variance)


@pytest.mark.parametrize("name", estimators.__all__)
def test_relabelling_groups_relabels_the_estimates(name):
    counts, trials = np.array([3.0, 9, 4, 12, 7]), np.array([20.0, 20, 30, 25, 9])
    y, variance = (counts, trials) if name == "arcsine_james_stein" else (EFFECT[:5], KNOWN[:5])
    order = np.array([3, 0, 4, 1, 2])
    first, second = call(name, y, variance), call(name, y[order], variance[order])
    np.testing.assert_allclose(first.theta[order], second.theta, rtol=1e-9)
    if first.theta_se is not None:
        np.testing.assert_allclose(first.theta_se[order], second.theta_se, rtol=1e-9)


@pytest.mark.parametrize("name", ON_Y)
def test_location_and_scale_carry_over(name):
    y, variance = np.array([-3.0, 8.0, 40.0, -20.0, 5.0, 1.0]), np.array([4.0, 9.0, 1.0, 16.0, 25.0, 9.0])
    first, second = call(name, y, variance), call(name, 10 - 3 * y, 9 * variance)
    np.testing.assert_allclose(10 - 3 * first.theta, second.theta, rtol=1e-8)
    np.testing.assert_allclose(first.shrinkage, second.shrinkage, atol=1e-8)
    for part in ("theta_se", "mean_se", "sd", "average_se"):
        if getattr(first, part) is not None:
            np.testing.assert_allclose(3 * getattr(first, part), getattr(second, part), rtol=1e-8)


@pytest.mark.parametrize("name", estimators.__all__)
def test_a_group_without_data_counts_nowhere(name):
    if name == "arcsine_james_stein":
        first, second = call(name, [3, 9, 4, 6], [20, 20, 30, 25]), call(name, [3, 9, 0, 4, 6], [20, 20, 0, 30, 25])
    else:
        first = call(name, EFFECT[:5], KNOWN[:5])
        second = call(name, np.insert(EFFECT[:5], 2, 99.0), np.insert(KNOWN[:5], 2, np.inf))
    there = np.arange(len(second.theta)) != 2
    np.testing.assert_allclose(second.theta[there], first.theta, rtol=1e-9)
    if first.mean is not None:
        assert float(second.mean) == pytest.approx(float(first.mean))
    # what has a population predicts the group by its centre, the others say nothing
    populated = name in ("pooled", "weighted", "morris", "naive_eb", "constrained_eb")
    assert second.theta[2] == pytest.approx(float(second.mean)) if populated else np.isnan(second.theta[2])


@pytest.mark.parametrize("name", estimators.__all__)
def test_estimators_are_pure_functions_that_map(name):
    y, variance = np.array([[3.0, 9, 4, 12, 7], [1.0, 2, 3, 4, 5]]), np.array([20.0, 20, 30, 25, 9])
    with jax.enable_x64(True):
        mapped = jax.jit(jax.vmap(lambda row: call(name, row, jnp.asarray(variance)).theta))(jnp.asarray(y))
    for row, found in zip(y, mapped, strict=True):
        np.testing.assert_allclose(call(name, row, variance).theta, found, rtol=1e-9)
    assert isinstance(call(name, list(y[0]), list(variance)).theta, np.ndarray)


def test_identical_groups_are_pooled_and_few_groups_left_alone():
    same = [2.0] * 5
    for name in ("james_stein", "naive_eb", "morris"):
        np.testing.assert_allclose(call(name, same, 1.0).theta, 2.0)
    np.testing.assert_allclose(estimators.james_stein([0.0, 5.0, 1.0], 1.0).theta, [0, 5, 1])
    np.testing.assert_allclose(estimators.morris([0.0, 5.0, 1.0], 1.0).theta, [0, 5, 1])


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (([1.0, 2, 3], 0.0), {}, r"variance: expected a positive number, found 0 at place 0"),
        (([1.0, 2, 3], [1.0, 2]), {}, r"variance: expected one number or 3 of them, found shape \(2,\)"),
        (([1.0, np.nan, 3], 1.0), {}, r"y: expected a finite number, found nan at place 1"),
        ((3.0, 1.0), {}, r"y: expected a list of numbers, one a group, found shape \(\)"),
        (([3.0], 1.0), {}, r"y: expected at least 2 groups, found 1"),
        ((["a", "b"], 1.0), {}, r"y: expected numbers"),
        (([1.0, 2, 3], 1.0), {"heterogeneity": "remel"}, r"heterogeneity: expected one of .*found 'remel'"),
    ],
)
def test_plain_arrays_are_checked(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        estimators.naive_eb(*arguments, **settings)


def test_other_checks():
    with pytest.raises(ValueError, match=r"successes: expected at most the trials, found 5 of 4 at place 1"):
        estimators.arcsine_james_stein([1, 5], [4, 4])
    with pytest.raises(ValueError, match=r"weight: expected a number from 0 .*found 2"):
        estimators.compromise([1.0, 2], 1.0, weight=2)
    with pytest.raises(ValueError, match=r"interval: expected one of nothing: no standard errors, found 'theta'"):
        estimators.james_stein([1.0, 2, 3, 4], 1.0).interval()


def test_printed_estimates_are_their_numbers():
    found = str(estimators.james_stein(np.array([1.0, 2.0, 3.0, 5.0]), 1.0))
    assert "f64" not in found and "theta" in found and "2.75" in found
