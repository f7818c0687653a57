"""What this process may use: cores by affinity and control groups, not those of the host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["cores", "memory_maps"]


def cores(root: str | os.PathLike[str] = "/") -> int:
    """Cores that this process may use: its CPU affinity, cut by the quotas of its control groups.

    A batch system or container that grants 4 of a host's 128 cores says so in one of these two places. Quotas are read
    from the process's own group and every group above it (versions 1 and 2); a part of a core counts as none, but one
    core is always there.

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` are found.

    Returns
    -------
    int

    Examples
    --------
    >>> cores() >= 1
    True
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(int(share) for share in _quotas(Path(root)))]))


def memory_maps() -> int:
    """Memory maps of this process on Linux; 0 elsewhere."""
    try:
        with open("/proc/self/maps", "rb") as file:
            return sum(1 for _ in file)
    except OSError:
        return 0


def _quotas(root: Path) -> Iterator[float]:
    """Cores' worth of time that each control group above this process grants."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / controllers if controllers else root / "sys/fs/cgroup"
        here = base / path.lstrip("/")
        for folder in (here, *here.parents):
            if not folder.is_relative_to(base):
                break
            yield from _quota(folder)
    yield from _quota(root / "sys/fs/cgroup")  # inside a container its own group is the root


def _quota(folder: Path) -> Iterator[float]:
    """Quota over period, where the group has one."""
    words = _text(folder / "cpu.max").split() or [
        _text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")
    ]
    try:
        quota, period = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        return  # "max", or no file
    if quota > 0 and period > 0:
        yield quota / period


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
