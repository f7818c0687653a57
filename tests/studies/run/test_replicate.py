"""One replicate alone: its data, truth, estimates and draws are those of the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.studies.run.replicate import replicate
from hiermodels.studies.store import results
from hiermodels.studies.store.identity import Makers

STUDY = {
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
        "grid": {"sd_school": [0, 10]},
    },
    "estimands": ["Intercept", "sd_school", "theta_school", {"benefit": "P(Intercept > 0)"}],
    "methods": {
        "complete": {"pooling": "complete", "sampler": "exact"},
        "partial": {
            "priors": {"Intercept": "flat()", "sd_school": "half_normal(20)"},
            "draws": 60,
            "tune": 60,
            "chains": 2,
        },
    },
    "performance": ["bias"],
    "replications": 12,
    "failures": "complete-case",
    "seed": 3,
    "lanes": 4,
    "chunk": 8,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> hm.Run:
    return hm.run(STUDY, tmp_path_factory.mktemp("run") / "run", progress=False)


@pytest.fixture(scope="module")
def ninth(run):
    return replicate(run, 9, {"sd_school": 10})


@pytest.mark.slow
def test_its_rows_are_the_stored_ones(run, ninth):
    assert ninth.differences == {"complete": [], "partial": []}
    stored = run.estimates.query("sd_school == 10 and rep == 9")
    assert len(stored) == len(ninth.estimates) == 10 + 11
    for column in ("true", "estimate", "lower", "ess_bulk"):
        np.testing.assert_array_equal(ninth.estimates[column], stored[column])


@pytest.mark.slow
def test_its_data_give_its_estimate(ninth):
    weight = ninth.data["se"] ** -2.0
    pooled = (ninth.data["effect"] * weight).sum() / weight.sum()
    found = ninth.estimates.query("method == 'complete' and estimand == 'Intercept'")["estimate"].item()
    assert found == pytest.approx(pooled, rel=1e-12)


def test_its_truth_is_that_of_the_estimates(ninth):
    true = ninth.truth.set_index(["variable", "group"])["true"]
    rows = ninth.estimates.query("method == 'partial' and estimand != 'benefit'")
    assert [true[e, g] for e, g in zip(rows["estimand"], rows["group"], strict=True)] == list(rows["true"])
    assert true["Intercept", ""] == 8 and true["sd_school", ""] == 10


def test_its_draws_are_those_that_were_summarised(ninth):
    posterior = ninth.draws["partial"]["posterior"]
    assert posterior.sizes["draw"] == 60 and posterior.sizes["chain"] == 2
    rows = ninth.estimates.query("method == 'partial'").set_index(["estimand", "group"])["estimate"]
    assert rows["sd_school", ""] == pytest.approx(float(posterior["sd_school"].median()), rel=1e-12)
    assert rows["Intercept", ""] == pytest.approx(float(posterior["Intercept"].mean()), rel=1e-12)
    assert rows["benefit", ""] == float((posterior["Intercept"] > 0).mean())
    for school in "AH":
        assert rows["theta_school", school] == pytest.approx(
            float(posterior["theta_school"].sel(school=school).mean()), rel=1e-12
        )


def test_draws_of_an_exact_method_are_from_its_posterior(ninth):
    draws = ninth.draws["complete"]["posterior"]["Intercept"].to_numpy()
    row = ninth.estimates.query("method == 'complete' and estimand == 'Intercept'").iloc[0]
    assert draws.size == 4000
    assert abs(draws.mean() - row["estimate"]) < 5 * row["se"] / np.sqrt(draws.size)
    assert draws.std() == pytest.approx(row["se"], rel=0.08)


def test_a_replicate_that_the_run_has_not(run):
    found = replicate(run, 40, {"sd_school": 0}, "complete")
    assert found.differences == {"complete": None} and set(found.estimates["rep"]) == {40}


def test_a_changed_row_is_told(run, tmp_path):
    import pyarrow as pa

    cell = run.manifest["cells"][0]["hash"]
    path = results.chunk_path(run.path, cell, "complete", 0)
    kept, table = path.read_bytes(), results.read_chunk(path)
    try:
        wrong = table.set_column(table.column_names.index("se"), "se", pa.array(table["se"].to_numpy() + 1e-9))
        results.write_chunk(run.path, cell, "complete", 0, wrong, Makers(run.manifest).of(cell, "complete"))
        assert replicate(run, 2, {"sd_school": 0}, "complete").differences == {"complete": ["se"]}
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--rep", "3"],
            r"cell: expected the factors of one cell, found 2 that fit; name one, e\.g\. sd_school=0; sd_school=10",
        ),
        (["--rep", "3", "--cell", "sd_school=7"], r"cell: no cell has sd_school=7"),
        (["--rep", "3", "--cell", "sd_scool=0"], r"cell: unknown factor 'sd_scool'; did you mean 'sd_school'\?"),
        (["--rep", "3", "--cell", "sd_school"], r"cell: expected FACTOR=VALUE,\.\.\., found 'sd_school'"),
        (
            ["--rep", "-1", "--cell", "sd_school=0"],
            r"rep: expected a whole number from 0, found -1; the run has 0 to 11",
        ),
        (
            ["--rep", "1", "--cell", "sd_school=0", "--method", "partal"],
            r"method: unknown method 'partal'; did you mean 'partial'\?",
        ),
    ],
)
def test_what_is_not_there_is_refused(run, arguments, message, capsys):
    import re

    assert _code(["replicate", str(run.path), *arguments]) == 2
    assert re.match("error: " + message, capsys.readouterr().err)


def test_the_command_prints_and_saves(run, tmp_path, capsys):
    out = tmp_path / "one"
    assert (
        _code(
            [
                "replicate",
                str(run.path),
                "--rep",
                "9",
                "--cell",
                "sd_school=10",
                "--method",
                "partial",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    assert (
        "truth: Intercept = 8" in said
        and "the stored rows, to the last bit" in said
        and said.endswith(f"saved {out}\n")
    )
    assert {p.name for p in out.iterdir()} == {"data.csv", "truth.csv", "estimates.csv", "partial.nc"}
    data = pd.read_csv(out / "data.csv")
    assert list(data.columns) == ["school", "effect", "se"] and len(data) == 8
    with xr.open_datatree(out / "partial.nc", engine="h5netcdf") as tree:
        assert tree["observed_data"]["effect"].to_numpy() == pytest.approx(data["effect"].to_numpy(), abs=1e-12)
        assert tree["log_likelihood"]["effect"].sizes == {"chain": 2, "draw": 60, "obs": 8}


@pytest.mark.slow
def test_methods_without_draws_and_datasets_with_missing_groups(tmp_path: Path):
    methods = {"js": {"estimator": "james_stein"}, "partial": STUDY["methods"]["partial"]}
    mechanisms = {**STUDY["mechanisms"], "grid": {}, "deviation": {"missing": 0.25}}
    study = {**STUDY, "methods": methods, "mechanisms": mechanisms, "estimands": ["theta_school"], "replications": 8}
    run = hm.run(study, tmp_path / "run", progress=False)
    found = replicate(run, 3)
    assert found.differences == {"js": [], "partial": []}
    assert found.notes["js"] == "has no draws" and set(found.draws) == {"partial"}
    assert len(found.data) == 6 and found.draws["partial"]["posterior"]["theta_school"].sizes["school"] == 8
