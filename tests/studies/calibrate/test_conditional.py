"""Rao-Blackwellised coverage, and what group-level coverage means in each truth regime."""

from __future__ import annotations

import numpy as np
import pytest

import hiermodels as hm
from hiermodels.studies.calibrate.conditional import rao_blackwell

CASES = {
    "normal": (
        {"formula": "effect ~ 1 + (1 | school)", "known_se": "se", "design": "eight_schools", "truth": {"Intercept": 8, "sd_school": 10}},
        "theta_school", {"Intercept": "flat()", "sd_school": "reference()"},
    ),
    "binomial": (
        {"formula": "y ~ 1 + (1 | g)", "family": "binomial", "trials": "n", "design": {"g": 12, "predictors": {"n": 25}}, "truth": {"mean_g": 0.3, "kappa_g": 12}},
        "theta_g", {"mean_g": "beta(1, 1)", "kappa_g": "gamma(2, 0.1)"},
    ),
    "poisson": (
        {"formula": "y ~ 1 + (1 | g)", "family": "poisson", "exposure": "x", "design": {"g": 12, "predictors": {"x": 3}}, "truth": {"mean_g": 2, "shape_g": 4}},
        "theta_g", {"mean_g": "gamma(2, 1)", "shape_g": "gamma(2, 0.5)"},
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_conditional_coverage_is_the_coverage_with_a_smaller_error(name, tmp_path):
    mechanism, theta, priors = CASES[name]
    study = {
        "mechanisms": mechanism, "estimands": [theta], "methods": {"m": {"sampler": "exact", "priors": priors}}, "interval": 0.8,
        "performance": ["cover"], "replications": 512, "failures": "complete-case", "seed": 5,
    }  # fmt: skip
    run = hm.run(study, tmp_path / "run", progress=False)
    plain = run.performance.set_index("group")
    found = rao_blackwell(run).set_index("group")
    assert list(found.index) == list(plain.index)
    both = plain.merge(found, left_index=True, right_index=True, suffixes=("_plain", ""))
    assert (both["mcse"] < both["mcse_plain"]).all()
    assert both.loc["[mean]", "mcse"] < 0.8 * both.loc["[mean]", "mcse_plain"]
    # what the two differ by has the variance of the indicator about its expectation
    z = (both["value_plain"] - both["value"]) / np.sqrt(both["mcse_plain"] ** 2 - both["mcse"] ** 2)
    assert z.abs().max() < 4


@pytest.mark.slow
def test_other_regimes_are_refused(tmp_path):
    mechanism, theta, priors = CASES["normal"]
    study = {
        "mechanisms": {**mechanism, "truth": {"theta_school": {g: 5 for g in "ABCDEFGH"}}}, "estimands": [theta],
        "methods": {"m": {"sampler": "exact", "priors": priors}}, "performance": ["cover"], "replications": 8, "failures": "complete-case", "seed": 5,
    }  # fmt: skip
    with pytest.raises(ValueError, match="regime: population"):
        rao_blackwell(hm.run(study, tmp_path / "run", progress=False))


@pytest.mark.slow
def test_trap_9_group_coverage_is_nominal_under_the_prior_and_not_under_a_fixed_truth(tmp_path):
    """The same analysis: under its own prior 95% for every group; under a fixed truth shrinkage trades it."""
    priors = {"Intercept": "normal(0, 10)", "sd_school": "half_normal(5)"}
    mechanism = {"formula": "effect ~ 1 + (1 | school)", "known_se": "se", "design": "eight_schools"}
    found = {}
    for regime, truth in (
        ("prior", priors),
        ("fixed", {"theta_school": {g: 40 if g == "A" else 0 for g in "ABCDEFGH"}}),
    ):
        study = {
            "mechanisms": {**mechanism, "truth": truth}, "estimands": ["theta_school"], "methods": {"m": {"sampler": "exact", "priors": priors}},
            "performance": ["cover", "rank_cover"], "replications": 1024, "failures": "complete-case", "seed": 6,
        }  # fmt: skip
        run = hm.run(study, tmp_path / regime, progress=False)
        assert run.manifest["regime"] == [regime] and any(f"regime: {regime}" in note for note in run.notes)
        found[regime] = run.performance.set_index(["measure", "group"])
    for measure in ("cover", "rank_cover"):
        rows = found["prior"].loc[measure]
        assert ((rows["value"] - 0.95).abs() < 4 * rows["mcse"]).all()
    fixed = found["fixed"].loc["cover"]["value"]
    assert fixed["A"] < 0.85 and fixed.drop(["A", "[mean]"]).min() > 0.95
