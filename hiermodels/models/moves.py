"""Which columns of a design are centred inside, and the matrix that centres and scales them.

Inside, a column is centred where its origin means nothing to the model, and divided by its standard deviation,

    x~_c = (x_c - centre_c) / scale_c,        x~ = x T,        b = T b~,

so that neither the units of a predictor nor where its zero lies decides what the arithmetic can resolve, or what a
default prior says. A product of columns (``x:z``, ``I(x**2)``) is centred as the product of centred columns, so that
its lower terms move too. T is triangular: row e holds what the coefficients of other columns add to that of column e
when predictors go back to zero; the pairs (e, c) are `Layout.moves`. A column is never moved where its zero is part of
the model: without an intercept in the span, where its slope varies by group independently of the intercept, as in ``(1
+ x || g)``, and where a prior that the user wrote stands on what it would move.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hiermodels.models.layout import Layout, LevelLayout
from hiermodels.models.scales import Scales
from hiermodels.priors import Prior
from hiermodels.quantities import cor_name, sd_name

__all__ = ["find_moves", "find_origin", "inward", "scale_of", "written"]


def find_moves(layout: Layout, scales: Scales, named: frozenset[str]) -> tuple[tuple[int, int], ...]:
    """Pairs (e, c): the coefficient of e changes when the origin of c does.

    Parameters
    ----------
    layout : Layout
        Columns, population, levels and origin.
    scales : Scales
    named : frozenset of str
        Parameters whose priors the user wrote, but for flat ones of coefficients: they stand at the user's origin.
    """
    origin = layout.origin
    monomials = {_factors(layout, scales, c): c for c in range(len(layout.columns)) if c not in origin}
    moves: list[tuple[int, int]] = []
    for c in range(len(layout.columns)):
        if c in origin or layout.columns[c] not in scales.columns:
            continue
        for lower in (_lower(_factors(layout, scales, c), monomials), set()):
            to = None if lower is None else {*lower, *origin}
            if to and origin and all(_may_move(layout, e, c, named) for e in to):
                moves += [(e, c) for e in sorted(to)]
                break
    return tuple(moves)


def find_origin(layout: Layout, x: np.ndarray) -> tuple[int, ...]:
    """Columns of the population (or of groups that are not pooled) that sum to one; empty without an intercept in
    their span.
    """
    free = [c for c in range(len(layout.columns)) if c in layout.population or _unpooled(layout, c)]
    constant = next((c for c in free if np.all(x[:, c] == 1.0)), None)
    if constant is not None:
        return (constant,)
    total = np.zeros(len(x))
    taken: list[int] = []
    for c in free:  # the indicators of a factor's categories stand side by side
        if np.isin(x[:, c], (0.0, 1.0)).all():
            total, taken = total + x[:, c], [*taken, c]
            if np.all(total == 1.0):
                return tuple(taken)
    return ()


def written(layout: Layout, priors: Mapping[str, Prior]) -> frozenset[str]:
    """Parameters whose priors the user wrote so that they stand at the user's origin: any but flat ones of
    coefficients.
    """
    return frozenset(n for n, p in priors.items() if not (p.constant and n in layout.columns))


def _unpooled(layout: Layout, c: int) -> bool:
    return any(level.pooling == "none" and c in level.effects for level in layout.levels)


def _factors(layout: Layout, scales: Scales, c: int) -> tuple[int, ...]:
    """The column as a product: of itself, or of others."""
    column = scales.columns.get(layout.columns[c])
    names = () if column is None else column.factors
    return (
        tuple(sorted(layout.columns.index(n) for n in names)) if names and set(names) <= set(layout.columns) else (c,)
    )


def _lower(factors: tuple[int, ...], monomials: Mapping[tuple[int, ...], int]) -> set[int] | None:
    """Columns that the product of centred columns adds; None where one of them is not in the model."""
    parts = {tuple(f for k, f in enumerate(factors) if mask >> k & 1) for mask in range(1, 2 ** len(factors) - 1)}
    return {monomials[p] for p in parts} if all(p in monomials for p in parts) else None


def _may_move(layout: Layout, e: int, c: int, named: frozenset[str]) -> bool:
    """Whether the coefficient of e may take up what a new origin of c does, in the population and in every group
    term.
    """
    if layout.columns[e] in named or not (e in layout.population or _unpooled(layout, e)):
        return False
    return all(_level_may_move(layout, level, e, c, named) for level in layout.levels if c in level.effects)


def _level_may_move(layout: Layout, level: LevelLayout, e: int, c: int, named: frozenset[str]) -> bool:
    if level.pooling == "complete":
        return True
    if level.pooling == "none":
        return e in level.effects
    block = next(b for b in level.blocks if c in [level.effects[k] for k in b])
    kept = {sd_name(level.name, layout.columns[e]), cor_name(level.name)}
    return e in [level.effects[k] for k in block] and not kept & named


def scale_of(layout: Layout, scales: Scales, c: int) -> float:
    """What a column is divided by inside; 1 for the constant one."""
    column = scales.columns.get(layout.columns[c])
    if column is None or c in layout.origin:
        return 1.0
    return column.product[1] if any(m == c and e not in layout.origin for e, m in layout.moves) else column.scale


def inward(layout: Layout, scales: Scales) -> np.ndarray:
    """The matrix T of a layout whose moves are known; shape (column, column)."""
    matrix = np.eye(len(layout.columns))
    for c, name in enumerate(layout.columns):
        column = scales.columns.get(name)
        if column is None or c in layout.origin:
            continue
        to = [e for e, moved in layout.moves if moved == c]
        lower = {_factors(layout, scales, e): [e] for e in to if e not in layout.origin} | {(): list(layout.origin)}
        centre = column.product[0] if len(lower) > 1 else column.centre
        if len(lower) > 1:  # the product of (x_f - centre_f), multiplied out
            factors = _factors(layout, scales, c)
            middle = [scales.columns[layout.columns[f]].centre for f in factors]
            for mask in range(2 ** len(factors) - 1):
                part = tuple(f for n, f in enumerate(factors) if mask >> n & 1)
                matrix[lower[part], c] += np.prod([-m for n, m in enumerate(middle) if not mask >> n & 1])
        if to:
            matrix[list(layout.origin), c] -= centre
        matrix[:, c] /= scale_of(layout, scales, c)
    return matrix
