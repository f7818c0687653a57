"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.mapped import cores

PACKAGES = (
    "hiermodels",
    "jax",
    "jaxlib",
    "numpyro",
    "numpy",
    "blackjax",
    "pymc",
    "pytensor",
    "nutpie",
    "numba",
)


def cpu_model() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown"


def memory_gb() -> float:
    """Memory of the machine, GB."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def commit() -> str:
    """Commit of the working tree, with a plus where it has changes."""
    try:
        here = Path(__file__).parent
        head = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        )
        dirty = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def describe(gpu: str | None = None) -> list[str]:
    """Lines for the head of a section of results."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    load = os.getloadavg()[0]
    lines = [
        f"- {date.today().isoformat()}, commit {commit()}",
        f"- {cores()} cores of {cpu_model()}, {memory_gb():.0f} GB; load average at the start {load:.1f}",
        f"- Python {platform.python_version()}, {', '.join(found)}",
    ]
    return [*lines, f"- {gpu}"] if gpu else lines
