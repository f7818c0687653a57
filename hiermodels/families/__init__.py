"""Families: distribution of an outcome given its group's value, link and law of the groups.

A conjugate family (`Family.conjugate`) has groups that integrate out of its likelihood: all levels of a normal outcome,
the finest of beta and gamma populations. The others have normal groups on the scale of their link: one grouping of one
varying coefficient integrates out by quadrature where the family allows it; else NUTS moves on everything.

The menu: a family is a class in a file of its own under ``laws/`` and one line here.
"""

from __future__ import annotations

import difflib

from hiermodels.families.family import Family
from hiermodels.families.laws.bernoulli import Bernoulli
from hiermodels.families.laws.bernoulli_logit import BernoulliLogit
from hiermodels.families.laws.beta import Beta
from hiermodels.families.laws.binomial import Binomial
from hiermodels.families.laws.binomial_logit import BinomialLogit
from hiermodels.families.laws.exponential import Exponential
from hiermodels.families.laws.exponential_log import ExponentialLog
from hiermodels.families.laws.gamma import Gamma
from hiermodels.families.laws.negative_binomial import NegativeBinomial
from hiermodels.families.laws.normal import Normal
from hiermodels.families.laws.poisson import Poisson
from hiermodels.families.laws.poisson_log import PoissonLog
from hiermodels.families.laws.student_t import StudentT

MENU: dict[str, Family] = {
    law.name: law() for law in list(vars().values()) if isinstance(law, type) and issubclass(law, Family) and law.name
}
"""Every family by its name."""

__all__ = sorted(MENU)


def __getattr__(name: str) -> Family:
    if name in MENU:
        return MENU[name]
    raise AttributeError(f"module 'hiermodels.families' has no attribute {name!r}")


_KNOWN_AS = {
    "gaussian": "it is called 'normal' here",
    "t": "it is called 'student_t' here",
    "student": "it is called 'student_t' here",
    "beta_binomial": "it is called 'binomial' here: groups have a beta law",
    "gamma_poisson": "it is called 'poisson' here: groups have a gamma law",
    "negbinomial": "it is called 'negative_binomial' here",
    "nbinom": "it is called 'negative_binomial' here",
    "logistic": "it is called 'bernoulli_logit' here ('binomial_logit' with trials)",
    "lognormal": "take logarithms of the outcome and use 'normal'",
    "inverse_gaussian": "'gamma' is nearest, or write a NumPyro function",
    "weibull": "'exponential_log' and 'gamma' are nearest, or write a NumPyro function",
    "cox": "survival times are not there: write a NumPyro function",
    "ordinal": "ordered categories are not there: write a NumPyro function, or 'bernoulli_logit' for one cut",
    "cumulative": "ordered categories are not there: write a NumPyro function, or 'bernoulli_logit' for one cut",
    "categorical": (
        "several categories are not there: write a NumPyro function, or 'bernoulli_logit' for one against the rest"
    ),
    "multinomial": (
        "several categories are not there: write a NumPyro function, or 'binomial_logit' for one against the rest"
    ),
    "zero_inflated_poisson": "zero inflation is not there: 'negative_binomial' is nearest, or write a NumPyro function",
    "hurdle_poisson": "zero inflation is not there: 'negative_binomial' is nearest, or write a NumPyro function",
}


def integrated(kernel: str) -> list[str]:
    """Families of the same outcome whose groups integrate out of the likelihood, for one whose normal groups stay
    explicit.

    Examples
    --------
    >>> integrated("poisson_log"), integrated("student_t")
    (['poisson'], [])
    """
    found = [law for law in MENU.values() if law.linked and MENU[law.linked].kernel == kernel]
    return [law.name for law in sorted(found, key=lambda law: bool(law.twin))]


def lookup(name: str) -> Family:
    """Family of this name; a misspelt or absent one is answered with the nearest way on.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> lookup("poisson").link.name
    'log'
    """
    if isinstance(name, str) and name in MENU:
        return MENU[name]
    menu = f"use one of {', '.join(__all__)}"
    known = _KNOWN_AS.get(str(name).lower().replace(" ", "_").replace("-", "_"))
    near = difflib.get_close_matches(str(name), __all__, 1)
    hint = f"{known}; {menu}" if known else f"did you mean {near[0]!r}?" if near else menu
    raise ValueError(f"family: unknown family {name!r}; {hint}")
