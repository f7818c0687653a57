"""What the models of a study name: roles and supports of its parameters, group values and estimands, before there are
data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from hiermodels.models.names import declared, find
from hiermodels.quantities import Quantity
from hiermodels.studies.config.mechanisms import Declared
from hiermodels.studies.config.texts import Estimand

__all__ = ["find", "parameters", "quantities_of", "with_point"]


def quantities_of(part: Declared) -> dict[str, Quantity]:
    """Every quantity of a mechanism's or a method's formula, by name; nothing of a NumPyro function.

    Examples
    --------
    >>> from hiermodels.studies.config import read_config
    >>> [name for name, q in quantities_of(read_config("eight_schools").mechanisms).items() if q.role == "group sd"]
    ['sd_school']
    """
    if callable(part.formula):
        return {}
    return _declared(part.declaration())


_declared = lru_cache(maxsize=256)(declared)


def parameters(known: Mapping[str, Quantity]) -> list[str]:
    """Names that a truth or a prior can have, group values left out."""
    return [name for name, q in known.items() if q.role not in ("group value", "mean of groups", "new group")]


def with_point(estimand: Estimand, known: Mapping[str, Quantity]) -> Estimand:
    """An estimand whose point estimate is settled: the median of sds and concentrations, else the mean."""
    if estimand.point is not None:
        return estimand
    quantity = find(known, estimand.variable) if estimand.kind == "value" else None
    return replace(estimand, point="median" if quantity is not None and quantity.spread else "mean")
