"""`estimator: reml` and `ml` in studies: the numbers of `hm.estimate` and of the estimators that were there, mapped
over datasets.
"""

from __future__ import annotations

from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import hiermodels as hm
from hiermodels.inference import frequentist
from hiermodels.inference.direct import check_design, direct_estimator
from hiermodels.inference.draws import STATUS
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import bind
from hiermodels.models.problem import as_jax
from hiermodels.studies.methods.term_tests import whether_an_effect
from hiermodels.studies.run.execution import _troubled
from hiermodels.studies.run.export import import_estimates
from hiermodels.studies.run.replicate import replicate
from hiermodels.studies.score.scoring import performance


def alone(name, model, frame, *variables):
    """Estimates of one dataset as a study makes them: value, se, lower, upper of each scalar."""
    with jax.enable_x64(True):
        problem = bind(model, frame, priors=False)
        check_design(name, problem)
        found = jax.jit(direct_estimator(name, (), problem.layout, tuple(map(Target, variables)), Interval()))(
            None, as_jax(problem.data)
        )
    return np.stack([np.asarray(getattr(found, part)) for part in ("estimate", "se", "lower", "upper")], 1)


@pytest.mark.parametrize("name", ["reml", "ml"])
def test_known_variances_keep_the_numbers_of_the_estimator(name):
    """Mean, interval, sd and the new group's prediction interval are those of `frequentist.reml` on the groups'
    means.
    """
    frame = pd.DataFrame(
        {"g": list("abcdefg"), "y": [0.1, 1.9, -0.8, 2.5, 0.4, 3.1, 1.0], "se": [0.5, 0.7, 0.4, 1.1, 0.6, 0.9, 0.5]}
    )
    model = hm.Model("y ~ 1 + (1 | g)", known_se="se")
    found = alone(name, model, frame, "Intercept", "sd_g", "new(g)")
    old = getattr(frequentist, name)(frame["y"], frame["se"] ** 2)
    assert found[0] == pytest.approx([float(old.mean), float(old.mean_se), *map(float, old.interval("mean"))], abs=1e-8)
    assert found[1, 0] == pytest.approx(float(old.sd), rel=1e-8)
    assert found[2] == pytest.approx([float(old.mean), float(old.new_se), *map(float, old.interval("new"))], rel=1e-8)


def test_cluster_trials_keep_the_numbers_of_satterthwaite():
    rng = np.random.default_rng(3)
    sizes = [3, 5, 4, 6, 2, 5, 7, 4]
    cluster = np.repeat(np.arange(8), sizes)
    frame = pd.DataFrame(
        {"c": cluster, "treated": cluster % 2, "y": rng.normal(size=len(cluster)) + rng.normal(size=8)[cluster]}
    )
    found = alone("reml", hm.Model("y ~ 1 + treated + (1 | c)"), frame, "treated", "Intercept", "sd_c", "sigma")
    old = frequentist.satterthwaite(**frequentist.cluster_summaries(frame["y"], frame["c"], frame["treated"]))
    assert found[0] == pytest.approx(
        [float(old.effect), float(old.effect_se), *map(float, old.interval("effect"))], rel=1e-6
    )
    assert found[1] == pytest.approx([float(old.mean), float(old.mean_se), *map(float, old.interval("mean"))], rel=1e-6)
    assert found[2:, 0] == pytest.approx([float(old.sd), float(old.sigma)], rel=1e-7)


STUDY = {
    "mechanisms": {
        "formula": "y ~ 1 + treated + (1 | cluster)",
        "design": {"cluster": 6, "obs": 5, "predictors": {"treated": "half(cluster)"}},
        "truth": {"Intercept": 0, "treated": 0, "sd_cluster": 0.3, "sigma": 1},
    },
    "estimands": ["treated", "sd_cluster", "theta_cluster"],
    "methods": {"reml": {"estimator": "reml"}},
    "decisions": {"effect": {"estimand": "treated", "excludes": 0}},
    "performance": ["bias", "cover", "modelse"],
    "replications": 60,
    "seed": 3,
}


def test_a_study_gives_the_numbers_of_estimate_and_counts_singular_fits_apart(tmp_path):
    run = hm.run(STUDY, out=tmp_path / "run")
    counts = run.failures.iloc[0]
    assert counts["singular"] > 5 and counts["ok"] + counts["singular"] == 60 and counts["nonfinite"] == 0
    rows = run.estimates.query("estimand == 'sd_cluster'")
    assert ((rows["status"] == "singular") == (rows["estimate"] == 0)).all()
    assert (
        rows.loc[rows["status"] == "singular", "lower"].isna().all()
        and rows.loc[rows["status"] == "ok", "lower"].notna().all()
    )
    treated = run.estimates.query("estimand == 'treated'")
    assert treated[["lower", "upper"]].notna().all(axis=None)
    one, other = (rows["rep"][rows["status"] == word].iloc[0] for word in ("ok", "singular"))
    columns = ["estimate", "se", "lower", "upper"]
    for rep in (one, other):
        alone = hm.estimate(hm.Model(STUDY["mechanisms"]["formula"]), replicate(run, int(rep)).data)
        assert alone.status == rows.set_index("rep").loc[rep, "status"]
        expected = alone.summary().loc["treated", columns].to_numpy(float)
        assert treated.set_index("rep").loc[rep, columns].to_numpy(float) == pytest.approx(expected, rel=1e-6)
        sd = rows.set_index("rep").loc[rep, "estimate"]
        assert sd == pytest.approx(alone.summary().loc["sd_cluster", "estimate"], rel=1e-6, abs=1e-9)


def test_what_a_likelihood_needs_of_a_design_is_said_before_computing():
    for design, words in (
        ({"cluster": 6, "obs": 1}, "reml: .* cannot be told apart"),
        ({"cluster": 1, "obs": 9}, "reml: cluster: expected at least 2 groups"),
    ):
        bad = {**STUDY, "mechanisms": {**STUDY["mechanisms"], "formula": "y ~ 1 + (1 | cluster)", "design": design}}
        bad["mechanisms"]["truth"] = {"Intercept": 0, "sd_cluster": 1, "sigma": 1}
        with pytest.raises(ValueError, match=words):
            hm.run({**bad, "estimands": ["Intercept"], "decisions": {}}, out=None, replications=1)


def test_power_of_an_f_test_is_a_decision(tmp_path):
    """`test(arm)` is 1 - p of the test of all contrasts of a factor; the share beyond .95 is its power, or its type I
    error.
    """
    rng = np.random.default_rng(5)
    design = pd.DataFrame(
        {"site": np.repeat(np.arange(6), 6), "arm": np.tile(["a", "b", "c"], 12), "y": rng.normal(size=36)}
    )
    design.to_csv(tmp_path / "design.csv", index=False)
    study = {
        "mechanisms": {
            "formula": "y ~ 1 + arm + (1 | site)",
            "design": {"file": str(tmp_path / "design.csv")},
            "truth": {"Intercept": 0, "arm[b]": 0, "arm[c]": 0, "sd_site": 0.5, "sigma": 1},
            "grid": {"arm[c]": [0, 1.5]},
        },
        "estimands": ["arm[b]", {"differs": "test(arm)"}],
        "methods": {"reml": {"estimator": "reml"}},
        "decisions": {"found": {"estimand": "differs", "above": 0.95}},
        "performance": ["bias", "power"],
        "replications": 200,
        "seed": 1,
    }
    run = hm.run(study, out=tmp_path / "run")
    rows = run.estimates.query("estimand == 'differs'")
    assert rows["estimate"].between(0, 1).all() and set(rows["true"]) == {0.0, 1.0}
    share = rows.assign(fires=rows["estimate"] > 0.95).groupby("arm[c]")["fires"].mean()
    assert share[0] < 0.05 + 3 * (0.05 * 0.95 / 200) ** 0.5 and share[1.5] > 0.85
    power = run.performance.query("estimand == 'differs' and measure == 'power'").set_index("arm[c]")["value"]
    assert power.to_dict() == share.to_dict()  # without a rule a test decides at p < .05 too, as an interval does
    elsewhere = rows[["rep", "arm[c]", "estimand", "group", "estimate"]]
    import_estimates(run, elsewhere, "elsewhere")  # p-values of another program: the same truths, so the same errors
    table = hm.load_run(run.path).performance.query("estimand == 'found'").set_index(["method", "measure"])["value"]
    assert table["elsewhere", "type1"] == table["reml", "type1"] == share[0]
    assert table["elsewhere", "power"] == table["reml", "power"] == share[1.5]
    wrong = elsewhere.assign(estimate=1.5)
    with pytest.raises(ValueError, match=r"differs: .*1"):
        import_estimates(run, wrong, "wrong")
    with pytest.raises(
        ValueError,
        match=r"estimands\[0\]: expected test\(\) of a term or a coefficient; found 'arms'; did you mean 'arm'",
    ):
        hm.run({**study, "estimands": [{"differs": "test(arms)"}]}, out=tmp_path / "other")


def test_one_contrast_that_is_not_zero_is_an_effect():
    frame = pd.DataFrame({"site": np.repeat(range(3), 6), "arm": ["a", "b", "c"] * 6, "y": np.arange(18.0) ** 0.5})
    layout = bind(hm.Model("y ~ 1 + arm + (1 | site)"), frame, priors=False).layout
    target = Target("test(arm)", rows=((0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    true = {"Intercept": np.ones(4), "arm[b]": np.array([0, 0, 2, 1.0]), "arm[c]": np.array([0, 1.5, 0, -1.0])}
    assert whether_an_effect(layout, target, true, 4).tolist() == [0, 1, 1, 1]
    assert np.isnan(whether_an_effect(layout, target, {"arm[b]": np.zeros(4)}, 4)).all()


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [6, 10, 20])
def test_type_one_error_of_the_f_test(clusters, tmp_path):
    """1,000 null trials: the t test with Satterthwaite's degrees of freedom rejects near 5%, where the normal test of
    ML rejects more.
    """
    mechanisms = {
        **STUDY["mechanisms"],
        "design": {"cluster": clusters, "obs": 10, "predictors": {"treated": "half(cluster)"}},
    }
    mechanisms["truth"] = {**mechanisms["truth"], "sd_cluster": 0.6}
    study = {
        **STUDY,
        "mechanisms": mechanisms,
        "estimands": ["treated"],
        "methods": {"reml": {"estimator": "reml"}, "ml": {"estimator": "ml"}},
    }
    run = hm.run({**study, "performance": ["cover"]}, out=tmp_path / "run", replications=1000)
    cover = run.performance.set_index(["method", "measure"])["value"]
    assert abs(cover["reml", "cover"] - 0.95) < 0.021 + 0.004  # 3 MCSE, and what singular fits cost
    assert clusters > 10 or cover["ml", "cover"] < 0.93


WORDS = ("ok", "singular", "rhat", "nonfinite")


def test_singular_fits_are_neither_flagged_nor_counted_as_failed():
    """Among three replicates that count, one is singular and one has a large rhat, of which the second alone is told
    while the run goes on, and left out where flagged fits are.
    """
    status = pa.DictionaryArray.from_arrays(pa.array([STATUS.index(w) for w in WORDS], pa.int32()), pa.array(STATUS))
    table = pa.table({"rep": [4, 5, 6, 7], "status": status})
    assert _troubled(table, SimpleNamespace(fits=3)) == 1
    numbers = {"rep": range(4), "method": "m", "estimand": "mu", "group": "", "true": 0.0, "estimate": range(4)}
    frame = pd.DataFrame({**numbers, "lower": np.nan, "upper": np.nan, "status": WORDS})
    given = {"factors": [], "measures": ["bias"], "regime": "population"}
    kept, _ = performance(frame, exclude_flagged=True, **given)
    assert kept.loc[0, ["value", "n"]].tolist() == [0.5, 2]
