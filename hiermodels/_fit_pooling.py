"""Pooling made visible: how strongly each group is pooled, how groups rank, what other poolings would have said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels._fit_core import FitCore, check_prob
from hiermodels.models.layout import POOLING, LevelLayout
from hiermodels.quantities import theta_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PoolingComparison", "PoolingViews"]

_MOST = 20_000_000
"""Numbers (draws times groups) that pooling factors are computed of; draws are thinned evenly beyond that."""


@dataclass(frozen=True, repr=False)
class PoolingComparison:
    """Complete, no and partial pooling of one model, side by side.

    Attributes
    ----------
    level : str
        Grouping whose groups are compared.
    fits : dict of str to Fit
        ``complete``, ``none``, ``partial``: those that could be fitted.
    table : DataFrame
        A row a group; two-level columns, pooling and ``estimate lower upper``.
    loo : DataFrame
        A row a pooling: ``elpd se p high_k``, leave-one-out by rows (``high_k``: rows whose importance ratios are not
        to be trusted).
    missing : dict of str to str
        Pooling to the reason why it, or its leave-one-out, is not there.
    """

    level: str
    fits: dict[str, Any]
    table: pd.DataFrame
    loo: pd.DataFrame
    missing: dict[str, str]

    def __repr__(self) -> str:
        return f"PoolingComparison({self.level!r}, {', '.join(self.fits)})"

    def __str__(self) -> str:
        style = "{:.4g}".format
        parts = [self.table.to_string(float_format=style, max_rows=40), "", self.loo.to_string(float_format=style)]
        return "\n".join([*parts, *(f"- {word}: {why}" for word, why in self.missing.items())])


class PoolingViews(FitCore):
    """What a fit says about its own pooling."""

    def pooling(self, level: str | None = None, effect: str = "Intercept", prob: float = 0.95) -> pd.DataFrame:
        """How strongly each group is pooled, beside its raw and its partially pooled estimate.

        The pooling factor is the weight of what lies above a group in its value, against its own rows: ``V / (V +
        sd^2)`` with V the sampling variance of the group's own estimate (levels below it included); for counts ``kappa
        / (kappa + trials)`` or ``shape / (shape + mean exposure)``. 0 is no pooling, 1 complete pooling.

        Parameters
        ----------
        level : str, optional
            Grouping, e.g. ``school``; by default the finest.
        effect : str
            ``Intercept``, or a predictor whose slope varies between groups.
        prob : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            A row a group: ``raw`` (the group's own rows alone; NaN for slopes and for coarser groupings of counts),
            ``pooling`` with its interval ``pooling_lb pooling_ub``, and the posterior's ``mean sd median eti95_lb
            eti95_ub``.

        Raises
        ------
        ValueError
            For a grouping or an effect that the model has not, and for coarser groupings of counts, whose values no
            data weigh in closed form.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "fixed(10)"})
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> print(f"{result.pooling().loc['A', 'pooling']:.3f} {15**2 / (15**2 + 10**2):.3f}")
        0.692 0.692
        """
        import pandas as pd

        from hiermodels.inference import pooling_metrics
        from hiermodels.inference.group_messages import flat_draws

        check_prob(prob)
        found = self._level(level, "pooling")
        i, e = self._place(found, effect)
        self._weighable(found)
        labels = self._needs_model("pooling").labels[found.name]
        values = flat_draws(self.draws.values, max(100, _MOST // len(labels)))
        factor = pooling_metrics.pooling_factors(values, self._needs_model("pooling"), i, e)
        ends = _ends(factor, prob)
        moments = self._moments(theta_name(found.name, effect), prob).set_axis(labels)
        table = {
            "raw": self._raw(found, effect),
            "pooling": factor.mean(axis=0),
            "pooling_lb": ends[0],
            "pooling_ub": ends[1],
        }
        return pd.concat([pd.DataFrame(table, index=labels), moments], axis=1)

    def heterogeneity(self, prob: float = 0.95) -> pd.DataFrame:
        """How much groups differ, level by level, as shares of variance with intervals.

        Parameters
        ----------
        prob : float
            Probability of the intervals.

        Returns
        -------
        DataFrame
            Rows (level, quantity): ``gelman_pardoe`` (the level's pooling factor, one number), and where they are
            defined ``I2 H2 vpc icc``, as `hiermodels.inference.pooling_metrics` defines them; columns ``mean median
            lower upper``.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "fixed(10)"})
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.heterogeneity().index.get_level_values("quantity").tolist()
        ['gelman_pardoe', 'I2', 'H2']
        """
        import pandas as pd

        from hiermodels.inference import pooling_metrics
        from hiermodels.inference.group_messages import flat_draws

        check_prob(prob)
        problem = self._needs_model("heterogeneity")
        self._level(None, "heterogeneity")
        most = max(len(labels) for labels in problem.labels.values())
        values = flat_draws(self.draws.values, max(100, _MOST // most))
        rows: dict[tuple[str, str], list[float]] = {}
        for i, level in enumerate(problem.layout.levels):
            for e, column in enumerate(level.effects):
                name = problem.layout.columns[column]
                word = "gelman_pardoe" if name == "Intercept" else f"gelman_pardoe_{name}"
                factor = pooling_metrics.gelman_pardoe(values, problem, i, e)
                rows[level.name, word] = [factor, np.nan, np.nan, np.nan]
            for word, draws in pooling_metrics.level_shares(values, problem, i).items():
                lower, upper = _ends(draws, prob)
                rows[level.name, word] = [float(draws.mean()), float(np.median(draws)), float(lower), float(upper)]
        index = pd.MultiIndex.from_tuples(list(rows), names=["level", "quantity"])
        return pd.DataFrame(list(rows.values()), index=index, columns=["mean", "median", "lower", "upper"])

    def ranks(
        self, level: str | None = None, highest: bool = True, effect: str = "Intercept", prob: float = 0.95
    ) -> pd.DataFrame:
        """Which group is best, and how sure that is: ranks draw by draw.

        Parameters
        ----------
        level : str, optional
            Grouping; by default the finest.
        highest : bool
            Whether rank 1 is the highest value.
        effect : str
            ``Intercept``, or a predictor whose slope varies between groups.
        prob : float
            Probability of the interval of ranks.

        Returns
        -------
        DataFrame
            A row a group: ``p_best`` (probability of rank 1), ``expected_rank sd_rank``, ``rank_lb rank_ub``.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.ranks()["p_best"].idxmax(), round(float(result.ranks()["p_best"].sum()), 6)
        ('A', 1.0)
        """
        from hiermodels.inference.ranking import rank_table

        check_prob(prob)
        found = self._level(level, "ranks")
        self._place(found, effect)
        if not isinstance(highest, bool):
            raise ValueError(f"highest: expected True or False, found {highest!r}; give one of them")
        x = np.asarray(self.draws.values[theta_name(found.name, effect)], float)
        return rank_table(x.reshape(-1, x.shape[-1]), self._needs_model("ranks").labels[found.name], highest, prob)

    def compare_pooling(self, level: str | None = None, prob: float = 0.95) -> PoolingComparison:
        """Fit the model with complete, no and partial pooling, and put each group's three estimates side by side.

        Parameters
        ----------
        level : str, optional
            Grouping to show; by default the finest. All groupings are pooled alike.
        prob : float
            Probability of the intervals.

        Returns
        -------
        PoolingComparison
            Prints itself: estimates and intervals, and leave-one-out predictive densities where rows have one.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.compare_pooling().table["none", "estimate"].round(0).tolist()[:2]
        [28.0, 8.0]
        """
        import pandas as pd

        check_prob(prob)
        found = self._level(level, "compare_pooling")
        fits, parts, scores, missing = {}, {}, {}, {}
        for word in POOLING:
            try:
                fits[word] = self if self.settings.pooling == word else self.refit(pooling=word)
            except ValueError as error:
                missing[word] = str(error)
                continue
            moments = fits[word]._moments(theta_name(found.name, "Intercept"), prob)
            point = moments["mean"].fillna(moments["median"])
            parts[word] = pd.DataFrame({"estimate": point, "lower": moments.iloc[:, 3], "upper": moments.iloc[:, 4]})
            why = _no_leave_one_out(fits[word])
            if why:
                missing[f"{word}, leave-one-out"] = why
            scores[word] = [np.nan] * 4 if why else _score(fits[word])
        table = pd.concat(parts, axis=1).set_axis(self._needs_model("compare_pooling").labels[found.name])
        loo = pd.DataFrame.from_dict(scores, orient="index", columns=["elpd", "se", "p", "high_k"])
        return PoolingComparison(found.name, fits, table, loo, missing)

    def _moments(self, name: str, prob: float) -> pd.DataFrame:
        """Mean, sd, median and interval of a variable, without its convergence."""
        return self.summary(name, prob).iloc[:, :5]

    def _place(self, level: LevelLayout, effect: str) -> tuple[int, int]:
        """Positions of the level, and of the effect in it."""
        layout = self._needs_model("effect").layout
        effects = [layout.columns[e] for e in level.effects]
        if effect not in effects:
            raise ValueError(
                f"effect: expected one of {', '.join(effects)}, found {effect!r}; name an effect of {level.name}"
            )
        return layout.levels.index(level), effects.index(effect)

    def _weighable(self, level: LevelLayout) -> None:
        from hiermodels.inference.count_groups import unit_level

        problem = self._needs_model("pooling")
        layout = problem.layout
        if layout.normal_groups or level.pooling != "partial" or layout.levels.index(level) == unit_level(problem):
            return
        raise ValueError(
            f"level: expected {layout.levels[unit_level(problem) or 0].name}, the pooled grouping of counts, found "
            f"{level.name!r}: coarser ones are "
            "weighed by no formula; use fit.heterogeneity()"
        )

    def _raw(self, level: LevelLayout, effect: str) -> np.ndarray:
        from hiermodels.inference.raw import raw_estimates

        problem = self._needs_model("pooling")
        finest = level == problem.layout.levels[-1]
        if effect != "Intercept" or not (problem.layout.normal_groups or finest):
            return np.full(len(problem.labels[level.name]), np.nan)
        return raw_estimates(self.draws.values, problem, level.name)


def _ends(x: np.ndarray, prob: float) -> np.ndarray:
    """Ends of the equal-tailed interval of draws along the first axis."""
    tail = (1 - prob) / 2
    if x.ndim == 1:
        return np.quantile(x, [tail, 1 - tail])
    return np.concatenate(
        [np.quantile(x[:, k : k + 1024], [tail, 1 - tail], axis=0) for k in range(0, x.shape[1], 1024)], axis=1
    )


def _no_leave_one_out(fit: Any) -> str:
    """Why a fit has no leave-one-out predictive densities; empty where it has."""
    problem = fit.problem
    layout, data = problem.layout, problem.data
    if not any(level.pooling == "none" for level in layout.levels):
        return ""
    finest = next(i for i in reversed(range(len(layout.levels))) if layout.levels[i].pooling == "none")
    rows = problem.tree.sum_rows(np.asarray(data.size) > 0, finest)
    proper = not layout.law.local if layout.normal_groups else min(layout.law.unpooled) > 0
    if proper or rows.min() > 1:
        return ""
    return f"a {layout.levels[finest].name} with one row tells nothing about that row when it is left out"


def _score(fit: Any) -> list[float]:
    import warnings

    with warnings.catch_warnings():  # the count of high k is in the table
        warnings.simplefilter("ignore")
        found = fit.loo(pointwise=True)
    return [float(found.elpd), float(found.se), float(found.p), float((found.pareto_k > found.good_k).sum())]
