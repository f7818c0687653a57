"""The table of targets: numbers that models of the lectures must give, how each is known, and how close is close
enough.

One row of ``targets.csv`` is one number:

| column | holds |
|---|---|
| ``section``, ``system``, ``quantity`` | where it belongs, and what it is |
| ``value`` | the number, with the digits that are known |
| ``tag`` | ``C`` closed form, ``Q`` quadrature, ``R`` independent Monte Carlo, ``S`` average over simulated datasets, ``M`` printed in a lecture |
| ``se`` | standard error of the number, where it has one |
| ``tolerance`` | where the rule of its tag does not hold |
| ``how`` | module and function of `hiermodels.targets` that computes it with the library |
| ``routes`` | samplers by which that function is asked, none for a function with one way |
| ``slow`` | ``yes`` where computing takes minutes |

A number computed without randomness must agree with C to 1e-6 relative or the printed digits, with Q to a unit in the
last printed digit or 2e-4 relative, whichever is larger. Where either number has a standard error, four of both
together are allowed, and half a unit in the last printed digit.
"""  # noqa: E501

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Check", "Target", "allowed", "checks", "printed", "read_targets"]

_FILE = Path(__file__).parent / "targets.csv"
_CHAINS = ("nuts", "gibbs", "metropolis")


@dataclass(frozen=True)
class Target:
    """A row of the table; ``text`` is the number as printed."""

    section: int
    system: str
    quantity: str
    text: str
    tag: str
    se: float
    tolerance: float | None
    how: str
    routes: tuple[str, ...]
    slow: bool

    @property
    def value(self) -> float:
        """The number."""
        return float(self.text)

    @property
    def unit(self) -> float:
        """One unit in the last printed digit."""
        digits, _, exponent = self.text.lower().partition("e")
        return 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))


@dataclass(frozen=True)
class Check:
    """A target by one route: what is computed once for all targets of the same function and route.

    Attributes
    ----------
    how : str
        Module and function.
    route : str
        Sampler, or empty.
    slow : bool
    targets : tuple of Target
    """

    how: str
    route: str
    slow: bool
    targets: tuple[Target, ...]


@lru_cache(maxsize=1)
def read_targets() -> tuple[Target, ...]:
    """Every row of the table.

    Examples
    --------
    >>> sorted({t.section for t in read_targets()})
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    """
    with _FILE.open(newline="", encoding="utf-8") as file:
        return tuple(_read(row) for row in csv.DictReader(file))


def _read(row: dict[str, str]) -> Target:
    tolerance = float(row["tolerance"]) if row["tolerance"] else None
    return Target(
        int(row["section"]),
        row["system"],
        row["quantity"],
        row["value"],
        row["tag"],
        float(row["se"] or 0),
        tolerance,
        row["how"],
        tuple(row["routes"].split()),
        row["slow"] == "yes",
    )


def printed(system: str) -> dict[str, float]:
    """Numbers of one system by quantity."""
    return {t.quantity: t.value for t in read_targets() if t.system == system}


def checks(section: int | None = None, slow: bool = True) -> tuple[Check, ...]:
    """What there is to compute, in the table's order; chains and whatever is marked count as slow."""
    grouped: dict[tuple[str, str], list[Target]] = {}
    for target in read_targets():
        if section in (None, target.section):
            for route in target.routes or ("",):
                grouped.setdefault((target.how, route), []).append(target)
    found = [
        Check(how, route, route in _CHAINS or any(t.slow for t in rows), tuple(rows))
        for (how, route), rows in grouped.items()
    ]
    return tuple(check for check in found if slow or not check.slow)


def allowed(target: Target, mcse: float = 0.0) -> float:
    """Largest difference at which a computed number agrees with its target.

    Parameters
    ----------
    target : Target
    mcse : float
        Monte Carlo standard error of the computed number.

    Examples
    --------
    >>> exact = next(t for t in read_targets() if t.tag == "Q" and t.quantity == "mean sd_school")
    >>> exact.text, round(allowed(exact), 6), round(allowed(exact, mcse=0.05), 6)
    ('6.57548', 0.001315, 0.200005)
    """
    if target.tolerance is not None:
        return target.tolerance + 4 * mcse
    error = math.hypot(target.se, mcse)
    if error > 0:
        return 4 * error + 0.5 * target.unit
    if target.tag == "Q":
        return max(target.unit, 2e-4 * abs(target.value))
    return max(0.5 * target.unit, 1e-6 * abs(target.value)) * (1 + 1e-9)
