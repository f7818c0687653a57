"""A model as the source of a NumPyro function that needs nothing of this library.

`text` writes what `hiermodels.models.builder.build` samples without centring: the same sites under the same names,
group values as ``theta_<g>``, and the outcome under its own name; `arguments` gives the arrays that the function is
called with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hiermodels.models import display
from hiermodels.models.code_groups import outcome_lines, statement_lines
from hiermodels.models.code_means import moved_priors, parameter_lines
from hiermodels.models.code_names import Names
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Problem
from hiermodels.models.scales import Scales
from hiermodels.models.sites import in_order
from hiermodels.models.sketch import sketch
from hiermodels.models.standing import stands_at
from hiermodels.models.statements import statements

__all__ = ["arguments", "text"]

_HEAD = '''"""{formula}, family {family}.

{laws}
"""

import jax
import jax.numpy as jnp
import numpyro
from numpyro import distributions as dist
from numpyro.distributions import constraints


def model({signature}):
'''


def _signature(names: Names) -> dict[str, str]:
    """Arguments by what they are: rows' groups, groups' counts and parents, columns, roles; the outcome last."""
    model, layout = names.model, names.layout
    found: dict[str, str] = {}
    names.outcome()
    for i, level in enumerate(layout.levels):
        found[f"group {level.name}"] = names.group(level)
        found[f"count {level.name}"] = names.count(level)
        if level.parent >= 0:
            found[f"parent {i}"] = names.parent(i)
    for column in layout.columns:
        if column != "Intercept":
            found[f"column {column}"] = names(f"column {column}")
    for role in ("known_se", "weights", "trials", "exposure"):
        if (column := getattr(model, role)) is not None:
            found[f"role {role}"] = names(f"role {column}")
    if not layout.levels and not any(w.startswith(("column", "role")) for w in found):
        found["rows"] = names("parameter rows")
    return found


def text(model: Declaration, layout: Layout | None = None, scales: Scales | None = None) -> str:
    """Source of a NumPyro function of this very model: imports, ``def model(...)``, priors written out.

    Parameters
    ----------
    model : Declaration
    layout : Layout, optional
        Of a bound problem: its priors and pooling. Without it every level is pooled partially.
    scales : Scales, optional
        Of the same problem: numbers of default priors that stand at the predictors' means.

    Raises
    ------
    ValueError
        Without a layout where a default prior is in units of predictors, weights or known standard errors, or stands at
        means.

    Examples
    --------
    >>> from hiermodels.models.spec import Model
    >>> print(text(Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})).splitlines()[14])
    def model(school, n_school, se, effect=None):
    """  # noqa: E501
    if layout is None:
        layout, rules = sketch(model)
        waiting = rules | {p.name: f" {at}" for p in layout.parameters if (at := stands_at(model, layout, p))}
        if waiting:
            name, rule = next(iter(waiting.items()))
            raise ValueError(
                f"code: the default prior of {name} ({rule.strip()}) waits for data; name a prior, or give data"
            )
    scales = Scales() if scales is None else scales
    names = Names(model, layout)
    signature = [*_signature(names).values(), f"{names.outcome()}=None"]
    body: list[str] = []
    for p in in_order(layout.parameters):
        body += parameter_lines(p, names)
    body += moved_priors(names, scales)
    for statement in statements(layout):
        body += statement_lines(statement, names, scales)
    body += outcome_lines(names)
    laws = display.text(model, layout, scales)
    head = _HEAD.format(formula=model.formula, family=model.family, laws=laws, signature=", ".join(signature))
    lines = head + "".join(f"    {line}\n" if line else "\n" for line in body)
    for used, line in (
        ("constraints.", "from numpyro.distributions import constraints\n"),
        ("jax.nn.", "import jax\n"),
    ):
        if used not in lines:
            lines = lines.replace(line, "", 1)
    return lines


def arguments(problem: Problem) -> dict[str, Any]:
    """What `text`'s function is called with, by name: arrays of the rows and groups, counts, the outcome.

    Parameters
    ----------
    problem : Problem

    Returns
    -------
    dict
        NumPy arrays and whole numbers; groups are numbered in the order of ``problem.labels``.
    """
    layout, data, tree = problem.layout, problem.data, problem.tree
    names = Names(problem.model, layout)
    signature = _signature(names)
    count = int((np.asarray(data.weight) > 0).sum())
    found: dict[str, Any] = {}
    for i, level in enumerate(layout.levels):
        found |= {
            f"group {level.name}": tree.group[i][:count],
            f"count {level.name}": tree.levels[i].size,
            f"parent {i}": tree.parent[i],
        }
    for c, column in enumerate(layout.columns):
        found[f"column {column}"] = np.asarray(data.x)[:count, c]
    weight, size = np.asarray(data.weight)[:count], np.asarray(data.size)[:count]
    found |= {
        "role known_se": weight**-0.5,
        "role weights": weight,
        "role trials": size.astype(int),
        "role exposure": size,
    }
    found["rows"] = count
    return {name: found[what] for what, name in signature.items()} | {names.outcome(): np.asarray(data.y)[:count]}
