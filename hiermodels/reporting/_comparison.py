"""Methods side by side: the replicates that they are compared on, and the sentence that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hiermodels.reporting._rows import behind_values, replicates
from hiermodels.studies.score.measures import compared_by
from hiermodels.studies.score.told import CONDITIONAL

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["common_of", "comparison_words"]


def common_of(run: Any) -> pd.DataFrame:
    """The table that methods are compared on: their common replicates, where the run has it."""
    return getattr(run, "common", run.performance)


def comparison_words(run: Any, measure: str) -> str:
    """On which replicates a figure compares methods, as a sentence with a space before it; nothing where no one lacks
    any.
    """
    rows = common_of(run)
    rows = rows[rows["measure"] == measure]
    counts = behind_values(rows)
    if rows["method"].nunique() < 2 or counts.empty or int(counts.min()) >= int(rows["n_sim"].min()):
        return ""
    own = run.performance
    own = own[
        own["value"].notna()
        & own["measure"].isin([measure] if (own["measure"] == measure).any() else compared_by(measure))
    ]
    less = list(dict.fromkeys(own.loc[own["n"] < (1 - CONDITIONAL) * own["n_sim"], "method"].astype(str)))
    words = f" Methods are compared on the replicates that all of them have: {replicates(rows)}."
    if less:
        words += (
            f" More than {100 * CONDITIONAL:g}% are missing from {', '.join(less[:6])}: the comparison is "
            f"conditional on having an answer there."
        )
    return words
