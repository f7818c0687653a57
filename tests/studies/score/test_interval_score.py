"""The interval score of Gneiting and Raftery (2007), eq. 43, by hand and along every door of a study."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.reporting import tables
from hiermodels.studies.score import measures
from hiermodels.studies.score.errors import Errors
from hiermodels.studies.score.scoring import performance

REPORTS = True


def scored(lower, upper, true, alpha):
    """The formula once more, term by term."""
    score = upper - lower
    if true < lower:
        score += 2 / alpha * (lower - true)
    if true > upper:
        score += 2 / alpha * (true - upper)
    return score


def test_by_hand():
    """90% intervals of width 3; a truth inside, at an end, 0.5 above, 2 below: 3, 3, 3 + 20 x 0.5, 3 + 20 x 2."""
    found = measures.interval_score(
        Errors(np.zeros(4), [0.0, 2.0, 2.5, -3.0], lower=[-1.0] * 4, upper=[2.0] * 4, interval=0.9)
    )
    values = np.array([3.0, 3.0, 13.0, 43.0])
    assert found.value == pytest.approx(values.mean(), rel=1e-13)
    assert found.mcse == pytest.approx(values.std(ddof=1) / 2, rel=1e-13)
    assert found.n == 4


def test_every_replicate_by_the_formula():
    rng = np.random.default_rng(3)
    lower, true = rng.normal(size=(2, 500))
    upper = lower + rng.gamma(2, 1, 500)
    each = np.array([scored(a, b, x, 0.2) for a, b, x in zip(lower, upper, true, strict=True)])
    found = measures.interval_score(Errors(lower, true, lower=lower, upper=upper, interval=0.8))
    assert found.value == pytest.approx(each.mean(), rel=1e-12)
    assert found.mcse == pytest.approx(each.std(ddof=1) / np.sqrt(500), rel=1e-12)


def test_the_right_interval_has_the_least_expectation_and_its_value():
    """Normal truths: E = 2 phi(z) / (alpha / 2) for the interval between quantiles, z = 1.96; others score more."""
    true, level = np.random.default_rng(5).normal(size=400_000), 0.95
    z = stats.norm.ppf(0.975)

    def score(a, b):
        return measures.interval_score(
            Errors(true, true, lower=np.full_like(true, a), upper=np.full_like(true, b), interval=level)
        )

    best = score(-z, z)
    assert abs(best.value - 2 * stats.norm.pdf(z) / 0.025) < 4 * best.mcse
    for a, b in ((-1.6, 1.6), (-2.4, 2.4), (-1.7, 2.3)):
        assert score(a, b).value > best.value


def test_intervals_with_one_end_are_left_out_and_said():
    lower = np.array([-np.inf, -1.0, -1.0])
    found = measures.interval_score(Errors(np.zeros(3), np.zeros(3), lower=lower, upper=np.ones(3)))
    assert found.value == 2.0 and found.n == 2 and "infinite end" in found.note
    assert np.isnan(
        measures.interval_score(Errors(np.zeros(2), np.zeros(2), lower=[-np.inf] * 2, upper=np.ones(2))).value
    )


def test_it_comes_along_every_door(tmp_path):
    """A study in YAML, its table, the report and its figure, the table for people."""
    config = {
        "mechanisms": {"formula": "effect ~ 1 + (1 | school)", "known_se": "se", "design": "eight_schools", "truth": {"Intercept": 8, "sd_school": 10}},
        "estimands": ["Intercept", "theta_school"],
        "methods": {"complete": {"pooling": "complete", "sampler": "exact"}, "none": {"pooling": "none", "sampler": "exact"}},
        "performance": ["cover", "interval_score"],
        "replications": 8, "seed": 1, "lanes": 8, "chunk": 8, "interval": 0.8,
    }  # fmt: skip
    run = hm.run(config, tmp_path / "run", progress=False)
    rows = run.performance[run.performance["measure"] == "interval_score"]
    estimates = run.estimates[run.estimates["group"].astype(str) == "A"]
    for method, part in estimates.groupby("method", observed=True):
        each = [scored(a, b, x, 0.2) for a, b, x in zip(part["lower"], part["upper"], part["true"], strict=True)]
        row = rows[(rows["method"] == method) & (rows["group"] == "A")].iloc[0]
        assert row["value"] == pytest.approx(np.mean(each), rel=1e-12) and row["mcse"] == pytest.approx(
            np.std(each, ddof=1) / np.sqrt(8), rel=1e-12
        )
    assert (run.path / "figures" / "interval_score.svg").is_file()
    report = (run.path / "report.html").read_text()
    assert "interval score" in report and "Mean interval score of the 80% intervals" in report
    assert "interval_score" in str(tables.terminal_table(run.performance, plain=True))
    again, _ = performance(
        pd.DataFrame(run.estimates), factors=[], measures=["interval_score"], interval=0.8, regime="population"
    )
    assert np.allclose(again["value"], rows["value"], rtol=1e-12)
