"""Quantities: what a model estimates or is asked for, each with a name, a role, an owner and a support.

| role | name | support | owner, effect |
|---|---|---|---|
| ``coefficient`` | ``Intercept``, ``x`` as the formula names them | real | effect: the column |
| ``group sd`` | ``sd_school``, ``sd_school_x`` | positive | the group term; the column that varies |
| ``correlation`` | ``cor_school`` | correlation | the group term |
| ``residual sd`` | ``sigma`` | positive | |
| ``degrees of freedom`` | ``nu`` | above_one | |
| ``dispersion`` | ``shape`` of a negative binomial outcome | positive | |
| ``population mean`` | ``mean_school``; ``Intercept`` of one rate without groups | unit, positive | the group term |
| ``concentration`` | ``kappa_school``, ``shape_school`` | positive | the group term |
| ``log concentration`` | ``log_kappa``, ``log_shape`` | real | effect: its own name |
| ``group value`` | ``theta_school``, ``theta_school_x`` | real, unit, positive | the group term; the column |
| ``mean of groups`` | ``mean(theta_school)`` | as the group value's | the group term; the column |
| ``new group`` | ``new(school)`` | as the group value's | the group term |

Whoever asks what a variable is asks its role, never its name: users choose the names of columns and groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = [
    "INTERCEPT",
    "ROLES",
    "Quantity",
    "coefficient",
    "cor_name",
    "group_sd",
    "group_value",
    "mean_name",
    "sd_name",
    "support",
    "theta_name",
]

INTERCEPT = "Intercept"
"""Name of the constant column of a design matrix, and of its coefficient."""

ROLES = (
    "coefficient",
    "group sd",
    "correlation",
    "residual sd",
    "degrees of freedom",
    "dispersion",
    "population mean",
    "concentration",
    "log concentration",
    "group value",
    "mean of groups",
    "new group",
)

_SUPPORT = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "above_one": (1.0, math.inf),
    "unit": (0.0, 1.0),
    "correlation": (-1.0, 1.0),
}


def support(kind: str) -> tuple[float, float]:
    """Lowest and highest value of a kind of quantity.

    Examples
    --------
    >>> support("unit")
    (0.0, 1.0)
    """
    return _SUPPORT[kind]


@dataclass(frozen=True)
class Quantity:
    """One quantity of a model.

    Attributes
    ----------
    name : str
    kind : str
        Its support: ``real``, ``positive``, ``above_one``, ``unit`` or ``correlation``.
    role : str
        One of `ROLES`.
    owner : str
        The group term that it belongs to; empty for the population.
    effect : str
        The column of the design matrix whose coefficient it is or describes; empty where there is none.
    size : int
        Number of effects of a correlation, else 1.

    Examples
    --------
    >>> Quantity("sd_school", "positive", "group sd", "school", "Intercept").spread
    True
    """

    name: str
    kind: str = "real"
    role: str = "coefficient"
    owner: str = ""
    effect: str = ""
    size: int = 1

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest value."""
        return support(self.kind)

    @property
    def spread(self) -> bool:
        """Whether it measures a spread (an sd or a concentration), of which a study's point estimate is the median."""
        return self.role in ("group sd", "residual sd", "concentration")

    @property
    def words(self) -> str:
        """What it is, in words."""
        of = f" of {self.owner}" if self.owner else ""
        slope = f", column {self.effect}" if self.effect not in ("", INTERCEPT) else ""
        what = {
            "coefficient": f"the coefficient of column {self.effect!r}",
            "group sd": f"the sd between groups{of}{slope}",
        }
        what |= {
            "group value": f"the values of the groups{of}{slope}",
            "mean of groups": f"the mean of the groups{of}{slope}",
        }
        return what.get(self.role, f"the {self.role}{of}")

    @property
    def averaged(self) -> Quantity:
        """The mean over the groups of a group value."""
        return replace(self, name=f"mean({self.name})", role="mean of groups")

    @property
    def grouped(self) -> bool:
        """Whether it has one value per group of its owner."""
        return self.role == "group value"


def coefficient(column: str) -> Quantity:
    """A population coefficient."""
    return Quantity(column, "real", "coefficient", effect=column)


def group_sd(level: str, column: str) -> Quantity:
    """The sd between groups of a column's coefficient."""
    return Quantity(sd_name(level, column), "positive", "group sd", level, column)


def group_value(level: str, column: str, kind: str = "real") -> Quantity:
    """The values of a level's groups for a column."""
    return Quantity(theta_name(level, column), kind, "group value", level, column)


def theta_name(level: str, column: str) -> str:
    """Name of a group's coefficient for a column."""
    return f"theta_{level}" if column == INTERCEPT else f"theta_{level}_{column}"


def sd_name(level: str, column: str) -> str:
    """Name of the sd between groups of a column's coefficient."""
    return f"sd_{level}" if column == INTERCEPT else f"sd_{level}_{column}"


def mean_name(level: str) -> str:
    """Name of the mean of a beta or gamma population; of a rate without groups, the intercept's."""
    return f"mean_{level}" if level else INTERCEPT


def cor_name(level: str) -> str:
    """Name of the correlation matrix of a group term's effects."""
    return f"cor_{level}"
