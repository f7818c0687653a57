"""A cell ready to simulate from: its mechanism on its design, with its truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hiermodels.models.sites import TRACING
from hiermodels.studies.config import Cell, Study, data_key_material
from hiermodels.studies.config.deviating import read_deviations
from hiermodels.studies.config.mechanisms import outcome_of
from hiermodels.studies.mechanisms import own
from hiermodels.studies.mechanisms.designs import design_frame
from hiermodels.studies.mechanisms.deviant import Deviation, read_deviation
from hiermodels.studies.mechanisms.predictors import Redrawn, redrawn, without_reference
from hiermodels.studies.mechanisms.simulate import Truth, bind_design, read_truth

__all__ = ["Mechanism", "cached", "mechanism_of"]


@dataclass(frozen=True)
class Mechanism:
    """A cell ready to simulate from; its frame holds reference values of predictors that are redrawn with each
    dataset.
    """

    cell: Cell
    frame: pd.DataFrame
    problem: Any
    truth: Truth
    values: dict[str, np.ndarray]
    key: int
    deviation: Deviation | None = None
    redrawn: tuple[Redrawn, ...] = ()


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
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


@cached
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
    problem = without_reference(bind_design(m.declaration(), frame), laws)
    truth, values = read_truth(cell.truth, problem)
    deviation = read_deviation(read_deviations(cell.deviation), problem, cell.truth)
    return Mechanism(cell, frame, problem, truth, values, material, deviation, laws)
