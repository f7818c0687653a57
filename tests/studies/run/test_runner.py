"""Runs: the same table whatever the workers, the interruptions and the order; nothing traced or computed twice."""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.reporting.report import write_report
from hiermodels.studies.config import read_config
from hiermodels.studies.run import runner
from hiermodels.studies.store import results

STUDY = {
    "aim": "What does pooling do to eight schools?",
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
        "grid": {"sd_school": [0, 10]},
    },
    "estimands": [
        "Intercept",
        "sd_school",
        "theta_school",
        "mean(theta_school)",
        "new(school)",
        {"benefit": "P(Intercept > 0)"},
    ],
    "methods": {
        "complete": {"pooling": "complete", "sampler": "exact"},
        "none": {"pooling": "none", "sampler": "exact"},
        "partial": {
            "priors": {"Intercept": "flat()", "sd_school": "reference()"},
            "draws": 50,
            "tune": 50,
            "chains": 2,
        },
    },
    "performance": ["bias", "mse", "cover", "ciwidth"],
    "replications": 20,
    "failures": "complete-case",
    "seed": 3,
    "lanes": 4,
    "chunk": 4,
}


def study(**changes) -> dict:
    return {**STUDY, **changes}


def table(folder: Path) -> bytes:
    return (folder / "performance.csv").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    hm.run(study(), folder, workers=1, progress=False)
    return folder


def test_run_folder_holds_what_it_should(whole):
    write_report(hm.load_run(whole))
    names = {p.name for p in whole.iterdir()}
    assert {
        "config.yaml",
        "manifest.json",
        "estimates",
        "performance.csv",
        "performance.parquet",
        "figures",
        "report.html",
        "timings.json",
    } <= names
    run = hm.load_run(whole)
    rows = {"complete": 12, "none": 9, "partial": 13}  # scalars and eight schools, where a method has them
    assert run.estimates["method"].value_counts().to_dict() == {m: 2 * 20 * n for m, n in rows.items()}


def test_estimands_a_method_lacks_give_no_row(whole):
    found = hm.load_run(whole).estimates
    has = {m: set(g["estimand"].unique()) for m, g in found.groupby("method", observed=True)}
    assert has["partial"] == {"Intercept", "sd_school", "theta_school", "mean(theta_school)", "new(school)", "benefit"}
    assert has["none"] == {"theta_school", "mean(theta_school)"}
    assert "sd_school" not in has["complete"]


def test_all_methods_meet_the_same_datasets(whole):
    found = hm.load_run(whole).estimates.query("estimand == 'theta_school'")
    true = found.pivot_table(index=["sd_school", "rep", "group"], columns="method", values="true", observed=True)
    assert (true["partial"] == true["none"]).all()
    assert (true["partial"] == true["complete"]).all()
    none = (
        found[found.method == "none"].sort_values(["sd_school", "rep", "group"])["estimate"].to_numpy().reshape(-1, 8)
    )
    complete = (
        found[found.method == "complete"]
        .sort_values(["sd_school", "rep", "group"])["estimate"]
        .to_numpy()
        .reshape(-1, 8)
    )
    weight = hm.load_dataset("eight_schools").sort_values("school")["se"].to_numpy() ** -2.0
    assert np.allclose(none @ weight / weight.sum(), complete[:, 0], rtol=1e-10)


@pytest.mark.parametrize("workers", [2, 3])
def test_same_table_from_any_number_of_workers(whole, tmp_path, workers):
    hm.run(study(), tmp_path / "run", workers=workers, progress=False)
    assert table(tmp_path / "run") == table(whole)


@pytest.mark.slow
def test_traces_do_not_grow_with_replicates_and_a_second_run_traces_nothing(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "hiermodels.studies")

    def traces(replications: int, **changes) -> int:
        caplog.clear()
        hm.run(study(replications=replications, **changes), tmp_path / f"r{replications}", progress=False)
        return sum("tracing" in record.message for record in caplog.records)

    partial = {"p": {"priors": {"sd_school": "half_normal(6)"}, "draws": 40, "tune": 40, "chains": 2}}
    other = {"p": {"priors": {"sd_school": "half_normal(7)"}, "draws": 40, "tune": 40, "chains": 2}}
    few, many = traces(8, methods=partial), traces(800, methods=other)
    assert few >= 1
    assert many <= few
    assert traces(40, methods=other) == 0


def _start(config: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "hiermodels.cli", "run", str(config), "--out", str(folder), "--workers", "2"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def _chunks(folder: Path) -> dict[str, float]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("estimates/**/*.parquet")}


@pytest.mark.parametrize(
    "share", [pytest.param(0.1, marks=pytest.mark.slow), 0.5, pytest.param(0.9, marks=pytest.mark.slow)]
)
def test_killed_run_resumes_to_the_same_bytes(whole, tmp_path, share):
    config = tmp_path / "study.yaml"
    config.write_bytes((whole / "config.yaml").read_bytes())
    folder = tmp_path / "run"
    total = len(_chunks(whole))
    process = _start(config, folder)
    deadline = time.time() + 240
    while len(_chunks(folder)) < share * total and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = _chunks(folder)
    assert before
    hm.run(config, folder, workers=2, progress=False)
    after = _chunks(folder)
    assert table(folder) == table(whole)
    kept = [name for name, written in before.items() if after[name] == written]
    assert len(kept) == len(before)  # nothing that was whole is computed again: at most a chunk a worker is lost
    assert not list(folder.rglob("*.tmp-*"))


@pytest.mark.slow
def test_interrupt_is_clean_and_says_how_to_resume(whole, tmp_path):
    config = tmp_path / "study.yaml"
    config.write_bytes((whole / "config.yaml").read_bytes())
    process = _start(config, tmp_path / "run")
    deadline = time.time() + 240
    while not _chunks(tmp_path / "run") and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "same command again" in error
    assert "Traceback" not in error
    hm.run(config, tmp_path / "run", progress=False)
    assert table(tmp_path / "run") == table(whole)


@pytest.mark.slow
def test_extension_needs_the_word_and_changes_no_old_row(whole, tmp_path):
    folder = tmp_path / "run"
    hm.run(study(replications=8), folder, progress=False)
    first = hm.load_run(folder).estimates
    with pytest.raises(ValueError, match="--extend"):
        hm.run(study(), folder, progress=False)
    hm.run(study(), folder, extend=True, progress=False)
    assert table(folder) == table(whole)
    longer = hm.load_run(folder).estimates
    keys = ["sd_school", "method", "estimand", "group", "rep"]
    old = longer[longer.rep < 8].sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        first.sort_values(keys).reset_index(drop=True), old, check_categorical=False, check_exact=True
    )


def test_adding_a_cell_leaves_the_others_bit_identical(whole, tmp_path):
    wider = study(mechanisms={**STUDY["mechanisms"], "grid": {"sd_school": [0, 5, 10]}})
    hm.run(wider, tmp_path / "run", progress=False)
    mine, theirs = hm.load_run(tmp_path / "run").estimates, hm.load_run(whole).estimates
    keys = ["sd_school", "method", "estimand", "group", "rep"]
    mine = mine[mine.sd_school != 5].sort_values(keys).reset_index(drop=True)
    pd.testing.assert_frame_equal(
        mine, theirs.sort_values(keys).reset_index(drop=True), check_categorical=False, check_exact=True
    )


def test_another_study_is_refused_with_the_difference(whole):
    def state() -> str:
        files = sorted(p for p in whole.rglob("*") if p.is_file() and p.name not in (".lock", ".holder"))
        return hashlib.sha256(b"".join(p.name.encode() + p.read_bytes() for p in files)).hexdigest()

    before = state()
    with pytest.raises(ValueError, match="seed: 3 -> 4"):
        hm.run(study(seed=4), whole, progress=False)
    assert state() == before


def test_new_aim_and_measures_refit_nothing(whole, tmp_path):
    folder = tmp_path / "run"
    hm.run(study(replications=4), folder, progress=False)
    before = _chunks(folder)
    hm.run(study(replications=4, aim="Another", performance=["rmse"]), folder, progress=False)
    assert _chunks(folder) == before
    assert set(hm.load_run(folder).performance["measure"]) == {"rmse"}


def test_a_folder_in_use_is_left_alone(whole):
    with results.locked(whole), pytest.raises(ValueError, match="at work here"):
        hm.run(study(), whole, progress=False)


def test_bad_study_leaves_no_folder(tmp_path):
    bad = study(methods={"partial": {"priors": {"sd_school": "power(2)"}}})
    with pytest.raises(
        ValueError, match=r"methods\.partial: priors: sd_school: power\(2\) gives an improper posterior"
    ):
        hm.run(bad, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_progress_is_plain_lines_off_a_terminal(tmp_path, capsys):
    hm.run(study(replications=4), tmp_path / "run")
    shown = capsys.readouterr().err
    assert "compiling" in shown or "fits" in shown
    assert "24 of 24 fits" in shown


def test_cores_are_those_granted():
    assert runner.cores() == len(os.sched_getaffinity(0))


def test_dry_run_traces_every_method():
    lines = runner.dry_run(read_config(study()))
    assert lines[-1] == "ok"
    assert sum("partial" in line for line in lines) == 2
