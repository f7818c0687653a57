"""Fitted rows and residuals against posteriors in closed form."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm

DRAWS = {"sampler": "exact", "draws": 2000, "chains": 2, "progress": False}


@pytest.fixture(scope="module")
def schools():
    """mu and tau known: theta_j | y is normal with precision 1 / se^2 + 1 / tau^2."""
    model = hm.Model(
        "effect ~ 1 + (1 | school)", known_se="se", priors={"Intercept": "fixed(5)", "sd_school": "fixed(10)"}
    )
    frame = hm.load_dataset("eight_schools").set_index("school", drop=False)
    return hm.fit(model, frame, **DRAWS)


def law(frame):
    precision = 1 / frame["se"] ** 2 + 1 / 100
    return (frame["effect"] / frame["se"] ** 2 + 5 / 100) / precision, precision**-0.5


def test_fitted_rows_of_a_normal_model(schools):
    table = schools.fitted(0.9)
    assert list(table.columns) == ["mean", "sd", "median", "eti90_lb", "eti90_ub"]
    assert table.index.equals(schools.data.index)
    mean, sd = law(schools.data)
    assert np.all(np.abs(table["mean"] - mean) < 4.5 * sd / np.sqrt(4000))
    assert np.all(np.abs(table["sd"] / sd - 1) < 4.5 / np.sqrt(8000))
    ends = stats.norm(mean, sd).ppf([[0.05], [0.95]])
    assert np.all(
        np.abs(table[["eti90_lb", "eti90_ub"]].to_numpy().T - ends) < 4.5 * 2.1 * sd.to_numpy() / np.sqrt(4000)
    )


def test_residuals_of_a_normal_model(schools):
    raw, standardised = schools.residuals(), schools.residuals("standardised")
    np.testing.assert_allclose(raw["mean"], schools.data["effect"] - schools.fitted()["mean"], atol=1e-9)
    np.testing.assert_allclose(standardised["mean"], raw["mean"] / schools.data["se"], atol=1e-9)
    with pytest.raises(
        ValueError, match="kind: expected one of raw, standardised, found 'standardized'; did you mean 'standardised'"
    ):
        schools.residuals("standardized")


def test_rows_of_counts():
    """One common probability under a beta prior: its posterior is Beta(1 + 9, 1 + 21)."""
    frame = pd.DataFrame({"y": [2, 3, 4], "n": [10, 10, 10]})
    fit = hm.fit(hm.Model("y ~ 1", family="binomial", trials="n", priors={"Intercept": "beta(1, 1)"}), frame, **DRAWS)
    posterior = stats.beta(10, 22)
    assert np.all(np.abs(fit.fitted()["mean"] - 10 * posterior.mean()) < 4 * 10 * posterior.std() / np.sqrt(4000))
    p = fit.draws.values["Intercept"]
    expected = ((3 - 10 * p) / np.sqrt(10 * p * (1 - p))).mean()
    assert abs(fit.residuals("standardised")["mean"].iloc[1] - expected) < 1e-9


def test_rows_of_rates():
    frame = pd.DataFrame({"y": [2, 3, 9], "x": [1.0, 2.0, 5.0]})
    fit = hm.fit(hm.Model("y ~ 1", family="poisson", exposure="x", priors={"Intercept": "gamma(1, 1)"}), frame, **DRAWS)
    posterior = stats.gamma(15, scale=1 / 9)
    assert np.all(
        np.abs(fit.fitted()["mean"] - frame["x"] * posterior.mean()) < 4 * frame["x"] * posterior.std() / np.sqrt(4000)
    )
