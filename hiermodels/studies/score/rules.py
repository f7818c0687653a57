"""Rules of decisions, as the ``decisions`` of a config say them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Rule", "read_rules"]

_KEYS = ("estimand", "above", "excludes", "side", "type1", "null")
_SIDES = ("both", "above", "below")


@dataclass(frozen=True)
class Rule:
    """When a decision fires.

    Attributes
    ----------
    name : str
        Of the decision; the ``estimand`` of its rows in the table.
    estimand : str
        What it reads.
    above : float or None
        Fires where the estimate, a posterior probability, exceeds it.
    excludes : float or None
        Fires where the interval excludes it.
    side : str
        ``both``, ``above`` or ``below``: where the interval has to lie.
    type1 : float or None
        Fires above the threshold that this share of the null cell exceeds.
    null : dict of str to number or text
        Factors of the null cell; the other factors are the cell's own.
    """

    name: str
    estimand: str
    above: float | None = None
    excludes: float | None = None
    side: str = "both"
    type1: float | None = None
    null: Mapping[str, Any] = field(default_factory=dict)


def read_rules(decisions: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Rules from the ``decisions`` of a config.

    Parameters
    ----------
    decisions : mapping
        Name of a decision to a threshold, or to a mapping with ``estimand`` (by default the name) and one of ``above``,
        ``excludes`` (with ``side``) and ``type1`` (with ``null``).

    Raises
    ------
    ValueError
        Starting with the decision's name: what was expected, what was found, what to write.

    Examples
    --------
    >>> read_rules({"benefit": 0.975})[0].above
    0.975
    >>> read_rules({"differs": {"estimand": "treated", "excludes": 0}})[0].side
    'both'
    """
    if not isinstance(decisions, Mapping):
        raise ValueError(f"expected decision: threshold, found {decisions!r}; write e.g. {{benefit: 0.975}}")
    return tuple(_rule(str(name), value) for name, value in decisions.items())


def _rule(name: str, value: Any) -> Rule:
    given = dict(value) if isinstance(value, Mapping) else {"above": value}
    for key in given:
        if key not in _KEYS:
            near = difflib.get_close_matches(str(key), _KEYS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(_KEYS)}"
            raise ValueError(f"{name}: unknown key {key!r}; {hint}")
    kinds = [key for key in ("above", "excludes", "type1") if key in given]
    if len(kinds) != 1:
        found = " and ".join(kinds) or "none"
        raise ValueError(
            f"{name}: expected one of above, excludes and type1, found {found}; write e.g. {{above: 0.975}}"
        )
    kind = kinds[0]
    number = given[kind]
    real = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not real or (kind != "excludes" and not 0 < number < 1):
        wanted = "a number" if kind == "excludes" else "a number between 0 and 1"
        raise ValueError(
            f"{name}: {kind}: expected {wanted}, found {number!r}; write e.g. {0 if kind == 'excludes' else 0.975}"
        )
    side = given.get("side", "both")
    if side not in _SIDES or (side != "both" and kind != "excludes"):
        raise ValueError(
            f"{name}: side: expected one of {', '.join(_SIDES)}, of an interval that excludes a value, found "
            f"{side!r}; mend it"
        )
    null = given.get("null", {})
    if (kind == "type1") != bool(null) or not isinstance(null, Mapping):
        raise ValueError(
            f"{name}: null: expected the factors of the null cell beside type1 and nowhere else, found {null!r}; "
            f"write e.g. null: {{treated: 0}}"
        )
    return Rule(name, str(given.get("estimand", name)), **{kind: float(number)}, side=side, null=dict(null))
