"""Maximum likelihood and REML of one model on one table: `estimate` gives an `Estimate`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from hiermodels._estimate_checks import check_arguments, check_groups, said_of
from hiermodels._fit_settings import as_frame
from hiermodels._forks import refuse_fork
from hiermodels.inference.mixed.hypotheses import Hypotheses
from hiermodels.inference.mixed.identified import check_identified
from hiermodels.inference.mixed.linear import Linear, weights_of
from hiermodels.inference.mixed.linked import linked_maximum
from hiermodels.inference.mixed.maximum import Maximum, at_maximum
from hiermodels.inference.mixed.modes import Modes, modes
from hiermodels.inference.mixed.products import cross_products
from hiermodels.inference.mixed.profile_table import profile_table
from hiermodels.inference.mixed.ratios import Fitted, compare
from hiermodels.inference.mixed.shape import shape_of
from hiermodels.inference.mixed.tables import summary_table, theta_table
from hiermodels.models.cells import with_cells
from hiermodels.models.data import bind
from hiermodels.models.layout import Layout
from hiermodels.models.problem import Problem, as_jax
from hiermodels.models.spec import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

__all__ = ["Estimate", "estimate"]


def estimate(
    model: Model, data: pd.DataFrame, *, method: str = "reml", nodes: int | None = None, level: float = 0.95
) -> Estimate:
    """Maximise the (restricted) likelihood of a normal model: nested and crossed groups, intercepts and slopes, known
    variances or not.

    Coefficients and sigma are profiled out, the likelihood is maximised over the relative Cholesky factors of the group
    terms (Bates, Maechler, Bolker & Walker 2015, Journal of Statistical Software 67(1)), from cross products of the
    rows. Priors are not used.

    Parameters
    ----------
    model : Model
        Of family ``normal``; or, with ``method="ml"``, of a link-scale family with one ``(1 | g)``.
    data : DataFrame
        One row per observation.
    method : str
        ``reml`` or ``ml``.
    nodes : int, optional
        Gauss-Hermite nodes of link-scale families, 1 for Laplace's approximation; by default the exact engine's rule. A
        normal model has none.
    level : float
        Of the intervals.

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        Argument, column or row: what was expected, what was found, what to do.

    Examples
    --------
    >>> import hiermodels as hm
    >>> found = hm.estimate(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools"))
    >>> found.status, round(float(found.summary().loc["Intercept", "estimate"]), 4)
    ('singular', 7.6856)
    """
    refuse_fork("estimate")
    check_arguments(model, method, nodes, level)
    frame = as_frame(data)
    problem = bind(model, frame, priors=False, pad=False)
    check_groups(model, problem)
    check_identified(problem)
    layout, arrays = with_cells(problem.layout, problem.data)
    problem = replace(problem, layout=layout, data=arrays)
    with jax.enable_x64(True):
        found, values = jax.tree.map(np.asarray, _program(layout, method == "reml", nodes)(as_jax(arrays)))
    return Estimate(model, frame, method, level, problem, found, values, _status(found), said_of(model, problem, found))


@lru_cache(maxsize=64)
def _program(layout: Layout, restricted: bool, nodes: int | None) -> Callable[..., tuple[Maximum, tuple[Modes, ...]]]:
    if not layout.gaussian:
        return jax.jit(linked_maximum(layout, nodes))
    shape = shape_of(layout)

    def run(data: Any) -> tuple[Maximum, tuple[Modes, ...]]:
        products = cross_products(shape, data)
        found = at_maximum(shape, restricted, products)
        return found, modes(shape, products, data, found.theta, found.variance)

    return jax.jit(run)


def _status(found: Maximum) -> str:
    return "no_convergence" if not found.converged else "singular" if found.singular else "ok"


@dataclass(frozen=True, repr=False, eq=False)
class Estimate:
    """Estimates by REML or maximum likelihood, and tests with them.

    Attributes
    ----------
    model : Model
    data : DataFrame
    method : str
        ``reml`` or ``ml``.
    level : float
        Of the intervals.
    problem : Problem
        The model bound to the data.
    maximum : Maximum
        The numbers as arrays.
    values : tuple of Modes
        Groups' values of each level.
    status : str
        ``ok``; ``singular``: the maximum lies where a variance is 0 or a correlation 1 in size, numbers are given;
        ``no_convergence``: no maximum was found, numbers are NaN.
    warnings : tuple of str
        What deserves a word.
    """

    model: Model
    data: pd.DataFrame
    method: str
    level: float
    problem: Problem
    maximum: Maximum
    values: tuple[Modes, ...] = field(repr=False)
    status: str
    warnings: tuple[str, ...]

    @property
    def deviance(self) -> float:
        """-2 log likelihood, all constants included; of REML the criterion, as lme4 has it.

        metafor adds log|X'X| / 2 to the restricted log likelihood, so that its -2 log L is smaller by log|X'X|.
        """
        return float(self.maximum.deviance)

    @property
    def log_likelihood(self) -> float:
        """Log (restricted) likelihood, all constants included."""
        return -self.deviance / 2

    @property
    def parameters(self) -> int:
        """Coefficients, variances and covariances that were estimated."""
        return len(self._names) + shape_of(self.problem.layout).dim + (self.problem.layout.residual_sd is not None)

    @property
    def _names(self) -> tuple[str, ...]:
        layout = self.problem.layout
        return tuple(layout.columns[c] for c in layout.population)

    @cached_property
    def _linear(self) -> Linear:
        return Linear(self.problem, self.maximum, self.method == "reml", self.level)

    def summary(self) -> pd.DataFrame:
        """Every parameter and group value.

        Coefficients: generalised least squares, (X'V^-1X)^-1, Satterthwaite's degrees of freedom (infinite, that is
        normal intervals, for maximum likelihood and known variances). Group sds, sigma: delta method, intervals on the
        log scale; correlations: on Fisher's z; without either at a boundary (`profile` has intervals there too).
        Groups: see `theta`.

        Returns
        -------
        DataFrame
            Columns ``estimate se df lower upper``, one row per scalar, named as in a fit's summary.

        Examples
        --------
        >>> import hiermodels as hm
        >>> found = hm.estimate(hm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)"), hm.load_dataset("penicillin"))
        >>> found.summary()["estimate"].round(4).to_dict()["sd_plate"], round(found.deviance, 4)
        (0.8467, 330.8606)
        """
        _, se, df = self._linear.combinations(np.eye(len(self._names)), "satterthwaite")
        return summary_table(self.problem, self.maximum, self.values, se, df, self.level)

    def theta(self, level: str | None = None) -> pd.DataFrame:
        """Groups' values (best linear unbiased predictions) and their own deviations.

        Parameters
        ----------
        level : str, optional
            Grouping, e.g. ``school``; by default the finest.

        Returns
        -------
        DataFrame
            ``estimate se lower upper`` of theta, population coefficient and deviations together; ``mode``, the own
            deviation u alone, with ``mode_se``, its standard error of prediction (metafor's ``ranef``), and
            ``conditional_sd``, its sd given the coefficients (lme4's ``condVar``). Given the variances, whose error is
            not in them.

        Examples
        --------
        >>> import hiermodels as hm
        >>> found = hm.estimate(hm.Model("diameter ~ 1 + (1 | plate) + (1 | sample)"), hm.load_dataset("penicillin"))
        >>> found.theta("sample")["mode"].round(3).tolist()
        [2.187, -1.01, 1.938, -0.097, -0.014, -3.004]
        """
        names = [here.name for here in self.problem.layout.levels]
        if not names:
            raise ValueError("theta: expected a model with a group term, found none; add (1 | group)")
        if level is not None and level not in names:
            raise ValueError(
                f"level: expected one of {', '.join(names)}, found {level!r}; name a grouping of the model"
            )
        return theta_table(self.problem, self.values, level or names[-1], self.level)

    def profile(self, parameters: str | list[str] | None = None) -> pd.DataFrame:
        """Profile likelihood intervals of the group sds, correlations and sigma.

        All values c for which the best fit with that value has a deviance of at most the least plus the chi-square
        quantile of ``level``; of REML, the restricted likelihood is profiled, as metafor does (lme4 profiles the
        ordinary one).

        Parameters
        ----------
        parameters : str or list of str, optional
            Rows of the summary, e.g. ``sd_school``; all of these by default.

        Returns
        -------
        DataFrame
            Columns ``estimate lower upper``.

        Examples
        --------
        >>> import hiermodels as hm
        >>> found = hm.estimate(hm.Model("effect ~ 1 + (1 | school)", known_se="se"), hm.load_dataset("eight_schools"))
        >>> found.profile()["upper"].round(2).tolist()
        [15.16]
        """
        if not self.problem.layout.gaussian:
            raise ValueError(
                f"profile: expected family normal, found {self.model.family}; summary() has delta-method intervals"
            )
        return profile_table(self.problem, self.maximum, self.method == "reml", self.level, parameters)

    def test(self, term: str | None = None, ddf: str = "satterthwaite") -> pd.DataFrame:
        """F tests that terms have no effect: of a factor all its contrasts jointly.

        A term within an interaction is tested averaged over the labels of the others, each with the same weight (type
        III), whatever the reference labels; a coefficient's name tests that coefficient.

        Parameters
        ----------
        term : str, optional
            A term of the formula, e.g. ``recipe`` or ``recipe:temp``, or a coefficient; by default every term.
        ddf : str
            ``satterthwaite``; ``kenward-roger`` (its covariance too); ``residual``: n - p; ``hksj``: n - p and the
            covariance times the weighted residual variance, for known variances; ``normal``: infinite, Wald's
            chi-square over its degrees of freedom. The first applies to REML with an unknown sigma: for maximum
            likelihood and known variances it is ``normal``.

        Returns
        -------
        DataFrame
            Columns ``F ndf ddf p``, one row per term.

        Examples
        --------
        >>> import hiermodels as hm
        >>> growth = hm.load_dataset("growth")
        >>> found = hm.estimate(hm.Model("weight ~ 1 + day + (1 + day | rat)"), growth)
        >>> found.test("day")["ddf"].round(2).tolist()
        [29.0]
        """
        import pandas as pd

        names = self._hypotheses.tested if term is None else [term]
        found = {name: self._linear.joint(self._hypotheses.rows(name), ddf) for name in names}
        return pd.DataFrame.from_dict(found, orient="index", columns=["F", "ndf", "ddf", "p"])

    def contrast(self, weights: Mapping[str, Any], ddf: str = "satterthwaite") -> pd.DataFrame:
        """Linear combinations of coefficients with their t tests.

        Parameters
        ----------
        weights : mapping
            Coefficient to weight, ``{"arm[b]": 1, "arm[c]": -1}``; or name to such a mapping, for several.
        ddf : str
            As in `test`.

        Returns
        -------
        DataFrame
            Columns ``estimate se df t p lower upper``, one row per contrast.

        Examples
        --------
        >>> import hiermodels as hm
        >>> found = hm.estimate(hm.Model("weight ~ 1 + day + (1 + day | rat)"), hm.load_dataset("growth"))
        >>> found.contrast({"a week": {"day": 7}})["estimate"].round(3).tolist()
        [43.3]
        """
        wanted, rows = weights_of(weights, self._names)
        return self._linear.table(wanted, rows, ddf)

    def marginal_means(self, term: str, ddf: str = "satterthwaite") -> pd.DataFrame:
        """Means of a factor's labels, averaged over the labels of all other factors with equal weights, numbers at
        their means.

        Searle, Speed & Milliken (1980), The American Statistician 34, 216-221 ("least-squares means").

        Parameters
        ----------
        term : str
            A term of labels.
        ddf : str
            As in `test`.

        Returns
        -------
        DataFrame
            Columns ``estimate se df t p lower upper``, one row per label.
        """
        names, rows = self._hypotheses.means(term)
        return self._linear.table(names, rows, ddf)

    def likelihood_ratio(self, other: Estimate) -> pd.DataFrame:
        """The likelihood ratio test against a model with fewer (or more) parameters, one nested in the other.

        Parameters
        ----------
        other : Estimate
            Of the same rows by the same method. Two REML fits must have the same coefficients.

        Returns
        -------
        DataFrame
            One row: ``statistic df p reference``; ``reference`` says which law the p-value is from: chi-square, or,
            where one variance (with its k covariances) is zero in the smaller model, half chi-square with k and half
            with k + 1 degrees of freedom (Self & Liang 1987, Journal of the American Statistical Association 82,
            605-610; Stram & Lee 1994, Biometrics 50, 1171-1177).

        Raises
        ------
        ValueError
            For fits that do not compare: of other rows, families or methods, or not nested.

        Examples
        --------
        >>> import hiermodels as hm
        >>> growth = hm.load_dataset("growth")
        >>> line, slopes = (hm.estimate(hm.Model(f"weight ~ 1 + day + ({g} | rat)"), growth) for g in ("1", "1 + day"))
        >>> slopes.likelihood_ratio(line)["reference"].tolist()
        ['half chi-square(1), half chi-square(2): a variance is zero in the smaller model']
        """
        import pandas as pd

        if not isinstance(other, Estimate):
            raise ValueError(
                f"likelihood_ratio: expected an estimate of hm.estimate, found {type(other).__name__}; estimate both "
                f"models"
            )
        return pd.DataFrame([compare(self._fitted, other._fitted)], columns=["statistic", "df", "p", "reference"])

    @property
    def _fitted(self) -> Fitted:
        return Fitted(self.problem, self.method, bool(self.maximum.converged), self.deviance, self.parameters)

    @cached_property
    def _hypotheses(self) -> Hypotheses:
        layout = self.problem.layout
        x = np.asarray(self.problem.data.x)[: len(self.data), list(layout.population)]
        return Hypotheses(self.model.parsed.population, self.data, self.model.formula, self._names, x)

    def __repr__(self) -> str:
        return f"Estimate({self.model.formula!r}, method={self.method!r}, status={self.status!r})"

    def __str__(self) -> str:
        word = "REML" if self.method == "reml" else "maximum likelihood"
        layout = self.problem.layout
        groups = tuple(f"{name}[" for here in layout.levels for name in layout.effect_names(here))
        table = self.summary()
        table = table[[not row.startswith(groups) for row in table.index]]
        head = f"{self.model.formula}  by {word}; -2 log likelihood {self.deviance:.4f}"
        shown = table.to_string(float_format="{:.4g}".format)
        return "\n".join([head, "", shown, "", f"status: {self.status}", *(f"- {w}" for w in self.warnings)])
