"""Words for where priors stand: per sd of a predictor, at the predictors' means, at a zero that is part of the model.

They are the same in `print`, LaTeX, source code and documents. A prior that the user wrote needs none: it stands on the
parameter as shown, predictors at zero, in the user's units.
"""

from __future__ import annotations

from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout, LevelLayout, Parameter
from hiermodels.models.scales import Column, Scales
from hiermodels.quantities import INTERCEPT

__all__ = ["AT_MEANS", "notes", "per_unit", "stands_at", "unmeasured"]

AT_MEANS = "at the predictors' means"
_MOST = 4
"""Predictors whose means are written out."""


def unmeasured(layout: Layout) -> Scales:
    """Centres and scales that only name the columns, of a declaration without data; ``x:z`` is the product of its
    parts.
    """
    parts = {name: tuple(name.split(":")) for name in layout.columns}
    return Scales(
        {
            name: Column(
                0.0,
                1.0,
                parts[name] if len(parts[name]) > 1 and set(parts[name]) <= set(layout.columns) else (),
                (0.0, 1.0),
            )
            for c, name in enumerate(layout.columns)
            if c not in layout.origin
        }
    )


def per_unit(model: Declaration, layout: Layout, parameter: Parameter) -> str:
    """What the numbers of a default prior are multiplied by before there are data: `` se``, `` / sd(x)``, `` /
    sqrt(mean(w))``.
    """
    if parameter.core is None or parameter.role not in ("coefficient", "group sd"):
        return ""
    found = ""
    if parameter.core.unit is not None:
        found = f" / sqrt(mean({model.weights}))" if model.weights else ""
    elif layout.known and parameter.core.in_units:
        found = f" {model.known_se}"
    if (
        parameter.effect in layout.columns
        and parameter.effect != INTERCEPT
        and layout.columns.index(parameter.effect) not in layout.origin
    ):
        found += f" / sd({parameter.effect})"
    return found


def stands_at(model: Declaration, layout: Layout, parameter: Parameter, scales: Scales | None = None) -> str:
    """Where a default prior stands, if not at zero: ``at the predictors' means``, with the numbers of a fit; empty for
    any other.
    """
    if parameter.core is None or parameter.core.constant:
        return ""
    found = [_means(layout, parameter, scales)] if layout.moved(parameter) else []
    free = parameter.role == "coefficient" and layout.columns.index(parameter.effect) in layout.origin
    one = scales is not None and scales.exposure == 1.0
    if free and model.exposure is not None and layout.normal_groups and not one:
        number = "" if scales is None else f" ({scales.exposure:.6g})"
        found.append(f"at the mean {model.exposure}{number}")
    return " and ".join(filter(None, found))


def _means(layout: Layout, parameter: Parameter, scales: Scales | None) -> str:
    """The predictors whose means count, with their numbers where they are few; nothing where all are zero."""
    if scales is None:
        return AT_MEANS
    moves = layout.moves
    for level in layout.levels if parameter.role != "coefficient" else ():
        if level.name == parameter.owner:
            moves = tuple(move for block in level.blocks for move in layout.moves_within(level, block))
    at: list[str] = []
    for e, c in moves:
        if layout.columns[e] == parameter.effect or parameter.role == "correlation":
            name, own = layout.columns[c], scales.columns.get(layout.columns[e])
            known = set() if own is None else {layout.columns[e], *own.factors}
            at += [n for n in scales.columns[name].factors or (name,) if n not in known]
    names = list(dict.fromkeys(at))
    if names and not any(scales.columns[name].centre for name in names):
        return ""
    numbers = [f"{name} = {scales.columns[name].centre:.6g}" for name in names]
    return f"{AT_MEANS} ({', '.join(numbers)})" if 0 < len(numbers) <= _MOST else AT_MEANS


def notes(layout: Layout) -> list[str]:
    """Sentences about predictors whose zero is part of the model, so that adding a constant to them gives another
    model.
    """
    moved = {c for _, c in layout.moves}
    found = []
    for c, name in enumerate(layout.columns):
        if c in moved or c in layout.origin or name == INTERCEPT:
            continue
        apart = [
            level.name
            for level in layout.levels
            if c in level.effects and level.pooling == "partial" and not _joined(layout, level, c)
        ]
        if apart:
            found.append(
                f"the zero of {name} is part of this model: its slopes vary by {apart[0]} apart from intercepts"
            )
        elif not layout.origin:
            unless = "" if layout.obs else ", unless a factor stands for it"
            found.append(f"the zero of {name} is part of this model: it has no intercept{unless}")
    return found


def _joined(layout: Layout, level: LevelLayout, c: int) -> bool:
    """Whether the slopes of a column vary together with what its origin moves."""
    block = next(b for b in level.blocks if c in [level.effects[k] for k in b])
    return bool(layout.origin) and set(layout.origin) <= {level.effects[k] for k in block}
