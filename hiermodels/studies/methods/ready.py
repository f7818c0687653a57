"""What the words of a study mean: a cell ready to simulate from, a method ready to be mapped over its datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hiermodels.inference import samplers
from hiermodels.inference.direct import available_directly, check_design, direct_estimator
from hiermodels.inference.draws import Estimates
from hiermodels.inference.naming import canonical_targets
from hiermodels.inference.samplers import Settings, available, dimension, target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.canonical import canonical
from hiermodels.models.data import bind
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.sites import TRACING
from hiermodels.models.spec import Model
from hiermodels.studies.config import Cell, Estimand, Method, Study, data_key_material
from hiermodels.studies.config.deviating import read_deviations
from hiermodels.studies.config.mechanisms import outcome_of
from hiermodels.studies.mechanisms import own
from hiermodels.studies.mechanisms.deviant import Deviation, any_rows, read_deviation
from hiermodels.studies.mechanisms.own import OwnLayout
from hiermodels.studies.mechanisms.predictors import Redrawn, declared_scales, redrawn, without_reference
from hiermodels.studies.mechanisms.simulate import Truth, bind_design, design_frame, read_truth
from hiermodels.studies.methods import host
from hiermodels.studies.methods.term_tests import test_of, whether_an_effect
from hiermodels.studies.methods.widened import sizes_vary, widened
from hiermodels.studies.score.power import ALL, ANY
from hiermodels.studies.score.tables import AVERAGE

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Fit", "Mechanism", "fit_of", "lanes_of", "mechanism_of", "plain_fit", "truth_of"]

AnyProblem = Any
"""`Problem`, or `OwnProblem` of a NumPyro function, which has the same attributes."""
AnyLayout = Any
"""`Layout` or `OwnLayout`."""


@dataclass(frozen=True)
class Mechanism:
    """A cell ready to simulate from; its frame holds reference values of predictors that are redrawn with each dataset."""

    cell: Cell
    frame: pd.DataFrame
    problem: AnyProblem
    truth: Truth
    values: dict[str, np.ndarray]
    key: int
    deviation: Deviation | None = None
    redrawn: tuple[Redrawn, ...] = ()


@dataclass(frozen=True)
class Fit:
    """A method ready to be mapped over a cell's datasets.

    Attributes
    ----------
    problem : Problem
        The method's model on the cell's design.
    targets : tuple of Target
        What it estimates; estimands that it has not are left out.
    names : tuple of (estimand, labels)
        Rows of one replicate, a block a target.
    positions : ndarray
        Places of the real targets among the padded ones.
    sources : tuple
        Where each target's truth is found: (variable of the mechanism or None, padded positions).
    """

    problem: AnyProblem
    settings: Settings
    targets: tuple[Target, ...]
    interval: Interval
    names: tuple[tuple[str, tuple[str, ...]], ...]
    positions: np.ndarray
    sources: tuple[tuple[str | None, np.ndarray], ...]
    function: Callable[..., Estimates] | None

_AUTO_CHUNK = {"estimator": 256, "host": 16}
"""Replicates a file of methods without a sampler, before rounding up to whole lanes: a few seconds of work, so that a killed run loses little."""

def _cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """Cache by the identity of the study (kept alive) and the other arguments.

    Safe among threads: what is not there yet is made while no other thread traces a model, since binding may trace one.
    """
    store: dict[Any, Any] = {}

    def wrapper(study: Study, *rest: Any) -> Any:
        key = (id(study), *(r.hash if isinstance(r, Cell) else r for r in rest))
        found = store.get(key)
        if found is None:
            with TRACING:
                found = store.get(key)
                if found is None:
                    if len(store) > 4096:
                        store.clear()
                    found = store[key] = (study, function(study, *rest))
        return found[1]

    return wrapper


@_cached
def mechanism_of(study: Study, cell: Cell) -> Mechanism:
    """Bind the mechanism of a cell to its design and truth.

    Raises
    ------
    ValueError
        Where design, formula and truth do not fit one another.
    """
    m, material = study.mechanisms, data_key_material(cell)
    frame = design_frame(cell.design, study.seed, material)
    laws = redrawn(cell.design, frame)
    if callable(m.formula):
        own_problem = own.bind_own(m.formula, frame, outcome_of(m.formula))
        truth, values = own.own_truth(cell.truth, own_problem)
        return Mechanism(cell, frame, own_problem, truth, values, material, None, laws)
    model = Model(m.formula, m.family, known_se=m.known_se, trials=m.trials, exposure=m.exposure, weights=m.weights)
    problem = without_reference(bind_design(model, frame), laws)
    truth, values = read_truth(cell.truth, problem)
    deviation = read_deviation(read_deviations(cell.deviation), problem, cell.truth)
    return Mechanism(cell, frame, problem, truth, values, material, deviation, laws)


@_cached
def fit_of(study: Study, cell: Cell, name: str) -> Fit:
    """Bind a method to a cell's design and sort out which estimands it has.

    Raises
    ------
    ValueError
        Starting with ``methods.<name>``.
    """
    mechanism, method = mechanism_of(study, cell), study.methods[name]
    if method.kind == "host":
        if method.function is None:
            raise ValueError(f"methods.{name}: host: expected a Python function; run it with hiermodels.run(..., functions={{{name!r}: f}})")
        host.portable(method.function)
        return plain_fit(study, mechanism, method.estimands, method.function)
    try:
        problem = _meet(study, mechanism, method)
        if isinstance(problem, Problem) and method.kind == "posterior":
            samplers.of(_settings(method)).check(problem.layout, problem.data)
    except ValueError as error:
        raise ValueError(f"methods.{name}: {error}") from None
    settings = _settings(method)
    known = _available(method, problem)
    targets, names, sources = [], [], []
    for estimand in study.estimands:
        target = test_of(method, problem, mechanism.frame, estimand) if estimand.kind == "test" else _target(estimand, problem)
        if target is None:
            continue
        if not target.rows and known is not None and (target.variable not in known or (method.estimator and target.threshold is not None)):
            continue
        targets.append(target)
        names.append((estimand.name, _labels(target.variable, problem)))
        sources.append(_source(target.variable, problem, mechanism.problem))
    interval = Interval(study.interval.level, study.interval.kind)
    positions = _real_positions(problem, tuple(targets))
    if method.function is not None:
        with jax.enable_x64(study.precision == "float64"):
            own.check_estimates(method.function, sum(target_sizes(problem.layout, tuple(targets))), as_jax(problem.data))
    function = method.function
    if method.estimator is not None:
        renamed = canonical(problem.layout)
        wanted = canonical_targets(renamed, tuple(targets))
        function = direct_estimator(method.estimator, _frozen(method), renamed.layout, wanted, interval)
    return Fit(problem, settings, tuple(targets), interval, tuple(names), positions, tuple(sources), function)


def plain_fit(
    study: Study, mechanism: Mechanism, names: tuple[str, ...] | None = None, function: Callable[..., Any] | None = None
) -> Fit:
    """Estimands as they stand in the mechanism, for estimates that are made elsewhere; all of the study's without ``names``."""
    problem = mechanism.problem
    wanted = [e for e in study.estimands if names is None or e.name in names]
    targets = tuple(_target(e, problem) for e in wanted)
    labels = tuple((e.name, _labels(t.variable, problem)) for e, t in zip(wanted, targets, strict=True))
    sources = tuple(_source(t.variable, problem, problem) for t in targets)
    interval = Interval(study.interval.level, study.interval.kind)
    return Fit(problem, Settings(sampler="host"), targets, interval, labels, _real_positions(problem, targets), sources, function)


def _meet(study: Study, mechanism: Mechanism, method: Method) -> AnyProblem:
    """A method's model on the design: a formula, a NumPyro function, or for a method in Python its mechanism's."""
    frame, outcome = mechanism.frame, outcome_of(study.mechanisms.formula)
    if callable(method.formula) and method.estimator is not None:
        raise ValueError(f"formula: {method.estimator} needs a formula, found a NumPyro function; write e.g. y ~ 1 + (1 | group)")
    if callable(method.formula):
        if mechanism.deviation is not None and mechanism.deviation.changes_rows:
            raise ValueError("formula: a NumPyro function cannot be told which groups are missing or small; write a formula")
        if method.function is None:
            own.check_method(method)
        return own.bind_own(method.formula, frame, outcome)
    model = method.model()
    if model.parsed.outcome != outcome:
        raise ValueError(f"formula: expected the outcome that is simulated, {outcome!r}, found {model.parsed.outcome!r}; mend it")
    scales = declared_scales(model, frame, mechanism.redrawn) if method.kind == "posterior" else None
    problem = bind(model, frame, method.pooling, outcome=False, priors=method.kind == "posterior", scales=scales)
    if method.kind == "posterior" and mechanism.deviation is None and sizes_vary(mechanism.cell):
        problem = widened(problem)
    problem = without_reference(problem, mechanism.redrawn)
    if mechanism.deviation is not None and mechanism.deviation.changes_rows:
        problem = any_rows(problem)
        for level, share in mechanism.deviation.missing:
            _check_remaining(model, mechanism, method, level, share)
    if method.estimator is not None:
        check_design(method.estimator, problem)
    return problem


def _check_remaining(model: Model, mechanism: Mechanism, method: Method, level: str, share: float) -> None:
    """Whether the model can still be fitted without the groups that are missing from each dataset."""
    code = mechanism.frame.groupby(level.split(":"), sort=False, observed=True).ngroup()
    count = int(code.max()) + 1
    gone = round(share * count)
    try:
        if gone >= count:
            raise ValueError(f"no {level} is left; lower missing")
        rest = mechanism.frame[code >= gone]
        problem = bind(model, rest, method.pooling, outcome=False, priors=method.kind == "posterior")
        if method.estimator is not None:
            check_design(method.estimator, problem)
    except ValueError as error:
        raise ValueError(f"with {gone} of {count} {level} missing: {error}") from None


def _available(method: Method, problem: AnyProblem) -> set[str] | None:
    """Variables that a method has; None where only its function knows."""
    if method.kind in ("function", "host"):
        return None
    if method.estimator is not None:
        return available_directly(method.estimator, _frozen(method), problem)
    return problem.layout.available() if isinstance(problem.layout, OwnLayout) else available(problem.layout)


def _frozen(method: Method) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(method.settings.items()))


def _settings(method: Method) -> Settings:
    given = method.fit_settings()
    given.pop("pooling")
    if method.kind in ("estimator", "host"):
        given["sampler"] = method.estimator or "host"
    return Settings(**given)


def _target(estimand: Estimand, problem: AnyProblem) -> Target:
    variable = estimand.variable if estimand.kind in ("value", "probability") else f"{estimand.kind}({estimand.variable})"
    moment = problem.missing_moments.get(variable, "")
    return Target(variable, estimand.point or "mean", estimand.threshold, estimand.direction != "<", moment)


def _level_index(variable: str, layout: AnyLayout) -> int | None:
    return next((i for i, level in enumerate(layout.levels) if variable in layout.effect_names(level)), None)


def _labels(variable: str, problem: AnyProblem) -> tuple[str, ...]:
    i = _level_index(variable, problem.layout)
    if i is None:
        return ("",)
    labels = tuple(problem.labels[problem.layout.levels[i].name])
    for word in (AVERAGE, ANY, ALL):
        if word in labels:
            raise ValueError(f"{variable}: a group is called {word!r}, which stands for several groups in the tables of a study; rename it")
    return labels


def _real_positions(problem: AnyProblem, targets: tuple[Target, ...]) -> np.ndarray:
    found, start = [], 0
    for target, size in zip(targets, target_sizes(problem.layout, targets), strict=True):
        i = _level_index(target.variable, problem.layout)
        real = np.zeros(1, int) if i is None else problem.positions[problem.layout.levels[i].name]
        found.append(start + real)
        start += size
    return np.concatenate(found) if found else np.zeros(0, int)


def _source(variable: str, fit: AnyProblem, mechanism: AnyProblem) -> tuple[str | None, np.ndarray]:
    """Where the truth of a variable stands: the mechanism's padded positions, in the fit's padded order."""
    here = _level_index(variable, fit.layout)
    there = _level_index(variable, mechanism.layout)
    scalars = {p.name for p in mechanism.layout.parameters}
    scalars |= {f"new({v.name})" for v in mechanism.layout.levels}
    scalars |= {f"mean({t})" for v in mechanism.layout.levels for t in mechanism.layout.effect_names(v)}
    if here is None:
        return (variable if variable in scalars else None), np.zeros(1, int)
    level = fit.layout.levels[here]
    take = np.zeros(level.size, int)
    if there is None:
        return None, take
    name = mechanism.layout.levels[there].name
    where = dict(zip(mechanism.labels[name], mechanism.positions[name], strict=True))
    strange = [x for x in fit.labels[level.name] if x not in where]
    if strange:
        raise ValueError(
            f"{variable}: group {strange[0]!r} has no true value, the mechanism's groups are {', '.join(list(where)[:10])}; "
            "name the plate around the site as the column of the groups"
        )
    take[fit.positions[level.name]] = [where[x] for x in fit.labels[level.name]]
    return variable, take


def lanes_of(study: Study, cell: Cell, name: str) -> tuple[int, int]:
    """Datasets in one vectorised step, and replicates a file, of a method on a cell.

    ``auto`` is a pure function of the sampler, the device kind and the model's size.
    """
    fit = fit_of(study, cell, name)
    layout = fit.problem.layout
    size = sum(target_sizes(layout, fit.targets)) + layout.obs
    if study.methods[name].kind in ("estimator", "host"):
        dim = 1
    else:
        dim = layout.model.dim if isinstance(layout, OwnLayout) else dimension(layout, fit.settings)
    kind = jax.devices()[0].platform
    how = samplers.of(fit.settings)
    auto = 1 if study.methods[name].kind == "host" else how.lanes(kind, dim, size)
    lanes = auto if study.lanes == "auto" else int(study.lanes)
    chunk = _AUTO_CHUNK.get(study.methods[name].kind, how.chunk) if study.chunk == "auto" else int(study.chunk)
    return lanes, -(-chunk // lanes) * lanes


def truth_of(fit: Fit, true: Mapping[str, np.ndarray]) -> np.ndarray:
    """True value of every (padded) target, shape (replicate, target); NaN where the mechanism has none."""
    rows = len(next(iter(true.values())))
    parts = []
    for target, (source, take) in zip(fit.targets, fit.sources, strict=True):
        if target.rows:
            parts.append(whether_an_effect(fit.problem.layout, target, true, rows)[:, None])
            continue
        if source is None or source not in true:
            parts.append(np.full((rows, len(take)), np.nan))
            continue
        value = true[source].reshape(rows, -1)[:, take]
        if target.threshold is not None:
            passed = value > target.threshold if target.above else value < target.threshold
            value = np.where(np.isnan(value), np.nan, passed.astype(float))
        parts.append(value)
    return np.concatenate(parts, 1)
