"""A method without draws: an estimator of the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hiermodels.inference.direct import available_directly, check_design, describe, direct_estimator
from hiermodels.inference.naming import canonical_targets
from hiermodels.inference.samplers import Settings
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.canonical import canonical
from hiermodels.models.problem import Problem
from hiermodels.studies.config import Estimand, Study
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.fits import Fit
from hiermodels.studies.methods.kinds.compiled import Compiled
from hiermodels.studies.methods.term_tests import test_of

__all__ = ["DirectEstimator"]


class DirectEstimator(Compiled):
    """An estimator without draws on every dataset."""

    chunk = 256

    @property
    def estimator(self) -> str:
        """Its name."""
        return str(self.method.estimator)

    def settings(self) -> Settings:
        """Settings that name it in the place of a sampler."""
        given = {**self.method.fit_settings(), "sampler": self.estimator}
        given.pop("pooling")
        return Settings(**given)

    def dimension(self, fit: Fit) -> int:
        """Nothing moves."""
        return 1

    def meet_own(self, study: Study, mechanism: Mechanism) -> Any:
        """Refuse a NumPyro function."""
        raise ValueError(
            f"formula: {self.estimator} needs a formula, found a NumPyro function; write e.g. y ~ 1 + (1 | group)"
        )

    def check_design(self, problem: Problem) -> None:
        """Refuse designs that it has no answer for."""
        check_design(self.estimator, problem)

    def available(self, problem: Any) -> set[str] | None:
        """Variables that it gives."""
        return available_directly(self.estimator, self._given(), problem)

    def test(self, estimand: Estimand, problem: Any, mechanism: Mechanism) -> Target | None:
        """The test of a term, of estimators that have tests."""
        return test_of(self.method, problem, mechanism.frame, estimand)

    def judges(self, target: Target) -> bool:
        """No probability."""
        return target.threshold is None

    def function(
        self, study: Study, problem: Any, targets: tuple[Target, ...], interval: Interval
    ) -> Callable[..., Any]:
        """The estimator in canonical names."""
        renamed = canonical(problem.layout)
        return direct_estimator(
            self.estimator, self._given(), renamed.layout, canonical_targets(renamed, targets), interval
        )

    def described(self, fit: Fit) -> dict[str, str]:
        """What it is."""
        return {"text": describe(self.estimator), "latex": ""}

    def _given(self) -> tuple[tuple[str, Any], ...]:
        return tuple(sorted(self.method.settings.items()))
