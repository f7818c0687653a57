"""A study means what its words say: labels, nesting, streams by name, supports of truths, predictors with a law."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hiermodels as hm
from hiermodels.models.data import bind, design_columns
from hiermodels.studies.config import Study, read_config
from hiermodels.studies.mechanisms.designs import design_frame
from hiermodels.studies.mechanisms.frames import frames
from hiermodels.studies.mechanisms.rows import Rows
from hiermodels.studies.methods.ready import fit_of, mechanism_of
from hiermodels.studies.methods.refusals import exactly_fitted, refusals
from hiermodels.studies.methods.tasks import redrawn_columns, rows_of, run_chunk, simulate_chunk
from hiermodels.studies.plan.template import template
from hiermodels.studies.run.binding import bind_all, manifest_of
from hiermodels.studies.run.export import datasets
from hiermodels.studies.run.replicate import replicate
from hiermodels.studies.store.identity import check_identity, identity_of

COMPLETE = {"c": {"pooling": "complete", "sampler": "closed_form", "formula": "y ~ 1", "family": "normal"}}


def config(formula, design, truth, methods=None, estimands=("Intercept",), replications=4, **mechanisms):
    return {
        "mechanisms": {"formula": formula, "design": design, "truth": truth, **mechanisms},
        "estimands": list(estimands),
        "methods": methods or COMPLETE,
        "performance": ["bias"],
        "replications": replications,
        "failures": "complete-case",
        "seed": 1,
    }


def study(*args, **mechanisms):
    return read_config(config(*args, **mechanisms))


def simulated(found, reps):
    mechanism = mechanism_of(found, found.cells()[0])
    y, true = simulate_chunk(found, mechanism, np.arange(reps))
    return mechanism, np.asarray(y), true


# designs
# ----------------------------------------------------------------------------------------------------------------


def test_labels_of_a_nested_level_are_unique():
    frame = design_frame({"region": 4, "clinic": 6, "obs": 10, "predictors": {"arm": "half(clinic)"}}, 1, 0)
    assert frame["clinic"].nunique() == 24
    assert (frame.groupby("clinic")["region"].nunique() == 1).all()
    assert frame.groupby("clinic")["arm"].first().sum() == 12
    found = study(
        "y ~ 1 + (1 | clinic)", {"region": 4, "clinic": 6, "obs": 2}, {"Intercept": 0, "sd_clinic": 1, "sigma": 1}
    )
    assert len(mechanism_of(found, found.cells()[0]).problem.labels["clinic"]) == 24


@pytest.mark.parametrize(("mean", "cv"), [(2, 1), (20, 0.4), (2.5, 0.2), (1.5, 0.8), (100, 1)])
def test_unequal_sizes_have_the_mean_and_coefficient_of_variation_asked_for(mean, cv):
    sizes = design_frame({"g": 4000, "obs": f"unequal({mean}, {cv})"}, 1, 0).groupby("g").size().to_numpy()
    assert sizes.min() >= 1
    assert sizes.mean() == pytest.approx(mean, rel=0.015)
    assert sizes.std() / sizes.mean() == pytest.approx(cv, rel=0.03)


def test_order_of_levels_is_nesting_and_part_of_the_identity():
    truth = {"Intercept": 0, "sd_g": 1, "sigma": 1}
    one, other = (study("y ~ 1 + (1 | g)", design, truth).resolved() for design in ({"g": 4, "h": 3}, {"h": 3, "g": 4}))
    assert identity_of(one) != identity_of(other)
    with pytest.raises(ValueError, match=r"levels\[0\]\[0\]: g -> h"):
        check_identity({"config": one}, other)
    turned = study("y ~ 1 + (1 | g)", {"g": 4, "h": 3}, dict(reversed(truth.items()))).resolved()
    assert identity_of(one) == identity_of(turned)


# nesting
# ----------------------------------------------------------------------------------------------------------------

CROSSED = pd.DataFrame([(i, j, k) for i in "uvwx" for j in "pq" for k in "rst"], columns=["a", "b", "c"])


@pytest.mark.parametrize(
    ("formula", "new", "row"),
    [
        ("y ~ 1 + (1 | a) + (1 | b)", {"a": 25.0, "b": 1.0}, 27.0),
        ("y ~ 1 + (1 | a/b) + (1 | a:c)", {"a": 25.0, "a:b": 26.0, "a:c": 26.0}, 28.0),
        pytest.param("y ~ 1 + (1 | b) + (1 | a)", {"a": 25.0, "b": 1.0}, 27.0, marks=pytest.mark.slow),
        pytest.param("y ~ 1 + (1 | a/b)", {"a": 25.0, "a:b": 26.0}, 27.0, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("deviation", [{}, pytest.param({"errors": "student_t(9)"}, marks=pytest.mark.slow)])
def test_nesting_follows_from_parents_not_from_the_order_of_levels(formula, new, row, deviation):
    truth = {"Intercept": 0, "sigma": 1, **{f"sd_{name}": 5 if name == "a" else 1 for name in new}}
    _, y, true = simulated(study(formula, {"table": CROSSED.to_dict("list")}, truth, deviation=deviation), 6000)
    for name, variance in new.items():
        assert true[f"new({name})"].var() == pytest.approx(variance, rel=0.1)
    assert y[:, 0].var() == pytest.approx(row, rel=0.1)


def test_what_lies_above_a_given_group_value_is_needed_only_where_it_reaches_the_data():
    labels = {"table": CROSSED.to_dict("list")}
    fixed = {"theta_b": {"p": 1, "q": 2}, "sigma": 1}
    with pytest.raises(ValueError, match="sd_a"):
        bind_all(study("y ~ 1 + (1 | a) + (1 | b)", labels, fixed))
    _, y, _ = simulated(study("y ~ 1 + (1 | a) + (1 | b)", labels, {**fixed, "sd_a": 1, "Intercept": 0}), 4)
    assert np.isfinite(y).all()


# streams
# ----------------------------------------------------------------------------------------------------------------


def test_the_order_of_keys_never_decides_the_data():
    truth = {
        "Intercept": "normal(0, 1)",
        "x": "normal(0, 1)",
        "sd_a": "half_normal(1)",
        "sd_a_x": 1,
        "sd_b": 1,
        "cor_a": 0.5,
        "sigma": "half_normal(2)",
    }
    predictors = {"x": "normal(0, 1)", "z": {"law": "normal(0, 1)", "drawn": "fixed"}}
    design = {"a": 4, "b": 3, "obs": "integers(2, 4)", "predictors": predictors}
    one, y, true = simulated(study("y ~ 1 + x + (1 + x | a) + (1 | b)", design, truth), 3)
    turned = {"predictors": dict(reversed(predictors.items())), **{k: design[k] for k in ("obs", "a", "b")}}
    again, y2, true2 = simulated(study("y ~ 1 + x + (1 | b) + (x + 1 | a)", turned, dict(reversed(truth.items()))), 3)
    assert one.frame.equals(again.frame[one.frame.columns])
    assert np.array_equal(y, y2)
    assert all(np.array_equal(true[name], true2[name]) for name in true if name != "cor_a")


def test_counts_and_deviations_have_streams_by_name_too():
    truth = {"Intercept": 0, "sd_a": 1, "log_kappa": 2, "sd_a_log_kappa": 0.3}
    design = {"a": 4, "b": 3, "obs": 1, "predictors": {"n": 9}}
    one, other = (
        simulated(
            study(
                "r ~ 1 + (1 | a/b)",
                design,
                t,
                COMPLETE | {"c": {**COMPLETE["c"], "formula": "r ~ 1"}},
                family="binomial",
                trials="n",
            ),
            3,
        )[1]
        for t in (truth, dict(reversed(truth.items())))
    )
    assert np.array_equal(one, other)
    assert manifest_of(study("y ~ 1", {"obs": 3}, {"Intercept": 0, "sigma": 1}))["streams"] == 2


# supports
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [1, -1, 0.5])
def test_correlations_of_one_are_laws(correlation):
    truth = {"Intercept": 0, "x": 0, "sd_g": 1, "sd_g_x": 2, "cor_g": correlation, "sigma": 1}
    _, y, true = simulated(
        study("y ~ 1 + x + (1 + x | g)", {"g": 5, "obs": 2, "predictors": {"x": "normal(0, 1)"}}, truth), 2000
    )
    assert np.isfinite(y).all()
    assert np.corrcoef(true["theta_g"].ravel(), true["theta_g_x"].ravel())[0, 1] == pytest.approx(correlation, abs=0.03)


SLOPES = {"Intercept": 0, "x": 0, "z": 0, "sd_g": 1, "sd_g_x": 1, "sd_g_z": 1, "sigma": 1}
TWO = {"g": 5, "obs": 4, "predictors": {"x": "normal(0, 1)", "z": "normal(0, 1)"}}
BASKETS = {"table": {"b": ["A", "B"], "n": [9, 9], "rate": [0.2, 1.5]}}


def test_the_range_of_a_correlation_is_that_of_the_whole_matrix():
    formula = "y ~ 1 + x + z + (1 + x + z | g)"
    _, y, true = simulated(study(formula, TWO, {**SLOPES, "cor_g": -0.5}), 2000)
    assert np.isfinite(y).all()
    assert true["theta_g"] + true["theta_g_x"] + true["theta_g_z"] == pytest.approx(
        0, abs=1e-9
    )  # the only law with such correlations
    with pytest.raises(ValueError, match=r"cor_g: expected a number from -0\.5 to 1"):
        bind_all(study(formula, TWO, {**SLOPES, "cor_g": -0.6}))


@pytest.mark.parametrize(
    ("truth", "mechanisms", "words"),
    [
        (
            {"theta_b": {"A": 150_000, "B": 0.1}},
            {"family": "binomial", "trials": "n"},
            "theta_b: A: expected a probability from 0 to 1, found 150000",
        ),
        (
            {"theta_b": {"A": 0.1, "B": -3}},
            {"family": "binomial", "trials": "n"},
            "theta_b: B: expected a probability from 0 to 1, found -3",
        ),
        (
            {"theta_b": "rate"},
            {"family": "binomial", "trials": "n"},
            "theta_b: B: expected a probability from 0 to 1, found 1.5",
        ),
        ({"theta_b": {"A": -5, "B": 1}}, {"family": "poisson"}, "theta_b: A: expected a rate of at least 0, found -5"),
        ({"mean_b": 1, "kappa_b": 5}, {"family": "binomial", "trials": "n"}, "mean_b"),
        ({"mean_b": 0.2, "kappa_b": 0}, {"family": "binomial", "trials": "n"}, "kappa_b"),
        ({"mean_b": 0.2, "kappa_b": 5}, {"family": "binomial", "trials": "n", "grid": {"kappa_b": [5, -1]}}, "kappa_b"),
        ({"Intercept": 0, "sd_b": -1}, {"family": "poisson_log"}, "sd_b"),
    ],
)
def test_truths_are_held_against_their_supports(truth, mechanisms, words):
    methods = {"c": {**COMPLETE["c"], "formula": "r ~ 1", "family": "normal"}}
    with pytest.raises(ValueError, match="expected") as error:
        bind_all(study("r ~ 1 + (1 | b)", BASKETS, truth, methods, **mechanisms))
    assert words in str(error.value)


def test_a_truth_outside_its_support_is_refused_with_its_line(tmp_path):
    file = tmp_path / "rates.yaml"
    file.write_text(
        "mechanisms:\n  formula: r ~ 1 + (1 | b)\n  family: binomial\n  trials: n\n  design: {table: {b: [A, B], n: "
        "[9, 9]}}\n"
        "  truth:\n    theta_b:\n      A: 0.2\n      B: -3\nestimands: [theta_b]\nmethods: {p: {sampler: exact}}\n"
        "performance: [bias]\nreplications: 2\nfailures: complete-case\nseed: 1\n"
    )
    with pytest.raises(
        ValueError, match=r"rates.yaml:9: mechanisms.truth.theta_b.B: expected a probability from 0 to 1, found -3"
    ):
        bind_all(read_config(str(file)))


# messages
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("design", "words"),
    [
        ({"obs": 10, "predictors": 3}, "design.predictors: expected a mapping of name to law; found 3"),
        (
            {"g": 3, "obs": 2, "predictors": {"y": "half(g)"}},
            "design.predictors.y: expected a name other than the outcome's",
        ),
        ({"y": 3, "obs": 2}, "design.y: expected a name other than the outcome's"),
        ({"g": "unequal(2.5, 0.1)"}, "expected a coefficient of variation of at least 0.2"),
        ({"g": "unequal(1, 0.5)"}, "expected a mean above 1"),
        (
            {"g": 3, "predictors": {"x": {"law": "normal(0, 1)", "drawn": "each"}}},
            "x.drawn: expected one of redrawn, fixed",
        ),
        (
            {"g": 3, "predictors": {"x": {"law": "half(g)", "drawn": "redrawn"}}},
            "half(), the same in every dataset; leave drawn out",
        ),
        ({"g": 3, "predictors": {"x": {"law": "normal(0, 1)", "level": "h"}}}, "x.level: expected one of g, obs"),
        ({"g": 3, "predictors": {"x": {"level": "g"}}}, "expected the key law"),
        (
            {"g": 3, "predictors": {"x": {"law": "normal(0, 1)", "draw": "fixed"}}},
            "unknown key 'draw'; did you mean 'drawn'?",
        ),
    ],
)
def test_designs_that_cannot_be_are_answered(design, words):
    with pytest.raises(ValueError, match="design") as error:
        study("y ~ 1", design, {"Intercept": 0, "sigma": 1})
    assert words in str(error.value)
    assert len(str(error.value)) < 600


def test_an_empty_list_of_the_grid_is_called_empty():
    with pytest.raises(ValueError, match="expected a list of values; found an empty list"):
        study("y ~ 1", {"obs": 3}, {"Intercept": 0, "sigma": 1}, grid={"sigma": []})


def test_errors_and_exposures_that_are_redrawn_stay_above_zero():
    truth, design = {"Intercept": 0, "sd_g": 1}, {"g": 8, "predictors": {"se": "normal(5, 1)"}}
    with pytest.raises(ValueError, match=r"predictors\.se: expected numbers above 0 in every dataset"):
        study("y ~ 1 + (1 | g)", design, truth, known_se="se")
    study(
        "y ~ 1 + (1 | g)",
        {"g": 8, "predictors": {"se": {"law": "normal(5, 1)", "drawn": "fixed"}}},
        truth,
        known_se="se",
    )


# predictors with a law
# --------------------------------------------------------------------------------------------------

SCHOOLS = {"school": 6, "obs": 5, "predictors": {"treated": "half(school)", "pretest": "normal(50, 10)"}}
PUPILS = {"Intercept": 0, "treated": 1, "pretest": 0.5, "sigma": 1}


def test_laws_are_redrawn_at_the_level_that_owns_them():
    laws = {
        "x": "normal(50, 10)",
        "b": {"law": "bernoulli(0.3)", "level": "school"},
        "k": "integers(1, 6)",
        "f": {"law": "normal(0, 1)", "drawn": "fixed"},
    }
    found = study("y ~ 1 + x", {"school": 8, "obs": 5, "predictors": laws}, {"Intercept": 0, "x": 0, "sigma": 1})
    mechanism = mechanism_of(found, found.cells()[0])
    drawn = redrawn_columns(found, mechanism, np.arange(400))
    assert set(drawn) == {"x", "b", "k"}
    assert stats.kstest(drawn["x"].ravel(), stats.norm(50, 10).cdf).pvalue > 1e-3
    assert (drawn["b"].reshape(400, 8, 5).std(2) == 0).all()
    assert drawn["b"].mean() == pytest.approx(0.3, abs=0.03)
    assert np.unique(drawn["k"], return_counts=True)[1] / drawn["k"].size == pytest.approx(np.full(6, 1 / 6), abs=0.012)
    alone = redrawn_columns(found, mechanism, np.arange(7, 8))
    assert all(np.array_equal(alone[name][0], drawn[name][7]) for name in drawn)
    assert found.resolved()["mechanisms"]["design"]["predictors"]["x"] == {
        "law": "normal(50, 10)",
        "level": "obs",
        "drawn": "redrawn",
    }
    assert Study.from_resolved(found.resolved()).resolved() == found.resolved()


@pytest.mark.parametrize("drawn", ["redrawn", pytest.param("fixed", marks=pytest.mark.slow)])
def test_an_unadjusted_estimate_is_unbiased_over_redrawn_predictors_and_not_over_a_fixed_one(drawn):
    predictors = {"treated": "half(school)", "pretest": {"law": "normal(50, 10)", "drawn": drawn}}
    found = study("y ~ 1 + treated + pretest", {**SCHOOLS, "predictors": predictors}, PUPILS)
    mechanism, y, _ = simulated(found, 2000)
    arm = mechanism.frame["treated"].to_numpy() == 1
    estimate = y[:, : len(arm)][:, arm].mean(1) - y[:, : len(arm)][:, ~arm].mean(1)
    mcse = estimate.std() / np.sqrt(len(estimate))
    assert (abs(estimate.mean() - 1) < 4 * mcse) == (drawn == "redrawn")
    assert estimate.std() == pytest.approx(np.sqrt((25 + 1 if drawn == "redrawn" else 1) / 15 * 2), rel=0.1)


@pytest.mark.slow
def test_every_method_meets_the_predictors_of_its_replicate(tmp_path):
    flat = {"Intercept": "flat()", "treated": "flat()", "pretest": "flat()"}
    methods = {
        "adjusted": {"sampler": "exact", "priors": {**flat, "sigma": "power(1)"}},
        "not": {
            "sampler": "exact",
            "formula": "y ~ 1 + treated",
            "priors": {"Intercept": "flat()", "treated": "flat()", "sigma": "power(1)"},
        },
    }
    run = hm.run(
        config("y ~ 1 + treated + pretest", SCHOOLS, PUPILS, methods, ["treated", "pretest"], 6),
        tmp_path / "run",
        progress=False,
    )
    tables = next(datasets(run))
    for rep, table in tables.groupby("rep"):
        for method, columns in (("adjusted", ["treated", "pretest"]), ("not", ["treated"])):
            x = np.column_stack([np.ones(len(table)), table[columns]])
            right = np.linalg.lstsq(x, table["y"], rcond=None)[0][1:]
            rows = run.estimates[(run.estimates["rep"] == rep) & (run.estimates["method"] == method)]
            assert rows["estimate"].to_numpy() == pytest.approx(right, rel=1e-6)
    again = replicate(run, 3)
    assert again.data["pretest"].to_numpy() == pytest.approx(
        tables.loc[tables["rep"] == 3, "pretest"].to_numpy(), abs=0
    )
    assert again.differences == {"adjusted": [], "not": []}
    scales = run.manifest["scales"][run.manifest["cells"][0]["hash"]]["adjusted"]["columns"]["pretest"]
    assert (scales["centre"], scales["scale"]) == (50.0, 10.0)


def test_a_formula_is_computed_of_each_datasets_own_predictors():
    laws = {"t": "half(g)", "x": "normal(50, 10)", "e": "integers(1, 6)"}
    formula = "y ~ 1 + t * standardise(x) + log(e) + (1 + e | g)"
    truth = {
        "Intercept": 0,
        "t": 1,
        "standardise(x)": 1,
        "t:standardise(x)": 0,
        "log(e)": 0,
        "sd_g": 1,
        "sd_g_e": 1,
        "sigma": 1,
    }
    found = study(formula, {"g": 3, "obs": "integers(2, 5)", "predictors": laws}, truth, {"p": {"sampler": "nuts"}})
    cell = found.cells()[0]
    mechanism, fit = mechanism_of(found, cell), fit_of(found, cell, "p")
    reps = np.arange(5)
    outcomes, columns = simulate_chunk(found, mechanism, reps)[0], redrawn_columns(found, mechanism, reps)
    x = rows_of(mechanism, fit.problem, outcomes, columns).design["x"]
    for rep, table in enumerate(frames(mechanism.problem, mechanism.frame, outcomes, columns)):
        assert x[rep, : len(table)] == pytest.approx(design_columns(fit.problem.model, table)[1], rel=1e-12)


def test_labels_are_not_redrawn():
    found = study(
        "y ~ 1 + C(k)",
        {"g": 5, "obs": 4, "predictors": {"k": "integers(1, 3)"}},
        {"Intercept": 0, "C(k)[2.0]": 0, "C(k)[3.0]": 0, "sigma": 1},
    )
    with pytest.raises(ValueError, match="'k' is drawn anew with each dataset, so its labels would differ"):
        bind_all(found)


EXACTLY = "coefficients and groups fit every row exactly"


def test_a_true_sigma_of_zero_is_refused_in_the_words_of_fit():
    truth = {"Intercept": 2, "sd_g": 1, "sigma": 0}
    found = study("y ~ 1 + (1 | g)", {"g": 6, "obs": 4}, truth, {"e": {"sampler": "exact"}}, replications=64)
    table = run_chunk(found, found.cells()[0].hash, "e", 0).to_pandas()
    assert (
        (table["status"] == "nonfinite").all()
        and table["estimate"].isna().all()
        and table["message"].str.contains(EXACTLY).all()
    )


@pytest.mark.parametrize("family", ["normal", "student_t"])
def test_datasets_are_looked_at_once_more_wherever_fit_refuses_them(family):
    """Equal outcomes in every group, by chance, with a design of their own, or where rows are missing."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat(list("abc"), 3), "x": rng.normal(5, 2, 9)})
    y = rng.choice([0.0, 3.0], (200, 3)).repeat(3, axis=1)
    y[::2] += rng.normal(size=(100, 9))
    for formula, weight, x in (
        ("y ~ 1 + (1 | g)", None, None),
        ("y ~ x + (1 | g)", None, rng.normal(5, 2, (200, 9))),
        ("y ~ x + (1 | g)", 1, None),
    ):
        problem = bind(hm.Model(formula, family), frame, outcome=False)
        gone = np.ones_like(y) if weight is None else (rng.random(y.shape) < 0.8).astype(float)
        rows = Rows(y) if weight is None else Rows(y, gone, gone)
        if x is not None:
            rows = Rows(y, design={"x": np.stack([np.ones_like(x), x], axis=2)})
        doubtful = exactly_fitted(problem, rows)
        tables = {i: frame.assign(y=y[i], x=frame["x"] if x is None else x[i])[gone[i] > 0] for i in range(len(y))}
        refused = set(refusals(problem, tables))
        assert len(refused) > 50 and refused <= set(np.flatnonzero(doubtful)), (formula, family)
        assert doubtful.sum() < 120


@pytest.mark.slow
def test_a_design_that_fit_refuses_is_a_replicate_without_estimates_in_its_words():
    laws = {"arm": {"law": "bernoulli(0.3)", "level": "g"}}
    methods = {"c": {"sampler": "closed_form", "priors": {"Intercept": "flat()", "arm": "flat()", "sigma": "power(1)"}}}
    found = study(
        "y ~ 1 + arm", {"g": 4, "obs": 3, "predictors": laws}, {"Intercept": 0, "arm": 1, "sigma": 1}, methods, ["arm"]
    )
    cell = found.cells()[0]
    table = run_chunk(found, cell.hash, "c", 0).to_pandas()
    drawn = redrawn_columns(found, mechanism_of(found, cell), table["rep"].to_numpy())["arm"]
    constant = drawn.std(1) == 0
    assert constant.any()
    assert (table["status"].astype(str).eq("nonfinite").to_numpy() == constant).all()
    assert table.loc[constant, "message"].str.contains("arm").all()
    assert np.isfinite(table.loc[~constant, "estimate"]).all()


def test_redrawn_trials_and_errors_are_those_of_the_dataset():
    found = study(
        "r ~ 1 + (1 | g)",
        {"g": 8, "predictors": {"n": "integers(5, 20)"}},
        {"mean_g": 0.5, "kappa_g": 20},
        {"p": {"sampler": "exact"}},
        ["mean_g"],
        family="binomial",
        trials="n",
    )
    mechanism, y, _ = simulated(found, 50)
    n = redrawn_columns(found, mechanism, np.arange(50))["n"]
    assert (y[:, :8] <= n).all()
    assert np.corrcoef(y[:, :8].ravel(), n.ravel())[0, 1] > 0.5
    assert rows_of(mechanism, fit_of(found, found.cells()[0], "p").problem, y, {"n": n}).design["size"][
        :, :8
    ] == pytest.approx(n)


# without functions, templates
# -------------------------------------------------------------------------------------------


def by_hand(seed, data):
    return {"Intercept": float(data["y"].mean())}


def test_datasets_of_a_run_with_a_python_method_need_no_method(tmp_path):
    mine = {"mine": {"host": True, "function": by_hand}}
    run = hm.run(config("y ~ 1", {"obs": 4}, {"Intercept": 0, "sigma": 1}, mine), tmp_path / "run", progress=False)
    assert len(next(datasets(run))) == 16


def test_a_new_config_has_truths_on_the_scale_of_every_column(tmp_path):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"school": np.repeat(list("abcdef"), 20), "pretest": rng.normal(50, 10, 120)})
    data["y"] = 100 + 0.8 * data["pretest"] + rng.normal(0, 5, 120)
    data["k"], data["n"] = rng.binomial(20, 1 / (1 + np.exp(-(data["pretest"] - 50) / 10))), 20
    data.to_csv(tmp_path / "s.csv", index=False)
    for formula, family, spread in (
        ("y ~ 1 + pretest + (1 | school)", "normal", data["y"].std()),
        ("k ~ 1 + pretest + (1 | school)", "binomial_logit", 0.5),
    ):
        config = tmp_path / "config.yaml"
        config.write_text(template(formula, tmp_path / "s.csv", family))
        truth = read_config(str(config)).mechanisms.truth
        assert truth["pretest"] * 10 == pytest.approx(spread, rel=0.25)
        centre = data["y"].mean() if family == "normal" else 0.0
        assert truth["Intercept"] + truth["pretest"] * data["pretest"].mean() == pytest.approx(centre, abs=spread / 4)
