"""Measures of effect: formulas of an estimate and its sampling variance.

Most measures of two arms are differences of a *term* of each arm (OR: of logits, RR: of log proportions, MD: of means),
whose variances add and whose control term is what effects with one control arm share. `TERMS` has these, `CONTRASTS`
the measures made of them, `WHOLE` the others.

With x events of n, x events in time t, mean m and standard deviation s of n:

| term | estimate | variance |
|---|---|---|
| PR | x / n | x (n - x) / n^3 |
| PLN | log(x / n) | 1 / x - 1 / n |
| PLO | log(x / (n - x)) | 1 / x + 1 / (n - x) |
| PAS | arcsin sqrt(x / n) | 1 / (4 n) |
| PFT | [arcsin sqrt(x / (n + 1)) + arcsin sqrt((x + 1) / (n + 1))] / 2 | 1 / (4 n + 2) |
| IR | x / t | x / t^2 |
| IRLN | log(x / t) | 1 / x |
| IRS | sqrt(x / t) | 1 / (4 t) |
| MN | m | s^2 / n |
| MNLN | log m | s^2 / (n m^2) |
| COR | r | (1 - r^2)^2 / (n - 1) |
| ZCOR | artanh r | 1 / (n - 3) |

Sources: Fleiss & Berlin 2009 (in Cooper, Hedges & Valentine, The Handbook of Research Synthesis and Meta-Analysis, 2nd
edition, chapter 13) for counts; Freeman & Tukey 1950, Annals of Mathematical Statistics 21, 607-611, for PFT; Rücker et
al. 2009, Statistics in Medicine 28, 721-738, for AS; Yusuf et al. 1985, Progress in Cardiovascular Diseases 27,
335-371, for PETO; Hedges 1981, Journal of Educational Statistics 6, 107-128, for SMD; Bonett 2009, Psychological
Methods 14, 225-238, for SMDH; Hedges, Gurevitch & Curtis 1999, Ecology 80, 1150-1156, for ROM; Fisher 1921, Metron 1,
3-32, for ZCOR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

__all__ = ["MEASURES", "Measure", "hedges_correction"]

Cells = Mapping[str, np.ndarray]
"""Columns by role: ``events n time mean sd correlation``, those of a control arm with ``control_`` before them."""

COUNTS, RATES, MEANS, PAIRS = ("events", "n"), ("events", "time"), ("mean", "sd", "n"), ("correlation", "n")


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes
    ----------
    name, meaning : str
        Its abbreviation, and what it is in words.
    roles : tuple of str
        What an arm (or the one sample) must give.
    two_arms : bool
        Whether there is a control arm, whose roles have ``control_`` before them.
    null : float or None
        The value of no effect; None where there is no such value.
    zeros : bool
        Whether zero cells are corrected by default.
    logarithm : bool
        Whether its exponential is what people report (a ratio).
    estimate : callable
        Cells to estimate, variance, and what the control arm adds to the variance (None where that is no sum).
    pooled_sd : bool
        Whether effects that share a control arm share an estimated sd too.
    counts : str
        Family whose link's scale the measure is a contrast or a value on; empty where there is none.
    """

    name: str
    meaning: str
    roles: tuple[str, ...]
    two_arms: bool
    null: float | None
    zeros: bool
    logarithm: bool
    estimate: Callable[[Cells], tuple[np.ndarray, np.ndarray, np.ndarray | None]]
    pooled_sd: bool = False
    counts: str = ""


def hedges_correction(df: np.ndarray) -> np.ndarray:
    """Factor that makes a standardised mean difference unbiased: J(m) = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)) (Hedges
    1981, eq. 6e).

    Examples
    --------
    >>> round(float(hedges_correction(np.array(10.0))), 6)  # about 1 - 3 / (4 m - 1)
    0.922746
    """
    return np.exp(gammaln(df / 2) - np.log(df / 2) / 2 - gammaln((df - 1) / 2))


def _freeman_tukey(c: Cells) -> tuple[np.ndarray, np.ndarray]:
    x, n = c["events"], c["n"]
    return (np.arcsin(np.sqrt(x / (n + 1))) + np.arcsin(np.sqrt((x + 1) / (n + 1)))) / 2, 1 / (4 * n + 2)


TERMS: dict[str, Callable[[Cells], tuple[np.ndarray, np.ndarray]]] = {
    "PR": lambda c: (c["events"] / c["n"], c["events"] * (c["n"] - c["events"]) / c["n"] ** 3),
    "PLN": lambda c: (np.log(c["events"] / c["n"]), 1 / c["events"] - 1 / c["n"]),
    "PLO": lambda c: (np.log(c["events"] / (c["n"] - c["events"])), 1 / c["events"] + 1 / (c["n"] - c["events"])),
    "PAS": lambda c: (np.arcsin(np.sqrt(c["events"] / c["n"])), 1 / (4 * c["n"])),
    "PFT": _freeman_tukey,
    "IR": lambda c: (c["events"] / c["time"], c["events"] / c["time"] ** 2),
    "IRLN": lambda c: (np.log(c["events"] / c["time"]), 1 / c["events"]),
    "IRS": lambda c: (np.sqrt(c["events"] / c["time"]), 1 / (4 * c["time"])),
    "MN": lambda c: (c["mean"], c["sd"] ** 2 / c["n"]),
    "MNLN": lambda c: (np.log(np.abs(c["mean"])), c["sd"] ** 2 / (c["n"] * c["mean"] ** 2)),
    "COR": lambda c: (c["correlation"], (1 - c["correlation"] ** 2) ** 2 / (c["n"] - 1)),
    "ZCOR": lambda c: (np.arctanh(c["correlation"]), 1 / (c["n"] - 3)),
}


def _sample(term: str) -> Callable[[Cells], tuple[np.ndarray, np.ndarray, None]]:
    return lambda cells: (*TERMS[term](cells), None)


def _difference(term: str) -> Callable[[Cells], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Term of the treated arm less that of the control arm."""

    def estimate(cells: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        there = {role.removeprefix("control_"): x for role, x in cells.items() if role.startswith("control_")}
        (a, va), (b, vb) = TERMS[term](cells), TERMS[term](there)
        return a - b, va + vb, vb

    return estimate


def _peto(c: Cells) -> tuple[np.ndarray, np.ndarray, None]:
    """(O - E) / V with the hypergeometric law's mean and variance of the treated arm's events."""
    n, m = c["n"], c["control_n"]
    total, events = n + m, c["events"] + c["control_events"]
    variance = n * m * events * (total - events) / (total**2 * (total - 1))
    return (c["events"] - n * events / total) / variance, 1 / variance, None


def _standardised(c: Cells) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """J (m1 - m2) / s with the pooled s; variance 1/n1 + 1/n2 + g^2 / (2 (n1 + n2))."""
    n, m = c["n"], c["control_n"]
    pooled = np.sqrt(((n - 1) * c["sd"] ** 2 + (m - 1) * c["control_sd"] ** 2) / (n + m - 2))
    g = hedges_correction(n + m - 2) * (c["mean"] - c["control_mean"]) / pooled
    return g, 1 / n + 1 / m + g**2 / (2 * (n + m)), 1 / m


def _standardised_unequal(c: Cells) -> tuple[np.ndarray, np.ndarray, None]:
    """g = J (m1 - m2) / s with s^2 the mean of the two variances; variance J^2 times Bonett's 2009 at g, as metafor
    has it.
    """
    n, m = c["n"], c["control_n"]
    v, w = c["sd"] ** 2, c["control_sd"] ** 2
    square, factor = (v + w) / 2, hedges_correction(n + m - 2)
    g = factor * (c["mean"] - c["control_mean"]) / np.sqrt(square)
    spread = g**2 * (v**2 / (n - 1) + w**2 / (m - 1)) / (8 * square**2)
    return g, factor**2 * (spread + (v / (n - 1) + w / (m - 1)) / square), None


_MENU = (
    Measure("OR", "log odds ratio", COUNTS, True, 0.0, True, True, _difference("PLO"), counts="binomial_logit"),
    Measure("RR", "log risk ratio", COUNTS, True, 0.0, True, True, _difference("PLN")),
    Measure("RD", "risk difference", COUNTS, True, 0.0, True, False, _difference("PR")),
    Measure("AS", "difference of arcsine-transformed risks", COUNTS, True, 0.0, False, False, _difference("PAS")),
    Measure("PETO", "log odds ratio by Peto's method", COUNTS, True, 0.0, True, True, _peto),
    Measure("IRR", "log incidence rate ratio", RATES, True, 0.0, True, True, _difference("IRLN"), counts="poisson_log"),
    Measure("IRD", "incidence rate difference", RATES, True, 0.0, True, False, _difference("IR")),
    Measure("IRSD", "difference of square roots of rates", RATES, True, 0.0, False, False, _difference("IRS")),
    Measure("MD", "mean difference", MEANS, True, 0.0, False, False, _difference("MN")),
    Measure("SMD", "standardised mean difference (Hedges' g)", MEANS, True, 0.0, False, False, _standardised, True),
    Measure(
        "SMDH", "standardised mean difference, unequal variances", MEANS, True, 0.0, False, False, _standardised_unequal
    ),
    Measure("ROM", "log ratio of means", MEANS, True, 0.0, False, True, _difference("MNLN")),
    Measure("PR", "proportion", COUNTS, False, None, True, False, _sample("PR")),
    Measure("PLN", "log proportion", COUNTS, False, None, True, True, _sample("PLN")),
    Measure("PLO", "log odds", COUNTS, False, None, True, True, _sample("PLO"), counts="binomial_logit"),
    Measure("PAS", "arcsine of the square root of a proportion", COUNTS, False, None, False, False, _sample("PAS")),
    Measure("PFT", "Freeman-Tukey double arcsine of a proportion", COUNTS, False, None, False, False, _sample("PFT")),
    Measure("IR", "incidence rate", RATES, False, None, True, False, _sample("IR")),
    Measure("IRLN", "log incidence rate", RATES, False, None, True, True, _sample("IRLN"), counts="poisson_log"),
    Measure("IRS", "square root of an incidence rate", RATES, False, None, False, False, _sample("IRS")),
    Measure("MN", "mean", MEANS, False, None, False, False, _sample("MN")),
    Measure("MNLN", "log mean", MEANS, False, None, False, True, _sample("MNLN")),
    Measure("COR", "correlation", PAIRS, False, 0.0, False, False, _sample("COR")),
    Measure("ZCOR", "Fisher's z of a correlation", PAIRS, False, 0.0, False, False, _sample("ZCOR")),
)

MEASURES: dict[str, Measure] = {m.name: m for m in _MENU}
"""The menu, by abbreviation."""
