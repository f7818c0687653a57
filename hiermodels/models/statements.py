"""A bound model as a list of statements: which law the groups of a level follow, and around what.

`statements` is the one reading of a layout's levels, pooling and population; whatever interprets a model (NumPyro,
source, text and LaTeX, simulators) walks this list in order. Parameters and their priors are `Layout.parameters`; a
row's linear predictor adds up what its groups have, or its outcome has the rate of its group.

| statement | says |
|---|---|
| `Scattered` | theta_j ~ N(theta of what is above, S): effects that are correlated with one another stand together |
| `Free` | theta_j has a law of its own: not pooled |
| `Shared` | theta_j is the value of what is above |
| `Averaged` | theta_j is the unweighted mean of its children, which are not pooled |
| `Rates` | the groups that have a probability or a rate of their own: drawn, free, or that of the population |
| `Inherited` | groups below those share their rate; group values above the finest level are shown on the link scale |
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hiermodels.models.counts import count_tree, log_precision
from hiermodels.models.layout import Layout
from hiermodels.quantities import theta_name

__all__ = ["Averaged", "Free", "Inherited", "Rates", "Scattered", "Shared", "Statement", "rate_site", "statements"]


@dataclass(frozen=True)
class Statement:
    """What is said about some coefficients of a level's groups.

    Attributes
    ----------
    level : int
        Position of the level.
    owner : str
        Its name.
    columns : tuple of str
        Names of the coefficients: columns of the design, or that of a log concentration.
    """

    level: int
    owner: str
    columns: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the group values: ``theta_school``, ``theta_school_x``."""
        return tuple(theta_name(self.owner, column) for column in self.columns)


class Scattered(Statement):
    """Normal around what is above, with the level's standard deviations and correlations."""

    @property
    def eta(self) -> str:
        """Site of the standardised deviations."""
        return f"eta_{self.owner}" if len(self.columns) > 1 else "eta" + self.names[0][len("theta") :]

    @property
    def site(self) -> str:
        """Site of the values themselves, where they are sampled so."""
        return f"coef_{self.owner}" if len(self.columns) > 1 else self.names[0]


class Free(Statement):
    """Not pooled: each group's value has a law without parameters."""


class Shared(Statement):
    """Pooled completely: the value of what is above."""


@dataclass(frozen=True)
class Averaged(Statement):
    """Unweighted means of the groups of a finer level, ``child``, on the way to one that is not pooled."""

    child: int


@dataclass(frozen=True)
class Rates(Statement):
    """Probabilities or rates of the units of the likelihood, on their natural scale.

    ``pooling`` is ``partial`` (drawn from a population), ``none`` (free) or ``complete`` (the population's mean).
    """

    pooling: str


class Inherited(Statement):
    """Groups that have the rate of their unit: those below, and the units themselves where their rate is no group
    value.
    """


@lru_cache(maxsize=256)
def statements(layout: Layout) -> tuple[Statement, ...]:
    """Statements about the groups of every level, in the order of sampling; means of children come after, fine to
    coarse.

    Examples
    --------
    >>> import hiermodels as hm
    >>> from hiermodels.models.data import bind
    >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
    >>> statements(layout)
    (Scattered(level=0, owner='school', columns=('Intercept',)),)
    """
    rates = None if layout.normal_groups else count_tree(layout)
    found: list[Statement] = []
    averaged: list[Statement] = []
    inherited: list[Statement] = []
    for i, level in enumerate(layout.levels):
        effects = tuple(layout.columns[e] for e in level.effects)
        if rates is not None and i >= rates.unit:
            if i == rates.unit and rates.above:
                top = rates.above[-1]
                found.append(Scattered(top, layout.levels[top].name, (log_precision(layout),)))
            if i == rates.unit:
                found.append(Rates(i, level.name, effects, rates.word))
            if (rates.word, rates.unit) == ("complete", i) or len(layout.levels) - 1 > rates.unit:
                inherited.append(Inherited(i, level.name, effects))
            continue
        child = layout.unpooled_below(i)
        if child is not None:
            averaged.insert(0, Averaged(i, level.name, effects, child))
        elif level.pooling == "partial":
            found += [Scattered(i, level.name, tuple(effects[b] for b in block)) for block in level.blocks]
        else:
            found.append((Free if level.pooling == "none" else Shared)(i, level.name, effects))
    return (*found, *averaged, *inherited)


def rate_site(layout: Layout) -> str:
    """Name of the site of the units' probabilities or rates: ``theta_<g>``, or ``rate_<g>`` where groups below share
    them.
    """
    unit = count_tree(layout).unit
    name = layout.levels[unit].name
    return f"theta_{name}" if unit == len(layout.levels) - 1 else f"rate_{name}"
