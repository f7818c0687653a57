"""One name, one quantity: what a model names itself, and what a user may therefore not call a column or a group."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from hiermodels import families
from hiermodels.models.declaration import Declaration
from hiermodels.models.declared import declared_layout
from hiermodels.models.layout import Layout
from hiermodels.quantities import INTERCEPT, Quantity, coefficient, cor_name, group_sd, group_value, mean_name

__all__ = [
    "DIMENSIONS",
    "check_constant",
    "check_names",
    "check_prior_names",
    "declared",
    "find",
    "free_name",
    "made",
    "takes_prior",
]

DIMENSIONS = ("chain", "draw")
"""Dimensions of draws, in every table of draws."""
_LEVEL = re.compile(r"\[[^\[\]]*\]")
"""The category that a column of a categorical predictor stands for: ``[yes]``."""


def free_name(name: str, suffix: str, taken: Collection[str]) -> str:
    """The name with the suffix as often as it takes to be none of those that are taken.

    Examples
    --------
    >>> free_name("year", "_group", {"year", "sigma"}), free_name("school", "_group", {"year"})
    ('year_group', 'school')
    """
    while name in taken:
        name += suffix
    return name


def made(layout: Layout) -> list[Quantity]:
    """Every quantity that a model of this layout names itself, whatever the pooling: all but the population
    coefficients.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
    >>> [q.name for q in made(layout)]
    ['sd_school', 'theta_school', 'mean(theta_school)', 'new(school)']
    """
    family, found = layout.law, []
    for level in layout.levels:
        effects = [layout.columns[e] for e in level.effects]
        if not layout.normal_groups:
            log_name = f"log_{family.precision}"
            found += [Quantity(mean_name(level.name), family.link.kind, "population mean", level.name)]
            found += [Quantity(f"{family.precision}_{level.name}", "positive", "concentration", level.name)]
            effects = [*effects, log_name] if len(layout.levels) > 1 else effects
        if layout.normal_groups or len(layout.levels) > 1:
            found += [group_sd(level.name, effect) for effect in effects]
        correlated = [b for b in level.blocks if len(b) > 1]
        found += [
            Quantity(cor_name(level.name), "correlation", "correlation", level.name, size=len(b)) for b in correlated
        ]
        kind = layout.kind_of_values(level.name)
        thetas = [group_value(level.name, e, kind if e == INTERCEPT else "real") for e in effects]
        found += [*thetas, *(q.averaged for q in thetas), Quantity(f"new({level.name})", kind, "new group", level.name)]
    if not layout.normal_groups and len(layout.levels) > 1:
        found.append(Quantity(log_name, "real", "log concentration", effect=log_name))
    return [*found, *family.own_parameters(layout.known)]


def declared(model: Declaration) -> dict[str, Quantity]:
    """Every quantity that a formula alone implies, by name; a categorical predictor stands for all its columns.

    Examples
    --------
    >>> import hiermodels as hm
    >>> [f"{q.name}: {q.role}" for q in declared(hm.Model("y ~ 1 + x + (1 | g)")).values()][:4]
    ['Intercept: coefficient', 'x: coefficient', 'sd_g: group sd', 'theta_g: group value']
    """
    layout = declared_layout(model)
    found = [*(coefficient(layout.columns[c]) for c in layout.population), *made(layout)]
    return {q.name: q for q in found}


def find(quantities: Mapping[str, Quantity], name: str) -> Quantity | None:
    """The quantity of this name, or what ``treated[yes]`` and ``sd_g_treated[yes]`` are by the categorical predictor
    they belong to.

    Examples
    --------
    >>> import hiermodels as hm
    >>> find(declared(hm.Model("y ~ arm + (1 + arm | g)")), "sd_g_arm[B]").role
    'group sd'
    """
    base = name
    while base not in quantities and base != (shorter := _LEVEL.sub("", base)):
        base = shorter
    return replace(quantities[base], name=name) if base in quantities else None


def takes_prior(model: Declaration, known: Mapping[str, Quantity], name: str) -> bool:
    """Whether a prior may be written for this name: a parameter, what a pooling would take away, or a group term
    (joint priors).
    """
    found = find(known, name)
    if found is not None:
        return found.role not in ("group value", "mean of groups", "new group")
    precision = families.lookup(model.family).precision
    return any(
        name in (g.name, cor_name(g.name), mean_name(g.name), f"{precision}_{g.name}") for g in model.parsed.groups
    )


def check_prior_names(model: Declaration) -> None:
    """Refuse priors of what the formula has not; names of predictors' columns wait for the data.

    Raises
    ------
    ValueError
        With the nearest name.
    """
    known = declared(model)
    for name, _ in model.priors:
        if takes_prior(model, known, name):
            continue
        names = [n for n, q in known.items() if q.role not in ("group value", "mean of groups", "new group")]
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"the parameters are {_listed(names)}"
        raise ValueError(f"priors: {_cut(name)!r} does not reach the likelihood of {_cut(model.formula)!r}; {hint}")


def check_constant(model: Declaration) -> None:
    """Refuse a predictor that is called as the constant is.

    Raises
    ------
    ValueError
    """
    if INTERCEPT in model.parsed.predictors:
        raise ValueError(
            f"formula {_cut(model.formula)!r}: the column {INTERCEPT!r} would share its name with the constant, whose "
            f"coefficient is called {INTERCEPT}; rename the column"
        )


def check_names(model: Declaration, layout: Layout) -> None:
    """Refuse names of columns and groups by which two quantities of a model would share a name.

    Raises
    ------
    ValueError
        Naming both quantities, with the names that are taken.
    """
    own: dict[str, Quantity] = {}
    for quantity in made(layout):
        if quantity.name in own:
            raise _taken(model, layout, quantity.words, f"{own[quantity.name].words}, {quantity.name!r}", groups=True)
        own[quantity.name] = quantity
    coefficients = [(layout.columns[c], "the coefficient of column") for c in layout.population]
    for name, what in [*coefficients, (model.outcome, "the outcome")]:
        if name in DIMENSIONS:
            raise _taken(model, layout, f"{what} {name!r}", f"the dimension of {name}s in tables of draws")
        if name in own and name != model.outcome:
            raise _taken(model, layout, f"{what} {name!r}", own[name].words)


def _taken(model: Declaration, layout: Layout, what: str, bearer: str, groups: bool = False) -> ValueError:
    names = [INTERCEPT, *(q.name for q in made(layout) if q.role not in ("mean of groups", "new group")), *DIMENSIONS]
    return ValueError(
        f"formula {_cut(model.formula)!r}: {what} would share its name with {bearer}; rename the "
        f"{'columns' if groups else 'column'} (taken are {_listed(names)})"
    )


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{', '.join(map(_cut, names[:12]))}{more}"


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
