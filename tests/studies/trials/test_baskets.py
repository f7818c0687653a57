"""Basket trials: enumeration against ordered sums and brute force, analyses against other routes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.studies.trials.basket_models import beta_binomial, by_model, exnex, independent, pooled
from hiermodels.studies.trials.basket_simulation import simulate_trial
from hiermodels.studies.trials.baskets import Trial, enumerate_trial

MODEL = hm.Model(
    "responses ~ 1 + (1 | basket)",
    family="binomial",
    trials="patients",
    priors={"mean_basket": "beta(1, 3)", "kappa_basket": "gamma(2, 0.2)"},
)


def value(table, basket, measure):
    return float(table.query("basket == @basket and measure == @measure")["value"].iloc[0])


# analyses
# --------------------------------------------------------------------------------------------------------------

TABLES = np.array([[1, 1, 1], [1, 5, 9], [3, 3, 3], [2, 2, 12], [20, 4, 10]])
PATIENTS = np.array([[20, 20, 20], [20, 20, 20], [20, 20, 20], [10, 20, 20], [20, 20, 20]])


@pytest.mark.slow
def test_quadrature_and_the_librarys_exact_engine_agree():
    ours = beta_binomial(0.2, "beta(1, 3)", "gamma(2, 0.2)")(TABLES, PATIENTS)
    theirs = by_model(MODEL, 0.2)(TABLES, PATIENTS)
    assert np.abs(ours.above - theirs.above).max() < 2e-4
    assert np.abs(ours.mean - theirs.mean).max() < 2e-4


@pytest.mark.slow
def test_quadrature_has_converged():
    few, many = (beta_binomial(0.2, "beta(1, 3)", "gamma(2, 0.2)", nodes=n)(TABLES, PATIENTS) for n in (64, 160))
    assert np.abs(few.above - many.above).max() < 1e-5
    few, many = (exnex(0.2, nodes=n)(TABLES, PATIENTS) for n in ((40, 48), (90, 120)))
    assert np.abs(few.above - many.above).max() < 1e-4


def test_exnex_is_what_weighted_draws_from_its_prior_say():
    rng, n = np.random.default_rng(1), 1_500_000
    y, size = np.array([1, 1, 7]), np.array([12, 12, 12])
    mu, tau = rng.normal(-1.7, 2, n), np.abs(rng.normal(0, 1, n))
    member = rng.random((n, 3)) < 0.6
    logit = np.where(member, mu[:, None] + tau[:, None] * rng.normal(size=(n, 3)), -1.0 + 1.5 * rng.normal(size=(n, 3)))
    p = 1 / (1 + np.exp(-logit))
    weight = stats.binom.pmf(y, size, p).prod(1)
    weight /= weight.sum()
    found = exnex(0.2, mu="normal(-1.7, 2)", tau="half_normal(1)", exchangeable=0.6, own=(-1.0, 1.5))(
        y[None], size[None]
    )
    ess = 1 / np.sum(weight**2)
    for k in range(3):
        assert found.above[0, k] == pytest.approx(weight @ (p[:, k] > 0.2), abs=4 * 0.5 / math.sqrt(ess))
        assert found.mean[0, k] == pytest.approx(weight @ p[:, k], abs=4 * 0.3 / math.sqrt(ess))


def test_exnex_ends_where_its_parts_do():
    everyone, nobody = exnex(0.2, exchangeable=1.0), exnex(0.2, exchangeable=0.0, own=(-1.0, 1.5))
    y, n = np.array([[0, 2, 6]]), np.full((1, 3), 10)
    alone = [nobody(np.array([[v]]), np.array([[10]])).above[0, 0] for v in (0, 2, 6)]
    assert nobody(y, n).above[0].tolist() == pytest.approx(alone, rel=1e-9)
    shrunk = everyone(y, n).mean[0]
    assert shrunk[0] > 0.02 and shrunk[2] < 0.6


@pytest.mark.parametrize("analysis", [independent(0.2), pooled(0.2), beta_binomial(0.2), exnex(0.2)])
def test_permuting_baskets_permutes_the_answer(analysis):
    there, back = analysis(TABLES, PATIENTS), analysis(TABLES[:, ::-1], PATIENTS[:, ::-1])
    assert np.abs(there.above - back.above[:, ::-1]).max() < 1e-12


# enumeration
# -----------------------------------------------------------------------------------------------------------


def walked(trial, analysis, rates):
    """Every ordered outcome of every look, by recursion: an independent, slow route."""
    known = {}

    def probability_above(y, n):
        key = (*y, *n)
        if key not in known:
            known[key] = analysis(y[None], n[None]).above[0]
        return known[key]

    total = {
        "fired": np.zeros(len(rates)),
        "patients": np.zeros(len(rates)),
        "futile": np.zeros(len(rates)),
        "fwer": 0.0,
        "mass": 0.0,
    }

    def step(look, y, n, doing, probability):
        sizes = [s[look] for s in trial.sizes]
        choices = [range(sizes[k] - n[k] + 1) if doing[k] == "on" else [0] for k in range(len(y))]
        for extra in itertools.product(*choices):
            more = [sizes[k] - n[k] if doing[k] == "on" else 0 for k in range(len(y))]
            p = probability * math.prod(
                math.comb(m, e) * r**e * (1 - r) ** (m - e) for e, m, r in zip(extra, more, rates, strict=True)
            )
            here, count = np.add(y, extra), np.add(n, more)
            above = probability_above(here, count)
            if look + 1 < len(trial.sizes[0]):
                then = [
                    "futile" if d == "on" and a < trial.futility else "early" if d == "on" and a > trial.efficacy else d
                    for d, a in zip(doing, above, strict=True)
                ]
                step(look + 1, here, count, then, p)
                continue
            fires = np.array(
                [d == "early" or (d == "on" and a > trial.threshold) for d, a in zip(doing, above, strict=True)]
            )
            total["fired"] += p * fires
            total["patients"] += p * count
            total["futile"] += p * np.array([d == "futile" for d in doing])
            total["fwer"] += p * (fires & (np.array(rates) <= trial.null)).any()
            total["mass"] += p

    step(0, np.zeros(len(rates), int), np.zeros(len(rates), int), ["on"] * len(rates), 1.0)
    return total


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [((3, 6), (3, 6), (3, 6)), ((3, 6), (2, 5), (3, 6))])
def test_sorted_states_give_what_all_ordered_outcomes_give(sizes):
    trial = Trial(sizes, null=0.2, threshold=0.9, futility=0.3, efficacy=0.97)
    rates = [0.2, 0.1, 0.6]
    slow = walked(trial, beta_binomial(0.2, nodes=24), rates)
    found = enumerate_trial(trial, beta_binomial(0.2, nodes=24))
    table = found.characteristics(rates)
    assert slow["mass"] == pytest.approx(1)
    for k in range(3):
        assert value(table, str(k + 1), "power" if k == 2 else "type1") == pytest.approx(slow["fired"][k], abs=1e-12)
        assert value(table, str(k + 1), "patients") == pytest.approx(slow["patients"][k], abs=1e-10)
        assert value(table, str(k + 1), "futile") == pytest.approx(slow["futile"][k], abs=1e-12)
    assert value(table, "all", "fwer") == pytest.approx(slow["fwer"], abs=1e-12)
    assert value(table, "all", "patients") == pytest.approx(slow["patients"].sum(), abs=1e-10)


def test_independent_baskets_have_binomial_error_rates():
    trial = Trial.equal(4, 15, null=0.2, threshold=0.95)
    cut = min(y for y in range(16) if stats.beta.sf(0.2, 0.5 + y, 15.5 - y) > 0.95)
    single = stats.binom.sf(cut - 1, 15, 0.2)
    found = enumerate_trial(trial, independent(0.2))
    table = found.characteristics([0.2] * 4)
    assert value(table, "3", "type1") == pytest.approx(single, rel=1e-10)
    assert value(table, "all", "fwer") == pytest.approx(1 - (1 - single) ** 4, rel=1e-10)
    assert found.analysed == math.comb(15 + 4, 4)
    mse = sum(stats.binom.pmf(y, 15, 0.2) * ((0.5 + y) / 16 - 0.2) ** 2 for y in range(16))
    assert value(table, "1", "mse") == pytest.approx(mse, rel=1e-10)


def test_probabilities_sum_to_one_for_any_rates():
    found = enumerate_trial(Trial.equal(3, 12, null=0.2, threshold=0.9, looks=(6,), futility=0.2), pooled(0.2))
    for rates in ([0.0, 0.2, 1.0], [0.3, 0.3, 0.3], [0.1, 0.1, 0.8]):
        assert sum(p.sum() for _, p in found._assignments(np.array(rates))) == pytest.approx(1, rel=1e-12)


@pytest.mark.slow
def test_three_baskets_of_twenty_patients_equal_a_study_that_fits_every_dataset(tmp_path):
    """1,771 tables enumerated; the same model fitted to each of 4,000 simulated trials by the study's runner."""
    found = enumerate_trial(Trial.equal(3, 20, null=0.2, threshold=0.9), by_model(MODEL, 0.2))
    assert found.analysed == 1771
    exact = found.characteristics([0.2, 0.2, 0.45])
    study = {
        "mechanisms": {
            "formula": "responses ~ 1 + (1 | basket)", "family": "binomial", "trials": "patients",
            "design": {"table": {"basket": ["A", "B", "C"], "patients": [20, 20, 20]}}, "truth": {"theta_basket": {"A": 0.2, "B": 0.2, "C": 0.45}},
        },
        "estimands": [{"active": "P(theta_basket > 0.2)"}],
        "methods": {"partial": {"sampler": "exact", "priors": {"mean_basket": "beta(1, 3)", "kappa_basket": "gamma(2, 0.2)"}}},
        "decisions": {"active": 0.9}, "performance": ["power"], "replications": 4000, "failures": "complete-case", "seed": 2,
    }  # fmt: skip
    rows = hm.run(study, tmp_path / "run", progress=False).performance.set_index(["measure", "group"])
    for basket, group, measure in (
        ("1", "A", "type1"),
        ("2", "B", "type1"),
        ("3", "C", "power"),
        ("all", "[any]", "fwer"),
    ):
        brute = rows.loc["type1" if measure == "fwer" else measure, group]
        assert abs(value(exact, basket, measure) - brute["value"]) < 3 * brute["mcse"], (basket, measure)


def test_enumeration_equals_its_own_simulation_with_looks():
    trial = Trial.equal(3, 20, null=0.2, threshold=0.92, looks=(10,), futility=0.25, efficacy=0.99)
    analysis = exnex(0.2, nodes=(24, 24))
    found = enumerate_trial(trial, analysis)
    exact, brute = (
        found.characteristics([0.2, 0.2, 0.5]),
        simulate_trial(trial, analysis, [0.2, 0.2, 0.5], 20_000, seed=3),
    )
    both = exact.merge(brute, on=["basket", "measure"])
    assert len(both) == len(exact)
    z = (both["value_x"] - both["value_y"]) / both["mcse"]
    assert z.abs().max() < 4.2  # 23 numbers, one joint failure in a thousand
    assert value(exact, "all", "patients") < 60


# error rates
# -----------------------------------------------------------------------------------------------------------


def test_borrowing_makes_the_lone_inactive_basket_err():
    found = enumerate_trial(Trial.equal(4, 15, null=0.2, threshold=0.9), beta_binomial(0.2, nodes=32))
    errors = [value(found.characteristics([0.2] * k + [0.5] * (4 - k)), "1", "type1") for k in (4, 3, 2, 1)]
    assert errors == sorted(errors) and errors[-1] > 2 * errors[0]
    worst = found.worst_family_error([0.1, 0.2], [0.5])
    assert worst["fwer"].iloc[0] > 1.5 * found.family_error([0.2] * 4)
    assert len(worst) == 14  # multisets of four of three rates, all active left out
    for rates, error in worst.head(3).itertuples(index=False):
        table = found.characteristics(rates)
        assert value(table, "all", "fwer") == pytest.approx(error, rel=1e-12)


def test_a_calibrated_threshold_keeps_the_family_wise_error():
    found = enumerate_trial(Trial.equal(3, 15, null=0.2, threshold=0.9), beta_binomial(0.2, nodes=32))
    kept = found.calibrated([0.2] * 3, 0.05)
    assert kept.family_error([0.2] * 3) <= 0.05
    below = np.unique(found.posterior.above)
    looser = below[below < kept.trial.threshold].max()
    assert found.with_threshold(looser).family_error([0.2] * 3) > 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Trial.equal(3, 20, null=2, threshold=0.9), "null: expected a number between 0 and 1"),
        (lambda: Trial.equal(3, 20, null=0.2, threshold=0.9, futility=0.1), "expected at least one interim look"),
        (lambda: Trial(((20, 10),), 0.2, 0.9), "expected growing numbers of patients"),
        (
            lambda: enumerate_trial(Trial.equal(2, 5, null=0.2, threshold=0.9), pooled(0.2)).characteristics([0.1]),
            "expected 2 numbers from 0 to 1",
        ),
        (
            lambda: enumerate_trial(Trial.equal(2, 5, null=0.2, threshold=0.9), pooled(0.2)).worst_family_error([0.3]),
            "expected rates up to the null rate",
        ),
        (lambda: by_model(hm.Model("y ~ 1 + (1 | g)"), 0.2), "expected family binomial"),
        (lambda: beta_binomial(0.2, kappa="power(1)"), "expected a proper one"),
    ],
)
def test_bad_requests(call, message):
    with pytest.raises(ValueError, match=message):
        call()
