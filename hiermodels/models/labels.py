r"""A label is a value: how the labels of groups are read, compared and printed.

A label has a kind (text, number, truth value, date) and a value; ``1``, ``1.0`` and ``numpy.int8(1)`` are one label.
Labels of several columns are tuples; they are printed with a colon between their parts, and a colon inside a part as
``\:``, so that two groups never print alike. Characters that would steer a terminal are printed as escapes (``\x1b``).
"""

from __future__ import annotations

import datetime
import decimal
import numbers
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from hiermodels.models.columns import kind_of, number_of, shown_cell

__all__ = ["KINDS", "Label", "find_label", "join", "label_of", "label_text", "match_labels", "visible"]

KINDS = {
    "text": "text",
    "number": "a number",
    "truth": "true or false",
    "date": "a date",
    "moment": "a date with a time zone",
    "other": "of another kind",
}
"""Kinds of labels, in words."""
_EXACT = 2**53
"""Floats from here on are not whole numbers in any useful sense."""
_STEERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|\\|:)|\\$")
_TRUTH = {"true": True, "false": False}


# one label ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Label:
    """A value with its kind; two are equal where both are.

    Attributes
    ----------
    kind : str
        ``text``, ``number``, ``truth``, ``date``, ``moment`` (a date with a time zone) or ``other``.
    value : hashable
        A whole float is an integer; a date is a `pandas.Timestamp`.
    """

    kind: str
    value: Hashable

    def __str__(self) -> str:
        moment: Any = self.value
        if self.kind == "date" and moment == moment.normalize():
            return moment.date().isoformat()
        return str(self.value)

    def shown(self) -> str:
        """The label with its kind, for messages."""
        return shown_cell(self.value) if self.kind == "text" else f"{self} ({KINDS[self.kind]})"

    def meanings(self) -> frozenset[Label]:
        """What the label may be under another kind: the text ``1.0`` is the number 1."""
        found = {self, Label("text", str(self))}
        if self.kind == "text":
            found |= _readings(str(self.value))
        elif self.kind == "truth":
            found.add(Label("number", int(bool(self.value))))
        elif self.kind == "moment":
            moment: Any = self.value
            found.add(Label("date", moment.tz_localize(None)))
        elif self.kind == "number" and self.value in (0, 1):
            found.add(Label("truth", bool(self.value)))
        return frozenset(found)


def _readings(text: str) -> set[Label]:
    """The number, truth value or date that a text spells."""
    import pandas as pd

    number = number_of(text)
    if number is not None:
        return {_number(int(text) if re.fullmatch(r"\s*[+-]?\d{1,300}\s*", text, re.ASCII) else number)}
    if text.lower() in _TRUTH:
        return {Label("truth", _TRUTH[text.lower()])}
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            return {_date(pd.Timestamp(text))}
        except ValueError:
            return set()
    return set()


def _number(value: float) -> Label:
    whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
    return Label("number", int(value) if whole else value)


def _date(moment: Any) -> Label:
    return Label("date" if moment.tz is None else "moment", moment)


def label_of(cell: Any) -> Label | None:
    """The label in a cell; None where it is missing.

    Raises
    ------
    TypeError
        For what is no label: lists, mappings, complex numbers, bytes.

    Examples
    --------
    >>> label_of(1.0) == label_of(np.int8(1)), label_of("1") == label_of(1)
    (True, False)
    """
    import pandas as pd

    if isinstance(cell, str):
        return Label("text", str(cell))
    if isinstance(cell, bool | np.bool_):
        return Label("truth", bool(cell))
    if isinstance(cell, numbers.Integral):
        return Label("number", int(cell))
    if cell is None or cell is pd.NA or cell is pd.NaT:
        return None
    if isinstance(cell, numbers.Real | decimal.Decimal):
        number = number_of(str(cell) if isinstance(cell, np.floating) else cell)  # .1 of any width is .1
        return None if number is None or np.isnan(number) else _number(number)
    if isinstance(cell, datetime.date | np.datetime64):
        return None if pd.isna(cell) else _date(pd.Timestamp(cell))
    if isinstance(cell, pd.Timedelta | pd.Period | pd.Interval | datetime.timedelta | np.timedelta64):
        return None if cell != cell else Label("other", str(cell))  # NaT is not equal to itself
    raise TypeError(kind_of(cell))


# printing -------------------------------------------------------------------------------------------------------------


def visible(text: str, also: str = "") -> str:
    r"""A text on one line without characters that steer a terminal; different texts stay different.

    Parameters
    ----------
    text : str
    also : str
        A character to escape as well.

    Examples
    --------
    >>> visible("plain"), visible("a\x1b[31mb") == r"a\x1b[31mb", visible("a:b", ":") == r"a\:b"
    ('plain', True, True)
    """
    if not (_STEERS.search(text) or _ESCAPE.search(text) or (also and also in text)):
        return text
    text = text.replace("\\", "\\\\")
    text = text.replace(also, f"\\{also}") if also else text
    return _STEERS.sub(lambda m: f"\\x{ord(m[0]):02x}" if ord(m[0]) < 256 else f"\\u{ord(m[0]):04x}", text)


def join(parts: Iterable[str]) -> str:
    r"""Printed label of a group of one column, or of several.

    Examples
    --------
    >>> join(["s1", "c2"]), join(["a:b", "c"]) == r"a\:b:c", join(["a:b"])
    ('s1:c2', True, 'a:b')
    """
    parts = list(parts)
    return visible(parts[0]) if len(parts) == 1 else ":".join(visible(part, ":") for part in parts)


def label_text(value: Any) -> str:
    """How a label given in Python prints in tables: ``1.0`` as ``1``, a tuple with colons.

    Examples
    --------
    >>> label_text(1.0), label_text(("s1", 2)), label_text("a:b")
    ('1', 's1:2', 'a:b')
    """
    if isinstance(value, tuple):
        return join(_text(part) for part in value)
    return _text(value)


def _text(value: Any) -> str:
    try:
        label = label_of(value)
    except TypeError:
        label = None
    return str(value) if label is None else str(label)


def find_label(value: Any, known: Sequence[str]) -> int | None:
    """Place of a label among printed ones: the same text, else the one that has the same value.

    Parameters
    ----------
    value : object
        A printed label, or the label itself; a tuple for several columns. Tables of other programs may write a label of
        text as the number it spells (``01`` as 1); it is found where no other label spells this number.
    known : sequence of str
        Printed labels.

    Returns
    -------
    int or None
        None where there is none, or where several have this value.

    Examples
    --------
    >>> find_label(1.0, ["2", "1"]), find_label("1", ["01", "02"]), find_label(1, ["01", "1.0"])
    (1, 0, None)
    """
    text = label_text(value)
    exact, plain, spelt = _places(tuple(known))
    same = next((t for t in (text, visible(text)) if t in exact), None)
    found = [exact[same]] if same is not None else plain.get(text) or spelt.get(_spelt(text), [])
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=64)
def _places(known: tuple[str, ...]) -> tuple[dict[str, int], dict[str, list[int]], dict[tuple[Label, ...], list[int]]]:
    """Places of labels by their print, by the print without escapes, and by what it spells."""
    plain: dict[str, list[int]] = {}
    spelt: dict[tuple[Label, ...], list[int]] = {}
    for i, text in enumerate(known):
        plain.setdefault(_ESCAPE.sub(_unescaped, text), []).append(i)
        spelt.setdefault(_spelt(text), []).append(i)
    return {text: i for i, text in enumerate(known)}, plain, spelt


def _unescaped(match: re.Match[str]) -> str:
    code = match[0][1:]
    return chr(int(code[1:], 16)) if code[:1] in ("x", "u") else code


def match_labels(given: Mapping[Any, Any], known: Sequence[str]) -> tuple[dict[str, Any], list[Any]]:
    """Values by printed label, and the keys that are no known label, or one that another key is.

    Parameters
    ----------
    given : mapping
        Label, printed or as it is, to value.
    known : sequence of str
        Printed labels.

    Examples
    --------
    >>> match_labels({1.0: "a", "2": "b", "02": "c", "x": "d"}, ["1", "2"])
    ({'1': 'a', '2': 'b'}, ['02', 'x'])
    """
    place = {key: find_label(key, known) for key in given}
    exact = {known[i]: given[key] for key, i in place.items() if i is not None and label_text(key) == known[i]}
    found, strange = dict(exact), []
    for key, i in place.items():
        if i is not None and (known[i] not in found or label_text(key) == known[i]):
            found.setdefault(known[i], given[key])
        else:
            strange.append(key)
    return found, strange


def _spelt(text: str) -> tuple[Label, ...]:
    """The parts of a printed label, each as the number, truth value or date that it spells, else as text."""
    return tuple(next(iter(_readings(part)), Label("text", part)) for part in re.split(r"(?<!\\):", text))
