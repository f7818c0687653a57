"""Which variances a design tells apart: the others are divided by their priors alone, whatever the outcome.

With coefficients b, variances v_k and y = X b + errors, the contrasts of y that are free of b have the covariance sum of v_k M A_k M,
M = I - X (X'X)^- X', where A_k = Z_l Z_l' for a group sd, 1 / weight for sigma and Z_l Z_m' + Z_m Z_l' for the covariance of two
effects of one term. The data tell v_k apart from the others iff M A_k M is no linear combination of theirs (Rao & Kleffe 1988,
Estimation of Variance Components, chapter 5); where it is zero the coefficients follow every group, and nothing is said about v_k.
The products tr(M A_k M A_l) are sums over pairs of groups that share rows, and over groups: no matrix is as long as the rows are many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from hiermodels.models.ranks import ROWS, Scale, scales
from hiermodels.models.spec import Layout
from hiermodels.models.units import inner_design

if TYPE_CHECKING:
    from scipy import sparse

    from hiermodels.models.data import Data

__all__ = ["Untold", "untold"]

_SMALL = 1e-10
_MOST_ROWS = 20_000
"""Rows that are looked at first: what some of them tell apart, all do."""
_MOST_COLUMNS = 400
"""Columns of coefficients, those of unpooled groups included, beyond which the question is left open."""


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
    """Columns Z of a term as a sparse matrix, and what X takes of them, Q'Z."""

    z: sparse.csr_array
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
    free = [s for s in scales(layout, data) if s.prior.name != "fixed" and (s.level != ROWS or layout.link == "identity")]
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
    parts = {(s.level, s.effect): _part(_columns(layout, data, s, x, rows), q) for s in free}
    pairs = [((s.level, s.effect),) * 2 for s in free]
    pairs += [(a, b) for a, b in _covariances(layout) if a in parts and b in parts]
    gram, size = _gram(parts, pairs)
    alone = np.diag(gram) <= _SMALL * size
    kept = np.flatnonzero(~alone)
    root = np.sqrt(np.diag(gram)[kept])
    values, vectors = np.linalg.eigh(gram[np.ix_(kept, kept)] / np.outer(root, root)) if len(kept) else (np.zeros(0), np.zeros((0, 0)))
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
    parts = [x[:, [c]] for c in layout.population if layout.parameter(layout.columns[c]).prior.name != "fixed"]  # type: ignore[union-attr]
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


def _columns(layout: Layout, data: Data, scale: Scale, x: np.ndarray, rows: np.ndarray) -> sparse.csr_array:
    """Z of a scale: one column for each group, or row."""
    from scipy import sparse

    if scale.level == ROWS:
        values, codes = np.asarray(data.weight)[rows] ** -0.5, np.arange(len(rows))
    else:
        values, codes = x[:, scale.effect], np.unique(np.asarray(data.group[scale.level])[rows], return_inverse=True)[1]
    return sparse.csr_array((values / (np.sqrt(np.mean(values**2)) or 1.0), (np.arange(len(rows)), codes)))


def _part(z: sparse.csr_array, q: np.ndarray) -> _Part:
    return _Part(z, np.asarray(z.T @ q))


def _covariances(layout: Layout) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of effects of one term that are correlated."""
    found = []
    for i, level in enumerate(layout.levels):
        for block in level.blocks if level.pooling == "partial" else ():
            effects = [level.effects[b] for b in block]
            found += [((i, a), (i, b)) for n, a in enumerate(effects) for b in effects[n + 1 :]]
    return found


def _gram(parts: dict, pairs: list) -> tuple[np.ndarray, np.ndarray]:
    """tr(M A_k M A_l) of each pair, and what tr(M A_k M A_k) would be were X nothing."""
    cross = {(a, b): parts[a].z.T @ parts[b].z for a in parts for b in parts}

    def product(e: int, f: int, a: int, b: int) -> float:  # <Z_f' M Z_a, Z_e' M Z_b>
        first, second = cross[f, a], cross[e, b]
        whole = float((first * second).sum())
        whole -= _bilinear(first, parts[e].follows, parts[b].follows) + _bilinear(second, parts[f].follows, parts[a].follows)
        return whole + float(np.sum((parts[f].follows.T @ parts[e].follows) * (parts[a].follows.T @ parts[b].follows)))

    def free(e: int, f: int, a: int, b: int) -> float:
        return float((cross[f, a] * cross[e, b]).sum())

    def full(one: tuple[int, int], two: tuple[int, int], rule: Callable[[int, int, int, int], float]) -> float:
        (e, f), (a, b) = one, two
        return rule(e, f, a, b) + rule(e, f, b, a) + rule(f, e, a, b) + rule(f, e, b, a)

    gram = np.array([[full(one, two, product) for two in pairs] for one in pairs])
    return (gram + gram.T) / 2, np.array([full(one, one, free) for one in pairs])


def _bilinear(matrix: sparse.csr_array, left: np.ndarray, right: np.ndarray) -> float:
    """Sum of matrix * (left right')."""
    return float(np.sum((matrix.T @ left) * right))
