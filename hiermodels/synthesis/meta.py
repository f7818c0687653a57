"""`meta`: a meta-analysis in one line, from effects with standard errors or from the numbers that trials print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.columns import numbers, require_column, shown_cell
from hiermodels.models.data import bind
from hiermodels.models.expressions import quoted
from hiermodels.models.spec import Model
from hiermodels.quantities import INTERCEPT, sd_name
from hiermodels.synthesis.counts import CountMeta, count_model, named_priors
from hiermodels.synthesis.effect_sizes import effect_sizes
from hiermodels.synthesis.measures import MEASURES
from hiermodels.synthesis.result import Meta

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["meta"]

_KINDS = {"central": "equal_tailed", "shortest": "hdi"}
_LIKELIHOODS = ("normal", "exact")


def meta(
    table: pd.DataFrame,
    measure: str | None = None,
    *,
    effect: str = "effect",
    se: str = "se",
    study: str | None = None,
    moderators: str | None = None,
    priors: Mapping[str, Any] | None = None,
    level: float = 0.95,
    interval: str = "central",
    likelihood: str = "normal",
    seed: int = 0,
    **columns: Any,
) -> Meta | CountMeta:
    """Random-effects meta-analysis: the exact posterior, with what is done without a prior beside it.

        effect_i ~ N(theta_i, se_i^2),  theta_i ~ N(mean, tau^2)

    Parameters
    ----------
    table : DataFrame
        One row per study, with effects and standard errors; or, with ``measure``, with what `hiermodels.effect_sizes`
        takes.
    measure : str, optional
        ``OR``, ``RR``, ``MD``, ``SMD`` and so on: the effects are computed first, from the columns named in
        ``columns``.
    effect, se : str
        Columns of the effects and their standard errors, where there is no ``measure``.
    study : str, optional
        Column with the studies' names; by default ``study`` where there is such a column, else the rows are numbered.
        Nested groupings as in a formula: ``district/school``, the rows standing in the last.
    moderators : str, optional
        Meta-regression: the right side of a formula, ``"ablat + C(alloc)"``.
    priors : mapping of str to prior, optional
        ``mean`` and ``tau`` (or a parameter's own name): ``{"tau": "half_normal(0.5)", "mean": "normal(0, 4)"}``. By
        default the mean is flat and ``tau`` has the reference prior (Jeffreys's, the mean apart).
    level : float
        Probability of intervals.
    interval : str
        Of the posterior: ``central``, or ``shortest`` (not with ``likelihood="exact"``).
    likelihood : str
        ``normal``, of the effects; or ``exact``, of the counts themselves (``OR``, ``IRR``, ``PLO``, ``IRLN``): no
        correction of zero cells, which is what few events need. See `hiermodels.synthesis.counts`.
    seed : int
        Of the draws of an ``exact`` likelihood, by NUTS; anything else is quadrature.
    **columns
        Of `hiermodels.effect_sizes`: ``events="deaths"``, ``n="patients"``, ...

    Returns
    -------
    Meta or CountMeta
        `Meta.summary`, `Meta.classical` (DL, PM, REML, ML, HKSJ), `Meta.tau_intervals`, `Meta.leave_one_out`,
        `Meta.sensitivity`, `Meta.forest`, `Meta.funnel`; ``print`` it. With ``likelihood="exact"`` a
        `hiermodels.synthesis.CountMeta`: `summary`, `studies`, `forest`.

    Raises
    ------
    ValueError
        As `hiermodels.effect_sizes` and `hiermodels.fit`; for studies that have several rows; for effects that share a
        control group.

    Examples
    --------
    >>> import hiermodels as hm
    >>> found = hm.meta(hm.load_dataset("eight_schools"), study="school", priors={"tau": "half_normal(10)"})
    >>> found.summary().loc["mean"].round(1).tolist()
    [7.9, 4.7, -1.3, 17.1]
    >>> found.classical.loc["REML"].round(1).tolist()[:4]
    [7.7, 4.1, -0.3, 15.7]
    """
    if likelihood not in _LIKELIHOODS:
        raise ValueError(f"likelihood: expected one of {', '.join(_LIKELIHOODS)}, found {likelihood!r}; choose one")
    kind = _settings(level, interval)
    for role, text in (("study", study), ("moderators", moderators)):
        if text is not None and not isinstance(text, str):
            raise ValueError(
                f"{role}: expected a text, found {shown_cell(text)}; leave it out, or write names of columns"
            )
    if likelihood == "exact":
        if interval != "central":
            raise ValueError(
                f"interval: with likelihood='exact' intervals are central, found {interval!r}; leave it out"
            )
        return _of_counts(table, measure, columns, study, moderators, priors, level, seed)
    if "arm" in columns:  # the column of the trials is one of theirs then
        columns = columns | {"study": study}
    frame, measure = _with_effects(table, measure, columns)
    effect, se = (effect, se) if measure is None else ("effect", "se")
    measure = measure or frame.attrs.get("measure")
    frame, groups = _with_studies(frame, study)
    for name, role in ((effect, "effects"), (se, "standard errors")):
        numbers(frame, name, role)
    right = " + ".join(
        ["1", *([moderators.strip()] if moderators else []), f"(1 | {'/'.join(quoted(g) for g in groups)})"]
    )
    laws = named_priors(priors, mean=INTERCEPT, tau=sd_name(":".join(groups), INTERCEPT))
    model = Model(f"{quoted(effect)} ~ {right}", known_se=se, priors=laws)
    problem = bind(model, frame)
    _one_row_each(frame, groups)
    return Meta(frame, model, problem, measure, level, kind)


def _of_counts(
    table: pd.DataFrame,
    measure: str | None,
    columns: Mapping[str, Any],
    study: str | None,
    moderators: str | None,
    priors: Any,
    level: float,
    seed: int,
) -> CountMeta:
    """The counts' own likelihood, by NUTS."""
    from hiermodels.fit import fit

    if measure is None:
        raise ValueError(
            "likelihood: 'exact' needs the counts, found no measure; e.g. hm.meta(table, 'OR', events=..., n=..., "
            "likelihood='exact')"
        )
    if moderators is not None or "arm" in columns or "shared_control" in columns:
        raise ValueError(
            "likelihood: 'exact' takes one row per study with two arms or one, and no moderators; declare "
            "hm.Model(...) for more"
        )
    raw = effect_sizes(table, measure, **columns).reset_index(drop=True)
    raw, groups = _with_studies(raw, study)
    if len(groups) > 1:
        raise ValueError(
            f"study: expected one grouping with likelihood='exact', found {'/'.join(groups)}; declare hm.Model(...) "
            f"for more"
        )
    _one_row_each(raw, groups)
    labels = raw[groups[0]].astype(str).to_numpy()
    roles = {name: column for name, column in columns.items() if name not in ("zero_cells", "correction")}
    model, arms = count_model(table, MEASURES[raw.attrs["measure"]], roles, labels, priors)
    found = fit(model, arms, target_accept=0.95, seed=seed, progress=False)
    return CountMeta(found, raw.set_index(groups[0]), raw.attrs["measure"], level)


def _with_effects(
    table: pd.DataFrame, measure: str | None, columns: Mapping[str, Any]
) -> tuple[pd.DataFrame, str | None]:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table: expected a DataFrame, found {type(table).__name__}; use pd.DataFrame(...)")
    if measure is not None:
        frame = effect_sizes(table, measure, **columns)
        measure = frame.attrs["measure"]
    elif columns:
        raise ValueError(
            f"{next(iter(columns))}: a column of an effect size needs measure=, found none; e.g. hm.meta(table, "
            f"'OR', ...)"
        )
    else:
        frame = table.copy()
    if "shared_variance" in frame.columns:
        raise ValueError(
            "table: some effects share a control group, so that they are correlated, which hm.meta does not model; "
            "keep one comparison "
            "per trial, or put the trial's arms together"
        )
    return frame.reset_index(drop=True), measure


def _settings(level: float, interval: str) -> str:
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level!r}; e.g. level=0.95")
    if interval not in _KINDS:
        raise ValueError(f"interval: expected one of {', '.join(_KINDS)}, found {interval!r}; choose one")
    return _KINDS[interval]


def _with_studies(frame: pd.DataFrame, study: str | None) -> tuple[pd.DataFrame, list[str]]:
    """The frame with a column of studies, and the groupings from the widest to the studies."""
    if study is None and "study" not in frame.columns:
        return frame.assign(study=[str(i + 1) for i in range(len(frame))]), ["study"]
    groups = [part.strip().strip("`") for part in (study or "study").split("/")]
    for name in groups:
        require_column(frame, name, "study")
    return frame, groups


def _one_row_each(frame: pd.DataFrame, groups: list[str]) -> None:
    """Rows of one study share one true effect; several outcomes of a study have one each."""
    several = frame.duplicated(groups, keep=False).to_numpy()
    if several.any():
        i = int(np.argmax(several))
        label = ", ".join(str(frame[g].iloc[i]) for g in groups)
        raise ValueError(
            f"study: expected one row per study, found "
            f"{int((frame[groups] == frame[groups].iloc[i]).all(axis=1).sum())} of {label!r}; "
            f"name what tells them apart, e.g. study='{groups[-1]}/outcome'"
        )
