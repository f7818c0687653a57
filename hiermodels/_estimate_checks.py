"""What `hiermodels.estimate` refuses, and what it says of a fit."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.models.problem import Problem
from hiermodels.models.spec import Model
from hiermodels.models.told_apart import untold

if TYPE_CHECKING:
    from hiermodels.inference.mixed.maximum import Maximum

__all__ = ["check_arguments", "check_identified", "said_of"]

METHODS = ("reml", "ml")
_DEPENDENT = 1e-9
"""Share of its length by which a column must differ from combinations of those before it."""


def check_arguments(model: Any, method: Any, nodes: Any, level: Any) -> None:
    """Refuse arguments that say nothing.

    Raises
    ------
    ValueError
    """
    if not isinstance(model, Model):
        raise ValueError(f"model: expected hm.Model, found {type(model).__name__}; write hm.Model(...)")
    if method not in METHODS:
        near = difflib.get_close_matches(str(method).lower(), METHODS, 1)
        hint = f"did you mean {near[0]!r}?" if near else "use one of them"
        raise ValueError(f"method: expected reml or ml, found {method!r}; {hint}")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, found {level!r}; e.g. level=0.95")
    if model.family != "normal":
        raise ValueError(
            f"family: hm.estimate maximises likelihoods of family normal, found {model.family}; "
            "use hm.fit(model, data) for its posterior"
        )
    if nodes is not None:
        raise ValueError(f"nodes: the groups of family normal integrate out in closed form, found nodes={nodes!r}; leave nodes out")


def check_identified(model: Model, problem: Problem) -> None:
    """Refuse designs on which some parameter has no estimate, whatever the outcome.

    Raises
    ------
    ValueError
        Naming the predictor, the grouping or the variances.
    """
    layout, data = problem.layout, problem.data
    rows = np.asarray(data.weight) > 0
    names = [layout.columns[c] for c in layout.population]
    if (name := _dependent(np.asarray(data.x)[rows][:, list(layout.population)], names)) is not None:
        raise ValueError(
            f"formula {model.formula!r}: predictor {name!r} is a combination of those before it in every row, so that their coefficients "
            "cannot be told apart; drop one"
        )
    if not layout.known and rows.sum() <= len(names):
        raise ValueError(f"data: expected more rows than coefficients, found {rows.sum()} rows and {len(names)}; add rows or drop predictors")
    for level in layout.levels:
        count = len(problem.labels[level.name])
        if count < 2:
            raise ValueError(f"{level.name}: expected at least 2 groups, found {count}; a spread between groups needs more, drop the term")
    left = untold(layout, data)
    if left.alone:
        scale = left.alone[0]
        raise ValueError(
            f"{scale.name}: the coefficients can follow each of the {scale.units} {scale.unit}, so that the data say nothing about it; "
            "drop predictors or that group term"
        )
    if left.together:
        some = [scale.name for scale in left.together[0]]
        raise ValueError(
            f"{', '.join(some[:-1])} and {some[-1]} cannot be told apart on this design (one row for each group, or groupings that are "
            "the same); drop one of these terms"
        )


def _dependent(x: np.ndarray, names: list[str]) -> str | None:
    """The first column that those before it combine to."""
    if not x.shape[1]:
        return None
    size = np.linalg.norm(x, axis=0)
    if (size == 0).any():
        return names[int(np.argmax(size == 0))]
    diagonal = np.abs(np.diag(np.linalg.qr(x / size, mode="r")))
    if len(diagonal) < len(names):
        return names[len(diagonal)]
    return names[int(np.argmax(diagonal < _DEPENDENT))] if (diagonal < _DEPENDENT).any() else None


def said_of(model: Model, problem: Problem, found: Maximum) -> tuple[str, ...]:
    """What deserves a word."""
    said = list(problem.warnings)
    if model.prior:
        said.append(f"priors of {', '.join(model.prior)} are not used: the likelihood alone is maximised")
    if not found.converged:
        return (*said, "no maximum was found: the likelihood rises without end or is too flat; simplify the group terms, or use hm.fit")
    zero, tied = [], []
    for i, level in enumerate(problem.layout.levels):
        sds = [p.name for p in problem.layout.parameters if (p.role, p.owner) == ("group sd", level.name)]
        zero += [name for name, sd in zip(sds, found.sds[i], strict=True) if sd == 0]
        for block in (b for b in level.blocks if len(b) > 1):
            inside = found.correlations[i][np.ix_(block, block)]
            if np.isfinite(inside).all() and np.linalg.eigvalsh(inside)[0] < 1e-6:
                tied += [p.name for p in problem.layout.parameters if (p.role, p.owner) == ("correlation", level.name)]
    if found.singular:
        where = "; ".join([f"{', '.join(zero)} = 0"] * bool(zero) + [f"{', '.join(tied)} has an eigenvalue of 0"] * bool(tied))
        said.append(
            f"singular: the maximum lies on the boundary ({where or 'a variance is nearly 0'}); degrees of freedom treat what is 0 as known, "
            "and there are no standard errors of it; profile() has intervals"
        )
    return tuple(said)
