"""Is this one fit to be trusted, and what to do if not: a status word and plain sentences.

Stricter than a study, whose many short fits are flagged at `hiermodels.inference.summaries`' limits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hiermodels.inference import samplers
from hiermodels.inference.draws import STATUS, Draws
from hiermodels.inference.settings import Settings
from hiermodels.models.factorise import factorise
from hiermodels.models.problem import Problem
from hiermodels.models.user import UserModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ESS_LIMIT", "RHAT_LIMIT", "judge"]

RHAT_LIMIT = 1.01
"""R-hat above which chains disagree (Vehtari et al. 2021, section 4)."""
ESS_LIMIT = 400.0
"""Effective sample size below which diagnostics and quantiles are rough (same place)."""


def judge(
    draws: Draws, diagnostics: pd.DataFrame, problem: Problem | UserModel, settings: Settings
) -> tuple[str, tuple[str, ...]]:
    """Worst status of a fit, and every warning with its remedy.

    Parameters
    ----------
    draws : Draws
        NumPy arrays.
    diagnostics : DataFrame
        From `hiermodels.inference.describe.convergence_table`.
    problem : Problem or UserModel
        What was fitted; its own warnings and missing moments are passed on.
    settings : Settings

    Returns
    -------
    status : str
        One of `hiermodels.inference.draws.STATUS`.
    warnings : tuple of str
    """
    found: list[tuple[str, str]] = []
    bad = [name for name, x in draws.values.items() if not np.isfinite(x).all()]
    if bad:
        found.append(
            (
                "nonfinite",
                f"{_few(bad)}: some draws are not finite; {_against_overflow(draws, bad[0])}",
            )
        )
    divergences = int(np.sum(draws.stats.get("diverging", 0)))
    if divergences:
        total = settings.chains * settings.draws
        remedy = _against_divergences(problem, settings)
        found.append(("divergent", f"{divergences} of {total} draws diverged, so regions may be missing; {remedy}"))
    if not draws.independent:  # draws without a chain have nothing to converge
        found += _chains(diagnostics, settings)
    status = max((word for word, _ in found), key=STATUS.index, default="ok")
    of_model = (*problem.warnings, *_moments(problem)) if isinstance(problem, Problem) else ()
    return status, (*(text for _, text in found), *of_model)


def _against_overflow(draws: Draws, name: str) -> str:
    if np.asarray(draws.values[name]).dtype == np.float32:
        return "use precision='float64'"
    return (
        "name proper priors of the group sds, e.g. half_normal(...), or rescale the outcome, if it is near 1e-150 "
        "or 1e150"
    )


def _chains(diagnostics: pd.DataFrame, settings: Settings) -> list[tuple[str, str]]:
    found = []
    better = samplers.of(settings).instead()
    if settings.chains < 2:
        found.append(("ok", "one chain alone cannot show whether chains agree (no R-hat); use chains=4"))
    high = diagnostics["r_hat"] > RHAT_LIMIT
    if high.any():
        worst = diagnostics["r_hat"].max()
        found.append(
            (
                "rhat",
                f"{_few(diagnostics.index[high])}: R-hat up to {worst:.3f} (above {RHAT_LIMIT}), the chains "
                f"disagree; use more warm-up and draws, e.g. tune={2 * max(settings.tune, 500)}, "
                f"draws={2 * settings.draws}{better}",
            )
        )
    ess = diagnostics[["ess_bulk", "ess_tail"]].min(axis=1)
    low = ess < ESS_LIMIT
    if low.any():
        times = int(np.ceil(ESS_LIMIT / max(float(ess.min()), 1.0)))
        found.append(
            (
                "low_ess",
                f"{_few(diagnostics.index[low])}: effective sample size down to {ess.min():.0f} (below "
                f"{ESS_LIMIT:.0f}), so intervals are rough; use more draws, e.g. "
                f"draws={settings.draws * min(max(times, 2), 20)}{better}",
            )
        )
    return found


def _against_divergences(problem: Problem | UserModel, settings: Settings) -> str:
    ways = []
    if isinstance(problem, Problem) and not (settings.marginalize and _factorises(problem)):
        ways += ["use marginalize=True"] if _factorises(problem) else []
        ways += ["use centred=False (non-centred)"] if settings.centred is True else []
        ways += ["use centred='auto'"] if settings.centred is False and problem.layout.normal_groups else []
    ways.append(f"raise target_accept, e.g. to {0.95 if settings.target_accept < 0.95 else 0.99}")
    return ", or ".join(ways)


def _factorises(problem: Problem) -> bool:
    try:
        factorise(problem.layout)
    except ValueError:
        return False
    return True


def _moments(problem: Problem) -> list[str]:
    found = []
    new = {q.name for q in problem.layout.quantities.values() if q.role == "new group"}
    for lost, words in (("mean", "mean and sd do not exist"), ("sd", "sd does not exist")):
        names = [name for name, moment in problem.missing_moments.items() if moment == lost and name not in new]
        if names:
            found.append(
                f"{', '.join(names)}: the posterior {words} under these priors with this many groups; read "
                f"the median and the interval, or use a proper prior with a light tail, e.g. half_normal(...)"
            )
    return found


def _few(names: object) -> str:
    """At most three names, then a count."""
    listed = [str(n) for n in names]  # type: ignore[attr-defined]
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")
