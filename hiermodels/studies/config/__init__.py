"""A study's YAML file or mapping in, a frozen `Study` out; every mistake is one line that names its place.

- `read_config` reads and checks a file, a shipped config by name, or a mapping.
- `Study` says what to run: its cells, methods and estimands; `Study.resolved` is its plain form.
- `regime`, `data_key_material`, `method_key_material` say what follows from a cell or a method's name.
- `template` writes a config to start from; `to_schema` is the JSON Schema for editors.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hiermodels.datasets import is_file
from hiermodels.studies.config.cells import Cell, cell_hash, data_key_material, method_key_material, regime
from hiermodels.studies.config.designs import design_levels, design_table
from hiermodels.studies.config.errors import ConfigError, from_pydantic, nearest, shown
from hiermodels.studies.config.fields import ROLES, Interval
from hiermodels.studies.config.rivals import estimator_names, rival_schemas
from hiermodels.studies.config.source import MAX_BYTES, plain, read_yaml
from hiermodels.studies.config.study import Mechanisms, Method, Study
from hiermodels.studies.config.template import template
from hiermodels.studies.config.texts import Estimand, read_estimand, read_law

__all__ = [
    "Cell",
    "ConfigError",
    "Estimand",
    "Interval",
    "Mechanisms",
    "Method",
    "Study",
    "cell_hash",
    "config_names",
    "config_path",
    "data_key_material",
    "design_levels",
    "design_table",
    "estimator_names",
    "method_key_material",
    "read_config",
    "read_estimand",
    "read_law",
    "regime",
    "template",
    "to_schema",
    "write_schema",
]

_PACKAGE = Path(__file__).parents[2]
_SCHEMA = Path(__file__).parents[1] / "schema.json"
OVERRIDES = ("replications", "seed", "precision", "lanes", "chunk", "interval", "performance", "failures")


def _folder() -> Path:
    """Where the shipped configs are: inside an installed package, beside it in a checkout."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def config_names() -> tuple[str, ...]:
    """Names of the configs that come with the library.

    Examples
    --------
    >>> "eight_schools" in config_names()
    True
    """
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def config_path(name: str | Path) -> Path:
    """The file of a config: a path where there is a dot or a slash, else a shipped config's name.

    Raises
    ------
    ConfigError
        For an unknown name or a file that does not exist, with the nearest right one.

    Examples
    --------
    >>> config_path("eight_schools").name
    'eight_schools.yaml'
    """
    if is_file(name):
        path = Path(name)
        if path.is_dir():
            raise ConfigError("expected a file; found a folder; name a config in it", file=str(path))
        if not path.exists():
            beside = [str(p) for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
            hint = nearest(str(path), beside) if beside else f"paths start from {Path.cwd()}"
            raise ConfigError(f"no such file; {hint}", file=str(path))
        return path
    if name not in config_names():
        hint = nearest(str(name), config_names())
        raise ConfigError(f"no config of this name; {hint} (a file has a dot or a slash)", file=shown(name))
    return _folder() / f"{name}.yaml"


def read_config(
    source: str | Path | Mapping[str, Any] | Study, *, functions: Mapping[str, Callable[..., Any]] | None = None, **overrides: Any
) -> Study:
    """Read and check a study.

    Parameters
    ----------
    source : str, Path, mapping or Study
        A file (a text with a dot or a slash), the name of a shipped config, or the same keys as a mapping, in
        which a method or formula may be a Python function and a design a data frame.
    functions : mapping, optional
        Python functions by the name of their method, or by place (``mechanisms.formula``, ``methods.mine.function``), put
        where a file cannot name them.
    **overrides
        Top-level values that replace those of the file: ``replications``, ``seed``, ``precision``, ``lanes``,
        ``chunk``, ``interval``, ``performance``, ``failures``. None changes nothing.

    Returns
    -------
    Study

    Raises
    ------
    ConfigError
        One line: file, line, path, what was expected, what was found, what to do next.

    Examples
    --------
    >>> read_config("eight_schools", replications=8).replications
    8
    >>> read_config({"mechanisms": 3})
    Traceback (most recent call last):
    hiermodels.studies.config.errors.ConfigError: config: expected the key 'estimands'; found nothing; ...
    """
    changed = _check_overrides(overrides)
    if isinstance(source, Study):
        data = {**source.resolved(), **changed}
        return build(data, source=source.source, name=source.name, functions={**source.functions(), **(functions or {})})
    if isinstance(source, Mapping):
        data = {**plain(source), **changed}
        study = build(data, functions=functions)
        study._source = _dump(data)
        return study
    path = config_path(source)
    raw = _bytes(path)
    data, lines = read_yaml(raw, str(path))
    if isinstance(data, dict):
        data |= changed
        lines = {place: line for place, line in lines.items() if not place or place[0] not in changed}
        lines |= {(key,): 0 for key in changed}
    name = path.stem if path.stem.strip(".") else "study"  # ``...yaml`` names no folder of its own
    return build(data, source=raw, name=name, functions=functions, file=str(path), lines=lines, folder=path.parent)


def _check_overrides(overrides: Mapping[str, Any]) -> dict[str, Any]:
    for name in overrides:
        if name not in OVERRIDES:
            raise ConfigError(f"unknown argument {name!r}; {nearest(name, OVERRIDES)}", file="read_config")
    return {name: plain(value, (name,)) for name, value in overrides.items() if value is not None}


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        message = f"expected a readable file; found {error.strerror}; check its permissions"
        raise ConfigError(message, file=str(path)) from None


def build(
    data: Any,
    *,
    source: bytes = b"",
    name: str = "study",
    functions: Mapping[str, Callable[..., Any]] | None = None,
    file: str = "config",
    lines: Mapping[tuple[str | int, ...], int] | None = None,
    folder: Path | None = None,
) -> Study:
    """A `Study` from plain data; `read_config` and `Study.from_resolved` end here.

    Parameters
    ----------
    data : mapping
        Keys as in a file.
    source, name
        Kept with the study.
    functions : mapping, optional
        Python functions by place (``methods.mine.function``), put back where `Study.resolved` names them.
    file, lines, folder
        Where the data came from, for messages and for files named in it.
    """
    data = _inherit(_with_functions(data, functions or {}))
    try:
        study = Study.model_validate(data, context={"folder": folder, "labels": _grouping_columns(data)})
    except ValidationError as error:
        raise from_pydantic(error, file, lines or {}) from None
    study._source, study._name = source, name
    study._file, study._lines = file, dict(lines or {})
    return study


def _grouping_columns(data: Any) -> set[str]:
    """Columns that are groups in a formula of the study; formulas that cannot be read are refused where they stand."""
    from hiermodels.models.formula import parse_formula

    if not isinstance(data, Mapping):
        return set()
    methods = data.get("methods")
    parts = [data.get("mechanisms"), *(methods.values() if isinstance(methods, Mapping) else ())]
    found: set[str] = set()
    formulas = {text for part in parts if isinstance(part, Mapping) and isinstance(text := part.get("formula"), str)}
    for formula in formulas:
        with contextlib.suppress(ValueError):
            found |= {factor for group in parse_formula(formula).groups for factor in group.factors}
    return found


def _with_functions(data: Any, functions: Mapping[str, Callable[..., Any]]) -> Any:
    """Put functions where they belong: a place, or a method's name alone."""
    methods = data.get("methods") if isinstance(data, Mapping) else None
    methods = methods if isinstance(methods, Mapping) else {}
    for place, function in functions.items():
        if not callable(function):
            raise ConfigError(f"expected a function; found {shown(function)}; pass the function itself", file="functions", path=(place,))
        if place == "mechanisms.formula":
            data = {**data, "mechanisms": {**data["mechanisms"], "formula": function}}
            continue
        name, key = _method_of(place, methods)
        settings = methods[name]
        methods = {**methods, name: {**settings, key: function} if isinstance(settings, Mapping) else function}
        data = {**data, "methods": methods}
    return data


def _method_of(place: str, methods: Mapping[str, Any]) -> tuple[str, str]:
    """Name of the method and key in it that a place stands for."""
    name, key = place, "function"
    if place not in methods and place.startswith("methods.") and place.endswith((".function", ".formula")):
        name, _, key = place.removeprefix("methods.").rpartition(".")
    if name not in methods:
        raise ConfigError(f"unknown method {name!r}; {nearest(name, methods)}", file="functions", path=(place,))
    return name, key


def _inherit(data: Any) -> Any:
    """Methods take from ``mechanisms`` what they do not name of the model."""
    if not isinstance(data, Mapping) or not isinstance(data.get("methods"), Mapping):
        return data
    above = data.get("mechanisms")
    above = above if isinstance(above, Mapping) else {}
    return {**data, "methods": {name: _inherited(above, method) for name, method in data["methods"].items()}}


def _inherited(above: Mapping[str, Any], method: Any) -> Any:
    if callable(method):
        method = {"function": method}
    if not isinstance(method, Mapping):
        return method
    from hiermodels import families

    family = method.get("family", above.get("family", "normal"))
    used = (
        families.lookup(family).columns if isinstance(family, str) and family in families.__all__ else ROLES
    )
    taken = [key for key in ("formula", "family") if key in above]
    taken += [role for role in ROLES if role in above and role in used]
    return {**{key: above[key] for key in taken}, **method}


def _dump(data: Mapping[str, Any]) -> bytes:
    from ruamel.yaml import YAML

    stream = io.BytesIO()
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_unicode = True
    yaml.dump(_without_functions(data), stream)
    return stream.getvalue()


def _without_functions(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_functions(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_without_functions(v) for v in value]
    return f"{value.__module__}:{value.__qualname__}" if callable(value) else value


def to_schema() -> dict[str, Any]:
    """JSON Schema of a config, generated from the records that check it.

    Open menus (samplers, measures, priors, datasets) are texts in it: ``hiermodels list`` prints them.

    Examples
    --------
    >>> to_schema()["required"]
    ['mechanisms', 'estimands', 'methods', 'replications', 'seed']
    """
    schema = Study.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        part["description"] = part["description"].split("\n")[0]
    posterior = schema["$defs"]["Method"]
    for key in ("function", "estimator", "settings", "host", "estimands", "timeout"):
        del posterior["properties"][key]
    schema["$defs"] |= rival_schemas(posterior)
    kinds = [{"$ref": f"#/$defs/{name}"} for name in ("Method", "Estimator", "Host")]
    schema["properties"]["methods"]["additionalProperties"] = {"anyOf": kinds}
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A hiermodels study"}
    return {**title, **{k: v for k, v in schema.items() if k != "title"}}


def write_schema(path: Path = _SCHEMA) -> None:
    """Write `to_schema` to the file that ships with the package.

    From a shell: ``python -c "from hiermodels.studies.config import write_schema; write_schema()"``.
    """
    path.write_text(json.dumps(to_schema(), indent=2) + "\n", encoding="utf-8")
