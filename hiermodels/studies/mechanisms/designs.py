"""The rows of a cell's design: groups, how large they are, predictors; the outcome is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from hiermodels.models.streams import word
from hiermodels.studies.config.designs import SIZES, design_table
from hiermodels.studies.config.texts import read_law
from hiermodels.studies.mechanisms.predictors import column as predictor_column

__all__ = ["design_frame"]

_STRATA = 4096
"""Points at which a law of sizes is integrated."""


def design_frame(design: Any, seed: int, material: int) -> pd.DataFrame:
    """The rows of a cell's design, outcome left out.

    Parameters
    ----------
    design : str or mapping
        A dataset's name or file, or level sizes in nesting order with ``obs`` and ``predictors``.
    seed, material : int
        What ``integers(a, b)`` and random predictors are drawn from: the study's seed and the cell's hash.

    Examples
    --------
    >>> frame = design_frame({"school": 2, "classroom": 2, "obs": 3}, 1, 0)
    >>> len(frame), list(frame.columns)
    (12, ['school', 'classroom'])
    """
    table = design_table(design)
    if table is not None:
        return table

    def rng(name: str) -> np.random.Generator:
        return np.random.default_rng([seed, material, word(name)])

    levels = {k: v for k, v in design.items() if k not in ("obs", "predictors")}
    frame = _nested(levels, design.get("obs", 1), rng)
    for name, law in (design.get("predictors") or {}).items():
        frame[name] = predictor_column(law, frame, rng(name))
    return frame


def _count(law: Any, size: int, rng: np.random.Generator) -> np.ndarray:
    name, args = read_law(law, SIZES)
    if name == "constant":
        return np.full(size, int(args[0]))
    if name == "unequal":
        return _unequal(float(args[0]), float(args[1]), size, rng)
    return rng.integers(int(args[0]), int(args[1]), size, endpoint=True)


def _unequal(mean: float, cv: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Whole sizes with this mean and coefficient of variation: x = 1 + a gamma variable, rounded to ``floor(x + u)``, u
    uniform.

    Rounding so keeps the mean and adds E[f (1 - f)] to the variance, f the fraction of x; the gamma law's variance is
    what is left. x and u are drawn from ``size`` equal strata, in random order, so that a cell's mean and coefficient
    come out as asked.
    """

    def strata(size: int) -> np.ndarray:
        return (rng.permutation(size) + rng.random(size)) / size

    def sizes(u: np.ndarray, variance: float) -> np.ndarray:
        if variance == 0 or mean == 1:
            return np.full(len(u), mean)
        return 1 + stats.gamma.ppf(u, (mean - 1) ** 2 / variance, scale=variance / (mean - 1))

    def excess(variance: float) -> float:
        fraction = sizes((np.arange(_STRATA) + 0.5) / _STRATA, variance) % 1
        return float(variance + np.mean(fraction * (1 - fraction)) - (cv * mean) ** 2)

    variance = optimize.brentq(excess, 0.0, (cv * mean) ** 2) if excess(0.0) < 0 else 0.0
    return np.floor(sizes(strata(size), variance) + strata(size)).astype(int)


def _nested(levels: Mapping[str, Any], obs: Any, rng: Callable[[str], np.random.Generator]) -> pd.DataFrame:
    """Rows of nested levels; labels count the groups of the whole level, so that no two groups share one."""
    units = 1
    labels: dict[str, np.ndarray] = {}
    for level, law in {**levels, "obs": obs}.items():
        counts = _count(law, units, rng(level))
        labels = {k: np.repeat(v, counts) for k, v in labels.items()}
        units = int(counts.sum())
        if level in levels:
            labels[level] = np.array([f"{level[0]}{i + 1}" for i in range(units)], dtype=object)
    return pd.DataFrame(labels, index=pd.RangeIndex(units))
