"""A run ends when it is asked to, and when it is done, whatever a user's function left behind or an address does not
answer.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hiermodels.cli import _app
from hiermodels.studies.run import interruption
from hiermodels.studies.run.progress import Progress

SCRIPT = """
import signal, sys; sys.path.insert(0, {tests!r})
signal.signal(signal.SIGINT, signal.default_int_handler)  # as from a terminal
import host_methods
import hiermodels as hm
from hiermodels.studies.run import execution
from hiermodels.studies.store.results import Run

if __name__ == "__main__":
    execution.GRACE, Run.report = 3.0, lambda self: None
    methods = {{name: {{"host": True, "function": getattr(host_methods, name)}} for name in {names}}}
    run = hm.run({study!r} | {{"methods": methods}}, "run", workers=1, progress=False)
    print(run.estimates["estimate"].tolist(), flush=True)
"""
STUDY = {
    "mechanisms": {
        "formula": "effect ~ 1 + (1 | school)",
        "known_se": "se",
        "design": "eight_schools",
        "truth": {"Intercept": 8, "sd_school": 10},
    },
    "estimands": ["Intercept"],
    "performance": ["bias"],
    "replications": 2,
    "failures": "complete-case",
    "seed": 3,
    "chunk": 2,
}
posix = pytest.mark.skipif(sys.platform != "linux", reason="groups of processes, /proc")


def begin(folder: Path, *names: str) -> subprocess.Popen:
    file = folder / "script.py"
    file.write_text(SCRIPT.format(tests=str(Path(__file__).parents[2]), study=STUDY, names=names))
    return subprocess.Popen(
        [sys.executable, str(file)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@posix
def test_what_functions_leave_behind_keeps_nobody(tmp_path):
    """The pipe of standard output ends only when every process that has it does."""
    process = begin(tmp_path, "leaves_a_thread", "returns_twice", "leaves_a_session", "speechless")
    try:
        out, error = process.communicate(timeout=90)
    finally:
        process.kill()
    assert (process.returncode, out.strip()) == (0, "[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, nan, nan]"), error


@posix
@pytest.mark.parametrize("twice", [pytest.param(False, marks=pytest.mark.slow), True])
def test_ctrl_c_ends_a_function_that_hangs(tmp_path, monkeypatch, twice):
    monkeypatch.setenv("STUCK", str(tmp_path / "number"))
    process = begin(tmp_path, "hangs")
    try:
        wait(lambda: (tmp_path / "number").exists())
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        if twice:
            time.sleep(1)
            process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0 and time.monotonic() - began < 20
    wait(lambda: gone(int((tmp_path / "number").read_text())))


@posix
@pytest.mark.slow
def test_a_study_stopped_in_every_way_ends_in_the_same_bytes(tmp_path):
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
import signal
from pathlib import Path
import resilience
trials = resilience.Trials(Path({str(tmp_path)!r}))
for kind in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    trials.kills(kind, 1)
trials.renames(2)
trials.full((60,))
print(trials.failures, trials.stopped > 1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600
    )  # a process in which JAX has not begun
    assert done.stdout.strip() == "[] True", done.stdout + done.stderr


@posix
def test_a_fit_in_a_forked_child_is_refused(tmp_path):
    script = """
import os, warnings
warnings.simplefilter("ignore")
import jax.numpy as jnp
import hiermodels as hm
model, data = hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")
hm.fit
jnp.zeros(1)
for act in (lambda: hm.fit(model, data, progress=False), lambda: hm.run("quick", "run", progress=False)):
    if os.fork() == 0:
        try:
            act()
        except ValueError as error:
            print(error, flush=True)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all("was forked from one in which JAX was at work" in line for line in lines), done


def test_start_up_counts_in_a_time_limit():
    now = time.monotonic()
    assert interruption.Deadline(10, since=now - 9.5).left < 1 < interruption.Deadline(10).left
    assert not interruption.Deadline(10, since=now - 11).allows("mean") and now - _app.BEGAN > 0


def test_a_run_goes_on_when_nobody_listens(monkeypatch):
    class Gone:
        def isatty(self):
            return False

        def write(self, text=""):
            raise BrokenPipeError

        flush = write

    monkeypatch.setattr(sys, "stderr", Gone())
    with Progress(2) as bar:
        bar.say("compiling")
        bar.advance(2, 0)
    assert bar.done == 2


def wait(done, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)


def gone(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
