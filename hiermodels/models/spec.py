"""The declaration: a formula, a family, priors. It prints itself as mathematics.

Names of what a model estimates, the same for every sampler:

| | name | axes after chain, draw |
|---|---|---|
| population level | ``Intercept``, ``treated``, ``x`` as the formula names them | |
| residual sd | ``sigma`` | |
| group sd; of a slope | ``sd_school``, ``sd_school:classroom``; ``sd_school_x`` | |
| correlation | ``cor_school`` | effect, effect |
| a group's value; its slope | ``theta_school``; ``theta_school_x`` | school |
| beta / gamma population | ``mean_school``, ``kappa_school`` / ``mean_school``, ``shape_school`` | |

A group's ``theta`` is the population coefficient plus its own deviation plus its ancestors', predictors at zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hiermodels.models import code, display
from hiermodels.models.data import bind
from hiermodels.models.declaration import Declaration
from hiermodels.models.layout import POOLING, Layout, LevelLayout, Parameter, unit_of
from hiermodels.models.names import check_prior_names
from hiermodels.quantities import cor_name, sd_name, theta_name

__all__ = ["POOLING", "Layout", "LevelLayout", "Model", "Parameter", "cor_name", "sd_name", "theta_name", "unit_of"]


@dataclass(frozen=True)
class Model(Declaration):
    """A hierarchical model, declared once.

    Parameters
    ----------
    formula : str
        As in lme4: ``score ~ 1 + treated + (1 | school/classroom)``.
    family : str
        One of `hiermodels.families`, e.g. ``normal``, ``binomial`` (beta groups), ``binomial_logit`` (normal groups on
        the logit scale); ``hiermodels list families`` prints them.
    known_se, trials, exposure, weights : str, optional
        Column names: known standard errors of a normal outcome; binomial trials; Poisson exposure; weights that
        divide the residual variance (``sigma^2 / weight``).
    priors : mapping of str to prior, optional
        Parameter name to a prior's text or record, e.g. ``{"sd_school": "half_normal(5)"}``. Parameters that are not
        named take the default, which ``print(model)`` and every fit show.

    Raises
    ------
    ValueError
        For a formula, family, column role or prior that cannot be read. Columns are checked when the model meets data.

    Examples
    --------
    >>> import hiermodels as hm
    >>> model = hm.Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
    >>> print(model)
    effect_i ~ N(theta_school[i], se_i^2)
    theta_school_j ~ N(Intercept, sd_school^2)
    Intercept ~ flat()
    sd_school ~ half_normal(5)
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.priors:
            check_prior_names(self)

    def __str__(self) -> str:
        return display.text(self)

    def latex(self) -> str:
        """The model as LaTeX lines (an ``aligned`` block).

        Examples
        --------
        >>> "mathrm{N}" in Model("y ~ 1 + (1 | g)").latex()
        True
        """
        return display.latex(self)

    def code(self, data: Any = None, pooling: str | Mapping[str, str] = "partial") -> str:
        """Source of a NumPyro function of this very model: readable, standing alone, priors written out.

        Parameters
        ----------
        data : DataFrame, optional
            Needed for the names of categorical predictors, and for the numbers of defaults that are scaled to known
            variances.
        pooling : str or mapping
            As in `hiermodels.fit`; needs ``data`` unless it is ``partial``.

        Returns
        -------
        str
            Python: imports and ``def model(...)``. Group values are standardised deviations, as they are with
            ``centred=False``.

        Raises
        ------
        ValueError
            Without ``data`` where it is needed.

        Examples
        --------
        >>> model = Model("effect ~ 1 + (1 | school)", known_se="se", priors={"sd_school": "half_normal(5)"})
        >>> "dist.HalfNormal(5.0)" in model.code()
        True
        """
        if data is None and pooling != "partial":
            raise ValueError(f"code: pooling {pooling!r} needs the groups of the data; give data=<frame>")
        if data is None:
            return code.text(self)
        problem = bind(self, data, pooling)
        return code.text(self, problem.layout, problem.scales)

    def _repr_latex_(self) -> str:
        return "$$" + self.latex() + "$$"
