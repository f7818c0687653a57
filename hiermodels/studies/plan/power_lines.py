"""Lines through simulated powers, along one size of the design with the others held.

    Phi^-1(power) = a + b sqrt(size / (1 + size / c))

is how the power of a normal test grows. With c infinite, a straight line on sqrt(size), it grows without end: the
number of independent units. With a finite c it levels off at Phi(a + b sqrt(c)), as with more and more units in each of
a fixed number of clusters; c is finite where the powers leave no doubt (a chi-square of 3.84 on one degree of freedom).
No size is reported outside those that were simulated, and a level below the target is said.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

__all__ = ["crossings", "outside"]


def crossings(table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float) -> pd.DataFrame:
    """Sizes at which a probit line crosses the target, the other factors held: one size at a time, within those of the table.

    Weighted least squares of Phi^-1(power) on the line above, weights ``phi(Phi^-1(p))^2 n / (p (1 - p))``; powers of 0 and 1 enter
    as half a replicate from the edge. Lines need three sizes and a slope above zero. What lies outside is in `outside`.

    Parameters
    ----------
    table : DataFrame
        Columns of a `hiermodels.studies.plan.power_curves.PowerCurve`; ``n``, the replicates behind each power, or ``n_sim``.
    sizes, factors : sequence of str
    target : float

    Returns
    -------
    DataFrame
        ``size, <other factors>, method, needed, mcse``: the crossing (not rounded) and its Monte Carlo standard error.

    Examples
    --------
    >>> import pandas as pd
    >>> size = np.arange(10, 60, 10.0)
    >>> rows = pd.DataFrame({"school": size, "method": "m", "power": stats.norm.cdf(-1.96 + 0.5 * np.sqrt(size)), "n_sim": 1000})
    >>> float(crossings(rows, ["school"], ["school"], 0.8)["needed"].round(1).iloc[0])
    31.4
    """  # noqa: E501
    found = []
    for size, who, values, line in _lines(table, sizes, factors):
        needed, mcse = line.crossing(target)
        if values.min() <= needed <= values.max():
            found.append({"size": size, **who, "needed": needed, "mcse": mcse})
    return pd.DataFrame(found)


def outside(
    table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str], target: float, measure: str = "power"
) -> list[str]:
    """Notes where a line does not cross the target within the sizes of the table: what it levels off at, or where to look.

    Parameters
    ----------
    table, sizes, factors, target
        As in `crossings`.
    measure : str
        ``power`` or ``assurance``.
    """  # noqa: E501
    notes = []
    for size, who, values, line in _lines(table, sizes, factors):
        place = ", ".join(f"{key} {_plain(value)}" for key, value in who.items())
        low, high = values.min(), values.max()
        needed, _ = line.crossing(target)
        if low <= needed <= high:
            continue
        if line.power(high) >= target:
            if line.power(low) >= target:
                notes.append(
                    f"{place}: {measure} is above {target:g} at every {size} simulated, the smallest {low:g}; try "
                    f"smaller ones."
                )
        elif line.most < target:
            notes.append(
                f"{place}: as {size} grows, {measure} levels off at about {line.level:.3g}, below {target:g}: no "
                f"{size} reaches it. "
                "Let another size of the design grow, or the effect."
            )
        elif line.slope > 0:
            notes.append(f"{place}: {measure} is about {line.power(high):.3g} at the largest {size} simulated, "
                         f"{high:g}; where it reaches {target:g} "
                         f"lies outside: try larger ones.")  # fmt: skip
        else:
            notes.append(
                f"{place}: {measure} does not grow with {size}; let another size of the design grow, or the effect."
            )
    return notes


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _lines(
    table: pd.DataFrame, sizes: Sequence[str], factors: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any], Any, _Line]]:
    """A line for each size and setting of the other factors that has three sizes or more, with the sizes."""
    for size in sizes:
        others = [*(f for f in factors if f != size), "method"]
        for key, part in table.groupby(others, sort=False, observed=True):
            values = pd.to_numeric(part[size], errors="coerce").to_numpy(float)
            n, power = (part["n"] if "n" in part else part["n_sim"]).to_numpy(float), part["power"].to_numpy(float)
            real = np.isfinite(values) & np.isfinite(power) & (n > 0)
            if len(np.unique(values[real])) >= 3:
                yield size, dict(zip(others, key, strict=True)), values[real], _line(values[real], power[real], n[real])


_DOUBT = float(stats.chi2.ppf(0.95, 1))
_LEVELS = 60
"""Sizes at which a line may level off, tried on a logarithmic scale."""


@dataclass(frozen=True)
class _Line:
    """Phi^-1(power) = a + b sqrt(size / (1 + size / c)).

    Attributes
    ----------
    a, slope, c : float
    covariance : ndarray
        Of a and b, c held.
    most : float
        Largest power that the line may level off at, within 95% of what the powers say of c; 1 where it may not level off.
    """  # noqa: E501

    a: float
    slope: float
    c: float
    covariance: Any
    most: float

    @property
    def level(self) -> float:
        """Power that the line levels off at."""
        return float(stats.norm.cdf(self.a + self.slope * math.sqrt(self.c))) if math.isfinite(self.c) else 1.0

    def power(self, size: float) -> float:
        """Power at a size."""
        return float(stats.norm.cdf(self.a + self.slope * _root(size, self.c)))

    def crossing(self, target: float) -> tuple[float, float]:
        """Size at which the line crosses a power, and its standard error; NaN where it does not."""
        root = (stats.norm.ppf(target) - self.a) / self.slope if self.slope > 0 else math.nan
        left = 1 - root**2 / self.c
        if not (root > 0 and left > 0):
            return math.nan, math.nan
        gradient = np.array([-1.0, -root]) / self.slope * 2 * root / left**2
        return float(root**2 / left), float(np.sqrt(gradient @ self.covariance @ gradient))


def _root(size: Any, c: float) -> Any:
    return np.sqrt(size / (1 + size / c))


def _line(size: Any, power: Any, n: Any) -> _Line:
    """The line through powers; straight where they leave it in doubt whether it levels off."""
    p = np.clip(power, 0.5 / n, 1 - 0.5 / n)
    y, levels = stats.norm.ppf(p), [math.inf, *np.geomspace(size.min() / 4, size.max() * 64, _LEVELS)[::-1].tolist()]
    weight = stats.norm.pdf(y) ** 2 * n / (p * (1 - p))
    fits = []
    for c in levels:
        x = np.stack([np.ones_like(size), _root(size, c)], 1)
        covariance = np.linalg.pinv(x.T @ (weight[:, None] * x))
        a, b = covariance @ (x.T @ (weight * y))
        fits.append((float(weight @ (y - x @ [a, b]) ** 2), float(a), float(b), c, covariance))
    least = min(fits, key=lambda fit: fit[0])
    if fits[0][0] - least[0] <= _DOUBT:
        return _Line(*fits[0][1:], most=1.0)
    tops = [a + max(b, 0.0) * math.sqrt(c) for loss, a, b, c, _ in fits[1:] if loss - least[0] <= _DOUBT]
    return _Line(*least[1:], most=float(stats.norm.cdf(max(tops))))
