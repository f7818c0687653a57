"""Two recordings side by side: identical, within tolerance, different."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RELATIVE = 1e-10
"""Of an element, or of its array's median size where the element is smaller."""


@dataclass
class Tally:
    """What was compared, and what differs, in words."""

    identical: int = 0
    within: int = 0
    different: int = 0
    largest: float = 0.0
    said: list[str] = field(default_factory=list)

    def differs(self, *words: str) -> None:
        """One thing that differs, in words."""
        self.different += 1
        self.said += words

    def number(self, where: str, a: Any, b: Any, relative: float = RELATIVE, unit: Any = None) -> None:
        """Compare two arrays, in a unit (posterior sds) where one is given."""
        a, b = np.asarray(a), np.asarray(b)
        if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
            self.differs(f"{where}: {a.dtype} {a.shape}, now {b.dtype} {b.shape}")
        elif a.tobytes() == b.tobytes() or np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
            self.identical += 1
        elif a.dtype.kind not in "fc":
            self.differs(f"{where}: {int((a != b).sum())} of {a.size} differ")
        else:
            gap, place = _gap(a, b, unit)
            if gap <= relative:
                self.within, self.largest = self.within + 1, max(self.largest, gap)
            else:
                index = tuple(int(k) for k in np.unravel_index(place, a.shape))
                self.differs(f"{where}: relative {gap:.2g} at {index}: {a[index]:.17g}, now {b[index]:.17g}")

    def text(self, where: str, a: Any, b: Any) -> None:
        """Compare two texts, or anything that prints."""
        if a == b:
            self.identical += 1
            return
        lines = difflib.unified_diff(str(a).splitlines(), str(b).splitlines(), lineterm="", n=0)
        self.differs(*(f"{where}: {line}" for line in lines if line[:3] not in ("---", "+++", "@@ ")))

    def tree(self, where: str, a: Any, b: Any) -> None:
        """Compare two trees of a JSON file, leaf by leaf."""
        if isinstance(a, dict) and isinstance(b, dict):
            self.keys(where, a, b)
            for key in a.keys() & b.keys():
                self.tree(f"{where} > {key}", a[key], b[key])
        elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            for k, (x, y) in enumerate(zip(a, b, strict=True)):
                self.tree(f"{where} > {k}", x, y)
        elif isinstance(a, float) and isinstance(b, float):
            self.number(where, a, b)
        else:
            self.text(where, a, b)

    def keys(self, where: str, a: Any, b: Any) -> None:
        """Names that are in one only."""
        for word, some, there in (("lost", a, b), ("new", b, a)):
            for name in [name for name in some if name not in there]:
                self.differs(f"{where}: {name}: {word}")

    def report(self, title: str) -> int:
        """Print the differences and the counts; the number of differences."""
        for line in self.said:
            print(f"{title}: {line[:400]}")
        total, largest = self.identical + self.within + self.different, f"largest {self.largest:.1g}"
        print(
            f"{title}: {total} compared, {self.identical} identical, {self.within} within tolerance ({largest}), "
            f"{self.different} different"
        )
        return self.different


def _gap(a: np.ndarray, b: np.ndarray, sd: Any = None) -> tuple[float, int]:
    """Largest difference in units and its place; infinite where one only is finite."""
    sizes = np.abs(a[np.isfinite(a)])
    own = np.maximum(np.abs(a), np.median(sizes) if sizes.size else 0.0)
    unit = own if sd is None else np.where(np.isfinite(sd) & (np.asarray(sd) > 0), sd, own)
    with np.errstate(all="ignore"):
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b) / np.where(unit > 0, unit, 1.0))
    gap = np.where(np.isfinite(gap), gap, np.inf)
    return (float(gap.max()), int(gap.argmax())) if gap.size else (0.0, 0)


def files(folder: Path, other: Path, title: str, suffixes: tuple[str, ...] = (".npz", ".json")) -> int:
    """Compare every file of a folder with its namesake; the number of differences."""
    tally = Tally()
    names = [p.name for f in (folder, other) for p in sorted(f.glob("*")) if p.suffix in suffixes]
    for name in dict.fromkeys(names):
        if not ((folder / name).exists() and (other / name).exists()):
            tally.differs(f"{name}: {'new' if (other / name).exists() else 'lost'}")
        elif name.endswith(".json"):
            tally.tree(name.removesuffix(".json"), *(json.loads((f / name).read_text()) for f in (folder, other)))
        else:
            with np.load(folder / name) as a, np.load(other / name) as b:
                tally.keys(name, list(a), list(b))
                for key in [k for k in a.files if k in b.files and " at " not in k]:
                    tally.number(f"{name.removesuffix('.npz')}: {key}", a[key], b[key])
    return tally.report(title)
