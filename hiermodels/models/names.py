"""One name, one quantity: what a model names itself, and what a user may therefore not call a column or a group."""

from __future__ import annotations

from collections.abc import Collection

from hiermodels.models import families
from hiermodels.models.quantities import INTERCEPT, Quantity, cor_name, group_sd, mean_name, theta_name
from hiermodels.models.spec import Layout, Model

__all__ = ["DIMENSIONS", "check_constant", "check_names", "free_name", "made"]

DIMENSIONS = ("chain", "draw")
"""Dimensions of draws, in every table of draws."""


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
    """Every quantity that a model of this layout names itself, whatever the pooling: all but the population coefficients.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
    >>> [q.name for q in made(layout)]
    ['sd_school', 'theta_school', 'mean(theta_school)', 'new(school)']
    """
    family, found = families.lookup(layout.family), []
    for level in layout.levels:
        effects = [layout.columns[e] for e in level.effects]
        if not layout.normal_groups:
            log_name = f"log_{family.precision}"
            found += [Quantity(mean_name(level.name), _natural(layout), "population mean", level.name)]
            found += [Quantity(f"{family.precision}_{level.name}", "positive", "concentration", level.name)]
            effects = [*effects, log_name] if len(layout.levels) > 1 else effects
        if layout.normal_groups or len(layout.levels) > 1:
            found += [group_sd(level.name, effect) for effect in effects]
        correlated = [b for b in level.blocks if len(b) > 1]
        found += [Quantity(cor_name(level.name), "correlation", "correlation", level.name, size=len(b)) for b in correlated]
        thetas = [Quantity(theta_name(level.name, e), _natural(layout, level.name), "group value", level.name, e) for e in effects]
        found += thetas
        found += [Quantity(f"mean({q.name})", q.kind, "mean of groups", q.owner, q.effect) for q in thetas]
        found += [Quantity(f"new({level.name})", _natural(layout, level.name), "new group", level.name)]
    if not layout.normal_groups and len(layout.levels) > 1:
        found.append(Quantity(log_name, "real", "log concentration", effect=log_name))
    return [*found, *family.own_parameters(layout.known)]


def _natural(layout: Layout, level: str | None = None) -> str:
    """Support of a mean, or of a level's group values: the finest counts' are probabilities or rates, all others real."""
    if layout.normal_groups or (level is not None and level != layout.levels[-1].name):
        return "real"
    return "unit" if families.lookup(layout.family).groups == "beta" else "positive"


def check_constant(model: Model) -> None:
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


def check_names(model: Model, layout: Layout) -> None:
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


def _taken(model: Model, layout: Layout, what: str, bearer: str, groups: bool = False) -> ValueError:
    names = [INTERCEPT, *(q.name for q in made(layout) if "(" not in q.name), *DIMENSIONS]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ValueError(
        f"formula {_cut(model.formula)!r}: {what} would share its name with {bearer}; rename the "
        f"{'columns' if groups else 'column'} (taken are {', '.join(map(_cut, names[:12]))}{more})"
    )


def _cut(text: str, most: int = 40) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
