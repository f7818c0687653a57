"""A declaration without data: what the formula alone says."""

from __future__ import annotations

from dataclasses import replace

from hiermodels.families import lookup
from hiermodels.models import data, defaults, standing
from hiermodels.models.declaration import Declaration
from hiermodels.models.declared import declared_layout
from hiermodels.models.layout import Layout, Parameter
from hiermodels.models.moves import find_moves, written
from hiermodels.quantities import INTERCEPT

__all__ = ["sketch"]


def sketch(model: Declaration) -> tuple[Layout, dict[str, str]]:
    """The layout that the formula alone implies, and the rules of priors that wait for data."""
    family, layout = lookup(model.family), declared_layout(model)
    wanted = data.wanted_quantities(family, layout)
    layout = replace(layout, origin=tuple(c for c in layout.population if layout.columns[c] == INTERCEPT))
    layout = replace(layout, moves=find_moves(layout, standing.unmeasured(layout), written(layout, model.prior)))
    named, rules, found = defaults.expand_joint(model.prior, family, [q.name for q in wanted]), {}, []
    for quantity in wanted:
        if quantity.name in named:
            found.append(Parameter.of(quantity, named[quantity.name]))
            continue
        prior = defaults.default_prior(quantity, layout)
        found.append(Parameter.of(quantity, prior, "default", prior))
        if rule := standing.per_unit(model, layout, found[-1]):
            rules[quantity.name] = rule
    return replace(layout, parameters=tuple(found)), rules
