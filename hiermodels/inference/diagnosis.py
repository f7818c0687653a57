"""Whether the draws can be trusted, as a table and in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.inference.advice import ESS_LIMIT, RHAT_LIMIT
from hiermodels.inference.draws import Draws

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BFMI_LIMIT", "Diagnosis", "diagnose", "energy_fractions"]

BFMI_LIMIT = 0.3
"""Estimated fraction of missing information below which momentum moves the energy too little."""


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What the diagnostics say of a fit.

    Attributes
    ----------
    table : DataFrame
        A row a check: ``value``, ``limit``, ``ok``, ``where`` (the scalar or chain with the worst value).
    status : str
        As `hiermodels.fit.Fit.status`.
    advice : tuple of str
        What to do, in sentences; empty where nothing is wrong.
    """

    table: pd.DataFrame
    status: str
    advice: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passes."""
        return bool(self.table["ok"].all())

    def __repr__(self) -> str:
        return f"Diagnosis(status={self.status!r}, ok={self.ok})"

    def __str__(self) -> str:
        shown = self.table.to_string(float_format="{:.4g}".format)
        said = [f"- {line}" for line in self.advice] or ["nothing to complain about"]
        return "\n".join([f"status: {self.status}", "", shown, "", *said])


def energy_fractions(energy: np.ndarray) -> np.ndarray:
    """Estimated Bayesian fraction of missing information of each chain.

        E-BFMI = mean of (E_t - E_(t-1))^2 / variance of E

    Betancourt (2016), arXiv 1604.00695, section 3.

    Parameters
    ----------
    energy : ndarray, shape (chain, draw)

    Returns
    -------
    ndarray, shape (chain,)

    Examples
    --------
    >>> import numpy as np
    >>> energy_fractions(np.array([[0.0, 1.0, 0.0, 1.0]])).round(3).tolist()
    [3.0]
    """
    energy = np.asarray(energy, float)
    return np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1, ddof=1)


def diagnose(
    draws: Draws, diagnostics: pd.DataFrame, status: str, warnings: tuple[str, ...], target_accept: float
) -> Diagnosis:
    """Every check that applies to these draws, with advice; see `hiermodels.fit.Fit.diagnose`."""
    import pandas as pd

    rows, advice = [_finite(draws.values)], list(warnings)
    stats = draws.stats
    if not draws.independent:  # independent draws have nothing to converge
        rows += _chains(diagnostics)
    if "diverging" in stats:
        rows.append(("divergences", float(np.sum(stats["diverging"])), 0.0, not np.any(stats["diverging"]), ""))
    if "energy" in stats:
        low = energy_fractions(np.asarray(stats["energy"]))
        worst = int(np.argmin(low))
        rows.append(("E-BFMI", float(low[worst]), BFMI_LIMIT, bool(low[worst] >= BFMI_LIMIT), f"chain {worst}"))
        if low[worst] < BFMI_LIMIT:
            advice.append(
                f"energy: E-BFMI down to {low[worst]:.2f} (below {BFMI_LIMIT}), so the chains move slowly between "
                f"the body of the posterior "
                "and its tails; use marginalize=True or centred=False, or give scale parameters priors with lighter "
                "tails"
            )
    if "reached_max_treedepth" in stats:
        share = float(np.mean(stats["reached_max_treedepth"]))
        rows.append(("longest trajectories", share, 0.01, share <= 0.01, ""))
        if share > 0.01:
            advice.append(
                f"trajectories: {share:.0%} were stopped at their greatest length, which is slow but not wrong; "
                f"standardise the predictors, "
                f"or lower target_accept below {target_accept:g}"
            )
    columns = ["check", "value", "limit", "ok", "where"]
    return Diagnosis(pd.DataFrame(rows, columns=columns).set_index("check"), status, tuple(advice))


Row = tuple[str, float, float, bool, str]


def _finite(values: Mapping[str, Any]) -> Row:
    bad = [name for name, x in values.items() if not np.isfinite(x).all()]
    return "variables with draws that are not finite", float(len(bad)), 0.0, not bad, bad[0] if bad else ""


def _chains(table: pd.DataFrame) -> list[Row]:
    found: list[Row] = []
    for word, column, limit in (
        ("R-hat", "r_hat", RHAT_LIMIT),
        ("bulk ESS", "ess_bulk", ESS_LIMIT),
        ("tail ESS", "ess_tail", ESS_LIMIT),
    ):
        known = table[column].dropna()
        if known.empty:
            continue
        high = column == "r_hat"
        where = str(known.idxmax() if high else known.idxmin())
        value = float(known.max() if high else known.min())
        found.append((word, value, limit, value <= limit if high else value >= limit, where))
    return found
