"""Methods whose estimates come from one compiled program: bound to a design, mapped over datasets a lane at a time,
tried again where they fail.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.inference import samplers
from hiermodels.inference.draws import FLAGGED, STATUS, Estimates
from hiermodels.inference.samplers import Settings, target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.data import bind
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.spec import Model
from hiermodels.studies.config import Estimand, Study
from hiermodels.studies.config.mechanisms import outcome_of
from hiermodels.studies.mechanisms import own
from hiermodels.studies.mechanisms.deviant import any_rows
from hiermodels.studies.mechanisms.predictors import varying, without_reference
from hiermodels.studies.mechanisms.rows import Rows
from hiermodels.studies.mechanisms.simulate import method_key
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.datasets import redrawn_columns, rows_of
from hiermodels.studies.methods.emptied import without_empty
from hiermodels.studies.methods.fits import Fit, labels_of, real_positions, source_of, target_of
from hiermodels.studies.methods.kinds.kind import Answer, Chunk, Kind
from hiermodels.studies.methods.programs import compiled, estimation
from hiermodels.studies.methods.refusals import blanked

__all__ = ["Compiled"]


class Compiled(Kind):
    """A method whose estimates come from a program."""

    priors = False
    """Whether its model has priors."""

    def ready(self, study: Study, mechanism: Mechanism) -> Fit:
        """Its model on the design, the estimands that it has, its program's function."""
        try:
            problem = self.meet(study, mechanism)
            self.check(problem)
        except ValueError as error:
            raise ValueError(f"methods.{self.name}: {error}") from None
        known = self.available(problem)
        given = [
            (e, self.test(e, problem, mechanism) if e.kind == "test" else target_of(e, problem))
            for e in study.estimands
        ]
        wanted = [
            (e, t)
            for e, t in given
            if t is not None and (t.rows or known is None or (t.variable in known and self.judges(t)))
        ]
        targets = tuple(t for _, t in wanted)
        names = tuple((e.name, labels_of(t.variable, problem)) for e, t in wanted)
        sources = tuple(source_of(t.variable, problem, mechanism.problem) for t in targets)
        interval = Interval(study.interval.level, study.interval.kind)
        function = self.function(study, problem, targets, interval)
        return Fit(
            problem,
            self.settings(),
            targets,
            interval,
            names,
            real_positions(problem, targets),
            sources,
            function,
            self,
        )

    def meet(self, study: Study, mechanism: Mechanism) -> Any:
        """Its model on the design."""
        if callable(self.method.formula):
            return self.meet_own(study, mechanism)
        model, outcome = self.method.model(), outcome_of(study.mechanisms.formula)
        if model.parsed.outcome != outcome:
            raise ValueError(
                f"formula: expected the outcome that is simulated, {outcome!r}, found {model.parsed.outcome!r}; mend it"
            )
        problem = without_reference(self.bind(model, mechanism), mechanism.redrawn)
        if mechanism.deviation is not None and mechanism.deviation.changes_rows:
            problem = any_rows(problem)
            for level, share in mechanism.deviation.missing:
                self._check_remaining(model, mechanism, level, share)
        self.check_design(problem)
        return problem

    def meet_own(self, study: Study, mechanism: Mechanism) -> Any:
        """A NumPyro function on the design."""
        if mechanism.deviation is not None and mechanism.deviation.changes_rows:
            raise ValueError(
                "formula: a NumPyro function cannot be told which groups are missing or small; write a formula"
            )
        return own.bind_own(self.method.formula, mechanism.frame, outcome_of(study.mechanisms.formula))

    def bind(self, model: Model, mechanism: Mechanism) -> Problem:
        """A formula on the design."""
        return bind(model, mechanism.frame, self.method.pooling, outcome=False, priors=self.priors)

    def check(self, problem: Any) -> None:
        """Refuse what cannot be estimated so."""

    def check_design(self, problem: Problem) -> None:
        """Refuse designs that it has no answer for."""

    @abstractmethod
    def available(self, problem: Any) -> set[str] | None:
        """Variables that it has; None where only its function knows."""

    def test(self, estimand: Estimand, problem: Any, mechanism: Mechanism) -> Target | None:
        """What a test of a term tests; None where it has no tests."""
        return None

    def judges(self, target: Target) -> bool:
        """Whether it gives such a target."""
        return True

    def function(
        self, study: Study, problem: Any, targets: tuple[Target, ...], interval: Interval
    ) -> Callable[..., Any] | None:
        """What stands in its program in the place of a sampler."""
        return None

    def _check_remaining(self, model: Model, mechanism: Mechanism, level: str, share: float) -> None:
        """Whether the model can still be fitted without the groups that are missing from each dataset."""
        code = mechanism.frame.groupby(level.split(":"), sort=False, observed=True).ngroup()
        count = int(code.max()) + 1
        gone = round(share * count)
        try:
            if gone >= count:
                raise ValueError(f"no {level} is left; lower missing")
            self.check_design(
                bind(model, mechanism.frame[code >= gone], self.method.pooling, outcome=False, priors=self.priors)
            )
        except ValueError as error:
            raise ValueError(f"with {gone} of {count} {level} missing: {error}") from None

    # running
    # ---------------------------------------------------------------------------------------------------------------

    def trace(self, study: Study, mechanism: Mechanism, fit: Fit) -> None:
        """Trace its program on shapes alone."""
        with jax.enable_x64(study.precision == "float64"):
            jax.eval_shape(*_estimation_call(mechanism, fit, 1, 1))

    def prepare(self, chunk: Chunk) -> None:
        """The longest compilation does not wait for data: another thread compiles what makes them."""
        if samplers.of(chunk.fit.settings).slow_to_compile:
            with jax.enable_x64(chunk.study.precision == "float64"):
                program, *args = _estimation_call(chunk.mechanism, chunk.fit, len(chunk.reps), chunk.lanes)
                compiled(program, tuple(args), self._what(chunk.fit), chunk.announce)

    def estimates(self, chunk: Chunk, outcomes: Any, truth: np.ndarray) -> Answer:
        """Estimates, second tries, and reasons where the model cannot be fitted to a dataset."""
        mechanism, fit = chunk.mechanism, chunk.fit
        columns = redrawn_columns(chunk.study, mechanism, chunk.reps)
        rows = rows_of(mechanism, fit.problem, outcomes, columns)
        found = jax.tree.map(np.asarray, self._estimate(chunk, fit, chunk.reps, rows, truth, chunk.lanes))
        refused = self.refused(
            chunk, outcomes, columns, self.unlikely(fit, outcomes, rows)
        )  # what cannot be fitted is not tried again
        found = self._again(chunk, rows, truth, found, list(refused))
        if isinstance(rows, Rows) and not rows.complete:
            found = without_empty(fit.problem, fit.targets, np.asarray(rows.weight) > 0, found)
        doubtful = np.isin(found.status[:, fit.positions], [STATUS.index(word) for word in _DOUBTFUL]).any(1)
        doubtful[list(refused)] = False
        refused |= self.refused(chunk, outcomes, columns, doubtful)
        if not refused:
            return found, None
        gone = np.isin(np.arange(len(chunk.reps)), list(refused))[:, None]
        return blanked(found, gone), [[refused.get(i, "")] * len(fit.positions) for i in range(len(chunk.reps))]

    def dimension(self, fit: Fit) -> int:
        """Coordinates that a sampler with its settings moves."""
        layout = fit.problem.layout
        return layout.model.dim if isinstance(layout, own.OwnLayout) else samplers.dimension(layout, fit.settings)

    def unlikely(self, fit: Fit, outcomes: Any, rows: Any) -> np.ndarray:
        """Replicates that `hiermodels.fit` may refuse, as their data look."""
        return np.zeros(0, bool)

    def refused(
        self, chunk: Chunk, outcomes: Any, columns: Mapping[str, np.ndarray], doubtful: np.ndarray
    ) -> dict[int, str]:
        """Those of the doubtful replicates to which the model cannot be fitted, and why."""
        return {}

    def _what(self, fit: Fit) -> str:
        return f"{self.name} ({fit.settings.sampler})"

    def _estimate(
        self, chunk: Chunk, fit: Fit, reps: np.ndarray, outcomes: Any, truth: np.ndarray, lanes: int, attempt: int = 0
    ) -> Estimates:
        with jax.enable_x64(True):
            keys = method_key(chunk.study.seed, chunk.mechanism.key, self.name, jnp.asarray(reps, jnp.uint32))
            if attempt:
                keys = jax.vmap(lambda k: jax.random.fold_in(k, attempt))(keys)
        with jax.enable_x64(chunk.study.precision == "float64"):
            dtype = jnp.result_type(float)
            args = (
                keys,
                jax.tree.map(lambda a: a.astype(dtype), outcomes),
                jnp.asarray(truth, dtype),
                as_jax(fit.problem.data),
            )
            found: Estimates = compiled(_estimation(fit, lanes), args, self._what(fit), chunk.announce)(*args)
            return found

    def _again(self, chunk: Chunk, outcomes: Any, truth: np.ndarray, found: Estimates, refused: list[int]) -> Estimates:
        """Second tries: of fits that distrust themselves; under `retry-with-escalation` of all missing or flagged ones.

        Replicates that are refused are not tried again. Datasets are retried in groups of eight, so that one program
        serves any number of them.
        """
        fit, every = chunk.fit, chunk.study.failures == "retry-with-escalation"
        for attempt, settings in enumerate(_escalations(fit, every), 1):
            bad = found.status >= FLAGGED if every else found.status == STATUS.index("heavy_weights")
            bad[refused] = False
            rows = np.flatnonzero(bad[:, fit.positions].any(1))
            # a quadrature judges each estimand alone: one that is right stays as it is, whatever else is asked for
            alone = bad if samplers.of(fit.settings).quadrature else np.ones_like(bad)
            harder = replace(fit, settings=settings)
            for start in range(0, len(rows), 8):
                some = rows[start : start + 8]
                eight = np.resize(some, 8)
                data = jax.tree.map(lambda a, eight=eight: a[eight], outcomes)
                new = self._estimate(chunk, harder, chunk.reps[eight], data, truth[eight], 8, attempt)
                found = jax.tree.map(
                    lambda old, fresh, some=some, alone=alone: _replaced(old, np.asarray(fresh), some, alone),
                    found,
                    new,
                )
                found.n_try[some] = attempt + 1
        return found


_DOUBTFUL = ("nonfinite", "divergent", "heavy_weights")
"""Statuses of fits whose datasets are looked at once more: `hiermodels.fit` may refuse them."""


def _estimation_call(mechanism: Mechanism, fit: Fit, rows: int, lanes: int) -> tuple[Any, ...]:
    """The program that estimates so many datasets, and its arguments: shapes stand for what is simulated."""
    dtype = jnp.result_type(float)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0, impl="threefry2x32"), rows))
    outcomes: Any = jax.ShapeDtypeStruct((rows, fit.problem.layout.obs), dtype)
    factor = outcomes if mechanism.deviation is not None and mechanism.deviation.changes_rows else None
    data = fit.problem.data
    design = {
        name: data[name] if isinstance(data, dict) else getattr(data, name)
        for name in varying(fit.problem, mechanism.redrawn)
    }
    if factor is not None or design:
        outcomes = Rows(
            outcomes,
            factor,
            factor,
            {name: jax.ShapeDtypeStruct((rows, *np.shape(a)), dtype) for name, a in design.items()},
        )
    truth = jax.ShapeDtypeStruct((rows, sum(target_sizes(fit.problem.layout, fit.targets))), dtype)
    return _estimation(fit, lanes), keys, outcomes, truth, as_jax(fit.problem.data)


def _estimation(fit: Fit, lanes: int) -> Any:
    return estimation(fit.problem.layout, fit.settings, fit.targets, fit.interval, lanes, fit.function)


def _replaced(old: np.ndarray, fresh: np.ndarray, rows: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Numbers of some replicates exchanged, of targets only where ``entries`` (replicate, target) says so."""
    old, fresh = np.array(old), fresh[: len(rows)]
    old[rows] = np.where(entries[rows], fresh, old[rows]) if old.ndim == 2 else fresh
    return old


def _escalations(fit: Fit, every: bool) -> list[Settings]:
    """Settings of each further try, as the sampler says."""
    if fit.function is not None:
        return []
    how = samplers.of(fit.settings)
    return [*(retry.settings for retry in how.distrusted()), *(how.harder() if every else ())]
