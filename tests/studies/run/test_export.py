"""Datasets out of a run, estimates made elsewhere into it: a method that goes round comes back as itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.studies.config import read_config
from hiermodels.studies.methods.ready import mechanism_of
from hiermodels.studies.methods.tasks import simulate_chunk
from hiermodels.studies.run.export import datasets, export_datasets, import_estimates, read_cell
from hiermodels.studies.store.results import Run

REPORTS = True

CONFIG = {
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
        "grid": {"sd_school": [0, 10], "deviation.errors": ["none", "outliers(0.1, 3)"]},
    },
    "estimands": ["Intercept", "theta_school", {"benefit": "P(Intercept > 0)"}],
    "methods": {"separate": {"estimator": "separate"}, "weighted": {"estimator": "weighted"}},
    "performance": ["bias", "mse", "cover"],
    "replications": 10,
    "failures": "complete-case",
    "seed": 6,
    "chunk": 8,
    "lanes": 8,
}
FACTORS = ["sd_school", "deviation.errors"]


@pytest.fixture(scope="module", autouse=True)
def no_report():
    """Figures and HTML are written once, below."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "report", lambda self: None)
        yield patch


@pytest.fixture(scope="module")
def folder(no_report, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "run"
    hm.run(CONFIG, path, workers=1, progress=False)
    return path


@pytest.fixture(scope="module")
def exported(folder):
    path = export_datasets(folder)
    assert path == folder / "datasets.parquet"
    return pd.read_parquet(path)


def elsewhere(exported: pd.DataFrame) -> pd.DataFrame:
    """Complete and no pooling, computed by another program from the file alone."""
    theta = exported.assign(estimand="theta_school", group=exported["school"], estimate=exported["effect"])
    half = 1.959963984540054 * exported["se"]
    theta = theta.assign(lower=exported["effect"] - half, upper=exported["effect"] + half)
    rows = []
    for key, data in exported.groupby(["rep", *FACTORS], sort=False):
        w = data["se"] ** -2.0
        rows.append([*key, "Intercept", "", (w * data["effect"]).sum() / w.sum(), w.sum() ** -0.5])
    mean = pd.DataFrame(rows, columns=["rep", *FACTORS, "estimand", "group", "estimate", "se"])
    columns = ["rep", *FACTORS, "estimand", "group", "estimate", "se", "lower", "upper"]
    return pd.concat([theta, mean])[columns].sample(frac=1, random_state=1)


def test_datasets_are_those_that_methods_met(exported):
    assert list(exported.columns) == ["rep", *FACTORS, "school", "effect", "se"]
    assert len(exported) == 4 * 10 * 8
    found = read_config(CONFIG)
    for cell in found.cells():
        rows = exported[
            (exported[FACTORS[0]] == cell.factors[FACTORS[0]]) & (exported[FACTORS[1]] == cell.factors[FACTORS[1]])
        ]
        outcomes, _ = simulate_chunk(found, mechanism_of(found, cell), np.arange(8))
        np.testing.assert_array_equal(rows["effect"].to_numpy().reshape(10, 8)[:8], outcomes)
        assert rows["rep"].tolist() == np.repeat(np.arange(10), 8).tolist()


def test_csv_holds_the_same_numbers(folder, exported, tmp_path):
    path = export_datasets(folder, tmp_path / "some.csv", {"sd_school": 10, "deviation.errors": "none"})
    some = pd.read_csv(path, keep_default_na=False)
    wanted = exported[(exported["sd_school"] == 10) & (exported["deviation.errors"] == "none")].reset_index(drop=True)
    pd.testing.assert_frame_equal(some, wanted)
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_method_that_goes_round_is_itself(folder, exported):
    said = import_estimates(folder, elsewhere(exported), "elsewhere")
    assert said[0].endswith("360 rows as method 'elsewhere'") and sum("10 replicates" in line for line in said) == 4
    run = hm.load_run(folder)
    keys = [*FACTORS, "estimand", "group", "measure"]
    table = run.performance.set_index(["method", *keys])["value"].astype(float)
    mine = pd.concat(
        [table.xs("separate").drop("mean(theta_school)", level="estimand", errors="ignore"), table.xs("weighted")]
    )
    theirs = table.xs("elsewhere")
    theta = theirs.xs("theta_school", level="estimand", drop_level=False)
    pd.testing.assert_series_equal(theta.sort_index(), table.xs("separate").loc[theta.index].sort_index(), rtol=1e-9)
    centre = theirs.xs("Intercept", level="estimand", drop_level=False)
    centre = centre[centre.index.get_level_values("measure") != "cover"]
    pd.testing.assert_series_equal(centre.sort_index(), table.xs("weighted").loc[centre.index].sort_index(), rtol=1e-9)
    assert len(mine) and theirs.xs("Intercept", level="estimand").xs("cover", level="measure").isna().all()
    estimates = run.estimates
    assert estimates[estimates["method"] == "elsewhere"]["true"].notna().all()
    with pytest.raises(ValueError, match=r"method: 'elsewhere' was imported already"):
        import_estimates(folder, elsewhere(exported), "elsewhere")


@pytest.mark.slow
def test_the_report_shows_what_was_imported(folder, exported, no_report):
    import_estimates(folder, elsewhere(exported), "shown", replace=True)
    no_report.undo()
    hm.load_run(folder).report()
    assert "shown" in (folder / "report.html").read_text()


def test_rows_that_are_absent_count_as_failed(folder, exported):
    table = elsewhere(exported)
    less = table[~((table["rep"] == 3) & (table["sd_school"] == 0) & (table["group"].isin(["A", "B"])))]
    less = less[less["deviation.errors"] == "none"].replace({"estimate": {less["estimate"].iloc[0]: np.nan}})
    said = import_estimates(folder, less, "gaps")
    assert sum("missing, counted as failed" in line for line in said) >= 1
    run = hm.load_run(folder)
    bias = run.performance.query("method == 'gaps' and measure == 'bias' and sd_school == 0 and group == 'A'")
    assert bias["n_sim"].tolist() == [10] and bias["n_failed"].iloc[0] >= 1
    assert set(run.performance.query("method == 'gaps'")["deviation.errors"]) == {"none"}
    again = import_estimates(folder, table, "gaps", replace=True)
    assert not any("counted as failed" in line for line in again)
    # the study itself goes on as before
    hm.run(CONFIG, folder, workers=1, progress=False)
    assert {"elsewhere", "gaps"} <= set(hm.load_run(folder).performance["method"])


def broken(exported, **changes) -> pd.DataFrame:
    table = elsewhere(exported).reset_index(drop=True)
    for name, (row, value) in changes.items():
        table[name] = table[name].astype(object)
        table.loc[row, name] = value
    return table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rep": (4, 10)}, r"table: row 4: expected a whole number from 0 to 9 as rep, found 10"),
        ({"rep": (4, "x")}, r"row 4: expected a whole number from 0 to 9 as rep, found 'x'"),
        ({"estimate": (2, "high")}, r"row 2: expected a number as estimate, found 'high'"),
        ({"estimand": (7, "theta_schol")}, r"row 7: unknown estimand 'theta_schol'; did you mean 'theta_school'\?"),
        (
            {"group": (0, "Z"), "estimand": (0, "theta_school")},
            r"row 0: unknown group 'Z' of 'theta_school'; use one of A, B",
        ),
        (
            {"group": (1, "A"), "estimand": (1, "Intercept")},
            r"row 1: unknown group 'A' of 'Intercept'; it has no groups; leave group empty",
        ),
        (
            {"sd_school": (3, 5.0)},
            r"row 3: no cell of the run has sd_school=5\.0, .*its cells are sd_school=0\.0, deviation\.errors=none",
        ),
    ],
)
def test_rows_that_do_not_fit(folder, exported, changes, message):
    with pytest.raises(ValueError, match=message):
        import_estimates(folder, broken(exported, **changes), "other")
    assert not (folder / "imported.json").exists() or "other" not in (folder / "imported.json").read_text()


def test_tables_that_do_not_fit(folder, exported):
    table = elsewhere(exported)
    for wrong, message in (
        (table.drop(columns="rep"), r"table: expected a column 'rep', found sd_school"),
        (table.drop(columns="sd_school"), r"expected a column 'sd_school'"),
        (table.rename(columns={"estimate": "estimte"}), r"expected a column 'estimate'"),
        (table.assign(lowr=1), r"unknown column 'lowr'; did you mean 'lower'\? or drop it"),
        (table.head(0), r"expected at least one row"),
        (pd.concat([table, table.head(1)]), r"stands twice; drop one"),
    ):
        with pytest.raises(ValueError, match=message):
            import_estimates(folder, wrong, "other")
    with pytest.raises(ValueError, match=r"method: 'separate' is a method of the study itself"):
        import_estimates(folder, table, "separate")
    with pytest.raises(ValueError, match=r"method: expected letters, digits"):
        import_estimates(folder, table, "../x")


def test_cells_by_their_factors(folder):
    assert read_cell("a=1, b=outliers(0.1, 3)") == {"a": "1", "b": "outliers(0.1, 3)"}
    with pytest.raises(ValueError, match=r"cell: expected FACTOR=VALUE,\.\.\., found 'a'"):
        read_cell("a")
    with pytest.raises(ValueError, match=r"cell: unknown factor 'sd_scool'; did you mean 'sd_school'"):
        next(datasets(folder, {"sd_scool": 1}))
    with pytest.raises(ValueError, match=r"cell: no cell has sd_school=3; sd_school is one of 0\.0, 10\.0"):
        next(datasets(folder, {"sd_school": "3"}))
    with pytest.raises(ValueError, match=r"expected a name that ends in \.csv or \.parquet"):
        export_datasets(folder, "x.txt")
    with pytest.raises(ValueError, match=r"cannot be written: expected a file in a folder that exists"):
        export_datasets(folder, folder / "nowhere" / "x.csv")


def test_the_command_line(folder, exported, tmp_path, capsys):
    out = tmp_path / "d.csv"
    assert (
        _code(["datasets", str(folder), "--cell", "sd_school=10,deviation.errors=outliers(0.1, 3)", "--out", str(out)])
        == 0
    )
    assert len(pd.read_csv(out)) == 80 and f"wrote {out}" in capsys.readouterr().out
    file = tmp_path / "r.csv"
    elsewhere(exported).to_csv(file, index=False)
    assert _code(["import", str(folder), str(file), "--method", "from_r"]) == 0
    assert "rows as method 'from_r'" in capsys.readouterr().out
    assert _code(["import", str(folder), str(file), "--method", "from_r"]) == 2
    assert "was imported already" in capsys.readouterr().err


def test_sizes_as_factors_and_rows_that_go():
    config = {
        **CONFIG,
        "mechanisms": {
            "formula": "y ~ 1 + (1 | school)",
            "design": {"school": 4, "obs": 3},
            "truth": {"Intercept": 1, "sd_school": 1, "sigma": 1},
            "grid": {"school": [4, 6]},
            "deviation": {"missing": 0.5},
        },
        "estimands": ["Intercept"],
        "methods": {"m": {"pooling": "complete"}},
    }
    from hiermodels.studies.run.exporting import _simulated

    found = read_config(config)
    first, second = _simulated(found, found.cells())
    assert list(first.columns) == ["rep", "cell_school", "school", "y"]
    assert first.groupby("rep").size().tolist() == [6] * 10 and second.groupby("rep").size().tolist() == [9] * 10
    assert first.groupby("rep")["school"].nunique().tolist() == [2] * 10 and set(second["cell_school"]) == {6.0}


@pytest.mark.slow
def test_counts_are_whole_numbers_and_sizes_those_of_the_replicate():
    config = {
        **CONFIG,
        "mechanisms": {
            "formula": "hits ~ 1 + (1 | player)", "family": "binomial", "trials": "at_bats", "design": "baseball",
            "truth": {"mean_player": 0.27, "kappa_player": 50}, "deviation": {"sizes": "informative(1)"},
        },
        "estimands": ["mean_player"],
        "methods": {"m": {"pooling": "complete"}},
    }  # fmt: skip
    from hiermodels.studies.run.exporting import _simulated

    found = read_config(config)
    (table,) = _simulated(found, found.cells())
    assert table["hits"].dtype == table["at_bats"].dtype == np.int64
    assert (
        table["at_bats"].between(1, 45).all()
        and table["at_bats"].nunique() > 5
        and (table["hits"] <= table["at_bats"]).all()
    )
