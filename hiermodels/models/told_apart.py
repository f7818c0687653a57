"""Which variances a design tells apart: the others are divided by their priors alone, whatever the outcome.

With coefficients b, variances v_k and y = X b + errors, the contrasts of y that are free of b have the covariance sum
of v_k M A_k M, M = I - X (X'X)^- X', where A_k = Z_l Z_l' for a group sd, 1 / weight for sigma and Z_l Z_m' + Z_m Z_l'
for the covariance of two effects of one term. The data tell v_k apart from the others iff M A_k M is no linear
combination of theirs (Rao & Kleffe 1988, Estimation of Variance Components, chapter 5); where it is zero the
coefficients follow every group, and nothing is said about v_k. The products tr(M A_k M A_l) are sums over pairs of
groups that share rows, and over groups: no matrix is as long as the rows are many.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hiermodels.models.layout import Layout
from hiermodels.models.problem import Data
from hiermodels.models.ranks import ROWS, Scale, scales
from hiermodels.models.units import inner_design

__all__ = ["Untold", "untold"]

_SMALL = 1e-10
_MOST_ROWS = 20_000
"""Rows that are looked at first: what some of them tell apart, all do."""
_MOST_COLUMNS = 400
"""Columns of coefficients, those of unpooled groups included, beyond which the question is left open."""
_MOST_EFFECTS = 40
"""Effects of one grouping, beyond which it is left open too."""
_MOST_PRODUCTS = 4000
"""Effects of one grouping times columns of coefficients: their squares are held in memory."""


@dataclass(frozen=True)
class Untold:
    """Variances about which the data say nothing, and sets of them of which the data tell combinations only.

    Attributes
    ----------
    alone : tuple of Scale
    together : tuple of tuple of Scale
    """

    alone: tuple[Scale, ...] = ()
    together: tuple[tuple[Scale, ...], ...] = ()


class _Part(NamedTuple):
    """Columns Z of the effects of a grouping, one entry a row in each, and what X takes of them, Z'Q.

    values : (effect, row); codes : (row,), the group of each row; follows : (effect, group, column of Q).
    """

    values: np.ndarray
    codes: np.ndarray
    follows: np.ndarray


def untold(layout: Layout, data: Data) -> Untold:
    """Variances of a model with normal groups that its design does not tell apart.

    Examples
    --------
    >>> import pandas as pd, hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> frame = pd.DataFrame({"y": range(8), "id": list("aabbccdd"), "name": list("AABBCCDD")})
    >>> problem = bind(hm.Model("y ~ 1 + (1 | id) + (1 | name)"), frame)
    >>> [[s.name for s in some] for some in untold(problem.layout, problem.data).together]
    [['sd_id', 'sd_name']]
    """
    free = [s for s in scales(layout, data) if not s.prior.known and (s.level != ROWS or layout.link.identity)]
    if not free or not layout.levels:
        return Untold()
    rows = np.flatnonzero(np.asarray(data.weight) > 0)
    if len(rows) > _MOST_ROWS:
        some = rows[np.argsort(np.asarray(data.group[-1])[rows], kind="stable")[:_MOST_ROWS]]
        if _found(layout, data, free, some) == Untold():
            return Untold()
    return _found(layout, data, free, rows)


def _found(layout: Layout, data: Data, free: list[Scale], rows: np.ndarray) -> Untold:
    fixed = _coefficients(layout, data, rows)
    if fixed is None:
        return Untold()
    x, q = np.asarray(inner_design(layout, data), float)[rows], _basis(fixed)
    effects: dict[int, list[int]] = {}
    for scale in free:
        effects.setdefault(scale.level, []).append(scale.effect)
    most = max(map(len, effects.values()))
    if most > _MOST_EFFECTS or most * q.shape[1] > _MOST_PRODUCTS:
        return Untold()
    parts = {level: _part(layout, data, level, here, x, q, rows) for level, here in effects.items()}
    pairs = [(s.level, (effects[s.level].index(s.effect),) * 2) for s in free]
    pairs += [
        (i, (effects[i].index(a), effects[i].index(b)))
        for i, a, b in _covariances(layout)
        if {a, b} <= set(effects.get(i, ()))
    ]
    gram, size = _gram(parts, pairs)
    alone = np.diag(gram) <= _SMALL * size
    kept = np.flatnonzero(~alone)
    root = np.sqrt(np.diag(gram)[kept])
    values, vectors = (
        np.linalg.eigh(gram[np.ix_(kept, kept)] / np.outer(root, root))
        if len(kept)
        else (np.zeros(0), np.zeros((0, 0)))
    )
    null = vectors[:, values < _SMALL * len(kept)]
    share = null @ null.T
    together: list[tuple[Scale, ...]] = []
    for k in np.flatnonzero(np.diag(share) > 1e-6) if len(kept) else ():
        some = tuple(free[kept[j]] for j in np.flatnonzero(np.abs(share[k]) > 1e-6) if kept[j] < len(free))
        if some and not any(set(some) <= set(other) for other in together):
            together = [*(other for other in together if not set(other) <= set(some)), some]
    return Untold(tuple(free[k] for k in np.flatnonzero(alone) if k < len(free)), tuple(together))


def _coefficients(layout: Layout, data: Data, rows: np.ndarray) -> np.ndarray | None:
    """Columns of every coefficient that is not fixed, of unpooled groups too; None where they are too many."""
    x = np.asarray(inner_design(layout, data), float)[rows]
    parts = [x[:, [c]] for c in layout.population if not layout.parameter(layout.columns[c]).prior.known]  # type: ignore[union-attr]
    for level, group in zip(layout.levels, data.group, strict=True):
        if level.pooling != "none":
            continue
        _, codes = np.unique(np.asarray(group)[rows], return_inverse=True)
        if (codes.max() + 1) * len(level.effects) > _MOST_COLUMNS:
            return None
        parts += [(codes[:, None] == np.arange(codes.max() + 1)) * x[:, [e]] for e in level.effects]
    return np.hstack(parts) if parts else np.zeros((len(rows), 0))


def _basis(columns: np.ndarray) -> np.ndarray:
    """Orthonormal columns of the same span."""
    length = np.linalg.norm(columns, axis=0)
    u, values, _ = np.linalg.svd(columns / np.where(length > 0, length, 1.0), full_matrices=False)
    return u[:, values > 1e-9 * values[0]] if len(values) else u


def _part(
    layout: Layout, data: Data, level: int, effects: list[int], x: np.ndarray, q: np.ndarray, rows: np.ndarray
) -> _Part:
    """The columns of a grouping's effects, or of the rows, of mean square one."""
    if level == ROWS:
        values, codes = (np.asarray(data.weight)[rows] ** -0.5)[None], np.arange(len(rows))
    else:
        values, codes = x[:, effects].T, np.unique(np.asarray(data.group[level])[rows], return_inverse=True)[1]
    length = np.sqrt(np.mean(values**2, axis=1, keepdims=True))
    values = values / np.where(length > 0, length, 1.0)
    follows = np.zeros((len(values), codes.max() + 1, q.shape[1]))
    for e, column in enumerate(values):
        np.add.at(follows[e], codes, column[:, None] * q)
    return _Part(values, codes, follows)


def _covariances(layout: Layout) -> list[tuple[int, int, int]]:
    """Grouping and two effects of it that are correlated."""
    found = []
    for i, level in enumerate(layout.levels):
        for block in level.blocks if level.pooling == "partial" else ():
            effects = [level.effects[b] for b in block]
            found += [(i, a, b) for n, a in enumerate(effects) for b in effects[n + 1 :]]
    return found


def _gram(parts: dict[int, _Part], pairs: list[tuple[int, tuple[int, int]]]) -> tuple[np.ndarray, np.ndarray]:
    """tr(M A_k M A_l) of each pair of effects, and what tr(M A_k M A_k) would be were X nothing."""
    gram, size = np.zeros((len(pairs), len(pairs))), np.zeros(len(pairs))
    for i, one in parts.items():
        for j, two in parts.items():
            k, l = (np.array([n for n, (level, _) in enumerate(pairs) if level == here]) for here in (i, j))
            e, f = np.array([pairs[n][1] for n in k]).T[:, :, None]
            a, b = np.array([pairs[n][1] for n in l]).T[:, None, :]
            whole, free = _products(one, two)
            gram[np.ix_(k, l)] = whole[f, a, e, b] + whole[f, b, e, a] + whole[e, a, f, b] + whole[e, b, f, a]
            if i == j:
                e, f = e[:, 0], f[:, 0]
                size[k] = free[f, e, e, f] + free[f, f, e, e] + free[e, e, f, f] + free[e, f, f, e]
    return (gram + gram.T) / 2, size


def _products(one: _Part, two: _Part) -> tuple[np.ndarray, np.ndarray]:
    """<Z_f' M Z_a, Z_e' M Z_b> for effects f, e of one grouping and a, b of another, (f, a, e, b); and the same with M
    = I.

    Z_f' Z_a has entries where a group of one shares rows with a group of the other; those of Z_f' Q Q' Z_a are wanted
    there alone.
    """
    shared, row = np.unique(one.codes * (two.codes.max() + 1) + two.codes, return_inverse=True)
    g, h = np.divmod(shared, two.codes.max() + 1)
    sides = (len(one.values), len(two.values))
    cross, taken = np.empty((*sides, len(shared))), np.empty((*sides, len(shared)))
    for f in range(sides[0]):
        for a in range(sides[1]):
            cross[f, a] = np.bincount(row, one.values[f] * two.values[a], len(shared))
            taken[f, a] = np.einsum("nq,nq->n", one.follows[f][g], two.follows[a][h])
    moved, followed = cross.reshape(-1, len(shared)), taken.reshape(-1, len(shared))
    free, half = moved @ moved.T, moved @ followed.T
    inner = [np.einsum("fgq,egr->feqr", p.follows, p.follows, optimize=True) for p in (one, two)]
    both = np.einsum("feqr,abqr->faeb", *inner, optimize=True)
    return (free - half - half.T).reshape(*sides, *sides) + both, free.reshape(*sides, *sides)
