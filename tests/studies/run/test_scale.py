"""Many machines, many interruptions: shards, merging, limits; the table is the same however it came about."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.studies import machine
from hiermodels.studies.run import interruption
from hiermodels.studies.run.merge import Incomplete, merge
from hiermodels.studies.run.schedule import Combination, Schedule, Shard, read_shard, shard_of_array
from hiermodels.studies.store import disk, results
from hiermodels.studies.store.identity import Makers

STUDY = {
    "aim": "What do extremes of pooling do to eight schools?",
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
        "grid": {"sd_school": [0, 10]},
    },
    "estimands": ["theta_school", "mean(theta_school)"],
    "methods": {
        "complete": {"pooling": "complete", "sampler": "exact"},
        "none": {"pooling": "none", "sampler": "exact"},
    },
    "performance": ["bias", "cover"],
    "replications": 40,
    "failures": "complete-case",
    "seed": 3,
    "lanes": 4,
    "chunk": 4,
}
KEYS = ["sd_school", "method", "estimand", "group", "rep"]


def study(**changes) -> dict:
    return {**STUDY, **changes}


def grid(*sds: float) -> dict:
    return study(mechanisms={**STUDY["mechanisms"], "grid": {"sd_school": list(sds)}})


def rows(folder: Path) -> pd.DataFrame:
    return (
        hm.load_run(folder)
        .estimates.sort_values(KEYS)
        .reset_index(drop=True)
        .astype({k: "str" for k in ("method", "estimand", "group")})
    )


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, two, check_exact=True, check_categorical=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    hm.run(study(), folder, workers=1, progress=False)
    return folder


# ---------------------------------------------------------------------------------------------------- what a shard is


@pytest.mark.parametrize("count", [1, 2, 3, 7, 20])
@pytest.mark.parametrize(("cells", "methods", "replications"), [(1, 3, 250), (2, 2, 40), (12, 3, 2000), (40, 1, 50)])
def test_every_chunk_belongs_to_one_shard_and_shards_are_alike(cells, methods, replications, count):
    combinations = tuple(Combination(f"{c:02d}", f"m{m}", 10, 50) for c in range(cells) for m in range(methods))
    parts = [list(Schedule(combinations, replications, Shard(i, count)).tasks()) for i in range(count)]
    together = [task for part in parts for task in part]
    everything = list(Schedule(combinations, replications).tasks())
    assert len(together) == len(everything) == len(set(together)) and set(together) == set(everything)
    assert [Schedule(combinations, replications, Shard(i, count)).count() for i in range(count)] == [
        len(p) for p in parts
    ]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 0.5 * len(everything) / count + 2
    longer = [set(Schedule(combinations, 2 * replications, Shard(i, count)).tasks()) for i in range(count)]
    assert all(
        {(t.cell, t.method, t.index) for t in a} <= {(t.cell, t.method, t.index) for t in b}
        for a, b in zip(parts, longer, strict=True)
    )


def test_the_longest_compilation_begins_first():
    """NUTS in one cell, then what else there is, then NUTS in the other cells; later chunks as they are written."""
    methods = {"raw": {"sampler": "exact"}, "nuts": {"sampler": "nuts"}, "reml": {"estimator": "reml"}}
    cells = [{"hash": "a"}, {"hash": "b"}]
    manifest = {"cells": cells, "config": {"methods": methods, "replications": 8}, "lanes": 4, "chunk": 4}
    tasks = [f"{t.cell} {t.method} {t.index}" for t in Schedule.of(manifest).tasks()]
    assert tasks[:6] == ["a nuts 0", "a raw 0", "a reml 0", "b raw 0", "b reml 0", "b nuts 0"]
    assert tasks[6:] == [f"{c} {m} 1" for c in "ab" for m in methods]
    parts = [task for i in range(3) for task in Schedule.of(manifest, Shard(i, 3)).tasks()]
    assert sorted(map(str, parts)) == sorted(map(str, Schedule.of(manifest).tasks()))


def test_the_last_chunk_counts_its_own_replicates_only():
    tasks = list(Schedule((Combination("a", "m", 4, 4),), 10).tasks())
    assert [t.fits for t in tasks] == [4, 4, 2]


def test_shards_may_be_counted_from_nought_or_from_one():
    assert {read_shard(f"{i}/20") for i in range(20)} == {read_shard(f"{i}/20") for i in range(1, 21)}
    for text in ("21/20", "1", "a/b", "1/0", "-1/3", "1/3/5"):
        with pytest.raises(ValueError, match=r"--shard .*expected I/N"):
            read_shard(text)


def test_a_job_array_names_its_shards():
    def array(ids, **more):
        return [
            shard_of_array({"SLURM_ARRAY_TASK_ID": str(i), "SLURM_ARRAY_TASK_COUNT": str(len(ids)), "SLURM_ARRAY_TASK_MIN": str(min(ids)), "SLURM_ARRAY_TASK_MAX": str(max(ids)), **more})
            for i in ids
        ]  # fmt: skip

    for ids in (range(20), range(1, 21), range(5, 8)):
        assert [s.index for s in array(list(ids))] == list(range(len(ids)))
    assert [s.index for s in array([0, 2, 4], SLURM_ARRAY_TASK_STEP="2")] == [0, 1, 2]
    with pytest.raises(ValueError, match=r"3 tasks from 3 to 11 has gaps.*--shard \$SLURM_ARRAY_TASK_ID/N"):
        array([3, 7, 11])
    assert shard_of_array({}) is None


# ---------------------------------------------------------------------------------------------------- shards, merged


def test_shards_share_a_folder_and_the_last_summarises(whole, tmp_path, capsys):
    folder = tmp_path / "run"
    for i in (2, 0):
        run = hm.run(study(), folder, shard=f"{i}/3", progress=False)
        assert not run.finished
        with pytest.raises(ValueError, match="not finished"):
            _ = run.performance
    assert _code(["report", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"chunks are missing; `hiermodels run {folder}` makes them:\n  sd_school=0; complete: chunks" in said
    hm.run(study(), folder, shard="1/3")
    assert "shard" not in capsys.readouterr().err
    assert (folder / "performance.csv").read_bytes() == (whole / "performance.csv").read_bytes()
    same(rows(folder), rows(whole))
    timings = [json.loads(file.read_text())["fits"] for file in folder.glob("timings-*-of-3.json")]
    assert len(timings) == 3 and sum(timings) == 2 * 2 * 40
    assert hm.run(study(), folder, progress=False).finished  # the whole, nothing left to do
    assert not list(folder.glob(".lock-*"))


def test_shards_in_folders_of_their_own_are_merged_and_what_is_missing_is_named(whole, tmp_path, capsys):
    parts = [tmp_path / f"part{i}" for i in range(3)]
    for i, part in enumerate(parts[:2]):
        hm.run(study(), part, shard=f"{i}/3", progress=False)
    out = tmp_path / "out"
    assert _code(["merge", str(out), *map(str, parts[:2])]) == 2
    said = capsys.readouterr().err
    left = list(Schedule.of(hm.load_run(out).manifest, Shard(2, 3)).tasks())
    assert said.startswith(f"error: {out}: {len(left)} of 40 chunks are missing; `hiermodels run {out}` makes them:\n")
    sds = {c["hash"]: f"{c['factors']['sd_school']:g}" for c in hm.load_run(out).manifest["cells"]}
    named = set()
    for sd, method, numbers in re.findall(r"sd_school=(\d+); (\w+): chunks ([\d, -]+) \(", said):
        for first, last in re.findall(r"(\d+)(?:-(\d+))?", numbers):
            named |= {(sd, method, i) for i in range(int(first), int(last or first) + 1)}
    assert named == {(sds[t.cell], t.method, t.index) for t in left}
    assert not hm.load_run(out).finished
    hm.run(study(), parts[2], shard="2/3", progress=False)
    assert _code(["merge", str(out), *map(str, parts), "--quiet"]) == 0
    assert (out / "performance.csv").read_bytes() == (whole / "performance.csv").read_bytes()
    same(rows(out), rows(whole))
    assert _code(["merge", str(out), str(parts[0]), "--quiet"]) == 0  # again, beside what is there


def test_the_command_that_is_named_makes_what_is_missing(whole, tmp_path):
    part, out = tmp_path / "part", tmp_path / "out"
    hm.run(study(), part, shard="0/2", progress=False)
    with pytest.raises(Incomplete, match=r"hiermodels run"):
        merge(out, [part])
    assert _code(["run", str(out), "--quiet"]) == 0
    assert (out / "performance.csv").read_bytes() == (whole / "performance.csv").read_bytes()


@pytest.mark.parametrize("halves", ["cells", "methods", "replications"])
def test_two_halves_merged_are_the_whole(whole, tmp_path, halves):
    one, two, out = (tmp_path / name for name in ("one", "two", "out"))
    configs = {
        "cells": (grid(0), grid(10)),
        "methods": tuple(study(methods={m: STUDY["methods"][m]}) for m in ("complete", "none")),
        "replications": (study(replications=12), study()),
    }[halves]
    for folder, config in zip((one, two), configs, strict=True):
        hm.run(config, folder, progress=False)
    merge(out, [one, two])
    assert (out / "performance.csv").read_bytes() == (whole / "performance.csv").read_bytes()
    same(rows(out), rows(whole))
    assert hm.load_run(out).manifest["identity"] == hm.load_run(whole).manifest["identity"] or halves == "cells"
    assert hm.run(out, progress=False).finished  # goes on from itself: nothing to do


def test_parts_of_different_studies_are_not_joined(whole, tmp_path):
    other = tmp_path / "other"
    hm.run(study(seed=4, replications=4), other, progress=False)
    with pytest.raises(ValueError, match=r"is of another study than .*\n  seed: 3 -> 4"):
        merge(tmp_path / "out", [whole, other])
    assert not (tmp_path / "out").exists()


def test_parts_that_disagree_about_a_row_are_not_joined(whole, tmp_path):
    import pyarrow as pa

    other = tmp_path / "other"
    hm.run(study(replications=4), other, progress=False)
    cell = hm.load_run(other).manifest["cells"][1]["hash"]
    table = results.read_chunk(results.chunk_path(other, cell, "none", 0))
    changed = table.set_column(
        table.column_names.index("estimate"), "estimate", pa.array(table["estimate"].to_numpy() * (1 + 2e-16))
    )
    results.write_chunk(other, cell, "none", 0, changed, Makers(hm.load_run(other).manifest).of(cell, "none"))
    with pytest.raises(ValueError, match=r"00000\.parquet: expected the same rows, found other values of estimate"):
        merge(tmp_path / "out", [whole, other])
    assert not (tmp_path / "out").exists()


def test_a_damaged_chunk_of_a_part_is_refused_by_name(whole, tmp_path):
    other = tmp_path / "other"
    hm.run(study(replications=4), other, progress=False)
    path = results.chunk_path(other, hm.load_run(other).manifest["cells"][1]["hash"], "none", 0)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=rf"{path}: damaged .*; type the command that made the run again"):
        merge(tmp_path / "out", [other])
    assert not (tmp_path / "out").exists()


def test_other_lanes_or_chunks_are_refused(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    hm.run(study(replications=4), folder, progress=False)
    manifest = results.read_manifest(folder)
    cell = manifest["cells"][0]["hash"]
    manifest["lanes"][cell]["none"] = 8
    results.write_manifest(folder, manifest)
    with pytest.raises(ValueError, match=rf"was made with other lanes or chunks.*\n  lanes\.{cell}\.none: 8 -> 4"):
        hm.run(study(replications=4), folder, progress=False)


# ---------------------------------------------------------------------------------------------------- one folder, many
# processes


def test_shards_work_beside_one_another_but_not_beside_a_whole_run(tmp_path):
    with results.locked(tmp_path, "0-of-2"), results.locked(tmp_path, "1-of-2"):
        with (
            pytest.raises(ValueError, match=rf"process {os.getpid()} on .* is at work here \(0-of-2\)"),
            results.locked(tmp_path, "0-of-2"),
        ):
            pass
        with pytest.raises(ValueError, match=r"is at work here \(0-of-2\); wait"), results.locked(tmp_path):
            pass


def test_a_shard_leaves_the_files_that_others_are_writing(tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    ).stdout.strip()
    host = disk._HOST
    names = {
        "mine": f"x.tmp-{host}-{os.getpid()}-00000000",
        "dead": f"x.tmp-{host}-{dead}-00000000",
        "far": f"x.tmp-elsewhere-{dead}-00000000",
    }
    for name in names.values():
        (tmp_path / name).write_bytes(b"half")
    with results.locked(tmp_path, "0-of-2"):
        assert {k for k, name in names.items() if (tmp_path / name).exists()} == {"mine", "far"}
    with results.locked(tmp_path):
        assert not any((tmp_path / name).exists() for name in names.values())


def test_cores_follow_control_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert machine.cores(tmp_path) == 16

    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("proc/self/cgroup", "0::/slurm/job_7/step_0\n")
    write("sys/fs/cgroup/slurm/job_7/cpu.max", "450000 100000\n")
    write("sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "max 100000\n")
    assert machine.cores(tmp_path) == 4
    write("sys/fs/cgroup/cpu.max", "50000 100000\n")
    assert machine.cores(tmp_path) == 1
    (tmp_path / "sys/fs/cgroup/cpu.max").unlink()
    write("proc/self/cgroup", "12:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n")
    write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "300000\n")
    write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n")
    assert machine.cores(tmp_path) == 3


# ---------------------------------------------------------------------------------------------------- ending early


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), (1.5, 1.5), ("01:30:00", 5400), ("2-00:00:01", 172801), ("00:00:05", 5)]
)
def test_durations(text, seconds):
    assert interruption.read_duration(text) == seconds


@pytest.mark.parametrize("text", ["0", "-3", "1:2", "soon", "nan", "inf", "", True])
def test_durations_that_are_none(text):
    with pytest.raises(ValueError, match="expected seconds or HH:MM:SS"):
        interruption.read_duration(text)


def _start(arguments: list[str], cwd: Path, **more) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "hiermodels.cli", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def _chunks(folder: Path) -> int:
    return len(list(folder.rglob("estimates/**/*.parquet")))


def _config(folder: Path, **changes) -> Path:
    file = folder / "study.yaml"
    file.write_text(json.dumps(study(**changes)))  # JSON is YAML
    return file


@pytest.mark.slow
def test_sigterm_and_the_time_limit_end_with_75_and_the_same_command_goes_on(tmp_path):
    _config(tmp_path, replications=20_000, chunk=256, lanes=64)
    command = ["run", "study.yaml", "--out", "run", "--workers", "1"]
    process = _start(command, tmp_path)
    deadline = time.time() + 240
    while _chunks(tmp_path / "run") < 2 and process.poll() is None and time.time() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 75, error
    assert (
        error.splitlines()[-1] == "stopped by SIGTERM; type the same command again to go on from run"
        and "Traceback" not in error
    )
    first = _chunks(tmp_path / "run")
    assert first >= 2 and not (tmp_path / "run" / "performance.csv").exists()

    started = time.time()
    process = _start([*command, "--time-limit", "00:00:06"], tmp_path)
    _, error = process.communicate(timeout=240)
    assert process.returncode == 75, error
    assert (
        error.splitlines()[-1] == "stopped at the time limit; type the same command again to go on from run"
        and "Traceback" not in error
    )
    assert f"{first} of 316 chunks are there" in error
    assert time.time() - started < 60
    assert _chunks(tmp_path / "run") >= first
    assert not list((tmp_path / "run").rglob("*.tmp-*"))


def test_nothing_is_begun_that_would_not_be_done_in_time(tmp_path):
    with pytest.raises(interruption.TimeUp, match="time limit"):
        hm.run(study(), tmp_path / "run", time_limit=1e-3, progress=False)
    assert _chunks(tmp_path / "run") == 0
    limit = interruption.Deadline(50)
    limit.took("slow", 60)
    assert limit.allows("quick") and not limit.allows("slow") and 49 < limit.left <= 50
    assert interruption.Deadline().left is None


def test_a_job_array_is_read_from_the_environment(tmp_path, monkeypatch, capsys):
    for name, value in (("ID", 1), ("COUNT", 2), ("MIN", 0), ("MAX", 1)):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    _config(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert _code(["run", "study.yaml", "--out", "run"]) == 0
    said = capsys.readouterr()
    assert "shard 1-of-2: done; 20 of the study's 40 chunks are in run" in said.err
    assert "not finished" in said.out
    assert _code(["run", "study.yaml", "--out", "run", "--shard", "0/1", "--quiet"]) == 0
    assert hm.load_run("run").finished


def test_cells_of_several_truth_regimes_are_summarised_with_a_warning(tmp_path):
    mixed = {**STUDY["mechanisms"], "grid": {"sd_school": [5, "half_normal(5)"]}}
    run = hm.run(study(mechanisms=mixed, replications=4), tmp_path / "run", progress=False)
    assert run.manifest["regime"] == ["population", "prior"] and "regime: mixed" in run.notes[0]


@pytest.mark.slow
def test_a_study_killed_at_random_moments_ends_with_the_same_table(tmp_path):
    from killed import kill_and_go_on
    from killed import study as larger

    found = kill_and_go_on(tmp_path, cells=3, replications=1000, kills=4, seed=5)
    assert found["kills"] >= 2 and found["again"] == 0
    whole = hm.run(larger(3, 1000), tmp_path / "whole", progress=False)
    assert (tmp_path / "killed" / "performance.csv").read_bytes() == (whole.path / "performance.csv").read_bytes()


@pytest.mark.slow
def test_twenty_shards_of_which_three_are_killed_equal_the_local_run(whole, tmp_path):
    config = study(replications=400)
    local = hm.run(config, tmp_path / "local", progress=False)
    file = _config(tmp_path, replications=400)
    parts = [tmp_path / f"part{i:02d}" for i in range(20)]
    killed = (4, 11, 17)
    for i, part in enumerate(parts):
        if i not in killed:
            hm.run(config, part, shard=f"{i}/20", progress=False)
            continue
        process = _start(["run", str(file), "--out", str(part), "--shard", f"{i}/20", "--workers", "1"], tmp_path)
        while _chunks(part) < 5 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with pytest.raises(Incomplete) as lacking:
        merge(tmp_path / "out", parts)
    missing = int(re.search(r": (\d+) of 400 chunks are missing", str(lacking.value))[1])
    assert 0 < missing <= 3 * 15
    for i in killed:
        hm.run(config, parts[i], shard=f"{i}/20", progress=False)
    merge(tmp_path / "out", parts)
    same(rows(tmp_path / "out"), rows(local.path))
    assert (tmp_path / "out" / "performance.csv").read_bytes() == (local.path / "performance.csv").read_bytes()


def test_adding_a_cell_or_replications_changes_no_old_row(whole, tmp_path):
    folder = tmp_path / "run"
    hm.run({**grid(0), "replications": 12}, folder, progress=False)
    first = rows(folder)
    written = {p: p.stat().st_mtime_ns for p in folder.rglob("estimates/**/*.parquet")}
    hm.run(study(), folder, extend=True, progress=False)
    assert {p: p.stat().st_mtime_ns for p in written} == written
    later = rows(folder)
    same(later[(later["sd_school"] == 0) & (later["rep"] < 12)].reset_index(drop=True), first)
    same(later, rows(whole))


def test_an_extension_that_is_stopped_leaves_no_table_of_the_smaller_study(tmp_path):
    folder = tmp_path / "run"
    hm.run(study(replications=4), folder, progress=False)
    with pytest.raises(interruption.TimeUp):
        hm.run(study(), folder, extend=True, time_limit=1e-3, progress=False)
    assert not (folder / "performance.csv").exists() and not hm.load_run(folder).finished
    assert set(hm.load_run(folder).estimates["rep"]) == set(range(4))
