"""Pooling factors, shares of variance and ranks against dense Gaussian algebra, closed forms and their definitions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.inference import pooling_metrics
from hiermodels.inference.group_messages import flat_draws, group_log_likelihood
from hiermodels.models.data import bind

DRAWS = {"sampler": "exact", "draws": 500, "chains": 2, "progress": False}
SCHOOLS = hm.load_dataset("eight_schools")


def tree_frame():
    """Three schools with 2, 1 and 3 classes of unequal sizes; a predictor that varies within classes."""
    rng = np.random.default_rng(4)
    school, classroom, size = "aabccc", "123456", (3, 2, 4, 1, 5, 2)
    rows = [(s, c) for s, c, n in zip(school, classroom, size, strict=True) for _ in range(n)]
    frame = pd.DataFrame(rows, columns=["school", "classroom"])
    return frame.assign(x=rng.normal(size=len(frame)), y=rng.normal(3, 2, len(frame)))


def dense(frame, terms, values, sigma, level):
    """Covariance of rows that share a group: coefficient covariances by grouping, from ``level`` down; plus noise."""
    x = np.column_stack([np.ones(len(frame)), frame["x"]])
    cov = sigma**2 * np.eye(len(frame))
    for name in terms[terms.index(level) :]:
        code = frame["school"] if name == "school" else frame["school"] + ":" + frame["classroom"]
        same = code.to_numpy()[:, None] == code.to_numpy()[None]
        cov = cov + same * (x @ values[name] @ x.T)
    return x, cov


@pytest.fixture(scope="module")
def slopes():
    """A two-draw sample of every parameter of a tree with correlated slopes, chosen at random."""
    frame = tree_frame()
    problem = bind(hm.Model("y ~ 1 + x + (1 + x | school/classroom)"), frame)
    rng, levels = np.random.default_rng(1), problem.layout.levels
    values = {"Intercept": rng.normal(size=(1, 2)), "x": rng.normal(size=(1, 2)), "sigma": rng.uniform(1, 2, (1, 2))}
    for level in levels:
        groups = len(problem.labels[level.name])
        for word in ("", "_x"):
            values[f"sd_{level.name}{word}"] = rng.uniform(0.5, 2, (1, 2))
            values[f"theta_{level.name}{word}"] = rng.normal(size=(1, 2, groups))
        r = rng.uniform(-0.8, 0.8, (1, 2))
        values[f"cor_{level.name}"] = np.stack(
            [np.stack([np.ones_like(r), r], -1), np.stack([r, np.ones_like(r)], -1)], -1
        )
    return frame, problem, values


def covariances(values, s, names):
    found = {}
    for name in names:
        sd = np.array([values[f"sd_{name}"][0, s], values[f"sd_{name}_x"][0, s]])
        found[name] = np.outer(sd, sd) * values[f"cor_{name}"][0, s]
    return found


@pytest.mark.parametrize("i", [0, 1])
def test_group_likelihood_against_a_dense_normal(slopes, i):
    frame, problem, values = slopes
    names = [level.name for level in problem.layout.levels]
    found = group_log_likelihood(flat_draws(values), problem, i)
    code = frame["school"] if i == 0 else frame["school"] + ":" + frame["classroom"]
    for s in range(2):
        for j, label in enumerate(problem.labels[names[i]]):
            part = frame[(code == label).to_numpy()]
            alone = i == 1 and label == "b:3"  # the only class of its school: the school is left out with it
            top = names[0] if alone else names[i]
            x, cov = dense(part, names, covariances(values, s, names), values["sigma"][0, s], top)
            if top == names[0]:
                b = np.array([values["Intercept"][0, s], values["x"][0, s]])
            else:
                place = problem.labels[names[0]].index(label[0])
                b = np.array([values[f"theta_{names[0]}"][0, s, place], values[f"theta_{names[0]}_x"][0, s, place]])
            expected = stats.multivariate_normal(x @ b, cov).logpdf(part["y"])
            assert found[s, j] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("i", [0, 1])
@pytest.mark.parametrize("e", [0, 1])
def test_pooling_factor_against_dense_conditioning(slopes, i, e):
    """The variance of a group's own deviation given its rows and its parent, over that without the rows."""
    frame, problem, values = slopes
    names = [level.name for level in problem.layout.levels]
    found = pooling_metrics.pooling_factors(flat_draws(values), problem, i, e)
    code = frame["school"] if i == 0 else frame["school"] + ":" + frame["classroom"]
    for s in range(2):
        for j, label in enumerate(problem.labels[names[i]]):
            part = frame[(code == label).to_numpy()]
            cov = covariances(values, s, names)
            x, whole = dense(part, names, cov, values["sigma"][0, s], names[i])
            prior = cov[names[i]]
            left = prior - prior @ x.T @ np.linalg.solve(whole, x @ prior)
            assert found[s, j] == pytest.approx(left[e, e] / prior[e, e], abs=1e-9)


@pytest.fixture(scope="module")
def known():
    """Nothing but the mean is unknown above the schools."""
    return hm.fit(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "fixed(10)"}), SCHOOLS, **DRAWS
    )


def test_pooling_table_of_known_variances(known):
    fit = known
    table = fit.pooling()
    expected = SCHOOLS["se"] ** 2 / (SCHOOLS["se"] ** 2 + 100)
    np.testing.assert_allclose(table["pooling"], expected, atol=1e-12)
    np.testing.assert_allclose(table["pooling_ub"], expected, atol=1e-12)
    assert table["raw"].tolist() == SCHOOLS["effect"].tolist()
    assert table.index.tolist() == SCHOOLS["school"].tolist()
    np.testing.assert_array_equal(table["mean"], fit.summary("theta_school")["mean"])
    # what the factor is for: the posterior mean lies so far from the raw estimate towards the population mean, draw by
    # draw of mu
    mu = fit.draws.values["Intercept"].mean()
    predicted = expected.to_numpy() * mu + (1 - expected.to_numpy()) * SCHOOLS["effect"].to_numpy()
    assert np.all(np.abs(table["mean"] - predicted) < 4 * table["sd"] / np.sqrt(1000))


@pytest.mark.slow
def test_pooling_follows_the_draws_of_the_sd():
    fit = hm.fit(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS, **DRAWS)
    tau = fit.draws.values["sd_school"].reshape(-1, 1)
    factor = SCHOOLS["se"].to_numpy() ** 2 / (SCHOOLS["se"].to_numpy() ** 2 + tau**2)
    table = fit.pooling(prob=0.8)
    np.testing.assert_allclose(table["pooling"], factor.mean(0), atol=1e-12)
    np.testing.assert_allclose(
        table[["pooling_lb", "pooling_ub"]].to_numpy().T, np.quantile(factor, [0.1, 0.9], axis=0), atol=1e-12
    )
    share = fit.heterogeneity().loc["school"]
    w = 1 / SCHOOLS["se"].to_numpy() ** 2
    typical = 7 * w.sum() / (w.sum() ** 2 - (w**2).sum())
    i2 = (tau**2 / (tau**2 + typical)).ravel()
    assert share.loc["I2", "mean"] == pytest.approx(i2.mean(), abs=1e-12)
    assert share.loc["H2", "median"] == pytest.approx(np.median(1 + tau**2 / typical), abs=1e-9)
    np.testing.assert_allclose(
        share.loc["I2", ["lower", "upper"]].to_numpy(float), np.quantile(i2, [0.025, 0.975]), atol=1e-12
    )
    deviation = fit.draws.values["theta_school"].reshape(-1, 8) - fit.draws.values["Intercept"].reshape(-1, 1)
    expected = 1 - np.var(deviation.mean(0), ddof=1) / np.mean([np.var(d, ddof=1) for d in deviation])
    assert share.loc["gelman_pardoe", "mean"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_pooling_of_counts():
    rats = hm.load_dataset("rats")
    priors = {"mean_experiment": "fixed(0.15)", "kappa_experiment": "fixed(12)"}
    fit = hm.fit(
        hm.Model("tumors ~ 1 + (1 | experiment)", family="binomial", trials="rats", priors=priors), rats, **DRAWS
    )
    table = fit.pooling()
    np.testing.assert_allclose(table["pooling"], 12 / (12 + rats["rats"]), atol=1e-12)
    np.testing.assert_allclose(table["raw"], rats["tumors"] / rats["rats"], atol=1e-12)
    expected = table["pooling"] * 0.15 + (1 - table["pooling"]) * table["raw"]
    assert np.all(np.abs(table["mean"] - expected) < 4.5 * table["sd"] / np.sqrt(1000))
    assert fit.heterogeneity().loc[("experiment", "icc"), "mean"] == pytest.approx(1 / 13)
    pumps = hm.load_dataset("pumps")
    priors = {"mean_pump": "fixed(0.6)", "shape_pump": "fixed(2)"}
    fit = hm.fit(
        hm.Model("failures ~ 1 + (1 | pump)", family="poisson", exposure="hours", priors=priors), pumps, **DRAWS
    )
    np.testing.assert_allclose(fit.pooling()["pooling"], 2 / (2 + 0.6 * pumps["hours"]), atol=1e-12)


def test_shares_of_variance():
    frame = tree_frame()
    problem = bind(hm.Model("y ~ 1 + (1 | school/classroom)"), frame)
    values = {
        "Intercept": np.zeros(2),
        "sd_school": np.array([1.0, 2.0]),
        "sd_school:classroom": np.array([2.0, 1.0]),
        "sigma": np.array([3.0, 1.0]),
    }
    upper = pooling_metrics.level_shares(values, problem, 0)
    lower = pooling_metrics.level_shares(values, problem, 1)
    np.testing.assert_allclose(upper["vpc"], [1 / 14, 4 / 6])
    np.testing.assert_allclose(lower["vpc"], [4 / 14, 1 / 6])
    np.testing.assert_allclose(upper["icc"], [1 / 14, 4 / 6])
    np.testing.assert_allclose(lower["icc"], [5 / 14, 5 / 6])
    # a school's own mean has the variance 1 / sum of 1 / (sd_class^2 + sigma^2 / n)
    sizes = {"a": (3, 2), "b": (4,), "c": (1, 5, 2)}
    w = np.array([sum(1 / (4 + 9 / n) for n in s) for s in sizes.values()])
    typical = 2 * w.sum() / (w.sum() ** 2 - (w**2).sum())
    assert upper["I2"][0] == pytest.approx(1 / (1 + typical))
    assert upper["H2"][0] == pytest.approx((1 + typical) / typical)


@pytest.mark.parametrize("word", ["complete", "none"])
def test_other_poolings_have_factors_too(word):
    fit = hm.fit(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS, pooling=word, **DRAWS)
    assert (fit.pooling()["pooling"] == (1.0 if word == "complete" else 0.0)).all()


# ranks
# -------------------------------------------------------------------------------------------------------------------


def test_ranks_of_independent_groups():
    """Without pooling theta_j ~ N(y_j, se_j^2): P(best) by one integral a group, E(rank) by pairs."""
    fit = hm.fit(
        hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS, pooling="none", **(DRAWS | {"draws": 2000})
    )
    table = fit.ranks()
    y, se = SCHOOLS["effect"].to_numpy(float), SCHOOLS["se"].to_numpy(float)
    grid = np.linspace(-100, 150, 20001)
    cdf = stats.norm.cdf(grid, y[:, None], se[:, None])
    for j in range(8):
        others = np.prod(np.delete(cdf, j, axis=0), axis=0)
        p = np.trapezoid(stats.norm.pdf(grid, y[j], se[j]) * others, grid)
        assert abs(table["p_best"].iloc[j] - p) < 4.5 * np.sqrt(p * (1 - p) / 4000)
        beaten = stats.norm.cdf((np.delete(y, j) - y[j]) / np.sqrt(np.delete(se, j) ** 2 + se[j] ** 2)).sum()
        assert abs(table["expected_rank"].iloc[j] - 1 - beaten) < 4.5 * table["sd_rank"].iloc[j] / np.sqrt(4000)
    low = fit.ranks(highest=False)
    np.testing.assert_allclose(low["expected_rank"], 9 - table["expected_rank"])
    assert table["p_best"].sum() == pytest.approx(1)


def test_ranks_of_groups_that_agree():
    fit = hm.fit(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), SCHOOLS, pooling="complete", **DRAWS)
    table = fit.ranks()
    np.testing.assert_allclose(table["expected_rank"], 4.5)
    np.testing.assert_allclose(table["p_best"], 1 / 8)


# poolings side by side
# ---------------------------------------------------------------------------------------------------


def test_compare_pooling(known):
    fit = known
    found = fit.compare_pooling()
    assert list(found.fits) == ["complete", "none", "partial"]
    assert found.fits["partial"] is fit
    w = 1 / SCHOOLS["se"] ** 2
    common, error = (w * SCHOOLS["effect"]).sum() / w.sum(), w.sum() ** -0.5
    assert np.all(np.abs(found.table["complete", "estimate"] - common) < 4.5 * error / np.sqrt(1000))
    assert np.all(
        np.abs(found.table["none", "estimate"].to_numpy() - SCHOOLS["effect"]) < 4.5 * SCHOOLS["se"] / np.sqrt(1000)
    )
    assert np.all(found.table["none", "lower"].to_numpy() < found.table["partial", "estimate"].to_numpy())
    # leaving out one of eight under complete pooling: a normal density in closed form
    rest, least = w.sum() - w, (w * SCHOOLS["effect"]).sum() - w * SCHOOLS["effect"]
    exact = stats.norm(least / rest, np.sqrt(1 / rest + 1 / w)).logpdf(SCHOOLS["effect"]).sum()
    assert found.loo.loc["complete", "elpd"] == pytest.approx(exact, abs=0.1)
    assert np.isnan(found.loo.loc["none", "elpd"])
    assert "one row tells nothing" in found.missing["none, leave-one-out"]
    assert "complete" in str(found)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda fit: fit.pooling("scool"), "level: expected one of school, found 'scool'"),
        (lambda fit: fit.ranks(effect="x"), "effect: expected one of Intercept, found 'x'"),
        (lambda fit: fit.ranks(highest="yes"), "highest: expected True or False"),
        (lambda fit: fit.pooling(prob=2), "prob: expected a number between 0 and 1"),
    ],
)
def test_refusals(known, call, match):
    with pytest.raises(ValueError, match=match):
        call(known)
