"""Target Monte Carlo standard errors of measures, and the rule that ends a cell when they are reached, as a config
says them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hiermodels.studies.score.measures import MENU
from hiermodels.studies.store.blocks import known

__all__ = ["MINIMUM", "Stop", "read_stop", "read_targets"]

MINIMUM = 100
"""Replicates before which no cell ends."""


@dataclass(frozen=True)
class Stop:
    """When a cell has replicates enough.

    Attributes
    ----------
    targets : dict of str to float
        Measure to target MCSE.
    minimum : int
        Fewest replicates.
    """

    targets: dict[str, float] = field(default_factory=dict)
    minimum: int = MINIMUM


def read_stop(value: Any) -> Stop:
    """The rule of a config's ``stop``.

    Raises
    ------
    ValueError
        For an unknown measure, a target or a minimum that is not positive.

    Examples
    --------
    >>> read_stop({"cover": 0.005})
    Stop(targets={'cover': 0.005}, minimum=100)
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"expected measure: MCSE, found {value!r}; write e.g. {{cover: 0.005}}")
    minimum = value.get("minimum", MINIMUM)
    if isinstance(minimum, bool) or not isinstance(minimum, int | float) or minimum != int(minimum) or minimum < 2:
        raise ValueError(f"minimum: expected a whole number of at least 2, found {minimum!r}; write e.g. {MINIMUM}")
    try:
        targets = read_targets({k: v for k, v in value.items() if k != "minimum"})
    except ValueError as error:
        raise ValueError(str(error).removeprefix("mcse: ")) from None
    return Stop(targets, int(minimum))


def read_targets(targets: Mapping[str, float] | Sequence[str]) -> dict[str, float]:
    """Target MCSEs by measure, from a mapping or from texts ``cover=0.005``.

    Raises
    ------
    ValueError
        For an unknown measure (with the nearest right one) or a target that is not positive.

    Examples
    --------
    >>> read_targets(["cover=0.005", "bias=0.1"])
    {'cover': 0.005, 'bias': 0.1}
    """
    if not isinstance(targets, Mapping):
        pairs = [str(text).partition("=") for text in targets]
        wrong = next((f"{a}{b}{c}" for a, b, c in pairs if not b), None)
        if wrong is not None:
            raise ValueError(f"mcse: expected MEASURE=NUMBER, found {wrong!r}; write e.g. cover=0.005")
        targets = {name.strip(): _number(value) for name, _, value in pairs}
    if not targets:
        raise ValueError("mcse: expected a target such as cover=0.005, found none; name at least one measure")
    for name, value in targets.items():
        known("mcse", name, MENU)
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise ValueError(f"mcse: {name}: expected a positive number, found {value!r}; give e.g. 0.005")
    return {str(name): float(value) for name, value in targets.items()}


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text
