"""The study as read: frozen records, checked key by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr, WithJsonSchema, model_validator

from hiermodels.studies.config.decisions import Decisions, StopRule, check_decisions
from hiermodels.studies.config.errors import ConfigError, line_of, problem, shown, within
from hiermodels.studies.config.fields import (
    FAILURES,
    PRECISIONS,
    ROLES,
    Column,
    Design,
    DeviationField,
    Estimands,
    FamilyName,
    Flag,
    FormulaText,
    Grid,
    Interval,
    IntervalField,
    Part,
    Performance,
    Pooling,
    Priors,
    Sampler,
    Share,
    Truth,
    auto,
    default_performance,
    method_names,
    whole,
    words,
)
from hiermodels.studies.config.rivals import HOST_KEYS, MODEL_KEYS, rival

if TYPE_CHECKING:
    from hiermodels.models.spec import Model
    from hiermodels.studies.config.cells import Cell

__all__ = ["Mechanisms", "Method", "Study"]


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
    accuracy : str
        Of ``exact``: ``study`` (probabilities within .01, quantiles within .05 posterior sd or .01 of probability, no bias above .001
        of probability) or ``fit`` (within .002, and .01 posterior sd or .001; slower).
    function : callable or None
        A method written in Python, ``(key, data) -> Estimates``; never from a file.
    estimator : str or None
        An estimator without draws instead, of `hiermodels.inference.estimators` or `hiermodels.inference.frequentist`; all
        settings above but the model's are refused beside it.
    settings : dict
        Its settings, which a config writes beside it: ``{estimator: compromise, weight: 0.5}``.
    host : bool
        The function runs outside compiled code, ``(seed, DataFrame) -> mapping``: see `hiermodels.studies.host`.
    estimands : tuple of str or None
        Of a host function: the names of the estimands it gives, by default all.
    timeout : float or None
        Of a host function: seconds after which a dataset has no estimate and the process is ended; by default none.
    """

    pooling: Pooling = Field("partial", description="complete, none or partial; or group term to such a word")
    sampler: Sampler = Field("nuts", description="how the posterior is computed")
    accuracy: words("study", "fit") = Field("study", description="of sampler exact: study, or fit (exacter, slower)")  # type: ignore[valid-type]
    priors: Priors = Field({}, description="parameter to prior, e.g. sd_school: half_normal(5)")
    marginalize: Flag = Field(True, description="integrate group effects out where that is possible")
    centred: Flag = Field(False, description="centred parameterisation of what stays explicit")
    draws: whole(4) = Field(1000, description="kept draws a chain")  # type: ignore[valid-type]
    tune: whole(0) = Field(1000, description="warm-up draws a chain")  # type: ignore[valid-type]
    chains: whole(1) = Field(4, description="chains")  # type: ignore[valid-type]
    target_accept: Share = Field(0.8, description="target acceptance of NUTS")
    formula: FormulaText = Field(None, description="overrides the mechanism's formula")
    family: FamilyName = Field("normal", description="overrides the mechanism's family")
    known_se: Column = Field(None, description="column of known standard errors")
    trials: Column = Field(None, description="column of binomial trials")
    exposure: Column = Field(None, description="column of Poisson exposures")
    weights: Column = Field(None, description="column of weights")
    function: Annotated[Any, WithJsonSchema({})] = Field(None, description="only from Python")
    estimator: str | None = Field(None, description="an estimator without draws")
    settings: dict[str, Any] = Field({}, description="its settings")
    host: Flag = Field(False, description="the function runs outside compiled code")
    estimands: tuple[str, ...] | None = Field(None, description="what a host function gives")
    timeout: float | None = Field(None, description="seconds that a host function may take a dataset")

    @model_validator(mode="before")
    @classmethod
    def _callable(cls, data: Any) -> Any:
        if callable(data):
            return {"function": data}
        if isinstance(data, Mapping):
            if "settings" in data:
                raise problem("unknown key 'settings'; write an estimator's settings beside it", ("settings",))
            for key in ("estimands", "timeout"):
                if data.get(key) is not None and "host" not in data:
                    raise problem(f"expected no {key} but of a host function; found some; add host: true", (key,))
            if data.get("accuracy") is not None and data.get("sampler", "nuts") != "exact":
                raise problem("expected no accuracy but of sampler: exact; found some; write sampler: exact or remove it", ("accuracy",))
        if isinstance(data, Mapping) and data.get("function") is not None and not callable(data["function"]):
            found = shown(data["function"])
            raise problem(
                f"expected a Python function, which a file cannot hold; found {found}; pass functions from Python: functions={{<method>: f}}",
                ("function",),
            )
        return rival(data) if isinstance(data, Mapping) and ("estimator" in data or "host" in data) else data

    @property
    def kind(self) -> str:
        """``posterior``, ``estimator``, ``host``, or ``function`` for a method in Python that is compiled."""
        if self.estimator is not None:
            return "estimator"
        return "host" if self.host else "posterior" if self.function is None else "function"

    def declaration(self) -> Model:
        """The model that the method fits, without its priors."""
        return _declaration(self)

    def model(self) -> Model:
        """The model that the method fits, as `hiermodels.Model`."""
        return replace(self.declaration(), priors=self.priors)

    def fit_settings(self) -> dict[str, Any]:
        """Arguments of `hiermodels.fit` beside model and data."""
        names = ("pooling", "sampler", "accuracy", "marginalize", "centred", "draws", "tune", "chains", "target_accept")
        return {name: getattr(self, name) for name in names}


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
    deviation : dict
        How datasets differ from what the model says; see `hiermodels.studies.deviations`.
    """

    formula: FormulaText = Field(
        examples=["effect ~ 1 + (1 | school)"],
        description="as in lme4: score ~ 1 + treated + (1 | school/classroom)",
    )
    family: FamilyName = Field("normal", description="distribution of the outcome")
    known_se: Column = Field(None, description="column of known standard errors")
    trials: Column = Field(None, description="column of binomial trials")
    exposure: Column = Field(None, description="column of Poisson exposures")
    weights: Column = Field(None, description="column of weights")
    design: Design = Field(
        examples=["eight_schools"],
        description="a dataset's name, a file, or level sizes in nesting order: {school: 20, obs: 10}",
    )
    truth: Truth = Field(
        {},
        description="true values: a number, a distribution text, or for thetas label to number or a column",
    )
    grid: Grid = Field(
        {}, description="what varies: a mapping is crossed, a list of mappings is taken row by row"
    )
    deviation: DeviationField = Field({}, description="how datasets differ from the model, e.g. effects: student_t(3)")

    def declaration(self) -> Model:
        """The model that simulates, as `hiermodels.Model`; it has no priors."""
        return _declaration(self)


def _declaration(part: Method | Mechanisms) -> Model:
    from hiermodels.models.spec import Model

    return Model(part.formula, part.family, **{role: getattr(part, role) for role in ROLES})


class Study(Part):
    """A simulation study, checked and complete; `read_config` makes it.

    Attributes
    ----------
    aim : str or None
    mechanisms : Mechanisms
    estimands : tuple of Estimand
    methods : dict of str to Method
    performance : tuple of str
        Measures, codes of `hiermodels.studies.measures`; by default bias, mse and cover, and the paired rmse_ratio where there are
        several methods.
    interval : Interval
    decisions : dict
        Name to a threshold or a rule, as `hiermodels.studies.power.read_rules` reads it.
    replications : int
        A cell, at most.
    stop : dict
        Measure to target MCSE, and ``minimum``, as `hiermodels.studies.sequential.read_stop` reads it.
    failures : str
        What is done about fits that fail; complete-case by default.
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

    aim: Column = Field(None, description="what the study is to find out")
    mechanisms: Mechanisms = Field(
        examples=["{formula: y ~ 1 + (1 | g), design: ..., truth: ...}"],
        description="how datasets are simulated",
    )
    estimands: Estimands = Field(
        examples=["[Intercept, sd_school, theta_school]"], description="what is estimated"
    )
    methods: Annotated[dict[str, Method], BeforeValidator(method_names)] = Field(
        examples=["{partial: {pooling: partial}}"], description="how it is estimated"
    )
    performance: Performance = Field(
        default_performance(()),
        examples=["[bias, mse, cover]"],
        description="how estimates are judged; by default bias, mse and cover, and rmse_ratio where there are several methods",
    )
    interval: IntervalField = Field(
        Interval(), description="level of the credible intervals, or {level, kind}"
    )
    decisions: Decisions = Field({}, description="when a decision fires: name to a threshold, or to a rule")
    replications: whole(1) = Field(examples=[250], description="datasets a cell")  # type: ignore[valid-type]
    stop: StopRule = Field({}, description="measure to target MCSE at which a cell ends early, and a minimum")
    failures: words(*FAILURES) = Field(  # type: ignore[valid-type]
        "complete-case", examples=["complete-case"], description="what is done about fits that fail"
    )
    seed: whole(0, 2**32 - 1) = Field(examples=[1], description="all random numbers follow from it")  # type: ignore[valid-type]
    precision: words(*PRECISIONS) = Field("float64", description="of the fits")  # type: ignore[valid-type]
    lanes: auto(1) = Field("auto", description="datasets in one vectorised step")  # type: ignore[valid-type]
    chunk: auto(1) = Field("auto", description="replicates a file, a multiple of lanes")  # type: ignore[valid-type]

    _source: bytes = PrivateAttr(b"")
    _file: str = PrivateAttr("config")
    _lines: dict[tuple[str | int, ...], int] = PrivateAttr({})
    _name: str = PrivateAttr("study")
    _cells: tuple[Cell, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _compared(cls, data: Any) -> Any:
        """Several methods are compared, where nothing else is asked for."""
        if isinstance(data, Mapping) and "performance" not in data and isinstance(data.get("methods"), Mapping):
            return {**data, "performance": list(default_performance(data["methods"]))}
        return data

    @model_validator(mode="after")
    def _whole_study(self) -> Study:
        from hiermodels.studies.config.cells import make_cells
        from hiermodels.studies.config.checks import check_study

        check_study(self)
        self._settle_points()
        with within("mechanisms"):
            self._cells = make_cells(self.mechanisms)
        check_decisions(self)
        return self

    def _settle_points(self) -> None:
        """Point estimates that nobody chose follow from what the estimands are."""
        from hiermodels.studies.config.quantities import quantities_of, with_point

        known: dict[str, Any] = {}
        parts: list[Any] = [self.mechanisms, *(m for m in self.methods.values() if m.kind in ("posterior", "estimator"))]
        for part in parts:
            known = {**quantities_of(part), **known}
        self.__dict__["estimands"] = tuple(with_point(e, known) for e in self.estimands)

    @property
    def source(self) -> bytes:
        """The file as read."""
        return self._source

    @property
    def name(self) -> str:
        """The file's stem, which names the run folder."""
        return self._name

    def mistake(self, message: str, path: tuple[str | int, ...]) -> ConfigError:
        """An error with its place in the file, for what shows only when a model meets its design.

        Words before a colon with which the message begins are taken into the place where they are keys below
        ``path``: ``priors: sd_school: ...`` of ``methods.partial`` is ``methods.partial.priors.sd_school``.
        """
        head, colon, rest = message.partition(": ")
        while colon and (*path, head) in self._lines:
            message, path = rest, (*path, head)
            head, colon, rest = message.partition(": ")
        return ConfigError(message, file=self._file, path=path, line=line_of(path, self._lines))

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
        spare = ("decisions", "stop")
        out = {name: getattr(self, name) for name in type(self).model_fields if name not in spare or getattr(self, name)}
        out["mechanisms"] = {k: v for k, v in _named(dict(self.mechanisms)).items() if k != "deviation" or v}
        out["estimands"] = [{e.name: e.text, "point": e.point} for e in self.estimands]
        out["methods"] = {name: _plain_method(method) for name, method in self.methods.items()}
        out["performance"] = list(self.performance)
        out["interval"] = {"level": self.interval.level, "kind": self.interval.kind}
        return out

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
    """Functions by name."""
    return {k: f"{v.__module__}:{v.__qualname__}" if callable(v) else _copy(v) for k, v in fields.items()}


def _plain_method(method: Method) -> dict[str, Any]:
    """A method as a config would write it, keys of other kinds of methods left out."""
    out = _named(dict(method))
    settings = out.pop("settings")
    if out["accuracy"] == "study":  # the default, which older folders do not know
        del out["accuracy"]
    if method.kind == "estimator":
        return {**{k: out[k] for k in (*MODEL_KEYS, "estimator")}, **settings}
    if method.kind == "host":
        return {k: out[k] for k in (*MODEL_KEYS, *HOST_KEYS) if out[k] is not None or k in MODEL_KEYS}
    return {k: v for k, v in out.items() if k not in ("estimator", "host", "estimands", "timeout") and (k != "function" or v is not None)}


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_copy(v) for v in value]
    return value
