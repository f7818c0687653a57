"""The declaration as data: a formula, a family, priors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hiermodels import families
from hiermodels import priors as menu
from hiermodels.models.expressions import plain
from hiermodels.models.formula import parse_formula
from hiermodels.models.terms import Formula
from hiermodels.priors import Prior

__all__ = ["Declaration"]


@dataclass(frozen=True)
class Declaration:
    """A model as it is written: a formula, a family, roles of columns, priors; `hiermodels.Model` is one that prints
    itself.

    Attributes
    ----------
    formula, family, known_se, trials, exposure, weights, priors
        As in `hiermodels.Model`; ``priors`` as pairs of name and record, sorted.
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

    def _check_joint_priors(self, parsed: Formula) -> None:
        groups = [g.name for g in parsed.groups]
        for name, prior in self.priors:
            if prior.joint and (families.lookup(self.family).population.normal or name not in groups):
                where = " or ".join(groups) or "a group term"
                raise ValueError(
                    f"priors: {prior} is a joint prior of a beta or gamma population, keyed by {where}; found key "
                    f"{name!r}"
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
