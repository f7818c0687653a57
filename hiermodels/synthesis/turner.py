"""Informative priors of the heterogeneity of log odds ratios, by outcome and comparison.

Turner, Jackson, Wei, Thompson & Higgins (2015), Statistics in Medicine 34, 984-998, Table IV: what 14,886 meta-analyses
of the Cochrane Database say of tau^2 in a new one, as log-normal laws. They are laws of tau^2: for tau both numbers are
halved. (Rhodes et al. 2015 did the same for standardised mean differences; theirs are log-t laws, which are not on this
library's menu.)
"""

from __future__ import annotations

import difflib

__all__ = ["COMPARISONS", "OUTCOMES", "turner_prior"]

COMPARISONS = (
    "pharmacological vs placebo", "pharmacological vs pharmacological", "non-pharmacological vs placebo",
    "non-pharmacological vs pharmacological", "non-pharmacological vs non-pharmacological",
)  # fmt: skip
"""Placebo stands for any control."""

_GENERAL = (-2.56, 1.74)

# mean and sd of log tau^2, by comparison
_TABLE: dict[str, tuple[tuple[float, float], ...]] = {
    "all-cause mortality": ((-3.95, 1.34), (-4.18, 1.41), (-4.17, 1.55), (-2.92, 1.02), (-3.5, 1.26)),
    "obstetric outcome": ((-3.52, 1.74), (-3.75, 1.79), (-3.74, 1.91), (-2.49, 1.5), (-3.08, 1.68)),
    "major morbidity": ((-3.71, 1.74), (-3.95, 1.79), (-3.93, 1.91), (-2.68, 1.51), (-3.27, 1.68)),
    "resource use": ((-2.34, 1.74), (-2.58, 1.79), (-2.56, 1.91), (-1.31, 1.5), (-1.9, 1.68)),
    "device success": ((-2.14, 1.74), (-2.37, 1.79), (-2.36, 1.91), (-1.11, 1.5), (-1.69, 1.68)),
    "withdrawal": ((-2.99, 1.74), (-3.23, 1.79), (-3.21, 1.91), (-1.96, 1.51), (-2.55, 1.68)),
    "internal structure": ((-2.71, 1.74), (-2.94, 1.79), (-2.93, 1.92), (-1.67, 1.51), (-2.26, 1.68)),
    "general health": ((-2.29, 1.53), (-2.53, 1.58), (-2.51, 1.72), (-1.26, 1.25), (-1.85, 1.46)),
    "adverse event": ((-1.87, 1.52), (-2.1, 1.58), (-2.1, 1.71), (-0.84, 1.24), (-1.43, 1.45)),
    "infection": ((-2.49, 1.52), (-2.73, 1.58), (-2.71, 1.71), (-1.46, 1.24), (-2.05, 1.45)),
    "symptoms": ((-2.06, 1.51), (-2.29, 1.58), (-2.28, 1.71), (-1.03, 1.24), (-1.61, 1.45)),
    "pain": ((-1.83, 1.52), (-2.06, 1.58), (-2.05, 1.71), (-0.8, 1.25), (-1.38, 1.45)),
    "quality of life": ((-2.54, 1.54), (-2.78, 1.6), (-2.77, 1.73), (-1.51, 1.27), (-2.1, 1.47)),
    "mental health": ((-2.12, 1.53), (-2.35, 1.6), (-2.34, 1.72), (-1.09, 1.27), (-1.67, 1.47)),
    "biological marker": ((-1.77, 1.52), (-2, 1.58), (-1.99, 1.71), (-0.74, 1.24), (-1.33, 1.45)),
    "subjective outcome": ((-2.7, 1.52), (-2.93, 1.58), (-2.92, 1.71), (-1.67, 1.25), (-2.26, 1.45)),
}

OUTCOMES = tuple(_TABLE)


def turner_prior(outcome: str | None = None, comparison: str = COMPARISONS[0]) -> str:
    """A prior of tau for log odds ratios, as `hiermodels.meta` takes it.

    Parameters
    ----------
    outcome : str, optional
        One of `OUTCOMES`; None is the law of any outcome and comparison.
    comparison : str
        One of `COMPARISONS`.

    Raises
    ------
    ValueError
        For a name that is not on these lists.

    Examples
    --------
    >>> turner_prior("all-cause mortality"), turner_prior()
    ('log_normal(-1.975, 0.67)', 'log_normal(-1.28, 0.87)')
    """
    mean, sd = _GENERAL
    if comparison not in COMPARISONS:
        raise ValueError(f"comparison: {_unknown(comparison, COMPARISONS)}")
    if outcome is not None:
        if outcome not in _TABLE:
            raise ValueError(f"outcome: {_unknown(outcome, OUTCOMES)}")
        mean, sd = _TABLE[outcome][COMPARISONS.index(comparison)]
    return f"log_normal({mean / 2:g}, {sd / 2:g})"


def _unknown(word: object, words: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(str(word), words, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"the names are {', '.join(words)}"
    return f"no name {str(word)[:60]!r}; {hint}"
