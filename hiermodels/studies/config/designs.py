"""Designs: which units a simulated dataset has.

Three forms: a dataset of the library by name; a table (from a file, or given in Python), kept as columns so
that a resolved study needs no file; level sizes in nesting order with ``obs`` units in each finest group and
``predictors``.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from hiermodels.datasets import is_file, read_table
from hiermodels.studies.config.errors import nearest, problem, shown, within
from hiermodels.studies.config.texts import read_law

__all__ = ["DRAWN", "design_levels", "design_table", "predictors_text", "read_design", "read_predictor", "read_size"]

MAX_UNITS = 100_000_000
SIZES = ("integers", "unequal")
"""Laws of sizes."""
DRAWN = ("redrawn", "fixed")
"""When a predictor's law is drawn: with each dataset, or once for each cell."""
_KEYS = ("law", "level", "drawn")
_FORMS = "a dataset's name, a file, or level sizes such as {school: 20, obs: 10}"


def design_table(design: str | Mapping[str, Any]) -> pd.DataFrame | None:
    """The table of a design; None where the design is level sizes.

    Examples
    --------
    >>> design_table("eight_schools").shape
    (8, 3)
    >>> design_table({"school": 20, "obs": 5}) is None
    True
    """
    if isinstance(design, str):
        return read_table(design)
    return pd.DataFrame(dict(design["table"])) if "table" in design else None


def design_levels(design: Mapping[str, Any]) -> dict[str, int | str]:
    """Level sizes of a design in nesting order: groups within one group of the level above.

    A size is a number or ``integers(low, high)``.

    Examples
    --------
    >>> design_levels({"school": 20, "classroom": 4, "obs": 10, "predictors": {}})
    {'school': 20, 'classroom': 4}
    """
    return {name: size for name, size in design.items() if name not in ("obs", "predictors")}


def read_design(value: Any, folder: Path | None = None, labels: Collection[str] | None = None) -> str | dict[str, Any]:
    """A design as a config gives it, checked; files become tables.

    Parameters
    ----------
    value : str or mapping
    folder : Path, optional
        The config's folder, where relative files are looked for first.
    labels : collection of str, optional
        Columns that are groups, whose labels stay text as written in a file.
    """
    if isinstance(value, str) and value.strip():
        return _from_name(value.strip(), folder, labels)
    if isinstance(value, Mapping) and value:
        if "file" in value and "table" not in value:
            return _from_file(value, folder, labels)
        return _from_table(value) if "table" in value else _from_sizes(value)
    raise problem(f"expected {_FORMS}; found {shown(value)}; write one of these")


def _from_name(
    name: str, folder: Path | None, labels: Collection[str] | None, missing: Any = None
) -> str | dict[str, Any]:
    beside = folder / name if folder is not None else Path(name)
    way = f'design: {{file: {name}, missing: ""}}'
    try:
        table = read_table(
            (beside if beside.exists() else Path(name)) if is_file(name) else name, labels, missing=missing, way=way
        )
    except ValueError as error:
        raise problem(str(error)) from None
    return {"file": name, "table": columns_of(table)} if is_file(name) else name


def _from_file(value: Mapping[str, Any], folder: Path | None, labels: Collection[str] | None) -> str | dict[str, Any]:
    """A file with the texts that stand for a missing value in it."""
    name, missing = value["file"], value.get("missing")
    for key in value:
        if key not in ("file", "missing"):
            raise problem(f"unknown key {key!r} beside file; {nearest(key, ('file', 'missing'))}", (key,))
    if not isinstance(name, str) or not is_file(name):
        raise problem(f"expected a file, whose name has a dot or slash; found {shown(name)}; mend it", ("file",))
    texts = missing if isinstance(missing, list) else [missing]
    if missing is not None and not all(isinstance(text, str) for text in texts):
        raise problem(
            f'expected a text or a list of texts; found {shown(missing)}; write e.g. missing: "" for empty cells alone',
            ("missing",),
        )
    return _from_name(name, folder, labels, None if missing is None else texts)


def columns_of(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Columns of a table as lists of plain values; missing ones are None."""
    return {str(c): [_value(v) for v in table[c].tolist()] for c in table.columns}


def _value(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return None if value is None else str(value)


def _from_table(value: Mapping[str, Any]) -> dict[str, Any]:
    table = value["table"]
    for key in value:
        if key not in ("table", "file"):
            raise problem(f"unknown key {key!r} beside table; {nearest(key, ('table', 'file'))}", (key,))
    if not isinstance(table, Mapping) or not table:
        raise problem(
            f"expected columns as lists; found {shown(table)}; write {{school: [A, B], se: [1, 2]}}",
            ("table",),
        )
    lengths = {name: len(v) if isinstance(v, list) else -1 for name, v in table.items()}
    longest = max(lengths.values())
    for name, length in lengths.items():
        if length != longest or length < 1:
            found = f"{length} in {name!r}" if length >= 0 else shown(table[name])
            raise problem(f"expected lists of equal length; found {found}; mend the column", ("table", name))
    out: dict[str, Any] = {"table": {name: [_value(v) for v in column] for name, column in table.items()}}
    return {"file": str(value["file"]), **out} if value.get("file") else out


def _from_sizes(value: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for name, size in value.items():
        if name not in ("obs", "predictors"):
            with within(name):
                out[name] = read_size(name, size)
    if not out and "obs" not in value:
        raise problem(f"expected {_FORMS}; found no level; name the levels and their sizes")
    levels = tuple(out)
    with within("obs"):
        out["obs"] = read_size("obs", value.get("obs", 1))
    units = math.prod(size if isinstance(size, int) else _usual(size) for size in out.values())
    if units > MAX_UNITS:
        raise problem(f"expected at most {MAX_UNITS:,} units in a dataset; found {units:,}; make a level smaller")
    out["predictors"] = _predictors(value.get("predictors") or {}, levels)
    return out


def _usual(size: str) -> int:
    """Most of an even law of sizes, the mean of an uneven one."""
    law, numbers = read_law(size, SIZES)
    return math.ceil(numbers[0] if law == "unequal" else numbers[1])


def _predictors(predictors: Any, levels: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(predictors, Mapping):
        example = f"{{treated: half({(*levels, 'obs')[0]})}}"
        message = f"expected a mapping of name to law; found {shown(predictors)}; write e.g. {example}"
        raise problem(message, ("predictors",))
    out: dict[str, Any] = {}
    for name, law in predictors.items():
        with within("predictors", name):
            if name == "obs":
                raise problem(
                    "expected a name other than obs, a word of designs: the number of rows in a group; rename the "
                    "predictor"
                )
            if name in levels:
                raise problem(f"expected a name that no level has; found {name!r}; rename the predictor")
            out[name] = read_predictor(law, levels)
    return out


def read_predictor(value: Any, levels: tuple[str, ...]) -> Any:
    """A predictor of a generated design, every default written out.

    A number and ``half(school)`` are the same in every dataset and stay as they are. A law becomes a mapping: ``law``,
    the ``level`` that has a number of its own for each of its groups (by default ``obs``, each row), and ``drawn``:
    ``redrawn`` with each dataset (the default) or ``fixed``, once for each cell.

    Examples
    --------
    >>> read_predictor("normal(50, 10)", ("school",))
    {'law': 'normal(50, 10)', 'level': 'obs', 'drawn': 'redrawn'}
    >>> read_predictor({"law": "bernoulli(0.5)", "level": "school"}, ("school",))["level"]
    'school'
    """
    given = dict(value) if isinstance(value, Mapping) else {"law": value}
    for key in given:
        if key not in _KEYS:
            raise problem(f"unknown key {key!r}; {nearest(str(key), _KEYS)}", (str(key),))
    if "law" not in given:
        raise problem('expected the key law; found none; write e.g. {law: "normal(50, 10)", drawn: redrawn}')
    at = ("law",) if isinstance(value, Mapping) else ()
    with within(*at):
        name, _ = read_law(given["law"], levels=(*levels, "obs"))
    for key, menu in (("level", (*levels, "obs")), ("drawn", DRAWN)):
        word = given.get(key, menu[0])
        if not isinstance(word, str) or word not in menu:
            raise problem(f"expected one of {', '.join(menu)}; found {shown(word)}; {nearest(str(word), menu)}", (key,))
    if name in ("constant", "half"):
        what = "a number" if name == "constant" else "half()"
        if given.get("drawn", "fixed") != "fixed" or "level" in given:
            key = "level" if "level" in given else "drawn"
            raise problem(
                f"expected a law that is drawn beside {key}; found {what}, the same in every dataset; leave {key} out",
                (key,),
            )
        return given["law"]
    return {"law": given["law"].strip(), "level": given.get("level", "obs"), "drawn": given.get("drawn", DRAWN[0])}


def predictors_text(design: Any) -> str:
    """How the predictors of a generated design come about, in words; empty without any, and for a table.

    Examples
    --------
    >>> predictors_text({"school": 4, "obs": 2, "predictors": {"x": {"law": "normal(50, 10)", "level": "obs", "drawn": "redrawn"}}})
    'x: normal(50, 10) for each obs, redrawn with each dataset'
    """  # noqa: E501
    if not isinstance(design, Mapping) or "table" in design:
        return ""
    when = {"redrawn": "redrawn with each dataset", "fixed": "drawn once for each mechanism"}
    parts = []
    for name, entry in (design.get("predictors") or {}).items():
        law, drawn = entry, "the same in every dataset"
        if isinstance(entry, Mapping):
            law = f"{entry.get('law')} for each {entry.get('level')}"
            drawn = when.get(str(entry.get("drawn")), "fixed")
        parts.append(f"{name}: {law}, {drawn}")
    return "; ".join(parts)


def read_size(name: str, value: Any) -> int | str:
    """Size of a level or ``obs``: a number, ``integers(low, high)`` or ``unequal(mean, cv)``, drawn once a cell."""
    if isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer() and value >= 1:
        return int(value)
    if isinstance(value, str):
        law, (low, high) = read_law(value, SIZES)
        if law == "unequal":
            return f"{law}({low:g}, {high:g})"
        if low >= 1:
            return f"{law}({low}, {high})"
    forms = "a whole number of at least 1, integers(5, 15) or unequal(20, 0.4)"
    raise problem(f"expected {forms}; found {shown(value)}; write e.g. {name}: 10")
