"""Methods that are not a posterior: estimators of the library and a user's function outside compiled code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from hiermodels.inference.direct import menu, read_settings
from hiermodels.inference.point_estimates import setting_names
from hiermodels.studies.config.errors import nearest, problem, shown
from hiermodels.studies.config.fields import ROLES

__all__ = ["MODEL_KEYS", "estimator_names", "rival", "rival_schemas"]

MODEL_KEYS = ("formula", "family", *ROLES)
"""Keys that every kind of method has: the model, or what it takes of one."""

HOST_KEYS = ("host", "function", "estimands", "timeout")
_POSTERIOR = (
    "pooling",
    "sampler",
    "accuracy",
    "priors",
    "marginalize",
    "centred",
    "draws",
    "tune",
    "chains",
    "target_accept",
)


def estimator_names() -> tuple[str, ...]:
    """Names of the estimators without draws."""
    return tuple(menu())


def rival(data: Mapping[str, Any]) -> dict[str, Any]:
    """A method with ``estimator`` or ``host``, its keys checked, settings of the estimator put under ``settings``."""
    for key in data:
        if key in _POSTERIOR:
            kind = "an estimator, which has no posterior" if "estimator" in data else "host, a function of your own"
            raise problem(f"expected no {key} beside {kind}; found {shown(data[key])}; remove it", (key,))
    return _estimator(data) if "estimator" in data else _host(data)


def _estimator(data: Mapping[str, Any]) -> dict[str, Any]:
    name, names = data["estimator"], estimator_names()
    if not isinstance(name, str) or name not in names:
        raise problem(
            f"expected the name of an estimator; found {shown(name)}; {nearest(str(name), names)}", ("estimator",)
        )
    for key in HOST_KEYS:
        if data.get(key) is not None:
            raise problem(f"expected one of estimator and {key}; found both; remove one", (key,))
    settings = {k: v for k, v in data.items() if k not in (*MODEL_KEYS, *HOST_KEYS, "estimator")}
    try:
        checked = read_settings(name, settings)
    except ValueError as error:
        key, _, message = str(error).partition(": ")
        raise problem(message, (key,)) from None
    return {**{k: v for k, v in data.items() if k not in settings}, "settings": checked}


def _host(data: Mapping[str, Any]) -> dict[str, Any]:
    if data["host"] is not True:
        raise problem(f"expected true; found {shown(data['host'])}; write host: true or remove it", ("host",))
    for key in data:
        if key not in (*MODEL_KEYS, *HOST_KEYS):
            raise problem(f"unknown key {key!r} beside host; {nearest(key, (*MODEL_KEYS, *HOST_KEYS))}", (key,))
    names = data.get("estimands")
    if names is not None and (
        not isinstance(names, list | tuple) or not names or not all(isinstance(n, str) for n in names)
    ):
        raise problem(
            f"expected a list of estimands' names; found {shown(names)}; write e.g. [Intercept]", ("estimands",)
        )
    timeout = data.get("timeout")
    number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if timeout is not None and not (number and 0 < timeout < math.inf):
        raise problem(f"expected a number of seconds above 0; found {shown(timeout)}; write e.g. 60", ("timeout",))
    return {**data, "estimands": None if names is None else tuple(names)}


def rival_schemas(method: Mapping[str, Any]) -> dict[str, Any]:
    """JSON Schemas of both kinds; model keys as in the schema of a ``Method``."""
    model = {key: method["properties"][key] for key in MODEL_KEYS}
    settings: dict[str, Any] = {}
    for function in menu().values():
        for key, parameter in setting_names(function).items():
            kind = parameter.annotation
            literal = get_origin(kind) is Literal
            settings[key] = (
                {"enum": list(get_args(kind))} if literal else {"type": "boolean" if kind is bool else "number"}
            )
    estimator = {
        "additionalProperties": False,
        "description": "An estimator without draws, its settings beside it.",
        "properties": {"estimator": {"enum": list(menu())}, **settings, **model},
        "required": ["estimator"],
        "type": "object",
    }
    host = {
        "additionalProperties": False,
        "description": "A Python function outside compiled code, given to hiermodels.run.",
        "properties": {
            "host": {"const": True},
            "estimands": {"type": "array", "items": {"type": "string"}},
            "timeout": {"type": "number", "exclusiveMinimum": 0, "description": "seconds that one dataset may take"},
            **model,
        },
        "required": ["host"],
        "type": "object",
    }
    return {"Estimator": estimator, "Host": host}
