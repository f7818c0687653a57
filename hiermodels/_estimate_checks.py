"""What `hiermodels.estimate` refuses, and what it says of a fit."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels import families
from hiermodels.models.problem import Problem
from hiermodels.models.spec import Model

if TYPE_CHECKING:
    from hiermodels.inference.mixed.maximum import Maximum

__all__ = ["check_arguments", "check_groups", "said_of"]

METHODS = ("reml", "ml")
MOST_NODES = 101


LINKED = tuple(
    name
    for name, law in families.MENU.items()
    if law.population.normal and not (law.conjugate or law.peaks or law.own_parameters(known=False))
)
"""Families of one grouping, integrated out by quadrature, whose likelihood is maximised."""


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
    law = families.lookup(model.family)
    if law.population.normal and law.conjugate:
        if nodes is not None:
            raise ValueError(
                f"nodes: the groups of family normal integrate out in closed form, found nodes={nodes!r}; leave "
                f"nodes out"
            )
        return
    if method != "ml":
        way = "method='ml', or " if model.family in LINKED else ""
        raise ValueError(
            f"method: REML is of family normal, found {model.family}; use {way}hm.fit(model, data) for its posterior"
        )
    if nodes is not None and (isinstance(nodes, bool) or not isinstance(nodes, int) or not 1 <= nodes <= MOST_NODES):
        raise ValueError(
            f"nodes: expected a whole number from 1 (Laplace) to {MOST_NODES}, found {nodes!r}; e.g. nodes=7"
        )


def check_groups(model: Model, problem: Problem) -> None:
    """Refuse models whose likelihood is not maximised here.

    Raises
    ------
    ValueError
        With what is, and the way on.
    """
    layout = problem.layout
    if layout.gaussian or (layout.by_quadrature and model.family in LINKED):
        return
    raise ValueError(
        f"formula {model.formula!r}: beside family normal, hm.estimate takes one group term of one effect, (1 | g), "
        f"under {', '.join(LINKED[:-1])} or {LINKED[-1]}; found family {model.family} with "
        f"{', '.join(v.name for v in layout.levels) or 'no groups'}; use hm.fit(model, data)"
    )


def said_of(model: Model, problem: Problem, found: Maximum) -> tuple[str, ...]:
    """What deserves a word."""
    said = list(problem.warnings)
    if model.prior:
        said.append(f"priors of {', '.join(model.prior)} are not used: the likelihood alone is maximised")
    if not found.converged:
        return (
            *said,
            "no maximum was found: the likelihood rises without end or is too flat; simplify the group terms, or use "
            "hm.fit",
        )
    zero, tied = [], []
    for i, level in enumerate(problem.layout.levels):
        sds = [p.name for p in problem.layout.parameters if (p.role, p.owner) == ("group sd", level.name)]
        zero += [name for name, sd in zip(sds, found.sds[i], strict=True) if sd == 0]
        for block in (b for b in level.blocks if len(b) > 1):
            inside = found.correlations[i][np.ix_(block, block)]
            if np.isfinite(inside).all() and np.linalg.eigvalsh(inside)[0] < 1e-6:
                tied += [p.name for p in problem.layout.parameters if (p.role, p.owner) == ("correlation", level.name)]
    if found.singular:
        where = "; ".join(
            [f"{', '.join(zero)} = 0"] * bool(zero) + [f"{', '.join(tied)} has an eigenvalue of 0"] * bool(tied)
        )
        said.append(
            f"singular: the maximum lies on the boundary ({where or 'a variance is nearly 0'}); degrees of freedom "
            f"treat what is 0 as known, "
            "and there are no standard errors of it; profile() has intervals"
        )
    return tuple(said)
