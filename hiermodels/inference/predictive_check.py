"""Posterior predictive checks: is a statistic of the data usual among data replicated from the model?"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["STATISTICS", "PredictiveCheck", "check"]

STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "max": lambda y: y.max(axis=-1),
    "min": lambda y: y.min(axis=-1),
    "mean": lambda y: y.mean(axis=-1),
    "median": lambda y: np.median(y, axis=-1),
    "sd": lambda y: y.std(axis=-1, ddof=1),
    "range": lambda y: np.ptp(y, axis=-1),
    "zeros": lambda y: (y == 0).mean(axis=-1),
}
"""Statistics by name, of (..., row)."""


@dataclass(frozen=True, repr=False)
class PredictiveCheck:
    """A statistic of the data beside that of replicated data.

    Attributes
    ----------
    statistic : str
    observed : float
        T(y).
    replicated : ndarray, shape (chain, draw)
        T of data replicated from each draw.
    p_value : float
        The mid-p value, P(T(y_rep) > T(y) | y) + P(T(y_rep) = T(y) | y) / 2.
    mcse : float
        Its Monte Carlo standard error, draws taken as independent.
    """

    statistic: str
    observed: float
    replicated: np.ndarray
    p_value: float
    mcse: float

    def __repr__(self) -> str:
        return f"PredictiveCheck({self.statistic!r}, observed={self.observed:.4g}, p_value={self.p_value:.3g})"

    def __str__(self) -> str:
        low, middle, high = np.quantile(self.replicated, [0.025, 0.5, 0.975])
        usual = 0.025 <= self.p_value <= 0.975
        said = (
            "usual under the model"
            if usual
            else f"{'larger' if self.p_value < 0.5 else 'smaller'} than the model expects"
        )
        return (
            f"{self.statistic}: observed {self.observed:.4g}, replicated {middle:.4g} (95%: {low:.4g} to {high:.4g}), "
            f"p = {self.p_value:.3f} (Monte Carlo error {self.mcse:.3f}): {said}"
        )


def check(
    statistic: str | Callable[[np.ndarray], Any], observed: np.ndarray, replicated: np.ndarray
) -> PredictiveCheck:
    """Compare a statistic of the data with that of replicated data.

        p = P(T(y_rep) > T(y) | y) + P(T(y_rep) = T(y) | y) / 2

    Gelman, Meng & Stern (1996), Statistica Sinica 6, 733-807.

    Parameters
    ----------
    statistic : str or callable
        A name of `STATISTICS`, or a function of one dataset's outcomes, shape (row,), that gives a number.
    observed : ndarray, shape (row,)
    replicated : ndarray, shape (chain, draw, row)

    Raises
    ------
    ValueError
        For an unknown name, and for a function that does not give a finite number.

    Examples
    --------
    >>> import numpy as np
    >>> check("max", np.array([1.0, 2.0]), np.array([[[0.0, 3.0], [1.0, 1.0]]])).p_value
    0.5
    """
    if callable(statistic):
        name = getattr(statistic, "__name__", "statistic")
        flat = replicated.reshape(-1, replicated.shape[-1])
        drawn = np.array([_number(statistic(y), name) for y in flat]).reshape(replicated.shape[:2])
        value = _number(statistic(observed), name)
    else:
        if statistic not in STATISTICS:
            near = difflib.get_close_matches(str(statistic), STATISTICS, 1)
            hint = f"did you mean {near[0]!r}?" if near else "or give a function of the outcomes"
            raise ValueError(f"statistic: expected one of {', '.join(STATISTICS)}, found {statistic!r}; {hint}")
        name = statistic
        value, drawn = float(STATISTICS[name](observed)), STATISTICS[name](replicated)
    share = float((drawn > value).mean() + 0.5 * (drawn == value).mean())
    return PredictiveCheck(name, value, drawn, share, float(np.sqrt(share * (1 - share) / drawn.size)))


def _number(value: Any, name: str) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = np.nan
    if not np.isfinite(found):
        raise ValueError(
            f"statistic: expected {name} to give a finite number for each dataset, found {value!r}; mend the function"
        )
    return found
