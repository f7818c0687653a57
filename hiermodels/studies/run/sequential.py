"""Stop a cell when its Monte Carlo errors are small enough, and say how it got there.

    stop: {cover: 0.005, bias: 0.1, minimum: 200}

asks, after every checkpoint, whether each method's MCSE of each measure of each estimand has reached its target; the
cell then ends, all methods together, so that they stay paired. A share counts with half its Wilson interval over 1.96
in place of the binomial MCSE, and nothing ends before ``minimum`` replicates: a coverage of 100% after one chunk has
MCSE 0.

Checkpoints are multiples of the largest chunk among the methods, and a decision reads replicates 0 to n - 1 complete,
never "the first n to finish": it is a function of the data alone, the same for any number of workers and after any
interruption.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from hiermodels.studies.config.targets import MINIMUM, Stop, read_stop
from hiermodels.studies.score.montecarlo import Z95

__all__ = ["MINIMUM", "Stop", "checkpoints", "judge", "read_stop"]


def checkpoints(chunks: list[int], replications: int, minimum: int) -> list[int]:
    """Numbers of replicates at which a cell is judged: multiples of the largest chunk from the minimum on, and the
    last.

    Examples
    --------
    >>> checkpoints([50, 256], 1000, 300)
    [512, 768, 1000]
    """
    step = max(chunks)
    first = max(step, math.ceil(minimum / step) * step)
    return [*range(first, replications, step), replications] if replications else []


def judge(performance: pd.DataFrame, stop: Stop, n: int) -> tuple[bool, pd.DataFrame]:
    """Whether a cell may end after n replicates, and the path's rows.

    Parameters
    ----------
    performance : DataFrame
        The cell's table of performance over replicates 0 to n - 1.
    stop : Stop
    n : int

    Returns
    -------
    done : bool
        Every finite MCSE is at or below its target, and n is at least the minimum.
    path : DataFrame
        ``n, measure, method, estimand, group, mcse, target, reached``: the row furthest from its target, a measure
        each.
    """
    rows, done = [], n >= stop.minimum
    for measure, target in stop.targets.items():
        part = performance[performance["measure"] == measure]
        error = np.fmax(part["mcse"], (part["upper"] - part["lower"]) / (2 * Z95))
        part = part.assign(mcse=error)[np.isfinite(error)]
        if part.empty:
            continue
        worst = part.iloc[int(np.argmax(part["mcse"]))]
        reached = bool(worst["mcse"] <= target)
        done = done and reached
        who = {key: str(worst[key]) for key in ("method", "estimand", "group")}
        rows.append(
            {"n": n, "measure": measure, **who, "mcse": float(worst["mcse"]), "target": target, "reached": reached}
        )
    return done and bool(rows), pd.DataFrame(rows)
