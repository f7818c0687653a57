"""Weighted nodes of the hyperparameters, and the settings of the two accuracies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from hiermodels.inference.coordinates import Coordinates
from hiermodels.inference.lattice import Lattice, lattice
from hiermodels.models.factorise import Factorised

__all__ = ["ACCURACIES", "MAX_DIM", "POOR", "Accuracy", "Marginal", "Nodes", "block_size", "halves", "smoothing"]

MAX_DIM = 6
"""Most hyperparameters that a lattice is laid over."""
POOR = 1.0
"""`Nodes.quality` above this: the accuracy asked for was not reached (status ``heavy_weights``)."""
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
    sharp, sharp_radius : tuple, float
        Points and radius of the last lattice where components may be narrower than what the nodes leave open.
    shared : tuple
        Points and radius of a lattice along the axes whose planes give the marginal densities of all hyperparameters,
        by their number from two on; with more they are smoothed from the lattice above.
    planes, plane_radius, across : int, float, tuple
        Where ``shared`` is empty: points at which each marginal density is integrated, what they cover on either side,
        in sds, and the points and radius of the lattice over the others, by their number.
    probability : float
        Error allowed of a probability.
    points : int
        Grid points of a hyperparameter's law.
    table_points, table_reach : int, float
        Grid points of beta and gamma laws, and root mean squares of the logit or log that they cover.
    least : float
        Width of their narrowest component; see `hiermodels.inference.count_laws`.
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
    sharp: tuple[int, ...]
    sharp_radius: float
    shared: tuple[tuple[int, float], ...]
    planes: int
    plane_radius: float
    across: tuple[tuple[int, float], ...]
    probability: float
    points: int
    table_points: int
    table_reach: float
    least: float
    tolerance: float
    precision: str
    smooth: float

    def grid(self, dim: int, sharp: bool = False) -> Lattice:
        """The lattice over ``dim`` hyperparameters."""
        count, radius = (self.sharp, (self.sharp_radius,) * dim) if sharp else (self.nodes, self.radius)
        return lattice(dim, count[dim - 1], radius[dim - 1])

    def shared_points(self, bound: int) -> int:
        """Grid points of a grid that serves all groups, counts of which are at most ``bound``."""
        return round(1.25 * self.table_points * max(1.0, (bound / 64) ** 0.5))


_FIT = Accuracy(
    nodes=(49, 640, 2500, 8000, 16000, 32000),
    radius=(6.0,) * 6,
    allowed=1e-3,
    rounds=4,
    sharp=(97, 1600, 5000, 12000, 24000, 48000),
    sharp_radius=6.5,
    shared=(),
    planes=49,
    plane_radius=6.0,
    across=((31, 5.6), (160, 5.6), (640, 5.5), (2000, 5.5), (6000, 5.6)),
    probability=2e-3,
    points=64,
    table_points=160,
    table_reach=16.0,
    least=0.12,
    tolerance=3e-3,
    precision="float64",
    smooth=6.2,
)
_STUDY = Accuracy(
    nodes=(21, 36, 64, 144, 300, 600),
    radius=(4.6, 4.0, 4.0, 4.3, 4.5, 4.7),
    allowed=0.05,
    rounds=3,
    sharp=(41, 200, 500, 1000, 2000, 4000),
    sharp_radius=5.2,
    shared=((97, 4.5), (400, 4.7)),
    planes=0,
    plane_radius=0.0,
    across=(),
    probability=0.01,
    points=24,
    table_points=64,
    table_reach=9.0,
    least=0.28,
    tolerance=0.05,
    precision="float32",
    smooth=5.2,
)
_REFINED = (49, 160, 500, 1500, 4000, 8000)
_FINEST = (400, 8000, 30000, 100000, 200000, 400000)
ACCURACIES = {
    # one over the root of 400 draws
    "study": _STUDY,
    "refined": replace(
        _STUDY,
        nodes=_REFINED,
        sharp=(97, 640, 2500, 5000, 10000, 20000),
        radius=(5.5,) * 6,
        sharp_radius=6.0,
        rounds=6,
        shared=((1600, 5.5), (1500, 5.5)),
        table_points=128,
        least=0.16,
    ),
    "fit": _FIT,
    "finest": replace(_FIT, nodes=_FINEST, sharp=_FINEST, radius=(6.5,) * 6, rounds=6),
}
"""By name: ``refined`` is ``study``, ``finest`` is ``fit`` with more nodes, for the datasets where that was not
enough.
"""


class Marginal(NamedTuple):
    """Density of one coordinate of a lattice at equally spaced values, (value,), up to a factor; the first value and
    their distance.

    ``error`` is that of its distribution function, of the planes between which the density was interpolated.
    """

    start: Array
    step: Array
    density: Array
    error: Array


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
    marginals : tuple of Marginal, or None
        Marginal densities of the lattice's coordinates.
    accuracy : str
    sharp : bool
        Whether the lattice is the one for components that may be narrow.
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
    marginals: tuple[Marginal, ...] | None
    accuracy: str = eqx.field(static=True)
    sharp: bool = eqx.field(static=True)

    @property
    def lattice(self) -> Lattice:
        """The nodes before they were placed."""
        return ACCURACIES[self.accuracy].grid(self.u.shape[1], self.sharp)


def block_size(factorised: Factorised) -> int:
    """Nodes evaluated at once, so that memory stays flat in the number of groups."""
    layout = factorised.layout
    size = max([level.size for level in layout.levels] + [1]) * max(1, len(layout.columns)) ** 2
    return max(1, _BLOCK // size)


def smoothing(nodes: Nodes) -> tuple[Lattice, float]:
    """The lattice, and the width of the kernel that smooths between its points, in its units."""
    return nodes.lattice, ACCURACIES[nodes.accuracy].smooth / nodes.lattice.alias


def halves(nodes: Nodes) -> Array:
    """Weights of the nodes of either half of the lattice, (half, node)."""
    weight = jnp.exp(nodes.log_weight)
    if nodes.u.shape[1] == 0:
        return jnp.stack([0.5 * weight, 0.5 * weight])
    odd = jnp.asarray(nodes.lattice.odd)
    return jnp.stack([jnp.where(odd, weight, 0.0), jnp.where(odd, 0.0, weight)])
