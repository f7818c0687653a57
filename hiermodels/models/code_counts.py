"""Source lines of beta and gamma populations: what `hiermodels.models.count_sites` samples, without centring."""

from __future__ import annotations

from hiermodels.models.code_names import Names, columns, rows
from hiermodels.models.counts import count_tree, log_precision, precision, rate_name
from hiermodels.models.statements import rate_site
from hiermodels.quantities import sd_name, theta_name

__all__ = ["count_lines"]


def count_lines(names: Names) -> list[str]:
    """Statements from the parameters to the counts."""
    layout, tree = names.layout, count_tree(names.layout)
    if tree.unit < 0:
        rate = names("local rate")
        lines = [f"{rate} = {_row_rates(names)}"]
    elif tree.word == "none":
        lines, rate = _unpooled(names), _at_rows(names)
    else:
        lines, rate = [*_above(names), *_units(names)], _at_rows(names)
    law = layout.law.source_at_rate(rate, columns(names))
    lines += _below(names) if layout.levels else []
    return [*lines, f'numpyro.sample("{names.model.outcome}", {law}, obs={names.outcome()})']


def _unit(names: Names) -> str:
    """The variable of the units' probabilities or rates."""
    return names(f"value {rate_site(names.layout)}")


def _at_rows(names: Names) -> str:
    return f"{_unit(names)}[{names.group(names.layout.levels[count_tree(names.layout).unit])}]"


def _inverse(names: Names, value: str) -> str:
    return names.layout.link.inverse_source(value)


def _linked(names: Names, value: str) -> str:
    return names.layout.link.forward_source(value)


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
    return _inverse(names, " + ".join([*terms, *_slopes(names, at_units=False)]))


def _centre(names: Names) -> str:
    """Population mean on the link scale, predictors at zero."""
    name = rate_name(names.layout)
    if name is not None:
        return _linked(names, names.parameter(name))
    return names.parameter("Intercept") if "Intercept" in names.layout.columns else "0.0"


def _value(names: Names, i: int) -> str:
    return names(f"value {theta_name(names.layout.levels[i].name, 'Intercept')}")


def _descend(names: Names, value: str, start: int, stop: int) -> str:
    """A level's values, at the groups of a level below it."""
    for i in range(start + 1, stop + 1):
        value = f"{value}[{names.parent(i)}]"
    return value


def _explicit(names: Names, site: str, mean: str, sd: str, count: str) -> list[str]:
    eta = "eta" + site[len("theta") :]
    return [
        f'{names(f"value {eta}")} = numpyro.sample("{eta}", dist.Normal(jnp.zeros({count}), 1.0))',
        f'{names(f"value {site}")} = numpyro.deterministic("{site}", {mean} + {sd} * {names(f"value {eta}")})',
    ]


def _above(names: Names) -> list[str]:
    """Levels above the units, on the link scale, and the concentrations that vary there."""
    layout, tree, lines = names.layout, count_tree(names.layout), []
    for i in range(tree.unit):
        level, site = layout.levels[i], theta_name(layout.levels[i].name, "Intercept")
        mean = _centre(names) if i == 0 else _descend(names, _value(names, i - 1), i - 1, i)
        if i in tree.above:
            lines += _explicit(names, site, mean, names.parameter(sd_name(level.name, "Intercept")), names.count(level))
        else:
            lines.append(f'{_value(names, i)} = numpyro.deterministic("{site}", jnp.broadcast_to({mean}, ({names.count(level)},)))')
    if tree.above:
        top, name = layout.levels[tree.above[-1]], log_precision(layout)
        spread = names.parameter(sd_name(top.name, name))
        lines += _explicit(names, theta_name(top.name, name), names.parameter(name), spread, names.count(top))
    return lines


def _units(names: Names) -> list[str]:
    """The units' own law around their population's mean."""
    layout, tree = names.layout, count_tree(names.layout)
    level, site = layout.levels[tree.unit], rate_site(layout)
    name = rate_name(layout)
    if name is not None:
        mean = names.parameter(name)
    else:
        base = _centre(names) if tree.unit == 0 else _descend(names, _value(names, tree.unit - 1), tree.unit - 1, tree.unit)
        mean = _inverse(names, " + ".join([base, *_slopes(names, at_units=True)]))
    count, variable = names.count(level), _unit(names)
    if tree.word == "complete":
        return [f"{variable} = jnp.broadcast_to({mean}, ({count},))"]
    if tree.above:
        top, log_name = layout.levels[tree.above[-1]], log_precision(layout)
        value = names(f"value {theta_name(top.name, log_name)}")
        size = f"jnp.exp({_descend(names, value, tree.above[-1], tree.unit)})"
    else:
        size = names.parameter(precision(layout))
    m, k = names("local mean"), names("local size")
    return [
        f"{m} = jnp.broadcast_to({mean}, ({count},))",
        f"{k} = {size}",
        f'{variable} = numpyro.sample("{site}", {layout.law.population.source(m, k)})',
    ]


def _unpooled(names: Names) -> list[str]:
    """Jeffreys' prior for each unit; values above them are the means of their children."""
    layout, tree = names.layout, count_tree(names.layout)
    count, variable, site = names.count(layout.levels[tree.unit]), _unit(names), rate_site(layout)
    lines = layout.law.population.unpooled_lines(variable, site, count)
    above = variable
    for i in reversed(range(tree.unit)):
        level, parent = layout.levels[i], names.parent(i + 1)
        mean = names(f"value mean_of_{layout.levels[i + 1].name}")
        number = f"jnp.bincount({parent}, length={names.count(level)})"
        lines.append(f"{mean} = jnp.zeros({names.count(level)}).at[{parent}].add({above}) / {number}")
        lines.append(f'{_value(names, i)} = numpyro.deterministic("{theta_name(level.name, "Intercept")}", {_linked(names, mean)})')
        above = mean
    return lines


def _below(names: Names) -> list[str]:
    """Values from the units down that are no sites: those of the finest level as they are, others on the link scale."""
    layout, tree, last, lines = names.layout, count_tree(names.layout), len(names.layout.levels) - 1, []
    for i in range(tree.unit, last + 1):
        if tree.word != "complete" and i == tree.unit == last:
            continue
        here = _descend(names, _unit(names), tree.unit, i)
        here = here if i == last else _linked(names, here)
        site = theta_name(layout.levels[i].name, "Intercept")
        variable = names(f"shown {site}")
        lines.append(f'{variable} = numpyro.deterministic("{site}", {here})')
    return lines
