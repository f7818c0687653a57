"""Two runs side by side: differences against their Monte Carlo errors, checked on tables written by hand and on real
runs.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.studies.run.compare import compare
from hiermodels.studies.store import results

STUDY = {
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
        "grid": {"sd_school": [0, 10]},
    },
    "estimands": ["Intercept", "theta_school"],
    "methods": {"complete": {"pooling": "complete", "sampler": "exact"}},
    "performance": ["bias", "empse", "cover", "ciwidth"],
    "replications": 256,
    "failures": "complete-case",
    "seed": 3,
}


def by_hand(folder, numbers, seed=1, versions="0.12"):
    """A run folder with a table of performance of these (measure, value, mcse, lower, upper)."""
    config = {
        "mechanisms": {"grid": {}},
        "methods": {"m": {}},
        "estimands": ["Intercept"],
        "seed": seed,
        "replications": 10,
        "performance": ["bias"],
        "failures": "complete-case",
        "interval": {"level": 0.95, "kind": "equal_tailed"},
    }
    cells = [{"hash": "0a", "factors": {"sd": 1.0}}]
    made = results.make_manifest(config, cells=cells, lanes=4, chunk=4, device="cpu", regime=["population"])
    results.write_manifest(folder, {**made, "versions": {"jax": versions}})
    table = pd.DataFrame(numbers, columns=["measure", "value", "mcse", "lower", "upper"])
    table = table.assign(sd=1.0, method="m", estimand="Intercept", group="", n_sim=10)
    results.write_performance(folder, table[["sd", "method", "estimand", "group", *table.columns[:5], "n_sim"]])
    return folder


def test_z_is_the_difference_over_the_combined_error(tmp_path):
    nan = math.nan
    one = by_hand(
        tmp_path / "one",
        [
            ("bias", 1.0, 0.3, 0.4, 1.6),
            ("cover", 1.0, 0.0, 0.9, 1.0),
            ("nsim", 10, nan, nan, nan),
            ("mse", 2.0, 0.5, 1, 3),
        ],
    )
    two = by_hand(
        tmp_path / "two",
        [("cover", 0.8, 0.04, 0.7, 0.9), ("bias", 2.0, 0.4, 1.2, 2.8), ("nsim", 12, nan, nan, nan)],
        seed=2,
        versions="0.13",
    )
    found = compare(one, two)
    table = found.table.set_index("measure")
    assert list(table.index) == ["bias", "cover", "nsim"]
    assert table.loc["bias", "z"] == pytest.approx(1 / 0.5)
    share = math.hypot(0.1 / (2 * 1.959963984540054), 0.04)
    assert table.loc["cover", ["difference", "mcse", "z"]].tolist() == pytest.approx([-0.2, share, -0.2 / share])
    assert np.isnan(table.loc["nsim", "z"]) and table.loc["nsim", "difference"] == 2
    assert found.only == (1, 0) and not found.paired
    assert (
        found.identity == ("seed: 1 -> 2",)
        and found.versions == ("versions.jax: 0.12 -> 0.13",)
        and found.summary == ()
    )
    largest = 0.2 / share
    chance = 1 - (1 - math.erfc(largest / math.sqrt(2))) ** 2
    assert (
        f"100.0% of 2 comparisons (5% by chance); the largest is {largest:.2f}, as large as that by chance in "
        f"{100 * chance:.2g}%" in found.words[1]
    )


def test_what_does_not_vary_is_equal_up_to_rounding(tmp_path):
    one = by_hand(tmp_path / "one", [("ciwidth", 15.96, 1e-16, 15.96, 15.96)])
    two = by_hand(tmp_path / "two", [("ciwidth", 15.96 * (1 + 1e-15), 1e-16, 15.96, 15.96)], seed=2)
    assert abs(compare(one, two).table["z"].item()) < 1e-3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    hm.run(STUDY, folder / "one", progress=False)
    hm.run({**STUDY, "seed": 4}, folder / "two", progress=False)
    hm.run({**STUDY, "replications": 512, "performance": ["bias"]}, folder / "longer", progress=False)
    return folder


def test_runs_of_other_seeds_differ_by_chance(runs):
    found = compare(runs / "one", runs / "two")
    assert found.identity == ("seed: 3 -> 4",) and not found.paired and found.only == (0, 0)
    shared = (
        found.table.query("sd_school == 0 and measure != 'ciwidth' and group != '[mean]'")
        .groupby(["estimand", "measure"])["z"]
        .first()
    )
    assert (shared.abs() < 4.5).all() and (shared != 0).any()  # complete pooling gives every school one estimate


def test_a_run_equals_itself_and_shares_datasets_with_a_longer_one(runs, capsys):
    same = compare(runs / "one", runs / "one")
    assert (same.identity, same.summary, same.versions) == ((), (), ()) and (same.table["z"].dropna() == 0).all()
    assert f"{len(same.table)} of them the same to the last bit" in same.words[0] and "by chance" not in " ".join(
        same.words
    )
    longer = compare(runs / "one", runs / "longer")
    assert longer.paired and longer.identity == () and "replications: 256 -> 512" in longer.summary
    assert longer.only == (3 * len(longer.table), 0)


def test_the_command_prints_and_saves(runs, tmp_path, capsys):
    out = tmp_path / "both.csv"
    assert _code(["compare", str(runs / "one"), str(runs / "two"), "--rows", "3", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("identity: \n  seed: 3 -> 4\nsummary: the same\nversions: the same\n")
    assert len(re.findall(r"^ +\d+ complete", said, re.MULTILINE)) == 3
    table = pd.read_csv(out)
    assert len(table) == len(compare(runs / "one", runs / "two").table)
    assert _code(["compare", str(runs / "one"), str(tmp_path)]) == 2
    assert "no run here" in capsys.readouterr().err
