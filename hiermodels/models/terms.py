"""What a formula says once it is read: terms of the population and of groups."""

from __future__ import annotations

from dataclasses import dataclass

from hiermodels.models.expressions import Column, Computed, Factor, Labels, plain

__all__ = ["Formula", "GroupTerm", "Term", "Terms", "term_name"]

Term = tuple[Factor, ...]
"""Factors whose product is a term; ``a:b`` and ``b:a`` are one term."""


@dataclass(frozen=True)
class Terms:
    """One side of a formula: whether it has an intercept, and its terms in the order written.

    Attributes
    ----------
    intercept : bool
    terms : tuple of tuple of Factor
    """

    intercept: bool
    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return " + ".join([str(int(self.intercept)), *(":".join(map(str, term)) for term in self.terms)])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the terms, ``Intercept`` first; a term of labels has a coefficient for each label or so."""
        return (*(["Intercept"] if self.intercept else []), *map(term_name, self.terms))

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the terms use, in the order written."""
        return tuple(dict.fromkeys(c for term in self.terms for factor in term for c in factor.columns))

    def uses(self, function: str) -> bool:
        """Whether a function stands in a term."""
        return any(isinstance(f, Computed) and f.expression.uses(function) for term in self.terms for f in term)

    @property
    def labelled(self) -> tuple[str, ...]:
        """Columns that ``C(...)`` takes as labels."""
        return tuple(f.column for term in self.terms for f in term if isinstance(f, Labels))

    @property
    def plain_columns(self) -> tuple[str, ...]:
        """Columns that are terms by themselves."""
        return tuple(t[0].column for t in self.terms if len(t) == 1 and isinstance(t[0], Column))


@dataclass(frozen=True)
class GroupTerm:
    """One ``(effects | factors)`` term.

    Attributes
    ----------
    effects : Terms
        Left of the bar, e.g. ``1`` or ``1 + x``.
    factors : tuple of str
        Columns whose combinations are the groups, coarse to fine; ``("school", "classroom")``.
    correlated : bool
        False for ``||``.
    """

    effects: Terms
    factors: tuple[str, ...]
    correlated: bool = True

    @property
    def name(self) -> str:
        """The group's name, e.g. ``school:classroom``."""
        return ":".join(self.factors)


@dataclass(frozen=True)
class Formula:
    """A parsed formula: outcome, population-level terms, group terms in the order written."""

    text: str
    outcome: str
    population: Terms
    groups: tuple[GroupTerm, ...]

    @property
    def sides(self) -> tuple[Terms, ...]:
        """The population's terms, and each group term's."""
        return (self.population, *(g.effects for g in self.groups))

    @property
    def predictors(self) -> tuple[str, ...]:
        """Columns that the terms use, in the order written."""
        return tuple(dict.fromkeys(c for side in self.sides for c in side.columns))


def term_name(term: Term) -> str:
    """A term's name in results: as the formula writes it, without backticks."""
    return plain(":".join(map(str, term)))
