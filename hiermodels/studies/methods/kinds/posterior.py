"""A method that has a posterior: `hiermodels.fit`, or a NumPyro function, on every dataset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from hiermodels.inference import samplers
from hiermodels.inference.samplers import available
from hiermodels.models.data import bind
from hiermodels.models.display import latex, text
from hiermodels.models.problem import Problem
from hiermodels.models.spec import Model
from hiermodels.studies.config import Study
from hiermodels.studies.mechanisms.frames import frames
from hiermodels.studies.mechanisms.own import OwnLayout
from hiermodels.studies.mechanisms.predictors import declared_scales
from hiermodels.studies.mechanisms.rows import Rows
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.fits import Fit
from hiermodels.studies.methods.kinds.compiled import Compiled
from hiermodels.studies.methods.kinds.kind import Chunk, python
from hiermodels.studies.methods.own_functions import check_method
from hiermodels.studies.methods.refusals import exactly_fitted, refusals, refused_counts, smaller_designs
from hiermodels.studies.methods.widened import sizes_vary, widened

__all__ = ["Posterior"]


class Posterior(Compiled):
    """A posterior on every dataset."""

    draws = True
    priors = True

    def meet_own(self, study: Study, mechanism: Mechanism) -> Any:
        """A NumPyro function on the design, which cannot be told how to pool or sample."""
        if mechanism.deviation is None or not mechanism.deviation.changes_rows:
            check_method(self.method)
        return super().meet_own(study, mechanism)

    def bind(self, model: Model, mechanism: Mechanism) -> Problem:
        """A formula on the design, with priors; padded where the number of groups varies over the grid."""
        scales = declared_scales(model, mechanism.frame, mechanism.redrawn)
        problem = bind(model, mechanism.frame, self.method.pooling, outcome=False, priors=True, scales=scales)
        return widened(problem) if mechanism.deviation is None and sizes_vary(mechanism.cell) else problem

    def check(self, problem: Any) -> None:
        """Refuse what the sampler cannot do."""
        if isinstance(problem, Problem):
            samplers.of(self.settings()).check(problem.layout, problem.data)

    def available(self, problem: Any) -> set[str] | None:
        """Variables that the sampler gives."""
        return problem.layout.available() if isinstance(problem.layout, OwnLayout) else available(problem.layout)

    def described(self, fit: Fit) -> dict[str, str]:
        """The model, as text and LaTeX."""
        if callable(self.method.formula):
            return python(self.method.formula)
        shown = (self.method.model(), fit.problem.layout, fit.problem.scales)
        return {"text": text(*shown), "latex": latex(*shown)}

    def unlikely(self, fit: Fit, outcomes: Any, rows: Any) -> np.ndarray:
        """Replicates whose counts are few, whose rows may be fitted exactly, or whose design spans less than most."""
        if not isinstance(fit.problem, Problem):
            return super().unlikely(fit, outcomes, rows)
        found = exactly_fitted(fit.problem, rows if isinstance(rows, Rows) else Rows(rows))
        if isinstance(rows, Rows) and "x" in rows.design:
            found |= smaller_designs(fit.problem, rows.design)
        if not isinstance(outcomes, Rows):
            found |= refused_counts(fit.problem, np.asarray(outcomes))
        return found

    def refused(
        self, chunk: Chunk, outcomes: Any, columns: Mapping[str, np.ndarray], doubtful: np.ndarray
    ) -> dict[int, str]:
        """The words of `hiermodels.fit`; nothing of a NumPyro function."""
        if not isinstance(chunk.fit.problem, Problem):
            return {}
        places, mechanism = np.flatnonzero(doubtful), chunk.mechanism
        some = jax.tree.map(lambda a: np.asarray(a)[places], outcomes)
        tables = frames(
            mechanism.problem, mechanism.frame, some, {name: values[places] for name, values in columns.items()}
        )
        return refusals(chunk.fit.problem, dict(zip(places.tolist(), tables, strict=True)))
