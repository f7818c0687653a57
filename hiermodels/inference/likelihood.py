"""The outcome's law given the draws, row by row: log density, mean and standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.predict import expected, fitted_rows
from hiermodels.inference.rates import row_rates
from hiermodels.models.outcomes import log_density, row_law
from hiermodels.models.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fitted_laws", "log_likelihood"]


def fitted_laws(values: Mapping[str, Any], problem: Problem, frame: pd.DataFrame) -> Any:
    """Law of each fitted row's outcome given its groups' draws, as a frozen law of `scipy.stats`.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by variable, (chain, draw, *dims), real groups only.
    problem : Problem
    frame : DataFrame
        The rows that were fitted.

    Returns
    -------
    frozen law
        Its ``mean``, ``std`` and density broadcast to (chain, draw, row), on the outcome's own scale (counts, not
        shares).
    """
    rows, layout, data = fitted_rows(problem, len(frame)), problem.layout, problem.data
    weight, size = (np.asarray(a)[: len(frame)] for a in (data.weight, data.size))
    if layout.normal_groups:
        return row_law(layout, expected(values, problem, rows), values, weight, size)
    return layout.law.host_at_rate(row_rates(values, problem, rows), size)


def log_likelihood(values: Mapping[str, Any], problem: Problem, frame: pd.DataFrame) -> np.ndarray:
    """Log density of each row's outcome given its groups' draws; shape (chain, draw, row).

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    >>> fit = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", draws=10, progress=False)
    >>> log_likelihood(fit.draws.values, fit.problem, fit.data).shape
    (4, 10, 8)
    """
    law, y = fitted_laws(values, problem, frame), np.asarray(problem.data.y)[: len(frame)]
    return log_density(law, y)
