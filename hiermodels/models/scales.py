"""Centres and scales of a design's columns, and the sizes of its rows: measured once for each fit, or given; never
from the outcome.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hiermodels.priors import Prior

__all__ = ["Column", "Scales", "kept_scales", "measure", "read_scales"]

_SAME = 1e-11
"""A column varies where its standard deviation is more than this share of its root mean square."""
_MOST = 300
"""Columns among which products are looked for."""


@dataclass(frozen=True)
class Column:
    """Centre and scale of a column of the design.

    Attributes
    ----------
    centre, scale : float
        Mean and standard deviation over the rows; the scale of a column that does not vary is its size.
    factors : tuple of str
        Columns whose product it is; empty for any other.
    product : tuple of float
        Mean and standard deviation of the product of its centred factors.
    """

    centre: float
    scale: float
    factors: tuple[str, ...] = ()
    product: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scales:
    """What a fit takes from predictors, known errors, weights and exposures, once: never from the outcome.

    Attributes
    ----------
    columns : mapping of str to Column
        By name of the design's column; the constant one is left out. A law is declared by its mean and sd, ``Column(50,
        10)``.
    se : float or None
        Known standard error of a typical row, ``(mean of se^-2)^(-1/2)``; 1 where variances are not known. None to have
        it measured.
    weight : float or None
        Mean weight of a row; 1 without weights.
    exposure : float or None
        Mean exposure of a row; 1 without exposures.
    """

    columns: Mapping[str, Column] = field(default_factory=dict)
    se: float | None = 1.0
    weight: float | None = 1.0
    exposure: float | None = 1.0

    def plain(self) -> dict[str, Any]:
        """Numbers and names alone, as a file holds them; `read_scales` is the inverse.

        Examples
        --------
        >>> read_scales(Scales({"x": Column(285.0, 2.0)}).plain()) == Scales({"x": Column(285.0, 2.0)})
        True
        """
        columns = {
            name: {k: v for k, v in dataclasses.asdict(c).items() if v != ()} for name, c in self.columns.items()
        }
        sizes = {k: v for k in ("se", "weight", "exposure") if (v := getattr(self, k)) != 1.0}
        return {"columns": columns, **sizes}

    def unit(self, prior: Prior) -> float:
        """Unit of a default prior of a group sd: a typical row's known standard error, or its residual sd in sigmas."""
        assert self.se is not None and self.weight is not None
        if not prior.in_units:
            return 1.0
        return self.se if prior.unit is None else self.weight**-0.5


def read_scales(plain: Mapping[str, Any]) -> Scales:
    """Scales from what `Scales.plain` wrote."""
    columns = {
        name: Column(c["centre"], c["scale"], tuple(c.get("factors", ())), tuple(c.get("product", ())))
        for name, c in plain["columns"].items()
    }
    return Scales(columns, **{k: plain[k] for k in ("se", "weight", "exposure") if k in plain})


def measure(names: Sequence[str], x: np.ndarray, known: bool, weight: np.ndarray, size: np.ndarray | None) -> Scales:
    """Centres and scales of a design's rows.

    Parameters
    ----------
    names : sequence of str
        Of the columns.
    x : ndarray, shape (row, column)
    known : bool
        The weights are ``se^-2``.
    weight : ndarray, shape (row,)
    size : ndarray, shape (row,), or None
        Exposures, where there are any.

    Examples
    --------
    >>> scales = measure(("Intercept", "x"), np.array([[1.0, 283.0], [1.0, 287.0]]), False, np.ones(2), None)
    >>> scales.columns["x"]
    Column(centre=285.0, scale=2.0, factors=(), product=())
    """
    factors = _products(names, x)
    centres = x.mean(axis=0)
    columns: dict[str, Column] = {}
    for c, name in enumerate(names):
        if np.all(x[:, c] == 1.0):
            continue
        plain = float(centres[c]), _spread(x[:, c] - centres[c], x[:, c])
        if not factors[c]:
            columns[name] = Column(*plain)
            continue
        product = np.prod(np.stack([x[:, f] - centres[f] for f in factors[c]]), axis=0)
        middle = float(product.mean())
        columns[name] = Column(
            *plain, tuple(names[f] for f in factors[c]), (middle, _spread(product - middle, product))
        )
    typical = float(weight.mean())
    return Scales(
        columns, typical**-0.5 if known else 1.0, 1.0 if known else typical, 1.0 if size is None else float(size.mean())
    )


def _spread(deviation: np.ndarray, column: np.ndarray) -> float:
    """Standard deviation, or the size of a column that does not vary; 1 for a column of zeros."""
    top = float(np.max(np.abs(column), initial=0.0))
    if not 0 < top < np.inf:
        return 1.0
    sd, size = (float(np.sqrt(np.mean((a / top) ** 2))) * top for a in (deviation, column))
    return sd if sd > _SAME * size else size


def _products(names: Sequence[str], x: np.ndarray) -> list[tuple[int, ...]]:
    """The columns whose product each column is, in their lowest terms; empty for a column of its own.

    Products are looked for among weighted sums of the rows, at the cost of one product of matrices, and then compared
    row by row.
    """
    found: list[tuple[int, ...]] = [()] * len(names)
    free = [c for c in range(len(names)) if np.ptp(x[:, c]) > 0]
    if len(free) > _MOST:
        return found
    top = np.abs(x).max(axis=0, initial=0.0)
    unit = x / np.where(top > 0, top, 1.0)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, len(x))
    sums, pairs = weight @ x, (unit * weight[:, None]).T @ unit * np.outer(top, top)
    for n, c in enumerate(free):
        near = np.abs(pairs[np.ix_(free[:n], free[:n])] - sums[c]) <= 1e-9 * len(x) * top[c]
        for i, j in ((free[i], free[j]) for i, j in np.argwhere(np.triu(near))):
            same = np.abs(x[:, i] * x[:, j] - x[:, c]).max() <= 1e-13 * top[c]
            if same and not (np.array_equal(x[:, i], x[:, c]) or np.array_equal(x[:, j], x[:, c])):
                found[c] = tuple(sorted((found[i] or (i,)) + (found[j] or (j,))))
                break
    return found


def kept_scales(given: Scales | None, measured: Scales) -> Scales:
    """Scales that are given, completed by those measured where they say nothing."""
    if given is None:
        return measured
    sizes = {k: getattr(measured if getattr(given, k) is None else given, k) for k in ("se", "weight", "exposure")}
    return Scales({**measured.columns, **given.columns}, **sizes)
