"""Every number stands on the count in its row: parts of answers that are missing separately, and what is said of
them.
"""

import math

import numpy as np
import pandas as pd
import pytest

from hiermodels.studies.score import measures
from hiermodels.studies.score.measures import Errors
from hiermodels.studies.score.scoring import performance

NAN = float("nan")


def rows(reps=12, method="some", estimand="Intercept", group="", true=2.0, **columns):
    """Estimates of one method: whatever is not given is an answer that covers."""
    given = {"estimate": 2.0, "se": 0.4, "lower": 1.2, "upper": 2.8} | columns
    return pd.DataFrame(
        {
            "rep": range(reps),
            "method": method,
            "estimand": estimand,
            "group": group,
            "true": true,
            "status": "ok",
            "n_try": 1,
        }
        | given
    )


def partly(reps=12, missing=5, names=("se", "lower", "upper"), **columns):
    """As `rows`, the first replicates without some parts of their answers."""
    frame = rows(reps, **columns)
    frame.loc[: missing - 1, list(names)] = np.nan
    return frame


def scored(frame, names, **settings):
    return performance(frame, factors=[], measures=list(names), **({"regime": "population"} | settings))


def row(table, measure, method="some", group=""):
    found = table[(table["measure"] == measure) & (table["method"] == method) & (table["group"] == group)]
    assert len(found) == 1
    return found.iloc[0]


def counts(found):
    return found["n_sim"], found["n"], found["n_failed"]


# Estimates, standard errors and intervals are known separately


def test_a_value_stands_on_the_replicates_that_have_what_it_needs():
    table, notes = scored(partly(), ["bias", "cover", "ciwidth", "modelse", "relerror", "power"])
    assert counts(row(table, "bias")) == (12, 12, 0)
    for measure in ("cover", "ciwidth", "modelse", "power"):
        assert counts(row(table, measure)) == (12, 7, 5)
    assert row(table, "cover")["value"] == 1
    assert any("Intervals: Intercept (some) has them in 7 of 12" in note for note in notes)


def test_the_worst_case_counts_a_missing_interval_as_one_that_does_not_cover():
    table, _ = scored(partly(), ["cover", "power"], failures="worst-case")
    found = row(table, "cover")
    assert found["value"] == pytest.approx(7 / 12) and counts(found) == (12, 12, 5)
    assert found["upper"] == 1
    assert row(table, "power")["value"] == pytest.approx(7 / 12)


def test_pairs_are_made_by_what_a_measure_needs():
    frame = pd.concat([rows(method="whole"), partly(), rows(method="points", se=NAN, lower=NAN, upper=NAN)])
    table, _ = scored(frame, ["bias", "cover", "modelse"], failures="paired-complete")
    assert {counts(row(table, "bias", m)) for m in ("whole", "some", "points")} == {(12, 12, 0)}
    assert counts(row(table, "cover", "whole")) == (12, 7, 0)  # left out, not failed
    assert counts(row(table, "cover", "some")) == (12, 7, 5)
    assert counts(row(table, "modelse", "whole")) == (12, 7, 0)
    assert counts(row(table, "cover", "points")) == (12, 0, 0)  # which bars nobody


@pytest.mark.parametrize("missing", ["se", "estimate", "interval"])
def test_a_measure_of_two_parts_stands_on_replicates_with_both(missing):
    names = ("lower", "upper") if missing == "interval" else (missing,)
    frame = partly(names=names, estimate=np.arange(12.0))
    table, _ = scored(frame, ["relerror", "becover"])
    assert row(table, "relerror")["n"] == (12 if missing == "interval" else 7)
    assert row(table, "becover")["n"] == (12 if missing == "se" else 7)


# Averages over groups


def test_averages_stand_on_complete_replicates_and_say_so():
    rng = np.random.default_rng(1)
    frame = pd.concat(
        [rows(20, estimand="theta_g", group=g, estimate=rng.normal(k, 1, 20), true=k) for k, g in enumerate("abc")],
        ignore_index=True,
    )
    frame.loc[(frame["group"] == "c") & (frame["rep"] < 8), "estimate"] = np.nan
    table, notes = scored(frame, ["bias", "thetamedian", "thetamean", "cover"])
    complete = frame[frame["rep"] >= 8]
    wide = complete.pivot(index="rep", columns="group", values="estimate")
    assert row(table, "thetamedian", group="[mean]")["value"] == pytest.approx(wide.mean(axis=1).median())
    assert row(table, "thetamean", group="[mean]")["value"] == pytest.approx(wide.to_numpy().mean())
    assert row(table, "bias", group="[mean]")["value"] == pytest.approx(
        (complete["estimate"] - complete["true"]).mean()
    )
    assert counts(row(table, "bias", group="[mean]")) == (20, 12, 8)
    assert counts(row(table, "bias", group="a")) == (20, 20, 0)
    assert counts(row(table, "cover", group="[mean]")) == (20, 20, 0)
    assert any(
        note.startswith("Rows [mean] stand on complete replicates") and "theta_g (some) has them in 12 of 20" in note
        for note in notes
    )


def test_no_complete_replicate_is_said():
    frame = pd.concat([rows(4, estimand="theta_g", group=g) for g in "ab"], ignore_index=True)
    frame.loc[
        (frame["group"] == "a") & (frame["rep"] < 2) | (frame["group"] == "b") & (frame["rep"] >= 2), "estimate"
    ] = np.nan
    table, notes = scored(frame, ["bias"])
    found = row(table, "bias", group="[mean]")
    assert math.isnan(found["value"]) and found["n"] == 0
    assert any("for every group" in note for note in notes)


# Reasons are true


@pytest.mark.parametrize(
    ("measure", "columns", "reason"),
    [
        ("cover", dict(true=NAN), "truth is not known"),
        ("bias", dict(true=NAN), "truth is not known"),
        ("cover", dict(lower=NAN), "gives no interval"),
        ("bias", dict(estimate=NAN), "gives no point estimate"),
        ("ciwidth", dict(lower=-np.inf), "infinite end"),
        ("relerror", dict(), "do not vary"),
        ("relerror", dict(estimate=0.1, true=0.3), "do not vary"),
    ],
)
def test_why_a_value_is_missing(measure, columns, reason):
    table, notes = scored(rows(**columns), [measure])
    assert math.isnan(row(table, measure)["value"])
    assert any(note.startswith(f"{measure} is NA for Intercept") and reason in note for note in notes)


@pytest.mark.parametrize("measure", ["relprec", "mse_ratio", "rmse_ratio"])
def test_a_ratio_to_nothing_has_a_reason(measure):
    exact, other = np.full(5, 2.0), np.arange(5.0)
    reference, own = (exact, other) if measure != "relprec" else (other, exact)
    found = getattr(measures, measure)(Errors(own, np.full(5, 2.0), reference=reference))
    assert math.isnan(found.value) and found.note and found.n == 5


# Intervals with an infinite end, or one side


def test_infinite_intervals_are_counted():
    frame = rows(200, lower=1.4, upper=2.6)
    frame.loc[:49, "upper"] = np.inf
    table, notes = scored(frame, ["ciwidth", "cover"])
    width, cover = row(table, "ciwidth"), row(table, "cover")
    assert width["value"] == pytest.approx(1.2) and counts(width) == (200, 150, 0)
    assert counts(cover) == (200, 200, 0) and cover["value"] == 1
    assert any(note.startswith("ciwidth of Intercept: intervals with an infinite end are left out") for note in notes)


@pytest.mark.parametrize(("sign", "lower", "upper"), [(1, -np.inf, 6.5), (-1, -6.5, np.inf)])
def test_an_interval_with_one_end_has_power_on_its_own_side_only(sign, lower, upper):
    blind = measures.power(
        Errors(np.full(9, 6.0 * sign), np.full(9, 6.0 * sign), lower=np.full(9, lower), upper=np.full(9, upper))
    )
    assert math.isnan(blind.value) and "one end" in blind.note and blind.n == 9
    fires = measures.power(
        Errors(
            np.full(9, -6.0 * sign),
            np.full(9, -6.0 * sign),
            lower=np.full(9, lower) - 10 * sign,
            upper=np.full(9, upper) - 10 * sign,
        )
    )
    assert fires.value == 1
    null = measures.power(Errors(np.zeros(9), np.zeros(9), lower=np.full(9, lower), upper=np.full(9, upper)))
    assert null.value == 0


def test_a_decision_on_the_side_without_an_end_is_undefined_and_said():
    from hiermodels.studies.score.power import operating, read_rules

    frame = rows(20, true=6.0, lower=-np.inf, upper=6.5)
    table, notes = operating(frame, read_rules({"differs": {"estimand": "Intercept", "excludes": 0}}))
    assert math.isnan(table["value"].iloc[0]) and any("one end" in note for note in notes)
    below, notes = operating(
        frame.assign(true=-6.0, upper=-5.5), read_rules({"differs": {"estimand": "Intercept", "excludes": 0}})
    )
    assert below["value"].iloc[0] == 1 and not notes


# The boundary of an estimand's space comes from its support


@pytest.mark.parametrize(
    ("support", "true", "lower", "upper"),
    [((0, np.inf), 0.0, 0.1, 3.0), ((0, 1), 0.0, 0.01, 0.2), ((0, 1), 1.0, 0.8, 0.99), ((-1, 1), 1.0, 0.3, 0.9)],
)
def test_coverage_at_a_truth_on_the_edge(support, true, lower, upper):
    frame = rows(estimand="x", true=true, lower=lower, upper=upper, estimate=(lower + upper) / 2)
    inside, notes = scored(frame, ["cover"], supports={"x": support})
    assert inside["value"].isna().all() and any("boundary" in note for note in notes)
    reaching, _ = scored(frame.assign(lower=true, upper=true), ["cover"], supports={"x": support})
    free, _ = scored(frame, ["cover"])
    assert (reaching["value"] == 1).all() and (free["value"] == 0).all()


def test_a_name_says_nothing_of_the_support():
    from hiermodels.studies.config import read_config
    from hiermodels.studies.methods.supports import supports_of

    study = read_config(
        {
            "mechanisms": {"formula": "y ~ 1 + sd_age", "design": {"obs": 60, "predictors": {"sd_age": "half(obs)"}},
                           "truth": {"Intercept": 0, "sd_age": 3, "sigma": 1}},
            "estimands": ["sd_age", "sigma"], "methods": {"c": {"pooling": "complete", "sampler": "exact"}},
            "performance": ["power"], "replications": 2, "failures": "complete-case", "seed": 1,
        }
    )  # fmt: skip
    assert supports_of(study) == {"sigma": (0.0, math.inf)}


# One number of retries


def test_failures_are_counted_as_fits_everywhere():
    frame = pd.concat(
        [rows(10, estimand=e, group=g) for e, g in (("Intercept", ""), ("theta_g", "a"), ("theta_g", "b"))],
        ignore_index=True,
    )
    frame.loc[frame["rep"] == 3, "n_try"] = 2
    frame.loc[(frame["rep"] == 4) & (frame["estimand"] == "theta_g"), ["estimate", "status"]] = [np.nan, "nonfinite"]
    _, notes = scored(frame, ["bias"])
    assert [n for n in notes if "retried" in n] == [
        n for n in notes if "of 10 fits attempted, 1 are missing (not finite) and 1 were retried" in n
    ]
    assert sum("retried" in n for n in notes) == 1


# Answers from outside are checked for their meaning, row by row


@pytest.fixture(scope="module")
def a_run(tmp_path_factory):
    import hiermodels as hm

    config = {
        "mechanisms": {"formula": "y ~ 1 + (1 | g)", "design": {"g": 6, "obs": 5}, "truth": {"Intercept": 2, "sd_g": 1, "sigma": 1}},
        "estimands": ["Intercept", "sd_g", {"positive": "P(Intercept > 0)"}],
        "methods": {"c": {"pooling": "complete", "sampler": "exact"}},
        "performance": ["cover", "bias", "modelse"], "replications": 12, "failures": "worst-case", "seed": 5,
    }  # fmt: skip
    return hm.run(config, tmp_path_factory.mktemp("counts") / "run", progress=False)


def answers(**columns):
    given = {
        "rep": range(12),
        "estimand": "Intercept",
        "estimate": 2.0,
        "se": 0.4,
        "lower": 1.2,
        "upper": 2.8,
    } | columns
    return pd.DataFrame(given)


def changed(column, row, value):
    frame = answers().astype({"estimand": object})
    frame.loc[row, column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (answers(lower=2.8, upper=1.2), "row 0: Intercept: expected lower <= upper, found 2.8 and 1.2"),
        (changed("lower", 7, 3.0), "row 7: Intercept: expected lower <= upper, found 3 and 2.8"),
        (changed("se", 3, -0.4), "row 3: Intercept: expected a finite se of at least 0, found -0.4"),
        (changed("estimate", 4, np.inf), "row 4: Intercept: expected a finite estimate, found inf"),
        (changed("upper", 11, NAN), "row 11: Intercept: expected both ends of the interval, found one; write -inf or inf"),
        (answers(estimand="sd_g", estimate=-0.1), "row 0: sd_g: expected an estimate from 0 to inf, found -0.1"),
        (answers(estimand="positive", estimate=1.2, lower=NAN, upper=NAN), "row 0: positive: expected an estimate from 0 to 1, found 1.2"),
        (answers(estimand="sd_h"), "row 0: unknown estimand 'sd_h'; did you mean 'sd_g'"),
        (answers(rep=range(1, 13)), "row 11: expected a whole number from 0 to 11"),
    ],
)  # fmt: skip
def test_imported_answers_mean_something(a_run, frame, message):
    from hiermodels.studies.run.export import import_estimates

    with pytest.raises(ValueError) as error:
        import_estimates(a_run, frame, "outside")
    assert message in str(error.value) and len(str(error.value)) < 600


def test_imported_answers_without_some_parts(a_run):
    import hiermodels as hm
    from hiermodels.studies.run.export import import_estimates

    frame = answers()
    frame.loc[:4, ["se", "lower", "upper"]] = np.nan
    import_estimates(a_run, frame, "partly")
    import_estimates(a_run, answers(estimate=NAN, se=NAN), "intervals")
    import_estimates(a_run, answers().iloc[:9], "rows")
    run = hm.load_run(a_run.path)
    table = run.performance[run.performance["estimand"] == "Intercept"]
    assert row(table, "cover", "partly")["value"] == pytest.approx(7 / 12)
    assert counts(row(table, "modelse", "partly")) == (12, 7, 5)
    assert row(table, "cover", "intervals")["value"] == 1 and math.isnan(row(table, "bias", "intervals")["value"])
    assert counts(row(table, "bias", "rows")) == (12, 9, 3)
    assert int(run.failures.set_index("method").loc["intervals", "nonfinite"]) == 0


def test_a_host_functions_answers_are_checked_too():
    from types import SimpleNamespace

    from hiermodels.inference.summaries import Target
    from hiermodels.studies.methods.kinds.host import without_faults

    targets = (Target("x", "mean", None, True), Target("x", "mean", 0.0, True))
    fit = SimpleNamespace(problem=None, targets=targets, names=(("x", ("",)), ("act", ("",))))
    numbers = np.array([[[1.0, 0.5, 0.0, 2.0], [0.9, NAN, NAN, NAN]], [[1.0, -0.5, 0.0, 2.0], [1.5, NAN, NAN, NAN]]])
    messages = [["", ""], ["", ""]]
    without_faults(fit, numbers, messages)
    assert np.isfinite(numbers[0, :, 0]).all() and np.isnan(numbers[1]).all()
    assert (
        messages[0] == ["", ""]
        and messages[1][0].startswith("'x': expected a finite se of at least 0, found -0.5")
        and "from 0 to 1, found 1.5" in messages[1][1]
    )


# Elsewhere


def test_pooled_tests_of_calibration_lose_a_quantity_alone():
    from types import SimpleNamespace

    from hiermodels.studies.calibrate.calibration import _judged

    rng, n = np.random.default_rng(2), 200
    finite = np.ones((n, 4), bool)
    finite[:195, 0] = False  # a quantity that is NaN in 195 of 200
    finite[:10, 3] = False  # one of two groups
    rank = rng.integers(0, 100, (n, 4)).astype(float)
    rows = SimpleNamespace(
        rank=rank, count=np.full((n, 4), 99.0), share=np.full((n, 4, 9), 0.5), below=rng.random((n, 4, 9)) < 0.5,
        kept=np.ones(n, bool), finite=finite, flagged=np.zeros(n, bool),
    )  # fmt: skip
    quantities = SimpleNamespace(labels={"broken": ("",), "mu": ("",), "theta_g": ("a", "b")})
    found = _judged((rows, quantities, "nuts"), "prior", False, 0)
    counted = found.table[found.table["test"] == "ecdf"].set_index("estimand")[["n_sim", "n_failed"]]
    assert counted.loc["mu"].tolist() == [200, 0]
    assert counted.loc["broken"].tolist() == [5, 195]
    assert counted.loc["theta_g"].tolist() == [190, 10]  # complete replicates
    assert any("broken in 195 fits, theta_g in 10 fits" in note for note in found.notes)


@pytest.mark.parametrize(
    "values",
    [([1.0, 1.01], [0.2, 0.3]), ([0.0, 0.0, 0.0], [0.1, 0.7, 0.3]), ([5.0, 5.001, 4.999], [1 / 3, 0.123, 9.87])],
)
def test_groups_that_do_not_differ_have_one_estimate(values):
    from hiermodels.inference.estimators import constrained_eb

    y, se = np.array(values[0]), np.array(values[1])
    pooled = (y / se**2).sum() / (1 / se**2).sum()
    np.testing.assert_allclose(constrained_eb(y, se**2).theta, pooled, atol=1e-12)


# Sizes are reported within those simulated


def cluster_power(obs, clusters=16, icc=0.08, effect=0.4):
    """Power of the t-test of cluster means, by the noncentral t: it has a limit as clusters grow."""
    from scipy import stats

    distance = effect / np.sqrt(4 * (icc + (1 - icc) / obs) / clusters)
    end = stats.t.ppf(0.975, clusters - 2)
    return stats.nct.sf(end, clusters - 2, distance) + stats.nct.cdf(-end, clusters - 2, distance)


def curve(size, power, n=1000, name="obs"):
    return pd.DataFrame({name: np.asarray(size, float), "method": "m", "power": power, "n_sim": n})


def test_a_plateau_below_the_target_is_said():
    from hiermodels.studies.plan.power_curves import crossings, outside

    size = np.array([4.0, 40, 400])
    rows = curve(size, cluster_power(size))
    assert crossings(rows, ["obs"], ["obs"], 0.8).empty
    (note,) = outside(rows, ["obs"], ["obs"], 0.8)
    level = float(note.split("about ")[1].split(",")[0])
    assert "levels off" in note and "no obs reaches it" in note and level == pytest.approx(cluster_power(1e9), abs=0.01)
    reached = crossings(rows, ["obs"], ["obs"], 0.7)["needed"].iloc[0]
    assert 40 < reached < 400 and cluster_power(reached) == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize(
    ("size", "words"),
    [([2, 4, 8], "try larger ones"), ([80, 160, 320], "try smaller ones"), ([20, 40, 80], None)],
)
def test_no_size_outside_the_grid(size, words):
    from scipy import stats

    from hiermodels.studies.plan.power_curves import crossings, outside

    rows = curve(size, stats.norm.cdf(-1.96 + 0.5 * np.sqrt(np.array(size))), name="school")  # crosses at 31.4
    found, notes = crossings(rows, ["school"], ["school"], 0.8), outside(rows, ["school"], ["school"], 0.8)
    assert len(found) == (words is None) and (words is None or words in notes[0])
    flat = curve(size, [0.05, 0.06, 0.05], name="school")
    assert crossings(flat, ["school"], ["school"], 0.8).empty and len(outside(flat, ["school"], ["school"], 0.8)) == 1


@pytest.mark.parametrize(("smallest", "warned"), [(1.0, False), (0.05, False), (0.001, True), (1e-4, True)])
def test_a_reference_prior_that_one_precise_study_makes_steep_is_said(smallest, warned):
    import hiermodels as hm
    from hiermodels.models.data import bind

    frame = pd.DataFrame(
        {"y": [0.1, 1.0, -0.4, 0.6, 0.2], "study": list("abcde"), "se": [smallest, 0.2, 0.3, 0.2, 0.25]}
    )
    model = hm.Model("y ~ 1 + (1 | study)", known_se="se", priors={"sd_study": "reference()"})
    assert any("reference()" in w and "cover" in w for w in bind(model, frame).warnings) == warned
    half = hm.Model("y ~ 1 + (1 | study)", known_se="se", priors={"sd_study": "half_normal(1)"})
    assert not any("reference()" in w for w in bind(half, frame).warnings)


# Large cells are read window by window, to the same numbers


@pytest.mark.parametrize("failures", ["complete-case", "paired-complete", "worst-case"])
def test_a_cell_read_window_by_window_gives_the_same_table(tmp_path, failures):
    import pyarrow as pa
    from long_tables import make_estimates
    from manifests import manifest

    from hiermodels.studies.score import measures
    from hiermodels.studies.score.scoring import score
    from hiermodels.studies.store import results
    from hiermodels.studies.store.identity import Makers
    from hiermodels.studies.store.large import LargeCell, stream_cells

    whole = make_estimates(reps=23, sds=(0.0, 5.0))
    whole = whole[
        ~((whole["sd_school"] == 5) & (whole["method"] == "none") & (whole["rep"] == 7))
    ]  # which is not there
    whole.loc[(whole["rep"] == 9) & (whole["group"] == "C"), ["lower", "upper"]] = np.nan
    cells = [{"hash": f"{i:02d}", "factors": {"sd_school": sd}} for i, sd in enumerate((0.0, 5.0))]
    methods = ("complete", "none", "partial")
    made = manifest(cells, methods={m: {} for m in methods}, replications=23) | {"chunk": 5, "lanes": 5}
    for cell in cells:
        for method in methods:
            part = whole[(whole["sd_school"] == cell["factors"]["sd_school"]) & (whole["method"] == method)]
            for index in range(5):
                some = part[part["rep"] // 5 == index]
                table = pa.Table.from_pandas(some, preserve_index=False)
                results.write_chunk(tmp_path, cell["hash"], method, index, table, Makers(made).of(cell["hash"], method))
    options = {
        "factors": ["sd_school"],
        "measures": measures.__all__,
        "regime": "population",
        "failures": failures,
        "reference": "none",
    }
    small, large = (list(stream_cells(tmp_path, made, 23, large=rows)) for rows in (10**6, 400))
    assert len(small) == 1 and [type(one) for one in large] == [LargeCell] * 2
    expected, found = score(iter(small), **options), score(iter(large), **options)
    for name in ("table", "common", "failures"):
        pd.testing.assert_frame_equal(
            getattr(found, name), getattr(expected, name), rtol=1e-12, atol=1e-12
        )  # sums have another order
    assert found.notes == expected.notes
