"""Families: distribution of an outcome given its group's value, link and conjugate population law.

| family | outcome given theta | population law of theta | integrates out |
|---|---|---|---|
| `normal` | N(theta + predictors, se^2 or sigma^2) | normal, any depth, slopes too | every level and the coefficients |
| `binomial` | Binomial(trials, theta) | Beta(mean kappa, (1 - mean) kappa) | the finest level |
| `poisson` | Poisson(exposure theta) | Gamma(shape, shape / mean) | the finest level |
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

__all__ = ["binomial", "normal", "poisson"]


@dataclass(frozen=True)
class Family:
    """What a family needs from the data and which law its groups follow.

    Attributes
    ----------
    name : str
    link : str
        Scale on which predictors act: ``identity``, ``logit`` or ``log``.
    conjugate : str
        Law of the group values that integrates out: ``normal``, ``beta`` or ``gamma``.
    precision : str
        Name stem of the population's concentration: ``sd``, ``kappa`` or ``shape``.
    columns : tuple of str
        Arguments of `hiermodels.Model` that apply; those that must be there are in ``needs``.
    """

    name: str
    link: str
    conjugate: str
    precision: str
    columns: tuple[str, ...]
    needs: tuple[str, ...] = ()


normal = Family("normal", "identity", "normal", "sd", ("known_se", "weights"))
binomial = Family("binomial", "logit", "beta", "kappa", ("trials",), ("trials",))
poisson = Family("poisson", "log", "gamma", "shape", ("exposure",))


def lookup(name: str) -> Family:
    """Family of this name; a misspelt one is answered with the nearest right one.

    Raises
    ------
    ValueError

    Examples
    --------
    >>> lookup("poisson").link
    'log'
    """
    if isinstance(name, str) and name in __all__:
        return globals()[name]
    near = difflib.get_close_matches(str(name), __all__, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(__all__)}"
    raise ValueError(f"family: unknown family {name!r}; {hint}")
