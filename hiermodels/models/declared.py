"""The layout that a formula alone implies."""

from __future__ import annotations

from hiermodels.families import lookup
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout, LevelLayout

__all__ = ["blocks_of", "declared_layout"]


def blocks_of(terms: list[tuple[tuple[str, ...], bool]]) -> tuple[tuple[int, ...], ...]:
    """Positions of correlated effects, a block each, from each term's effects and whether they are correlated."""
    blocks: list[tuple[int, ...]] = []
    start = 0
    for effects, correlated in terms:
        here = tuple(range(start, start + len(effects)))
        blocks += [here] if correlated else [(k,) for k in here]
        start += len(effects)
    return tuple(blocks)


def declared_layout(model: Declaration) -> Layout:
    """The layout that the formula alone implies, everything pooled partially; without parameters."""
    family, parsed = lookup(model.family), model.parsed
    population = parsed.population.names
    names = list(population)
    merged: dict[str, list[tuple[tuple[str, ...], bool]]] = {}
    factors: dict[str, tuple[str, ...]] = {}
    for term in parsed.groups:
        effects = term.effects.names
        names += [n for n in effects if n not in names]
        merged.setdefault(term.name, []).append((effects, term.correlated))
        factors[term.name] = term.factors
    levels: list[LevelLayout] = []
    for name in sorted(merged, key=lambda g: len(factors[g])):
        inside = [j for j, v in enumerate(levels) if set(factors[v.name]) < set(factors[name])]
        varying = tuple(names.index(e) for block, _ in merged[name] for e in block)
        levels.append(LevelLayout(name, varying, blocks_of(merged[name]), "partial", 0, None, max(inside, default=-1)))
    kept = tuple(names.index(n) for n in population)
    return Layout(family.kernel, model.known_se is not None, tuple(names), kept, tuple(levels), (), 0)
