"""Datasets: columns, checksums, and messages for tables that cannot be read."""

import numpy as np
import pandas as pd
import pytest

from hiermodels.datasets import dataset_names, is_file, load_dataset, read_table

COLUMNS = {
    "eight_schools": ["school", "effect", "se"],
    "baseball": ["player", "hits", "at_bats", "rem_hits", "rem_at_bats", "avg", "rem_avg", "se"],
    "rats": ["experiment", "tumors", "rats"],
    "pumps": ["pump", "failures", "hours"],
    "counties": ["state", "county", "deaths", "exposure"],
    "scores": ["school", "classroom", "score"],
    "individuals": ["id", "x", "y"],
    "baskets": ["basket", "responses", "patients"],
    "hospitals": ["hospital", "deaths", "operations"],
    "growth": ["rat", "day", "weight"],
    "pastes": ["batch", "cask", "strength"],
    "penicillin": ["plate", "sample", "diameter"],
    "radon": ["county", "floor", "uranium", "log_radon"],
    "free_throws": ["player", "made", "attempts", "later_made", "later_attempts"],
}


def test_menu_is_the_files():
    assert set(dataset_names()) == set(COLUMNS)


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_columns_are_complete_and_without_gaps(name):
    frame = load_dataset(name)
    assert frame.columns.tolist() == COLUMNS[name]
    assert not frame.isna().any(axis=None)


def test_eight_schools_pooled_mean():
    d = load_dataset("eight_schools")
    assert np.average(d.effect, weights=d.se**-2.0) == pytest.approx(7.685617, abs=1e-6)


def test_baseball_averages():
    d = load_dataset("baseball")
    assert len(d) == 18 and d.hits.dtype.kind == d.rem_hits.dtype.kind == "i"
    assert d.hits.sum() / d.at_bats.sum() == pytest.approx(0.265432, abs=1e-6)
    assert ((d.avg - d.rem_avg.round(3)) ** 2).sum() == pytest.approx(0.07532, abs=5e-6)
    assert d.avg.var() == pytest.approx(0.0048495118, abs=1e-9)
    assert d.se.unique() == pytest.approx([np.sqrt(0.00433284)], abs=1e-6)


def test_rats_sums():
    d = load_dataset("rats")
    assert (len(d), d.tumors.sum(), d.rats.sum()) == (71, 267, 1739)
    assert (d.tumors[:70].sum(), d.rats[:70].sum()) == (263, 1725)
    assert d.iloc[70].tolist() == [71, 4, 14]


def test_pumps_counties_scores_sums():
    assert load_dataset("pumps").failures.sum() == 75
    assert load_dataset("pumps").hours.sum() == pytest.approx(350.24)
    counties = load_dataset("counties")
    assert counties.groupby("state").size().tolist() == [3, 4, 2, 3]
    assert counties.county.is_unique and counties.deaths.sum() == 46
    scores = load_dataset("scores")
    classes = scores.groupby(["school", "classroom"]).score
    assert classes.size().tolist() == [3, 2, 1, 4, 2, 3, 2, 2]
    assert (classes.var(ddof=0) * classes.size()).sum() == pytest.approx(242.624167, abs=1e-6)


def test_individuals_are_the_seeded_generator_and_its_checksums():
    d = load_dataset("individuals")
    x, y = d.x.to_numpy().reshape(75, 5), d.y.to_numpy().reshape(75, 5)
    assert (x.sum(), y.sum()) == pytest.approx((-34.689978, 826.976497), abs=1e-6)
    residual = 0.0
    for xi, yi in zip(x, y, strict=True):
        residual += np.linalg.lstsq(np.c_[np.ones(5), xi], yi, rcond=None)[1][0]
    assert residual == pytest.approx(879.012782, abs=1e-6)
    rng = np.random.default_rng(20190808)
    a, b = rng.normal(2, 1, 75), rng.normal(-2, 1, 75)
    again = rng.normal(size=(75, 5))
    np.testing.assert_allclose(x, again, rtol=1e-15)
    np.testing.assert_allclose(y, a[:, None] + b[:, None] * again + 2 * rng.normal(size=(75, 5)), rtol=1e-12)


def test_radon_is_its_seeded_generator():
    """The lines of the datasets' README; every county has a house."""
    frame = load_dataset("radon")
    rng = np.random.default_rng(20260103)
    share = rng.gamma(0.5, size=85)
    county = np.sort(np.r_[np.arange(85), rng.choice(85, 919 - 85, p=share / share.sum())])
    uranium, floor = rng.normal(0, 0.37, 85).round(4), rng.binomial(1, 0.17, 919)
    theta = 1.47 + 0.72 * uranium + rng.normal(0, 0.16, 85)
    log_radon = (theta[county] - 0.67 * floor + rng.normal(0, 0.75, 919)).round(4)
    np.testing.assert_array_equal(frame.county, county + 1)
    np.testing.assert_array_equal(frame.floor, floor)
    np.testing.assert_allclose(frame[["uranium", "log_radon"]], np.c_[uranium[county], log_radon], atol=1e-12)


def test_simulated_counts_are_their_seeded_generators():
    """The lines of the datasets' README, and what a binomial count must be."""
    baskets = load_dataset("baskets")
    rng = np.random.default_rng(20260102)
    patients = np.array([12, 16, 20, 20, 24, 28])
    assert baskets.patients.tolist() == patients.tolist()
    assert baskets.responses.tolist() == rng.binomial(patients, [0.15, 0.45, 0.15, 0.45, 0.15, 0.45]).tolist()
    throws = load_dataset("free_throws")
    rng = np.random.default_rng(20260101)
    attempts, skill = rng.integers(5, 61, 24), rng.beta(18, 7, 24)
    made, later = rng.binomial(attempts, skill), rng.integers(150, 401, 24)
    again = np.c_[made, attempts, rng.binomial(later, skill), later]
    np.testing.assert_array_equal(throws[["made", "attempts", "later_made", "later_attempts"]], again)
    assert (throws.made <= throws.attempts).all() and throws.player.is_unique


def test_frames_are_fresh():
    frame = load_dataset("pumps")
    frame.loc[0, "failures"] = -1
    assert load_dataset("pumps").failures[0] == 5


def test_misspelt_name():
    with pytest.raises(ValueError, match="unknown name 'eight_school'; did you mean 'eight_schools'"):
        load_dataset("eight_school")
    with pytest.raises(ValueError, match="the names are baseball"):
        read_table("qqqq")


def test_dot_or_slash_is_a_file(tmp_path):
    assert is_file("a.csv") and is_file("a/b") and is_file(tmp_path) and not is_file("rats")
    path = tmp_path / "mine.csv"
    path.write_bytes(b"\xef\xbb\xbf# a source line\n# another\n school ,effect\nA #1,2\nB,3\n")
    frame = read_table(str(path))
    assert frame.columns.tolist() == ["school", "effect"] and frame.school.tolist() == ["A #1", "B"]
    assert read_table(path).equals(frame)


def test_parquet_round_trip(tmp_path):
    frame = load_dataset("scores")
    frame.to_parquet(tmp_path / "scores.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "scores.parquet"), frame)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "found an empty file"),
        ("binary.csv", b"school\0effect\n", "found a NUL byte"),
        ("latin.csv", b"school,effect\nB\xe4r,1\n", "found byte 0xe4"),
        ("comment.csv", b"# only this\n", "expected a header line"),
        ("header.csv", b"school,effect\n", "at least one row"),
        ("twice.csv", b"school,effect,effect\nA,1,2\n", "found 'effect' twice"),
        ("ragged.csv", b"a,b\n1,2\n1,2,3\n", "line 3"),
        ("no.parquet", b"PAR?", "expected Parquet"),
        ("sheet.xlsx", b"PK", "save the sheet as CSV"),
    ],
)
def test_unreadable_files_are_one_clear_line(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_table(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    (tmp_path / "mine.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"no such file; did you mean '.*mine\.csv'"):
        read_table(tmp_path / "mien.csv")
    with pytest.raises(ValueError, match="no such file; paths start from"):
        read_table("nowhere/at/all.csv")
    with pytest.raises(ValueError, match="found a folder"):
        read_table(tmp_path)
