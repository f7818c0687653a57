"""Performance measures with their Monte Carlo standard errors, and the table of them.

The menu is this module's ``__all__``: every function there takes `Errors` (one factor cell x method x
estimand) and returns a `Measure`. Codes and estimators are those of Stata's simsum and R's rsimsum (White
2010; Morris, White & Crowther 2019, table 6), except that every MCSE is computed from errors, estimate -
truth, and so holds when the truth is redrawn in each replicate. `performance` makes the long table of
performance from the long table of estimates.

In the formulas ``e_i = estimate_i - true_i``, n is the number of replicates used, and sd has the divisor n -
1. Each measure names the parts of an answer that it needs (`Errors.known`), and stands on the replicates that have
them: its n. Averaged over groups these are complete replicates, in which every group has them. Averaged over groups, a mean or a share is the mean of the groups' values, and whatever is a function of
means (`empse`, `rmse`, `modelse`, `relerror`, `relprec`, ratios) is that function of the averaged means (so
`rmse` is the root of the averaged MSE); the replicate, not the group, is the unit of every MCSE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels.studies.score.montecarlo import (
    Z95,
    Errors,
    Floats,
    Function,
    Influenced,
    Mean,
    Measure,
    estimate,
    estimate_with,
    mean_over,
    remarked,
    share_over,
    undefined,
)
from hiermodels.studies.score.needs import needs
from hiermodels.studies.score.order import order_statistics

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.studies.score.folds import Fold
    from hiermodels.studies.score.tables import Scored
    from hiermodels.studies.store.large import LargeCell

__all__ = [
    "nsim", "thetamean", "thetamedian", "se2mean", "se2median", "bias", "rbias", "pctbias", "rms_bias",
    "empse", "variance", "mse", "rmse", "mse_ratio", "mse_diff", "rmse_ratio", "relprec", "modelse",
    "relerror", "cover", "becover", "rank_cover", "power", "ciwidth",
]  # fmt: skip

OVER_GROUPS = frozenset({"rms_bias"})
"""Measures that exist only for the average over groups."""

PAIRED = frozenset({"mse_ratio", "mse_diff", "rmse_ratio", "relprec"})
"""Measures that compare with a reference method, paired by replicate."""

EXCLUDED = "0 is on the boundary of the space, which an interval with two ends inside it always excludes"
BOUNDARY = (
    "the truth is on the boundary of the space, which an interval with two ends inside it never contains"
)
ENDLESS = "every interval has an infinite end"
SOME_ENDLESS = "intervals with an infinite end are left out, and n counts the others"
ONE_SIDED = (
    "the interval has one end, on the side of the truth away from 0, so it never excludes 0; "
    "take an interval with two ends, or a probability such as P(x > 0)"
)
STILL = "the errors do not vary"
NO_ERROR = "the reference method has no error"


@needs()
def nsim(errors: Errors) -> Measure:
    """Number of replicates with an answer that are not left out.

    Averaged over groups: replicates in which every group has one. It has no Monte Carlo error. What a measure stands on
    is in its own row: column ``n`` of the table.

    Examples
    --------
    >>> int(nsim(Errors(estimate=[1.0, float("nan"), 3.0], true=[1.0, 1.0, 1.0])).value)
    2
    """
    present = errors.present.any(-1) if errors.average else errors.present
    count = errors.fold(np.add, lambda: present).value
    return estimate(count.astype(float), np.full(np.shape(count), np.nan)[()], count)


@needs("estimate")
def thetamean(errors: Errors) -> Measure:
    """Mean of the point estimates; MCSE sd / sqrt(n)."""
    return _mean(errors.estimate, errors)


@needs("estimate")
def thetamedian(errors: Errors) -> Measure:
    """Median of the point estimates, with a distribution-free interval from order statistics.

    The interval runs between the order statistics of ranks ``n/2 -+ 1.96 sqrt(n)/2``; MCSE = its width / (2 x
    1.96).
    """
    return _median(errors.estimate, errors)


@needs("se")
def se2mean(errors: Errors) -> Measure:
    """Mean of the squared standard errors (posterior variances); MCSE sd / sqrt(n)."""
    return _mean(errors.se**2, errors, floor=0.0)


@needs("se")
def se2median(errors: Errors) -> Measure:
    """Median of the squared standard errors (posterior variances); interval and MCSE as for `thetamedian`."""
    return _median(errors.se**2, errors)


@needs("estimate", "true")
def bias(errors: Errors) -> Measure:
    """Bias, mean(e); MCSE = sd(e) / sqrt(n).

    With sd(estimate) in its place, as in rsimsum's ``R/performance.R``, the MCSE would be wrong wherever the
    truth varies between replicates.

    Examples
    --------
    >>> b = bias(Errors(estimate=[1.0, 3.0, 2.0, 6.0], true=[1.0, 2.0, 3.0, 4.0]))
    >>> round(float(b.value), 3), round(float(b.mcse), 3)
    (0.5, 0.645)
    """
    return _mean(errors.error, errors)


@needs("estimate", "true")
def rbias(errors: Errors) -> Measure:
    """Relative bias, mean(e / true); MCSE = sd(e / true) / sqrt(n).

    Undefined where a truth is 0, and where truths change sign between replicates (the ratio then has no
    mean).
    """
    true = np.where(errors.present, errors.true, np.nan)
    above, below = errors.some(lambda: true > 0), errors.some(lambda: true < 0)
    measure = _relative(true, 1.0, errors)
    return undefined(measure, above.value & below.value, "the truth changes sign between replicates")


@needs("estimate", "true")
def pctbias(errors: Errors) -> Measure:
    """Bias in percent of the truth, 100 bias / true; MCSE = 100 sd(e) / (sqrt(n) abs(true)).

    Undefined at a truth of 0, and where the truth varies between replicates (`rbias` may be meant).
    """
    true = np.where(errors.present, errors.true, np.nan)
    ends = _ends(true, errors)
    measure = _relative(true, 100.0, errors)
    with np.errstate(all="ignore"):
        return undefined(measure, ends[1].value > ends[0].value, "the truth varies between replicates; rbias averages e / true")


@needs("estimate", "true")
def rms_bias(errors: Errors) -> Measure:
    """Root mean square, over groups, of the groups' biases, freed of Monte Carlo noise; fixed truths only.

    ``sqrt(max(0, Q))`` with ``Q = mean_g(bias_g^2 - mcse_g^2)``: without the second term the measure would be
    positive for an unbiased method. Q has the variance ``(4 b' S b + 2 tr(S S)) / G^2`` with b the biases and
    S the covariance of their estimates, replicates as the unit; the interval is that of Q, cut at 0, on the
    scale of the root, and the MCSE half the width of the same interval at one standard error (for a clear
    bias the delta method's sd(Q) / (2 sqrt(Q))).
    """
    if not errors.average:
        raise ValueError(
            "rms_bias: an average over groups; give Errors(..., average=True) with arrays (replicate, group)"
        )
    per_group = _influences(errors.error, errors)
    replicates = errors.fold(np.add, lambda: errors.present.any(-1))
    if not errors.fixed:
        return undefined(estimate(np.nan, np.nan, replicates.value), True, "biases of groups need truths that are fixed in every replicate")
    b, psi, groups = per_group.value, per_group.psi, errors.present.shape[-1]
    with np.errstate(all="ignore"):
        slope = errors.fold(np.add, lambda: np.square(psi @ b))
        gram = errors.fold(np.add, lambda: (psi.T @ psi)[None])
        q = np.mean(b**2 - per_group.mcse**2)
        sd = np.sqrt(4 * slope.value + 2 * np.square(gram.value).sum()) / groups
        low, high, lower, upper = np.sqrt(np.maximum(q + sd * np.array([-1.0, 1.0, -Z95, Z95]), 0.0))
        measure = Measure(np.sqrt(np.maximum(q, 0.0)), (high - low) / 2, lower, upper, n=replicates.value)
    return undefined(measure, np.isnan(q) & (measure.n > 0), "fewer than two replicates with an estimate")


@needs("estimate", "true")
def empse(errors: Errors) -> Measure:
    """Empirical standard error, sd(e); MCSE = EmpSE / sqrt(2 (n - 1)).

    For a fixed truth sd(e) is sd(estimate). The MCSE above holds for normal errors (with t errors of 5
    degrees of freedom it is half the true one); with ``errors.robust``, and for averages over groups, it is
    the kurtosis form, MCSE(EmpSE^2) / (2 EmpSE). Averaged over groups: the root of the averaged EmpSE^2.
    """
    two = _two(errors)
    (square,) = _spreads(errors, errors.error)
    if errors.robust or errors.average:
        return two(_root(square))
    with np.errstate(all="ignore"):
        value = np.sqrt(square.value)
        return two(estimate(value, value / np.sqrt(2 * (square.n - 1)), square.n, floor=0.0))


@needs("estimate", "true")
def variance(errors: Errors) -> Measure:
    """Variance of the errors, mean((e - bias)^2); bias^2 + variance = mse; MCSE by the kurtosis form.

    The divisor is n, so that the decomposition is exact: EmpSE^2 is n / (n - 1) times it. MCSE = sd((e -
    bias)^2) / sqrt(n). Averaged over groups it is the mean of the groups' variances, and averaged squared
    biases plus it are the averaged MSE.
    """
    return _mean(np.square(errors.error - _influences(errors.error, errors).value), errors, floor=0.0)


@needs("estimate", "true")
def mse(errors: Errors) -> Measure:
    """Mean squared error, mean(e^2); MCSE = sqrt(sum((e^2 - MSE)^2) / (n (n - 1))).

    Examples
    --------
    >>> m = mse(Errors(estimate=[1.0, 3.0, 2.0, 6.0], true=[1.0, 2.0, 3.0, 4.0]))
    >>> round(float(m.value), 3), round(float(m.mcse), 3)
    (1.5, 0.866)
    """
    return _mean(errors.error**2, errors, floor=0.0)


@needs("estimate", "true")
def rmse(errors: Errors) -> Measure:
    """Root mean squared error, sqrt(MSE), or that of the groups' mean MSE; MCSE = MCSE(MSE) / (2 RMSE)."""
    return _root(mean_over(errors.error**2, errors))


@needs("estimate", "true", "reference")
def mse_ratio(errors: Errors) -> Measure:
    """MSE of the method over that of the reference method on the same replicates.

    ``MCSE = R sqrt(sum_i (psi_i / MSE - phi_i / MSE_ref)^2)`` (delta method; psi and phi the influences on
    the two MSEs, so that what the methods share on a dataset cancels).
    """
    ratio = _mse_ratio(errors)
    return _with_ratio(estimate_with(ratio, floor=0.0), ratio, NO_ERROR)


@needs("estimate", "true", "reference")
def rmse_ratio(errors: Errors) -> Measure:
    """Root of `mse_ratio`: RMSE of the method over that of the reference, MCSE = MCSE(ratio) / (2 root)."""
    ratio = _mse_ratio(errors)
    return _with_ratio(_root(ratio), ratio, NO_ERROR)


@needs("estimate", "true", "reference")
def mse_diff(errors: Errors) -> Measure:
    """MSE of the method minus the reference's on the same replicates; MCSE = sd(e^2 - e_ref^2) / sqrt(n)."""
    return _mean(errors.error**2 - _reference_error(errors) ** 2, errors)


@needs("estimate", "true", "reference")
def relprec(errors: Errors) -> Measure:
    """Gain in precision over the reference method A, in percent: 100 ((EmpSE_A / EmpSE)^2 - 1).

    MCSE = 200 (EmpSE_A / EmpSE)^2 sqrt((1 - rho^2) / (n - 1)) with rho the correlation of the two methods'
    errors (normal theory); with ``errors.robust``, and for averages over groups, the delta method on the
    paired squares.
    """
    two = _two(errors)
    own, other = errors.error, _reference_error(errors)
    centres = [_influences(values, errors) for values in (own, other)]
    a, b = _spreads(errors, other, own)
    cross = None if errors.robust or errors.average else mean_over((own - centres[0].value) * (other - centres[1].value), errors)
    ratio = _ratio(a, b)
    value = 100 * (ratio.value - 1)
    if cross is None:
        measure = estimate_with(ratio._replace(value=value, psi=100 * ratio.psi), floor=-100.0)
    else:
        with np.errstate(all="ignore"):
            rho2 = (cross.value * ratio.n / (ratio.n - 1)) ** 2 / (a.value * b.value)
            rho2 = np.where(rho2 > 1 - 1e-12, 1.0, rho2)[()]  # of equal errors, up to rounding
            mcse = 200 * ratio.value * np.sqrt((1 - rho2) / (ratio.n - 1))
        measure = estimate(value, mcse, ratio.n, floor=-100.0)
    return two(_with_ratio(measure, ratio, STILL))


@needs("se")
def modelse(errors: Errors) -> Measure:
    """Model-based standard error, ModSE = sqrt(mean(se^2)); MCSE = sqrt(Var(se^2) / (4 n ModSE^2))."""
    return _root(mean_over(errors.se**2, errors))


@needs("se", "estimate", "true")
def relerror(errors: Errors) -> Measure:
    """Error of the model-based standard error in percent, 100 (ModSE / EmpSE - 1).

    MCSE = 100 (ModSE / EmpSE) sqrt(Var(se^2) / (4 n ModSE^4) + 1 / (2 (n - 1))); with ``errors.robust``, and
    for averages over groups, the second term and its covariance with the first come from the influences
    (delta method).
    """
    two = _two(errors)
    model = mean_over(errors.se**2, errors)
    (empirical,) = _spreads(errors, errors.error)
    ratio = _ratio(model, empirical)
    with np.errstate(all="ignore"):
        root = np.sqrt(ratio.value)
        value = 100 * (root - 1)
        if errors.robust or errors.average:
            measure = estimate_with(ratio._replace(value=value, psi=50 * ratio.psi / root), floor=-100.0)
        else:
            normal = (model.mcse / (2 * model.value)) ** 2 + 1 / (2 * (empirical.n - 1))
            measure = estimate(value, 100 * root * np.sqrt(normal), ratio.n, floor=-100.0)
    return two(_with_ratio(measure, ratio, STILL))


@needs("interval", "true", share=True)
def cover(errors: Errors) -> Measure:
    """Coverage, the share with lower <= true <= upper; MCSE = sqrt(C (1 - C) / n), Wilson's interval.

    Undefined where the truth is on the boundary of the space (a group sd of 0) and every interval has both
    ends inside.

    Examples
    --------
    >>> c = cover(Errors(estimate=[0.0] * 4, true=[0.0] * 4, lower=[-1, -1, -1, 1], upper=[2, 2, 2, 2]))
    >>> float(c.value), round(float(c.lower), 3), round(float(c.upper), 3)
    (0.75, 0.301, 0.954)
    """
    return _coverage(errors)


@needs("interval", "estimate", "true", share=True)
def becover(errors: Errors) -> Measure:
    """Bias-eliminated coverage: lower - bias <= true <= upper - bias; MCSE and interval as for `cover`."""
    return _coverage(errors, _influences(errors.error, errors))


@needs("rank", "true", share=True)
def rank_cover(errors: Errors) -> Measure:
    """Coverage of the central interval by ranks: free of the bias that few draws bring into quantiles.

    With the truth at rank r among L draws, ``[r, r + 1] / (L + 1)`` is its cell of the unit interval; a
    replicate contributes the share of that cell within the central `interval`: 0 or 1, fractional in the two
    cells that the ends cut. Its expectation is exactly `interval` if ranks are uniform, whatever L; a 95%
    interval between interpolated quantiles of L independent draws covers .95 (L - 1) / (L + 1) instead.
    """
    tail = (1 - errors.interval) / 2
    cells = errors.max_rank + 1
    with np.errstate(all="ignore"):
        overlap = np.minimum(errors.rank + 1, (1 - tail) * cells) - np.maximum(errors.rank, tail * cells)
    low, high = errors.support
    below = _all(errors, lambda: (errors.true == low) & (errors.rank == 0))
    above = _all(errors, lambda: (errors.true == high) & (errors.rank == errors.max_rank))
    measure = share_over(np.clip(overlap, 0.0, 1.0), errors)
    return undefined(measure, below() | above(), BOUNDARY)


@needs("decision", share=True)
def power(errors: Errors) -> Measure:
    """Share of replicates whose decision fires; MCSE = sqrt(P (1 - P) / n), Wilson's interval.

    For an estimand that is itself a posterior probability (``errors.cut`` given): estimate > cut. Else: the
    credible interval excludes 0; undefined where 0 is on the boundary of the estimand's space, and where intervals have
    one end, on the far side of a truth that is not 0.
    """
    if errors.cut is not None:
        return share_over((errors.estimate > errors.cut).astype(float), errors)
    low, high = errors.support
    lower, upper, true = errors.lower, errors.upper, errors.true
    above, below = _all(errors, lambda: lower > 0), _all(errors, lambda: upper < 0)
    blind = [_all(errors, lambda: (lower == -np.inf) & (true > 0)), _all(errors, lambda: (upper == np.inf) & (true < 0))]
    measure = share_over(((lower > 0) | (upper < 0)).astype(float), errors)
    always = ((low == 0) & above()) | ((high == 0) & below())
    return undefined(undefined(measure, always, EXCLUDED), blind[0]() | blind[1](), ONE_SIDED)


@needs("interval")
def ciwidth(errors: Errors) -> Measure:
    """Mean width of the interval, mean(upper - lower), of those with two finite ends; MCSE = sd / sqrt(n)."""
    with np.errstate(invalid="ignore"):
        width = errors.upper - errors.lower
    finite = errors.only(np.isfinite(width))
    there, left, endless = (errors.some(part) for part in (lambda: errors.present, lambda: finite.present, lambda: errors.present & np.isinf(width)))
    measure = undefined(_mean(width, finite, floor=0.0), there.value & ~left.value, ENDLESS)
    return remarked(measure, endless.value.any() if errors.average else endless.value, SOME_ENDLESS)


def performance(
    estimates: pd.DataFrame | Iterable[pd.DataFrame | LargeCell],
    *,
    factors: Sequence[str],
    measures: Sequence[str],
    interval: float = 0.95,
    failures: str = "complete-case",
    reference: str | None = None,
    regime: str,
    exclude_flagged: bool = False,
    robust: bool = False,
    decisions: Mapping[str, float] | None = None,
    supports: Mapping[str, tuple[float, float]] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """The long table of performance from the long table of estimates.

    Rows follow the order of first appearance of cells, methods, estimands and groups, then of the measures as
    asked. An estimand with group labels gets a row a group and one with group ``[mean]``, the average over
    groups.

    Parameters
    ----------
    estimates : pandas.DataFrame, or iterable of them or of large cells
        One row a replicate x cell x method x estimand x group, in any order; columns ``rep, <factors>,
        method, estimand, group, true, estimate, lower, upper, status`` and, where there are such, ``se, rank,
        max_rank, n_try, ess_tail``. Of a table too large for memory: batches of whole cells, one at a time.
    factors : sequence of str
        Columns whose values identify a cell.
    measures : sequence of str
        Names from this module's menu.
    interval : float
        Credibility of the intervals.
    failures : str
        What to do where a measure lacks what it needs: fits with status ``nonfinite``, and answers without a part (a
        standard error, an interval) that the method gives elsewhere. ``complete-case``: each method on what it has.
        ``paired-complete``: only replicates on which every method that has the target, and gives such a part, has it.
        ``worst-case``: bounds for shares, failed fits counting as not covering and not firing (the upper
        limit counts them the other way); other measures have no bound and stay complete-case.
        ``retry-with-escalation``: complete-case on what the retries left.
    reference : str, optional
        Method that `relprec`, `mse_ratio`, ... compare with; by default the first.
    regime : str
        Truth regime: ``fixed``, ``population`` or ``prior``.
    exclude_flagged : bool
        Leave out flagged fits (any status but ``ok`` and ``singular``) to show how the table depends on them. It conditions on
        convergence: not for conclusions.
    robust : bool
        MCSEs of standard deviations by the kurtosis form.
    decisions : mapping of str to float, optional
        Estimands that are posterior probabilities, and the threshold above which `power` counts them; by
        default estimands without intervals, between 0 and 1 and with truths 0 or 1, at (1 + interval) / 2.
    supports : mapping of str to (float, float), optional
        Least and largest value of estimands that have bounds, so that no interval is judged at a truth on one.

    Returns
    -------
    table : pandas.DataFrame
        Columns ``<factors>, method, estimand, group, measure, value, mcse, lower, upper, n_sim, n, n_failed,
        n_retried``: replicates attempted, behind the value, without what the measure needs, and tried more than once.
        Rows ``[mean]`` stand on complete replicates, in which no group is missing.
    notes : list of str
        Why values are NaN, what was left out, and what to beware of.

    Raises
    ------
    ValueError
        Unknown measure, policy, regime or reference (with the nearest right name), a missing column, a
        replicate twice.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"rep": [0, 1], "method": "m", "estimand": "Intercept", "group": "", "true": 8.0,
    ...                       "estimate": [7.0, 10.0], "lower": 4.0, "upper": 12.0, "status": "ok"})
    >>> table, notes = performance(frame, factors=[], measures=["bias", "cover"], regime="population")
    >>> table[["measure", "value"]].to_dict("list")
    {'measure': ['bias', 'cover'], 'value': [0.5, 1.0]}
    """
    given: dict[str, Any] = {"regime": regime, "exclude_flagged": exclude_flagged, "robust": robust, "decisions": decisions, "supports": supports}
    found = score(estimates, factors=factors, measures=measures, interval=interval, failures=failures, reference=reference, **given)
    return found.table, found.notes


def score(
    estimates: pd.DataFrame | Iterable[pd.DataFrame | LargeCell],
    *,
    factors: Sequence[str],
    measures: Sequence[str],
    regime: str,
    interval: float = 0.95,
    failures: str = "complete-case",
    reference: str | None = None,
    exclude_flagged: bool = False,
    robust: bool = False,
    decisions: Mapping[str, float] | None = None,
    supports: Mapping[str, tuple[float, float]] | None = None,
) -> Scored:
    """`performance` with all that belongs to it: the table on common replicates, and the count of failures."""
    from hiermodels.studies.score import tables

    functions: dict[str, Callable[[Errors], Measure]] = {
        tables.known("measures", name, __all__): globals()[name] for name in measures
    }
    compared = "rmse_ratio" not in functions and not functions.keys().isdisjoint(("mse", "rmse"))
    return tables.tabulate(
        estimates,
        factors=list(factors),
        functions=functions,
        side_by_side={"rmse_ratio": rmse_ratio} if compared else {},
        over_groups=OVER_GROUPS,
        paired=PAIRED,
        failures=failures,
        reference=reference,
        regime=regime,
        exclude_flagged=exclude_flagged,
        decisions=decisions or {},
        supports=supports or {},
        settings={"interval": interval, "robust": robust, "fixed": regime == "fixed"},
    )


def _all(errors: Errors, condition: Callable[[], Any]) -> Callable[[], Any]:
    """Gives groups in which every estimate that is present meets the condition."""
    not_met, there = errors.some(lambda: ~condition() & errors.present), errors.some(lambda: errors.present)
    return lambda: ~not_met.value & there.value


def _ends(values: Floats, errors: Errors) -> tuple[Fold, Fold]:
    """Least and largest value of each group."""
    return errors.fold(np.fmin, lambda: values), errors.fold(np.fmax, lambda: values)


def _mean(values: Floats, errors: Errors, floor: float = -np.inf) -> Measure:
    return estimate_with(mean_over(values, errors), floor=floor)


def _relative(true: Floats, scale: float, errors: Errors) -> Measure:
    """Mean of errors as shares of the truth, undefined at a truth of 0."""
    nothing = errors.some(lambda: true == 0)
    with np.errstate(all="ignore"):
        measure = _mean(scale * errors.error / np.where(true == 0, np.nan, true), errors)
    return undefined(measure, nothing.value, "the truth is 0")


def _two(errors: Errors) -> Callable[[Measure], Measure]:
    """Makes a measure undefined on one replicate."""
    count = errors.fold(np.add, lambda: errors.present)
    return lambda measure: undefined(measure, count.value == 1, "fewer than two replicates with an estimate")


def _with_ratio(measure: Measure, ratio: Influenced, reason: str) -> Measure:
    """The measure of a ratio, undefined where what it divides by is 0."""
    return undefined(measure, np.isposinf(ratio.value) | (np.isnan(ratio.value) & np.greater(ratio.n, 1)), reason)


def _influences(values: Floats, errors: Errors) -> Mean:
    """Means and influences group by group, also when the errors ask for the average."""
    return mean_over(values, errors.replaced(average=False))


def _spreads(errors: Errors, *several: Floats) -> list[Mean]:
    """Variances with the divisor n - 1, as means of squares with their influences; 0 where values are all the same, to the last bit."""
    centres = [_influences(values, errors) for values in several]
    ends = [_ends(np.where(errors.present, values, np.nan), errors) for values in several]
    found = []
    with np.errstate(all="ignore"):
        for values, mean, (least, most) in zip(several, centres, ends, strict=True):
            squares = np.square(values - mean.value) * (mean.n / (mean.n - 1))
            found.append(mean_over(np.where(least.value == most.value, 0.0 * squares, squares), errors))
    return found


def _root(square: Influenced) -> Measure:
    with np.errstate(all="ignore"):
        root = np.sqrt(square.value)
        return estimate_with(Function(root, square.psi / (2 * root), square.n, square.errors), floor=0.0)


def _ratio(above: Influenced, below: Influenced) -> Function:
    with np.errstate(all="ignore"):
        ratio = above.value / below.value
        psi = (above.psi - ratio * below.psi) / below.value
    return Function(ratio, psi, above.n, above.errors)


def _reference_error(errors: Errors) -> Floats:
    return errors.reference - errors.true


def _mse_ratio(errors: Errors) -> Function:
    return _ratio(mean_over(errors.error**2, errors), mean_over(_reference_error(errors) ** 2, errors))


def _coverage(errors: Errors, shift: Mean | None = None) -> Measure:
    low, high = errors.support
    below = _all(errors, lambda: (errors.true == low) & (errors.lower > low))
    above = _all(errors, lambda: (errors.true == high) & (errors.upper < high))
    by = 0.0 if shift is None else shift.value
    inside = (errors.lower - by <= errors.true) & (errors.true <= errors.upper - by)
    return undefined(share_over(inside.astype(float), errors), below() | above(), BOUNDARY)


def _median(values: Floats, errors: Errors) -> Measure:
    seen = np.where(errors.present, values, np.nan)
    if errors.average:
        with np.errstate(all="ignore"):
            seen = np.where(errors.present, values, 0.0).sum(-1) / errors.present.sum(-1)
    n = errors.fold(np.add, lambda: np.isfinite(seen)).value
    middle, reach = (n - 1) / 2, Z95 * np.sqrt(n) / 2
    places = np.clip(np.stack([middle, middle - reach, middle + reach]), 0, np.maximum(n - 1, 0))  # from 0
    pair = np.stack([np.floor(places), np.ceil(places)]).astype(int)
    found = order_statistics(seen.reshape(len(seen), -1), pair.reshape(6, -1), np.atleast_1d(n), errors.folds)
    least, most = found.reshape(pair.shape)
    value, lower, upper = least + (places - pair[0]) * (most - least)
    mcse = np.where(n > 1, (upper - lower) / (2 * Z95), np.nan)[()]
    return estimate(value, mcse, n)._replace(lower=lower, upper=upper)
