"""Supports of a study's estimands: what estimates can be, and where a truth is on the edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hiermodels.models.problem import Problem
from hiermodels.studies.config import Study
from hiermodels.studies.config.stand_ins import stand_ins
from hiermodels.studies.methods.ready import Fit, fit_of, mechanism_of

if TYPE_CHECKING:
    from hiermodels.models.layout import Layout
    from hiermodels.studies.store.results import Run

__all__ = ["support_of", "supports_of", "supports_of_run", "supports_of_targets"]

def support_of(variable: str, layout: Layout) -> tuple[float, float]:
    """Least and largest value of a variable, by its role: a parameter, ``theta_...``, ``mean(theta_...)`` or ``new(...)``."""
    found = layout.quantities.get(variable)
    return (-math.inf, math.inf) if found is None else found.support


def supports_of(study: Study) -> dict[str, tuple[float, float]]:
    """Supports of the estimands that have bounds, by name; a posterior probability has none that is judged.

    Examples
    --------
    >>> from hiermodels.studies.config import read_config
    >>> supports_of(read_config("eight_schools"))
    {'sd_school': (0.0, inf)}
    """
    first = study.cells()[0]
    named = [name for name, m in study.methods.items() if m.kind in ("posterior", "estimator") and not callable(m.formula)]
    if callable(study.mechanisms.formula):
        return {}
    layouts = [mechanism_of(study, first).problem.layout, *(fit_of(study, first, name).problem.layout for name in named)]
    found = {}
    for estimand in study.estimands:
        if estimand.kind in ("probability", "test"):
            continue
        variable = estimand.variable if estimand.kind == "value" else f"{estimand.kind}({estimand.variable})"
        low, high = (pick(ends) for pick, ends in zip((max, min), zip(*(support_of(variable, layout) for layout in layouts), strict=True), strict=True))
        if math.isfinite(low) or math.isfinite(high):
            found[estimand.name] = (low, high)
    return found


def supports_of_targets(fit: Fit) -> NDArray[np.float64]:
    """Support of each real target, shape (target, 2); a posterior probability lies between 0 and 1."""
    rows: list[tuple[float, float]] = []
    for target, (_, labels) in zip(fit.targets, fit.names, strict=True):
        own = not isinstance(fit.problem, Problem)
        ends = (0.0, 1.0) if target.threshold is not None or target.rows else (-math.inf, math.inf) if own else support_of(target.variable, fit.problem.layout)
        rows += [ends] * len(labels)
    return np.array(rows, float).reshape(-1, 2)


def supports_of_run(run: Run) -> dict[str, tuple[float, float]]:
    """Supports of a run's estimands, of which a user's own functions know none."""
    try:
        return supports_of(Study.from_resolved(run.config, functions=stand_ins(run.config)))
    except ValueError:  # a study of before, which is refused today
        return {}
