"""Exponents of densities at infinity and at zero: a power, and beside it a power of the logarithm.

A density that behaves as ``x^e |log x|^l`` is integrable

- at infinity where e < -1, or e = -1 and l < -1;
- at zero where e > -1, or e = -1 and l < -1.

Most laws have l = 0: their exponents are plain numbers, which is what `Exponent` is too, with l beside it. Products of
densities add exponents, a moment of order r adds r.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["Exponent", "integrable_at_infinity", "integrable_at_zero", "worst"]


class Exponent(float):
    """The power e of ``x^e |log x|^l``, as a number that keeps l when numbers are added to it.

    Examples
    --------
    >>> e = Exponent(-3, log=-2)
    >>> e + 2, (e + 2).log
    (-1.0, -2.0)
    >>> integrable_at_infinity(e + 2), integrable_at_infinity(e + 2.5)
    (True, False)
    """

    log: float

    def __new__(cls, power: float, log: float = 0.0) -> Exponent:
        """A number with the power of the logarithm beside it."""
        new = super().__new__(cls, power)
        new.log = float(log)
        return new

    def __getnewargs__(self) -> tuple[float, float]:  # type: ignore[override]
        return float(self), self.log

    def __add__(self, other: Any) -> Exponent:
        return Exponent(float(self) + float(other), self.log + _log(other))

    __radd__ = __add__

    def __sub__(self, other: float) -> Exponent:
        return self + -other


def _log(exponent: float) -> float:
    return exponent.log if isinstance(exponent, Exponent) else 0.0


def integrable_at_infinity(exponent: float) -> bool:
    """Whether the integral of ``x^e |log x|^l`` up to infinity is finite."""
    return float(exponent) < -1 or (float(exponent) == -1 and _log(exponent) < -1)


def integrable_at_zero(exponent: float) -> bool:
    """Whether the integral of ``x^e |log x|^l`` from zero is finite."""
    return float(exponent) > -1 or (float(exponent) == -1 and _log(exponent) < -1)


def worst(infinite: Iterable[bool]) -> str:
    """``mean``, ``sd`` or nothing, from whether the first and the second moment are infinite."""
    first, second = infinite
    return "mean" if first else "sd" if second else ""
