"""States of a basket trial: what every basket is doing, its patients and its responses, as one integer each.

States are kept sorted within each class of baskets that are planned alike, with the logarithm of the number of ways of
reaching them: a look's patients are added one basket of every state at a time, and equal states merge.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACTIVE",
    "EFFICACIOUS",
    "FUTILE",
    "Analysis",
    "Counts",
    "Floats",
    "Posterior",
    "analysed",
    "code",
    "decode",
    "recruit",
    "stop",
]

type Floats = NDArray[np.float64]
type Counts = NDArray[np.int64]

MAX_STATES = 3_000_000
"""Distinct states beyond which a trial is not enumerated."""
PENDING, ACTIVE, FUTILE, EFFICACIOUS = 0, 1, 2, 3
"""What a basket is doing: its next patients not counted yet, recruiting, stopped at a look."""


class Posterior(NamedTuple):
    """What an analysis says of tables, both of shape (table, basket).

    Attributes
    ----------
    above : ndarray
        Posterior probability that the basket's response rate exceeds the null rate.
    mean : ndarray
        Posterior mean of the rate.
    """

    above: Floats
    mean: Floats


Analysis = Callable[[Counts, Counts], Posterior]
"""``(responses, patients) -> Posterior``, each (table, basket); permuting baskets must permute the answer."""


def code(doing: Any, n: Any, y: Any, size: int) -> Any:
    """One integer for what a basket does, its patients and responses."""
    return (doing * size + n) * size + y


def decode(states: Counts, size: int) -> tuple[Counts, Counts, Counts]:
    """What the baskets do, their patients and responses: `code` undone."""
    rest, y = np.divmod(states, size)
    doing, n = np.divmod(rest, size)
    return doing, n, y


def recruit(
    states: Counts, log_weight: Floats, target: Counts, segments: list[slice], size: int
) -> tuple[Counts, Floats]:
    """All recruiting baskets grow to the look's size, one basket of every state at a time, equal states merged."""
    doing, n, y = decode(states, size)
    states = code(np.where(doing == ACTIVE, PENDING, doing), n, y, size)
    while True:
        doing, n, y = decode(states, size)
        pending = doing == PENDING
        waiting = pending.any(1)
        if not waiting.any():
            return states, log_weight
        k = np.argmax(pending[waiting], 1)
        rows = np.flatnonzero(waiting)
        more = target[k] - n[rows, k]
        grown, weights = [states[~waiting]], [log_weight[~waiting]]
        for extra in np.unique(more):
            part, at = rows[more == extra], k[more == extra]
            for d in range(int(extra) + 1):
                new = states[part].copy()
                new[np.arange(len(part)), at] = code(ACTIVE, n[part, at] + extra, y[part, at] + d, size)
                grown.append(new)
                weights.append(log_weight[part] + _log_choose(int(extra), d))
        states, log_weight = _merged(np.concatenate(grown), np.concatenate(weights), segments)
        if len(states) > MAX_STATES:
            raise ValueError(
                f"trial: expected at most {MAX_STATES:,} distinct states, found more; simulate it with "
                f"basket_simulation, or fewer baskets or looks"
            )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _merged(states: Counts, log_weight: Floats, segments: list[slice]) -> tuple[Counts, Floats]:
    """Baskets sorted within their class, equal states once with their weights added."""
    for part in segments:
        states[:, part] = np.sort(states[:, part], 1)
    unique, inverse = np.unique(states, axis=0, return_inverse=True)
    highest = np.full(len(unique), -np.inf)
    np.maximum.at(highest, inverse.ravel(), log_weight)
    total = np.bincount(inverse.ravel(), np.exp(log_weight - highest[inverse.ravel()]), len(unique))
    return unique, highest + np.log(total)


def analysed(states: Counts, analysis: Analysis, cache: dict[bytes, Any], size: int) -> Posterior:
    """Posterior of every state; each distinct sorted table of patients and responses is analysed once in all."""
    _, n, y = decode(states, size)
    codes = n * size + y
    place = np.argsort(codes, 1, kind="stable")
    ordered = np.take_along_axis(codes, place, 1)
    unique, inverse = np.unique(ordered, axis=0, return_inverse=True)
    new = [i for i, row in enumerate(unique) if row.tobytes() not in cache]
    if new:
        found = analysis(unique[new] % size, unique[new] // size)
        for i, above, mean in zip(new, np.asarray(found.above), np.asarray(found.mean), strict=True):
            cache[unique[i].tobytes()] = (above, mean)
    rows = np.array([cache[row.tobytes()] for row in unique])[inverse.ravel()]
    back = np.argsort(place, 1)
    return Posterior(np.take_along_axis(rows[:, 0], back, 1), np.take_along_axis(rows[:, 1], back, 1))


def stop(states: Counts, above: Floats, futility: float | None, efficacy: float | None, size: int) -> Counts:
    """Recruiting baskets stop where the probability is below `futility` or above `efficacy`."""
    doing, n, y = decode(states, size)
    if futility is not None:
        doing = np.where((doing == ACTIVE) & (above < futility), FUTILE, doing)
    if efficacy is not None:
        doing = np.where((doing == ACTIVE) & (above > efficacy), EFFICACIOUS, doing)
    return code(doing, n, y, size)
