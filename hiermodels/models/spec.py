"""The declaration: a formula, a family, priors. It prints itself as mathematics.

Names of what a model estimates, the same for every sampler:

| | name | axes after chain, draw |
|---|---|---|
| population level | ``Intercept``, ``treated``, ``x`` as the formula names them | |
| residual sd | ``sigma`` | |
| group sd; of a slope | ``sd_school``, ``sd_school:classroom``; ``sd_school_x`` | |
| correlation | ``cor_school`` | effect, effect |
| a group's value; its slope | ``theta_school``; ``theta_school_x`` | school |
| beta / gamma population | ``mean_school``, ``kappa_school`` / ``mean_school``, ``shape_school`` | |

A group's ``theta`` is the population coefficient plus its own deviation plus its ancestors', predictors at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hiermodels import families
from hiermodels import priors as menu
from hiermodels.families.link import Link
from hiermodels.models.expressions import plain
from hiermodels.models.formula import parse_formula
from hiermodels.models.terms import Formula
from hiermodels.priors import Prior
from hiermodels.quantities import INTERCEPT, Quantity, cor_name, group_value, sd_name, theta_name

__all__ = ["Layout", "LevelLayout", "Model", "Parameter", "cor_name", "sd_name", "theta_name"]

POOLING = ("complete", "none", "partial")


@dataclass(frozen=True)
class Model:
    """A hierarchical model, declared once.

    Parameters
    ----------
    formula : str
        As in lme4: ``score ~ 1 + treated + (1 | school/classroom)``.
    family : str
        One of `hiermodels.families`: ``normal``, ``student_t``, ``binomial``, ``bernoulli``, ``poisson`` and their
        normal-population forms ``binomial_logit``, ``bernoulli_logit``, ``poisson_log``, ``negative_binomial``.
    known_se, trials, exposure, weights : str, optional
        Column names: known standard errors of a normal outcome; binomial trials; Poisson exposure; weights that
        divide the residual variance (``sigma^2 / weight``).
    priors : mapping of str to prior, optional
        Parameter name to a prior's text or record, e.g. ``{"sd_school": "half_normal(5)"}``. Parameters that are not
        named take the default, which ``print(model)`` and every fit show.

    Raises
    ------
    ValueError
        For a formula, family, column role or prior that cannot be read. Columns are checked when the model meets data.

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
    >>> print(model)
    effect_i ~ N(theta_school[i], se_i^2)
    theta_school_j ~ N(Intercept, sd_school^2)
    Intercept ~ flat()
    sd_school ~ half_normal(5)
    """

    formula: str
    family: str = "normal"
    known_se: str | None = field(default=None, kw_only=True)
    trials: str | None = field(default=None, kw_only=True)
    exposure: str | None = field(default=None, kw_only=True)
    weights: str | None = field(default=None, kw_only=True)
    priors: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        family = families.lookup(self.family)
        parsed = parse_formula(self.formula)
        for role in ("known_se", "trials", "exposure", "weights"):
            if isinstance(column := getattr(self, role), str):
                object.__setattr__(self, role, plain(column))
            if getattr(self, role) is not None and role not in family.columns:
                used = ", ".join(family.columns) or "no other column"
                raise ValueError(f"{role}: family {family.name} does not use it (it uses {used}); leave {role} out")
            if role in family.needs and getattr(self, role) is None:
                raise ValueError(f"{role}: family {family.name} needs the column of its {role}; give {role}=<column>")
        if self.known_se is not None and self.weights is not None:
            raise ValueError("weights: known_se fixes every variance already; leave weights out")
        object.__setattr__(self, "priors", _read_priors(self.priors))
        self._check_joint_priors(parsed)
        if self.priors:
            from hiermodels.models.names import check_prior_names

            check_prior_names(self)

    def _check_joint_priors(self, parsed: Formula) -> None:
        groups = [g.name for g in parsed.groups]
        for name, prior in self.priors:
            if prior.joint and (families.lookup(self.family).population.normal or name not in groups):
                where = " or ".join(groups) or "a group term"
                raise ValueError(
                    f"priors: {prior} is a joint prior of a beta or gamma population, keyed by {where}; found key {name!r}"
                )

    @property
    def parsed(self) -> Formula:
        """The formula, parsed."""
        return parse_formula(self.formula)

    @property
    def outcome(self) -> str:
        """Name of the outcome column."""
        return self.parsed.outcome

    @property
    def prior(self) -> dict[str, Prior]:
        """Priors that were named, by parameter."""
        return dict(self.priors)

    def __str__(self) -> str:
        from hiermodels.models.display import text

        return text(self)

    def latex(self) -> str:
        """The model as LaTeX lines (an ``aligned`` block).

        Examples
        --------
        >>> "mathrm{N}" in Model("y ~ 1 + (1 | g)").latex()
        True
        """
        from hiermodels.models.display import latex

        return latex(self)

    def code(self, data: Any = None, pooling: str | Mapping[str, str] = "partial") -> str:
        """Source of a NumPyro function of this very model: readable, standing alone, priors written out.

        Parameters
        ----------
        data : DataFrame, optional
            Needed for the names of categorical predictors, and for the numbers of defaults that are scaled to known variances.
        pooling : str or mapping
            As in `hiermodels.fit`; needs ``data`` unless it is ``partial``.

        Returns
        -------
        str
            Python: imports and ``def model(...)``. Group values are standardised deviations, as they are with ``centred=False``.

        Raises
        ------
        ValueError
            Without ``data`` where it is needed.

        Examples
        --------
        >>> model = Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
        >>> "dist.HalfNormal(5.0)" in model.code()
        True
        """
        from hiermodels.models.code import text
        from hiermodels.models.data import bind

        if data is None and pooling != "partial":
            raise ValueError(f"code: pooling {pooling!r} needs the groups of the data; give data=<frame>")
        if data is None:
            return text(self)
        problem = bind(self, data, pooling)
        return text(self, problem.layout, problem.scales)

    def _repr_latex_(self) -> str:
        return "$$" + self.latex() + "$$"


def _read_priors(priors: Mapping[str, Any] | tuple | None) -> tuple[tuple[str, Prior], ...]:
    if priors is None:
        return ()
    if isinstance(priors, tuple):
        priors = dict(priors)
    if not isinstance(priors, Mapping):
        raise ValueError(f"priors: expected a mapping of parameter to prior, found {type(priors).__name__}")
    found: dict[str, Prior] = {}
    for key, value in priors.items():
        name = plain(str(key))
        if name in found:
            raise ValueError(f"priors: two keys both stand for the prior of {name!r}; keep one")
        found[name] = menu.parse(value, f"priors: {key}")
    return tuple(sorted(found.items()))


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
        ``named`` by the user, ``default`` (the same for any data), ``scaled`` (a default scaled to the predictors, the weights or the
        known variances), or ``none`` (a mechanism to simulate from).
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
        Columns that sum to one: the constant one, or the indicators of a factor; empty without an intercept in the span.
    moves : tuple of (int, int)
        Pairs (e, c): the program centres column c, which adds to the coefficient of e at the user's origin (`hiermodels.models.units`).
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
        """Position of a level after those of the levels that it nests in, coarse to fine; crossed levels are not among them."""
        up = self.levels[level].parent
        return (level,) if up < 0 else (*self.lineage(up), level)

    @property
    def branches(self) -> tuple[tuple[int, int], ...]:
        """Levels in which no other nests, each with the finest level that it shares with those before it (-1: the population).

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
        """
        return _quantities(self)

    def kind_of_values(self, level: str) -> str:
        """Support of a level's group values: the finest counts' are probabilities or rates, all others real."""
        if self.normal_groups or level != self.levels[-1].name:
            return "real"
        return self.law.kind_of_rate

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
    """The one of ``parameters`` that a prior is given in units of: the residual sd, or the same group term's concentration."""
    role = parameter.prior.unit
    if role is None:
        return None
    owner = parameter.owner if role == "concentration" else ""
    return next((p for p in parameters if p.role == role and p.owner == owner), None)
