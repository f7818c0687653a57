"""A fit in the words of its readers: on the response scale, and as answers to questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference import describe
from hiermodels.inference.comparisons import read_comparison
from hiermodels.inference.response import response_values
from hiermodels.models.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["probability", "response_summary"]


def response_summary(fit: Any, names: list[str], prob: float) -> pd.DataFrame:
    """See `hiermodels.Fit.summary`."""
    import pandas as pd

    values, words = _on_response(fit, {name: fit.draws.values[name] for name in names})
    named = describe.axes(values, fit.problem)
    moments = describe.moments_table(values, named, prob, fit.problem.missing_moments)
    table = pd.concat([moments, describe.convergence_table(values, named)], axis=1)
    table.loc[table["sd"].isna(), ["mcse_mean", "mcse_sd"]] = np.nan
    table["is"] = np.repeat([words[name] for name in values], [values[name][0, 0].size for name in values])
    return table


def _on_response(fit: Any, values: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if not isinstance(fit.problem, Problem):
        raise ValueError(
            "scale: expected a fit of hm.Model, found one of a function, whose scales only it knows; use scale='link'"
        )
    return response_values(values, fit.problem.layout)


def probability(fit: Any, text: str, scale: str) -> float | pd.DataFrame:
    """See `hiermodels.Fit.probability`."""
    import pandas as pd

    draws = fit.draws.values
    named = describe.axes(draws, fit.problem)
    scalars = {
        label: (name, i) for name, x in draws.items() for i, label in enumerate(describe.scalar_names({name: x}, named))
    }
    asked = read_comparison(text, [*scalars, *(name for name in draws if name not in scalars)])
    used = {name: draws[name] for name in dict.fromkeys(scalars[n][0] if n in scalars else n for n in asked.names)}
    if scale == "response":
        used = _on_response(fit, used)[0]
    values: dict[str, np.ndarray] = {}
    wide: dict[str, Any] = {}
    for name in asked.names:
        if name in scalars:
            of, i = scalars[name]
            values[name] = used[of].reshape(*used[of].shape[:2], -1)[..., i : i + 1]
        elif len(named[name]) > 1:
            raise ValueError(
                f"probability: {name} has {len(named[name])} labels per entry; name one, e.g. "
                f"{describe.scalar_names({name: draws[name]}, named)[-1]!r}"
            )
        else:
            values[name], (wide[name],) = used[name], named[name]
    groupings = {dimension: labels for dimension, labels in wide.values()}
    if len(groupings) > 1:
        raise ValueError(
            f"probability: {', '.join(wide)} have different groups ({', '.join(groupings)}); name one group of all "
            f"but one of them"
        )
    holds = asked.holds(values).astype(float)
    if not groupings:
        return float(holds.mean())
    ((dimension, labels),) = groupings.items()
    error = describe.convergence_table({"p": holds}, {"p": [(dimension, labels)]})["mcse_mean"].to_numpy()
    return pd.DataFrame({"probability": holds.mean((0, 1)), "mcse": error}, index=pd.Index(labels, name=dimension))
