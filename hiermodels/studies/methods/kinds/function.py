"""A method in Python that is compiled: ``(key, data) -> Estimates``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from hiermodels.inference.samplers import target_sizes
from hiermodels.inference.summaries import Interval, Target
from hiermodels.models.problem import as_jax
from hiermodels.studies.config import Study
from hiermodels.studies.methods.fits import Fit
from hiermodels.studies.methods.kinds.compiled import Compiled
from hiermodels.studies.methods.kinds.kind import python
from hiermodels.studies.methods.own_functions import check_estimates

__all__ = ["CompiledFunction"]


class CompiledFunction(Compiled):
    """A user's function in compiled code."""

    def available(self, problem: Any) -> set[str] | None:
        """Only the function knows."""
        return None

    def function(
        self, study: Study, problem: Any, targets: tuple[Target, ...], interval: Interval
    ) -> Callable[..., Any]:
        """The function, traced once on shapes."""
        function: Callable[..., Any] = self.method.function
        with jax.enable_x64(study.precision == "float64"):
            check_estimates(function, sum(target_sizes(problem.layout, targets)), as_jax(problem.data))
        return function

    def described(self, fit: Fit) -> dict[str, str]:
        """Its name."""
        return python(self.method.function)
