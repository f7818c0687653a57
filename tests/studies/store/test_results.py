"""Run folders: nothing half-written, nobody in each other's way, and no study continued as another."""

import csv
import json
import os
import re
import subprocess
import sys
import textwrap
import types

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from long_tables import make_estimates
from manifests import CELLS, manifest, resolved

from hiermodels.studies.score.scoring import performance
from hiermodels.studies.score.tables import count_failures
from hiermodels.studies.store import chunks, results
from hiermodels.studies.store.identity import Makers, check_identity, differences, identity_of

REPORTS = True


def chunk(index, cell=0.0, method="none", size=4):
    rep = np.arange(index * size, (index + 1) * size)
    return pa.table(
        {
            "rep": rep,
            "sd_school": np.full(size, cell),
            "method": [method] * size,
            "estimand": ["Intercept"] * size,
            "group": [""] * size,
            "true": np.full(size, 8.0),
            "estimate": 8 + rep / 7,
            "lower": np.full(size, 4.0),
            "upper": np.full(size, 9.0),
            "status": ["nonfinite" if r == 2 else "rhat" if r == 3 else "ok" for r in rep],
            "n_try": np.ones(size, int),
        }
    )


@pytest.fixture
def folder(tmp_path):
    """Two cells, two methods, ten replicates in chunks of four, written in a mixed order."""
    path = tmp_path / "run"
    results.write_manifest(path, manifest())
    makers = Makers(manifest())
    for index in (2, 0, 1):
        for cell in reversed(CELLS):
            for method in ("partial", "none"):
                table = chunk(index, cell["factors"]["sd_school"], method)
                results.write_chunk(path, cell["hash"], method, index, table, makers.of(cell["hash"], method))
    return path


def files(path):
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


# Writing


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "x.json"
    results.write_json(file, {"a": 1})

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match=r"x\.json: cannot be written \(No space left on device\)"):
        results.write_json(file, {"a": 2})
    assert json.loads(file.read_text()) == {"a": 1} and files(tmp_path) == ["x.json"]


def test_the_name_appears_only_after_the_bytes_are_on_disk(tmp_path, monkeypatch):
    steps, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (steps.append("fsync"), sync(handle))[1])

    def renamed(old, new):
        steps.append("rename")
        assert (
            old.read_bytes() == b"whole"
            and re.fullmatch(rf"x\.tmp-\w+-{os.getpid()}-[0-9a-f]{{8}}", old.name)
            and not new.exists()
        )
        replace(old, new)

    monkeypatch.setattr(os, "replace", renamed)
    results.write_bytes(tmp_path / "deep" / "x", b"whole")
    assert steps[:2] == ["fsync", "rename"]
    assert (tmp_path / "deep" / "x").read_bytes() == b"whole"


def test_a_process_killed_while_it_writes_leaves_no_file_of_that_name(tmp_path):
    script = """
        import os, signal
        from pathlib import Path
        from hiermodels.studies.store import chunks, results
        os.replace = lambda old, new: os.kill(os.getpid(), signal.SIGKILL)
        results.write_bytes(Path("run") / "00000.parquet", b"half" * 1000)
    """
    done = python(script, tmp_path)
    assert done.wait(60) == -9
    assert [name for name in files(tmp_path) if name.endswith(".parquet")] == []
    assert len(files(tmp_path)) == 1
    with results.locked(tmp_path / "run"):
        assert files(tmp_path / "run") == [".hiermodels", ".holder", ".lock"]


@pytest.mark.parametrize("method", ["DL", "dl", "a/b", "a b", "..", "con", "Ünder", "x" * 300, "a_b"])
def test_method_folders_are_safe_and_distinct(method, tmp_path):
    names = ["DL", "dl", "a/b", "a b", "..", "con", "Ünder", "x" * 300, "x" * 299, "a_b"]
    path = results.chunk_path(tmp_path, "0a", method, 7)
    assert path.parent.parent == tmp_path / "estimates" / "0a" and path.name == "00007.parquet"
    others = [results.chunk_path(tmp_path, "0a", name, 7).as_posix().lower() for name in names if name != method]
    assert path.as_posix().lower() not in others
    results.write_chunk(tmp_path, "0a", method, 7, chunk(7))
    assert results.stored_chunks(tmp_path, "0a", method) == {7}
    assert results.chunk_is_whole(tmp_path, "0a", method, 7)


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "text"])
def test_a_damaged_chunk_counts_as_absent_and_is_removed(folder, damage):
    path = results.chunk_path(folder, "0a", "none", 1)
    data = bytearray(path.read_bytes())
    if damage == "truncated":
        data = data[:-20]
    elif damage == "empty":
        data = b""
    elif damage == "text":
        data = b"not parquet at all"
    else:
        data[40] ^= 255  # inside a page: only the checksum sees it
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"00001\.parquet: damaged .* type the command"):
        results.read_estimates(folder)
    assert results.stored_chunks(folder, "0a", "none") == {0, 1, 2}
    assert [results.chunk_is_whole(folder, "0a", "none", index) for index in range(4)] == [True, False, True, False]
    assert not path.exists()
    assert results.stored_chunks(folder, "0a", "none") == {0, 2}
    assert results.stored_chunks(folder, "0c", "none") == set()


# Reading


def test_estimates_come_in_order_of_cells_methods_and_chunks(folder):
    frame = results.read_estimates(folder)
    expected = [
        (rep, cell, method)
        for cell in (0.0, 10.0)
        for method in ("none", "partial")
        for rep in range(12)
    ]  # fmt: skip
    assert list(frame[["rep", "sd_school", "method"]].itertuples(index=False, name=None)) == expected
    assert isinstance(frame["estimand"].dtype, pd.CategoricalDtype)
    assert frame["estimate"].to_numpy() == pytest.approx(8 + frame["rep"].to_numpy() / 7, abs=0)


def test_estimates_are_cut_to_the_replications(folder):
    run = results.load_run(str(folder))
    assert (
        run.estimates.groupby(["sd_school", "method"])["rep"].agg(["min", "max", "count"]).to_numpy().tolist()
        == [[0, 9, 10]] * 4
    )
    assert len(results.read_estimates(folder, 4)) == 16


def test_a_run_reads_itself(folder):
    run = results.load_run(folder)
    assert run.config == resolved() and run.factors == ["sd_school"]
    table, notes = performance(run.estimates, factors=run.factors, measures=["bias", "cover"], regime="population")
    results.write_performance(folder, table, notes)
    pd.testing.assert_frame_equal(run.performance, table, check_exact=True)
    assert run.notes == notes and len(notes) == 2
    counts = run.failures
    words = ["ok", "singular", "heavy_weights", "low_ess", "rhat", "divergent", "nonfinite"]
    assert list(counts) == ["sd_school", "method", "n_sim", *words, "n_retried"]
    assert counts.iloc[1].to_dict() == {
        "sd_school": 0.0, "method": "partial", "n_sim": 10, "ok": 8, "singular": 0, "heavy_weights": 0, "low_ess": 0,
        "rhat": 1, "divergent": 0, "nonfinite": 1, "n_retried": 0,
    }  # fmt: skip


def test_the_same_table_gives_the_same_bytes(folder):
    frame = results.read_estimates(folder)
    table, notes = performance(frame, factors=["sd_school"], measures=["bias", "pctbias", "cover"], regime="fixed")
    results.write_performance(folder, table, notes)
    first = {name: (folder / name).read_bytes() for name in ("performance.csv", "performance.parquet")}
    again, notes = performance(
        results.read_estimates(folder),
        factors=["sd_school"],
        measures=["bias", "pctbias", "cover"],
        regime="fixed",
    )
    results.write_performance(folder, again, notes)
    for name, data in first.items():
        assert (folder / name).read_bytes() == data
    text = first["performance.csv"].decode()
    assert "\r" not in text
    head, *rows = csv.reader(text.splitlines())
    assert head == list(table)
    written = [float(row[head.index("value")].replace("NA", "nan")) for row in rows]
    np.testing.assert_array_equal(written, table["value"])  # the digits give every number back


def test_missing_values_are_written_as_na(tmp_path):
    table = pd.DataFrame({"measure": ["cover"], "value": [np.nan], "n_sim": [3]})
    results.write_performance(tmp_path, table)
    assert (tmp_path / "performance.csv").read_text() == "measure,value,n_sim\ncover,NA,3\n"


def test_a_report_is_written_of_the_run_itself(folder, monkeypatch):
    report = types.ModuleType("hiermodels.reporting.report")
    report.write_report = lambda run: run.path / "report.html"
    monkeypatch.setitem(sys.modules, "hiermodels.reporting.report", report)
    assert results.load_run(folder).report() == folder / "report.html"


def test_what_is_not_a_run(tmp_path):
    with pytest.raises(ValueError, match="no run here"):
        results.load_run(tmp_path)
    with pytest.raises(ValueError, match="no run here"):
        results.load_run(tmp_path / "absent")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json: cannot be read"):
        results.load_run(tmp_path)
    (tmp_path / "manifest.json").write_text('{"name": "an app"}')
    with pytest.raises(ValueError, match="another program's folder"):
        results.load_run(tmp_path)


def test_an_unfinished_run(tmp_path):
    results.write_manifest(tmp_path, manifest())
    run = results.load_run(tmp_path)
    with pytest.raises(ValueError, match="no chunk is finished yet"):
        _ = run.estimates
    with pytest.raises(ValueError, match="not finished"):
        _ = run.performance


def test_the_manifest_says_what_made_it():
    made = manifest()
    assert list(made) == [
        "format",
        "streams",
        "config",
        "identity",
        "lanes",
        "chunk",
        "versions",
        "device",
        "cells",
        "regime",
    ]
    assert {"python", "jax", "numpyro", "hiermodels"} <= made["versions"].keys()
    with pytest.raises(ValueError, match="expected numbers, text, lists and mappings"):
        manifest(seed=np.zeros(3))


# The lock


def python(script, cwd):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=cwd, stdout=subprocess.PIPE, text=True)


HOLD = """
    import time
    from hiermodels.studies.store import chunks, results
    with results.locked("run"):
        print("held", flush=True)
        time.sleep(120)
"""


def test_a_live_process_holds_the_folder_and_a_killed_one_does_not(tmp_path):
    holder = python(HOLD, tmp_path)
    try:
        assert holder.stdout.readline() == "held\n"
        message = rf"run: process {holder.pid} on .* is at work here; .*--out"
        with pytest.raises(ValueError, match=message), results.locked(tmp_path / "run"):
            pass
    finally:
        holder.kill()
        holder.wait(60)
        holder.stdout.close()
    with results.locked(tmp_path / "run"):
        pass


def test_the_lock_is_let_go_and_leaves_no_trace_but_itself(tmp_path):
    for _ in range(2):
        with results.locked(tmp_path / "run") as hold:
            (hold.folder / "keep.tmp-note").write_text("a user's own")
            with pytest.raises(ValueError, match=f"process {os.getpid()}"), results.locked(hold.folder):
                pass
            assert ".holder" in files(hold.folder)
        assert files(tmp_path / "run") == [".hiermodels", ".lock", "keep.tmp-note"]


def test_leftovers_of_dead_runs_are_removed(folder):
    before = files(folder)
    (folder / "estimates" / "0a" / "none" / "00003.parquet.tmp-vm-4242-0123abcd").write_bytes(b"half")
    (folder / "performance.csv.tmp-vm-4242-0123abcd").write_bytes(b"half")
    with results.locked(folder):
        pass
    assert files(folder) == sorted([".hiermodels", ".lock", *before])


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ValueError) as caught, results.locked(path):
            pass
        assert "cannot be written" in str(caught.value) and "--out" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert files(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"), results.locked(tmp_path / "run"):
        pass


# Identity


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"aim": "Another question"},
        {"performance": ["mse", "cover"]},
        {"failures": "worst-case"},
        {"lanes": "auto", "chunk": "auto"},
        {"methods": {"partial": {"draws": 1000, "pooling": "partial"}, "none": {"pooling": "none"}}},
        {"interval": 0.95, "estimands": ("Intercept", "theta_school")},
    ],
)
def test_what_may_change_freely(changes):
    assert check_identity(manifest(), resolved(**changes), cells=CELLS) == []


METHODS = resolved()["methods"]


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({"seed": 2}, ["seed: 1 -> 2"]),
        ({"interval": 0.9}, ["interval: 0.95 -> 0.9"]),
        ({"precision": "float32"}, ["precision: float64 -> float32"]),
        ({"estimands": ["Intercept"]}, ['estimands: ["Intercept", "theta_school"] -> ["Intercept"]']),
        ({"estimands": ["Intercept", "sd_school"]}, ["estimands[1]: theta_school -> sd_school"]),
        ({"methods": {"partial": METHODS["partial"]}}, ['methods.none: {"pooling": "none"} -> (absent)']),
        (
            {"methods": METHODS | {"partial": {"pooling": "partial", "draws": 2000}}, "seed": 3},
            ["methods.partial.draws: 1000 -> 2000", "seed: 1 -> 3"],
        ),
        (
            {"mechanisms": resolved()["mechanisms"] | {"truth": {"Intercept": 9}}},
            ["mechanisms.truth.Intercept: 8 -> 9"],
        ),
        ({"replications": 5}, ["replications: 10 -> 5"]),
        ({"failures": "retry-with-escalation"}, ["failures: complete-case -> retry-with-escalation"]),
        ({"chunk": 8}, ["chunk: 4 -> 8"]),
        ({"seed": True}, ["seed: 1 -> true"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("extend", [False, True])
def test_what_is_refused_with_the_difference_shown(changes, lines, extend):
    with pytest.raises(ValueError) as caught:
        check_identity(manifest(), resolved(**changes), extend, cells=CELLS, where="runs/x")
    message = str(caught.value).splitlines()
    assert message[0].startswith("runs/x holds another study") and "--out" in message[0]
    assert [line.strip() for line in message[1:]] == lines


MORE = [*CELLS, {"hash": "0c", "factors": {"sd_school": 20.0}}]
GRID = resolved()["mechanisms"] | {"grid": {"sd_school": [0, 10, 20]}}


@pytest.mark.parametrize(
    ("changes", "cells", "line"),
    [
        ({"replications": 100}, CELLS, "replications: 10 -> 100"),
        ({"methods": METHODS | {"reml": {"sampler": "reml"}}}, CELLS,
         'methods.reml: (absent) -> {"sampler": "reml"}'),
        ({"mechanisms": GRID}, MORE, "cells.[sd_school=20.0]: (absent) -> 0c"),
    ],
)  # fmt: skip
def test_what_needs_extend(changes, cells, line):
    with pytest.raises(ValueError, match="smaller study; type the command with --extend") as caught:
        check_identity(manifest(), resolved(**changes), cells=cells)
    assert str(caught.value).splitlines()[1].strip() == line
    assert check_identity(manifest(), resolved(**changes), True, cells=cells) == [line]


def test_cells_may_not_go_nor_change_under_the_same_factors():
    with pytest.raises(ValueError, match=r"cells\.\[sd_school=10\.0\]: 0b -> \(absent\)"):
        check_identity(manifest(), resolved(), True, cells=CELLS[:1])
    changed = [CELLS[0], CELLS[1] | {"hash": "ff"}]
    with pytest.raises(ValueError, match=r"cells\.\[sd_school=10\.0\]: 0b -> ff"):
        check_identity(manifest(), resolved(), True, cells=changed)


def test_without_cells_the_grid_is_compared_as_written():
    old = {"config": resolved()}
    with pytest.raises(ValueError, match=r"mechanisms\.grid\.sd_school: \[0, 10\] -> \[0, 10, 20\]"):
        check_identity(old, resolved(mechanisms=GRID), True)


def test_identity_is_what_determines_results():
    same = identity_of(resolved())
    assert identity_of(resolved(aim="x", performance=[], replications=99, failures="worst-case")) == same
    assert identity_of(dict(reversed(resolved().items()))) == same
    changes = {
        "seed": 2,
        "interval": 0.5,
        "estimands": [],
        "methods": {},
        "mechanisms": {},
        "precision": "float32",
    }
    assert len({same, *(identity_of(resolved(**{key: value})) for key, value in changes.items())}) == 7


def test_differences_of_nested_values():
    old, new = {"a": [1, {"b": 2}], "c": None}, {"a": [1, {"b": 3}], "d": 1}
    found = list(differences(old, new))
    assert found == [("a[1].b", 2, 3), ("c", None, "(absent)"), ("d", "(absent)", 1)]


MEASURES = ["bias", "pctbias", "mse", "mse_ratio", "cover", "power", "thetamedian"]


@pytest.mark.parametrize("failures", ["complete-case", "paired-complete", "worst-case"])
@pytest.mark.parametrize("rows", [1, 100, 1000])
def test_cells_read_a_few_at_a_time_give_the_same_table(tmp_path, rows, failures):
    whole = make_estimates(reps=12, sds=(0.0, 5.0, 20.0, 50.0))
    whole = whole[~((whole["sd_school"] == 5) & (whole["method"] == "none"))]  # one cell lacks a method
    cells = [{"hash": f"{i:02d}", "factors": {"sd_school": sd}} for i, sd in enumerate((0.0, 5.0, 20.0, 50.0))]
    made = manifest(cells, methods={m: {} for m in ("complete", "none", "partial")}, replications=12)
    made |= {"chunk": 5, "lanes": 5}
    for cell in cells:
        for method in ("complete", "none", "partial"):
            part = whole[(whole["sd_school"] == cell["factors"]["sd_school"]) & (whole["method"] == method)]
            for index in range(3):
                some = part[part["rep"] // 5 == index]
                table = pa.Table.from_pandas(some, preserve_index=False)
                results.write_chunk(tmp_path, cell["hash"], method, index, table, Makers(made).of(cell["hash"], method))
    options = {
        "factors": ["sd_school"],
        "measures": MEASURES,
        "regime": "population",
        "failures": failures,
        "reference": "none",
    }
    frame = results.read_estimates(tmp_path, manifest=made)
    assert len(frame) == len(whole)
    batches = list(results.stream_estimates(tmp_path, made, 12, rows))
    assert [len(b) for b in batches] == [len(b) for b in batches if len(b)] and sum(map(len, batches)) == len(whole)
    assert len(batches) == {1: 4, 100: 4, 1000: 1}[rows] or len(batches) > 1
    expected, notes = performance(frame, **options)
    found, said = performance(iter(batches), **options)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert said == notes and any("sd_school=" in line for line in notes)
    counts = pd.concat([count_failures(b, ["sd_school"]) for b in batches], ignore_index=True)
    pd.testing.assert_frame_equal(counts, count_failures(frame, ["sd_school"]))


def test_a_reference_that_no_batch_has_is_refused(folder):
    batches = results.stream_estimates(folder, manifest(), 10, 1)
    with pytest.raises(ValueError, match="reference: unknown name 'nonne'; did you mean 'none'"):
        performance(batches, factors=["sd_school"], measures=["mse_ratio"], regime="fixed", reference="nonne")


def test_a_few_replicates_are_read_from_their_files_alone(folder, monkeypatch):
    run, seen = results.load_run(folder), []
    read = chunks.read_chunk
    monkeypatch.setattr(chunks, "read_chunk", lambda path, *rest: (seen.append(path.name), read(path, *rest))[1])
    found = run.first_replicates(3)
    assert set(found["rep"]) == {0, 1, 2} and set(seen) == {"00000.parquet"} and len(seen) == 4


def test_a_table_of_a_smaller_study_is_not_taken_for_that_of_a_larger_one(folder):
    run = results.load_run(folder)
    table, notes = performance(run.estimates, factors=["sd_school"], measures=["bias"], regime="fixed")
    counts = run.failures
    results.write_performance(folder, table, notes, failures=counts, stamp=results.stamp_of(run.config))
    fresh = results.load_run(folder)
    assert fresh.finished and len(fresh.performance) == len(table)
    pd.testing.assert_frame_equal(fresh.failures, counts)
    for changes in ({"replications": 11}, {"seed": 2}, {"performance": ["mse"]}, {"failures": "worst-case"}):
        results.write_manifest(folder, manifest(**changes))
        other = results.load_run(folder)
        assert not other.finished
        with pytest.raises(
            ValueError, match="is of the study before it was changed; type the command that extended it again"
        ):
            _ = other.performance
    results.write_manifest(folder, manifest(aim="Another"))
    assert results.load_run(folder).finished


@pytest.mark.slow
def test_a_million_rows_take_eighty_bytes_each(tmp_path):
    rng, size, groups = np.random.default_rng(0), 1000, 50
    big = manifest()
    for cell in CELLS:
        for method in ("none", "partial"):
            for index in range(5):
                rep = np.repeat(np.arange(index * size, (index + 1) * size), groups)
                n = len(rep)
                table = pa.table({"rep": rep, "sd_school": np.full(n, cell["factors"]["sd_school"]),
                                  "method": [method] * n, "estimand": ["theta_school"] * n,
                                  "group": [f"s{g}" for g in range(groups)] * size, "true": np.zeros(n),
                                  "estimate": rng.normal(size=n), "lower": np.full(n, -2.0),
                                  "upper": np.full(n, 2.0), "status": ["ok"] * n})  # fmt: skip
                results.write_chunk(tmp_path, cell["hash"], method, index, table, Makers(big).of(cell["hash"], method))
    frame = results.read_estimates(tmp_path, manifest=big)
    assert len(frame) == 1_000_000
    table, _ = performance(frame, factors=["sd_school"], measures=["bias", "mse", "cover"], regime="fixed")
    assert (table["n_sim"] == 5000).all()
    assert frame.memory_usage(deep=True).sum() < 80e6
