"""A method ready to be mapped over a cell's datasets: what it estimates, under which names, and where the truth
stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hiermodels.inference.draws import STATUS, Estimates
from hiermodels.inference.samplers import Settings, target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Problem
from hiermodels.studies.config import Estimand, Study
from hiermodels.studies.methods.answers import there
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.term_tests import tested, whether_an_effect
from hiermodels.studies.score.power import ALL, ANY
from hiermodels.studies.score.tables import AVERAGE

__all__ = [
    "Fit",
    "estimates_from",
    "labels_of",
    "plain_fit",
    "real_positions",
    "source_of",
    "support_of",
    "supports_of_targets",
    "target_of",
    "truth_of",
]

AnyProblem = Any
"""`Problem`, or `OwnProblem` of a NumPyro function, which has the same attributes."""
AnyLayout = Any
"""`Layout` or `OwnLayout`."""


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
    kind : hiermodels.studies.methods.kinds.Kind, optional
        The method, which knows how it is run; none where estimates are made elsewhere.
    """

    problem: AnyProblem
    settings: Settings
    targets: tuple[Target, ...]
    interval: Interval
    names: tuple[tuple[str, tuple[str, ...]], ...]
    positions: np.ndarray
    sources: tuple[tuple[str | None, np.ndarray], ...]
    function: Callable[..., Estimates] | None
    kind: Any = None


def plain_fit(
    study: Study,
    mechanism: Mechanism,
    names: tuple[str, ...] | None = None,
    function: Callable[..., Any] | None = None,
    kind: Any = None,
) -> Fit:
    """Estimands as they stand in the mechanism, for estimates that are made elsewhere; all of the study's without
    ``names``.
    """
    problem = mechanism.problem
    wanted = [e for e in study.estimands if names is None or e.name in names]
    known = isinstance(problem, Problem)
    tests = {e.name: tested(problem, mechanism.frame, e) for e in wanted if known and e.kind == "test"}
    targets = tuple(tests.get(e.name) or target_of(e, problem) for e in wanted)
    labels = tuple((e.name, labels_of(t.variable, problem)) for e, t in zip(wanted, targets, strict=True))
    sources = tuple(source_of(t.variable, problem, problem) for t in targets)
    interval = Interval(study.interval.level, study.interval.kind)
    return Fit(
        problem,
        Settings(sampler="host"),
        targets,
        interval,
        labels,
        real_positions(problem, targets),
        sources,
        function,
        kind,
    )


def target_of(estimand: Estimand, problem: AnyProblem) -> Target:
    """What an estimand is of a model's variables."""
    moment = problem.missing_moments.get(estimand.quantity, "")
    return Target(estimand.quantity, estimand.point or "mean", estimand.threshold, estimand.direction != "<", moment)


def _level_index(variable: str, layout: AnyLayout) -> int | None:
    return next((i for i, level in enumerate(layout.levels) if variable in layout.effect_names(level)), None)


def labels_of(variable: str, problem: AnyProblem) -> tuple[str, ...]:
    """Labels of a variable's entries; one empty label of a scalar."""
    i = _level_index(variable, problem.layout)
    if i is None:
        return ("",)
    labels = tuple(problem.labels[problem.layout.levels[i].name])
    for word in (AVERAGE, ANY, ALL):
        if word in labels:
            raise ValueError(
                f"{variable}: a group is called {word!r}, which stands for several groups in the tables of a study; "
                f"rename it"
            )
    return labels


def real_positions(problem: AnyProblem, targets: tuple[Target, ...]) -> np.ndarray:
    """Places of the real targets among the padded ones."""
    found, start = [], 0
    for target, size in zip(targets, target_sizes(problem.layout, targets), strict=True):
        i = _level_index(target.variable, problem.layout)
        real = np.zeros(1, int) if i is None else problem.positions[problem.layout.levels[i].name]
        found.append(start + real)
        start += size
    return np.concatenate(found) if found else np.zeros(0, int)


def source_of(variable: str, fit: AnyProblem, mechanism: AnyProblem) -> tuple[str | None, np.ndarray]:
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
            f"{variable}: group {strange[0]!r} has no true value, the mechanism's groups are "
            f"{', '.join(list(where)[:10])}; "
            "name the plate around the site as the column of the groups"
        )
    take[fit.positions[level.name]] = [where[x] for x in fit.labels[level.name]]
    return variable, take


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


def estimates_from(fit: Fit, numbers: np.ndarray) -> Estimates:
    """Estimates from numbers (replicate, target, 4): estimate, se, lower, upper; missing where there is no estimate
    and no interval.
    """
    shape = (len(numbers), sum(target_sizes(fit.problem.layout, fit.targets)))
    wide: Any = np.full((*shape, 4), np.nan)
    wide[:, fit.positions] = numbers
    none: Any = np.full(shape, np.nan)
    one: Any = np.ones(len(numbers), np.int32)
    status: Any = np.where(there(wide), 0, STATUS.index("nonfinite")).astype(np.int32)
    estimate, se, lower, upper = (wide[..., i] for i in range(4))
    return Estimates(estimate, none, se, lower, upper, none, none, none, none, none, status, 0 * one, one)


def support_of(variable: str, layout: Layout) -> tuple[float, float]:
    """Least and largest value of a variable, by its role: a parameter, ``theta_...``, ``mean(theta_...)`` or
    ``new(...)``.
    """
    found = layout.quantities.get(variable)
    return (-math.inf, math.inf) if found is None else found.support


def supports_of_targets(fit: Fit) -> NDArray[np.float64]:
    """Support of each real target, shape (target, 2); a posterior probability, or 1 - p, lies between 0 and 1."""
    rows: list[tuple[float, float]] = []
    for target, (_, labels) in zip(fit.targets, fit.names, strict=True):
        ends = (-math.inf, math.inf)
        if target.threshold is not None or target.rows:
            ends = (0.0, 1.0)
        elif isinstance(fit.problem, Problem):
            ends = support_of(target.variable, fit.problem.layout)
        rows += [ends] * len(labels)
    return np.array(rows, float).reshape(-1, 2)
