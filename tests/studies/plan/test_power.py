"""Decisions, power, assurance, cluster trials: against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.studies.config import read_config
from hiermodels.studies.plan.power_curves import _rule, crossings, power_curve, vary_sizes
from hiermodels.studies.score.power import calibrate_thresholds, decide, operating, read_rules


def table(fires: np.ndarray, true: np.ndarray, groups: bool = False) -> pd.DataFrame:
    """Estimates whose probability is .99 where a decision fires at .975 and .5 where it does not."""
    n, g = fires.shape
    rows = pd.DataFrame(
        {"rep": np.repeat(np.arange(n), g), "group": np.tile([f"g{k}" if groups else "" for k in range(g)], n)}
    )
    return rows.assign(
        method="m",
        estimand="benefit",
        true=true.ravel().astype(float),
        estimate=np.where(fires.ravel(), 0.99, 0.5),
        lower=np.nan,
        upper=np.nan,
        status="ok",
    )


# rules
# -----------------------------------------------------------------------------------------------------------------


def test_type_one_error_and_power_are_shares_among_false_and_true_claims():
    rng = np.random.default_rng(0)
    fires, true = rng.random((300, 1)) < 0.4, rng.random((300, 1)) < 0.5
    found, _ = operating(table(fires, true), read_rules({"benefit": 0.975}), regime="prior")
    rows = found.set_index("measure")
    assert rows.loc["type1", "value"] == pytest.approx(fires[~true].mean())
    assert rows.loc["power", "value"] == pytest.approx(fires[true].mean())
    assert rows.loc["assurance", "value"] == pytest.approx(fires.mean())
    assert rows.loc["type1", "n_sim"] == (~true).sum()
    p, n = fires[true].mean(), true.sum()
    assert rows.loc["power", "mcse"] == pytest.approx(math.sqrt(p * (1 - p) / n))
    low, high = stats.binomtest(int(fires[true].sum()), int(n)).proportion_ci(method="wilson")
    assert rows.loc["power", ["lower", "upper"]].tolist() == pytest.approx([low, high], rel=1e-6)


def test_families_of_groups():
    rng = np.random.default_rng(1)
    fires, true = rng.random((400, 4)) < 0.3, rng.random((400, 4)) < 0.5
    found, _ = operating(table(fires, true, groups=True), read_rules({"benefit": 0.975}))
    rows = found.set_index(["measure", "group"])["value"]
    some_false, some_true = (~true).any(1), true.any(1)
    assert rows["type1", "[any]"] == pytest.approx((fires & ~true).any(1)[some_false].mean())
    assert rows["power", "[any]"] == pytest.approx((fires & true).any(1)[some_true].mean())
    assert rows["power", "[all]"] == pytest.approx((fires | ~true).all(1)[some_true].mean())
    assert rows["power", "g2"] == pytest.approx(fires[:, 2][true[:, 2]].mean())
    assert ("type1", "[all]") not in rows


def test_a_fit_that_gave_nothing_is_no_decision():
    rows = table(np.ones((10, 1), bool), np.ones((10, 1), bool))
    rows.loc[3, ["estimate", "status"]] = [np.nan, "nonfinite"]
    rules = read_rules({"benefit": 0.975})
    complete, _ = operating(rows, rules)
    assert complete["value"].iloc[0] == 1 and (complete["n"].iloc[0], complete["n_failed"].iloc[0]) == (9, 1)
    worst, _ = operating(rows, rules, failures="worst-case")
    assert worst["value"].iloc[0] == pytest.approx(0.9)


def test_intervals_that_exclude_a_value():
    rows = pd.DataFrame(
        {
            "rep": range(4),
            "method": "m",
            "estimand": "treated",
            "group": "",
            "true": [0.0, 0.0, 1.0, -1.0],
            "estimate": 0.0,
            "lower": [0.1, -1.0, 0.5, -2.0],
            "upper": [1.0, 1.0, 2.0, -0.5],
            "status": "ok",
        }
    )
    rules = read_rules(
        {
            "differs": {"estimand": "treated", "excludes": 0},
            "better": {"estimand": "treated", "excludes": 0, "side": "above"},
        }
    )
    found = decide(rows, rules).set_index(["estimand", "rep"])
    assert found.loc["differs", "estimate"].tolist() == [1, 0, 1, 1]
    assert found.loc["differs", "true"].tolist() == [0, 0, 1, 1]
    assert found.loc["better", "estimate"].tolist() == [1, 0, 1, 0]
    assert found.loc["better", "true"].tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ({"a": 1.2}, "a: above: expected a number between 0 and 1"),
        ({"a": {"abov": 0.9}}, "did you mean 'above'"),
        ({"a": {"above": 0.9, "excludes": 0}}, "expected one of above, excludes and type1, found above and excludes"),
        ({"a": {"type1": 0.05}}, "null: expected the factors of the null cell"),
        ({"a": {"excludes": 0, "side": "up"}}, "side: expected one of both, above, below"),
        (3, "expected decision: threshold"),
    ],
)
def test_rules_that_cannot_be_read(decisions, message):
    with pytest.raises(ValueError, match=message):
        read_rules(decisions)


def test_a_rule_needs_its_estimand_and_a_probability():
    rows = table(np.ones((3, 1), bool), np.ones((3, 1), bool))
    with pytest.raises(ValueError, match="no estimand 'benefti'"):
        decide(rows, read_rules({"benefti": 0.9}))
    with pytest.raises(ValueError, match="found numbers outside 0 to 1"):
        decide(rows.assign(estimate=3.0), read_rules({"benefit": 0.9}))


# calibrated thresholds
# -------------------------------------------------------------------------------------------------


def test_a_calibrated_threshold_has_its_error_and_says_how_well_it_is_known():
    """Uniform probabilities under the null: the threshold for 5% is .95; its error over repetitions has the stated
    MCSE.
    """
    rule = read_rules({"b": {"type1": 0.05, "null": {"x": 0}}})[0]
    rng, found = np.random.default_rng(4), []
    for _ in range(400):
        null = pd.DataFrame(
            {
                "rep": range(500),
                "x": 0.0,
                "method": "m",
                "estimand": "b",
                "group": "",
                "true": 0.0,
                "estimate": rng.random(500),
                "status": "ok",
            }
        )
        found.append(calibrate_thresholds(null, rule, ["x"]).iloc[0])
    thresholds = np.array([f["value"] for f in found])
    errors = 1 - thresholds  # the true error of each threshold
    assert errors.mean() == pytest.approx(0.05, abs=4 * errors.std() / 20 + 0.002)
    assert errors.std() == pytest.approx(found[0]["error_mcse"], rel=0.15)
    assert all(f["error"] <= 0.05 for f in found)
    inside = np.mean([f["lower"] <= 0.95 <= f["upper"] for f in found])
    assert 0.91 < inside < 0.98


def test_thresholds_are_calibrated_for_each_setting_of_the_other_factors():
    rng = np.random.default_rng(5)
    parts = []
    for school, shift in ((10, 1.0), (20, 2.0)):
        for treated in (0, 1):
            p = rng.random(1000) ** (shift if treated == 0 else 0.1)
            parts.append(
                pd.DataFrame(
                    {
                        "rep": range(1000),
                        "school": float(school),
                        "treated": float(treated),
                        "method": "m",
                        "estimand": "b",
                        "group": "",
                        "true": float(treated),
                        "estimate": p,
                        "lower": np.nan,
                        "upper": np.nan,
                        "status": "ok",
                    }
                )
            )
    rows = pd.concat(parts)
    found, _ = operating(rows, read_rules({"b": {"type1": 0.1, "null": {"treated": 0}}}), factors=["school", "treated"])
    null = found[found["measure"] == "type1"]
    assert null["value"].tolist() == pytest.approx([0.1, 0.1], abs=0.002)
    limits = found[found["measure"] == "threshold"].set_index("school")["value"]
    assert limits[10.0] == pytest.approx(0.9, abs=0.03) and limits[20.0] == pytest.approx(0.9**2, abs=0.04)
    with pytest.raises(ValueError, match="no cell with treated=2"):
        operating(rows, read_rules({"b": {"type1": 0.1, "null": {"treated": 2}}}), factors=["school", "treated"])


# against closed forms
# --------------------------------------------------------------------------------------------------


def cluster_trial(schools: int, students: int, effect: float, replications: int) -> dict:
    """A treatment of whole schools with known variances: tau and sigma are fixed in the analysis."""
    tau, sigma = 0.4, 1.0
    return {
        "mechanisms": {
            "formula": "score ~ 1 + treated + (1 | school)",
            "design": {"school": schools, "obs": students, "predictors": {"treated": "half(school)"}},
            "truth": {"Intercept": 0, "treated": effect, "sd_school": tau, "sigma": sigma},
        },
        "estimands": ["treated", {"benefit": "P(treated > 0)"}],
        "methods": {
            "known": {"sampler": "exact", "priors": {"sd_school": f"fixed({tau})", "sigma": f"fixed({sigma})"}}
        },
        "performance": ["power"],
        "replications": replications,
        "failures": "complete-case",
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("schools", "students"),
    [(10, 5), *(pytest.param(j, n, marks=pytest.mark.slow) for j in (6, 20, 40) for n in (3, 10, 30))],
)
def test_power_of_a_cluster_randomised_trial_is_the_closed_form(schools, students):
    """Var(difference) = 4 (tau^2 + sigma^2 / n) / J; a flat prior decides at the one-sided 2.5% level."""
    effect, tau, sigma = 0.5, 0.4, 1.0
    se = math.sqrt(4 * (tau**2 + sigma**2 / students) / schools)
    expected = stats.norm.sf(1.959964 - effect / se)
    row = power_curve(cluster_trial(schools, students, effect, 2000), "benefit", replications=2000).table.iloc[0]
    assert abs(row["power"] - expected) < 3 * row["mcse"]
    assert row["n_sim"] == 2000 and row["units"] == schools * students


@pytest.mark.slow
def test_type_one_error_of_a_cluster_randomised_trial_is_nominal(tmp_path):
    study = cluster_trial(16, 4, 0.0, 2000)
    run = hm.run(
        {**study, "decisions": {"benefit": 0.975, "differs": {"estimand": "treated", "excludes": 0}}},
        tmp_path / "run",
        progress=False,
    )
    rows = run.performance[run.performance["measure"] == "type1"].set_index("estimand")
    assert abs(rows.loc["benefit", "value"] - 0.025) < 4 * rows.loc["benefit", "mcse"]
    assert abs(rows.loc["differs", "value"] - 0.05) < 4 * rows.loc["differs", "mcse"]
    again = hm.run(
        {**study, "decisions": {"benefit": 0.9}}, tmp_path / "run", progress=False
    )  # another threshold refits nothing
    assert abs(again.performance.query("measure == 'type1'")["value"].iloc[0] - 0.1) < 0.03


@pytest.mark.slow
def test_assurance_is_the_closed_form():
    """Truth from a design prior N(m, s^2), analysis under a flat prior: Phi((m - 1.96 se) / sqrt(s^2 + se^2)).

    O'Hagan, Stevens and Campbell (2005), Pharmaceutical Statistics 4, 187-201.
    """
    study = cluster_trial(20, 10, 0.5, 3000)
    study["mechanisms"]["truth"]["treated"] = "normal(0.4, 0.3)"
    se = math.sqrt(4 * (0.16 + 0.1) / 20)
    found = power_curve(study, "benefit", replications=3000)
    assert found.measure == "assurance"
    expected = stats.norm.cdf((0.4 - 1.959964 * se) / math.hypot(0.3, se))
    assert abs(found.table["power"].iloc[0] - expected) < 3 * found.table["mcse"].iloc[0]


@pytest.mark.slow
@pytest.mark.parametrize("level", ["classroom", "school", "obs"])
def test_treatments_are_assigned_at_any_level(level):
    """Known variances: the variance of the difference is that of the level's means."""
    tau, kappa, sigma, j, k, n = 0.5, 0.4, 1.0, 10, 4, 6
    within = {
        "school": tau**2 + kappa**2 / k + sigma**2 / (k * n),
        "classroom": kappa**2 + sigma**2 / n,
        "obs": sigma**2,
    }[level]
    count = {"school": j, "classroom": j * k, "obs": j * k * n}[level]
    se, effect = math.sqrt(4 * within / count), {"school": 0.9, "classroom": 0.45, "obs": 0.35}[level]
    study = {
        "mechanisms": {
            "formula": "score ~ 1 + treated + (1 | school/classroom)",
            "design": {"school": j, "classroom": k, "obs": n, "predictors": {"treated": f"half({level})"}},
            "truth": {"Intercept": 0, "treated": effect, "sd_school": tau, "sd_school:classroom": kappa, "sigma": sigma},
        },
        "estimands": [{"benefit": "P(treated > 0)"}],
        "methods": {"known": {"sampler": "exact", "priors": {"sd_school": f"fixed({tau})", "sd_school:classroom": f"fixed({kappa})", "sigma": f"fixed({sigma})"}}},
        "performance": ["power"], "replications": 1500, "failures": "complete-case", "seed": 8,
    }  # fmt: skip
    row = power_curve(study, "benefit", replications=1500).table.iloc[0]
    assert abs(row["power"] - stats.norm.sf(1.959964 - effect / se)) < 3 * row["mcse"]


# curves
# ----------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_curve_finds_the_smallest_design_and_where_it_crosses():
    study = cluster_trial(8, 5, 0.5, 1000)
    found = power_curve(study, "benefit", target=0.8, vary={"school": [8, 16, 24, 32, 48, 64]}, replications=1000)
    assert found.table["school"].tolist() == [8, 16, 24, 32, 48, 64]
    assert (np.diff(found.table["power"]) > -0.03).all()
    needed = ((1.959964 + 0.841621) / 0.5) ** 2 * 4 * (0.16 + 0.2)
    crossing = found.crossings.iloc[0]
    assert abs(crossing["needed"] - needed) < 3 * crossing["mcse"] + 0.5  # the probit line is exact here
    assert found.smallest["school"].iloc[0] in (48, 64)
    assert "smallest design" in str(found)


def test_sizes_are_crossed_with_the_grid():
    from hiermodels.studies.config import read_config

    study = cluster_trial(8, 5, 0.5, 100)
    study["mechanisms"]["grid"] = {"treated": [0, 0.5]}
    wide = vary_sizes(read_config(study), {"school": [8, 16], "obs": [5, 10]})
    assert len(wide.cells()) == 8
    assert {(c.factors["school"], c.factors["obs"]) for c in wide.cells()} == {(8, 5), (8, 10), (16, 5), (16, 10)}
    with pytest.raises(ValueError, match="'schol' is no size of the design; its sizes are school, obs"):
        vary_sizes(read_config(study), {"schol": [1]})


def test_crossings_have_the_spread_that_they_claim():
    rng, size = np.random.default_rng(6), np.array([10.0, 20, 30, 40, 60])
    p = stats.norm.cdf(-1.0 + 0.3 * np.sqrt(size))
    found = []
    for _ in range(500):
        rows = pd.DataFrame({"school": size, "method": "m", "power": rng.binomial(500, p) / 500, "n_sim": 500})
        found.append(crossings(rows, ["school"], ["school"], 0.8).iloc[0])
    needed = np.array([f["needed"] for f in found])
    assert needed.mean() == pytest.approx(((0.841621 + 1) / 0.3) ** 2, abs=0.5)
    assert needed.std() == pytest.approx(np.mean([f["mcse"] for f in found]), rel=0.15)


@pytest.mark.parametrize(
    ("estimand", "target", "message"),
    [("benefit", 1.5, "power: expected a number between 0 and 1"), ("benefits", 0.8, "did you mean 'benefit'")],
)
def test_bad_requests(estimand, target, message):
    with pytest.raises(ValueError, match=message):
        power_curve(cluster_trial(8, 5, 0.5, 100), estimand, target=target)


# cluster trials as they are planned
# ------------------------------------------------------------------------------------


def counts_trial(family: str, clusters: int, size: float, truth: dict, priors: dict, replications: int) -> dict:
    role = {"binomial": "trials", "poisson": "exposure"}[family]
    return {
        "mechanisms": {
            "formula": "events ~ 1 + treated + (1 | cluster)", "family": family, role: "size",
            "design": {"cluster": clusters, "predictors": {"treated": "half(cluster)", "size": size}}, "truth": truth,
        },
        "estimands": [{"benefit": "P(treated > 0)"}], "methods": {"partial": {"sampler": "exact", "priors": priors}},
        "performance": ["power"], "replications": replications, "failures": "complete-case", "seed": 12,
    }  # fmt: skip


def test_intraclass_correlations_stand_for_the_spread_between_clusters():
    from hiermodels.studies.config import read_config

    study = cluster_trial(10, 5, 0.5, 10)
    study["mechanisms"]["truth"] = {"Intercept": 0, "treated": 0.5, "sigma": 2, "icc_school": 0.2}
    assert read_config(study).cells()[0].truth["sd_school"] == pytest.approx(1)
    binary = counts_trial(
        "binomial", 10, 20, {"Intercept": 0, "treated": 0, "icc_cluster": 0.05}, {"kappa_cluster": "gamma(2, 0.1)"}, 10
    )
    assert read_config(binary).cells()[0].truth["kappa_cluster"] == pytest.approx(19)
    counts = counts_trial(
        "poisson", 10, 20, {"Intercept": 0, "treated": 0, "cv_cluster": 0.25}, {"shape_cluster": "gamma(2, 0.1)"}, 10
    )
    assert read_config(counts).cells()[0].truth["shape_cluster"] == pytest.approx(16)


def test_unequal_clusters_have_the_mean_and_the_coefficient_of_variation_asked_for():
    from hiermodels.studies.mechanisms.designs import design_frame

    for cv in (0.0, 0.3, 0.8):
        sizes = [
            design_frame({"school": 60, "obs": f"unequal(20, {cv})"}, seed, 5).groupby("school").size()
            for seed in range(5)
        ]
        assert np.mean([s.mean() for s in sizes]) == pytest.approx(20, abs=0.5)
        assert np.mean([s.std(ddof=0) / s.mean() for s in sizes]) == pytest.approx(cv, abs=0.03)
        assert cv == 0 or (sizes[0].to_numpy() != sizes[1].to_numpy()).any()


@pytest.mark.slow
def test_unequal_clusters_cost_power_as_the_information_says():
    """Known variances: the information of an arm is the sum over its clusters of 1 / (tau^2 + sigma^2 / n_j)."""
    from hiermodels.studies.config import read_config
    from hiermodels.studies.methods.ready import mechanism_of

    tau, effect = 0.2, 0.6
    study = cluster_trial(20, 8, effect, 1500)
    study["mechanisms"]["design"]["obs"] = "unequal(8, 0.9)"
    study["mechanisms"]["truth"]["sd_school"] = tau
    study["methods"]["known"]["priors"]["sd_school"] = f"fixed({tau})"
    config = read_config(study)
    frame = mechanism_of(config, config.cells()[0]).frame
    by = frame.groupby("school").agg(n=("treated", "size"), treated=("treated", "first"))
    information = (1 / (tau**2 + 1 / by["n"])).groupby(by["treated"]).sum()
    se = math.sqrt((1 / information).sum())
    row = power_curve(study, "benefit", replications=1500).table.iloc[0]
    assert abs(row["power"] - stats.norm.sf(1.959964 - effect / se)) < 3 * row["mcse"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_binary_and_count_outcomes_have_the_power_of_the_design_effect(family):
    """Clusters of n: Var = 4 p (1 - p) (1 + (n - 1) icc) / (J n) of a difference of shares; 4 (1 / (lambda n) + cv^2)
    / J of log rates.
    """
    clusters, size = 40, 30
    if family == "binomial":
        p, icc = 0.3, 0.05
        truth = {"Intercept": math.log(p / (1 - p)), "treated": 0.45, "icc_cluster": icc}
        q = 1 / (1 + math.exp(-truth["Intercept"] - 0.45))
        arms = [2 * (1 + (size - 1) * icc) / (clusters * size * x * (1 - x)) for x in (p, q)]  # of each log odds
        kappa = {"kappa_cluster": f"fixed({1 / icc - 1})"}
    else:
        rate, cv = 0.2, 0.3
        truth = {"Intercept": math.log(rate), "treated": 0.4, "cv_cluster": cv}
        arms = [2 * (1 / (x * size) + cv**2) / clusters for x in (rate, rate * math.exp(0.4))]
        kappa = {"shape_cluster": f"fixed({cv**-2})"}
    study = counts_trial(family, clusters, size, truth, {"Intercept": "flat()", "treated": "flat()", **kappa}, 2000)
    row = power_curve(study, "benefit", replications=2000).table.iloc[0]
    expected = stats.norm.sf(1.959964 - truth["treated"] / math.sqrt(sum(arms)))
    assert (
        abs(row["power"] - expected) < 3 * row["mcse"] + 0.015
    )  # the normal approximation to the log odds and the log rate


def test_a_test_of_a_term_decides_at_the_level_of_the_interval():
    study = read_config(
        {
            "mechanisms": {
                "formula": "y ~ 1 + treated + (1 | cluster)",
                "design": {"cluster": 6, "obs": 2, "predictors": {"treated": "half(cluster)"}},
                "truth": {"Intercept": 0, "treated": 1, "sd_cluster": 1, "sigma": 1},
            },
            "estimands": ["treated", {"benefit": "P(treated > 0)"}, {"differs": "test(treated)"}],
            "methods": {"reml": {"estimator": "reml"}},
            "interval": 0.9,
            "replications": 2,
            "seed": 1,
        }
    )
    assert [_rule(study, name).above for name in ("treated", "benefit", "differs")] == [None, 0.95, 0.9]
