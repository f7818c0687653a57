"""A study on a Dask cluster: the rows of a local run, also when a worker is killed in the middle."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import host_methods
import pandas as pd
import pytest

import hiermodels as hm
from hiermodels.cli import _code
from hiermodels.studies.config import read_config
from hiermodels.studies.run import cluster
from hiermodels.studies.run.cluster import remote_chunk
from hiermodels.studies.run.merge import unequal_columns
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
    "methods": {
        "complete": {"pooling": "complete", "sampler": "exact"},
        "partial": {
            "priors": {"Intercept": "flat()", "sd_school": "half_normal(20)"},
            "draws": 400,
            "tune": 400,
            "chains": 2,
        },
    },
    "performance": ["bias", "cover"],
    "replications": 64,
    "failures": "complete-case",
    "seed": 3,
    "lanes": 4,
    "chunk": 4,
}


def test_a_scheduler_that_does_not_answer_is_bad_input(tmp_path, capsys, monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    monkeypatch.setattr(cluster, "_ANSWER", 0.2)
    file = tmp_path / "study.yaml"
    file.write_text(json.dumps({**STUDY, "methods": {"complete": STUDY["methods"]["complete"]}}))
    assert _code(["run", str(file), "--out", str(tmp_path / "run"), "--scheduler", "tcp://127.0.0.1:9"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --scheduler tcp://127.0.0.1:9: expected a Dask scheduler that answers, found: ")
    assert said.count("\n") == 1


def test_an_address_that_is_none_is_refused_within_seconds():
    deaf = socket.socket()
    deaf.bind(("127.0.0.1", 0))
    deaf.listen()
    addresses = [
        "nonsense",
        "http://x:1",
        "tcp://1.2.3.4",
        "tcp://nonsense.invalid:8786",
        "",
        f"tcp://127.0.0.1:{deaf.getsockname()[1]}",
    ]
    for address in addresses:
        began = time.monotonic()
        with pytest.raises(ValueError, match=r"--scheduler .*: expected"):
            cluster._check_address(address)
        assert time.monotonic() - began < 15
    deaf.close()


def test_without_distributed_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(
            ValueError, match=r"expected the package distributed, found none; pip install 'hiermodels\[cluster\]'"
        ),
        cluster.cluster("tcp://127.0.0.1:9", None, lambda task: (1, 1), print),
    ):
        pass


def test_a_worker_that_would_cut_otherwise_refuses():
    study = read_config(STUDY)
    with pytest.raises(
        ValueError,
        match=r"--scheduler: expected lanes and chunk \(8, 8\) for complete, found \(4, 4\) on a worker with cpu",
    ):
        remote_chunk(json.dumps(study.resolved()), pickle.dumps(({}, {})), study.cells()[0].hash, "complete", 0, (8, 8))


def test_functions_that_a_worker_does_not_find(monkeypatch):
    monkeypatch.setitem(sys.modules, "nowhere", module := ModuleType("nowhere"))
    exec("def f(seed, data): return {}", vars(module))
    whole = pickle.dumps(({"methods.mine.function": module.f}, {}))
    monkeypatch.delitem(sys.modules, "nowhere")
    with pytest.raises(
        ValueError,
        match=r"--scheduler: a worker cannot import the functions of this study \(No module named 'nowhere'\); put their module",
    ):
        remote_chunk("{}", whole, "", "mine", 0, (1, 1))


def test_functions_stay_the_same_from_chunk_to_chunk():
    cloudpickle = pytest.importorskip("cloudpickle", reason="needs the extra `cluster`")
    whole = cloudpickle.dumps(({"methods.mine.function": lambda key, data: None}, {}))
    assert cluster._functions(whole) is cluster._functions(bytes(bytearray(whole)))


@contextmanager
def process(*arguments: str, **more):
    started = subprocess.Popen([sys.executable, "-m", *arguments], **more)
    try:
        yield started
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(30)


def wait_for(condition, seconds=120):
    end = time.time() + seconds
    while not condition():
        assert time.time() < end
        time.sleep(0.02)


def scheduler(folder):
    """A Dask scheduler that writes its address into a folder, ``scheduler.json``."""
    words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(folder / "scheduler.json"))
    return process("distributed.cli.dask_scheduler", *words, **quiet(folder))


def worker(folder, *options, **more):
    """A worker of one thread of the scheduler of a folder."""
    words = ("--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--scheduler-file")
    return process(
        "distributed.cli.dask_worker", *words, str(folder / "scheduler.json"), *options, **quiet(folder), **more
    )


def quiet(folder):
    return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}


def address(folder):
    """Address of the scheduler of a folder, once it is there."""
    wait_for((folder / "scheduler.json").exists)
    return json.loads((folder / "scheduler.json").read_text())["address"]


def far_run(file, folder, *options, **more):
    """The command that runs a study on the scheduler beside its file."""
    words = ("run", str(file), "--out", str(folder), "--scheduler", address(file.parent))
    return process("hiermodels.cli", *words, *options, stderr=subprocess.PIPE, text=True, cwd=file.parent, **more)


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_loses_nothing(tmp_path):
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    file, folder = tmp_path / "study.yaml", tmp_path / "run"
    file.write_text(json.dumps(STUDY))
    with (
        scheduler(tmp_path),
        worker(tmp_path, "--no-nanny") as first,
        worker(tmp_path, "--no-nanny"),
        far_run(file, folder, stdout=subprocess.DEVNULL) as run,
    ):
        wait_for(lambda: len(list(folder.rglob("estimates/**/*.parquet"))) >= 20 or run.poll() is not None)
        assert run.poll() is None
        first.send_signal(signal.SIGKILL)
        _, error = run.communicate(timeout=300)
        assert run.returncode == 0, error
    assert "2 worker(s), 2 thread(s) behind tcp://127.0.0.1:" in error
    local = hm.run(file, tmp_path / "local", progress=False)
    for cell in local.manifest["cells"]:
        for method in STUDY["methods"]:
            for index in sorted(results.stored_chunks(local.path, cell["hash"], method)):
                pair = [
                    results.read_chunk(results.chunk_path(path, cell["hash"], method, index))
                    for path in (local.path, folder)
                ]
                assert unequal_columns(*pair) == []
    assert (folder / "performance.csv").read_bytes() == Path(local.path / "performance.csv").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_scheduler_that_goes_away_leaves_a_run_that_can_go_on(tmp_path, how):
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    file, folder = tmp_path / "study.yaml", tmp_path / "run"
    file.write_text(
        json.dumps({**STUDY, "methods": {"complete": STUDY["methods"]["complete"]}, "replications": 20_000})
    )
    with (
        scheduler(tmp_path) as gone,
        worker(tmp_path, "--no-nanny"),
        far_run(file, folder, "--quiet", stdout=subprocess.PIPE) as run,
    ):
        wait_for(lambda: len(list(folder.rglob("estimates/**/*.parquet"))) >= 5 or run.poll() is not None)
        gone.send_signal(how)
        _, error = run.communicate(timeout=60)
    assert run.returncode == 75 and error.startswith("interrupted: the scheduler at ") and error.count("\n") == 1, error


@pytest.mark.slow
def test_a_function_in_processes_of_a_worker_under_its_nanny(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra `cluster`")
    monkeypatch.setattr(results.Run, "report", lambda self: None)
    found = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}  # the scheduler has no such path
    config = {
        **{k: v for k, v in STUDY.items() if k != "lanes"},
        "mechanisms": {
            **{k: v for k, v in STUDY["mechanisms"].items() if k != "grid"},
            "truth": {"Intercept": 0, "sd_school": 10},
        },
        "estimands": ["Intercept"],
        "methods": {"mine": {"host": True, "function": host_methods.moody, "timeout": 60}},
        "replications": 12,
    }
    with scheduler(tmp_path), worker(tmp_path, env=found) as nanny:
        far = hm.run(config, tmp_path / "far", progress=False, scheduler=address(tmp_path))
        nanny.terminate()
        nanny.wait(30)
    near = hm.run(config, tmp_path / "near", progress=False)
    assert far.estimates["message"].nunique() == 4 and (far.estimates["status"] == "ok").any()
    pd.testing.assert_frame_equal(far.estimates, near.estimates)
