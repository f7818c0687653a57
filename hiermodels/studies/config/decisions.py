"""``decisions`` and ``stop`` of a config: read and checked; what they mean is in `hiermodels.studies.score.power` and
`hiermodels.studies.run.sequential`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from hiermodels.studies.config.cells import Cell
from hiermodels.studies.config.errors import nearest, problem
from hiermodels.studies.config.targets import read_stop
from hiermodels.studies.config.texts import Estimand
from hiermodels.studies.score.rules import read_rules

__all__ = ["Decisions", "StopRule", "check_decisions"]

_NUMBER = {"type": "number"}
_RULE_SCHEMA = {
    "type": "object",
    "properties": {
        "estimand": {"type": "string"},
        "above": _NUMBER,
        "excludes": _NUMBER,
        "side": {"enum": ["both", "above", "below"]},
        "type1": _NUMBER,
        "null": {"type": "object", "additionalProperties": {"type": ["number", "string"]}},
    },
    "additionalProperties": False,
}


def _decisions(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    try:
        read_rules(value)
    except ValueError as error:
        name, colon, rest = str(error).partition(": ")
        known = isinstance(value, Mapping) and name in value
        raise problem(rest if known and colon else str(error), (name,) if known and colon else ()) from None
    return {str(name): dict(rule) if isinstance(rule, Mapping) else rule for name, rule in value.items()}


def _stop(value: Any) -> dict[str, Any]:
    if value is None or value == {}:
        return {}
    try:
        rule = read_stop(value)
    except ValueError as error:
        raise problem(str(error)) from None
    return {**rule.targets, "minimum": rule.minimum}


Decisions = Annotated[
    dict[str, Any],
    BeforeValidator(_decisions),
    WithJsonSchema({"type": "object", "additionalProperties": {"anyOf": [_NUMBER, _RULE_SCHEMA]}}),
]
StopRule = Annotated[
    dict[str, Any], BeforeValidator(_stop), WithJsonSchema({"type": "object", "additionalProperties": _NUMBER})
]


def check_decisions(decisions: Mapping[str, Any], estimands: Sequence[Estimand], cells: Sequence[Cell]) -> None:
    """Every decision reads an estimand of the study, and of the right kind; every null cell is named by factors of the
    grid.
    """
    known = {e.name: e for e in estimands}
    factors = {name for cell in cells for name in cell.factors}
    for rule in read_rules(decisions):
        at = ("decisions", rule.name)
        if rule.estimand not in known:
            raise problem(
                f"expected an estimand of the study; found {rule.estimand!r}; {nearest(rule.estimand, known)}", at
            )
        probability = known[rule.estimand].kind in ("probability", "test")
        if probability != (rule.excludes is None):
            wanted = (
                "excludes: <number> for an estimand with an interval"
                if rule.excludes is None
                else "above: <threshold> for a posterior probability or a test"
            )
            raise problem(f"expected {wanted}; found {known[rule.estimand].text!r}; mend the rule", at)
        for name in rule.null:
            if name not in factors:
                raise problem(f"expected a factor of the grid; found {name!r}; {nearest(name, factors)}", (*at, "null"))
