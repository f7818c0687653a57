"""What every kind of method knows of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import numpy as np

from hiermodels.inference import samplers
from hiermodels.inference.draws import Estimates
from hiermodels.inference.samplers import Settings, target_sizes
from hiermodels.studies.config import Method, Study
from hiermodels.studies.methods.bound import Mechanism
from hiermodels.studies.methods.fits import Fit

__all__ = ["Answer", "Chunk", "Kind"]

type Answer = tuple[Estimates, list[list[str]] | None]
"""Estimates of a chunk as NumPy arrays, and why some are missing, a text for each replicate and target."""


@dataclass(frozen=True)
class Chunk:
    """Replicates of a cell that a method is to analyse."""

    study: Study
    mechanism: Mechanism
    fit: Fit
    reps: np.ndarray
    lanes: int
    announce: Callable[[str], None] | None


@dataclass(frozen=True)
class Kind(ABC):
    """A method of a study.

    Attributes
    ----------
    name : str
        Of the method.
    method : Method
        As the config has it.
    compiled : bool
        Its estimates come from a program that is compiled.
    draws : bool
        It has a posterior that draws can be had from.
    chunk : int or None
        Replicates a file, before rounding up to whole lanes: a few seconds of work, so that a killed run loses little;
        None: as the sampler says.
    """

    name: str
    method: Method
    compiled: ClassVar[bool] = True
    draws: ClassVar[bool] = False
    chunk: ClassVar[int | None] = None

    @abstractmethod
    def ready(self, study: Study, mechanism: Mechanism) -> Fit:
        """Bind the method to a cell's design and sort out which estimands it has; ``ValueError`` starts with
        ``methods.<name>``.
        """

    @abstractmethod
    def estimates(self, chunk: Chunk, outcomes: Any, truth: np.ndarray) -> Answer:
        """Analyse simulated datasets, whose targets have these true values (replicate, target)."""

    @abstractmethod
    def described(self, fit: Fit) -> dict[str, str]:
        """What the manifest says of it, as ``text`` and ``latex``."""

    @abstractmethod
    def prepare(self, chunk: Chunk) -> None:
        """What does not wait for datasets."""

    @abstractmethod
    def trace(self, study: Study, mechanism: Mechanism, fit: Fit) -> None:
        """Trace its program on shapes alone."""

    def settings(self) -> Settings:
        """Settings of its sampler."""
        given = self.method.fit_settings()
        given.pop("pooling")
        return Settings(**given)

    def dimension(self, fit: Fit) -> int:
        """Coordinates that move in one dataset."""
        return 1

    def lanes(self, fit: Fit) -> int:
        """Datasets in one vectorised step: a pure function of the sampler, the device kind and the model's size."""
        size = sum(target_sizes(fit.problem.layout, fit.targets)) + fit.problem.layout.obs
        return samplers.of(fit.settings).lanes(jax.devices()[0].platform, self.dimension(fit), size)

    def chunks(self, fit: Fit) -> int:
        """Replicates a file."""
        return samplers.of(fit.settings).chunk if self.chunk is None else self.chunk


def python(function: Callable[..., Any]) -> dict[str, str]:
    """What the manifest says of a Python function."""
    return {"text": f"Python function {getattr(function, '__name__', 'of its own')}", "latex": ""}
