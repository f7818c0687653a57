"""Estimators without draws as methods of a study: read, refused, run, and equal to their functions."""

from __future__ import annotations

import json

import jax
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.inference import estimators, frequentist
from hiermodels.inference.frequentist import cluster_summaries
from hiermodels.studies.config import ConfigError, Study, estimator_names, read_config
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.methods.tasks import run_chunk, simulate_chunk
from hiermodels.studies.run.runner import bind_all, dry_run
from hiermodels.studies.score.scoring import performance

SCHOOLS = {
    "formula": "effect ~ 1 + (1 | school)",
    "known_se": "se",
    "design": "eight_schools",
    "truth": {"Intercept": 8, "sd_school": 10},
}
TRIAL = {
    "formula": "y ~ 1 + treated + (1 | clinic)",
    "design": {"clinic": 9, "obs": "integers(3, 9)", "predictors": {"treated": "half(clinic)"}},
    "truth": {"Intercept": 1, "treated": 0.5, "sd_clinic": 1, "sigma": 2},
}
BATTERS = {
    "formula": "hits ~ 1 + (1 | player)",
    "family": "binomial",
    "trials": "at_bats",
    "design": "baseball",
    "truth": {"mean_player": 0.27, "kappa_player": 100},
}


def study(mechanisms=SCHOOLS, **changes) -> dict:
    return {
        "mechanisms": mechanisms,
        "estimands": [
            "Intercept",
            "sd_school",
            "theta_school",
            "mean(theta_school)",
            "new(school)",
            {"benefit": "P(Intercept > 0)"},
        ],
        "methods": {"js": {"estimator": "james_stein"}},
        "performance": ["bias", "mse", "cover"],
        "replications": 6,
        "failures": "complete-case",
        "seed": 2,
        "lanes": 4,
        "chunk": 8,
    } | changes


def datasets(config: dict) -> tuple[np.ndarray, object]:
    """Outcomes of the only cell's replicates, and its design."""
    found = read_config(config)
    mechanism = mechanism_of(found, found.cells()[0])
    return np.asarray(simulate_chunk(found, mechanism, np.arange(config["replications"]))[0]), mechanism.frame


def estimates(config: dict) -> pd.DataFrame:
    """The table of estimates of the only cell, without a run folder."""
    found = read_config(config)
    cell = found.cells()[0].hash
    whole = pd.concat([run_chunk(found, cell, m, 0).to_pandas() for m in found.methods])
    return whole[whole["rep"] < config["replications"]]


def column(found: pd.DataFrame, method: str, estimand: str, name: str) -> np.ndarray:
    rows = found[(found["method"] == method) & (found["estimand"] == estimand)].sort_values("rep", kind="stable")
    return rows[name].to_numpy(float).reshape(rows["rep"].nunique(), -1).squeeze()


@pytest.fixture(scope="module")
def schools(tmp_path_factory):
    methods = {
        "separate": {"estimator": "separate"},
        "none": {"pooling": "none", "sampler": "exact"},
        "weighted": {"estimator": "weighted"},
        "complete": {"pooling": "complete", "sampler": "exact", "priors": {"Intercept": "flat()"}},
        "js": {"estimator": "james_stein"},
        "morris": {"estimator": "morris"},
        "hksj": {"estimator": "hksj", "heterogeneity": "paule_mandel"},
        "mix": {"estimator": "compromise", "weight": 0.25},
    }
    config = study(methods=methods)
    folder = tmp_path_factory.mktemp("rivals") / "run"
    return config, hm.run(config, folder, workers=2, progress=False)


def test_rows_are_those_that_a_method_has(schools):
    has = {m: set(g["estimand"].unique()) for m, g in schools[1].estimates.groupby("method", observed=True)}
    average = {"theta_school", "mean(theta_school)"}
    assert has["separate"] == has["mix"] == average
    assert has["js"] == has["weighted"] == average | {"Intercept"}
    assert has["morris"] == average | {"Intercept", "sd_school"}
    assert has["hksj"] == {"Intercept", "sd_school", "new(school)"}
    assert set(schools[1].estimates["status"]) == {"ok"}


@pytest.mark.slow
def test_estimates_are_the_functions_on_the_same_datasets(schools):
    config, run = schools[0], schools[1].estimates
    outcomes, frame = datasets(config)
    variance = frame["se"].to_numpy() ** 2
    for r, y in enumerate(outcomes):
        js, morris = estimators.james_stein(y, variance), estimators.morris(y, variance)
        np.testing.assert_allclose(column(run, "js", "theta_school", "estimate")[r], js.theta, rtol=1e-9)
        np.testing.assert_allclose(column(run, "js", "Intercept", "estimate")[r], js.mean, rtol=1e-9)
        lower, upper = morris.interval()
        np.testing.assert_allclose(column(run, "morris", "theta_school", "lower")[r], lower, rtol=1e-9)
        np.testing.assert_allclose(column(run, "morris", "theta_school", "upper")[r], upper, rtol=1e-9)
        hksj = frequentist.hksj(y, variance, heterogeneity="paule_mandel")
        ends = [
            column(run, "hksj", name, end)[r] for name in ("Intercept", "new(school)") for end in ("lower", "upper")
        ]
        np.testing.assert_allclose(ends, [*hksj.interval("mean"), *hksj.interval("new")], rtol=1e-9)
        np.testing.assert_allclose(column(run, "hksj", "sd_school", "estimate")[r], hksj.sd, rtol=1e-9)
    assert np.isnan(column(run, "js", "theta_school", "se")).all()
    assert np.isnan(column(run, "hksj", "sd_school", "lower")).all()


def test_the_extremes_are_the_library_s_own(schools):
    run = schools[1].estimates
    for mine, theirs, names in (
        ("separate", "none", ["theta_school"]),
        ("weighted", "complete", ["Intercept", "theta_school"]),
    ):
        for name in names:
            sd = column(run, mine, name, "se")
            for what in ("estimate", "se", "lower", "upper", "true"):
                ours, library = column(run, mine, name, what), column(run, theirs, name, what)
                assert (np.abs(ours - library) <= 1e-6 * (np.abs(library) + sd)).all(), (
                    what
                )  # an end near zero is as exact as its posterior is wide


def test_what_a_method_lacks_is_na_with_its_reason(schools):
    run = schools[1]
    cover = run.performance.query("measure == 'cover'").set_index(["method", "estimand", "group"])["value"]
    assert cover.xs("js").isna().all() and cover.xs("mix").isna().all()
    assert (
        cover.xs("morris").xs("theta_school").notna().all()
        and cover.loc["hksj", "sd_school", ""] != cover.loc["hksj", "sd_school", ""]
    )
    assert any("cover is NA" in note and "the method gives no interval" in note for note in run.notes)
    assert (run.performance["n_failed"] == 0).all()
    bias = run.performance.query("measure == 'bias'")
    assert bias["value"].notna().all()


def test_point_estimates_between_0_and_1_are_no_decision():
    # power of an estimate without interval is NA, not the share above 0.975
    config = study(
        {
            "formula": "avg ~ 1 + (1 | player)",
            "known_se": "se",
            "design": "baseball",
            "truth": {"Intercept": 0.27, "sd_player": 0.02},
        },
        estimands=["theta_player"],
    )
    table, notes = performance(estimates(config), factors=[], measures=["power"], regime="population")
    assert table["value"].isna().all() and "the method gives no interval" in " ".join(notes)


def test_a_run_names_its_estimators(schools):
    config, run = schools
    assert run.manifest["models"]["js"] == {
        "text": "james_stein: James-Stein estimator that shrinks to the mean, positive part.",
        "latex": "",
    }
    assert run.config["methods"]["mix"]["weight"] == 0.25
    assert {"sampler", "pooling", "priors", "settings", "draws"}.isdisjoint(run.config["methods"]["mix"])
    again = Study.from_resolved(json.loads(json.dumps(read_config(config).resolved())))
    assert again.resolved() == read_config(config).resolved() and again.methods == read_config(config).methods
    assert "estimator" not in run.config["methods"]["none"]


@pytest.mark.slow
def test_intervals_follow_the_study_s():
    methods = {"s": {"estimator": "separate"}, "h": {"estimator": "hksj"}}
    outcomes, frame = datasets(study())
    for interval, p in (({"level": 0.8, "kind": "upper"}, 0.8), (0.5, 0.75)):
        config = study(methods=methods, interval=interval, estimands=["theta_school", "Intercept"])
        run = estimates(config)
        np.testing.assert_allclose(
            column(run, "s", "theta_school", "upper"), outcomes + stats.norm.ppf(p) * frame["se"].to_numpy(), rtol=1e-9
        )
        found = frequentist.hksj(outcomes[0], frame["se"].to_numpy() ** 2)
        assert column(run, "h", "Intercept", "upper")[0] == pytest.approx(
            float(found.mean + stats.t.ppf(p, 7) * found.mean_se)
        )
        lower = column(run, "s", "theta_school", "lower")
        assert np.isneginf(lower).all() if p == 0.8 else np.isfinite(lower).all()


@pytest.mark.slow
def test_clusters():
    methods = {
        "t": {"estimator": "cluster_t"},
        "welch": {"estimator": "cluster_t", "equal_variances": False},
        "mixed": {"estimator": "satterthwaite"},
    }
    config = study(TRIAL, methods=methods, estimands=["Intercept", "treated", "sd_clinic", "sigma", "theta_clinic"])
    run = estimates(config)
    outcomes, frame = datasets(config)
    for r, y in enumerate(outcomes):
        found = cluster_summaries(y[: len(frame)], frame["clinic"], frame["treated"])
        mixed = frequentist.satterthwaite(**found)
        del found["within"]
        for method, function in (("t", frequentist.cluster_t(**found)), ("mixed", mixed)):
            ends = [
                column(run, method, name, end)[r] for name in ("treated", "Intercept") for end in ("lower", "upper")
            ]
            np.testing.assert_allclose(ends, [*function.interval("effect"), *function.interval("mean")], rtol=1e-6)
        assert column(run, "mixed", "sd_clinic", "estimate")[r] == pytest.approx(float(mixed.sd), rel=1e-6, abs=1e-9)
        assert column(run, "mixed", "sigma", "estimate")[r] == pytest.approx(float(mixed.sigma), rel=1e-6)
    assert set(run[run["method"] == "t"]["estimand"]) == {"Intercept", "treated"}


@pytest.mark.slow
def test_proportions_and_rates():
    methods = {"arcsine": {"estimator": "arcsine_james_stein"}, "raw": {"estimator": "james_stein"}}
    config = study(BATTERS, methods=methods, estimands=["mean_player", "theta_player"])
    run = estimates(config)
    hits, frame = datasets(config)
    trials = frame["at_bats"].to_numpy()
    for r, s in enumerate(hits):
        np.testing.assert_allclose(
            column(run, "arcsine", "theta_player", "estimate")[r], estimators.arcsine_james_stein(s, trials).theta
        )
        p = s.sum() / trials.sum()
        raw = estimators.james_stein(s / trials, p * (1 - p) / trials)
        np.testing.assert_allclose(column(run, "raw", "theta_player", "estimate")[r], raw.theta)
        assert column(run, "raw", "mean_player", "estimate")[r] == pytest.approx(float(raw.mean))


def test_rows_of_a_group_are_combined_by_precision():
    frame = pd.DataFrame({"g": list("aabbbccdd"), "se": [1.0, 2, 1, 1, 3, 2, 2, 1, 4]})
    config = study(
        SCHOOLS | {"formula": "effect ~ 1 + (1 | g)", "design": frame, "truth": {"Intercept": 0, "sd_g": 3}},
        estimands=["theta_g"],
    )
    found = read_config(config)
    bind_all(found)
    from hiermodels.models.data import as_jax
    from hiermodels.studies.methods.ready import fit_of

    fit = fit_of(found, found.cells()[0], "js")
    y = np.arange(9.0) ** 1.5
    with jax.enable_x64(True):
        estimate = fit.function(None, as_jax(fit.problem.with_outcome(y))).estimate
    w = 1 / frame["se"] ** 2
    mean, precision = (y * w).groupby(frame["g"]).sum() / w.groupby(frame["g"]).sum(), w.groupby(frame["g"]).sum()
    np.testing.assert_allclose(estimate, estimators.james_stein(mean.to_numpy(), 1 / precision.to_numpy()).theta)


@pytest.mark.slow
def test_every_estimator_runs_where_it_applies():
    trial = ("cluster_t", "satterthwaite")
    for name in estimator_names():
        mechanisms = TRIAL if name in trial else BATTERS if name == "arcsine_james_stein" else SCHOOLS
        group = next(iter(mechanisms["truth"])).split("_")[-1] if mechanisms is BATTERS else ""
        estimands = ["treated"] if name in trial else ["theta_player"] if group else ["Intercept", "theta_school"]
        lines = dry_run(read_config(study(mechanisms, methods={"m": {"estimator": name}}, estimands=estimands)))
        assert lines[-1] == "ok" and "none of the estimands" not in lines[1]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"estimator": "james_stien"},
            r"methods\.m\.estimator: expected the name of an estimator; found 'james_stien'; did you mean 'james_stein'\?",
        ),
        ({"estimator": 3}, r"methods\.m\.estimator: expected the name of an estimator; found 3"),
        (
            {"estimator": "compromise", "wieght": 0.5},
            r"methods\.m\.wieght: compromise has no setting 'wieght'; did you mean 'weight'\?",
        ),
        (
            {"estimator": "james_stein", "weight": 0.5},
            r"methods\.m\.weight: james_stein has no setting 'weight'; it has no settings",
        ),
        ({"estimator": "compromise", "weight": 2}, r"methods\.m\.weight: expected a number from 0 to 1; found 2"),
        (
            {"estimator": "hksj", "heterogeneity": "remel"},
            r"methods\.m\.heterogeneity: expected one of .*found 'remel'; did you mean 'reml'\?",
        ),
        (
            {"estimator": "cluster_t", "equal_variances": 1},
            r"methods\.m\.equal_variances: expected true or false; found 1",
        ),
        (
            {"estimator": "hksj", "sampler": "nuts"},
            r"methods\.m\.sampler: expected no sampler beside an estimator, which has no posterior; found 'nuts'",
        ),
        ({"estimator": "hksj", "pooling": "none"}, r"methods\.m\.pooling: expected no pooling beside an estimator"),
        (
            {"estimator": "hksj", "priors": {"Intercept": "flat()"}},
            r"methods\.m\.priors: expected no priors beside an estimator",
        ),
        ({"estimator": "hksj", "draws": 100}, r"methods\.m\.draws: expected no draws beside an estimator"),
        ({"estimator": "hksj", "host": True}, r"methods\.m\.host: expected one of estimator and host; found both"),
        ({"settings": {"weight": 1}}, r"methods\.m\.settings: unknown key 'settings'"),
        ({"estimands": ["Intercept"]}, r"methods\.m\.estimands: expected no estimands but of a host function"),
    ],
)
def test_mistakes(method, message):
    with pytest.raises(ConfigError, match=message):
        read_config(study(methods={"m": method}))


KNOWN = SCHOOLS | {"design": {"school": 8, "obs": 1, "predictors": {"se": 1, "x": "normal(0, 1)"}}}
COUNTY = {"formula": "y ~ 1 + (1 | g)", "family": "poisson", "design": {"g": 5}, "truth": {"mean_g": 2, "shape_g": 3}}
BY_ROW = {"design": {"clinic": 9, "obs": 4, "predictors": {"treated": "half(obs)"}}}


@pytest.mark.parametrize(
    ("mechanisms", "name", "message"),
    [
        (SCHOOLS, "cluster_t", r"methods\.m.*expected a normal outcome with one unknown sigma, found known standard errors or weights"),
        (SCHOOLS, "arcsine_james_stein", r"expected binomial counts, found family normal; use james_stein"),
        (COUNTY, "arcsine_james_stein", r"expected binomial counts, found family poisson"),
        (TRIAL, "james_stein", r"expected 1 \+ \(1 \| clinic\), found treated"),
        (KNOWN | {"formula": "y ~ 1 + x + (1 | school)", "truth": {"Intercept": 0, "x": 1, "sd_school": 1}}, "hksj", r"found x; write the method's own formula"),
        (KNOWN | {"formula": "y ~ 1 + (1 + x | school)", "truth": {"Intercept": 0, "sd_school": 1, "sd_school_x": 1}}, "hksj", r"found a slope of x"),
        ({"formula": "y ~ 1 + (1 | g)", "design": {"g": 8, "obs": 3}, "truth": {"Intercept": 0, "sd_g": 1, "sigma": 1}}, "hksj", r"expected known standard errors, found an unknown sigma"),
        ({"formula": "y ~ 1 + (1 | a/b)", "design": {"a": 8, "b": 3}, "truth": {"Intercept": 0, "sd_a": 1, "sd_a:b": 1, "sigma": 1}}, "hksj", r"expected one grouping, found a, a:b"),
        ({"formula": "y ~ 1", "design": {"a": 8}, "truth": {"Intercept": 0, "sigma": 1}}, "james_stein", r"expected a group term such as"),
        (TRIAL | BY_ROW, "satterthwaite", r"treated varies within clinic"),
        (TRIAL | {"design": {**TRIAL["design"], "obs": 1}}, "satterthwaite", r"expected clusters with more than one outcome"),
        (TRIAL | {"design": {**TRIAL["design"], "predictors": {"treated": "integers(0, 5)"}}}, "cluster_t", r"treated varies within clinic"),
        ({"formula": "y ~ 1 + (1 | g)", "design": {"g": 8, "obs": 3}, "truth": {"Intercept": 0, "sd_g": 1, "sigma": 1}}, "cluster_t", r"one predictor of clusters, found no predictor"),
    ],
)  # fmt: skip
def test_designs_that_an_estimator_does_not_apply_to(mechanisms, name, message):
    names = {e for e in mechanisms["truth"]}
    config = study(mechanisms, methods={"m": {"estimator": name}}, estimands=sorted(names))
    with pytest.raises(ConfigError, match=message):
        bind_all(read_config(config))


def test_an_estimator_needs_a_formula():
    import numpyro
    import numpyro.distributions as dist

    def own(se, effect=None):
        mu = numpyro.sample("Intercept", dist.Normal(0, 1))
        numpyro.sample("observed", dist.Normal(mu, se), obs=effect)

    config = study({"formula": own, "design": "eight_schools", "truth": {"Intercept": 1}}, estimands=["Intercept"])
    with pytest.raises(ValueError, match=r"formula: james_stein needs a formula, found a NumPyro function"):
        bind_all(read_config(config))
    config["methods"] = {"js": {"estimator": "james_stein", "formula": SCHOOLS["formula"], "known_se": "se"}}
    assert dry_run(read_config(config))[-1] == "ok"
