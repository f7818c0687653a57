"""Comparisons are paired, and say on what: notes, the table on common replicates, figures and the report's
sentences.
"""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from hiermodels.reporting import plots
from hiermodels.reporting._comparison import comparison_words
from hiermodels.reporting._run_figures import figures
from hiermodels.reporting.tables import terminal_table
from hiermodels.studies.score.scoring import performance, score

REPS, SOME = 500, 100


def easy(reps=REPS, some=SOME, seed=1):
    """Two methods with the same errors, of which one has the replicates alone where errors are small."""
    rng = np.random.default_rng(seed)
    error = np.sort(np.abs(rng.normal(size=reps))) * rng.choice([-1, 1], reps)
    whole = pd.DataFrame(
        {"rep": range(reps), "method": "whole", "estimand": "mu", "group": "", "true": 0.0, "estimate": error, "se": 1.0,
         "lower": error - 1.96, "upper": error + 1.96, "status": "ok", "n_try": 1}
    )  # fmt: skip
    other = whole.assign(method="some", estimate=error * (1 + 1e-9))
    other.loc[some:, ["estimate", "se", "lower", "upper"]] = np.nan
    other.loc[some:, "status"] = "nonfinite"
    return pd.concat([whole, other], ignore_index=True)


def of(table, measure, method):
    return table[(table["measure"] == measure) & (table["method"] == method)].iloc[0]


def run_of(frame, measures):
    scored = score(frame, factors=[], measures=measures, regime="population")
    config = {"methods": {"whole": {}, "some": {}}, "failures": "complete-case"}
    return SimpleNamespace(
        path=".", config=config, manifest={"regime": ["population"], "cells": [{}]}, estimates=frame, notes=scored.notes,
        performance=scored.table, common=scored.common, failures=scored.failures,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scored():
    return score(easy(), factors=[], measures=["bias", "rmse", "cover", "rmse_ratio"], regime="population")


def test_a_methods_own_rows_stand_on_its_own_replicates(scored):
    whole, some = (of(scored.table, "rmse", m) for m in ("whole", "some"))
    assert (whole["n"], some["n"], some["n_sim"], some["n_failed"]) == (REPS, SOME, REPS, REPS - SOME)
    assert some["value"] < 0.3 * whole["value"]


def test_a_comparison_stands_on_common_ones(scored):
    ratio = of(scored.table, "rmse_ratio", "some")
    assert ratio["value"] == pytest.approx(1, abs=1e-8) and ratio["n"] == SOME
    assert of(scored.common, "rmse", "whole")["value"] == pytest.approx(
        of(scored.table, "rmse", "some")["value"], rel=1e-8
    )
    assert set(scored.common["n"]) == {SOME} and set(scored.common["n_sim"]) == {REPS}


def test_a_comparison_says_on_what_and_that_it_is_conditional(scored):
    note = next(n for n in scored.notes if n.startswith("Comparisons"))
    assert "'some' on 100 of 500" in note and "missing from 'some': such a comparison is conditional" in note
    _, notes = performance(easy(some=490), factors=[], measures=["rmse_ratio"], regime="population")
    note = next(n for n in notes if n.startswith("Comparisons"))
    assert "'some' on 490 of 500" in note and "conditional" not in note
    _, notes = performance(easy(some=REPS), factors=[], measures=["rmse_ratio"], regime="population")
    assert "Comparisons are with method 'whole', paired by replicate." in notes


def test_what_is_common_depends_on_what_a_measure_needs():
    frame = easy(some=REPS)
    frame.loc[(frame["method"] == "some") & (frame["rep"] < 50), ["lower", "upper"]] = np.nan
    scored = score(frame, factors=[], measures=["bias", "cover"], regime="population")
    assert {of(scored.common, "bias", m)["n"] for m in ("whole", "some")} == {REPS}
    assert {of(scored.common, "cover", m)["n"] for m in ("whole", "some")} == {REPS - 50}


@pytest.mark.parametrize("never", ["points", "failed"])
def test_a_method_that_never_has_a_part_bars_nobody(never):
    frame = easy(some=REPS)
    some = frame["method"] == "some"
    frame.loc[some, ["lower", "upper"] if never == "points" else ["estimate", "se", "lower", "upper"]] = np.nan
    if never == "failed":
        frame.loc[some, "status"] = "nonfinite"
    scored = score(frame, factors=[], measures=["bias", "cover"], regime="population")
    assert of(scored.common, "cover", "whole")["n"] == REPS and of(scored.common, "cover", "some")["n"] == 0


def test_common_replicates_of_groups_are_complete():
    frame = pd.concat([easy(some=REPS).assign(estimand="theta_g", group=g) for g in "ab"], ignore_index=True)
    frame.loc[(frame["method"] == "some") & (frame["group"] == "b") & (frame["rep"] < 50), "estimate"] = np.nan
    scored = score(frame, factors=[], measures=["bias"], regime="population")
    rows = scored.common.set_index(["method", "group"])["n"]
    assert (
        rows["whole", "a"] == REPS
        and rows["whole", "b"] == rows["whole", "[mean]"] == rows["some", "[mean]"] == REPS - 50
    )


def test_the_ratio_is_there_for_figures_though_it_was_not_asked_for():
    run = run_of(easy(), ["bias", "mse", "cover"])
    assert "rmse_ratio" not in set(run.performance["measure"])
    pictures = {stem: (caption, make) for stem, caption, make in figures(run)}
    caption, make = pictures["rmse_ratio"]
    assert "100 of 500 replicates" in caption and "conditional" in caption
    figure = make()
    drawn = [
        y for line in figure.axes[0].get_lines() for y in np.atleast_1d(line.get_ydata()) if line.get_label() == "some"
    ]
    assert drawn == pytest.approx([1.0], abs=1e-8)
    assert "100 of 500 replicates" in figure.get_suptitle()
    plt.close("all")


@pytest.mark.parametrize("stem", ["coverage", "bias"])
def test_two_methods_on_one_axis_have_the_same_replicates(stem):
    run = run_of(easy(), ["bias", "mse", "cover"])
    caption, make = next((caption, make) for name, caption, make in figures(run) if name == stem)
    assert "Methods are compared on the replicates that all of them have: 100 of 500" in caption
    lines = {
        line.get_label(): line.get_ydata()[0]
        for line in make().axes[0].get_lines()
        if line.get_label() in ("whole", "some")
    }
    assert lines["whole"] == pytest.approx(lines["some"], abs=1e-8)
    plt.close("all")


def test_nothing_is_said_where_nothing_is_lost():
    run = run_of(easy(some=REPS), ["bias", "mse", "cover"])
    assert comparison_words(run, "bias") == comparison_words(run, "rmse_ratio") == ""


def test_errors_of_other_replicates_are_not_divided():
    table, _ = performance(easy(), factors=[], measures=["rmse"], regime="population")
    with pytest.raises(ValueError, match=r"some has its error of mu from 100 of 500 replicates.*rmse_ratio"):
        plots.plot_rmse_ratio(table, regime="population")
    whole, _ = performance(easy(some=REPS), factors=[], measures=["rmse"], regime="population")
    plots.plot_rmse_ratio(whole, regime="population")
    plt.close("all")


def test_the_table_shows_what_each_row_stands_on():
    run = run_of(easy(), ["bias", "cover"])
    text = terminal_table(run.performance, regime="population", notes=run.notes, failures=run.failures, plain=True)
    lines = {line.split()[1]: line.split()[-1] for line in text.splitlines()[1:3]}
    assert text.splitlines()[0].split()[-1] == "n" and lines == {"whole": "500", "some": "100"}
    assert text.count("retried") == 1 or "0 were retried" in text
    even = run_of(easy(some=REPS), ["bias", "cover"])
    assert " n\n" not in terminal_table(even.performance, regime="population", plain=True)


def test_averages_by_estimates_are_of_common_replicates():
    frame = pd.concat([easy().assign(estimand="theta_g", group=g) for g in "ab"], ignore_index=True)
    figure = plots.plot_shrinkage(frame, "theta_g", "whole", "some", regime="fixed")
    assert "100 replicates" in figure.get_suptitle()
    plots.plot_ridge(easy(), "mu", regime="fixed")
    plt.close("all")


def test_relative_measures_of_the_reference_are_undefined_with_a_reason(scored):
    own = of(scored.table, "rmse_ratio", "whole")
    assert math.isnan(own["value"]) and own["n"] == REPS


@pytest.mark.parametrize(
    ("methods", "measures"), [(["a"], ("bias", "mse", "cover")), (["a", "b"], ("bias", "mse", "cover", "rmse_ratio"))]
)
def test_what_a_config_need_not_say(methods, measures):
    from hiermodels.studies.config import read_config

    config = {
        "mechanisms": {"formula": "y ~ 1 + (1 | g)", "design": {"g": 6, "obs": 5}, "truth": {"Intercept": 2, "sd_g": 1, "sigma": 1}},
        "estimands": ["Intercept"], "methods": {m: {"pooling": "complete", "sampler": "exact"} for m in methods},
        "replications": 2, "seed": 1,
    }  # fmt: skip
    study = read_config(config)
    assert study.performance == measures and study.failures == "complete-case"
    assert study.resolved()["performance"] == list(measures) and study.resolved()["failures"] == "complete-case"
    assert read_config({**config, "performance": ["bias"]}).performance == ("bias",)
