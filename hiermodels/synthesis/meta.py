"""`meta`: a meta-analysis in one line, from effects with standard errors or from the numbers that trials print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.columns import numbers, require_column
from hiermodels.models.data import bind
from hiermodels.models.expressions import quoted
from hiermodels.models.spec import Model
from hiermodels.quantities import sd_name
from hiermodels.synthesis.effect_sizes import effect_sizes
from hiermodels.synthesis.result import Meta

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["meta"]

_KINDS = {"central": "equal_tailed", "shortest": "hdi"}
_PLAIN = {"mean": "Intercept"}


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
    **columns: Any,
) -> Meta:
    """Random-effects meta-analysis: the exact posterior, with what is done without a prior beside it.

        effect_i ~ N(theta_i, se_i^2),  theta_i ~ N(mean, tau^2)

    Parameters
    ----------
    table : DataFrame
        One row per study, with effects and standard errors; or, with ``measure``, with what `hiermodels.effect_sizes` takes.
    measure : str, optional
        ``OR``, ``RR``, ``MD``, ``SMD`` and so on: the effects are computed first, from the columns named in ``columns``.
    effect, se : str
        Columns of the effects and their standard errors, where there is no ``measure``.
    study : str, optional
        Column with the studies' names; by default ``study`` where there is such a column, else the rows are numbered. Nested groupings
        as in a formula: ``district/school``, the rows standing in the last.
    moderators : str, optional
        Meta-regression: the right side of a formula, ``"ablat + C(alloc)"``.
    priors : mapping of str to prior, optional
        ``mean`` and ``tau`` (or a parameter's own name): ``{"tau": "half_normal(0.5)", "mean": "normal(0, 4)"}``. By default the mean is
        flat and ``tau`` has the reference prior (Jeffreys's, the mean apart).
    level : float
        Probability of intervals.
    interval : str
        Of the posterior: ``central`` or ``shortest``.
    **columns
        Of `hiermodels.effect_sizes`: ``events="deaths"``, ``n="patients"``, ...

    Returns
    -------
    Meta
        `Meta.summary`, `Meta.classical` (DL, PM, REML, ML, HKSJ), `Meta.tau_intervals`, `Meta.leave_one_out`, `Meta.sensitivity`,
        `Meta.forest`, `Meta.funnel`; ``print`` it.

    Raises
    ------
    ValueError
        As `hiermodels.effect_sizes` and `hiermodels.fit`; for studies that have several rows; for effects that share a control group.

    Examples
    --------
    >>> import hiermodels as hm
    >>> found = hm.meta(hm.load_dataset("eight_schools"), study="school", priors={"tau": "half_normal(10)"})
    >>> found.summary().loc["mean"].round(1).tolist()
    [7.9, 4.7, -1.3, 17.1]
    >>> found.classical.loc["REML"].round(1).tolist()[:4]
    [7.7, 4.1, -0.3, 15.7]
    """
    frame, measure = _with_effects(table, measure, columns)
    effect, se = (effect, se) if measure is None else ("effect", "se")
    measure = measure or frame.attrs.get("measure")
    kind = _settings(level, interval)
    frame, groups = _with_studies(frame, study)
    for name, role in ((effect, "effects"), (se, "standard errors")):
        numbers(frame, name, role)
    right = " + ".join(["1", *([moderators.strip()] if moderators else []), f"(1 | {'/'.join(quoted(g) for g in groups)})"])
    model = Model(f"{quoted(effect)} ~ {right}", known_se=se)
    model = Model(model.formula, known_se=se, priors=_priors(priors, groups))
    problem = bind(model, frame)
    _one_row_each(frame, groups)
    return Meta(frame, model, problem, measure, level, kind)


def _with_effects(table: pd.DataFrame, measure: str | None, columns: Mapping[str, Any]) -> tuple[pd.DataFrame, str | None]:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table: expected a DataFrame, found {type(table).__name__}; use pd.DataFrame(...)")
    if measure is not None:
        frame = effect_sizes(table, measure, **columns)
        measure = frame.attrs["measure"]
    elif columns:
        raise ValueError(f"{next(iter(columns))}: a column of an effect size needs measure=, found none; e.g. hm.meta(table, 'OR', ...)")
    else:
        frame = table.copy()
    if "shared_variance" in frame.columns:
        raise ValueError(
            "table: some effects share a control group, so that they are correlated, which hm.meta does not model; keep one comparison "
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
            f"study: expected one row per study, found {int((frame[groups] == frame[groups].iloc[i]).all(axis=1).sum())} of {label!r}; "
            f"name what tells them apart, e.g. study='{groups[-1]}/outcome'"
        )


def _priors(priors: Mapping[str, Any] | None, groups: list[str]) -> dict[str, Any] | None:
    """Priors by the model's own names; ``tau`` is the finest grouping's sd."""
    if priors is None:
        return None
    if not isinstance(priors, Mapping):
        raise ValueError(f"priors: expected a mapping such as {{'tau': 'half_normal(0.5)'}}, found {type(priors).__name__}")
    names = _PLAIN | {"tau": sd_name(":".join(groups), "Intercept")}
    return {names.get(name, name): law for name, law in priors.items()}
