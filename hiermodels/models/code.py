"""A model as the source of a NumPyro function that needs nothing of this library.

`text` writes what `hiermodels.models.builder.build` samples without centring: the same sites under the same names, group values
as ``theta_<g>``, and the outcome under its own name; `arguments` gives the arrays that the function is called with.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hiermodels.models import display
from hiermodels.models.code_counts import count_lines
from hiermodels.models.code_means import moved_priors, parameter_lines, spread_lines, unpooled_lines
from hiermodels.models.code_names import Names, columns, rows
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import Layout, LevelLayout
from hiermodels.models.problem import Problem
from hiermodels.models.scales import Scales
from hiermodels.models.sites import in_order
from hiermodels.models.sketch import sketch
from hiermodels.models.standing import stands_at
from hiermodels.quantities import INTERCEPT, sd_name, theta_name

__all__ = ["arguments", "text"]

_HEAD = '''"""{formula}, family {family}.

{laws}
"""

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
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
        Without a layout where a default prior is in units of predictors, weights or known standard errors, or stands at means.

    Examples
    --------
    >>> from hiermodels.models.spec import Model
    >>> print(text(Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})).splitlines()[14])
    def model(school, n_school, se, effect=None):
    """
    if layout is None:
        layout, rules = sketch(model)
        waiting = rules | {p.name: f" {at}" for p in layout.parameters if (at := stands_at(model, layout, p))}
        if waiting:
            name, rule = next(iter(waiting.items()))
            raise ValueError(f"code: the default prior of {name} ({rule.strip()}) waits for data; name a prior, or give data")
    scales = Scales() if scales is None else scales
    names = Names(model, layout)
    signature = [*_signature(names).values(), f"{names.outcome()}=None"]
    body: list[str] = []
    for p in in_order(layout.parameters):
        body += parameter_lines(p, names)
    body += moved_priors(names, scales)
    body += _tree_lines(names, scales) if layout.normal_groups else count_lines(names)
    laws = display.text(model, layout, scales)
    head = _HEAD.format(formula=model.formula, family=model.family, laws=laws, signature=", ".join(signature))
    lines = head + "".join(f"    {line}\n" if line else "\n" for line in body)
    for used, line in (("constraints.", "from numpyro.distributions import constraints\n"), ("jax.nn.", "import jax\n")):
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
        found |= {f"group {level.name}": tree.group[i][:count], f"count {level.name}": tree.levels[i].size, f"parent {i}": tree.parent[i]}
    for c, column in enumerate(layout.columns):
        found[f"column {column}"] = np.asarray(data.x)[:count, c]
    weight, size = np.asarray(data.weight)[:count], np.asarray(data.size)[:count]
    found |= {"role known_se": weight**-0.5, "role weights": weight, "role trials": size.astype(int), "role exposure": size}
    found["rows"] = count
    return {name: found[what] for what, name in signature.items()} | {names.outcome(): np.asarray(data.y)[:count]}


# normal groups ----------------------------------------------------------------------------------------------


def _tree_lines(names: Names, scales: Scales) -> list[str]:
    layout = names.layout
    lines: list[str] = []
    for i, level in enumerate(layout.levels):
        lines += _level_lines(names, scales, i, level)
    for i in reversed(range(len(layout.levels))):
        lines += _mean_of_children(names, i)
    return [*lines, f"{names('local mu')} = {_predictor(names)}", *_outcome_lines(names)]


def _theta(names: Names, level: LevelLayout, column: str) -> str:
    return names(f"value {theta_name(level.name, column)}")


def _above(names: Names, i: int, column: int) -> str:
    """What the groups of level i scatter around in one coefficient."""
    layout, up = names.layout, names.layout.levels[i].parent
    j, index = layout.holder(up, column), names.parent(i) if up >= 0 else ""
    while up > j >= 0:
        index, up = f"{names.parent(up)}[{index}]", layout.levels[up].parent
    if j >= 0:
        return f"{_theta(names, layout.levels[j], layout.columns[column])}[{index}]"
    return names.parameter(layout.columns[column]) if column in layout.population else "0.0"


def _level_lines(names: Names, scales: Scales, i: int, level: LevelLayout) -> list[str]:
    layout, count = names.layout, names.count(level)
    if layout.unpooled_below(i) is not None:
        return []
    if level.pooling == "none" and not layout.link.identity:
        return unpooled_lines(names, scales, level, {e: _theta(names, level, layout.columns[e]) for e in level.effects})
    lines: list[str] = []
    for block in level.blocks:
        effects = [level.effects[b] for b in block]
        columns = [layout.columns[e] for e in effects]
        thetas = [(_theta(names, level, c), theta_name(level.name, c)) for c in columns]
        above = [_above(names, i, e) for e in effects]
        if level.pooling == "complete":
            lines += [
                f'{v} = numpyro.deterministic("{n}", jnp.broadcast_to({a}, ({count},)))'
                for (v, n), a in zip(thetas, above, strict=True)
            ]
        elif level.pooling == "none":
            lines += [f'{v} = numpyro.sample("{n}", dist.ImproperUniform(constraints.real, ({count},), ()))' for v, n in thetas]
        elif len(block) == 1:
            (value, name), eta = thetas[0], "eta" + thetas[0][1][len("theta") :]
            sd = names.parameter(sd_name(level.name, columns[0]))
            lines.append(f'{names(f"value {eta}")} = numpyro.sample("{eta}", dist.Normal(jnp.zeros({count}), 1.0))')
            lines.append(f'{value} = numpyro.deterministic("{name}", {above[0]} + {sd} * {names(f"value {eta}")})')
        else:
            made, root = spread_lines(names, scales, level, block)
            lines += [*made, *_block_lines(names, level, columns, thetas, above, root)]
    return lines


def _block_lines(
    names: Names, level: LevelLayout, columns: list[str], thetas: list[tuple[str, str]], above: list[str], root: str
) -> list[str]:
    """Correlated effects of a level, ``root`` a square root of their covariance."""
    eta, whole = names(f"value eta_{level.name}"), names(f"value deviation_{level.name}")
    shape = f"({names.count(level)}, {len(columns)})"
    lines = [
        f'{eta} = numpyro.sample("eta_{level.name}", dist.Normal(jnp.zeros({shape}), 1.0).to_event(1))',
        f"{whole} = {eta} @ {root}.T",
    ]
    for k, ((value, name), a) in enumerate(zip(thetas, above, strict=True)):
        lines.append(f'{value} = numpyro.deterministic("{name}", {a} + {whole}[:, {k}])')
    return lines


def _mean_of_children(names: Names, i: int) -> list[str]:
    """Values above an unpooled level: the unweighted means of its children."""
    k = names.layout.unpooled_below(i)
    if k is None:
        return []
    level, child = names.layout.levels[i], names.layout.levels[k]
    parent, lines = names.parent(k), []
    number = f"jnp.bincount({parent}, length={names.count(level)})"
    for e in level.effects:
        column = names.layout.columns[e]
        value = f"jnp.zeros({names.count(level)}).at[{parent}].add({_theta(names, child, column)}) / {number}"
        if e not in child.effects:
            value = f"jnp.broadcast_to({_above(names, i, e)}, ({names.count(level)},))"
        name = theta_name(level.name, column)
        lines.append(f'{_theta(names, level, column)} = numpyro.deterministic("{name}", {value})')
    return lines


def _predictor(names: Names) -> str:
    """Linear predictor of the rows: each column's coefficient at the finest level at which it varies."""
    layout, parts = names.layout, []
    for c, column in enumerate(layout.columns):
        leaves = layout.leaves(c)
        terms = [f"{_theta(names, layout.levels[i], column)}[{names.group(layout.levels[i])}]" for i in leaves]
        population = names.parameter(column) if c in layout.population else ""
        if population:
            terms += [population] if not leaves else []
            terms += [f"-{'' if len(leaves) == 2 else f'{len(leaves) - 1} * '}{population}"] if len(leaves) > 1 else []
        if not terms:
            continue
        value = " + ".join(terms).replace("+ -", "- ")
        if column != "Intercept":
            value = f"{f'({value})' if len(terms) > 1 else value} * {names(f'column {column}')}"
        parts.append(value)
    return " + ".join(parts) or "0.0"


def _outcome_lines(names: Names) -> list[str]:
    layout, model = names.layout, names.model
    observed = f'numpyro.sample("{model.outcome}", {{law}}, obs={names.outcome()})'
    mean = names("local mu")
    if not layout.levels and set(layout.columns) <= {INTERCEPT}:  # else predictors or groups have a value for each row
        mean = f"jnp.broadcast_to({mean}, ({rows(names)},))"
    return [observed.format(law=layout.law.source(mean, columns(names), names.parameter))]
