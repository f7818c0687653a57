"""Joining runs that are odd but legal: of Python functions, of targets at which cells stop, of other numbers of
replications.
"""

from __future__ import annotations

import host_methods
import pytest

import hiermodels as hm
from hiermodels.studies.run.compare import compare
from hiermodels.studies.run.merge import Incomplete, merge
from hiermodels.studies.run.replicate import replicate
from hiermodels.studies.store.results import Run


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """Figures and HTML are tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "report", lambda self: None)
        yield


def study(sds=(0,), **changes) -> dict:
    return {
        "mechanisms": {
            "formula": "effect ~ 1 + (1 | school)",
            "known_se": "se",
            "design": "eight_schools",
            "truth": {"Intercept": 8, "sd_school": 10},
            "grid": {"sd_school": list(sds)},
        },
        "estimands": ["Intercept"],
        "methods": {"mean": {"estimator": "weighted"}},
        "performance": ["nsim", "bias"],
        "replications": 8,
        "failures": "complete-case",
        "seed": 3,
        "lanes": 4,
        "chunk": 4,
    } | changes


def run(folder, *arguments, **changes):
    return hm.run(study(*arguments, **changes), folder, progress=False, workers=1)


NEVER = {"bias": 1e-9, "minimum": 4}


def test_a_cell_that_ran_out_of_replications_is_that_of_the_longer_part(tmp_path):
    short, long = run(tmp_path / "short", stop=NEVER), run(tmp_path / "long", stop=NEVER, replications=16)
    assert [list(r.manifest["stopped"].values()) for r in (short, long)] == [[8], [16]]
    joined = merge(tmp_path / "joined", [short.path, long.path])
    assert joined.manifest["stopped"] == long.manifest["stopped"]
    assert (joined.path / "stopping.csv").read_bytes() == (long.path / "stopping.csv").read_bytes()
    assert (joined.path / "performance.csv").read_bytes() == (long.path / "performance.csv").read_bytes()


def test_a_cell_that_ran_out_of_replications_goes_on_in_a_longer_study(tmp_path):
    parts = [run(tmp_path / "a", (0,), stop=NEVER), run(tmp_path / "b", (5,), stop=NEVER, replications=16)]
    with pytest.raises(Incomplete, match="hiermodels run"):
        merge(tmp_path / "joined", [part.path for part in parts])
    joined = hm.run(tmp_path / "joined", progress=False)
    assert list(joined.manifest["stopped"].values()) == [16, 16]
    whole = run(tmp_path / "whole", (0, 5), stop=NEVER, replications=16)
    assert (joined.path / "performance.csv").read_bytes() == (whole.path / "performance.csv").read_bytes()


def test_cells_that_met_their_targets_stay_there(tmp_path):
    soon = {"bias": 100, "minimum": 4}
    parts = [run(tmp_path / "a", (0,), stop=soon), run(tmp_path / "b", (5,), stop=soon, replications=16)]
    joined = merge(tmp_path / "joined", [part.path for part in parts])
    assert list(joined.manifest["stopped"].values()) == [4, 4]
    whole, one, other = ((part.path / "stopping.csv").read_text().splitlines() for part in (joined, *parts))
    assert whole == one + other[1:]


def test_parts_with_other_targets_are_other_studies(tmp_path):
    parts = [run(tmp_path / "a"), run(tmp_path / "b", stop=NEVER)]
    with pytest.raises(ValueError, match=r"is of another study than .*\n  stop: \(absent\) -> "):
        merge(tmp_path / "joined", [part.path for part in parts])


def test_runs_of_python_functions_are_joined(tmp_path):
    mine = {"methods": {"mine": {"host": True, "function": host_methods.averages, "estimands": ["Intercept"]}}}
    parts = [run(tmp_path / "a", (0,), **mine), run(tmp_path / "b", (5,), **mine), run(tmp_path / "c", (0, 5))]
    joined = merge(tmp_path / "joined", [part.path for part in parts])
    assert list(joined.config["methods"]) == ["mine", "mean"] and set(joined.performance["n_sim"]) == {8}
    with pytest.raises(
        ValueError,
        match=r"methods\.mine\.function: expected a Python function, which a file cannot hold; found 'host_methods:averages'",
    ):
        replicate(joined, 1, {"sd_school": 5})
    found = replicate(joined, 1, {"sd_school": 5}, functions={"mine": host_methods.averages})
    assert found.differences == {"mine": [], "mean": []}


def test_a_factor_that_is_a_number_in_one_run_and_text_in_another_is_compared(tmp_path):
    found = compare(run(tmp_path / "a", (0.5, 5)), run(tmp_path / "b", (5, "half_normal(2)")))
    assert (
        set(found.table["sd_school"]) == {"5"}
        and (found.table["one"] == found.table["two"]).all()
        and found.only == (2, 2)
    )
