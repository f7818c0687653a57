"""The small texts of a config: estimands, laws of predictors, names that a formula brings along."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from hiermodels.models.expressions import CALLS, plain
from hiermodels.studies.config.errors import nearest, problem, shown, within

__all__ = ["Estimand", "cuts_of_tests", "read_estimand", "read_estimands", "read_law"]

_COMPUTED = rf"(?:{'|'.join(CALLS)}|C)\((?:[^()<>=]|\([^()<>=]*\))*\)"
_VARIABLE = rf"(?:{_COMPUTED}|`[^`]*`|[^\s()<>=,`])+"
"""A variable's name: signs without blanks, columns in backticks, and what a formula computes."""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_EVENT = re.compile(rf"P\(\s*({_VARIABLE})\s*([<>])\s*({_NUMBER})\s*\)")
_CALL = re.compile(rf"(\w+)\(\s*({_VARIABLE})\s*\)")
_LAW = re.compile(r"([A-Za-z_]\w*)\s*\(([^()]*)\)")
_FORMS = "a variable (sd_school), mean(theta_school), new(school), P(treated > 0) or test(treated)"


@dataclass(frozen=True)
class Estimand:
    """One quantity that a study estimates.

    Attributes
    ----------
    name : str
        Its name in the tables, e.g. ``benefit`` or ``theta_school``.
    kind : str
        ``value`` (a variable as it is), ``mean`` (the average over groups), ``new`` (a group not yet seen),
        ``probability`` (posterior probability that the variable passes a threshold) or ``test`` (1 - p of the F test of
        a term).
    variable : str
        Variable of the draws; for ``new`` the level, e.g. ``school``; for ``test`` the term.
    threshold : float or None
        Of a probability.
    direction : str or None
        ``>`` or ``<``, of a probability.
    point : str or None
        Point estimate: posterior ``mean`` or ``median``; None until the study says what the variable is.
    """

    name: str
    kind: str
    variable: str
    threshold: float | None = None
    direction: str | None = None
    point: str | None = None

    @property
    def text(self) -> str:
        """The text that reads as this estimand.

        Examples
        --------
        >>> read_estimand({"benefit": "P( treated>0 )"}).text
        'P(treated > 0)'
        """
        written = self.variable if re.fullmatch(_VARIABLE, self.variable) else f"`{self.variable}`"
        if self.kind == "probability":
            return f"P({written} {self.direction} {self.threshold:.17g})"
        return written if self.kind == "value" else f"{self.kind}({written})"

    @property
    def quantity(self) -> str:
        """Name of the quantity that it is, or is an event of: a variable, ``mean(theta_school)``, ``new(school)``."""
        return self.variable if self.kind in ("value", "probability") else f"{self.kind}({self.variable})"

    def fires_above(self, level: float) -> float | None:
        """Where it decides unless a rule says otherwise: as an interval of this level does that excludes 0.

        A posterior probability decides above (1 + level) / 2, a test where p < 1 - level; None of what has an interval.

        Examples
        --------
        >>> read_estimand("P(treated > 0)").fires_above(0.95), read_estimand("test(treated)").fires_above(0.95)
        (0.975, 0.95)
        """
        return {"probability": (1 + level) / 2, "test": level}.get(self.kind)


def cuts_of_tests(estimands: Iterable[Estimand], level: float) -> dict[str, float]:
    """Where tests of terms decide, by name: numbers alone do not tell them from posterior probabilities."""
    return {e.name: cut for e in estimands if e.kind == "test" and (cut := e.fires_above(level)) is not None}


def read_estimand(entry: Any) -> Estimand:
    """One entry of ``estimands``.

    Parameters
    ----------
    entry : str or mapping
        A text, or a mapping ``{name: text}``, to which ``point: mean`` or ``point: median`` may be added.
        Without it a study takes the posterior mean, and the median of standard deviations and concentrations.

    Raises
    ------
    PydanticCustomError
        With the place, what was expected and found, and what to write.

    Examples
    --------
    >>> read_estimand("mean(theta_school)").kind, read_estimand("new(school)").variable
    ('mean', 'school')
    >>> read_estimand({"spread": "sd_school", "point": "mean"}).point
    'mean'
    """
    if isinstance(entry, str):
        return _parse(entry, None, None, ())
    named = {k: v for k, v in entry.items() if k != "point"} if isinstance(entry, dict) else {}
    if len(named) != 1:
        raise problem(f"expected {_FORMS}, or one {{name: text}}; found {shown(entry)}; write e.g. - sd_school")
    point = entry.get("point")
    if point not in (None, "mean", "median"):
        raise problem(f"expected mean or median; found {shown(point)}; {_choose(point)}", ("point",))
    ((name, text),) = named.items()
    return _parse(text, name, point, (name,))


def _choose(word: Any) -> str:
    return nearest(str(word), ("mean", "median"))


def _parse(text: Any, name: str | None, point: str | None, at: tuple[str, ...]) -> Estimand:
    text = text.strip() if isinstance(text, str) else text
    if not isinstance(text, str) or not text:
        raise problem(f"expected {_FORMS}; found {shown(text)}; write such a text", at)
    if event := _EVENT.fullmatch(text):
        threshold = float(event[3])
        if not math.isfinite(threshold):
            raise problem(f"expected a finite threshold; found {shown(text)}; write a smaller number", at)
        shape = {"kind": "probability", "variable": event[1], "threshold": threshold, "direction": event[2]}
    elif (call := _CALL.fullmatch(text)) and call[1] not in (*CALLS, "C"):
        if call[1] not in ("mean", "new", "test"):
            hint = nearest(call[1], ("mean", "new", "P", "test"))
            raise problem(f"expected {_FORMS}; found {shown(text)}; {hint}", at)
        shape = {"kind": call[1], "variable": call[2]}
    elif re.fullmatch(_VARIABLE, text):
        shape = {"kind": "value", "variable": text}
    else:
        raise problem(
            f"expected {_FORMS}; found {shown(text)}; a probability has one < or > and a number, a name with blanks "
            f"stands in backticks",
            at,
        )
    shape["variable"] = plain(str(shape["variable"]))
    read = Estimand(name="", point=point, **shape)  # type: ignore[arg-type]
    return Estimand(**{**vars(read), "name": name or plain(read.text)})


def read_estimands(entries: Any) -> tuple[Estimand, ...]:
    """The list ``estimands``; names are unique."""
    if isinstance(entries, tuple) and all(isinstance(e, Estimand) for e in entries):
        return entries
    if not isinstance(entries, list) or not entries:
        raise problem(f"expected a list such as [Intercept, theta_school]; found {shown(entries)}; name at least one")
    out: list[Estimand] = []
    for i, entry in enumerate(entries):
        with within(i):
            estimand = read_estimand(entry)
        if estimand.name in [e.name for e in out]:
            raise problem(f"expected every estimand once; found {estimand.name!r} twice; remove or rename one", (i,))
        out.append(estimand)
    return tuple(out)


LAWS = {"half": 1, "normal": 2, "bernoulli": 1, "integers": 2, "unequal": 2}
"""Laws of predictors and of sizes, with their numbers of arguments."""
PREDICTORS = ("half", "normal", "bernoulli", "integers")


def read_law(
    value: Any, allowed: Iterable[str] = PREDICTORS, levels: Iterable[str] = ()
) -> tuple[str, tuple[Any, ...]]:
    """A law of a predictor: ``half(school)``, ``normal(0, 1)``, ``bernoulli(0.5)``, ``integers(5, 15)``.

    ``half(level)`` is 1 for one half of the level's groups and 0 for the other; ``integers(a, b)`` includes
    both ends; a number alone is a constant.

    Parameters
    ----------
    value : str or number
    allowed : iterable of str
        The laws that make sense here.
    levels : iterable of str
        The design's levels, for ``half``.

    Returns
    -------
    name : str
        The law, ``constant`` for a number.
    args : tuple
        Its arguments.

    Examples
    --------
    >>> read_law("integers(5, 15)")
    ('integers', (5, 15))
    """
    allowed, levels = tuple(allowed), tuple(levels)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return "constant", (value,)
    match = _LAW.fullmatch(value.strip()) if isinstance(value, str) else None
    forms = ", ".join(_example(law) for law in allowed)
    if not match:
        raise problem(f"expected a number or {forms}; found {shown(value)}; write one of these")
    name, inside = match[1], [a.strip() for a in match[2].split(",")]
    if name not in allowed:
        raise problem(f"expected a number or {forms}; found {shown(value)}; {nearest(name, allowed)}")
    if len(inside) != LAWS[name]:
        raise problem(f"expected {_example(name)}; found {shown(value)}; give {LAWS[name]} argument(s)")
    if name == "half":
        if inside[0] not in levels:
            raise problem(
                f"expected half() of a level of the design; found {inside[0]!r}; {nearest(inside[0], levels)}"
            )
        return name, (inside[0],)
    return name, _numbers(name, inside, value)


def _example(law: str) -> str:
    return {
        "half": "half(<level>)",
        "normal": "normal(0, 1)",
        "bernoulli": "bernoulli(0.5)",
        "integers": "integers(5, 15)",
        "unequal": "unequal(20, 0.4)",
    }[law]


def _numbers(name: str, inside: list[str], value: str) -> tuple[float, ...]:
    whole = name == "integers"
    try:
        numbers = tuple(int(a) if whole else float(a) for a in inside)
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise problem(f"expected {_example(name)} with {kind}; found {shown(value)}; mend the numbers") from None
    rules: dict[str, Callable[..., bool]] = {
        "normal": lambda m, s: math.isfinite(m) and 0 < s < math.inf,
        "bernoulli": lambda p: 0 <= p <= 1,
        "integers": lambda a, b: a <= b,
        "unequal": lambda mean, cv: (
            1 <= mean < math.inf and (1 - 1e-9) * least_cv(mean) <= cv < math.inf and (mean > 1 or cv == 0)
        ),
    }
    if not rules[name](*numbers):
        wanted = {
            "normal": "an sd above 0",
            "bernoulli": "a share from 0 to 1",
            "integers": "low <= high",
            "unequal": _sizes_allowed(*numbers) if name == "unequal" else "",
        }[name]
        raise problem(f"expected {wanted} in {_example(name)}; found {shown(value)}; mend the numbers")
    return numbers


def least_cv(mean: float) -> float:
    """Least coefficient of variation that whole numbers of this mean have: those next to it alone.

    Examples
    --------
    >>> least_cv(2.5), least_cv(20.0)
    (0.2, 0.0)
    """
    fraction = mean % 1
    return math.sqrt(fraction * (1 - fraction)) / mean


def _sizes_allowed(mean: float, cv: float) -> str:
    if not 1 <= mean < math.inf or not 0 <= cv < math.inf:
        return "a mean of at least 1 and a coefficient of variation of at least 0"
    if mean == 1:
        return "a mean above 1 (sizes are at least 1, so that all are 1 where their mean is)"
    return (
        f"a coefficient of variation of at least {math.ceil(1000 * least_cv(mean)) / 1000:g} (sizes are whole "
        f"numbers of mean {mean:g})"
    )
