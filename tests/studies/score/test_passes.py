"""Cells with more replicates than are held in memory: everything is computed in passes, to the numbers of a table in
memory.
"""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from long_tables import make_estimates
from manifests import manifest

from hiermodels.studies.calibrate.calibration import calibration
from hiermodels.studies.calibrate.ranked import calibration_of
from hiermodels.studies.score.folds import AT_ONCE, InPasses, in_passes
from hiermodels.studies.score.order import order_statistics
from hiermodels.studies.score.power import operating
from hiermodels.studies.score.rules import read_rules
from hiermodels.studies.score.scoring import score
from hiermodels.studies.score.thresholds import calibrated
from hiermodels.studies.store import results
from hiermodels.studies.store.identity import Makers
from hiermodels.studies.store.large import LargeCell, stream_cells

pa = pytest.importorskip("pyarrow")
FACTORS = ["sd_school"]


def stored(folder, whole, chunk=5):
    """Estimates in chunks, and the two ways in which they are read: as tables, and as large cells."""
    reps = int(whole["rep"].max()) + 1
    cells = [{"hash": f"{i:02d}", "factors": {"sd_school": sd}} for i, sd in enumerate(whole["sd_school"].unique())]
    methods = list(whole["method"].unique())
    made = manifest(cells, methods={m: {} for m in methods}, replications=reps) | {"chunk": chunk, "lanes": chunk}
    for cell in cells:
        for method in methods:
            part = whole[(whole["sd_school"] == cell["factors"]["sd_school"]) & (whole["method"] == method)]
            for index in range(-(-reps // chunk)):
                table = pa.Table.from_pandas(part[part["rep"] // chunk == index], preserve_index=False)
                results.write_chunk(folder, cell["hash"], method, index, table, Makers(made).of(cell["hash"], method))
    small, large = (list(stream_cells(folder, made, reps, large=rows)) for rows in (10**6, 400))
    assert all(isinstance(one, LargeCell) for one in large)
    return small, large


def test_sums_do_not_depend_on_chunks(tmp_path):
    whole = make_estimates(reps=40, sds=(5.0,))
    tables = []
    for chunk in (4, 10):
        _, large = stored(tmp_path / str(chunk), whole, chunk)
        tables.append(
            score(iter(large), factors=FACTORS, measures=["bias", "mse", "empse", "cover"], regime="population").table
        )
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.parametrize(
    ("regime", "failures"),
    [("population", "complete-case"), ("population", "worst-case"), ("prior", "paired-complete")],
)
def test_decisions_on_a_large_cell(tmp_path, regime, failures):
    rng = np.random.default_rng(4)
    whole = make_estimates(reps=20, sds=(0.0, 5.0))
    whole.loc[rng.random(len(whole)) < 0.05, ["lower", "upper"]] = np.nan
    whole["true"] = np.where(rng.random(len(whole)) < 0.3, 0.0, whole["true"])
    probability = whole[whole["estimand"] == "Intercept"].assign(estimand="P", true=1.0, lower=np.nan, upper=np.nan)
    probability["estimate"] = rng.beta(3, 1, len(probability))
    whole = pd.concat([whole, probability], ignore_index=True)
    rules = read_rules({
        "differs": {"estimand": "theta_school", "excludes": 0},
        "above": {"estimand": "Intercept", "excludes": 5, "side": "above"},
        "P": 0.9,
        "kept": {"estimand": "P", "type1": 0.2, "null": {"sd_school": 0}},
    })  # fmt: skip
    small, large = stored(tmp_path, whole)
    large = [replace(cell, rows=1600) for cell in large]  # a few windows
    expected, found = (
        operating(some, rules, factors=FACTORS, regime=regime, failures=failures) for some in (small, large)
    )
    pd.testing.assert_frame_equal(found[0], expected[0], rtol=1e-12, atol=1e-12)
    assert found[1] == expected[1]


def test_calibration_of_a_large_cell(tmp_path):
    whole = make_estimates(reps=430, sds=(5.0,))
    whole.loc[whole["rep"] % 50 == 3, "rank"] = np.nan
    whole.loc[(whole["rep"] % 60 == 7) & (whole["group"] == "C"), "rank"] = np.nan
    small, large = stored(tmp_path, whole, 30)
    expected, found = calibration(small[0], FACTORS).table, calibration_of(large[0], FACTORS)
    pd.testing.assert_frame_equal(
        found, expected, rtol=1e-9, atol=1e-12
    )  # a pseudo-inverse is between sums and statistic


def test_order_statistics_are_exact_in_passes():
    rng = np.random.default_rng(3)
    values = np.stack(
        [
            rng.standard_cauchy(60_000),
            np.round(rng.normal(size=60_000)),
            np.r_[rng.normal(size=30_000), np.full(30_000, np.nan)],
        ],
        1,
    )
    n = np.isfinite(values).sum(0)
    ranks = np.stack([n // 2 - 200, n // 2, n - 1])
    expected = np.take_along_axis(np.sort(values, 0), ranks, 0)
    assert np.array_equal(order_statistics(values, ranks, n, AT_ONCE), expected)
    folds, found = InPasses(), []
    in_passes(
        lambda: np.array_split(values, 7),
        folds,
        {"median": lambda window: order_statistics(window, ranks, n, folds)},
        lambda key, one: found.append(one) or {},
    )
    assert np.array_equal(found[0], expected)


def test_a_threshold_is_calibrated_in_passes():
    """The place that 5% of all numbers exceed, its error with the replicate as the unit, and windows of any length."""
    rng, rule = np.random.default_rng(8), read_rules({"kept": {"estimand": "P", "type1": 0.05, "null": {"arm": 0}}})[0]
    p = rng.beta(2, 2, (12_000, 2)) ** rng.uniform(0.5, 2, (12_000, 1))  # two groups that go together
    p[rng.random(p.shape) < 0.03] = np.nan
    rows = pd.DataFrame(
        {
            "rep": np.repeat(np.arange(12_000), 2),
            "method": "m",
            "estimand": "P",
            "group": ["a", "b"] * 12_000,
            "estimate": p.ravel(),
        }
    )
    whole = pd.concat([rows.assign(arm=0), rows.assign(arm=1, estimate=0.5)])
    found = [
        calibrated(
            lambda reps=reps: (whole[whole["rep"] // reps == i] for i in range(-(-12_000 // reps))), rule, ["arm"]
        )
        for reps in (12_000, 1_700)
    ]
    pd.testing.assert_frame_equal(*found, check_exact=True)
    known = np.sort(p[np.isfinite(p)])
    value = known[known.size - 1 - int(0.05 * known.size)]
    within = np.nanmean(np.where(np.isnan(p), np.nan, p > value)[np.isfinite(p).any(1)], 1)
    error = within.std(ddof=1) / np.sqrt(len(within))
    ends = [known[known.size - 1 - int((0.05 + z * error) * known.size)] for z in (1.959964, -1.959964)]
    row = found[0].iloc[0]
    assert [row["value"], row["lower"], row["upper"]] == [value, *ends] and row["n_sim"] == len(within)
    assert row["error"] == pytest.approx((known > value).mean(), abs=1e-15) and row["error_mcse"] == pytest.approx(
        error, rel=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["8x4", "decisions", "calibrated", "prior"])
def test_memory_does_not_grow_with_replicates(tmp_path, shape):
    """Peaks of merge, performance and report at 20,000 and 200,000 replicates; a cell held whole takes 8 x 4 x 30 x
    0.2 = 190 MiB more, and 1,200 for decisions.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", "--shapes", shape, "--replications", "20000,200000", "--folder", str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert int(done.stdout.splitlines()[-1].split("|")[-2].split()[0]) < 100
