"""Is the fit to be trusted, does the model describe the data, how well does it predict?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels._fit_core import FitCore
from hiermodels.models.user import UserModel

if TYPE_CHECKING:
    import pandas as pd

    from hiermodels.inference.diagnosis import Diagnosis
    from hiermodels.inference.leave_out import LeaveOut
    from hiermodels.inference.predictive_check import PredictiveCheck
    from hiermodels.models.problem import Problem

__all__ = ["Checks", "compare"]


class Checks(FitCore):
    """Diagnostics, posterior predictive checks, cross-validation."""

    def diagnose(self) -> Diagnosis:
        """Divergences, R-hat, effective sizes and energy in one table, with plain advice.

        Returns
        -------
        Diagnosis
            ``table`` (a row a check: value, limit, ok, where), ``advice``, ``ok``; prints itself. Independent draws
            have nothing to converge: of theirs only finiteness is checked.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False).diagnose()
        Diagnosis(status='ok', ok=True)
        """
        from hiermodels.inference.diagnosis import diagnose

        return diagnose(self.draws, self.diagnostics, self.status, self.warnings, self.settings.target_accept)

    def check(
        self, statistic: str | Callable[[np.ndarray], Any] = "max", *, groups: str = "existing", seed: int = 0
    ) -> PredictiveCheck:
        """Posterior predictive check: is a statistic of the outcomes usual among outcomes replicated from the model?

        Parameters
        ----------
        statistic : str or callable
            ``max min mean median sd range zeros`` (share of zeros), or a function of one dataset's outcomes, shape
            (row,), that gives a number.
        groups : str
            ``existing`` replicates the rows of the same groups, ``new`` those of new groups from the population.
        seed : int
            Same seed, same replicates.

        Returns
        -------
        PredictiveCheck
            ``observed``, ``replicated`` (chain, draw), ``p_value``, the mid-p P(T(y_rep) > T(y) | y) + P(T(y_rep) =
            T(y) | y) / 2, ``mcse``; prints itself.

        Raises
        ------
        ValueError
            For a statistic that is unknown or gives no number.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> 0.2 < result.check("max").p_value < 0.8
        True
        """
        from hiermodels.inference.predict import predict
        from hiermodels.inference.predictive_check import check

        problem = self._needs_model("check")
        replicated = predict(self.draws.values, problem, self.data, None, groups=groups, kind="outcome", seed=seed)
        return check(statistic, np.asarray(problem.data.y)[: len(self.data)], replicated)

    def loo(self, **options: Any) -> Any:
        """Leave-one-out log predictive density by rows: Pareto-smoothed importance sampling, as `arviz.loo` computes
        it.

        Parameters
        ----------
        **options
            Of `arviz.loo`, e.g. ``pointwise``.

        Returns
        -------
        ELPDData
            ``elpd se p pareto_k``.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> int(result.loo().n_data_points)
        8
        """
        import arviz as az

        return az.loo(self.to_datatree(pointwise=True), **options)

    def leave_one_group_out(self, level: str | None = None, refit: bool | None = None) -> LeaveOut:
        """How well the other groups predict all rows of a group together, each group in turn.

        ``log p(y_j | y_-j)``, the group's own deviation integrated out exactly; what lies above it is reweighted from
        the posterior given all data with Pareto-smoothed ratios, and where their shape k is too high the model is
        fitted again without the group.

        Parameters
        ----------
        level : str, optional
            Grouping; by default the finest.
        refit : bool, optional
            True fits again without every group, False without none; by default where the ratios are not to be trusted.

        Returns
        -------
        LeaveOut
            ``table`` (a row a group: elpd, mcse, pareto_k, refitted, rows), ``elpd se p``; prints itself.

        Raises
        ------
        ValueError
            For groups that are not pooled, crossed groupings, and families whose groups do not integrate out.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(10)"})
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.leave_one_group_out().table["refitted"].any()
        np.False_
        """
        from hiermodels.inference.leave_out import leave_one_group_out

        problem = self._needs_model("leave_one_group_out")
        found = self._level(level, "leave_one_group_out")
        if refit not in (None, True, False):
            raise ValueError(f"refit: expected True, False or None, found {refit!r}; give one of them")
        return leave_one_group_out(
            self.draws.values, problem, self.data, found, self._without, force=refit, independent=self.draws.independent
        )

    def _without(self, frame: pd.DataFrame) -> tuple[Mapping[str, Any], Problem]:
        """Draws and problem of the same model and priors on fewer rows."""
        import pandas as pd

        for name in frame.columns:
            if isinstance(frame[name].dtype, pd.CategoricalDtype):
                frame = frame.assign(**{name: frame[name].cat.remove_unused_categories()})
        again = self.refit(data=frame, progress=False)
        return again.draws.values, again.problem


def compare(fits: Mapping[str, Any], criterion: str = "rows", level: str | None = None, **options: Any) -> pd.DataFrame:
    """Order fits of the same outcomes by how well they predict what they have not seen.

    Parameters
    ----------
    fits : mapping of str to Fit
        Name to fit, all of the same rows.
    criterion : str
        ``rows``: leave-one-out, a row at a time. ``groups``: leave-one-group-out, all rows of a group at a time.
    level : str, optional
        Grouping of ``groups``; by default each fit's finest.
    **options
        Of `arviz.compare`, e.g. ``method``.

    Returns
    -------
    DataFrame
        ArviZ's comparison, best first: ``rank elpd_diff dse ... p elpd se weight``.

    Raises
    ------
    ValueError
        For fits of different outcomes or groupings, an unknown criterion, fewer than two fits.

    Examples
    --------
    >>> import hiermodels as hm
    >>> schools = hm.load_dataset("eight_schools")
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
    >>> fits = {word: hm.fit(model, schools, pooling=word, sampler="exact", progress=False) for word in ("complete", "partial")}
    >>> sorted(hm.compare(fits).index)
    ['complete', 'partial']
    """  # noqa: E501
    import arviz as az

    if criterion not in ("rows", "groups"):
        raise ValueError(f"criterion: expected rows or groups, found {criterion!r}; use one of them")
    if not isinstance(fits, Mapping) or len(fits) < 2:
        raise ValueError(
            "fits: expected a mapping of name to fit with at least two, e.g. {'partial': fit1, 'complete': fit2}"
        )
    for name, found in fits.items():
        if not isinstance(found, Checks):
            raise ValueError(f"fits: {name}: expected a fit, found {type(found).__name__}; use hm.fit(...)")
    _same_outcomes(fits)
    if criterion == "rows":
        return az.compare({name: found.loo(pointwise=True) for name, found in fits.items()}, **options)
    left = {name: found.leave_one_group_out(level) for name, found in fits.items()}
    first, labels = next((name, list(one.table.index)) for name, one in left.items())
    for name, one in left.items():
        if list(one.table.index) != labels:
            raise ValueError(f"level: {name} and {first} leave out different groups; name one level that both have")
    return az.compare({name: one.as_elpd() for name, one in left.items()}, **options)


def _same_outcomes(fits: Mapping[str, Any]) -> None:
    """Refuse densities of different things."""
    columns = {name: found.data[_outcome(found)] for name, found in fits.items()}
    first, y = next(iter(columns.items()))
    for name, here in columns.items():
        if here.name != y.name or not np.array_equal(here.to_numpy(), y.to_numpy()):
            raise ValueError(
                f"fits: {name} and {first} have different outcomes, so their densities do not compare; fit both to "
                f"the same rows"
            )


def _outcome(found: Checks) -> str:
    """Name of the outcome's column."""
    return found.problem.outcome if isinstance(found.problem, UserModel) else found.model.outcome
