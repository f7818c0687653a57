"""The study as read: frozen records, checked key by key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from hiermodels.studies.config.cells import Cell, make_cells
from hiermodels.studies.config.checks import check_study
from hiermodels.studies.config.decisions import Decisions, StopRule, check_decisions
from hiermodels.studies.config.errors import ConfigError, from_pydantic, line_of, within
from hiermodels.studies.config.fields import (
    FAILURES,
    PRECISIONS,
    Column,
    Estimands,
    Interval,
    IntervalField,
    Part,
    Performance,
    auto,
    default_performance,
    method_names,
    whole,
    words,
)
from hiermodels.studies.config.given import grouping_columns, inherited, with_functions
from hiermodels.studies.config.mechanisms import Mechanisms, named
from hiermodels.studies.config.methods import Method, plain_method
from hiermodels.studies.config.quantities import quantities_of, with_point

__all__ = ["Study", "build"]


class Study(Part):
    """A simulation study, checked and complete; `read_config` makes it.

    Attributes
    ----------
    aim : str or None
    mechanisms : Mechanisms
    estimands : tuple of Estimand
    methods : dict of str to Method
    performance : tuple of str
        Measures, codes of `hiermodels.studies.score.measures`; by default bias, mse and cover, and the paired
        rmse_ratio where there are several methods.
    interval : Interval
    decisions : dict
        Name to a threshold or a rule, as `hiermodels.studies.score.rules.read_rules` reads it.
    replications : int
        A cell, at most.
    stop : dict
        Measure to target MCSE, and ``minimum``, as `hiermodels.studies.config.targets.read_stop` reads it.
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
    estimands: Estimands = Field(examples=["[Intercept, sd_school, theta_school]"], description="what is estimated")
    methods: Annotated[dict[str, Method], BeforeValidator(method_names)] = Field(
        examples=["{partial: {pooling: partial}}"], description="how it is estimated"
    )
    performance: Performance = Field(
        default_performance(()),
        examples=["[bias, mse, cover]"],
        description=(
            "how estimates are judged; by default bias, mse and cover, and rmse_ratio where there are several methods"
        ),
    )
    interval: IntervalField = Field(Interval(), description="level of the credible intervals, or {level, kind}")
    decisions: Decisions = Field({}, description="when a decision fires: name to a threshold, or to a rule")
    replications: whole(1) = Field(examples=[250], description="datasets a cell")  # type: ignore[valid-type]
    stop: StopRule = Field({}, description="measure to target MCSE at which a cell ends early, and a minimum")
    failures: words(*FAILURES) = Field(  # type: ignore[valid-type]
        "complete-case", examples=["complete-case"], description="what is done about fits that fail"
    )
    seed: whole(0, 2**32 - 1) = Field(examples=[1], description=("all random numbers follow from it"))  # type: ignore[valid-type]
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
        check_study(self.mechanisms, self.methods, self.estimands, self.lanes, self.chunk)
        self._settle_points()
        with within("mechanisms"):
            self._cells = make_cells(self.mechanisms)
        check_decisions(self.decisions, self.estimands, self._cells)
        return self

    def _settle_points(self) -> None:
        """Point estimates that nobody chose follow from what the estimands are."""
        known: dict[str, Any] = {}
        parts: list[Any] = [self.mechanisms, *(m for m in self.methods.values() if m.declares)]
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
        out = {
            name: getattr(self, name) for name in type(self).model_fields if name not in spare or getattr(self, name)
        }
        out["mechanisms"] = {k: v for k, v in named(dict(self.mechanisms)).items() if k != "deviation" or v}
        out["estimands"] = [{e.name: e.text, "point": e.point} for e in self.estimands]
        out["methods"] = {name: plain_method(method) for name, method in self.methods.items()}
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
        return build(resolved, source=source, name=name, functions=functions)


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
    data = inherited(with_functions(data, functions or {}))
    try:
        study = Study.model_validate(data, context={"folder": folder, "labels": grouping_columns(data)})
    except ValidationError as error:
        raise from_pydantic(error, file, lines or {}) from None
    study._source, study._name = source, name
    study._file, study._lines = file, dict(lines or {})
    return study
