"""Weighted nodes of the hyperparameters, and the settings of the two accuracies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import equinox as eqx
from jax import Array

from hiermodels.inference.coordinates import Coordinates
from hiermodels.inference.lattice import Lattice, lattice
from hiermodels.models.factorise import Factorised

__all__ = ["ACCURACIES", "MAX_DIM", "PLANES", "POOR", "Accuracy", "Nodes", "block_size", "smoothing"]

MAX_DIM = 6
"""Most hyperparameters that a lattice is laid over."""
POOR = 1.0
"""`Nodes.quality` above this: the accuracy asked for was not reached (status ``heavy_weights``)."""
PLANES = 49
"""Points at which the marginal density of a hyperparameter is integrated for a fit."""
_BLOCK = 1 << 22
"""Numbers (nodes times groups) held at once."""


@dataclass(frozen=True)
class Accuracy:
    """What an accuracy costs.

    Attributes
    ----------
    nodes, radius : tuple
        Points and radius of the lattice, by number of hyperparameters from one on.
    allowed : float
        Error allowed, in posterior standard deviations.
    rounds : int
        Most times the lattice is laid.
    points : int
        Grid points of a hyperparameter's law.
    table_points, table_reach : int, float
        Grid points of beta and gamma laws, and standard deviations of the logit or log that they cover.
    tolerance : float
        Normal scores by which a quantile may be off before its last Newton step.
    precision : str
        Type in which distribution functions are summed over nodes (nothing else).
    smooth : float
        Width of the kernel that smooths between nodes, times the lattice's first alias.
    """

    nodes: tuple[int, ...]
    radius: tuple[float, ...]
    allowed: float
    rounds: int
    points: int
    table_points: int
    table_reach: float
    tolerance: float
    precision: str
    smooth: float

    def grid(self, dim: int) -> Lattice:
        """The lattice over ``dim`` hyperparameters."""
        return lattice(dim, self.nodes[dim - 1], self.radius[dim - 1])


_FIT = Accuracy((49, 640, 2500, 8000, 16000, 32000), (6.0,) * 6, 1e-3, 4, 64, 160, 7.0, 3e-3, "float64", 6.2)
_STUDY = Accuracy((21, 36, 64, 144, 300, 600), (4.6, 4.0, 4.0, 4.3, 4.5, 4.7), 0.05, 3, 24, 36, 4.2, 0.05, "float32", 5.2)
ACCURACIES = {
    # one over the root of 400 draws
    "study": _STUDY,
    "refined": replace(_STUDY, nodes=(49, 160, 500, 1500, 4000, 8000), radius=(5.5,) * 6, rounds=6),
    "fit": _FIT,
    "finest": replace(_FIT, nodes=(400, 8000, 30000, 100000, 200000, 400000), radius=(6.5,) * 6, rounds=6),
}
"""By name: ``refined`` is ``study``, ``finest`` is ``fit`` with more nodes, for the datasets where that was not enough."""


class Nodes(eqx.Module):
    """Weighted values of the hyperparameters that stand for their posterior.

    Attributes
    ----------
    u : Array, shape (node, dim)
        Unconstrained values.
    log_weight : Array, shape (node,)
        Normalised.
    v : Array, shape (node, dim)
        The same nodes in the lattice's coordinates.
    centre, scale : Array, shapes (dim,), (dim, dim)
        The lattice is ``centre + scale z``, scale lower triangular.
    coordinates : Coordinates
        v to u.
    log_evidence : Array
        log p(y), shape ().
    quality : Array
        Estimated error over the error allowed, shape (); above `POOR` it is not to be trusted.
    rounds : Array
        Times the lattice was laid, shape ().
    marginals : Array or None, shape (dim, plane)
        Marginal densities of the lattice's coordinates, equally spaced over its radius (accuracy of a fit, two or more
        hyperparameters), up to a factor.
    accuracy : str
    """

    u: Array
    log_weight: Array
    v: Array
    centre: Array
    scale: Array
    coordinates: Coordinates | None
    log_evidence: Array
    quality: Array
    rounds: Array
    marginals: Array | None
    accuracy: str = eqx.field(static=True)


def block_size(factorised: Factorised) -> int:
    """Nodes evaluated at once, so that memory stays flat in the number of groups."""
    layout = factorised.layout
    size = max([level.size for level in layout.levels] + [1]) * max(1, len(layout.columns)) ** 2
    return max(1, _BLOCK // size)


def smoothing(nodes: Nodes) -> tuple[Lattice, float]:
    """The lattice, and the width of the kernel that smooths between its points, in its units."""
    accuracy = ACCURACIES[nodes.accuracy]
    grid = accuracy.grid(nodes.u.shape[1])
    return grid, accuracy.smooth / grid.alias
