"""What a fit says of its own rows: means of their outcomes, and what the outcomes are above them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.likelihood import fitted_laws
from hiermodels.models.counts import count_tree
from hiermodels.models.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["KINDS", "fitted", "interval_table", "residuals"]

KINDS = ("raw", "standardised")


def fitted(values: Mapping[str, Any], problem: Problem, frame: pd.DataFrame, prob: float) -> pd.DataFrame:
    """Mean of each row's outcome given the draws, as a table; see `hiermodels.fit.Fit.fitted`."""
    law = fitted_laws(values, problem, frame)
    return _with_moments(interval_table(_whole(law.mean(), values, frame), prob, frame.index), problem)


def residuals(values: Mapping[str, Any], problem: Problem, frame: pd.DataFrame, kind: str, prob: float) -> pd.DataFrame:
    """Outcome less its mean, divided by its sd where ``standardised``; see `hiermodels.fit.Fit.residuals`.

    Raises
    ------
    ValueError
        For another kind, and for an outcome without a variance.
    """
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "use one of them"
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, found {kind!r}; {hint}")
    law, y = fitted_laws(values, problem, frame), np.asarray(problem.data.y)[: len(frame)]
    left = y - _whole(law.mean(), values, frame)
    if kind == "standardised":
        sd = law.std()
        if not np.isfinite(sd).all():
            raise ValueError(
                "kind: standardised residuals need a variance, and the outcome's law has none in some draws; use "
                "kind='raw'"
            )
        left = left / sd
    table = interval_table(left, prob, frame.index)
    return _with_moments(table, problem) if kind == "raw" else table


def _with_moments(table: pd.DataFrame, problem: Problem) -> pd.DataFrame:
    """A table of mean outcomes without the means and sds that do not exist: of few rows in a group that is not
    pooled.
    """
    layout, data = problem.layout, problem.data
    if layout.normal_groups or count_tree(layout).word != "none":
        return table
    group = np.asarray(data.group[count_tree(layout).unit])
    events = np.bincount(group, layout.law.counted(np.asarray(data.y), np.asarray(data.size))[0])
    below = layout.law.moments_below(layout.law.unpooled[0] + events)[group[: len(table)]]
    return table.assign(mean=table["mean"].where(below > 1), sd=table["sd"].where(below > 2))


def interval_table(x: np.ndarray, prob: float, index: Any) -> pd.DataFrame:
    """Mean, sd, median and equal-tailed interval of (chain, draw, row), a row a row.

    Examples
    --------
    >>> import numpy as np
    >>> interval_table(np.arange(5.0).reshape(1, 5, 1), 0.5, ["a"]).loc["a"].tolist()[2:]
    [2.0, 1.0, 3.0]
    """
    import pandas as pd

    tail = (1 - prob) / 2
    blocks = []
    for start in range(0, x.shape[-1], 1024):
        part = x[..., start : start + 1024]
        ends = np.quantile(part, [0.5, tail, 1 - tail], axis=(0, 1))
        blocks.append(np.stack([part.mean((0, 1)), part.std((0, 1), ddof=1), *ends]))
    word = f"eti{100 * prob:g}"
    table = np.concatenate(blocks, axis=1).T if blocks else np.zeros((0, 5))
    return pd.DataFrame(table, index=index, columns=["mean", "sd", "median", f"{word}_lb", f"{word}_ub"])


def _whole(x: np.ndarray, values: Mapping[str, Any], frame: pd.DataFrame) -> np.ndarray:
    """A law's mean in full, (chain, draw, row)."""
    chains, draws = next(iter(values.values())).shape[:2]
    return np.broadcast_to(x, (chains, draws, len(frame)))
