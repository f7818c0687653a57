"""A study killed again and again at random moments ends with the same table: a slow test in small, a script at any
size.

python tests/killed.py --cells 10 --replications 2000 --kills 10
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import hiermodels as hm


def study(cells: int, replications: int) -> dict:
    """Eight schools with as many spreads between schools; three methods without chains."""
    return {
        "mechanisms": {
            "formula": "effect ~ 1 + (1 | school)",
            "known_se": "se",
            "design": "eight_schools",
            "truth": {"Intercept": 8, "sd_school": 10},
            "grid": {"sd_school": [2.5 * i for i in range(cells)]},
        },
        "estimands": ["Intercept", "sd_school", "theta_school"],
        "methods": {
            "complete": {"pooling": "complete", "sampler": "exact"},
            "none": {"pooling": "none", "sampler": "exact"},
            "partial": {"sampler": "exact", "priors": {"Intercept": "flat()", "sd_school": "reference()"}},
        },
        "performance": ["bias", "mse", "cover", "ciwidth"],
        "replications": replications,
        "failures": "complete-case",
        "seed": 7,
        "lanes": 64,
        "chunk": 64,
    }


def stored(folder: Path) -> dict[str, int]:
    """Chunks and when each was written."""
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("estimates/**/*.parquet")}


def kill_and_go_on(
    folder: Path, cells: int, replications: int, kills: int, seed: int, workers: int = 2
) -> dict[str, int]:
    """Run a study with SIGKILLs, then to its end; what was found on the way.

    Returns
    -------
    dict
        ``kills`` that met a running process, ``chunks`` that were whole at a kill, ``again`` of them that were computed
        twice.
    """
    config, out, rng = folder / "study.yaml", folder / "killed", random.Random(seed)
    config.write_text(json.dumps(study(cells, replications)))
    total, met, again = 3 * cells * -(-replications // 64), 0, 0
    before: dict[str, int] = {}
    for target in sorted(rng.randrange(total) for _ in range(kills)):
        command = [
            sys.executable,
            "-m",
            "hiermodels.cli",
            "run",
            str(config),
            "--out",
            str(out),
            "--workers",
            str(workers),
            "--quiet",
        ]
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and len(stored(out)) < target:
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.3))
        met += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        now = stored(out)
        again += sum(now.get(name) != written for name, written in before.items())
        before = now
        assert not (out / "performance.csv").exists() or len(now) == total
    hm.run(config, out, workers=workers, progress=False)
    again += sum(stored(out)[name] != written for name, written in before.items())
    return {"kills": met, "chunks": len(before), "again": again}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("cells", 10), ("replications", 2000), ("kills", 10), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = kill_and_go_on(folder, given.cells, given.replications, given.kills, given.seed)
        whole = hm.run(study(given.cells, given.replications), folder / "whole", progress=False)
        same = (whole.path / "performance.csv").read_bytes() == (folder / "killed" / "performance.csv").read_bytes()
        print(found, "the same table" if same else "ANOTHER TABLE")
        sys.exit(not same)


if __name__ == "__main__":
    main()
