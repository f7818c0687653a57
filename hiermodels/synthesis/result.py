"""`Meta`: what a meta-analysis found, as tables, figures and a printed page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are used

from hiermodels.inference.comparisons import read_comparison
from hiermodels.inference.response import check_scale
from hiermodels.models.data import bind
from hiermodels.models.merging import refitted_model
from hiermodels.models.problem import Problem
from hiermodels.models.propriety import has_moment
from hiermodels.models.spec import Model
from hiermodels.quantities import INTERCEPT, sd_name, theta_name
from hiermodels.synthesis.classical import (
    COLUMNS,
    Rows,
    classical_table,
    nested_table,
    profile_likelihood,
    q_profile,
    typical_variance,
)
from hiermodels.synthesis.measures import MEASURES
from hiermodels.synthesis.page import page
from hiermodels.synthesis.posterior import Posterior, posterior

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from hiermodels.fit import Fit

__all__ = ["Meta"]


@dataclass(frozen=True, repr=False, eq=False)
class Meta:
    """A meta-analysis; ``print`` shows all of it. Each part is computed when it is first asked for, and kept.

    Attributes
    ----------
    data : DataFrame
        One row per study.
    model : Model
        The model that is fitted, with its priors.
    problem : Problem
        The same bound to the data.
    measure : str or None
        What the effects are, where that is known: ``RR``.
    level : float
        Probability of intervals.
    kind : str
        Of the posterior's intervals: ``equal_tailed`` or ``hdi`` (shortest).
    """

    data: pd.DataFrame
    model: Model
    problem: Problem
    measure: str | None
    level: float
    kind: str

    @cached_property
    def posterior(self) -> Posterior:
        """Quadrature's own numbers."""
        return posterior(self.problem, self.level, self.kind)

    @cached_property
    def fit(self) -> Fit:
        """The same posterior as a `hiermodels.Fit` with draws: for predictions, further figures, files."""
        from hiermodels.fit import fit

        return fit(self.model, self.data, sampler="exact", progress=False)

    @cached_property
    def rows(self) -> Rows:
        """Effects, their variances, and the design of the moderators."""
        data = self.problem.data
        there = np.asarray(data.size) > 0
        return Rows(np.asarray(data.y)[there], 1 / np.asarray(data.weight)[there], np.asarray(data.x)[there])

    @property
    def groups(self) -> list[str]:
        """Groupings from the widest to the studies."""
        return [level.name for level in self.problem.layout.levels]

    @property
    def terms(self) -> list[str]:
        """Rows of the population's coefficients: ``mean``, or the names of the meta-regression's."""
        names = list(self.problem.layout.columns)
        return ["mean"] if names == ["Intercept"] else names

    @property
    def ratio(self) -> bool:
        """Whether the exponential of an effect is a ratio."""
        return self.measure is not None and MEASURES[self.measure].logarithm

    def summary(self, scale: str = "link") -> pd.DataFrame:
        """Mean, heterogeneity and the effect in a new study.

        Parameters
        ----------
        scale : str
            ``response`` gives ratios in place of their logarithms (the ends of intervals and the medians of laws are
            transformed; no se).

        Returns
        -------
        DataFrame
            Rows ``mean`` (or the coefficients of the moderators), ``tau``, ``I2``, ``H2`` (with more studies than
            coefficients) and ``new``, the prediction interval (where there are no moderators); with nested groupings a
            ``tau_<grouping>`` each. Columns ``estimate se lower upper``: posterior mean of coefficients and of ``new``
            (median where it does not exist), posterior median of the others; posterior sd (NaN where it does not).

        Notes
        -----
        I2 = tau^2 / (tau^2 + s^2) and H2 = 1 + tau^2 / s^2 with the typical sampling variance s^2 of Higgins & Thompson
        (2002), Statistics in Medicine 21, 1539-1558. Both grow with tau, so that their medians and intervals are those
        of tau, transformed.
        """
        import pandas as pd

        check_scale(scale)
        rows = {row: self._row(name, "mean") for row, name in zip(self.terms, self.problem.layout.columns, strict=True)}
        alone, found = len(self.groups) == 1, self.posterior
        for group in self.groups:
            rows["tau" if alone else f"tau_{group}"] = self._row(sd_name(group, INTERCEPT), "median")
        if alone and self.rows.df and sd_name(self.groups[0], INTERCEPT) in found.sds:
            typical, tau = typical_variance(self.rows), rows["tau"]
            for word, shape in (("I2", lambda t: t**2 / (t**2 + typical)), ("H2", lambda t: 1 + t**2 / typical)):
                at = shape(found.sds[sd_name(self.groups[0], INTERCEPT)])
                sd = np.sqrt(max(0.0, found.weight @ at**2 - (found.weight @ at) ** 2))
                rows[word] = [shape(tau[0]), sd, shape(tau[2]), shape(tau[3])]
            if not has_moment(self.problem.layout, self.problem.data, sd_name(self.groups[0], INTERCEPT), 4):
                rows["H2"][1] = np.nan
        if self.terms == ["mean"]:
            rows["new"] = self._row(f"new({self.groups[-1]})", "mean")
        table = pd.DataFrame.from_dict(rows, orient="index", columns=COLUMNS)
        return self._exponential(table) if scale == "response" else table

    def _row(self, name: str, point: str) -> list[float]:
        """Estimate, se and interval of a scalar; the median and no se where a moment does not exist."""
        found = self.posterior.summaries[name]
        missing = self.problem.missing_moments.get(name)
        estimate = found.median if missing == "mean" or point == "median" else found.mean
        return [float(x) for x in (estimate, np.nan if missing else found.sd, found.lower, found.upper)]

    def _exponential(self, table: pd.DataFrame) -> pd.DataFrame:
        """Coefficients and predictions as ratios."""
        if not self.ratio:
            raise ValueError(
                f"scale: the effects ({self.measure or 'measure not known'}) are no logarithms of ratios; use "
                f"scale='link'"
            )
        table = table.copy()
        rows = [row for row in (*self.terms, "new") if row in table.index]
        table.loc[rows, ["estimate", "lower", "upper"]] = np.exp(table.loc[rows, ["estimate", "lower", "upper"]])
        table.loc[rows, "se"] = np.nan
        return table.drop(index=["Intercept"] if "Intercept" in rows else [])

    def probability(self, comparison: str) -> float | pd.Series:
        """Posterior probability that a quantity is above or below a value, by quadrature.

        Parameters
        ----------
        comparison : str
            ``"mean < 0"``, ``"tau > 0.5"``, ``"new < 0"`` (a new study's effect), ``"theta > 0"`` (each study's true
            effect: one probability per study), on the scale of the effects. For anything else ``.fit.probability``,
            which counts draws.

        Examples
        --------
        >>> import hiermodels as hm
        >>> found = hm.meta(hm.load_dataset("eight_schools"), study="school", priors={"tau": "half_normal(10)"})
        >>> round(found.probability("mean > 0"), 3)
        0.955
        """
        import pandas as pd

        names = dict(zip(self.terms, self.problem.layout.columns, strict=True)) | {
            "theta": theta_name(self.groups[-1], INTERCEPT)
        }
        names |= {"tau" if len(self.groups) == 1 else f"tau_{g}": sd_name(g, INTERCEPT) for g in self.groups}
        if self.terms == ["mean"]:
            names["new"] = f"new({self.groups[-1]})"
        name, below, value = read_comparison(comparison, list(names)).threshold()
        found = posterior(self.problem, self.level, "equal_tailed", thresholds={names[name]: value})
        share = np.asarray(found.summaries[names[name]].cdf[0])
        share = share if below else 1 - share
        return (
            float(share)
            if share.ndim == 0
            else pd.Series(share[self._order], index=self.studies.index, name="probability")
        )

    @cached_property
    def classical(self) -> pd.DataFrame:
        """Estimates without a prior: common effect, DL, PM, REML, ML, HKSJ; see
        `hiermodels.synthesis.classical.classical_table`.

        With nested groupings REML and ML by `hiermodels.estimate`, a ``tau_<grouping>`` each, Student's t with
        Satterthwaite's degrees of freedom.
        """
        if len(self.groups) > 1:
            terms = dict(zip(self.terms, self.problem.layout.columns, strict=True))
            return nested_table(self.model, self.data, terms, self.groups, self.level)
        self._estimable("classical")
        return classical_table(self.rows, self.terms, self.level)

    @cached_property
    def tau_intervals(self) -> pd.DataFrame:
        """Intervals of tau: the posterior's, the Q-profile's, and of the restricted and the full likelihood's
        profile.
        """
        import pandas as pd

        self._estimable("tau_intervals")
        rows = {"posterior": self._row(sd_name(self.groups[0], INTERCEPT), "median")[2:]}
        rows["Q-profile"] = list(np.sqrt(q_profile(self.rows, self.level)))
        for word, restricted in (("profile REML", True), ("profile ML", False)):
            rows[word] = list(np.sqrt(profile_likelihood(self.rows, restricted, self.level)))
        return pd.DataFrame.from_dict(rows, orient="index", columns=["lower", "upper"])

    @cached_property
    def homogeneity(self) -> dict[str, float]:
        """Cochran's test that there is no variance between studies: ``Q df p``."""
        self._estimable("homogeneity")
        q = self.rows.q(0.0)
        return {"Q": q, "df": self.rows.df, "p": float(scipy.stats.chi2.sf(q, self.rows.df))}

    def _one_grouping(self, what: str) -> None:
        if len(self.groups) > 1:
            raise ValueError(
                f"{what}: these methods are for one variance between studies, found {', '.join(self.groups)}; use "
                f"summary()"
            )

    def _estimable(self, what: str) -> None:
        self._one_grouping(what)
        if not self.rows.df:
            raise ValueError(
                f"{what}: expected more studies than coefficients, found {len(self.rows.y)} and {len(self.terms)}; use "
                f"summary()"
            )

    @cached_property
    def studies(self) -> pd.DataFrame:
        """A row per study: its effect and interval, its weight in the mean, and its true effect as the posterior has
        it.

        ``weight``, in percent, is the posterior mean of w_i / sum w, w_i = 1 / (se_i^2 + tau^2) (Röver 2020, Journal of
        Statistical Software 93(6), section 2.9); left out where there are moderators or nested groupings.
        """
        import pandas as pd

        rows, name = self.rows, theta_name(self.groups[-1], INTERCEPT)
        half = scipy.stats.norm.ppf(0.5 + self.level / 2) * np.sqrt(rows.variance)
        table = {"effect": rows.y, "se": np.sqrt(rows.variance), "lower": rows.y - half, "upper": rows.y + half}
        found = self.posterior
        if len(self.groups) == 1 and self.terms == ["mean"]:
            tau = found.sds.get(
                sd_name(self.groups[0], INTERCEPT),
                np.full_like(found.weight, self._row(sd_name(self.groups[0], INTERCEPT), "median")[0]),
            )
            share = 1 / (rows.variance + tau[:, None] ** 2)
            table["weight"] = 100 * found.weight @ (share / share.sum(1, keepdims=True))
        at = self._order
        summary = found.summaries[name]
        table |= {f"theta_{word}": np.asarray(getattr(summary, word))[at] for word in ("mean", "sd", "lower", "upper")}
        return pd.DataFrame(
            table, index=pd.Index([self.problem.labels[self.groups[-1]][i] for i in at], name=self.groups[-1])
        )

    @property
    def _order(self) -> np.ndarray:
        """Place of each row's study among the labels."""
        place = {int(p): i for i, p in enumerate(self.problem.positions[self.groups[-1]])}
        return np.array([place[int(p)] for p in np.asarray(self.problem.data.group[-1])[: len(self.rows.y)]])

    def leave_one_out(self) -> pd.DataFrame:
        """The summary without each study in turn: ``mean mean_lower mean_upper tau tau_lower tau_upper`` (and the
        coefficients' where there are moderators).

        The posterior is computed anew, with the same prior; ``reference()`` then is that of the studies that are left.

        Raises
        ------
        ValueError
            Where the studies that are left have no proper posterior.
        """
        import pandas as pd

        self._one_grouping("leave_one_out")
        found = {}
        for i, label in enumerate(self.studies.index):
            rest = self.data.drop(index=i).reset_index(drop=True)
            try:
                problem = bind(self.model, rest, scales=self.problem.scales)
            except ValueError as error:
                raise ValueError(f"leave_one_out: without {label}: {error}") from None
            found[label] = replace(self, data=rest, problem=problem)._line()
        return pd.DataFrame.from_dict(found, orient="index").rename_axis(self.groups[-1])

    def sensitivity(self, priors: Mapping[str, Any] | list[str] | None = None) -> pd.DataFrame:
        """The summary under other priors of tau.

        Parameters
        ----------
        priors : mapping or list, optional
            Names to priors of ``tau``, or priors; by default the reference prior, a flat one, half-normal and
            half-Cauchy ones whose scales are 0.5 and 1 for logarithms of ratios and standardised differences (Röver et
            al. 2021, Research Synthesis Methods 12, 448-474), else the typical standard error and twice that.

        Returns
        -------
        DataFrame
            A row per prior; columns as `leave_one_out`, with ``new_lower new_upper`` where there are no moderators.

        Examples
        --------
        >>> import hiermodels as hm
        >>> found = hm.meta(hm.load_dataset("eight_schools"), study="school")
        >>> found.sensitivity({"small": "half_normal(5)"})["tau"].round(1).to_dict()
        {'small': 2.8}
        """
        import pandas as pd

        self._one_grouping("sensitivity")
        chosen = self._usual_priors() if priors is None else priors
        named = chosen if isinstance(chosen, Mapping) else {str(law): law for law in chosen}
        found = {}
        for name, law in named.items():
            model = refitted_model(self.model, {sd_name(self.groups[0], INTERCEPT): law})
            problem = bind(model, self.data)
            found[name] = replace(self, model=model, problem=problem)._line()
        return pd.DataFrame.from_dict(found, orient="index").rename_axis("prior of tau")

    def _usual_priors(self) -> list[str]:
        standard = self.ratio or (self.measure is not None and MEASURES[self.measure].pooled_sd)
        if not standard:
            self._estimable("sensitivity")
        scale = 0.5 if standard else float(f"{np.sqrt(typical_variance(self.rows)):.2g}")
        return [
            "reference()",
            "flat()",
            f"half_normal({scale:g})",
            f"half_normal({2 * scale:g})",
            f"half_cauchy({scale:g})",
        ]

    def _line(self) -> dict[str, float]:
        """Estimates and intervals side by side."""
        names = dict(zip(self.terms, self.problem.layout.columns, strict=True)) | {
            "tau": sd_name(self.groups[0], INTERCEPT)
        }
        line: dict[str, float] = {}
        for row, name in names.items():
            estimate, _, lower, upper = self._row(name, "median" if row == "tau" else "mean")
            line |= {row: estimate, f"{row}_lower": lower, f"{row}_upper": upper}
        if self.terms == ["mean"]:
            line["new_lower"], line["new_upper"] = self._row(f"new({self.groups[-1]})", "mean")[2:]
        return line

    def forest(self, *, ax: Axes | None = None) -> Figure:
        """Forest plot: each study's effect, interval and weight, the mean as a diamond, the prediction interval as a
        bar.
        """
        from hiermodels.synthesis.figures import forest

        return forest(self, ax)

    def funnel(self, *, ax: Axes | None = None) -> Figure:
        """Funnel plot: effects against their standard errors, with the region where they fall with and without
        heterogeneity.
        """
        from hiermodels.synthesis.figures import funnel

        return funnel(self, ax)

    def __repr__(self) -> str:
        return f"Meta({len(self.rows.y)} studies, {self.measure or self.model.formula!r})"

    def __str__(self) -> str:
        return page(self)
