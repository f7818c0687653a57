"""Draws on the scale of the outcome's mean: probabilities and rates, odds ratios and rate ratios.

With a link g and normal groups, eta = g(mean), and q the 75% quantile of the standard normal law:

| quantity | on the link's scale | on the response scale |
|---|---|---|
| intercept, value of a group | eta | g^-1(eta): a probability, a rate |
| coefficient, slope of a group | b | exp(b): an odds ratio (logit), a rate ratio (log) |
| sd of intercepts or slopes | s | exp(sqrt(2) q s): median odds ratio, median rate ratio |

The last is the median, over two groups drawn at random, of the ratio of the higher to the lower (Larsen & Merlo 2005,
American Journal of Epidemiology 161, 81-88). Everything else, and every quantity under the identity, is what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hiermodels.families.link import Link
from hiermodels.models.layout import Layout
from hiermodels.quantities import INTERCEPT

__all__ = ["check_scale", "response_values"]

_MEDIAN = math.sqrt(2) * 0.6744897501960817
_ROLES = {"coefficient", "group value", "group sd", "population mean"}


def check_scale(scale: str) -> str:
    """Refuse a scale that is none.

    Raises
    ------
    ValueError
    """
    if scale not in ("link", "response"):
        raise ValueError(f"scale: expected 'link' or 'response', found {scale!r}; choose one")
    return scale


def response_values(values: Mapping[str, Any], layout: Layout) -> tuple[dict[str, Any], dict[str, str]]:
    """Draws on the response scale, and what each variable then is.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by name, as a fit holds them.
    layout : Layout

    Returns
    -------
    values : dict of str to ndarray
    words : dict of str to str
        ``probability``, ``odds ratio``, ``median odds ratio``, ...; empty for what is not transformed.
    """
    link: Link = layout.link
    found, words = dict(values), dict.fromkeys(values, "")
    if link.identity:
        return found, words
    mean, ratio = layout.law.response
    for name, x in values.items():
        asked = layout.quantities.get(name)
        if asked is None or asked.role not in _ROLES:
            continue
        if asked.kind == link.kind and asked.role != "group sd":  # beta and gamma populations live there already
            words[name] = mean
        elif asked.role == "group sd":
            found[name], words[name] = np.exp(_MEDIAN * x), f"median {ratio}"
        elif asked.effect == INTERCEPT:
            found[name], words[name] = link.host_inverse(np.asarray(x, float)), mean
        else:
            found[name], words[name] = np.exp(x), ratio
    return found, words
