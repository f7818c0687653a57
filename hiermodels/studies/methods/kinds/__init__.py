"""Kinds of methods, a class each, which knows how it is made ready on a cell's design and how it is run on a chunk of
datasets.

The menu: a kind is a class in a file of its own and one line here; a config tells them apart
(`hiermodels.studies.config.methods.Method.kind`).
"""

from __future__ import annotations

from hiermodels.studies.config import Method
from hiermodels.studies.methods.kinds.estimator import DirectEstimator
from hiermodels.studies.methods.kinds.function import CompiledFunction
from hiermodels.studies.methods.kinds.host import HostFunction
from hiermodels.studies.methods.kinds.kind import Chunk, Kind
from hiermodels.studies.methods.kinds.posterior import Posterior

__all__ = ["MENU", "Chunk", "Kind", "kind_of"]

MENU: dict[str, type[Kind]] = {
    "posterior": Posterior,
    "estimator": DirectEstimator,
    "function": CompiledFunction,
    "host": HostFunction,
}
"""Kinds by the word that a config's method has for its own."""


def kind_of(name: str, method: Method) -> Kind:
    """A method of a study, as one that can be made ready and run."""
    return MENU[method.kind](name, method)
