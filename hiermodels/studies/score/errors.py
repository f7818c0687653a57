"""What a measure of performance reads: estimates and truths of one factor cell x method x estimand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hiermodels.studies.score.folds import AT_ONCE

if TYPE_CHECKING:
    from hiermodels.studies.score.folds import Fold, Folds

__all__ = ["Errors"]

type Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Errors:
    """Estimates and truths of one factor cell x method x estimand: all that a performance measure may read.

    Arrays have shape (replicate,) for one target, or (replicate, group) for all groups of an estimand at
    once; a measure then returns one number a group, or, with ``average=True``, one number for the average
    over groups. What is not given is NaN.

    Attributes
    ----------
    estimate, true, se, lower, upper : array
        Point estimate, truth, posterior sd, and ends of the credible interval, on the scale of the estimand.
    rank, max_rank : array
        Number of draws below the truth, and the number of draws it was counted among (0 <= rank <= max_rank).
    reference : array
        Estimates of a reference method on the same replicates, for measures that compare.
    present, failed : array of bool
        Fits with an answer, and fits without a finite one; a fit that was not attempted is neither. By default a fit is
        present where the point estimate or an interval is finite, and failed where it is not.
    kept : array of bool
        What may be used; the rest is left out by choice. By default everything.
    interval : float
        Credibility of the interval.
    average : bool
        Average over groups, with the replicate as the unit of the MCSE.
    worst : bool
        Count failed fits as not covering and not firing in shares (the upper Monte Carlo limit counts them
        the other way).
    robust : bool
        MCSEs of standard deviations by the kurtosis form rather than by normal theory.
    fixed : bool
        The truths are the same in every replicate by design (the *fixed* regime).
    support : tuple of float
        Least and largest value of the estimand, such as (0, inf) of a standard deviation: the boundary of its space.
    cut : float or None
        The estimand is a posterior probability and decides when it exceeds `cut`; None: the decision is an
        interval that excludes 0.
    folds : Folds
        Makes what measures need of all replicates together; by default these are all that there are.
    given : callable, optional
        Whether the method gives a part of an answer for some replicate and group, where not all of them are here.

    Examples
    --------
    >>> from hiermodels.studies.score.measures import bias
    >>> round(float(bias(Errors(estimate=[1.0, 2.0, 3.0], true=[1.0, 1.0, 1.0])).value), 3)
    1.0
    """

    estimate: Floats
    true: Floats
    se: Floats
    lower: Floats
    upper: Floats
    rank: Floats
    max_rank: Floats
    reference: Floats
    present: NDArray[np.bool_]
    kept: NDArray[np.bool_]
    interval: float
    average: bool
    worst: bool
    robust: bool
    fixed: bool
    support: tuple[float, float]
    cut: float | None
    folds: Folds
    given: Callable[[str], bool] | None
    _failed: NDArray[np.bool_] | Callable[[], NDArray[np.bool_]]
    _seen: dict[tuple[Any, ...], Errors]

    def __init__(
        self,
        estimate: ArrayLike,
        true: ArrayLike,
        se: ArrayLike | None = None,
        lower: ArrayLike | None = None,
        upper: ArrayLike | None = None,
        rank: ArrayLike | None = None,
        max_rank: ArrayLike | None = None,
        reference: ArrayLike | None = None,
        *,
        present: NDArray[np.bool_] | None = None,
        failed: NDArray[np.bool_] | None = None,
        kept: NDArray[np.bool_] | None = None,
        interval: float = 0.95,
        average: bool = False,
        worst: bool = False,
        robust: bool = False,
        fixed: bool = False,
        support: tuple[float, float] = (-np.inf, np.inf),
        cut: float | None = None,
    ) -> None:
        point = np.asarray(estimate, float)
        shape = point.shape
        arrays = {"true": true, "se": se, "lower": lower, "upper": upper, "rank": rank, "max_rank": max_rank}
        found: dict[str, Any] = {"estimate": point}
        for name, array in (arrays | {"reference": reference}).items():
            filled = np.asarray(np.nan if array is None else array, float)
            if filled.shape not in ((), shape):
                raise ValueError(f"Errors: `{name}` must have the shape {shape} of `estimate`, found {filled.shape}")
            found[name] = np.broadcast_to(filled, shape)
        if average and len(shape) != 2:
            raise ValueError(f"Errors: average=True needs arrays (replicate, group), found the shape {shape}")
        answered = np.isfinite(point) | np.isfinite(found["lower"]) | np.isfinite(found["upper"])
        found["present"] = answered if present is None else present
        found["_failed"] = ~found["present"] if failed is None else failed
        found["kept"] = np.ones_like(found["present"]) if kept is None else kept
        found |= {
            "interval": interval,
            "average": average,
            "worst": worst,
            "robust": robust,
            "fixed": fixed,
            "support": support,
            "cut": cut,
        }
        self._fill({**found, "folds": AT_ONCE, "given": None})

    def _fill(self, values: Mapping[str, Any]) -> None:
        """Set attributes, with nothing remembered of others."""
        for name, value in {**values, "_seen": {}}.items():
            object.__setattr__(self, name, value)

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Fits without a finite answer."""
        if callable(self._failed):
            object.__setattr__(self, "_failed", self._failed())
        assert not callable(self._failed)
        return self._failed

    @property
    def error(self) -> Floats:
        """Estimate minus truth."""
        return self.estimate - self.true

    def fold(self, join: Any, part: Callable[[], NDArray[Any]]) -> Fold:
        """A number of all replicates; see `hiermodels.studies.score.folds`."""
        return self.folds.fold(join, part)

    def some(self, part: Callable[[], NDArray[np.bool_]]) -> Fold:
        """Whether something holds in some replicate, group by group."""
        return self.folds.fold(np.logical_or, part)

    def known(self, part: str) -> NDArray[np.bool_]:
        """Where a part of an answer is there: ``estimate, se, interval, rank, decision, true, reference``.

        An interval has two ends, each of which may be infinite; a decision is what `cut` is read on: the estimate or
        the interval.
        """
        if part == "decision":
            part = "interval" if self.cut is None else "estimate"
        if part == "interval":
            return ~(np.isnan(self.lower) | np.isnan(self.upper))
        if part == "rank":
            return np.isfinite(self.rank) & np.isfinite(self.max_rank)
        return np.isfinite(getattr(self, part))

    def gives(self, part: str) -> bool:
        """Whether the method gives a part at all, that is for some replicate and group."""
        return bool((self.known(part) & self.present).any()) if self.given is None else self.given(part)

    def having(self, parts: Sequence[str], *, whole: bool = True) -> Errors:
        """The errors as a measure sees them that needs these parts of an answer.

        An answer is present where all parts are known and it is kept, and failed where a part is not known that the
        method gives elsewhere. A part that the method never gives is no failure, nor is a truth that is not known.

        Parameters
        ----------
        parts : sequence of str
        whole : bool
            Averaged over groups, use a replicate with all its groups or not at all.
        """
        key = (*parts, whole)
        if key not in self._seen:
            self._seen[key] = self._having(parts, whole)
        return self._seen[key]

    def _having(self, parts: Sequence[str], whole: bool) -> Errors:
        present = self.present & self.kept
        for part in parts:
            present = present & self.known(part)
        plain = self.replaced()  # without what is remembered of it, which this will be part of
        return self.only(present, whole=whole).replaced(_failed=lambda: plain._lacking(parts))

    def _lacking(self, parts: Sequence[str]) -> NDArray[np.bool_]:
        """Fits that failed, or lack a part that the method gives elsewhere."""
        failed = self.failed
        for part in parts:
            if part == "true":
                failed = failed & self.known(part)
            elif self.gives(part):
                failed = failed | (self.present & ~self.known(part))
        return failed

    def groups(self, here: NDArray[np.bool_]) -> Errors:
        """The errors of some groups."""
        names = ("estimate", "true", "se", "lower", "upper", "rank", "max_rank", "reference", "present", "kept")
        return self.replaced(**{name: getattr(self, name)[:, here] for name in names}, _failed=self.failed[:, here])

    def only(self, used: NDArray[np.bool_], *, whole: bool = True) -> Errors:
        """The errors with these answers alone; averaged over groups, a replicate with all its groups or with none."""
        present = self.present & used
        if self.average and whole:
            present = present & (present | ~(self.present | self.failed)).all(-1, keepdims=True)
        return self.replaced(present=present)

    def replaced(self, **changes: Any) -> Errors:
        """The errors with other values of some attributes."""
        other = object.__new__(type(self))
        other._fill({**vars(self), **changes})
        return other
