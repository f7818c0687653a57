"""What a compiled program depends on: parameters, levels of groups, and the layout that holds them; hashable."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from hiermodels import families
from hiermodels import priors as menu
from hiermodels.families.link import Link
from hiermodels.priors import Prior
from hiermodels.quantities import INTERCEPT, Quantity, group_value, theta_name

__all__ = ["POOLING", "Layout", "LevelLayout", "Parameter", "lineage", "unit_of"]

POOLING = ("complete", "none", "partial")


@dataclass(frozen=True)
class Parameter(Quantity):
    """A hyperparameter or population coefficient that a model estimates: a quantity with a prior.

    Attributes
    ----------
    name, kind, role, owner, effect, size
        As in `hiermodels.quantities.Quantity`.
    prior : Prior
        As a user would write it: on the parameter as shown, where it is not at the predictors' means (`Layout.moved`).
    source : str
        ``named`` by the user, ``default`` (the same for any data), ``scaled`` (a default scaled to the predictors, the
        weights or the known variances), or ``none`` (a mechanism to simulate from).
    core : Prior or None
        The same prior without the numbers of one fit (`hiermodels.models.units.Units.stands`); None where it has none.

    Examples
    --------
    >>> from hiermodels.priors import half_normal
    >>> Parameter("sd_school", "positive", "group sd", "school", "Intercept", prior=half_normal(5)).role
    'group sd'
    """

    prior: Prior = field(default=menu.flat(), kw_only=True)
    source: str = field(default="named", kw_only=True)
    core: Prior | None = field(default=None, kw_only=True)

    @classmethod
    def of(cls, quantity: Quantity, prior: Prior, source: str = "named", core: Prior | None = None) -> Parameter:
        """The quantity with a prior."""
        q = quantity
        return cls(q.name, q.kind, q.role, q.owner, q.effect, q.size, prior=prior, source=source, core=core)

    @property
    def inner(self) -> Prior:
        """The prior that programs evaluate."""
        return self.core or self.prior


@dataclass(frozen=True)
class LevelLayout:
    """One grouping as the compiler sees it.

    Attributes
    ----------
    name : str
        ``school`` or ``school:classroom``.
    effects : tuple of int
        Columns of the design matrix whose coefficients vary by group.
    blocks : tuple of tuple of int
        Positions in ``effects`` that are correlated with one another.
    pooling : str
        ``complete``, ``none`` or ``partial``.
    size : int
        Groups, padding included.
    width : int or None
        Children a parent where the level is stored as a rectangle; None for ragged storage.
    parent : int
        Position of the level it nests in; -1 for the population.
    """

    name: str
    effects: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...]
    pooling: str
    size: int
    width: int | None
    parent: int


def lineage(levels: tuple[LevelLayout, ...], i: int) -> tuple[int, ...]:
    """Position of a level after those of the levels that it nests in, coarse to fine."""
    up = levels[i].parent
    return (i,) if up < 0 else (*lineage(levels, up), i)


@dataclass(frozen=True)
class Layout:
    """Everything about a model and a design that a compiled program depends on; hashable.

    Attributes
    ----------
    family : str
        That under which the model is computed: ``binomial`` for ``bernoulli`` too.
    known : bool
        Whether the outcome's variances are known.
    columns : tuple of str
        Names of the design matrix's columns: population-level ones and group effects.
    population : tuple of int
        Columns that have a population coefficient.
    levels : tuple of LevelLayout
        Coarse to fine.
    parameters : tuple of Parameter
        In the order of the unconstrained vector.
    obs : int
        Rows, padding included.
    count_bound : int
        Most trials of a group, rounded up to a power of two; 0 where it does not apply.
    twins : tuple of int
        Kinds of groups with the same design, a level each; empty where few groups are alike.
    origin : tuple of int
        Columns that sum to one: the constant one, or the indicators of a factor; empty without an intercept in the
        span.
    sheets : tuple of (int, int)
        Cells a group and groups of each rectangle that rows are reduced to, where groups integrate out by quadrature
        (`hiermodels.models.cells`).
    moves : tuple of (int, int)
        Pairs (e, c): the program centres column c, which adds to the coefficient of e at the user's origin
        (`hiermodels.models.units`).
    """

    family: str
    known: bool
    columns: tuple[str, ...]
    population: tuple[int, ...]
    levels: tuple[LevelLayout, ...]
    parameters: tuple[Parameter, ...]
    obs: int
    count_bound: int = 0
    twins: tuple[int, ...] = ()
    sheets: tuple[tuple[int, int], ...] = ()
    origin: tuple[int, ...] = ()
    moves: tuple[tuple[int, int], ...] = ()

    @property
    def normal_groups(self) -> bool:
        """Whether group values are normal around a linear predictor, as all but beta and gamma populations are."""
        return self.law.population.normal

    @property
    def gaussian(self) -> bool:
        """Whether the outcome is normal too, so that every level integrates out."""
        return self.normal_groups and self.law.conjugate

    @property
    def by_quadrature(self) -> bool:
        """Whether the groups integrate out by quadrature: one grouping with one varying coefficient, outcomes whose
        density has one peak.
        """
        if not self.normal_groups or self.gaussian or self.law.peaks or len(self.levels) != 1:
            return False
        return self.levels[0].pooling == "partial" and len(self.levels[0].effects) == 1

    @property
    def law(self) -> families.Family:
        """The family under which the model is computed."""
        return families.lookup(self.family)

    @property
    def link(self) -> Link:
        """Scale of the linear predictor."""
        return self.law.link

    @property
    def nested(self) -> bool:
        """Whether every level nests in the one before it (a tree)."""
        return all(level.parent == i - 1 for i, level in enumerate(self.levels))

    def lineage(self, level: int) -> tuple[int, ...]:
        """Position of a level after those of the levels that it nests in, coarse to fine; crossed levels are not among
        them.
        """
        return lineage(self.levels, level)

    def below(self, fine: int, coarse: int) -> bool:
        """Whether one level nests in another."""
        return coarse in self.lineage(fine)[:-1]

    def holder(self, i: int, column: int) -> int:
        """The nearest level, from level i up, whose groups have a coefficient of the column; -1 where none has: the
        population's.
        """
        line = self.lineage(i) if i >= 0 else ()
        return next((j for j in reversed(line) if column in self.levels[j].effects), -1)

    def leaves(self, column: int) -> list[int]:
        """Levels by which a column's coefficient varies and in which no other such level nests."""
        holders = [i for i, level in enumerate(self.levels) if column in level.effects]
        return [i for i in holders if not any(self.below(k, i) for k in holders)]

    def unpooled_below(self, i: int) -> int | None:
        """The level one step below level i on the way to an unpooled one, or None."""
        for k, level in enumerate(self.levels):
            if level.parent == i and (level.pooling == "none" or self.unpooled_below(k) is not None):
                return k
        return None

    @property
    def branches(self) -> tuple[tuple[int, int], ...]:
        """Levels in which no other nests, each with the finest level that it shares with those before it (-1: the
        population).

        A row's coefficient is the first one's value plus, for every other, its value less that of the shared level.
        """
        found: list[tuple[int, int]] = []
        seen = {-1}
        for i in range(len(self.levels)):
            if all(level.parent != i for level in self.levels):
                line = (-1, *self.lineage(i))
                found.append((i, max(j for j in line if j in seen)))
                seen |= set(line)
        return tuple(found)

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name, or None."""
        return next((p for p in self.parameters if p.name == name), None)

    def find(self, role: str, owner: str = "", effect: str = "") -> Parameter | None:
        """The parameter that has this role, or None; owner and effect as in `Quantity`, empty where the role has none.

        Examples
        --------
        >>> import hiermodels as hm
        >>> from hiermodels.models.data import bind
        >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
        >>> layout.find("group sd", "school", "Intercept").name, layout.find("residual sd")
        ('sd_school', None)
        """
        return next((p for p in self.parameters if (p.role, p.owner, p.effect) == (role, owner, effect)), None)

    @property
    def residual_sd(self) -> Parameter | None:
        """The residual sd, ``sigma``; None where variances are known or the outcome has none of its own."""
        return self.find("residual sd")

    @property
    def intercept(self) -> Parameter | None:
        """The population's intercept; None where the formula has none, or groups stand for it."""
        return self.find("coefficient", effect=INTERCEPT)

    def unit_of(self, parameter: Parameter) -> Parameter | None:
        """The parameter that this one's prior is given in units of; None for most priors."""
        return unit_of(parameter, self.parameters)

    def moved(self, parameter: Parameter) -> bool:
        """Whether a parameter stands at the predictors' means inside, and at their zeros where it is shown."""
        if parameter.role == "coefficient":
            return any(self.columns[e] == parameter.effect for e, _ in self.moves)
        for level in self.levels if parameter.role in ("group sd", "correlation") else ():
            if level.name == parameter.owner:
                inside = [(e, c) for block in level.blocks for e, c in self.moves_within(level, block)]
                return any(parameter.role == "correlation" or self.columns[e] == parameter.effect for e, _ in inside)
        return False

    def moves_within(self, level: LevelLayout, block: tuple[int, ...]) -> list[tuple[int, int]]:
        """Moves between the correlated effects of a partially pooled level."""
        effects = [level.effects[b] for b in block] if level.pooling == "partial" else []
        return [(e, c) for e, c in self.moves if e in effects and c in effects]

    @property
    def quantities(self) -> dict[str, Quantity]:
        """Everything that can be asked for by name: parameters, group values, their means over groups, new groups.

        Examples
        --------
        >>> import hiermodels as hm
        >>> from hiermodels.models.data import bind
        >>> layout = bind(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools")).layout
        >>> {name: q.role for name, q in layout.quantities.items() if q.role != "coefficient"}  # doctest: +NORMALIZE_WHITESPACE
        {'sd_school': 'group sd', 'theta_school': 'group value', 'mean(theta_school)': 'mean of groups',
         'new(school)': 'new group'}
        """  # noqa: E501
        return _quantities(self)

    def kind_of_values(self, level: str) -> str:
        """Support of a level's group values: the finest counts' are probabilities or rates, all others real."""
        if self.normal_groups or level != self.levels[-1].name:
            return "real"
        return self.link.kind

    def effect_names(self, level: LevelLayout) -> tuple[str, ...]:
        """Names of a level's group values: ``theta_school``, ``theta_school_x``."""
        return tuple(theta_name(level.name, self.columns[e]) for e in level.effects)


@lru_cache(maxsize=256)
def _quantities(layout: Layout) -> dict[str, Quantity]:
    found: list[Quantity] = list(layout.parameters)
    for level in layout.levels:
        kind = layout.kind_of_values(level.name)
        thetas = [group_value(level.name, layout.columns[e], kind) for e in level.effects]
        found += [*thetas, *(q.averaged for q in thetas), Quantity(f"new({level.name})", kind, "new group", level.name)]
    return {q.name: q for q in found}


def unit_of(parameter: Parameter, parameters: tuple[Parameter, ...]) -> Parameter | None:
    """The one of ``parameters`` that a prior is given in units of: the residual sd, or the same group term's
    concentration.
    """
    role = parameter.prior.unit
    if role is None:
        return None
    owner = parameter.owner if role == "concentration" else ""
    return next((p for p in parameters if p.role == role and p.owner == owner), None)
