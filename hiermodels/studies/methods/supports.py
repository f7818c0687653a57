"""Supports of a study's estimands: what estimates can be, and where a truth is on the edge."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hiermodels.studies.config import Study
from hiermodels.studies.config.stand_ins import stand_ins
from hiermodels.studies.methods.bound import mechanism_of
from hiermodels.studies.methods.fits import support_of
from hiermodels.studies.methods.ready import fit_of

if TYPE_CHECKING:
    from hiermodels.studies.store.results import Run

__all__ = ["supports_of", "supports_of_run"]


def supports_of(study: Study) -> dict[str, tuple[float, float]]:
    """Supports of the estimands that have bounds, by name; a posterior probability has none that is judged.

    Examples
    --------
    >>> from hiermodels.studies.config import read_config
    >>> supports_of(read_config("eight_schools"))
    {'sd_school': (0.0, inf)}
    """
    first = study.cells()[0]
    named = [name for name, m in study.methods.items() if m.declares and not callable(m.formula)]
    if callable(study.mechanisms.formula):
        return {}
    layouts = [
        mechanism_of(study, first).problem.layout,
        *(fit_of(study, first, name).problem.layout for name in named),
    ]
    found = {}
    for estimand in study.estimands:
        if estimand.kind in ("probability", "test"):
            continue
        lows, highs = zip(*(support_of(estimand.quantity, layout) for layout in layouts), strict=True)
        low, high = max(lows), min(highs)
        if math.isfinite(low) or math.isfinite(high):
            found[estimand.name] = (low, high)
    return found


def supports_of_run(run: Run) -> dict[str, tuple[float, float]]:
    """Supports of a run's estimands, of which a user's own functions know none."""
    try:
        return supports_of(Study.from_resolved(run.config, functions=stand_ins(run.config)))
    except ValueError:  # a study of before, which is refused today
        return {}
