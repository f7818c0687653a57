"""Tests of calibration of a cell that is read chunk by chunk: of ranks only counts and moments are kept."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hiermodels.studies.calibrate import pooled_tests
from hiermodels.studies.calibrate import sbc_tests as tests
from hiermodels.studies.calibrate.sbc_table import POOLED, joint, numbered, plain
from hiermodels.studies.store.blocks import cells_of

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.studies.store.large import LargeCell

__all__ = ["Moments", "calibration_of"]

type Floats = NDArray[np.float64]

_READ = ("rep", "method", "estimand", "group", "rank", "max_rank", "ess_tail")


class Moments:
    """`hiermodels.studies.calibrate.pooled_tests.Vectors` that arrive in parts, by the updating formulas of Chan, Golub
    and LeVeque.

    Examples
    --------
    >>> rows = np.random.default_rng(1).normal(size=(60, 3))
    >>> found = Moments().with_rows(rows[:25]).with_rows(rows[25:])
    >>> bool(np.allclose(found.covariance, np.cov(rows, rowvar=False)))
    True
    """

    def __init__(self, n: int = 0, mean: Any = 0.0, product: Any = 0.0) -> None:
        self.n, self.mean, self.product = n, mean, product

    def with_rows(self, rows: Floats) -> Moments:
        """These and further vectors, shape (replicate, component)."""
        if not len(rows):
            return self
        n, mean = self.n + len(rows), rows.mean(0)
        centred, apart = rows - mean, mean - self.mean
        product = self.product + centred.T @ centred + np.outer(apart, apart) * (self.n * len(rows) / n)
        return Moments(n, self.mean + apart * (len(rows) / n), product)

    @property
    def covariance(self) -> Floats:
        """Covariance matrix, divisor n - 1."""
        return np.asarray(self.product / (self.n - 1))

    @property
    def sd(self) -> Floats:
        """Standard deviation of each component."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def square(self) -> Floats:
        """Mean square of each component."""
        return np.asarray(np.diag(self.product) / self.n + self.mean**2)

    @property
    def correlation(self) -> Floats:
        """Correlation matrix."""
        return np.asarray(self.covariance / np.outer(self.sd, self.sd))

    def some(self, here: NDArray[np.bool_]) -> Moments:
        """Some of the components."""
        return Moments(self.n, self.mean[here], self.product[np.ix_(here, here)])


class _Target(NamedTuple):
    """A method and an estimand: labels of its groups, replicates, and those with a rank in every group."""

    labels: tuple[str, ...]
    attempted: int
    complete: int


def calibration_of(cell: LargeCell, factors: Sequence[str], seed: int = 0) -> pd.DataFrame | None:
    """As the table of `hiermodels.studies.calibrate.calibration.calibration`, with the same random numbers; None
    without ranks.

    Parameters
    ----------
    cell : LargeCell
    factors : sequence of str
        Columns whose values identify a cell.
    seed : int
        Of the numbers that spread ranks over their cells.
    """
    targets: dict[Any, _Target] = {}
    values: dict[Any, Any] = {}
    for frame in _frames(cell, factors):
        values = values or {name: plain(value) for name, value in cells_of(frame.iloc[:1], factors)[1].iloc[0].items()}
        for key, part in frame.groupby(["method", "estimand"], sort=False, observed=True):
            labels, attempted, complete = targets.get(key, _Target((), 0, 0))
            found = tuple(dict.fromkeys((*labels, *part["group"].astype(object).fillna("").unique())))
            finite = np.isfinite(part["rank"].to_numpy(float)) & np.isfinite(part["max_rank"].to_numpy(float))
            reps, at = np.unique(part["rep"].to_numpy(), return_inverse=True)
            whole = int((np.bincount(at, finite) == len(found)).sum())
            targets[key] = _Target(found, attempted + len(reps), complete + whole)
    ranked = {key: target for key, target in targets.items() if target.complete}
    whos = {key: {**values, "method": str(key[0]), "estimand": str(key[1])} for key in ranked}
    generators = {
        key: np.random.default_rng([seed, zlib.crc32(repr(sorted(who.items())).encode())]) for key, who in whos.items()
    }
    tallies: dict[Any, _Alone | _Pooled] = {
        key: _Alone(target.complete) if target.labels == ("",) else _Pooled(target.complete)
        for key, target in ranked.items()
    }
    for frame in _frames(cell, factors):
        for key, part in frame.groupby(["method", "estimand"], sort=False, observed=True):
            if key in ranked:
                tallies[key].add(_pits(part, ranked[key].labels, generators[key]))
    rows = []
    for key, target in ranked.items():
        group, failed = ("" if target.labels == ("",) else POOLED), target.attempted - target.complete
        rows += [{**whos[key], "group": group, **row, "n_failed": failed} for row in numbered(tallies[key].tests())]
    return joint(rows) if rows else None


def _frames(cell: LargeCell, factors: Sequence[str]) -> Iterator[pd.DataFrame]:
    return (table.to_pandas() for table in cell.tables({*_READ, *factors}))


def _pits(part: pd.DataFrame, labels: tuple[str, ...], rng: np.random.Generator) -> Floats:
    """PITs (replicate, group) of one method and estimand, in the order in which a table of the whole cell has its
    random numbers.
    """
    place = {label: i for i, label in enumerate(sorted(labels))}
    group = part["group"].astype(object).fillna("").map(place).to_numpy(np.int64)
    reps, at = np.unique(part["rep"].to_numpy(), return_inverse=True)
    order = np.lexsort((group, at))
    ess = part["ess_tail"].to_numpy(float)[order] if "ess_tail" in part else None
    u = np.full((len(reps), len(labels)), np.nan)
    u[at[order], group[order]] = tests.pit(
        part["rank"].to_numpy(float)[order], part["max_rank"].to_numpy(float)[order], rng, ess
    )
    return u


class _Alone:
    """PITs of a scalar, counted."""

    def __init__(self, n: int) -> None:
        self.bins = tests.bins_for(n, 5)
        self.counted: tests.Counted | None = None

    def add(self, u: Floats) -> None:
        """Count some."""
        found = tests.Counted.of(u[np.isfinite(u)], self.bins)
        self.counted = found if self.counted is None else self.counted + found

    def tests(self) -> dict[str, tests.Uniformity]:
        """Tests by name."""
        assert self.counted is not None
        return {"chi2": self.counted.chi_square(), "smooth": self.counted.smooth(), "ecdf": self.counted.ecdf()}


class _Pooled:
    """PITs of groups, as moments of what the pooled tests read of each replicate."""

    def __init__(self, n: int) -> None:
        self.bins, self.z = tests.bins_for(n, 20), pooled_tests.pooled_points(n)
        self.shares, self.legendre, self.ecdf = Moments(), Moments(), Moments()

    def add(self, u: Floats) -> None:
        """Take some replicates in; those without a rank in some group are left out."""
        u = u[np.isfinite(u).all(1)]
        self.shares = self.shares.with_rows(pooled_tests.share_rows(u, self.bins))
        self.legendre = self.legendre.with_rows(pooled_tests.legendre_rows(u))
        self.ecdf = self.ecdf.with_rows(pooled_tests.ecdf_rows(u, self.z) - self.z)

    def tests(self) -> dict[str, tests.Uniformity]:
        """Tests by name."""
        n = self.shares.n
        few = tests.Uniformity(np.nan, np.nan, n)
        if n < tests.FEWEST:
            return {"chi2": few, "smooth": few, "ecdf": few}
        return {
            "chi2": pooled_tests.hotelling(self.shares),
            "smooth": pooled_tests.hotelling(self.legendre),
            "ecdf": pooled_tests.largest_deviation(self.ecdf),
        }
