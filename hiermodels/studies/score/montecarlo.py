"""Monte Carlo arithmetic for performance measures: what a measure reads, what it returns, and its error.

Every measure is a smooth function of means over replicates. `mean_over` gives such a mean with its
*influence*: numbers ``psi_i``, one a replicate, whose root sum of squares is the Monte Carlo standard error
(MCSE). A function of several means has the MCSE ``sqrt(sum_i (sum_k dh/dm_k psi_ik)^2)`` (delta method), with
every correlation between the means, and between the groups of one replicate, in it: the replicate is the
unit.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiermodels.studies.score.errors import Errors

__all__ = [
    "Errors",
    "Function",
    "Influenced",
    "Mean",
    "Measure",
    "Z95",
    "estimate",
    "estimate_with",
    "mean_over",
    "norm",
    "remarked",
    "share_over",
    "undefined",
    "wilson",
]

Z95 = 1.959963984540054
"""The normal quantile of a 95% Monte Carlo interval."""

type Floats = NDArray[np.float64]


class Measure(NamedTuple):
    """A performance measure as estimated from finitely many replicates.

    Attributes
    ----------
    value : float or array of shape (group,)
        The estimate, in the units of the estimand (squared for `mse`, `variance`; shares between 0 and 1).
    mcse : float or array
        Its Monte Carlo standard error; NaN where one replicate or none is left.
    lower, upper : float or array
        A 95% Monte Carlo interval: normal, cut at 0 for what cannot be negative; Wilson's for shares.
    note : str or array of str
        Why `value` is NaN, or what it leaves out.
    n : int or array of int
        Replicates behind `value`.
    """

    value: Any
    mcse: Any
    lower: Any
    upper: Any
    note: Any = ""
    n: Any = 0


class Influenced(Protocol):
    """A number with the influence of each replicate on it."""

    @property
    def value(self) -> Any:
        """The number, or one a group."""

    @property
    def psi(self) -> Floats:
        """Influence of each replicate, shape (replicate,) or (replicate, group); ``sqrt(sum(psi**2))`` is the MCSE."""

    @property
    def n(self) -> Any:
        """Replicates that it stands on."""

    @property
    def errors(self) -> Errors:
        """What it is a number of."""


class Function(NamedTuple):
    """A function of means, with its influences; see `Influenced`."""

    value: Any
    psi: Floats
    n: Any
    errors: Errors


class Mean:
    """A mean over replicates with what its Monte Carlo error needs, made by `mean_over`; see `Influenced`.

    It is asked for when it is made: several that do not depend on one another are best made before one is read.
    """

    def __init__(self, values: NDArray[Any], errors: Errors, used: NDArray[np.bool_]) -> None:
        self.errors, self._values, self._used = errors, values, used
        self._count = errors.fold(np.add, lambda: used)
        self._sum = errors.fold(np.add, lambda: values if used.all() else np.where(used, values, 0.0))
        self._replicates = errors.fold(np.add, lambda: used.any(-1)) if errors.average else self._count

    @cached_property
    def of_groups(self) -> Any:
        """The mean of each group."""
        with np.errstate(all="ignore"):
            return self._sum.value / self._count.value

    @property
    def value(self) -> Any:
        """The mean, or that of the groups' means."""
        with np.errstate(all="ignore"):
            return self.of_groups.mean(-1) if self.errors.average else self.of_groups

    @cached_property
    def psi(self) -> Floats:
        """Influence of each replicate."""
        n = self._count.value
        with np.errstate(all="ignore"):
            centred = self._values - self.of_groups
            psi: Floats = (centred if self._used.all() else np.where(self._used, centred, 0.0)) / np.sqrt(n * (n - 1.0))
            return psi.mean(-1) if self.errors.average else psi

    @property
    def n(self) -> Any:
        """Replicates that it stands on."""
        return self._replicates.value

    @property
    def total(self) -> Any:
        """Numbers that it stands on: more than replicates where groups are averaged."""
        return self._count.value.sum(-1) if self.errors.average else self._count.value

    @cached_property
    def mcse(self) -> Any:
        """Monte Carlo standard error of the mean."""
        return norm(self)


def norm(of: Influenced) -> Any:
    """Root sum of squares of influences, the MCSE; NaN below two replicates."""
    psi = of.psi
    with np.errstate(over="ignore"):  # estimates beyond 1e150 have an infinite error, which is what it says
        square = of.errors.fold(np.add, lambda: np.square(psi))
    return np.where(np.greater(of.n, 1), np.sqrt(square.value), np.nan)[()]


def mean_over(values: NDArray[Any], errors: Errors, present: NDArray[np.bool_] | None = None) -> Mean:
    """Mean over replicates (and groups, if the errors say so) of whatever is finite and present.

    With ``m_g`` the mean of the ``n_g`` values of group g, ``psi_ig = (z_ig - m_g) / sqrt(n_g (n_g - 1))``
    and 0 where the value is missing: for one target the MCSE is sd(z) / sqrt(n). Averaged over groups the
    value is the mean of the m_g and ``psi_i`` the mean of the psi_ig: without missing values exactly sd /
    sqrt(n) of the averages within each replicate.

    Parameters
    ----------
    values : array of shape (replicate,) or (replicate, group)
        One number a replicate.
    errors : Errors
        Says what is present and whether groups are averaged.
    present : array of bool, optional
        Read in the place of ``errors.present``.

    Returns
    -------
    Mean
    """
    return Mean(values, errors, np.isfinite(values) & (errors.present if present is None else present))


def estimate_with(of: Influenced, *, floor: float = -np.inf) -> Measure:
    """A measure with a normal 95% Monte Carlo interval, from influences.

    Parameters
    ----------
    of : Influenced
        The estimate.
    floor : float
        The least value that the measure can have; the interval is cut there.

    Returns
    -------
    Measure
    """
    return estimate(of.value, norm(of), of.n, floor=floor)


def estimate(value: Any, mcse: Any, n: Any, *, floor: float = -np.inf) -> Measure:
    """A measure with a normal 95% Monte Carlo interval, from its MCSE.

    Parameters
    ----------
    value, mcse : float or array of shape (group,)
    n : int or array
        Replicates that it stands on.
    floor : float
        The least value that the measure can have; the interval is cut there.
    """
    return Measure(value, mcse, np.maximum(value - Z95 * mcse, floor), value + Z95 * mcse, _blank(value), n)


def share_over(values: NDArray[Any], errors: Errors) -> Measure:
    """A share: the mean of indicators, with the binomial MCSE and Wilson's interval.

    MCSE = sqrt(mean((z - C)^2) / n), which for zeros and ones is sqrt(C (1 - C) / n). Averaged over groups z
    is the average within the replicate, and Wilson's interval uses the effective number C (1 - C) / MCSE^2,
    between the number of replicates and the number of estimates: it never has width 0. Under ``errors.worst``
    failed fits count as 0 for `value`, `mcse` and `lower`, and as 1 for `upper`.

    Parameters
    ----------
    values : array of shape (replicate,) or (replicate, group)
        Indicators, or probabilities of an event.
    errors : Errors
        Says what is present, what failed, and whether groups are averaged.

    Returns
    -------
    Measure
    """
    if not errors.worst:
        return _share(mean_over(values, errors))
    known = np.where(errors.present, values, np.nan)
    counted = errors.present | errors.failed
    least, most = (mean_over(np.where(errors.failed, end, known), errors, counted) for end in (0.0, 1.0))
    return _share(least)._replace(upper=_share(most).upper)


def _share(mean: Mean) -> Measure:
    share, n, total = mean.value, mean.n, mean.total
    with np.errstate(all="ignore"):
        binomial = share * (1 - share)
        mcse = np.where(np.equal(n, 1), np.sqrt(binomial), mean.mcse * np.sqrt((n - 1) / n))[()]
        effective = np.where(binomial > 0, binomial / mcse**2, n)
        lower, upper = wilson(share, np.clip(effective, n, total))
    return Measure(share, mcse, lower, upper, _blank(share), n)


def wilson(share: ArrayLike, n: ArrayLike) -> tuple[Any, Any]:
    """Wilson's 95% interval of a share among n: never of width 0, also at 0 and 1.

    ``(p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`` (Wilson 1927).

    Parameters
    ----------
    share : array_like
        Observed share, between 0 and 1.
    n : array_like
        (Effective) number of trials.

    Returns
    -------
    lower, upper : float or array

    Examples
    --------
    >>> [round(float(end), 4) for end in wilson(1.0, 100)]
    [0.963, 1.0]
    """
    p, n = np.asarray(share, float), np.asarray(n, float)
    with np.errstate(all="ignore"):
        shrunk = 1 + Z95**2 / n
        centre = (p + Z95**2 / (2 * n)) / shrunk
        half = Z95 * np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / shrunk
        lower = np.where(p == 0, 0.0, np.maximum(centre - half, 0.0))
        upper = np.where(p == 1, 1.0, np.minimum(centre + half, 1.0))
    return np.where(np.isnan(centre), np.nan, lower)[()], np.where(np.isnan(centre), np.nan, upper)[()]


def undefined(measure: Measure, where: Any, reason: str) -> Measure:
    """The measure with NaN, and the reason, wherever `where` holds; a reason that is already there stays.

    Parameters
    ----------
    measure : Measure
        What was computed.
    where : bool or array of bool
        Where it has no meaning; several groups for a measure averaged over them count if any does.
    reason : str
        What the reader is told.

    Returns
    -------
    Measure
    """
    shape = np.shape(measure.value)
    where = np.asarray(where)
    where = np.broadcast_to(where.any() if where.ndim > len(shape) else where, shape)
    if not where.any():
        return measure
    value, mcse, lower, upper = (np.where(where, np.nan, number)[()] for number in measure[:4])
    return remarked(measure._replace(value=value, mcse=mcse, lower=lower, upper=upper), where, reason)


def remarked(measure: Measure, where: Any, remark: str) -> Measure:
    """The measure with a note wherever `where` holds; a note that is already there stays."""
    note = np.where(np.asarray(where) & (np.asarray(measure.note) == ""), remark, measure.note)
    return measure._replace(note=str(note) if note.ndim == 0 else note)


def _blank(value: Any) -> Any:
    return "" if np.ndim(value) == 0 else np.full(np.shape(value), "")
