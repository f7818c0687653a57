"""Functions in the place of those that a run folder only names, for whoever needs the study but calls none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["stand_ins"]


def stand_ins(config: Mapping[str, Any]) -> dict[str, Any]:
    """A function for each that a resolved configuration names, by place.

    Examples
    --------
    >>> list(stand_ins({"mechanisms": {"formula": "y ~ 1"}, "methods": {"mine": {"function": "module:mine"}}}))
    ['methods.mine.function']
    """
    places = {"mechanisms.formula": config["mechanisms"].get("formula")}
    for name, method in config["methods"].items():
        places |= {f"methods.{name}.{key}": method.get(key) for key in ("formula", "function")}
    return {place: _stand_in for place, text in places.items() if isinstance(text, str) and "~" not in text}


def _stand_in(outcome: Any = None) -> None:
    raise NotImplementedError
