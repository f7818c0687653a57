"""Rank within a level: what the groups of some terms can follow, less what the population's coefficients can.

Write X for the columns with flat coefficients (those of unpooled groups too) and Z_l for the columns of a group term's
effect: the effect's values, one column for each group; sigma's are one for each row. With y = X b + sum of s_l Z_l u_l,
let the sds of a set S grow together, s_l = t c_l, the others fixed. With b integrated out,

    log p(y | s) = -rho(S) log t + O(1),    rho(S) = rank [X, Z_S] - rank X,

since |V| grows as t^(2 rank Z_S) and |X'V^-1 X| falls as t^(-2 d), d = dim(span X n span Z_S), and the quadratic form
converges. Along s_l = t^a_l the exponents are linear in a wherever the order of a is fixed, so the cones' corners
decide, which are the indicators of sets S: **the posterior is proper at infinity iff E(S) < rho(S) for every set S**,
E(S) the sum of e_l + 1 over S, where prior l falls as s^e_l; and E[s_l^r | y] exists iff E(S) + r < rho(S) for every S
that has l. A linear function of coefficients and group values has variance t^2 where it is not estimable once Z_S has
coefficients of its own, else O(1): its moments ask for the same for those S. Where S holds sigma, rho is rows - rank X
and nothing is estimable.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from functools import cached_property
from typing import NamedTuple

import numpy as np

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.units import inner_design
from hiermodels.priors import Prior
from hiermodels.quantities import sd_name

__all__ = ["ROWS", "Scale", "Set", "Spans", "scales"]

ROWS = -1
"""In place of a level: the scale is sigma."""
_SMALL = 1e-9
"""Share of its length below which a column counts as a combination of others."""
_BLOCK = 8192
_MOST_SETS = 12
"""Scales with a heavy tail of which all sets are looked at; of more, sets of up to three."""

Set = frozenset[int]
"""Places in a list of scales."""


class Scale(NamedTuple):
    """A standard deviation: its prior, the level and the column of the design whose coefficient it spreads, and its
    units.
    """

    name: str
    prior: Prior
    level: int
    effect: int
    units: int
    unit: str


def scales(layout: Layout, data: Data) -> list[Scale]:
    """Every standard deviation, coarse to fine, rows last."""
    there = np.asarray(data.weight) > 0
    found = []
    for i, level in enumerate(layout.levels):
        for e in level.effects if level.pooling == "partial" else ():
            name = sd_name(level.name, layout.columns[e])
            units = _count(np.asarray(data.group[i])[there & (np.asarray(data.x[:, e]) != 0)])
            found.append(Scale(name, layout.parameter(name).prior, i, e, units, (f"{level.name} groups")))  # type: ignore[union-attr]
    sigma = layout.residual_sd
    if sigma is not None:
        found.append(Scale(sigma.name, sigma.prior, ROWS, ROWS, int(there.sum()), "rows"))
    return found


class Spans:
    """Ranks of one design.

    Parameters
    ----------
    layout : Layout
    data : Data
        NumPy arrays.
    columns : collection of int
        Population columns that count as X; the columns of unpooled groups do as well.
    """

    def __init__(self, layout: Layout, data: Data, columns: Collection[int]) -> None:
        self.layout, self.columns = layout, tuple(columns)
        rows = np.flatnonzero(np.asarray(data.weight) > 0)
        self.x = np.asarray(inner_design(layout, data), float)[rows]
        length = np.linalg.norm(self.x, axis=0)
        self.length = np.where(length > 0, length, 1.0)
        self.x = self.x / self.length
        self.group = [np.asarray(g)[rows] for g in data.group]
        self.parent = [np.asarray(p) for p in data.parent]
        self.scales = scales(layout, data)
        self.inward = np.eye(len(layout.columns)) if data.units is None else np.asarray(data.units.inward)
        self.unpooled = [
            (i, e) for i, level in enumerate(layout.levels) if level.pooling == "none" for e in level.effects
        ]
        self._triangles: dict[Set, np.ndarray] = {}

    @property
    def rank(self) -> int:
        """Rank of X."""
        return _rank(self._triangle(frozenset()))

    # exponents --------------------------------------------------------------------------------------------

    @cached_property
    def sets(self) -> list[Set]:
        """Sets of scales that can grow together: none of them with a tail lighter than any power."""
        heavy = [i for i, s in enumerate(self.scales) if s.prior.moment_tail() > -math.inf]
        most = len(heavy) if len(heavy) <= _MOST_SETS else 3
        return [frozenset(c) for size in range(1, most + 1) for c in itertools.combinations(heavy, size)]

    def exponent(self, some: Set) -> float:
        """E(S): the prior's exponent along S, the measure's included.

        A prior in units of sigma falls as sigma^df s^-(df + 1) above it and as 1 / sigma below it.
        """
        rows = any(self.scales[i].level == ROWS for i in some)
        total = 0.0
        for i, scale in enumerate(self.scales):
            if scale.prior.unit is None:
                total += scale.prior.moment_tail() + 1 if i in some else 0.0
            elif not rows:
                total -= scale.prior.unit_power if i in some else 0.0
            else:
                total -= 0.0 if i in some else 1.0
        return total

    def fall(self, some: Set, enough: float) -> int:
        """rho(S), or a lower bound of it that is more than ``enough``."""
        taken = len(self.columns) + sum(_count(self.group[i]) for i, _ in self.unpooled)
        bound = max(self.scales[i].units for i in some) - taken
        if bound > enough:
            return bound
        if any(self.scales[i].level == ROWS for i in some):
            return len(self.x) - self.rank
        width = self._triangle(frozenset()).shape[1]
        whole = self._triangle(some)
        return _rank(whole) - _rank(whole[:, :width])

    def taken(self, some: Set) -> int:
        """Dimensions of what the units of S can follow that the coefficients can follow as well."""
        units = max(self.scales[i].units for i in some)
        return max(0, units - self.fall(some, math.inf))

    # estimability -----------------------------------------------------------------------------------------

    def unsteady(self, some: Set, functions: np.ndarray) -> bool:
        """Whether a linear function of X's coefficients and S's group values is not estimable; of several, whether any
        is not.

        Parameters
        ----------
        functions : ndarray, shape (function, column)
            Of the columns of [X, Z_S], as `coefficient` and `group_value` give them.
        """
        if any(self.scales[i].level == ROWS for i in some):
            return True
        _, values, rows = np.linalg.svd(self._triangle(some), full_matrices=False)
        kept = rows[values > _SMALL * values[0]] if len(values) else rows
        left = functions - functions @ kept.T @ kept
        return bool(np.any(np.linalg.norm(left, axis=1) > 1e-6 * np.linalg.norm(functions, axis=1)))

    def coefficient(self, some: Set, c: int) -> np.ndarray:
        """The population's coefficient of column c as the user sees it, as a function of the columns of [X, Z_S];
        shape (1, column).
        """
        return self._population(some, c)[None]

    def group_value(self, some: Set, i: int, e: int) -> np.ndarray:
        """Values of level i's groups for column e; shape (group, column)."""
        groups = np.unique(self.group[i])
        found = np.tile(self._population(some, e), (len(groups), 1))
        starts = self._starts(some)
        owners = groups
        for level in self.above(i):
            for effect in self.layout.levels[level].effects:
                start = starts.get((level, effect))
                if start is not None:
                    place = start + np.searchsorted(np.unique(self.group[level]), owners)
                    found[np.arange(len(groups)), place] = self.inward[e, effect] / self.length[effect]
            owners = self.parent[level][owners]
        return found

    def above(self, i: int) -> tuple[int, ...]:
        """Level i and those in which it nests, fine to coarse."""
        found = []
        while i >= 0:
            found.append(i)
            i = self.layout.levels[i].parent
        return tuple(found)

    def _population(self, some: Set, c: int) -> np.ndarray:
        found = np.zeros(self._triangle(some).shape[1])
        for place, column in enumerate(self.columns):
            found[place] = self.inward[c, column] / self.length[column]
        return found

    # columns ----------------------------------------------------------------------------------------------

    def _terms(self, some: Set) -> list[tuple[int, int]]:
        """Levels and effects whose groups have columns of their own: unpooled ones, then those of S."""
        return [
            *self.unpooled,
            *((self.scales[i].level, self.scales[i].effect) for i in sorted(some) if self.scales[i].level != ROWS),
        ]

    def _starts(self, some: Set) -> dict[tuple[int, int], int]:
        start, found = len(self.columns), {}
        for i, e in self._terms(some):
            found[i, e] = start
            start += len(np.unique(self.group[i]))
        return found

    def _triangle(self, some: Set) -> np.ndarray:
        """R of the QR of [X, Z_S], of columns of about unit length: its rank and row space, whatever the number of
        rows.
        """
        if some not in self._triangles:
            codes = {i: np.unique(self.group[i], return_inverse=True) for i, _ in self._terms(some)}
            width = len(self.columns) + sum(len(codes[i][0]) for i, _ in self._terms(some))
            found = np.zeros((0, width))
            for start in range(0, len(self.x), _BLOCK):
                block = slice(start, start + _BLOCK)
                parts = [self.x[block][:, list(self.columns)]]
                for i, e in self._terms(some):
                    part = np.zeros((len(self.x[block]), len(codes[i][0])))
                    part[np.arange(len(part)), codes[i][1][block]] = self.x[block, e]
                    parts.append(part)
                found = np.linalg.qr(np.vstack([found, np.hstack(parts)]), mode="r")
            self._triangles[some] = found
        return self._triangles[some]

    def moved_by(self, some: Set) -> Iterator[int]:
        """Scales whose size, as the user sees it, grows with S: those of S, and those that an origin ties to them."""
        for i, scale in enumerate(self.scales):
            tied = [
                j
                for j in some
                if self.scales[j].level == scale.level != ROWS and self.inward[scale.effect, self.scales[j].effect] != 0
            ]
            if i in some or tied:
                yield i


def _count(groups: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(groups))) if len(groups) else 0


def _rank(triangle: np.ndarray) -> int:
    length = np.linalg.norm(triangle, axis=0)
    if not triangle.size or not np.any(length > 0):
        return 0
    values = np.linalg.svd(triangle / np.where(length > 0, length, 1.0), compute_uv=False)
    return int(np.sum(values > _SMALL * values[0]))
