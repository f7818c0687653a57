"""The study as read: frozen records, checked key by key."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from hiermodels.studies.config.designs import read_design
from hiermodels.studies.config.errors import nearest, problem, shown, within
from hiermodels.studies.config.texts import Estimand, read_estimands

if TYPE_CHECKING:
    from hiermodels.models.spec import Model
    from hiermodels.studies.config.cells import Cell

__all__ = ["FAILURES", "Interval", "Mechanisms", "Method", "Study", "measure_names", "sampler_names"]

FAILURES = ("complete-case", "paired-complete", "worst-case", "retry-with-escalation")
KINDS = ("equal_tailed", "hdi", "upper")
POOLING = ("complete", "none", "partial")
PRECISIONS = ("float64", "float32")
ROLES = ("known_se", "trials", "exposure", "weights")


def measure_names() -> tuple[str, ...]:
    """Codes of the performance measures: the menu of `hiermodels.studies.measures`."""
    from hiermodels.studies import measures

    return tuple(measures.__all__)


def sampler_names() -> tuple[str, ...]:
    """Names of the samplers that a config may ask for."""
    import hiermodels.inference as inference

    return tuple(getattr(inference, "__all__", ())) or ("nuts", "exact")


def _word(menu: Callable[[], tuple[str, ...]]) -> BeforeValidator:
    def check(value: Any) -> Any:
        words = menu()
        if not isinstance(value, str) or value not in words:
            expected = f"one of {', '.join(words)}" if len(words) < 6 else "a name of the menu"
            raise problem(f"expected {expected}; found {shown(value)}; {nearest(str(value), words)}")
        return value

    return BeforeValidator(check)


def _words(*words: str) -> Any:
    return Annotated[str, _word(lambda: words), WithJsonSchema({"enum": list(words)})]


def _whole(low: int, high: int | None = None) -> Any:
    wanted = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"

    def check(value: Any) -> Any:
        integral = isinstance(value, int | float) and not isinstance(value, bool) and float(value).is_integer()
        if not integral or value < low or (high is not None and value > high):
            raise problem(f"expected {wanted}; found {shown(value)}; write e.g. {max(low, 1)}")
        return int(value)

    limits = {"minimum": low} | ({} if high is None else {"maximum": high})
    return Annotated[int, BeforeValidator(check), WithJsonSchema({"type": "integer", **limits})]


def _auto(low: int) -> Any:
    def check(value: Any) -> Any:
        if value == "auto":
            return value
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise problem(f"expected auto or a whole number of at least {low}; found {shown(value)}; write auto")
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
    from hiermodels.models.formula import parse_formula

    text = _text(value)
    try:
        parse_formula(text)
    except ValueError as error:
        raise problem(str(error)) from None
    return text


def _family(value: Any) -> str:
    from hiermodels.models.families import lookup

    try:
        return lookup(value).name
    except ValueError as error:
        raise problem(str(error).removeprefix("family: ")) from None


def _column(value: Any) -> str | None:
    return None if value is None else _text(value)


Text = Annotated[str, BeforeValidator(_text)]
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
            raise problem(f"expected a mapping with keys {', '.join(fields)}; found {shown(data)}; write {{key: value}}")
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
        raise problem(f"expected one of {', '.join(KINDS)}; found {shown(kind)}; {nearest(str(kind), KINDS)}", ("kind",))
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
    from hiermodels.models.priors import parse

    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise problem(f"expected a mapping of parameter to prior; found {shown(value)}; write e.g. {{sd_school: half_normal(5)}}")
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


class Method(Part):
    """A way of estimating: what `hiermodels.fit` is called with on every dataset.

    Attributes
    ----------
    formula, family, known_se, trials, exposure, weights
        The model; what a method does not name, it takes from ``mechanisms``.
    priors : dict of str to str
    pooling : str or dict of str to str
    sampler : str
    marginalize, centred, draws, tune, chains, target_accept
        As in `hiermodels.fit`.
    function : callable or None
        A method written in Python, ``(key, data) -> Estimates``; never from a file.
    """

    pooling: Pooling = Field("partial", description="complete, none or partial; or group term to such a word")
    sampler: Annotated[str, _word(sampler_names)] = Field("nuts", description="how the posterior is computed")
    priors: Priors = Field({}, description="parameter to prior, e.g. sd_school: half_normal(5)")
    marginalize: Flag = Field(True, description="integrate group effects out where that is possible")
    centred: Flag = Field(False, description="centred parameterisation of what stays explicit")
    draws: _whole(4) = Field(1000, description="kept draws a chain")  # type: ignore[valid-type]
    tune: _whole(0) = Field(1000, description="warm-up draws a chain")  # type: ignore[valid-type]
    chains: _whole(1) = Field(4, description="chains")  # type: ignore[valid-type]
    target_accept: Share = Field(0.8, description="target acceptance of NUTS")
    formula: FormulaText = Field(None, description="overrides the mechanism's formula")
    family: FamilyName = Field("normal", description="overrides the mechanism's family")
    known_se: Column = Field(None, description="column of known standard errors")
    trials: Column = Field(None, description="column of binomial trials")
    exposure: Column = Field(None, description="column of Poisson exposures")
    weights: Column = Field(None, description="column of weights")
    function: Annotated[Any, WithJsonSchema({})] = Field(None, description="only from Python")

    @model_validator(mode="before")
    @classmethod
    def _callable(cls, data: Any) -> Any:
        if callable(data):
            return {"function": data}
        if isinstance(data, Mapping) and data.get("function") is not None and not callable(data["function"]):
            found = shown(data["function"])
            raise problem(f"expected a sampler's name; found the function {found}; pass functions from Python", ("function",))
        return data

    def model(self) -> Model:
        """The model that the method fits, as `hiermodels.Model`."""
        from hiermodels.models.spec import Model

        roles = {role: getattr(self, role) for role in ROLES}
        return Model(self.formula, self.family, priors=self.priors, **roles)

    def fit_settings(self) -> dict[str, Any]:
        """Arguments of `hiermodels.fit` beside model and data."""
        names = ("pooling", "sampler", "marginalize", "centred", "draws", "tune", "chains", "target_accept")
        return {name: getattr(self, name) for name in names}


_GRID_VALUE = {"type": ["number", "string"]}
_SIZES_SCHEMA = {
    "type": "object",
    "properties": {
        "obs": {"type": ["integer", "string"]},
        "predictors": {"type": "object", "additionalProperties": _GRID_VALUE},
        "table": {"type": "object", "additionalProperties": {"type": "array"}},
        "file": {"type": "string"},
    },
    "additionalProperties": {"type": "integer", "minimum": 1},
}


def _design(value: Any, info: ValidationInfo) -> str | dict[str, Any]:
    return read_design(value, (info.context or {}).get("folder"))


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise problem(f"expected a mapping of name to value; found {shown(value)}; write e.g. {{Intercept: 8, sd_school: 10}}")
    return dict(value)


class Mechanisms(Part):
    """How datasets come about: a model, a design, true values, and what varies between cells.

    Attributes
    ----------
    formula, family, known_se, trials, exposure, weights
        The model that simulates.
    design : str or dict
        Name of a dataset; ``{"table": columns}`` of a file; or level sizes in nesting order with ``obs`` and
        ``predictors``.
    truth : dict
        Variable to number, distribution text, or for thetas label -> number or a column of the design.
    grid : dict or list
        Factors: a mapping is crossed, a list of mappings is taken row by row.
    """

    formula: FormulaText = Field(
        examples=["effect ~ 1 + (1 | school)"], description="as in lme4: score ~ 1 + treated + (1 | school/classroom)"
    )
    family: FamilyName = Field("normal", description="distribution of the outcome")
    known_se: Column = Field(None, description="column of known standard errors")
    trials: Column = Field(None, description="column of binomial trials")
    exposure: Column = Field(None, description="column of Poisson exposures")
    weights: Column = Field(None, description="column of weights")
    design: Annotated[
        Any, BeforeValidator(_design), WithJsonSchema({"anyOf": [{"type": "string"}, _SIZES_SCHEMA]})
    ] = Field(
        examples=["eight_schools"],
        description="a dataset's name, a file, or level sizes in nesting order: {school: 20, classroom: 4, obs: 10}",
    )
    truth: Annotated[
        dict[str, Any],
        BeforeValidator(_mapping),
        WithJsonSchema(
            {"type": "object", "additionalProperties": {"type": ["number", "string", "object"]}}
        ),
    ] = Field({}, description="true values: a number, a distribution text, or for thetas label to number or a column")
    grid: Annotated[
        Any,
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "object", "additionalProperties": {"type": "array", "items": _GRID_VALUE, "minItems": 1}},
                    {"type": "array", "items": {"type": "object", "additionalProperties": _GRID_VALUE}},
                ]
            }
        ),
    ] = Field({}, description="what varies: a mapping is crossed, a list of mappings is taken row by row")


def _performance(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise problem(f"expected a list such as [bias, mse, cover]; found {shown(value)}; name at least one measure")
    menu = measure_names()
    for i, code in enumerate(value):
        if code not in menu:
            raise problem(f"unknown measure {shown(code)}; {nearest(str(code), menu)}", (i,))
        if code in value[:i]:
            raise problem(f"expected every measure once; found {code!r} twice; remove one of them", (i,))
    return tuple(value)


_NAME = re.compile(r"[^\W_][\w.+-]{0,63}")


def _methods(value: Any) -> Any:
    if not isinstance(value, Mapping) or not value:
        found = "none" if value == {} else shown(value)
        raise problem(f"expected a mapping of names to settings; found {found}; write e.g. {{partial: {{sampler: nuts}}}}")
    for name in value:
        if not _NAME.fullmatch(name):
            raise problem(f"expected letters, digits and . _ + - in a method's name; found {shown(name)}; rename it", (name,))
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


class Study(Part):
    """A simulation study, checked and complete; `read_config` makes it.

    Attributes
    ----------
    aim : str or None
    mechanisms : Mechanisms
    estimands : tuple of Estimand
    methods : dict of str to Method
    performance : tuple of str
        Measures, codes of `hiermodels.studies.measures`.
    interval : Interval
    replications : int
        A cell.
    failures : str
        What is done about fits that fail.
    seed : int
    precision : str
    lanes, chunk : int or ``"auto"``
    source : bytes
        The file as read.
    name : str
        The file's stem.

    Examples
    --------
    >>> from hiermodels.studies.config import read_config
    >>> study = read_config("eight_schools")
    >>> [cell.factors for cell in study.cells()][:2]
    [{'sd_school': 0.0}, {'sd_school': 5.0}]
    """

    aim: Annotated[str | None, BeforeValidator(_column)] = Field(None, description="what the study is to find out")
    mechanisms: Mechanisms = Field(
        examples=["{formula: y ~ 1 + (1 | g), design: ..., truth: ...}"], description="how datasets are simulated"
    )
    estimands: Annotated[
        tuple[Estimand, ...], BeforeValidator(read_estimands), WithJsonSchema(_ESTIMAND_SCHEMA)
    ] = Field(examples=["[Intercept, sd_school, theta_school]"], description="what is estimated")
    methods: Annotated[dict[str, Method], BeforeValidator(_methods)] = Field(
        examples=["{partial: {pooling: partial}}"], description="how it is estimated"
    )
    performance: Annotated[tuple[str, ...], BeforeValidator(_performance)] = Field(
        examples=["[bias, mse, cover]"], description="how estimates are judged"
    )
    interval: Annotated[Interval, BeforeValidator(_interval), WithJsonSchema(_INTERVAL_SCHEMA)] = Field(
        Interval(), description="level of the credible intervals, or {level, kind}"
    )
    replications: _whole(1) = Field(examples=[250], description="datasets a cell")  # type: ignore[valid-type]
    failures: _words(*FAILURES) = Field(  # type: ignore[valid-type]
        examples=["complete-case"], description="what is done about fits that fail"
    )
    seed: _whole(0, 2**32 - 1) = Field(examples=[1], description="all random numbers follow from it")  # type: ignore[valid-type]
    precision: _words(*PRECISIONS) = Field("float64", description="of the fits")  # type: ignore[valid-type]
    lanes: _auto(1) = Field("auto", description="datasets in one vectorised step")  # type: ignore[valid-type]
    chunk: _auto(1) = Field("auto", description="replicates a file, a multiple of lanes")  # type: ignore[valid-type]

    _source: bytes = PrivateAttr(b"")
    _name: str = PrivateAttr("study")
    _cells: tuple[Cell, ...] = PrivateAttr(())

    IDENTITY: ClassVar[tuple[str, ...]] = ("mechanisms", "methods", "estimands", "interval", "seed", "precision")

    @model_validator(mode="after")
    def _whole_study(self) -> Study:
        from hiermodels.studies.config.cells import make_cells
        from hiermodels.studies.config.checks import check_study

        check_study(self)
        with within("mechanisms"):
            self._cells = make_cells(self.mechanisms)
        return self

    @property
    def source(self) -> bytes:
        """The file as read."""
        return self._source

    @property
    def name(self) -> str:
        """The file's stem, which names the run folder."""
        return self._name

    def cells(self) -> tuple[Cell, ...]:
        """The cells of the grid, the first factor slowest; one cell without a grid."""
        return self._cells

    @property
    def factors(self) -> dict[str, str]:
        """Factor columns and their types in every table, ``float64`` or ``string``."""
        row = self._cells[0].factors
        return {name: "string" if isinstance(value, str) else "float64" for name, value in row.items()}

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Python functions in the study, by their place; `resolved` has only their names."""
        found = {"mechanisms.formula": self.mechanisms.formula}
        for name, method in self.methods.items():
            found[f"methods.{name}.formula"] = method.formula
            found[f"methods.{name}.function"] = method.function
        return {place: f for place, f in found.items() if callable(f)}

    def resolved(self) -> dict[str, Any]:
        """The study with every default written out, as plain values that JSON can hold.

        The order of keys has meaning (nesting order of levels, order of factors and methods): do not sort it.

        Examples
        --------
        >>> from hiermodels.studies.config import Study, read_config
        >>> study = read_config("eight_schools")
        >>> Study.from_resolved(study.resolved()).resolved() == study.resolved()
        True
        """
        out = {name: getattr(self, name) for name in type(self).model_fields}
        out["mechanisms"] = _named(dict(self.mechanisms))
        out["estimands"] = [{e.name: e.text, "point": e.point} for e in self.estimands]
        out["methods"] = {name: _named(dict(method)) for name, method in self.methods.items()}
        out["performance"] = list(self.performance)
        out["interval"] = {"level": self.interval.level, "kind": self.interval.kind}
        return out

    def identity(self) -> dict[str, Any]:
        """What determines results: `resolved` without aim, performance, numbers of replications and chunks.

        The name of a design's file is left out as well: its contents count.
        """
        resolved = self.resolved()
        design = resolved["mechanisms"]["design"]
        if isinstance(design, dict):
            resolved["mechanisms"]["design"] = {k: v for k, v in design.items() if k != "file"}
        return {key: resolved[key] for key in self.IDENTITY}

    @classmethod
    def from_resolved(
        cls,
        resolved: Mapping[str, Any],
        *,
        source: bytes = b"",
        name: str = "study",
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Study:
        """The study back from `resolved`, without touching disk.

        Parameters
        ----------
        resolved : mapping
        source, name
            The file's bytes and stem, where they matter.
        functions : mapping, optional
            As `functions` gave them, where the study has Python functions.
        """
        from hiermodels.studies.config import build

        return build(resolved, source=source, name=name, functions=functions)


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """Functions by name; a method's ``function`` only where there is one."""
    out = {k: f"{v.__module__}:{v.__qualname__}" if callable(v) else _copy(v) for k, v in fields.items()}
    return {k: v for k, v in out.items() if k != "function" or v is not None}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(v) for v in value]
    return None if isinstance(value, float) and math.isnan(value) else value
