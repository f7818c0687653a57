"""Random-effects meta-analysis without a prior: means, variance between studies, and intervals of it.

    y_i = x_i' b + u_i + e_i,  u_i ~ N(0, T),  e_i ~ N(0, V_i),  w_i(T) = 1 / (V_i + T),
    b(T) = (X' W X)^-1 X' W y,  Q(T) = sum w_i (y_i - x_i' b)^2,  P = W - W X (X' W X)^-1 X' W

on the host, in double precision, for any X of k studies and p coefficients. With an intercept alone the first three are
those of `hiermodels.inference.frequentist`, which are for many datasets at once.

| name | T |
|---|---|
| DL | (Q(0) - (k - p)) / tr P(0), at least 0: DerSimonian & Laird 1986, Controlled Clinical Trials 7, 177-188 |
| PM | Q(T) = k - p: Paule & Mandel 1982, Journal of Research of the National Bureau of Standards 87, 377-385 |
| REML, ML | highest (restricted) likelihood: Viechtbauer 2005, Journal of Educational and Behavioral Statistics 30, 261-293 |

Intervals of T: `q_profile` (Viechtbauer 2007, Statistics in Medicine 26, 37-52), `profile_likelihood` (Hardy & Thompson
1996, same journal 15, 619-629). I2 and H2 are Higgins & Thompson's 2002 (same journal 21, 1539-1558) at T, with their
typical variance `typical_variance`. HKSJ: see `hiermodels.inference.frequentist.hksj`.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are used

from hiermodels.quantities import INTERCEPT, sd_name

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.models.spec import Model

__all__ = [
    "COLUMNS",
    "ESTIMATORS",
    "Rows",
    "classical_table",
    "nested_table",
    "profile_likelihood",
    "q_profile",
    "typical_variance",
]

COLUMNS = ["estimate", "se", "lower", "upper"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Effects y, their variances and their design, shapes (study,), (study,), (study, coefficient)."""

    y: np.ndarray
    variance: np.ndarray
    x: np.ndarray

    @property
    def df(self) -> int:
        """k - p."""
        return len(self.y) - self.x.shape[1]

    @property
    def most(self) -> float:
        """A variance between studies that no data support: far above their spread."""
        return 1e4 * (float(np.ptp(self.y)) ** 2 + float(self.variance.max()))

    def at(self, between: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Weights, coefficients, their covariance and the residuals at a variance between studies."""
        weight = 1 / (self.variance + between)
        covariance = np.linalg.inv(self.x.T * weight @ self.x)
        b = covariance @ (self.x.T * weight @ self.y)
        return weight, b, covariance, self.y - self.x @ b

    def q(self, between: float) -> float:
        """Q(T)."""
        weight, _, _, residual = self.at(between)
        return float(weight @ residual**2)

    def trace(self, between: float) -> float:
        """Trace of P."""
        weight, _, covariance, _ = self.at(between)
        return float(weight.sum() - np.trace(covariance @ (self.x.T * weight**2 @ self.x)))

    def log_likelihood(self, between: float, restricted: bool) -> float:
        """Up to a constant."""
        weight, _, covariance, residual = self.at(between)
        found = np.log(weight).sum() - weight @ residual**2
        return 0.5 * float(found + (np.linalg.slogdet(covariance)[1] if restricted else 0.0))

    def slope(self, between: float, restricted: bool) -> float:
        """Derivative of `log_likelihood`."""
        weight, _, _, residual = self.at(between)
        return 0.5 * float(((weight * residual) ** 2).sum() - (self.trace(between) if restricted else weight.sum()))


def _root(f: Callable[[float], float], low: float, high: float) -> float:
    return float(scipy.optimize.brentq(f, low, high, xtol=1e-300, rtol=1e-14, maxiter=500))


def _dersimonian_laird(rows: Rows) -> float:
    return max(0.0, (rows.q(0.0) - rows.df) / rows.trace(0.0))


def _paule_mandel(rows: Rows) -> float:
    return _where_q_is(rows, rows.df)


def _where_q_is(rows: Rows, value: float) -> float:
    """The T at which Q, which falls in T, has a value; 0 where it is below it from the start."""
    if rows.q(0.0) <= value:
        return 0.0
    high = rows.most
    while rows.q(high) > value:
        high *= 10
    return _root(lambda t: rows.q(t) - value, 0.0, high)


def _highest(restricted: bool) -> Callable[[Rows], float]:
    def estimate(rows: Rows) -> float:
        """The highest of a grid, then the root of the slope beside it."""
        grid = np.concatenate([[0.0], rows.variance.min() * np.geomspace(1e-4, rows.most / rows.variance.min(), 200)])
        best = int(np.argmax([rows.log_likelihood(t, restricted) for t in grid]))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
        if rows.slope(low, restricted) <= 0:
            return 0.0
        return _root(lambda t: rows.slope(t, restricted), low, high)

    return estimate


ESTIMATORS: dict[str, Callable[[Rows], float]] = {
    "DL": _dersimonian_laird,
    "PM": _paule_mandel,
    "REML": _highest(True),
    "ML": _highest(False),
}
"""Estimators of the variance between studies."""


def typical_variance(rows: Rows) -> float:
    """Sampling variance of a typical study, (k - p) / tr P(0): Higgins & Thompson 2002, eq. 9, with any X.

    With an intercept alone it is ``(k - 1) sum w / ((sum w)^2 - sum w^2)``, w = 1 / V.
    """
    return rows.df / rows.trace(0.0)


def q_profile(rows: Rows, level: float = 0.95) -> tuple[float, float]:
    """Interval of T: those at which Q(T) is no extreme value of a chi-squared law with k - p degrees of freedom.

    (0, 0) where even Q(0) is too small for it: the interval is empty then.

    Examples
    --------
    >>> y, se = [28.0, 8, -3, 7, -1, 1, 18, 12], np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    >>> lower, upper = q_profile(Rows(np.array(y), se**2, np.ones((8, 1))))
    >>> lower, round(upper**0.5, 2)
    (0.0, 16.44)
    """
    ends = scipy.stats.chi2.ppf([0.5 + level / 2, 0.5 - level / 2], rows.df)
    return _where_q_is(rows, float(ends[0])), _where_q_is(rows, float(ends[1]))


def profile_likelihood(rows: Rows, restricted: bool = True, level: float = 0.95) -> tuple[float, float]:
    """Interval of T: those whose log likelihood is less than half a chi-squared quantile below the highest.

    Examples
    --------
    >>> y, se = [28.0, 8, -3, 7, -1, 1, 18, 12], np.array([15.0, 10, 16, 11, 9, 11, 10, 18])
    >>> lower, upper = profile_likelihood(Rows(np.array(y), se**2, np.ones((8, 1))))
    >>> lower, round(upper**0.5, 2)
    (0.0, 15.16)
    """
    top = ESTIMATORS["REML" if restricted else "ML"](rows)
    line = rows.log_likelihood(top, restricted) - 0.5 * float(scipy.stats.chi2.ppf(level, 1))

    def above(t: float) -> float:
        return rows.log_likelihood(t, restricted) - line

    lower = 0.0 if above(0.0) >= 0 else _root(above, 0.0, top)
    high = max(2 * top, rows.most)
    while above(high) > 0:
        high *= 10
    return lower, _root(above, max(top, 0.0), high)


def classical_table(rows: Rows, names: list[str], level: float) -> pd.DataFrame:
    """Coefficients by method: ``estimate se lower upper``, with ``tau I2 H2`` at the method's variance between studies.

    ``common`` has none of it (one effect for all studies); ``HKSJ`` and ``HKSJ modified`` stand on REML and take
    Student's t with k - p degrees of freedom. With an intercept alone ``new_lower new_upper`` is the prediction
    interval, t with k - 2 degrees of freedom (Higgins, Thompson & Spiegelhalter 2009).
    """
    import pandas as pd

    typical, found = typical_variance(rows), []
    variances = {"common": 0.0} | {name: estimate(rows) for name, estimate in ESTIMATORS.items()}
    methods = [*variances, "HKSJ", "HKSJ modified"]
    for method in methods:
        between = variances.get(method, variances["REML"])
        weight, b, covariance, residual = rows.at(between)
        factor, quantile = 1.0, float(scipy.stats.norm.ppf(0.5 + level / 2))
        if method not in variances:
            ratio = float(weight @ residual**2) / rows.df
            factor = max(ratio, 1.0) if method == "HKSJ modified" else ratio
            quantile = float(scipy.stats.t.ppf(0.5 + level / 2, rows.df))
        for i, name in enumerate(names):
            se = float(np.sqrt(factor * covariance[i, i]))
            row: dict[str, Any] = {"method": method, "term": name, "estimate": b[i], "se": se}
            row |= {"lower": b[i] - quantile * se, "upper": b[i] + quantile * se, "tau": np.sqrt(between)}
            row |= {"I2": between / (between + typical), "H2": 1 + between / typical}
            if len(names) == 1 and method != "common":
                reach = (
                    scipy.stats.t.ppf(0.5 + level / 2, rows.df - 1) * np.sqrt(between + se**2)
                    if rows.df > 1
                    else np.nan
                )
                row |= {"new_lower": b[i] - reach, "new_upper": b[i] + reach}
            found.append(row)
    table = pd.DataFrame(found)
    return table.drop(columns="term").set_index("method") if len(names) == 1 else table.set_index(["method", "term"])


def nested_table(
    model: Model, data: pd.DataFrame, terms: Mapping[str, str], groups: list[str], level: float
) -> pd.DataFrame:
    """The same columns by `hiermodels.estimate` where groupings nest: REML and ML, a ``tau_<grouping>`` each.

    ``terms`` are the coefficients: how a row is called to the model's own name.
    """
    import pandas as pd

    from hiermodels.estimation import estimate

    found = {}
    for method in ("REML", "ML"):
        table = estimate(model, data, method=method.lower(), level=level).summary()
        taus = {f"tau_{g}": table["estimate"][sd_name(g, INTERCEPT)] for g in groups}
        for row, name in terms.items():
            found[method, row] = table.loc[name, COLUMNS].to_dict() | taus
    both = pd.DataFrame.from_dict(found, orient="index").rename_axis(["method", "term"])
    return both.droplevel("term") if list(terms) == ["mean"] else both
