"""Leaving out one group at a time: how well the others predict all of a group's rows together.

    log p(y_j | y_-j) = log of the integral of p(y_j | phi) p(phi | y_-j) dphi

``phi`` is everything but the group: hyperparameters, coefficients, its parent's value, crossed groups. ``p(y_j |
phi)``, the group's own deviation integrated out, is in closed form for normal outcomes in nested groups and for beta
and gamma populations, else a sum over places of one deviation (`hiermodels.inference.group_integral`), so that only
``phi`` has to be reweighted from the posterior given all data to that given the others, with ratios ``1 / p(y_j |
phi)``: few dimensions, steady weights (Vehtari et al. 2016, Journal of Machine Learning Research 17 (103); Merkle, Furr
& Rabe-Hesketh 2019, Psychometrika 84, 802-829). The ratios are Pareto-smoothed (Vehtari et al. 2024, Journal of Machine
Learning Research 25 (72)); where their shape ``k`` is too high, the model is fitted again without the group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from scipy import special

from hiermodels.inference.count_groups import count_log_likelihood, unit_level
from hiermodels.inference.describe import group_values
from hiermodels.inference.diagnostics import ess_mean
from hiermodels.inference.group_integral import integrated_log_likelihood, why_not
from hiermodels.inference.group_messages import flat_draws, group_log_likelihood
from hiermodels.inference.log_priors import mean_variances
from hiermodels.models.layout import LevelLayout
from hiermodels.models.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LeaveOut", "leave_one_group_out", "log_predictive"]

Values = Mapping[str, Any]
Refit = Callable[[Any], tuple[Values, Problem]]
"""Rows to draws and problem of the same model on them."""


@dataclass(frozen=True, repr=False)
class LeaveOut:
    """Leave-one-group-out log predictive densities.

    Attributes
    ----------
    level : str
        Grouping.
    table : DataFrame
        A row a group: ``elpd`` (log p(y_j | y_-j)), ``mcse`` (its Monte Carlo error), ``pareto_k`` (shape of the
        importance ratios; NaN where they were not needed), ``refitted``, ``rows``.
    elpd, se : float
        Sum over groups, and sqrt(J var_j) as its standard error.
    p : float
        Effective number of parameters: the log density of groups that are in the data, less ``elpd``.
    good_k : float
        Shape above which ratios are not trusted.
    draws : int
    """

    level: str
    table: pd.DataFrame
    elpd: float
    se: float
    p: float
    good_k: float
    draws: int

    def as_elpd(self) -> Any:
        """The same for ArviZ: an ``ELPDData`` whose points are groups, for ``arviz.compare``."""
        import xarray as xr
        from arviz_stats.utils import ELPDDataLOO

        def by_group(column: pd.Series) -> xr.DataArray:
            return xr.DataArray(column.to_numpy(), dims=["group"], coords={"group": list(self.table.index)})

        shapes = self.table["pareto_k"].where(~self.table["refitted"], 0.0)
        return ELPDDataLOO(
            elpd=self.elpd,
            se=self.se,
            p=self.p,
            n_samples=self.draws,
            n_data_points=len(self.table),
            scale="log",
            warning=bool((shapes > self.good_k).any()),
            good_k=self.good_k,
            elpd_i=by_group(self.table["elpd"]),
            pareto_k=by_group(shapes),
        )

    def __repr__(self) -> str:
        return f"LeaveOut({self.level!r}, groups={len(self.table)}, elpd={self.elpd:.4g}, se={self.se:.3g})"

    def __str__(self) -> str:
        shown = self.table.to_string(float_format="{:.4g}".format, max_rows=40)
        return f"leave-one-{self.level}-out: elpd = {self.elpd:.2f}, se = {self.se:.2f}, p = {self.p:.2f}\n\n{shown}"


def log_predictive(values: Values, problem: Problem, i: int) -> np.ndarray:
    """Log density of each group's rows given what lies above it, its own deviation integrated out; (chain, draw,
    group).
    """
    flat, shape = flat_draws(values), next(iter(values.values())).shape[:2]
    if problem.layout.gaussian and problem.layout.nested:
        found = group_log_likelihood(flat, problem, i)
    elif problem.layout.normal_groups:
        found = integrated_log_likelihood(flat, problem, i)
    else:
        found = count_log_likelihood(flat, problem)
    return found.reshape(*shape, -1)


def leave_one_group_out(
    values: Values,
    problem: Problem,
    frame: pd.DataFrame,
    level: LevelLayout,
    refit: Refit,
    *,
    force: bool | None = None,
    independent: bool = False,
) -> LeaveOut:
    """Predict each group of a level from the others; see `hiermodels.fit.Fit.leave_one_group_out`.

    Parameters
    ----------
    values : mapping of str to ndarray
        Draws by variable, (chain, draw, *dims).
    problem : Problem
    frame : DataFrame
        The rows that were fitted.
    level : LevelLayout
    refit : callable
        Rows to draws and problem of the same model, with the same priors, on them.
    force : bool or None
        True fits again without every group, False without none, None where the ratios are not to be trusted.
    independent : bool
        Whether draws are independent.
    """
    import pandas as pd

    i = _check(problem, level)
    inside = log_predictive(values, problem, i)
    shape, labels = inside.shape[:2], problem.labels[level.name]
    good = min(1 - 1 / np.log10(shape[0] * shape[1]), 0.7)
    found = _reweighted(inside, _prior_ratios(values, problem, i), independent)
    again = (
        np.full(len(labels), True) if force else found[:, 2] > good if force is None else np.full(len(labels), False)
    )
    if again.any():
        _check_columns(problem)
    member = _members(problem, i, len(frame))
    for j in np.flatnonzero(again):
        drawn, other = refit(frame[member != j])
        found[j] = *_refitted(drawn, other, problem, i, int(j), independent), np.nan if force else found[j, 2]
    table = pd.DataFrame(found, index=labels, columns=["elpd", "mcse", "pareto_k"])
    table["refitted"], table["rows"] = again, np.bincount(member, minlength=len(labels))
    elpd = float(table["elpd"].sum())
    in_sample = special.logsumexp(inside.reshape(-1, len(labels)), axis=0) - np.log(shape[0] * shape[1])
    se = float(np.sqrt(len(labels) * table["elpd"].var(ddof=1)))  # as of rows, in `loo`
    return LeaveOut(level.name, table, elpd, se, float(in_sample.sum() - elpd), float(good), shape[0] * shape[1])


def _check(problem: Problem, level: LevelLayout) -> int:
    layout = problem.layout
    i = layout.levels.index(level)
    here = [v.pooling for v in layout.levels[i:]]
    if level.pooling == "none" or "none" in here:
        raise ValueError(
            f"level: {level.name} is not pooled, so the others tell nothing about a {level.name}; fit with partial "
            f"pooling"
        )
    if len(problem.labels[level.name]) < 2:
        raise ValueError(
            f"level: expected at least two groups of {level.name}, found one; there is nothing to predict it from"
        )
    if layout.gaussian and layout.nested:
        return i
    if layout.normal_groups:
        why = why_not(problem, i)
        if why:
            what = "crossed groupings" if not layout.nested else f"family {layout.family}"
            raise ValueError(
                f"leave_one_group_out: {what}: the deviations of {level.name} are integrated one by one, but {why}; "
                f"use fit.loo() for rows"
            )
        return i
    if i != unit_level(problem):
        unit = unit_level(problem)
        ways = f"use level={layout.levels[unit].name!r}" if unit is not None else "fit with partial pooling"
        raise ValueError(f"level: rates integrate out at their finest pooled grouping, found {level.name}; {ways}")
    return i


def _members(problem: Problem, i: int, rows: int) -> np.ndarray:
    """Place of each row's group among the labels of level i."""
    return problem.tree.group[i][:rows]


def _prior_ratios(values: Values, problem: Problem, i: int) -> np.ndarray | float:
    """Log ratio of the prior without each group to that with it, up to a constant; (chain, draw, group).

    A prior of known variances depends on the groups there are: its sums lose the group's own terms.
    """
    found = next((p for p in problem.layout.parameters if p.prior.of_variances), None)
    if found is None:
        return 0.0
    tau = np.asarray(values[found.name], float)[..., None]
    weight = 1 / (mean_variances(problem) + tau**2)
    owner = problem.tree.owner(len(problem.layout.levels) - 1, i)  # ascending, as groups are stored parent by parent
    total: np.ndarray | float = 0.0
    for k in found.prior.variance_powers:
        own = np.add.reduceat(weight**k, np.searchsorted(owner, np.arange(owner[-1] + 1)), axis=-1)
        total = total + 0.5 * np.log1p(-own / own.sum(-1, keepdims=True))
    return total


def _reweighted(inside: np.ndarray, prior: np.ndarray | float, independent: bool) -> np.ndarray:
    """Log predictive density, its Monte Carlo error and the shape k of each group's ratios; (group, 3)."""
    from arviz_stats.base import array_stats

    groups = inside.shape[-1]
    prior = np.broadcast_to(prior, inside.shape)
    efficiency = np.ones(groups) if independent else _efficiency(inside)
    found = np.empty((groups, 3))
    for j in range(groups):
        ll = inside[..., j].reshape(-1)
        ratio = prior[..., j].reshape(-1) - ll
        if np.ptp(ratio) < 1e-12:  # nothing above the group is unknown
            found[j] = special.logsumexp(ll) - np.log(ll.size), 0.0, np.nan
            continue
        log_weight, k = array_stats.psislw(-ratio, r_eff=float(efficiency[j]))
        log_weight = log_weight - special.logsumexp(log_weight)
        elpd = special.logsumexp(log_weight + ll)
        relative = np.exp(2 * log_weight) * np.expm1(ll - elpd) ** 2
        found[j] = elpd, np.sqrt(relative.sum() / efficiency[j]), k
    return found


def _refitted(
    values: Values, other: Problem, problem: Problem, i: int, j: int, independent: bool
) -> tuple[float, float]:
    """Log predictive density of a group under a fit without it, and its Monte Carlo error."""
    if other.layout.columns != problem.layout.columns:
        raise ValueError(
            f"leave_one_group_out: without {problem.labels[problem.layout.levels[i].name][j]!r} a category of a "
            f"predictor has no row; "
            "use refit=False, or code the predictor as numbers"
        )
    ll = log_predictive(_with_places(values, other, problem), problem, i)[..., j]
    if not np.isfinite(ll).all():
        raise ValueError(
            f"leave_one_group_out: without {problem.labels[problem.layout.levels[i].name][j]!r} a group of another "
            f"level has no row left; "
            "use refit=False, or leave out that level's groups"
        )
    size = ll.size
    elpd = float(special.logsumexp(ll) - np.log(size))
    efficiency = 1.0 if independent else float(_efficiency(ll[..., None])[0])
    return elpd, float(np.sqrt(np.mean(np.expm1(ll - elpd) ** 2) / (size * efficiency)))


def _with_places(values: Values, other: Problem, problem: Problem) -> dict[str, np.ndarray]:
    """Draws of groups in the order of the whole problem; NaN for those that are not there."""
    found = dict(values)
    for name, grouping in group_values(other.layout).items():
        place = {label: k for k, label in enumerate(other.labels[grouping])}
        at = np.array([place.get(label, -1) for label in problem.labels[grouping]])
        if name in values:
            found[name] = np.where(at < 0, np.nan, np.asarray(values[name], float)[..., at])
    return found


def _check_columns(problem: Problem) -> None:
    if any(side.uses("standardise") for side in problem.model.parsed.sides):
        raise ValueError(
            "leave_one_group_out: standardise(...) changes with the rows, so fits without a group code their "
            "predictors otherwise; "
            "standardise the column before fitting, or use refit=False"
        )


def _efficiency(ll: np.ndarray) -> np.ndarray:
    """Effective draws a draw of each group's likelihood; (group,)."""
    size = ll.shape[0] * ll.shape[1]
    blocks: Sequence[np.ndarray] = np.array_split(ll, max(1, ll.shape[-1] // 64), axis=-1)
    with jax.enable_x64(True):
        parts = [np.asarray(ess_mean(np.exp(part - part.max((0, 1))))) for part in blocks]
    found = np.concatenate(parts) / size
    return np.where(np.isfinite(found), np.minimum(found, 1.0), 1.0)
