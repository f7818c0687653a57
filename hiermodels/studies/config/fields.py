"""Fields of a study's records: what a value may be, its answer where it is not, its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationInfo, WithJsonSchema, model_validator

from hiermodels.families import lookup
from hiermodels.inference import samplers
from hiermodels.models.formula import parse_formula
from hiermodels.priors import parse
from hiermodels.studies.config.designs import DRAWN, read_design
from hiermodels.studies.config.deviating import check_deviation, deviation_schema
from hiermodels.studies.config.errors import nearest, problem, shown
from hiermodels.studies.config.texts import Estimand, read_estimands
from hiermodels.studies.score.measures import MENU

__all__ = ["FAILURES", "ROLES", "Interval", "Part", "sampler_names"]

FAILURES = ("complete-case", "paired-complete", "worst-case", "retry-with-escalation")
KINDS = ("equal_tailed", "hdi", "upper")
POOLING = ("complete", "none", "partial")
PRECISIONS = ("float64", "float32")
ROLES = ("known_se", "trials", "exposure", "weights")


def sampler_names() -> tuple[str, ...]:
    """Names of the samplers that a config may ask for."""
    return tuple(samplers.MENU)


def _word(menu: Callable[[], tuple[str, ...]]) -> BeforeValidator:
    def check(value: Any) -> Any:
        words = menu()
        if not isinstance(value, str) or value not in words:
            expected = f"one of {', '.join(words)}" if len(words) < 6 else "a name of the menu"
            raise problem(f"expected {expected}; found {shown(value)}; {nearest(str(value), words)}")
        return value

    return BeforeValidator(check)


def words(*menu: str) -> Any:
    """A field that is one of these words."""
    return Annotated[str, _word(lambda: menu), WithJsonSchema({"enum": list(menu)})]


def whole(low: int, high: int | None = None) -> Any:
    """A field that is a whole number from ``low`` to ``high``, both included; 1e3 is one."""
    wanted = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"

    def check(value: Any) -> Any:
        integral = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        if not integral or value < low or value > (_MOST if high is None else high):
            raise problem(f"expected {wanted}{_below(value)}; found {shown(value)}; write e.g. {max(low, 1)}")
        return int(value)

    limits = {"minimum": low} | ({} if high is None else {"maximum": high})
    return Annotated[int, BeforeValidator(check), WithJsonSchema({"type": "integer", **limits})]


_MOST = 2**31 - 1


def _below(value: Any) -> str:
    return f" and at most {_MOST}" if isinstance(value, int | float) and value > _MOST else ""


def auto(low: int) -> Any:
    """A field that is ``auto`` or a whole number of at least ``low``."""

    def check(value: Any) -> Any:
        if value == "auto":
            return value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= _MOST:
            raise problem(
                f"expected auto or a whole number of at least {low}{_below(value)}; found {shown(value)}; write auto"
            )
        return value

    schema = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": low}]}
    return Annotated[int | str, BeforeValidator(check), WithJsonSchema(schema)]


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise problem(f"expected a number between 0 and 1; found {shown(value)}; write e.g. 0.95")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise problem(f"expected true or false; found {shown(value)}; YAML 1.2 has no other words for them")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise problem(f"expected text; found {shown(value)}; put it in quotes if it looks like a number")
    return value.strip()


def _formula(value: Any) -> Any:
    if callable(value):
        return value

    text = _text(value)
    try:
        parse_formula(text)
    except ValueError as error:
        raise problem(str(error).removeprefix("formula ")) from None
    return text


def _family(value: Any) -> str:
    try:
        return lookup(value).name
    except ValueError as error:
        raise problem(str(error).removeprefix("family: ")) from None


def _column(value: Any) -> str | None:
    return None if value is None else _text(value)


Column = Annotated[str | None, BeforeValidator(_column)]
Share = Annotated[float, BeforeValidator(_share)]
Flag = Annotated[bool, BeforeValidator(_flag)]
FormulaText = Annotated[Any, BeforeValidator(_formula), WithJsonSchema({"type": "string"})]
FamilyName = Annotated[str, BeforeValidator(_family)]


class Part(BaseModel):
    """A mapping of the config: unknown and missing keys are answered with what to write."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _keys(cls, data: Any) -> Any:
        fields = cls.model_fields
        if not isinstance(data, Mapping):
            raise problem(
                f"expected a mapping with keys {', '.join(fields)}; found {shown(data)}; write {{key: value}}"
            )
        for key in data:
            if key not in fields:
                raise problem(f"unknown key {key!r}; {nearest(key, fields)}", (key,))
        for name, field in fields.items():
            if field.is_required() and name not in data:
                example = (field.examples or ["..."])[0]
                raise problem(f"expected the key {name!r}; found nothing; add e.g. `{name}: {example}`")
        return data


@dataclass(frozen=True)
class Interval:
    """The credible interval asked for.

    Attributes
    ----------
    level : float
        Its probability, e.g. 0.95.
    kind : str
        ``equal_tailed``, ``hdi`` or ``upper``.
    """

    level: float = 0.95
    kind: str = "equal_tailed"


def _interval(value: Any) -> Interval:
    if isinstance(value, Interval):
        return value
    if not isinstance(value, Mapping):
        return Interval(_share(value))
    for key in value:
        if key not in ("level", "kind"):
            raise problem(f"unknown key {key!r}; {nearest(key, ('level', 'kind'))}", (key,))
    kind = value.get("kind", "equal_tailed")
    if kind not in KINDS:
        raise problem(
            f"expected one of {', '.join(KINDS)}; found {shown(kind)}; {nearest(str(kind), KINDS)}", ("kind",)
        )
    level = value.get("level", 0.95)
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
        raise problem(f"expected a number between 0 and 1; found {shown(level)}; write e.g. 0.95", ("level",))
    return Interval(float(level), kind)


_SHARE_SCHEMA = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
_INTERVAL_SCHEMA = {
    "anyOf": [
        _SHARE_SCHEMA,
        {
            "type": "object",
            "properties": {"level": _SHARE_SCHEMA, "kind": {"enum": list(KINDS)}},
            "additionalProperties": False,
        },
    ]
}


def _pooling(value: Any) -> str | dict[str, str]:
    if isinstance(value, Mapping) and value:
        for term, word in value.items():
            if word not in POOLING:
                hint = nearest(str(word), POOLING)
                raise problem(f"expected one of {', '.join(POOLING)}; found {shown(word)}; {hint}", (str(term),))
        return dict(value)
    if not isinstance(value, str) or value not in POOLING:
        hint = nearest(str(value), POOLING)
        raise problem(f"expected one of {', '.join(POOLING)}, or {{group: word}}; found {shown(value)}; {hint}")
    return value


def _priors(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise problem(f"expected parameter: prior; found {shown(value)}; write e.g. {{sd_school: half_normal(5)}}")
    out = {}
    for name, text in value.items():
        try:
            parse(text, "prior")
        except ValueError as error:
            raise problem(str(error).removeprefix("prior: "), (str(name),)) from None
        out[str(name)] = text.strip() if isinstance(text, str) else f"fixed({text!r})"
    return out


_WORD_SCHEMA = {"enum": list(POOLING)}
Pooling = Annotated[
    Any,
    BeforeValidator(_pooling),
    WithJsonSchema({"anyOf": [_WORD_SCHEMA, {"type": "object", "additionalProperties": _WORD_SCHEMA}]}),
]
Priors = Annotated[
    dict[str, str],
    BeforeValidator(_priors),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number"]}}),
]


_GRID_VALUE = {"type": ["number", "string"]}
_PREDICTOR_SCHEMA = {
    "type": "object",
    "properties": {"law": _GRID_VALUE, "level": {"type": "string"}, "drawn": {"enum": list(DRAWN)}},
    "required": ["law"],
    "additionalProperties": False,
}
_SIZES_SCHEMA = {
    "type": "object",
    "properties": {
        "obs": {"type": ["integer", "string"]},
        "predictors": {"type": "object", "additionalProperties": {"anyOf": [_GRID_VALUE, _PREDICTOR_SCHEMA]}},
        "table": {"type": "object", "additionalProperties": {"type": "array"}},
        "file": {"type": "string"},
        "missing": {"type": ["string", "array"], "items": {"type": "string"}},
    },
    "additionalProperties": {"type": "integer", "minimum": 1},
}


def _design(value: Any, info: ValidationInfo) -> str | dict[str, Any]:
    context = info.context or {}
    return read_design(value, context.get("folder"), context.get("labels"))


def _truth(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise problem(f"expected name: value; found {shown(value)}; write e.g. {{Intercept: 8, sd_school: 10}}")
    return dict(value)


Design = Annotated[Any, BeforeValidator(_design), WithJsonSchema({"anyOf": [{"type": "string"}, _SIZES_SCHEMA]})]
Truth = Annotated[
    dict[str, Any],
    BeforeValidator(_truth),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["number", "string", "object"]}}),
]
_CROSSED_SCHEMA = {
    "type": "object",
    "additionalProperties": {"type": "array", "items": _GRID_VALUE, "minItems": 1},
}
_ROWS_SCHEMA = {"type": "array", "items": {"type": "object", "additionalProperties": _GRID_VALUE}}
DeviationField = Annotated[dict[str, Any], BeforeValidator(check_deviation), WithJsonSchema(deviation_schema())]
Grid = Annotated[Any, WithJsonSchema({"anyOf": [_CROSSED_SCHEMA, _ROWS_SCHEMA]})]


def default_performance(methods: Collection[str]) -> tuple[str, ...]:
    """Measures where a study names none: bias, error and coverage, and the paired comparison of several methods.

    Examples
    --------
    >>> default_performance(["none", "partial"])
    ('bias', 'mse', 'cover', 'rmse_ratio')
    """
    wanted = [measure for measure in MENU.values() if measure.default]
    compared = [measure for measure in wanted if measure.paired and len(methods) > 1]
    return tuple(measure.name for measure in (*(m for m in wanted if not m.paired), *compared))


def _performance(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise problem(f"expected a list such as [bias, mse, cover]; found {shown(value)}; name at least one measure")
    for i, code in enumerate(value):
        if not isinstance(code, str) or code not in MENU:
            raise problem(f"unknown measure {shown(code)}; {nearest(str(code), MENU)}", (i,))
        if code in value[:i]:
            raise problem(f"expected every measure once; found {code!r} twice; remove one of them", (i,))
    return tuple(value)


_NAME = re.compile(r"[^\W_][\w.+-]{0,63}")


def method_names(value: Any) -> Any:
    """Refuse methods without a name that a folder can have."""
    if not isinstance(value, Mapping) or not value:
        found = "none" if value == {} else shown(value)
        raise problem(f"expected name: settings; found {found}; write e.g. {{partial: {{sampler: nuts}}}}")
    for name in value:
        if not _NAME.fullmatch(name):
            raise problem(
                f"expected letters, digits and . _ + - in a method's name; found {shown(name)}; rename it",
                (name,),
            )
    return value


_ESTIMAND_SCHEMA = {
    "type": "array",
    "minItems": 1,
    "items": {
        "anyOf": [
            {"type": "string"},
            {
                "type": "object",
                "properties": {"point": {"enum": ["mean", "median"]}},
                "additionalProperties": {"type": "string"},
            },
        ]
    },
}

IntervalField = Annotated[Interval, BeforeValidator(_interval), WithJsonSchema(_INTERVAL_SCHEMA)]
Sampler = Annotated[str, _word(sampler_names)]
Performance = Annotated[tuple[str, ...], BeforeValidator(_performance)]
Estimands = Annotated[tuple[Estimand, ...], BeforeValidator(read_estimands), WithJsonSchema(_ESTIMAND_SCHEMA)]
