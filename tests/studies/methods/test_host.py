"""A user's function outside compiled code: the same datasets, any number of workers, failures that are rows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import host_methods
import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.studies.config import ConfigError, Study, read_config
from hiermodels.studies.methods import host
from hiermodels.studies.methods.host import read_result
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.methods.tasks import run_chunk, simulate_chunk
from hiermodels.studies.run.runner import bind_all, dry_run
from hiermodels.studies.store.identity import check_identity
from hiermodels.studies.store.results import Run

SCHOOLS = {
    "formula": "effect ~ 1 + (1 | school)",
    "known_se": "se",
    "design": "eight_schools",
    "truth": {"Intercept": 8, "sd_school": 10},
}


def study(function=host_methods.averages, **changes) -> dict:
    method = {"host": True} if function is None else {"host": True, "function": function}
    return {
        "mechanisms": SCHOOLS,
        "estimands": ["Intercept", "theta_school", {"noise": "sd_school"}],
        "methods": {"mine": method},
        "performance": ["bias", "cover"],
        "replications": 12,
        "failures": "complete-case",
        "seed": 3,
        "chunk": 4,
    } | changes


def chunk(config: dict, *indices: int):
    found = read_config(config)
    arguments = found, found.cells()[0].hash, "mine"
    return pd.concat([run_chunk(*arguments, i).to_pandas() for i in indices or (0,)], ignore_index=True)


def data(config: dict, reps: int) -> tuple[np.ndarray, dict]:
    found = read_config(config)
    outcomes, true = simulate_chunk(found, mechanism_of(found, found.cells()[0]), np.arange(reps))
    return np.asarray(outcomes), true


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """Figures and HTML are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "report", lambda self: None)
        yield


@pytest.fixture(scope="module")
def run(no_report, tmp_path_factory):
    folder = tmp_path_factory.mktemp("host") / "run"
    config = study(
        methods={"mine": {"host": True, "function": host_methods.averages}, "js": {"estimator": "james_stein"}}
    )
    return config, hm.run(config, folder, workers=1, progress=False)


@pytest.mark.slow
def test_it_meets_the_same_datasets_as_other_methods(run):
    config, found = run
    outcomes, true = data(config, 12)
    rows = found.estimates[found.estimates["method"] == "mine"]
    theta = rows[rows["estimand"] == "theta_school"]
    np.testing.assert_array_equal(theta["estimate"].to_numpy().reshape(12, 8), outcomes)
    np.testing.assert_array_equal(theta["true"].to_numpy().reshape(12, 8), true["theta_school"])
    assert list(theta["group"].unique()) == list("ABCDEFGH")
    weight = hm.load_dataset("eight_schools")["se"].to_numpy() ** -2.0
    mean = rows[rows["estimand"] == "Intercept"]
    np.testing.assert_allclose(mean["estimate"], outcomes @ weight / weight.sum(), rtol=1e-12)
    np.testing.assert_allclose(mean["upper"] - mean["lower"], 2 * 1.96 / np.sqrt(weight.sum()), rtol=1e-12)
    assert (rows["status"] == "ok").all() and (rows["message"] == "").all()
    noise = rows[rows["estimand"] == "noise"]["estimate"]
    assert noise.nunique() == 12 and noise.between(0, 1).all()
    cover = found.performance.query("method == 'mine' and measure == 'cover'").set_index(["estimand", "group"])["value"]
    assert cover.xs("Intercept").notna().all() and cover.xs("theta_school").isna().all()
    assert found.config["methods"]["mine"]["function"] == "host_methods:averages"


@pytest.mark.slow
def test_any_number_of_workers_and_a_resumed_run_give_the_same_bytes(run, tmp_path):
    config, found = run
    short = config | {"replications": 8}
    hm.run(short, tmp_path / "run", workers=2, progress=False)
    again = hm.run(config, tmp_path / "run", workers=2, extend=True, progress=False)
    assert (again.path / "performance.csv").read_bytes() == (found.path / "performance.csv").read_bytes()
    files = sorted(p.relative_to(found.path) for p in found.path.rglob("estimates/**/*.parquet"))
    assert files and all((again.path / f).read_bytes() == (found.path / f).read_bytes() for f in files)


@pytest.mark.slow
def test_what_goes_wrong_is_a_row_with_its_reason():
    config = study(
        host_methods.moody, estimands=["Intercept"], mechanisms=SCHOOLS | {"truth": {"Intercept": 0, "sd_school": 10}}
    )
    rows = chunk(config, 0, 1, 2)
    y = data(config, 12)[0]
    died, raised, nothing = (
        (y[:, 0] < 0) & (y[:, 1] < 0),
        (y[:, 0] < 0) & (y[:, 1] >= 0),
        (y[:, 0] >= 0) & (y[:, 1] < 0),
    )
    assert died.any() and raised.any() and nothing.any() and not (died | raised | nothing).all()
    assert ((rows["status"] == "nonfinite") == (died | raised | nothing)).all()
    assert rows["message"][raised].unique().tolist() == ["RuntimeError: the first school is negative"]
    assert rows["message"][nothing].unique().tolist() == ["no finite estimate of 'Intercept'"]
    assert all("the process died" in text for text in rows["message"][died])
    assert (rows["estimate"][rows["status"] == "ok"] == y[:, 0][~(died | raised | nothing)]).all()


@pytest.mark.skipif(os.name != "posix", reason="groups of processes")
def test_what_takes_too_long_is_ended_and_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("STUCK", str(tmp_path / "numbers"))
    mechanisms = SCHOOLS | {"truth": {"Intercept": 0, "sd_school": 10}}
    method = {"host": True, "function": host_methods.stuck, "timeout": 1}
    config = study(methods={"mine": method}, estimands=["Intercept"], mechanisms=mechanisms, seed=10)
    rows, y = chunk(config), data(config, 4)[0]
    late = y[:, 0] < 0
    assert late.any() and not late[-1]  # after one that does not end comes one that does
    assert rows["message"][late].unique().tolist() == ["no result within 1 s (timeout); the process was ended"]
    assert (rows["status"][late] == "nonfinite").all() and (rows["estimate"][~late] == y[~late, 0]).all()
    for number in (tmp_path / "numbers").read_text().split():
        wait_for_end(int(number))


def wait_for_end(number: int) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        state = Path(f"/proc/{number}/stat")
        if state.is_file() and state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"process {number} lives")


def test_a_run_that_hung_goes_on_with_a_timeout():
    old, new = (
        study(methods={"mine": {"host": True, "function": host_methods.averages} | more})
        for more in ({}, {"timeout": 60})
    )
    before, now = (read_config(c).resolved() for c in (old, new))
    assert "timeout" not in before["methods"]["mine"] and now["methods"]["mine"]["timeout"] == 60
    assert check_identity({"config": before}, now) == []
    assert Study.from_resolved(now, functions={"mine": host_methods.averages}).methods["mine"].timeout == 60


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (host_methods.misspelt, "ValueError: 'Intercep' is none of the estimands asked for; did you mean 'Intercept'?"),
        (host_methods.number, "ValueError: expected a mapping of estimand to numbers, found float"),
    ],
)
def test_results_that_cannot_be_read_say_so(function, message):
    rows = chunk(study(function))
    assert (rows["status"] == "nonfinite").all() and set(rows["message"]) == {message}


@pytest.mark.slow
def test_it_sees_the_rows_that_are_there():
    config = study(
        host_methods.by_rows,
        estimands=["Intercept", "mean(theta_school)"],
        mechanisms=SCHOOLS | {"deviation": {"missing": 0.25}},
    )
    rows = chunk(config)
    assert (rows[rows["estimand"] == "Intercept"]["estimate"] == 6).all()


def test_estimands_that_it_does_not_give():
    config = study(
        methods={
            "mine": {
                "host": True,
                "function": host_methods.averages,
                "estimands": ["Intercept", "noise", "theta_school"],
            }
        }
    )
    assert (chunk(config)["status"] == "ok").all()
    config = study(host_methods.by_rows, estimands=["Intercept", "sd_school"])
    rows = chunk(config)
    assert (
        rows["message"].tolist()
        == ["ValueError: 'mean(theta_school)' is none of the estimands asked for; they are Intercept, sd_school"] * 8
    )
    only = study(methods={"mine": {"host": True, "function": host_methods.by_rows, "estimands": ["Intercept"]}})
    assert set(chunk(only)["estimand"]) == {"Intercept"}
    assert read_config(only).resolved()["methods"]["mine"]["estimands"] == ["Intercept"]
    with pytest.raises(
        ConfigError, match=r"methods\.mine\.estimands\[0\]: unknown estimand 'Intercpt'; did you mean 'Intercept'"
    ):
        read_config(study(methods={"mine": {"host": True, "estimands": ["Intercpt"]}}))


def test_a_file_gets_its_function_from_python(tmp_path):
    path = tmp_path / "mine.yaml"
    text = (
        "mechanisms: {formula: effect ~ 1 + (1 | school), known_se: se, design: eight_schools, truth: {Intercept: "
        "8, sd_school: 10}}\n"
    )
    text += (
        "estimands: [Intercept]\nmethods:\n  mine: {host: true}\nperformance: [bias]\nreplications: 2\nfailures: "
        "complete-case\nseed: 1\n"
    )
    path.write_text(text)
    with pytest.raises(
        ConfigError, match=r"mine\.yaml:4: methods\.mine\.host: expected a Python function; run it with hiermodels.run"
    ):
        bind_all(read_config(path))
    found = read_config(path, functions={"mine": host_methods.averages})
    assert found.methods["mine"].function is host_methods.averages
    assert "chunk 16" in dry_run(found)[1]
    assert read_config(path, functions={"methods.mine.function": host_methods.averages}).resolved() == found.resolved()
    with pytest.raises(ConfigError, match=r"functions: mien: unknown method 'mien'; did you mean 'mine'\?"):
        read_config(path, functions={"mien": host_methods.averages})
    with pytest.raises(ConfigError, match=r"functions: mine: expected a function; found 3"):
        read_config(path, functions={"mine": 3})


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"host": False}, r"methods\.mine\.host: expected true; found false"),
        ({"host": True, "sampler": "nuts"}, r"methods\.mine\.sampler: expected no sampler beside host"),
        ({"host": True, "weight": 3}, r"methods\.mine\.weight: unknown key 'weight' beside host"),
        (
            {"host": True, "timeout": 0},
            r"methods\.mine\.timeout: expected a number of seconds above 0; found 0; write e\.g\. 60",
        ),
        ({"host": True, "timeout": float("inf")}, r"methods\.mine\.timeout: expected a number of seconds above 0"),
        ({"host": True, "timeout": True}, r"methods\.mine\.timeout: expected a number of seconds above 0; found true"),
        ({"host": True, "timeout": "1 min"}, r"methods\.mine\.timeout: expected a number of seconds above 0"),
        (
            {"sampler": "nuts", "timeout": 5},
            r"methods\.mine\.timeout: expected no timeout but of a host function; found some",
        ),
        ({"host": True, "estimands": []}, r"methods\.mine\.estimands: expected a list of estimands"),
    ],
)
def test_mistakes(method, message):
    with pytest.raises(ConfigError, match=message):
        read_config(study(methods={"mine": method}))


@pytest.mark.parametrize("function", [lambda seed, data: {}, host_methods.outer()])
def test_functions_that_no_other_process_can_import(function):
    with pytest.raises(
        ConfigError, match=r"methods\.mine.*function: .* cannot be sent to another process; define it with def"
    ):
        bind_all(read_config(study(function)))


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import hiermodels as hm\n"
        "def f(seed, data):\n    return {'Intercept': 1.0}\n"
        f"config = {study(None, estimands=['Intercept'], replications=2)!r}\n"
        "try:\n    hm.run(config, 'run', functions={'mine': f}, progress=False)\n"
        "except ValueError as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False
    )
    assert "refused: methods.mine: function: it cannot be used in another process" in done.stdout
    assert "if __name__ == '__main__':" in done.stdout


def test_results_in_all_their_forms():
    wanted = (("a", ("",)), ("b", ("x", "y")))
    numbers, messages = read_result(
        {"a": np.float64(2), "b": {"x": {"estimate": 1, "se": 0.5}, "y": (3, None, 1, 5)}}, wanted
    )
    np.testing.assert_array_equal(numbers, [[2, np.nan, np.nan, np.nan], [1, 0.5, np.nan, np.nan], [3, np.nan, 1, 5]])
    assert messages == ["", "", ""]
    assert read_result({"b": {"x": 1.0}}, wanted)[1] == ["no value of 'a'", "", "no value of 'b' of 'y'"]
    with pytest.raises(ValueError, match=r"expected a number or \(estimate, se, lower, upper\), found 2 of them"):
        read_result({"a": (1, 2)}, wanted)
    with pytest.raises(ValueError, match="expected a mapping of group label to numbers, found list"):
        read_result({"a": 1, "b": [1, 2]}, wanted)
    assert read_result({"a": 1, "b": pd.Series({"x": 1.0, "y": 2.0})}, wanted)[0][:, 0].tolist() == [1, 1, 2]


def test_seeds_depend_on_cell_replicate_and_method_alone(monkeypatch):
    seen = {}

    def spy(function, wanted, seeds, frames, timeout):
        seen.setdefault(len(seen), seeds)
        return np.zeros((len(seeds), sum(len(labels) for _, labels in wanted), 4)), [[""] * 10] * len(seeds)

    monkeypatch.setattr(host, "estimate_all", spy)
    for index, size in ((0, 4), (1, 4), (0, 8)):
        chunk(study(chunk=size), index)
    assert seen[0] + seen[1] == seen[2] and len(set(seen[2])) == 8
    assert all(isinstance(s, int) and 0 <= s < 2**64 for s in seen[2])
