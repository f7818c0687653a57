"""Statements of a model as lines of source: what `hiermodels.models.builder` samples, without centring."""

from __future__ import annotations

from hiermodels.models.code_means import spread_lines, unpooled_lines
from hiermodels.models.code_names import Names, columns, rows
from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.layout import LevelLayout
from hiermodels.models.scales import Scales
from hiermodels.models.statements import Averaged, Free, Inherited, Rates, Scattered, Shared, Statement, rate_site
from hiermodels.quantities import INTERCEPT, sd_name, theta_name

__all__ = ["outcome_lines", "statement_lines"]


def statement_lines(statement: Statement, names: Names, scales: Scales) -> list[str]:
    """What a statement about the groups of a level says."""
    layout, i = names.layout, statement.level
    level = layout.levels[i]
    count = names.count(level)
    match statement:
        case Scattered():
            return _scattered(statement, names, scales)
        case Rates():
            return _rates(statement, names)
        case Inherited():
            here = _descend(names, _rate(names), count_tree(layout).unit, i)
            here = here if i == len(layout.levels) - 1 else layout.link.forward_source(here)
            return [f'{names(f"shown {statement.names[0]}")} = numpyro.deterministic("{statement.names[0]}", {here})']
        case Averaged():
            return _averaged(statement, names)
    variables = [_theta(names, level, column) for column in statement.columns]
    match statement:
        case Free() if layout.law.local:
            law = f"dist.ImproperUniform(constraints.real, ({count},), ())"
            return [f'{v} = numpyro.sample("{n}", {law})' for v, n in zip(variables, statement.names, strict=True)]
        case Free():
            return unpooled_lines(names, scales, level, dict(zip(level.effects, variables, strict=True)))
        case Shared():
            above = [f"jnp.broadcast_to({_above(names, i, column)}, ({count},))" for column in statement.columns]
            return [
                f'{v} = numpyro.deterministic("{n}", {a})'
                for v, n, a in zip(variables, statement.names, above, strict=True)
            ]
    return []


def outcome_lines(names: Names) -> list[str]:
    """The outcome's statement, and what its law is around."""
    layout, model = names.layout, names.model
    if layout.normal_groups:
        value = names("local mu")
        lines = [f"{value} = {_predictor(names)}"]
        if not layout.levels and set(layout.columns) <= {
            INTERCEPT
        }:  # else predictors or groups have a value for each row
            value = f"jnp.broadcast_to({value}, ({rows(names)},))"
        law = layout.law.source(value, columns(names), names.parameter)
    else:
        unit = count_tree(layout).unit
        lines = [] if unit >= 0 else [f"{names('local rate')} = {_row_rates(names)}"]
        rate = f"{_rate(names)}[{names.group(layout.levels[unit])}]" if unit >= 0 else names("local rate")
        law = layout.law.source_at_rate(rate, columns(names))
    return [*lines, f'numpyro.sample("{model.outcome}", {law}, obs={names.outcome()})']


# normal groups ----------------------------------------------------------------------------------------------


def _theta(names: Names, level: LevelLayout, column: str) -> str:
    return names(f"value {theta_name(level.name, column)}")


def _above(names: Names, i: int, column: str) -> str:
    """What the groups of level i scatter around in one coefficient."""
    layout, up = names.layout, names.layout.levels[i].parent
    c = layout.columns.index(column) if column in layout.columns else -1
    j, index = layout.holder(up, c), names.parent(i) if up >= 0 else ""
    while up > j >= 0:
        index, up = f"{names.parent(up)}[{index}]", layout.levels[up].parent
    if j >= 0:
        return f"{_theta(names, layout.levels[j], column)}[{index}]"
    if column == INTERCEPT and not layout.normal_groups:
        return _centre(names)
    return names.parameter(column) if c < 0 or c in layout.population else "0.0"


def _scattered(statement: Scattered, names: Names, scales: Scales) -> list[str]:
    level = names.layout.levels[statement.level]
    thetas = [(_theta(names, level, c), n) for c, n in zip(statement.columns, statement.names, strict=True)]
    above = [_above(names, statement.level, c) for c in statement.columns]
    if len(thetas) > 1:
        block = next(
            b for b in level.blocks if [names.layout.columns[level.effects[k]] for k in b] == list(statement.columns)
        )
        made, root = spread_lines(names, scales, level, block)
        return [*made, *_block_lines(names, level, list(statement.columns), thetas, above, root)]
    (value, name), eta, sd = thetas[0], statement.eta, names.parameter(sd_name(level.name, statement.columns[0]))
    return [
        f'{names(f"value {eta}")} = numpyro.sample("{eta}", dist.Normal(jnp.zeros({names.count(level)}), 1.0))',
        f'{value} = numpyro.deterministic("{name}", {above[0]} + {sd} * {names(f"value {eta}")})',
    ]


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


def _averaged(statement: Averaged, names: Names) -> list[str]:
    """Values above an unpooled level: the unweighted means of its children."""
    layout, i, lines = names.layout, statement.level, []
    level, child, parent = layout.levels[i], layout.levels[statement.child], names.parent(statement.child)
    total, number = (
        f"jnp.zeros({names.count(level)}).at[{parent}].add",
        f"jnp.bincount({parent}, length={names.count(level)})",
    )
    for column, name in zip(statement.columns, statement.names, strict=True):
        if not layout.normal_groups:  # rates are averaged, and shown on the link scale
            mean = names(f"value mean_of_{child.name}")
            below = (
                _rate(names)
                if statement.child == count_tree(layout).unit
                else names(f"value mean_of_{layout.levels[statement.child + 1].name}")
            )
            lines.append(f"{mean} = {total}({below}) / {number}")
            value = layout.link.forward_source(mean)
        elif layout.columns.index(column) in child.effects:
            value = f"{total}({_theta(names, child, column)}) / {number}"
        else:
            value = f"jnp.broadcast_to({_above(names, i, column)}, ({names.count(level)},))"
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


# probabilities and rates ------------------------------------------------------------------------------------


def _rate(names: Names) -> str:
    """The variable of the units' probabilities or rates."""
    return names(f"value {rate_site(names.layout)}")


def _slopes(names: Names, at_units: bool) -> list[str]:
    """Products of coefficients and predictors, a row's or a unit's (the same in all its rows)."""
    layout, terms = names.layout, []
    for c in layout.population:
        name = layout.columns[c]
        if name == "Intercept":
            continue
        x = names(f"column {name}")
        if at_units:
            level = layout.levels[count_tree(layout).unit]
            group, count = names.group(level), names.count(level)
            x = f"jnp.zeros({count}).at[{group}].add({x}) / jnp.bincount({group}, length={count})"
        terms.append(f"{names.parameter(name)} * {f'({x})' if at_units else x}")
    return terms


def _row_rates(names: Names) -> str:
    if rate_name(names.layout) is not None:
        return f"jnp.broadcast_to({names.parameter('Intercept')}, ({rows(names)},))"
    terms = [names.parameter("Intercept")] if "Intercept" in names.layout.columns else []
    return names.layout.link.inverse_source(" + ".join([*terms, *_slopes(names, at_units=False)]))


def _centre(names: Names) -> str:
    """Population mean on the link scale, predictors at zero."""
    name = rate_name(names.layout)
    if name is not None:
        return names.layout.link.forward_source(names.parameter(name))
    return names.parameter("Intercept") if "Intercept" in names.layout.columns else "0.0"


def _descend(names: Names, value: str, start: int, stop: int) -> str:
    """A level's values, at the groups of a level below it."""
    for i in range(start + 1, stop + 1):
        value = f"{value}[{names.parent(i)}]"
    return value


def _rates(statement: Rates, names: Names) -> list[str]:
    """The units' own law around their population's mean, or Jeffreys' prior for each."""
    layout, tree = names.layout, count_tree(names.layout)
    level, site, variable = layout.levels[tree.unit], rate_site(layout), _rate(names)
    name, count = rate_name(layout), names.count(level)
    if statement.pooling == "none":
        return layout.law.population.unpooled_lines(variable, site, count, layout.law.unpooled)
    mean = (
        names.layout.link.inverse_source(
            " + ".join([_above(names, tree.unit, INTERCEPT), *_slopes(names, at_units=True)])
        )
        if name is None
        else names.parameter(name)
    )
    if statement.pooling == "complete":
        return [f"{variable} = jnp.broadcast_to({mean}, ({count},))"]
    if tree.above:
        top = tree.above[-1]
        value = _theta(names, layout.levels[top], log_precision(layout))
        size = f"jnp.exp({_descend(names, value, top, tree.unit)})"
    else:
        size = names.parameter(precision(layout))
    m, k = names("local mean"), names("local size")
    return [
        f"{m} = jnp.broadcast_to({mean}, ({count},))",
        f"{k} = {size}",
        f'{variable} = numpyro.sample("{site}", {layout.law.population.source(m, k)})',
    ]
