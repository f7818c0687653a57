"""What the maximum says of linear combinations of coefficients: standard errors, degrees of freedom, tests, on the
host.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hiermodels.inference.mixed.contrasts import contrast_df, f_tail, joint_test
from hiermodels.inference.mixed.kenward_roger import MOST_EFFECTS, KenwardRoger
from hiermodels.inference.mixed.maximum import Maximum
from hiermodels.inference.mixed.tables import interval
from hiermodels.models.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DDF", "Linear", "weights_of"]

DDF = ("satterthwaite", "kenward-roger", "residual", "hksj", "normal")
"""How the degrees of freedom of a test are found."""


def weights_of(weights: Mapping[str, Any], names: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """Titles and rows of contrasts, from a mapping of coefficient to weight or several of them by name.

    Raises
    ------
    ValueError
        For unknown coefficients and weights that are no numbers.
    """
    if not isinstance(weights, Mapping) or not weights:
        raise ValueError(
            f"contrast: expected a mapping of coefficient to weight, found {str(weights)[:60]!r}; write e.g. "
            f"{{{names[-1]!r}: 1}}"
        )
    several = all(isinstance(value, Mapping) for value in weights.values())
    wanted = dict(weights) if several else {"contrast": weights}
    rows = np.zeros((len(wanted), len(names)))
    for i, (title, entries) in enumerate(wanted.items()):
        for name, weight in entries.items():
            if name not in names:
                near = difflib.get_close_matches(str(name), names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the coefficients are {', '.join(names)[:300]}"
                raise ValueError(f"contrast: {title}: no coefficient {name!r}; {hint}")
            if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not np.isfinite(weight):
                raise ValueError(
                    f"contrast: {title}: {name}: expected a number as weight, found {weight!r}; write e.g. 1"
                )
            rows[i, names.index(name)] = weight
        if not rows[i].any():
            raise ValueError(
                f"contrast: {title}: every weight is 0, so there is nothing to estimate; give a coefficient a weight"
            )
    return list(wanted), rows


@dataclass(frozen=True)
class Linear:
    """Linear combinations at a maximum.

    Attributes
    ----------
    problem : Problem
    found : Maximum
        NumPy arrays.
    restricted : bool
    level : float
        Of the intervals.
    """

    problem: Problem
    found: Maximum
    restricted: bool
    level: float

    @property
    def approximate(self) -> bool:
        """Whether Satterthwaite's degrees of freedom apply: REML with an unknown sigma."""
        return self.restricted and not self.problem.layout.known

    def method(self, ddf: str) -> str:
        """The method in use, ``satterthwaite`` read as ``normal`` where it does not apply.

        Raises
        ------
        ValueError
            For an unknown one, and one that does not apply.
        """
        if ddf not in DDF:
            near = difflib.get_close_matches(str(ddf), DDF, 1)
            hint = f"did you mean {near[0]!r}?" if near else "choose one"
            raise ValueError(f"ddf: expected one of {', '.join(DDF)}, found {ddf!r}; {hint}")
        if ddf == "hksj" and not self.problem.layout.known:
            raise ValueError("ddf: hksj rescales known variances, found a model without them; use 'satterthwaite'")
        if ddf == "kenward-roger" and not self.approximate:
            raise ValueError(
                "ddf: kenward-roger is defined for REML with an unknown sigma; use 'normal', or 'hksj' where "
                "variances are known"
            )
        return "normal" if ddf == "satterthwaite" and not self.approximate else ddf

    @cached_property
    def kenward_roger(self) -> KenwardRoger:
        """The adjusted covariance, computed when first asked for."""
        layout, found = self.problem.layout, self.found
        effects = sum(here.size * len(here.effects) for here in layout.levels)
        if effects > MOST_EFFECTS:
            raise ValueError(
                f"ddf: kenward-roger takes at most {MOST_EFFECTS} effects of groups, found {effects}; use "
                f"'satterthwaite'"
            )
        covariances = []
        for sd, correlation in zip(found.sds, found.correlations, strict=True):
            square = np.where(np.isnan(correlation), 0.0, correlation) * np.outer(sd, sd)
            np.fill_diagonal(square, sd**2)
            covariances.append(square)
        return KenwardRoger(
            layout, self.problem.data, tuple(covariances), float(found.sigma) ** 2, np.asarray(found.coefficients)
        )

    @property
    def free(self) -> float:
        """n - p."""
        return float(np.sum(np.asarray(self.problem.data.weight) > 0) - len(self.found.coefficients))

    def covariance(self, ddf: str) -> np.ndarray:
        """Covariance of the coefficients."""
        if ddf == "kenward-roger":
            return self.kenward_roger.covariance
        factor = float(self.found.residual / self.found.variance) / self.free if ddf == "hksj" else 1.0
        return factor * np.asarray(self.found.covariance)

    def combinations(self, rows: np.ndarray, ddf: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Estimate, standard error and degrees of freedom of each row's combination."""
        ddf, found = self.method(ddf), self.found
        value = rows @ found.coefficients
        if not found.converged or not len(rows):
            return value, np.full(len(rows), np.nan), np.full(len(rows), np.nan)
        se = np.sqrt(np.einsum("ki,ij,kj->k", rows, self.covariance(ddf), rows))
        if ddf == "kenward-roger":
            return value, se, np.array([self.kenward_roger.test(row[None])[2] for row in rows])
        if ddf in ("residual", "hksj"):
            return value, se, np.full(len(rows), self.free)
        with jax.enable_x64(True):
            return value, se, np.asarray(contrast_df(found, rows, ddf == "satterthwaite"))

    def joint(self, rows: np.ndarray, ddf: str) -> tuple[float, float, float, float]:
        """F, its degrees of freedom and p-value of the hypothesis that every row's combination is 0."""
        ddf = self.method(ddf)
        if not self.found.converged:
            return np.nan, float(len(rows)), np.nan, np.nan
        with jax.enable_x64(True):
            if ddf == "kenward-roger":
                statistic, numerator, denominator = self.kenward_roger.test(rows)
            elif ddf in ("residual", "hksj"):
                effect, numerator, denominator = rows @ self.found.coefficients, float(len(rows)), self.free
                statistic = float(effect @ np.linalg.solve(rows @ self.covariance(ddf) @ rows.T, effect)) / len(rows)
            else:
                test = joint_test(self.found, rows, ddf == "satterthwaite")
                statistic, numerator, denominator = (
                    float(test.statistic),
                    float(test.numerator),
                    float(test.denominator),
                )
            return statistic, numerator, denominator, float(f_tail(np.asarray(statistic), numerator, denominator))

    def table(self, names: list[str], rows: np.ndarray, ddf: str) -> pd.DataFrame:
        """Columns ``estimate se df t p lower upper``, a row a combination."""
        import pandas as pd

        value, se, df = self.combinations(rows, ddf)
        lower, upper = interval(value, se, df, self.level)
        with np.errstate(invalid="ignore", divide="ignore"):
            t = value / se
        with jax.enable_x64(True):
            p = np.array([float(f_tail(np.asarray(a**2), 1.0, d)) for a, d in zip(t, df, strict=True)])
        columns = {"estimate": value, "se": se, "df": df, "t": t, "p": p, "lower": lower, "upper": upper}
        return pd.DataFrame(columns, index=names)
