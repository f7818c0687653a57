"""Bits of files turned over one at a time: what is read is what was written, or it is refused.

python tests/flips.py FOLDER --count 10000        # of each kind of file
"""

from __future__ import annotations

import argparse
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import hiermodels as hm


def study(**changes: Any) -> dict[str, Any]:
    """Two methods without chains in one cell: milliseconds once they are compiled."""
    return {
        "mechanisms": {
            "formula": "effect ~ 1 + (1 | school)",
            "known_se": "se",
            "design": "eight_schools",
            "truth": {"Intercept": 8, "sd_school": 10},
        },
        "estimands": ["Intercept"],
        "methods": {"mean": {"estimator": "weighted"}, "apart": {"estimator": "separate"}},
        "performance": ["bias", "cover"],
        "replications": 6,
        "failures": "complete-case",
        "seed": 3,
        "lanes": 4,
        "chunk": 4,
    } | changes


def small_fit() -> hm.Fit:
    """A fit of eight schools with a few draws."""
    model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    return hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", draws=10, chains=2, progress=False)


def flipped(path: Path, count: int, seed: int) -> Iterator[int]:
    """Turn one bit of a file after another, all of them or so many at random; the file is as it was in the end."""
    kept, bits = path.read_bytes(), 8 * path.stat().st_size
    some = range(bits) if bits <= count else sorted(random.Random(seed).sample(range(bits), count))
    for bit in some:
        data = bytearray(kept)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        yield bit
    path.write_bytes(kept)


def unnoticed(
    path: Path, read: Callable[[], Any], same: Callable[[Any, Any], bool], count: int, seed: int = 1
) -> tuple[int, int, int]:
    """Bits that were turned, those that were refused, and those that changed what is read without a word."""
    whole, tried, refused, wrong = read(), 0, 0, 0
    for _ in flipped(path, count, seed):
        tried += 1
        try:
            wrong += not same(whole, read())
        except ValueError:
            refused += 1
    return tried, refused, wrong


def read_run(folder: Path) -> list[Any]:
    """What a run says: its manifest, its estimates, its table and notes."""
    run = hm.load_run(folder)
    return [run.config, run.manifest, run.estimates, run.performance, run.common, run.notes, run.failures]


def same_run(one: list[Any], two: list[Any]) -> bool:
    return all(a.equals(b) if isinstance(a, pd.DataFrame) else a == b for a, b in zip(one, two, strict=True))


def same_fit(one: hm.Fit, two: hm.Fit) -> bool:
    """Equal in draws, statistics, diagnostics, data, settings and words."""
    draws = all(
        a.keys() == b.keys()
        and all(np.array_equal(a[k], b[k], equal_nan=np.asarray(a[k]).dtype.kind == "f") for k in a)
        for a, b in ((one.draws.values, two.draws.values), (one.draws.stats, two.draws.stats))
    )
    words = all(
        getattr(one, name) == getattr(two, name) for name in ("model", "settings", "status", "warnings", "seconds")
    )
    return draws and words and one.data.equals(two.data) and one.diagnostics.equals(two.diagnostics)


def flip_run(folder: Path, count: int) -> dict[str, tuple[int, int, int]]:
    """Flips of a run's manifest, of one of its chunks, and of its stored table."""
    files = {
        "manifest": folder / "manifest.json",
        "chunk": next(folder.rglob("estimates/*/mean/00001.parquet")),
        "table": folder / "performance.parquet",
    }
    return {name: unnoticed(file, lambda: read_run(folder), same_run, count) for name, file in files.items()}


def flip_fit(path: Path, count: int) -> tuple[int, int, int]:
    """Flips of a saved fit."""
    return unnoticed(path, lambda: hm.load_fit(path), same_fit, count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    given = parser.parse_args()
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name) / "run", Path(name) / "fit.nc"
        hm.run(study(), folder, progress=False)
        small_fit().save(path)
        print("kind: bits turned, refused, changed without a word")
        for kind, found in flip_run(folder, given.count).items():
            print(f"{kind}: {found}", flush=True)
        print(f"fit: {flip_fit(path, given.count)}")


if __name__ == "__main__":
    main()
