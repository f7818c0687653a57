"""A method in any Python, outside compiled code: in processes of its own, one dataset at a time."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hiermodels.studies.config import Study
from hiermodels.studies.mechanisms.frames import frames
from hiermodels.studies.mechanisms.simulate import method_key
from hiermodels.studies.methods import host
from hiermodels.studies.methods.answers import faults
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.datasets import redrawn_columns
from hiermodels.studies.methods.fits import Fit, estimates_from, plain_fit, supports_of_targets
from hiermodels.studies.methods.kinds.kind import Answer, Chunk, Kind, python

__all__ = ["HostFunction", "without_faults"]


class HostFunction(Kind):
    """A user's function in other processes."""

    compiled = False
    chunk = 16

    def ready(self, study: Study, mechanism: Mechanism) -> Fit:
        """Estimands as they stand in the mechanism."""
        if self.method.function is None:
            raise ValueError(
                f"methods.{self.name}: host: expected a Python function; run it with hiermodels.run(..., "
                f"functions={{{self.name!r}: f}})"
            )
        host.portable(self.method.function)
        return plain_fit(study, mechanism, self.method.estimands, self.method.function, self)

    def lanes(self, fit: Fit) -> int:
        """One dataset at a time."""
        return 1

    def described(self, fit: Fit) -> dict[str, str]:
        """Its name."""
        return python(self.method.function)

    def prepare(self, chunk: Chunk) -> None:
        """Nothing: a process is begun when there are datasets."""

    def trace(self, study: Study, mechanism: Mechanism, fit: Fit) -> None:
        """Nothing is compiled."""

    def estimates(self, chunk: Chunk, outcomes: Any, truth: np.ndarray) -> Answer:
        """Estimates by the function in this thread's process; answers without a meaning are taken away."""
        study, mechanism, fit = chunk.study, chunk.mechanism, chunk.fit
        with jax.enable_x64(True):
            keys = method_key(study.seed, mechanism.key, self.name, jnp.asarray(chunk.reps, jnp.uint32))
            halves = np.asarray(jax.random.key_data(keys)).astype(object)
        seeds = [int(a) << 32 | int(b) for a, b in halves]
        tables = list(
            frames(mechanism.problem, mechanism.frame, outcomes, redrawn_columns(study, mechanism, chunk.reps))
        )
        try:
            numbers, messages = host.estimate_all(self.method.function, fit.names, seeds, tables, self.method.timeout)
        except ValueError as error:
            raise ValueError(f"methods.{self.name}: {error}") from None
        without_faults(fit, numbers, messages)
        return estimates_from(fit, numbers), messages


def without_faults(fit: Fit, numbers: np.ndarray, messages: list[list[str]]) -> None:
    """Take away answers that have no meaning, such as a negative standard error, and say why."""
    labels = [f"{name!r} of {label!r}" if label else repr(name) for name, block in fit.names for label in block]
    width = len(labels)
    for place, fault in faults(numbers.reshape(-1, 4), np.tile(supports_of_targets(fit), (len(numbers), 1))).items():
        row, at = divmod(place, width)
        numbers[row, at], messages[row][at] = np.nan, f"{labels[at]}: {fault}"
