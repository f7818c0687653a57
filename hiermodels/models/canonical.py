"""Layouts in names of their own: what programs are compiled for, so that equal shapes share programs whatever their
names.

Columns become ``column#1``, ``column#2``, ..., group terms ``group#1``, ``group#2``, ...; the constant column and the
parameters that belong to no column and no group keep their names. Every other name follows: ``sd_group#1_column#2``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from hiermodels.models.counts import count_tree, log_precision, precision
from hiermodels.models.layout import Layout, Parameter
from hiermodels.quantities import INTERCEPT, cor_name, mean_name, sd_name, theta_name

__all__ = ["Canonical", "canonical"]

_TOKEN = re.compile(r"(column|group)#(\d+)")


@dataclass(frozen=True)
class Canonical:
    """A layout in canonical names, and the way to and from the user's.

    Attributes
    ----------
    layout : Layout
        What programs are compiled for: no name of the user, no mark of where a prior came from.
    own : Layout
        In the user's names.
    """

    layout: Layout
    own: Layout

    def restore(self, text: str) -> str:
        """A canonical name, or a message that holds some, in the user's names."""

        def name(match: re.Match[str]) -> str:
            place = int(match[2]) - 1
            return self.own.columns[place] if match[1] == "column" else self.own.levels[place].name

        return _TOKEN.sub(name, text)

    def name(self, own: str) -> str:
        """Canonical name of a variable, an average over groups, a new group or a site."""
        return _forward(self).get(own, own)

    def group(self, own: str) -> str:
        """Canonical name of a group term."""
        place = next((i for i, level in enumerate(self.own.levels) if level.name == own), None)
        return own if place is None else self.layout.levels[place].name

    def names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A mapping by variable, keyed by canonical names."""
        return {self.name(key): value for key, value in values.items()}

    def restored(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A mapping by canonical name, keyed by the user's."""
        return {self.restore(key): value for key, value in values.items()}


@lru_cache(maxsize=256)
def canonical(layout: Layout) -> Canonical:
    """The layout in canonical names.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
    >>> [p.name for p in canonical(layout).layout.parameters], canonical(layout).restore("theta_group#1")
    (['Intercept', 'sd_group#1'], 'theta_school')
    """
    columns = {c: c if c == INTERCEPT else f"column#{i + 1}" for i, c in enumerate(layout.columns)}
    groups = {level.name: f"group#{i + 1}" for i, level in enumerate(layout.levels)}
    levels = tuple(replace(level, name=groups[level.name]) for level in layout.levels)
    found = replace(layout, columns=tuple(columns.values()), levels=levels)
    parameters = tuple(
        _renamed(p, found, columns.get(p.effect, p.effect), groups.get(p.owner, "")) for p in layout.parameters
    )
    return Canonical(replace(found, parameters=parameters), layout)


def _renamed(parameter: Parameter, layout: Layout, effect: str, owner: str) -> Parameter:
    names = {"coefficient": effect, "correlation": cor_name(owner), "population mean": mean_name(owner)}
    names["group sd"] = sd_name(owner, effect)
    name = precision(layout) if parameter.role == "concentration" else names.get(parameter.role, parameter.name)
    return replace(parameter, name=name, owner=owner, effect=effect, prior=parameter.inner, source="named", core=None)


@lru_cache(maxsize=256)
def _forward(names: Canonical) -> dict[str, str]:
    """The user's name of everything that a program takes, makes or is told by name: canonical name."""
    layout = names.layout
    thetas = [name for level in layout.levels for name in layout.effect_names(level)]
    if not layout.normal_groups:
        thetas += [theta_name(layout.levels[i].name, log_precision(layout)) for i in count_tree(layout).above]
    found = [p.name for p in layout.parameters] + thetas + [f"mean({name})" for name in thetas]
    for level in layout.levels:
        found += [f"new({level.name})", f"coef_{level.name}"]
    return {names.restore(name): name for name in found}
