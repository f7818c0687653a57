"""A study's YAML file or mapping in, a frozen `Study` out; every mistake is one line that names its place.

- `read_config` reads and checks a file, a shipped config by name, or a mapping.
- `Study` says what to run: its cells, methods and estimands; `Study.resolved` is its plain form.
- `regime`, `data_key_material`, `method_key_material` say what follows from a cell or a method's name.
- `to_schema` is the JSON Schema for editors; a config to start from is written by `hiermodels.studies.plan.template`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hiermodels._moved import moved_name
from hiermodels.datasets import is_file
from hiermodels.studies.config.cells import Cell, cell_hash, data_key_material, method_key_material, regime
from hiermodels.studies.config.designs import design_levels, design_table
from hiermodels.studies.config.errors import ConfigError, nearest, shown
from hiermodels.studies.config.fields import Interval
from hiermodels.studies.config.mechanisms import Mechanisms
from hiermodels.studies.config.methods import Method
from hiermodels.studies.config.rivals import estimator_names, rival_schemas
from hiermodels.studies.config.source import MAX_BYTES, plain, read_yaml
from hiermodels.studies.config.study import Study, build
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
    "to_schema",
    "write_schema",
]

__getattr__ = partial(moved_name, __name__)  # `template`, for one version

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
    source: str | Path | Mapping[str, Any] | Study,
    *,
    functions: Mapping[str, Callable[..., Any]] | None = None,
    **overrides: Any,
) -> Study:
    """Read and check a study.

    Parameters
    ----------
    source : str, Path, mapping or Study
        A file (a text with a dot or a slash), the name of a shipped config, or the same keys as a mapping, in
        which a method or formula may be a Python function and a design a data frame.
    functions : mapping, optional
        Python functions by the name of their method, or by place (``mechanisms.formula``, ``methods.mine.function``),
        put where a file cannot name them.
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
        return build(
            data, source=source.source, name=source.name, functions={**source.functions(), **(functions or {})}
        )
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


def _dump(data: Mapping[str, Any]) -> bytes:
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
