"""How datasets come about: the ``mechanisms`` of a study, and the model that a part of a study declares."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from hiermodels.models.formula import parse_formula
from hiermodels.models.spec import Model
from hiermodels.studies.config.fields import (
    ROLES,
    Column,
    Design,
    DeviationField,
    FamilyName,
    FormulaText,
    Grid,
    Part,
    Truth,
)

__all__ = ["Declared", "Mechanisms", "named", "outcome_of"]


class Declared(Part):
    """A part of a study that has a model: fields ``formula``, ``family`` and a column for each role."""

    if TYPE_CHECKING:
        formula: Any
        family: str

    def declaration(self) -> Model:
        """The model, without priors, as `hiermodels.Model`."""
        return Model(**{name: getattr(self, name) for name in ("formula", "family", *ROLES)})


class Mechanisms(Declared):
    """How datasets come about: a model, a design, true values, and what varies between cells.

    Attributes
    ----------
    formula, family, known_se, trials, exposure, weights
        The model that simulates.
    design : str or dict
        Name of a dataset; ``{"table": columns}`` of a file; or level sizes in nesting order with ``obs`` and
        ``predictors``.
    truth : dict
        Variable to number, distribution text, or for thetas label -> number or a column of the design.
    grid : dict or list
        Factors: a mapping is crossed, a list of mappings is taken row by row.
    deviation : dict
        How datasets differ from what the model says; see `hiermodels.studies.mechanisms.deviations`.
    """

    formula: FormulaText = Field(
        examples=["effect ~ 1 + (1 | school)"],
        description="as in lme4: score ~ 1 + treated + (1 | school/classroom)",
    )
    family: FamilyName = Field("normal", description="distribution of the outcome")
    known_se: Column = Field(None, description="column of known standard errors")
    trials: Column = Field(None, description="column of binomial trials")
    exposure: Column = Field(None, description="column of Poisson exposures")
    weights: Column = Field(None, description="column of weights")
    design: Design = Field(
        examples=["eight_schools"],
        description="a dataset's name, a file, or level sizes in nesting order: {school: 20, obs: 10}",
    )
    truth: Truth = Field(
        {},
        description="true values: a number, a distribution text, or for thetas label to number or a column",
    )
    grid: Grid = Field({}, description="what varies: a mapping is crossed, a list of mappings is taken row by row")
    deviation: DeviationField = Field({}, description="how datasets differ from the model, e.g. effects: student_t(3)")


def named(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as plain values, functions by name."""
    return {k: f"{v.__module__}:{v.__qualname__}" if callable(v) else _copy(v) for k, v in fields.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(v) for v in value]
    return value


def outcome_of(formula: Any) -> str:
    """Name of the outcome of a formula, or of a NumPyro function: its one parameter with default None.

    Raises
    ------
    ValueError
        For a function with no such parameter, or with several.

    Examples
    --------
    >>> outcome_of("effect ~ 1 + (1 | school)"), outcome_of(lambda se, y=None: None)
    ('effect', 'y')
    """
    if not callable(formula):
        return parse_formula(formula).outcome
    parameters = inspect.signature(formula).parameters
    free = [name for name, p in parameters.items() if p.default is None]
    if len(free) != 1:
        raise ValueError(
            f"formula: expected one parameter with default None, the outcome, found {', '.join(free) or 'none'} among "
            f"({', '.join(parameters)}); write e.g. def model(se, effect=None)"
        )
    return free[0]
