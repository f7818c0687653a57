"""A study stopped in every way that there is, and gone on with, ends in the same bytes: a slow test in small, a script
at any size.

    python tests/resilience.py --kills 15        # of each run two: 30 random moments

Killed at random moments and just before and after each rename, of a run, of more replications (`--extend`), of a merge
and of an import; SIGINT, SIGTERM and SIGHUP; a disk that is full (a small file system in memory, where this process may
mount one).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import flips

PARTS = (
    "pandas",
    "pyarrow.parquet",
    "jinja2",
    "hiermodels.studies.run.runner",
    "hiermodels.studies.methods.tasks",
    "hiermodels.reporting.report",
    "hiermodels.reporting.plots",
    "hiermodels.cli",
)


def study(replications: int = 24) -> dict:
    """Two methods and many small chunks."""
    return flips.study(
        replications=replications, methods={"mean": {"estimator": "weighted"}, "apart": {"estimator": "separate"}}
    )


def begin(words: list[str], said: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Run a command in a copy of this process, in which everything is imported and JAX has not begun; the copy's
    number.
    """
    child = os.fork()
    if child:
        return child
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # as from a terminal: `nohup` and a shell's `&` have them ignored
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    code = 1
    try:
        prepare()
        from hiermodels.cli import _code

        code = _code(words)
    finally:
        os._exit(code)


def end(child: int) -> int:
    """Exit code of a copy; minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def content(folder: Path) -> dict[str, bytes]:
    """What must be the same: everything but times, and the page that shows them."""
    spare = ("timings.json", "report.html")
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in spare
    }


class Trials:
    """Trials against one whole run; ``failures`` says what went wrong, ``stopped`` how many signals came before a
    run's end.
    """

    def __init__(self, folder: Path, replications: int = 24) -> None:
        for part in PARTS:
            importlib.import_module(part)
        self.folder, self.config, self.out, self.said = folder, folder / "study.yaml", folder / "run", folder / "said"
        self.config.write_text(json.dumps(study(replications)))
        self.replications = replications
        self.count, self.stopped, self.failures = 0, 0, []
        self.do(self.run(folder / "whole"))
        self.whole = content(folder / "whole")
        began = time.monotonic()  # of a run that finds its programs compiled
        self.go_on(self.run(), self.whole, "a second run")
        self.seconds = time.monotonic() - began

    def run(self, out: Path | None = None, *more: str) -> list[str]:
        """The command of a run."""
        return ["run", str(self.config), "--out", str(out or self.out), "--workers", "2", "--quiet", *more]

    def do(self, words: list[str]) -> None:
        """A command, to the end."""
        assert end(begin(words, self.said)) == 0, self.said.read_text()

    def go_on(
        self, words: list[str], whole: dict[str, bytes], what: str, out: Path | None = None, said: Path | None = None
    ) -> None:
        """The same command again, to the end: the same bytes and nothing else."""
        out, said = out or self.out, said or self.said
        code = end(begin(words, said))
        self.count += 1
        found = content(out) if out.exists() else {}
        if code != 0 or found != whole:
            differ = sorted(name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name))
            self.failures.append(f"{what}: exit code {code}, other bytes: {differ} {said.read_text()[-300:]}")
        shutil.rmtree(out, ignore_errors=True)

    def kills(self, kind: signal.Signals, times: int, seed: int = 1) -> None:
        """A signal at random moments, twice in each run."""
        rng = random.Random(f"{seed} {kind}")
        for _ in range(times):
            for _ in range(2):
                child = begin(self.run(), self.said)
                time.sleep(rng.uniform(0, 1.2 * self.seconds))
                os.kill(child, kind)
                code = end(child)
                self.stopped += code != 0
                if code not in {
                    0,
                    -kind,
                    *({130} if kind == signal.SIGINT else {75} if kind == signal.SIGTERM else set()),
                }:
                    self.failures.append(f"{kind.name}: exit code {code}: {self.said.read_text()[-300:]}")
            self.go_on(self.run(), self.whole, kind.name)

    def renames(self, most: int = 1000) -> int:
        """Killed before, and after, the first rename of a run, the second one, and so on; how many there are."""
        return self._renames("run", self.run(), None, most)

    def further_renames(self, most: int = 1000) -> dict[str, int]:
        """As `renames`, of an extension, a merge and an import."""
        whole, shards, table = (
            self.folder / "whole",
            [self.folder / f"shard{i}" for i in (1, 2)],
            self.folder / "table.csv",
        )
        for i, shard in enumerate(shards, 1):
            self.do(self.run(shard, "--shard", f"{i}/2"))
        rows = (f"{rep},Intercept,{rep % 7},1.5" for rep in range(self.replications))
        table.write_text("\n".join(["rep,estimand,estimate,se", *rows]))
        commands = {
            "extend": (self.run(None, "--extend", "--replications", str(self.replications + 8)), whole),
            "merge": (["merge", str(self.out), *map(str, shards), "--quiet"], None),
            "import": (["import", str(self.out), str(table), "--method", "elsewhere", "--replace"], whole),
        }
        return {name: self._renames(name, words, start, most) for name, (words, start) in commands.items()}

    def _renames(self, name: str, words: list[str], start: Path | None, most: int) -> int:
        """A command on a copy of a folder, killed before and after each of its renames, and given again."""
        self._put(start)
        self.do(words)
        whole = content(self.out)
        for number in range(most):
            for after in (False, True):
                self._put(start)
                if end(begin(words, self.said, lambda number=number, after=after: kill_at(number, after))) == 0:
                    self._put(None)
                    return number
                self.go_on(words, whole, f"{name}: {'after' if after else 'before'} rename {number}")
        return most

    def _put(self, start: Path | None) -> None:
        """The folder as a command finds it."""
        shutil.rmtree(self.out, ignore_errors=True)
        if start is not None:
            shutil.copytree(start, self.out)

    def full(self, sizes: tuple[int, ...]) -> bool:
        """A file system of so many kilobytes, enlarged after the run has failed on it; whether one could be mounted."""
        place = self.folder / "small"
        place.mkdir()
        out, said = place / "run", place / "said"
        for size in sizes:
            if subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(place)], capture_output=True
            ).returncode:
                return False
            try:
                code = end(begin(self.run(out), said))
                text = said.read_text() or "No space left"  # what is said needs room, too
                if code == 0 or "No space left" not in text or "Traceback" in text:
                    self.failures.append(f"{size}k: exit code {code}: {text[-300:]}")
                subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
                self.go_on(self.run(out), self.whole, f"a disk of {size}k", out, said)
            finally:
                subprocess.run(["umount", str(place)], check=True)
        return True


def kill_at(number: int, after: bool) -> None:
    """Let this process kill itself at a rename."""
    seen, replace = iter(range(10**9)), os.replace

    def replaced(old: str, new: str) -> None:
        at = next(seen) == number
        if at and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(old, new)
        if at:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replaced


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("kills", 15), ("signals", 3), ("replications", 24), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        trials = Trials(Path(name), given.replications)
        print(f"{len(trials.whole)} files, {trials.seconds:.1f} s a run", flush=True)
        trials.kills(signal.SIGKILL, given.kills, given.seed)
        print(
            f"killed at {2 * given.kills} random moments, {trials.stopped} of them before the end: "
            f"{len(trials.failures)} failures",
            flush=True,
        )
        print(
            f"killed before and after each of {trials.renames()} renames: {len(trials.failures)} failures", flush=True
        )
        print(
            f"killed before and after each rename of further commands, {trials.further_renames()}: "
            f"{len(trials.failures)} failures",
            flush=True,
        )
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = trials.stopped
            trials.kills(kind, given.signals, given.seed)
            stopped = trials.stopped - before
            print(
                f"{kind.name} at {2 * given.signals} random moments, {stopped} of them before the end: "
                f"{len(trials.failures)} failures",
                flush=True,
            )
        mounted = trials.full((20, 60, 150))
        print(
            f"a full disk: {f'{len(trials.failures)} failures' if mounted else 'not tried (nothing may be mounted)'}",
            flush=True,
        )
        print("\n".join([f"{trials.count} trials, {len(trials.failures)} failures", *trials.failures]))
        sys.exit(bool(trials.failures))


if __name__ == "__main__":
    main()
