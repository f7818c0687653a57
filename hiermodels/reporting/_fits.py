"""What figures read of a fit: its groups as a table. Nothing here needs matplotlib.

Each figure of a fit also takes the same things from elsewhere: a table with the columns named here, or an
`xarray.DataTree` with ArviZ's groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from hiermodels.models.labels import label_text, match_labels
from hiermodels.models.layout import LevelLayout
from hiermodels.quantities import INTERCEPT, theta_name
from hiermodels.reporting._given import by_name, study_table, table_columns, thing

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "FitLike",
    "centre_name",
    "centre_of",
    "declared",
    "effect_of",
    "group_table",
    "groups_of_source",
    "level_of",
    "long_estimates",
    "own_laws",
]

GROUP_COLUMNS = ("mcse", "lower", "upper", "raw", "raw_lower", "raw_upper", "size", "true")


class FitLike(Protocol):
    """A fit of a declared model, as `hiermodels.fit.Fit`."""

    @property
    def model(self) -> Any: ...
    @property
    def data(self) -> pd.DataFrame: ...
    @property
    def draws(self) -> Any: ...
    @property
    def problem(self) -> Any: ...
    def summary(self, var_names: str | Sequence[str] | None = None, prob: float = 0.95) -> pd.DataFrame: ...
    def predict(
        self, new_data: pd.DataFrame | None = None, groups: str = "existing", kind: str = "mean", seed: int = 0
    ) -> xr.DataTree: ...


Source = Any
"""A `FitLike`, or the same from elsewhere."""


def declared(fit: Any, what: str) -> FitLike:
    """The fit, if it is one of a declared model with groups.

    Raises
    ------
    ValueError
        For anything else.
    """
    problem = getattr(fit, "problem", None)
    if problem is None or not hasattr(problem, "layout") or not hasattr(fit, "summary"):
        found = (
            f"a fit of {getattr(fit.model, '__name__', 'a function')}"
            if hasattr(fit, "data") and hasattr(fit, "model")
            else thing(fit)
        )
        raise ValueError(
            f"{what}: expected a fit of hm.Model, found {found}; give fit = hm.fit(hm.Model(...), data), or a table "
            f"where the figure takes one"
        )
    found_fit: FitLike = fit
    return found_fit


def level_of(problem: Any, level: str | None) -> LevelLayout:
    """The grouping of this name, by default the finest.

    Raises
    ------
    ValueError
        Where the model has no groups, or not this one.
    """
    levels = {found.name: found for found in problem.layout.levels}
    if not levels:
        raise ValueError("level: expected a model with a group term, found none; add (1 | group) to the formula")
    if level is None:
        return list(levels.values())[-1]
    if level not in levels:
        raise ValueError(f"level: expected one of {', '.join(levels)}, found {level!r}; name a grouping of the model")
    return levels[level]


def effect_of(problem: Any, level: LevelLayout, effect: str | None = None) -> str:
    """An effect of a grouping: the one named, by default its intercept, or its first slope where the intercept does not
    vary.

    Raises
    ------
    ValueError
        Where the grouping has not this effect.
    """
    effects = [problem.layout.columns[e] for e in level.effects]
    if effect is None:
        return INTERCEPT if INTERCEPT in effects else effects[0]
    if effect not in effects:
        raise ValueError(
            f"effect: expected one of {', '.join(effects)}, found {effect!r}; name an effect of {level.name}"
        )
    return effect


def group_table(
    fit: FitLike,
    level: str | None = None,
    effect: str | None = None,
    *,
    prob: float = 0.95,
    truth: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """A fit's groups as a table, one row a group: what the figures of groups draw.

    Parameters
    ----------
    fit : Fit
        Of a declared model with a group term.
    level : str, optional
        Grouping, e.g. ``school``; by default the finest.
    effect : str, optional
        ``Intercept``, or a predictor whose slope varies between groups; by default as `effect_of`.
    prob : float
        Probability of the intervals.
    truth : mapping of str to float, optional
        True value of each group, where it is known.

    Returns
    -------
    DataFrame
        ``estimand group``; ``estimate`` (posterior mean, the median where the mean does not exist) with its Monte Carlo
        standard error ``mcse``; ``se`` (posterior sd), ``lower upper`` (equal-tailed interval); ``raw raw_lower
        raw_upper``, what the group's own rows say (the normalised likelihood: its mode and its interval), on the
        outcome's scale, NaN where a group has no estimate of its own; ``size``, its rows, trials or exposure; ``true``.

    Raises
    ------
    ValueError
        For a grouping or an effect that the model has not.

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    >>> fit = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
    >>> group_table(fit)["raw"].tolist()[:3]
    [28.0, 8.0, -3.0]
    """
    problem = declared(fit, "fit").problem
    found = level_of(problem, level)
    effect = effect_of(problem, found, effect)
    name = theta_name(found.name, effect)
    rows = fit.summary(name, prob)
    lower, upper = (rows[c].to_numpy() for c in rows.columns if c.startswith("eti"))
    table = pd.DataFrame({"estimand": name, "group": list(problem.labels[found.name])})
    table["estimate"] = rows["mean"].fillna(rows["median"]).to_numpy()
    table["mcse"], table["se"] = rows["mcse_mean"].to_numpy(), rows["sd"].to_numpy()
    table["lower"], table["upper"] = lower, upper
    table["size"] = problem.tree.sum_rows(problem.data.size, problem.layout.levels.index(found))
    table["raw"], table["raw_lower"], table["raw_upper"] = np.nan, np.nan, np.nan
    if effect == INTERCEPT and (laws := own_laws(fit, found.name)) is not None:
        from hiermodels.inference.raw import raw_estimates

        table["raw"] = raw_estimates(fit.draws.values, problem, found.name)
        table["raw_lower"], table["raw_upper"] = laws.ppf((1 - prob) / 2), laws.ppf((1 + prob) / 2)
    table["true"] = np.nan if truth is None else _true_values(truth, table["group"])
    return table


def _true_values(truth: Mapping[Any, float], groups: Sequence[Any] | pd.Series) -> list[float]:
    labels = [label_text(g) for g in groups]
    given, _ = match_labels(truth, labels)
    return [float(given.get(label, np.nan)) for label in labels]


def own_laws(fit: FitLike, level: str | None = None) -> Any:
    """What each group's own rows say of its value: the likelihood, normalised, as a frozen law of `scipy.stats`.

    Normal: N(mean of the rows, sampling variance of that mean), sigma at its posterior median where it is not known. A
    coarser normal grouping is the unweighted mean of its finest groups. Binomial: Beta(y + 1, n - y + 1). Poisson:
    Gamma(y + 1, rate = exposure). Shape (group,); None for a coarser grouping of counts and where slopes vary or groups
    cross or a family has normal groups without a normal outcome, where a group's rows alone do not make a law of one
    number.
    """
    from scipy import stats

    problem = fit.problem
    found, layout, data = level_of(problem, level), problem.layout, problem.data
    finest = found.name == layout.levels[-1].name
    if layout.normal_groups and not layout.gaussian:
        return None
    if not layout.gaussian:
        if not finest:
            return None
        counted = layout.law.counted(np.asarray(data.y), np.asarray(data.size))
        y, size = (problem.tree.sum_rows(rows, layout.levels.index(found)) for rows in counted)
        return layout.law.population.own(y, size)
    if not layout.nested or any(len(level.effects) != 1 for level in layout.levels):
        return None
    from hiermodels.inference.raw import raw_estimates

    sigma = 1.0 if layout.known else float(np.median(fit.draws.values["sigma"]))
    variance = sigma**2 / problem.tree.sum_rows(data.weight, len(layout.levels) - 1)
    if not finest:  # the unweighted mean of its finest groups
        tree, fine, i = problem.tree, len(layout.levels) - 1, layout.levels.index(found)
        variance = tree.sum_up(variance, fine, i) / tree.sum_up(np.ones(len(variance)), fine, i) ** 2
    return stats.norm(raw_estimates(fit.draws.values, problem, found.name), np.sqrt(variance))


def groups_of_source(source: Source, what: str, **options: Any) -> pd.DataFrame:
    """A table of groups, from a fit or as it is given: ``group estimate`` and any of `GROUP_COLUMNS`.

    Raises
    ------
    ValueError
        For a table without these columns.
    """
    if not isinstance(source, pd.DataFrame):
        return group_table(declared(source, what), **options)
    truth = options.get("truth")
    table = table_columns(source, "group estimate", what).reset_index(drop=True).copy()
    if truth is not None:
        table["true"] = _true_values(truth, table["group"])
    for column in GROUP_COLUMNS:
        if column not in table:
            table[column] = np.nan
    if "estimand" not in table:
        table["estimand"] = "estimate"
    return table


def centre_of(source: Source, level: str | None = None, effect: str | None = None) -> float | None:
    """Posterior mean of what the groups of a fit shrink to; None where there is no such number."""
    if isinstance(source, pd.DataFrame):
        return None
    name = centre_name(source, level_of(source.problem, level), effect)
    if name is None:
        return None
    row = source.summary(name).iloc[0]
    return float(row["median"] if np.isnan(row["mean"]) else row["mean"])


def centre_name(fit: FitLike, level: LevelLayout, effect: str | None = None) -> str | None:
    """Variable that a grouping's values scatter around: a population coefficient or mean; None where the model has
    none.
    """
    layout = fit.problem.layout
    if layout.normal_groups:
        found = layout.find("coefficient", effect=effect_of(fit.problem, level, effect))
    else:
        found = layout.find("population mean", level.name)
    return found.name if found is not None and found.name in fit.draws.values else None


def long_estimates(source: Any, names: Sequence[str], rep: int | None, truth: Mapping[str, Any] | None) -> pd.DataFrame:
    """Estimates of groups by method, ``method estimand group estimate true``.

    Parameters
    ----------
    source : DataFrame or mapping of str to Fit
        A study's long table of estimates, of which one replicate is taken; or fits by name.
    names : sequence of str
        Estimands with groups.
    rep : int or None
        Replicate; by default the table's first.
    truth : mapping, optional
        Estimand to a mapping of group to true value, for fits.
    """
    if isinstance(source, pd.DataFrame):
        source = study_table(source, "estimates", "method true")
        rows = source[source["estimand"].isin(list(names))]
        if "rep" in rows and len(rows):
            rows = rows[rows["rep"] == (rows["rep"].min() if rep is None else rep)]
        missing = [n for n in names if not (rows["estimand"] == n).any()]
        if missing:
            there = ", ".join(map(str, source["estimand"].unique()))
            raise ValueError(f"estimand: expected one of {there}, found {missing[0]!r} (replicate {rep}); name another")
        return rows.astype({"group": str, "method": str, "estimand": str})
    parts = []
    for method, fit in by_name(source, "source").items():
        for name in names:
            parts.append(_rows_of(declared(fit, method), name).assign(method=method))
    table = pd.concat(parts, ignore_index=True)
    known = truth or {}
    table["true"] = [
        float(known.get(e, {}).get(g, np.nan)) for e, g in zip(table["estimand"], table["group"], strict=True)
    ]
    return table


def _rows_of(fit: FitLike, name: str) -> pd.DataFrame:
    layout = fit.problem.layout
    for level in layout.levels:
        for e, effect in zip(level.effects, layout.effect_names(level), strict=True):
            if effect == name:
                return group_table(fit, level.name, layout.columns[e])
    there = ", ".join(n for level in layout.levels for n in layout.effect_names(level))
    raise ValueError(f"estimand: expected one of {there}, found {name!r}; name a variable of the groups")
