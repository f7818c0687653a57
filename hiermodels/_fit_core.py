"""The posterior itself: its fields, its tables, its tree for ArviZ, and what it says of rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hiermodels._citations import bibtex
from hiermodels._fit_methods import methods
from hiermodels._fit_settings import FitSettings
from hiermodels._fit_words import probability, response_summary
from hiermodels.inference import describe
from hiermodels.inference.draws import Draws
from hiermodels.inference.response import check_scale
from hiermodels.models.layout import LevelLayout
from hiermodels.models.problem import Problem
from hiermodels.models.user import UserModel

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["FitCore", "check_prob"]


def check_prob(prob: float) -> None:
    """Refuse a probability that is none.

    Raises
    ------
    ValueError
    """
    if isinstance(prob, bool) or not isinstance(prob, (int, float)) or not 0 < prob < 1:
        raise ValueError(f"prob: expected a number between 0 and 1, found {prob!r}; e.g. prob=0.95")


@dataclass(frozen=True, repr=False, eq=False)
class FitCore:
    """What `hiermodels.fit.Fit` holds, whose docstring says what each attribute is, and what it says of rows."""

    model: Any
    data: pd.DataFrame
    settings: FitSettings
    draws: Draws
    diagnostics: pd.DataFrame
    status: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    problem: Problem | UserModel

    @property
    def _declared(self) -> Problem | None:
        """The problem of a declared model; None for a NumPyro function."""
        return self.problem if isinstance(self.problem, Problem) else None

    def summary(
        self, var_names: str | Sequence[str] | None = None, prob: float = 0.95, *, scale: str = "link"
    ) -> pd.DataFrame:
        """Mean, sd, median, equal-tailed interval and diagnostics, a row a scalar.

        Parameters
        ----------
        var_names : str or sequence of str, optional
            Variables to show; all by default.
        prob : float
            Probability of the interval.
        scale : str
            ``response`` has probabilities and rates in place of their logits and logarithms, and coefficients as odds
            or rate ratios: every draw is transformed, as `hiermodels.inference.response` says. A column ``is`` says
            what each row is. ``link`` shows what was estimated.

        Returns
        -------
        DataFrame
            Columns ``mean sd median eti95_lb eti95_ub ess_bulk ess_tail r_hat mcse_mean mcse_sd``, in ArviZ's
            names; NaN for a moment that does not exist (``warnings`` has the reason).

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.summary("sd_school").columns[:5].tolist()
        ['mean', 'sd', 'median', 'eti95_lb', 'eti95_ub']
        """
        import pandas as pd

        check_prob(prob)
        if check_scale(scale) == "response":
            return response_summary(self, self._chosen(var_names), prob)
        values = {name: self.draws.values[name] for name in self._chosen(var_names)}
        missing = self._declared.missing_moments if self._declared else {}
        named = describe.axes(values, self.problem)
        moments = describe.moments_table(values, named, prob, missing)
        table = pd.concat([moments, self.diagnostics.loc[moments.index]], axis=1)
        table.loc[table["mean"].isna(), "mcse_mean"] = np.nan
        table.loc[table["sd"].isna(), ["mcse_mean", "mcse_sd"]] = np.nan
        return table

    def probability(self, comparison: str, *, scale: str = "link") -> float | pd.DataFrame:
        """Posterior probability of a comparison in words.

        Parameters
        ----------
        comparison : str
            ``"theta_hospital > 0.15"``, ``"treated > 0"``, ``"theta_school[A] > theta_school[B] + 5"``, ``"-1 < treated
            < 1"``: sums of names of draws and numbers (``15%`` is 0.15) with ``> >= < <=`` between them. A name without
            a label stands for all its groups.
        scale : str
            Of the quantities: ``link``, or ``response`` (a logit becomes a probability; see `summary`).

        Returns
        -------
        float or DataFrame
            With groups, one row per group: ``probability`` and its Monte Carlo standard error ``mcse`` (NaN where all
            draws agree).

        Raises
        ------
        ValueError
            For a text that cannot be read, a name that is not there, and groups of different groupings.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> round(result.probability("Intercept > 0"), 1)
        0.9
        >>> result.probability("theta_school > Intercept")["probability"].idxmax()
        'A'
        """
        return probability(self, comparison, check_scale(scale))

    def methods_text(self) -> str:
        """One paragraph for a methods section: the model, its priors, how it was computed and how far off that may be.

        Every number and name comes from the fit; `citations` has the works in brackets.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.methods_text()[:97]
        "We fitted the model effect ~ 1 + (1 | school) (lme4's notation) to 8 rows in 8 groups of school; "
        """
        return methods(self)[0]

    def citations(self) -> str:
        """The works that `methods_text` cites, as BibTeX."""
        return bibtex(methods(self)[1])

    def _chosen(self, var_names: str | Sequence[str] | None) -> list[str]:
        if var_names is None:
            return list(self.draws.values)
        names = [var_names] if isinstance(var_names, str) else list(var_names)
        for name in names:
            if name not in self.draws.values:
                near = difflib.get_close_matches(str(name), self.draws.values, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"the variables are {', '.join(self.draws.values)}"
                raise ValueError(f"var_names: no variable {name!r}; {hint}")
        return names

    def to_datatree(self, *, predictive: bool = False, seed: int = 0, pointwise: bool | None = None) -> xr.DataTree:
        """Posterior, sample statistics, log likelihood, log prior and data with labels, for ArviZ.

        Parameters
        ----------
        predictive : bool
            Add ``posterior_predictive``: a replicated outcome of every row beside each draw.
        seed : int
            Of the replicated outcomes.
        pointwise : bool, optional
            Whether to add ``log_likelihood``, a number a draw and row; by default where it is not too large (50 million
            numbers).

        Returns
        -------
        DataTree
            Groups as `hiermodels.inference.datatree` lists them.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> sorted(result.to_datatree(predictive=True).children)[:3]
        ['constant_data', 'log_likelihood', 'log_prior']
        """
        from hiermodels.inference import datatree

        return datatree.to_datatree(
            self.draws, self.problem, self.data, predictive=predictive, seed=seed, pointwise=pointwise
        )

    def predict(
        self,
        new_data: pd.DataFrame | None = None,
        groups: str = "existing",
        kind: str = "mean",
        seed: int = 0,
    ) -> xr.DataTree:
        """Predict rows: of groups in the data, of groups not in it, or of their average.

        Parameters
        ----------
        new_data : DataFrame, optional
            Rows to predict, with the columns of the formula's right side; by default the fitted ones.
        groups : str
            ``existing``: every label is in the data. ``new``: groups that are not in the data are drawn from
            the population, a new class in a known school from that school; rows that share a label share a
            group, without the column each row has a group of its own. ``average``: over the groups in the
            data, each combination of labels counted once.
        kind : str
            ``mean``: the mean of a row's outcome (binomial: the probability; Poisson: the rate). ``outcome``:
            one observation, which needs the columns of its standard error, weight, trials or exposure.
        seed : int
            Same seed, same predictions.

        Returns
        -------
        DataTree
            ``predictions`` with the outcome's name, dimensions (chain, draw, obs), and
            ``predictions_constant_data``.

        Examples
        --------
        >>> import hiermodels as hm, pandas as pd
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> new = result.predict(pd.DataFrame({"school": ["I"], "se": [15.0]}), groups="new", kind="outcome")
        >>> new.predictions["effect"].dims
        ('chain', 'draw', 'obs')
        """
        from hiermodels.inference.datatree import predictions_tree
        from hiermodels.inference.predict import predict

        if self._declared is None:
            raise ValueError(
                "predict: expected a fit of hm.Model, found one of a function; use numpyro.infer.Predictive"
            )
        values = predict(self.draws.values, self._declared, self.data, new_data, groups=groups, kind=kind, seed=seed)
        return predictions_tree(values, self._declared, self.data if new_data is None else new_data)

    def fitted(self, prob: float = 0.95) -> pd.DataFrame:
        """The mean of each fitted row's outcome given its groups, with its uncertainty.

        On the outcome's own scale: for counts the trials or the exposure times the probability or rate, so that ``y -
        fitted`` are the residuals. `predict` has the probabilities and rates themselves.

        Parameters
        ----------
        prob : float
            Probability of the interval.

        Returns
        -------
        DataFrame
            Columns ``mean sd median eti95_lb eti95_ub``, a row a row of the data, with its index.

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> result.fitted().shape
        (8, 5)
        """
        from hiermodels.inference import residuals

        problem = self._needs_model("fitted")
        check_prob(prob)
        return residuals.fitted(self.draws.values, problem, self.data, prob)

    def residuals(self, kind: str = "raw", prob: float = 0.95) -> pd.DataFrame:
        """What each fitted row's outcome is above its mean given its groups, with its uncertainty.

        Parameters
        ----------
        kind : str
            ``raw``: ``y - mean``. ``standardised``: that divided by the sd of an outcome given the draws (Pearson
            residuals: Gelman & Hill 2007, section 6.2), which is about one in size where the model holds.
        prob : float
            Probability of the interval.

        Returns
        -------
        DataFrame
            Columns ``mean sd median eti95_lb eti95_ub``, a row a row of the data, with its index.

        Raises
        ------
        ValueError
            For another kind, and for standardised residuals of an outcome without a variance (a t law with at most two
            degrees of freedom in some draw).

        Examples
        --------
        >>> import hiermodels as hm
        >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se")
        >>> result = hm.fit(model, hm.load_dataset("eight_schools"), sampler="exact", progress=False)
        >>> bool((result.residuals("standardised")["mean"].abs() < 2).all())
        True
        """
        from hiermodels.inference import residuals

        problem = self._needs_model("residuals")
        check_prob(prob)
        return residuals.residuals(self.draws.values, problem, self.data, kind, prob)

    def refit(self, priors: Any = None, data: pd.DataFrame | None = None, **settings: Any) -> Any:
        """Fit again; see `hiermodels.fit.Fit.refit`."""
        raise NotImplementedError

    def _needs_model(self, what: str) -> Problem:
        """The problem of a declared model.

        Raises
        ------
        ValueError
            For a fit of a NumPyro function.
        """
        if self._declared is None:
            raise ValueError(f"{what}: expected a fit of hm.Model, found one of a function; declare the model")
        return self._declared

    def _level(self, level: str | None, what: str) -> LevelLayout:
        """The grouping of this name, by default the finest."""
        levels = {found.name: found for found in self._needs_model(what).layout.levels}
        if not levels:
            raise ValueError(f"{what}: expected a model with a group term, found none; add (1 | group)")
        if level is not None and level not in levels:
            raise ValueError(
                f"level: expected one of {', '.join(levels)}, found {level!r}; name a grouping of the model"
            )
        return levels[level] if level else list(levels.values())[-1]

    def _point(self, name: str) -> np.ndarray:
        """Posterior mean, or the median where that does not exist."""
        missing = self._declared.missing_moments if self._declared else {}
        point = np.median if missing.get(name) == "mean" else np.mean
        return point(self.draws.values[name], axis=(0, 1))
