"""What the words of a study mean: a method made ready on a cell's design, and how much of it is computed at a time."""

from __future__ import annotations

from hiermodels.studies.config import Cell, Study
from hiermodels.studies.methods.bound import Mechanism, cached, mechanism_of
from hiermodels.studies.methods.fits import Fit, plain_fit, truth_of
from hiermodels.studies.methods.kinds import kind_of

__all__ = ["Fit", "Mechanism", "fit_of", "lanes_of", "mechanism_of", "plain_fit", "truth_of"]


@cached
def fit_of(study: Study, cell: Cell, name: str) -> Fit:
    """Bind a method to a cell's design and sort out which estimands it has.

    Raises
    ------
    ValueError
        Starting with ``methods.<name>``.
    """
    return kind_of(name, study.methods[name]).ready(study, mechanism_of(study, cell))


def lanes_of(study: Study, cell: Cell, name: str) -> tuple[int, int]:
    """Datasets in one vectorised step, and replicates a file, of a method on a cell.

    ``auto`` is a pure function of the sampler, the device kind and the model's size.
    """
    fit: Fit = fit_of(study, cell, name)
    lanes = fit.kind.lanes(fit) if study.lanes == "auto" else int(study.lanes)
    chunk = fit.kind.chunks(fit) if study.chunk == "auto" else int(study.chunk)
    return lanes, -(-chunk // lanes) * lanes
