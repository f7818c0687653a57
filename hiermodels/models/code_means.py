"""Source lines of priors that stand at the predictors' means: the parameter is sampled at zero, its density is taken
there.
"""

from __future__ import annotations

import numpy as np

from hiermodels.models.code_names import Names, prior_lines
from hiermodels.models.defaults import UNPOOLED
from hiermodels.models.layout import LevelLayout, Parameter
from hiermodels.models.moves import inward, scale_of
from hiermodels.models.scales import Scales
from hiermodels.quantities import cor_name, sd_name, theta_name

__all__ = ["moved_priors", "parameter_lines", "spread_lines", "unpooled_lines"]


def _at_means(names: Names, scales: Scales, e: int, value: dict[int, str]) -> str:
    """A coefficient at the predictors' means and the mean exposure, from the values of all at zero."""
    layout = names.layout
    t = inward(layout, scales)
    back = t[e, e] * np.linalg.inv(t)[e]
    terms = [f"{float(back[c])!r} * {value[c]}" for k, c in layout.moves if k == e and c in value]
    if e in layout.origin and scales.exposure is not None and names.model.exposure is not None:
        terms.append(repr(float(np.log(scales.exposure))))
    return " + ".join([value[e], *terms]).replace("+ -", "- ")


def parameter_lines(p: Parameter, names: Names) -> list[str]:
    """Statements that sample a parameter; the density of one that stands at the means comes later, in
    `moved_priors`.
    """
    if _waits(p, names):
        return [
            f'{names.parameter(p.name)} = numpyro.sample("{p.name}", dist.ImproperUniform(constraints.real, (), ()))'
        ]
    if p.role in ("group sd", "correlation") and names.layout.moved(p):
        name = f"chol_{p.owner}_at_means" if p.role == "correlation" else f"{p.name}_at_means"
        lines = prior_lines(p, names, names.layout)[:1]
        return [
            line.replace(f'"chol_{p.owner}"' if p.role == "correlation" else f'"{p.name}"', f'"{name}"')
            for line in lines
        ]
    return prior_lines(p, names, names.layout)


def _waits(p: Parameter, names: Names) -> bool:
    """Whether a coefficient's default prior stands elsewhere than at zero."""
    if p.role != "coefficient" or p.core is None or p.core.constant:
        return False
    exposed = names.model.exposure is not None
    return names.layout.moved(p) or (exposed and names.layout.columns.index(p.effect) in names.layout.origin)


def moved_priors(names: Names, scales: Scales) -> list[str]:
    """Densities of coefficients at the predictors' means."""
    layout, found = names.layout, []
    value = {c: names.parameter(layout.columns[c]) for c in layout.population}
    for p in layout.parameters:
        if _waits(p, names):
            at = _at_means(names, scales, layout.columns.index(p.effect), value)
            found.append(f'numpyro.factor("prior_{p.name}", {p.prior.source("real")}.log_prob({at}))')
    return found


def unpooled_lines(names: Names, scales: Scales, level: LevelLayout, value: dict[int, str]) -> list[str]:
    """Coefficients of groups that are not pooled, where they have a prior."""
    layout, count = names.layout, names.count(level)
    lines = [
        f'{value[e]} = numpyro.sample("{theta_name(level.name, layout.columns[e])}", '
        f"dist.ImproperUniform(constraints.real, ({count},), ()))"
        for e in level.effects
    ]
    for e in level.effects:
        name = theta_name(level.name, layout.columns[e])
        law = f"dist.Normal({UNPOOLED.args[0]}, {UNPOOLED.args[1] / scale_of(layout, scales, e)!r})"
        lines.append(f'numpyro.factor("prior_{name}", {law}.log_prob({_at_means(names, scales, e, value)}).sum())')
    return lines


def spread_lines(names: Names, scales: Scales, level: LevelLayout, block: tuple[int, ...]) -> tuple[list[str], str]:
    """The root of a block's covariance where predictors are zero, and statements that make it."""
    layout = names.layout
    effects = [level.effects[b] for b in block]
    sds = [names.parameter(sd_name(level.name, layout.columns[e])) for e in effects]
    cor = names.parameter(cor_name(level.name))
    root = f"jnp.stack([{', '.join(sds)}])[:, None] * {cor}"
    if not layout.moves_within(level, block):
        return [], f"({root})"
    t = inward(layout, scales)
    matrix = [[float(t[e, c] / t[c, c]) for c in effects] for e in effects]
    variable, spread = names(f"value root_{level.name}"), names(f"value spread_{level.name}")
    lines = [
        f"{variable} = jnp.array({matrix!r}) @ ({root})",
        f"{spread} = jnp.sqrt(jnp.sum({variable} ** 2, axis=1))",
        f'numpyro.deterministic("{cor_name(level.name)}", {variable} @ {variable}.T / ({spread}[:, None] * {spread}))',
    ]
    for k, e in enumerate(effects):
        p = layout.find("group sd", level.name, layout.columns[e])
        if p is not None and layout.moved(p):
            lines.append(f'numpyro.deterministic("{p.name}", {spread}[{k}])')
    return lines, variable
