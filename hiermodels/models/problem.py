"""A model that has met its data, and the data as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from hiermodels.models.declaration import Declaration
from hiermodels.models.groupings import Grouping
from hiermodels.models.layout import Layout
from hiermodels.models.scales import Scales
from hiermodels.models.tree import Tree

__all__ = ["Data", "Problem", "as_jax"]


class Data(eqx.Module):
    """One dataset as arrays: NumPy on the host, JAX inside programs.

    Attributes
    ----------
    y : Array, shape (obs,)
        Outcome; 0 at padded rows.
    x : Array, shape (obs, column)
        Design matrix; columns as ``Layout.columns``.
    weight : Array, shape (obs,)
        Precision weight of a row: 1 / se^2 where known, else the given weight; 0 at padded rows.
    size : Array, shape (obs,)
        Trials or exposure of counts, else 1; 0 at padded rows.
    group : tuple of Array, each (obs,)
        Padded group index of each row, a level each.
    parent : tuple of Array, each (group,)
        Padded index of the group's parent one level up.
    real : tuple of Array, each (group,)
        False for padding.
    twin : tuple of Array, each (group,)
        Kind of each group's design, where the layout counts such kinds (`hiermodels.models.twins`).
    cells : Cells or None
        Where rows and groups lie in the layout's sheets, where it has such (`hiermodels.models.cells`).
    units : Units or None
        How programs centre and scale the design, and where priors stand (`hiermodels.models.units`); None where they
        leave all as it is.
    """

    y: Any
    x: Any
    weight: Any
    size: Any
    group: tuple[Any, ...]
    parent: tuple[Any, ...]
    real: tuple[Any, ...]
    twin: tuple[Any, ...] = ()
    units: Any = None
    cells: Any = None


@dataclass(frozen=True)
class Problem:
    """A model that has met its data.

    Attributes
    ----------
    model : Declaration
    pooling : dict of str to str
        Level name to word.
    layout : Layout
    data : Data
        NumPy arrays; a program moves them to its device.
    labels : dict of str to list of str
        Level name to printed group labels, in the order of every result.
    positions : dict of str to ndarray
        Level name to the padded index of each label.
    missing_moments : dict of str to str
        ``"mean"`` or ``"sd"`` of which variables does not exist: variable -> ``mean`` or ``sd`` (``mean`` implies
        both).
    warnings : tuple of str
    groupings : dict of str to Grouping
        Level name to its columns and the labels' values.
    scales : Scales
        What default priors and programs take from predictors, known errors, weights and exposures.
    """

    model: Declaration
    pooling: dict[str, str]
    layout: Layout
    data: Data
    labels: dict[str, list[str]]
    positions: dict[str, np.ndarray]
    missing_moments: dict[str, str]
    warnings: tuple[str, ...]
    groupings: dict[str, Grouping]
    scales: Scales = field(default_factory=Scales)

    @cached_property
    def tree(self) -> Tree:
        """The tree of the real groups, in the order of their labels; rows' groups include those of padded rows."""
        layout, data = self.layout, self.data
        places = [self.positions[level.name] for level in layout.levels]
        levels = tuple(
            replace(level, size=len(at), width=None) for level, at in zip(layout.levels, places, strict=True)
        )
        parent = []
        for level, at, up in zip(layout.levels, places, data.parent, strict=True):
            owner = np.asarray(up)[at]
            parent.append(np.searchsorted(places[level.parent], owner) if level.parent >= 0 else np.zeros(len(at), int))
        group = tuple(np.searchsorted(at, np.asarray(g)) for at, g in zip(places, data.group, strict=True))
        return Tree(levels, tuple(parent), tuple(np.ones(len(at), bool) for at in places), group)

    def with_outcome(self, y: np.ndarray | Array) -> Data:
        """The same design with another outcome; y has shape (rows,), padding is added here."""
        padded = np.zeros(self.layout.obs)
        padded[: len(y)] = y
        return eqx.tree_at(lambda d: d.y, self.data, padded)


def as_jax(data: Data) -> Data:
    """The same dataset with its arrays on the default device, in the precision in force."""

    def move(a: Any) -> Array:
        a = np.asarray(a)
        return jnp.asarray(a, dtype=jnp.result_type(float)) if a.dtype.kind == "f" else jnp.asarray(a)

    return jax.tree.map(move, data)
